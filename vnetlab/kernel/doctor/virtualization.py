"""The virtualization at hand beside namespaces: tried where it can be, as a guest would use it."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

from vnetlab.health import Area, Check, State
from vnetlab.kernel.doctor import kvm_main
from vnetlab.kernel.doctor.processor import processor_checks, read_processor
from vnetlab.kernel.holder import program

DEADLINE = 5.0
"""Seconds for a virtual machine that natively takes a few milliseconds."""
NATIVE = 50_000_000
"""Rounds a second of a loop of two instructions: every CPU with VT-x or AMD-V does ten times as many, and
an emulator that takes instructions one by one a tenth."""
_VHOST = "/dev/vhost-net"
_VHOST_GET_FEATURES = 0x8008AF00
_IOMMU = Path("/sys/class/iommu")
_GROUPS = Path("/sys/kernel/iommu_groups")
_MODULES = Path("/sys/module")


def virtualization() -> tuple[Check, ...]:
    """Look at CPU, KVM, IOMMU, vhost and emulators."""
    processor = read_processor()
    modules = tuple(sorted(path.name for path in _MODULES.glob("kvm_*")))
    return (
        *processor_checks(processor),
        kvm(run_guest(), modules),
        iommu(_count(_IOMMU), _count(_GROUPS), Path("/dev/vfio/vfio").exists()),
        _vhost(),
        emulators(tuple(filter(None, map(shutil.which, _EMULATORS)))),
    )


_EMULATORS = ("qemu-system-x86_64", "qemu-system-aarch64", "qemu-kvm")


def run_guest(deadline: float = DEADLINE) -> str:
    """Run kvm_main.py and return what it said, as far as it came before the deadline."""
    child = subprocess.Popen(
        program("vnetlab.kernel.doctor.kvm_main"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        said, _ = child.communicate(timeout=deadline)
    except subprocess.TimeoutExpired:
        child.kill()
        said, _ = child.communicate()
    except BaseException:
        child.kill()
        child.wait()
        raise
    return said


def kvm(said: str, modules: tuple[str, ...]) -> Check:
    """Judge what kvm_main.py said: how far a guest came, and how fast it ran."""
    steps = dict(line.split("\t", 1) for line in said.splitlines() if "\t" in line)
    of = f" (module {', '.join(modules)})" if modules else ""
    opened = steps.get(kvm_main.OPEN, "")
    if opened != kvm_main.OK:
        finding = f"{kvm_main.DEVICE}: {opened or 'the try ended before it opened'}"
        denied = opened == os.strerror(13)
        remedy = "join the group kvm, or run as root" if denied else "`modprobe kvm_intel` or `kvm_amd`"
        return _kvm(State.UNKNOWN if denied else State.ABSENT, finding, remedy)
    for step in (kvm_main.MACHINE, kvm_main.PROCESSOR, kvm_main.GUEST):
        answer = steps.get(step, "no answer")
        if answer == kvm_main.FOREIGN:
            return _kvm(State.OK, f"opened{of}, VM and vCPU made; a guest was {answer}")
        if answer != kvm_main.OK:
            finding = f"{kvm_main.DEVICE} opens{of}, and {_WORDS[step]}: {answer}"
            return _kvm(State.LIMITED, finding, _USE_EMULATION)
    return _speed(steps.get(kvm_main.SPEED, ""), of)


_WORDS = {
    kvm_main.MACHINE: "makes no virtual machine",
    kvm_main.PROCESSOR: "makes no vCPU",
    kvm_main.GUEST: "runs no guest",
}
_USE_EMULATION = "use QEMU's own emulator (`-accel tcg`), or a machine whose KVM works"


def _speed(text: str, of: str) -> Check:
    if not text.isdigit():
        finding = f"opens{of}, makes a vCPU, and its guest hangs: no end within {DEADLINE:.0f} s"
        return _kvm(State.LIMITED, finding, _USE_EMULATION)
    if int(text) < NATIVE:
        finding = (
            f"opens{of} and runs a guest at {int(text) / 1e6:.1f} million rounds a second of a loop: "
            "instructions are emulated one by one, and a whole operating system seems to hang"
        )
        return _kvm(State.LIMITED, finding, _USE_EMULATION)
    speed = f"{int(text) // 1_000_000:,} million rounds a second"
    finding = f"opened{of}; a VM and a vCPU made, and a 64-bit guest ran {speed} of a loop"
    return _kvm(State.OK, finding)


def _kvm(state: State, finding: str, remedy: str = "") -> Check:
    return Check(Area.VIRTUALIZATION, "KVM", state, finding, remedy)


def iommu(units: int, groups: int, vfio: bool) -> Check:
    """Judge whether a physical device can be given to a guest."""
    if units and groups:
        driver = "" if vfio else "; /dev/vfio/vfio is not there (`modprobe vfio-pci`)"
        return Check(Area.VIRTUALIZATION, "IOMMU", State.OK, f"{units} units, {groups} groups{driver}")
    finding = "none in use: no physical device can be passed through to a guest safely"
    remedy = "switch VT-d or AMD-Vi on in the firmware, and boot with `intel_iommu=on` on Intel"
    return Check(Area.VIRTUALIZATION, "IOMMU", State.ABSENT, finding, remedy)


def _vhost() -> Check:
    try:
        descriptor = os.open(_VHOST, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        denied = isinstance(error, PermissionError)
        remedy = "join the group kvm, or run as root" if denied else "`modprobe vhost_net`"
        return vhost(f"{_VHOST}: {error.strerror}", remedy)
    try:
        fcntl.ioctl(descriptor, _VHOST_GET_FEATURES, bytes(8))
    except OSError as error:
        return vhost(f"{_VHOST} opens and answers: {error.strerror}", "`modprobe vhost_net`")
    finally:
        os.close(descriptor)
    return vhost("", "")


def vhost(failure: str, remedy: str) -> Check:
    """Judge the kernel's back end for paravirtual network cards; an empty failure means there is one."""
    if failure:
        finding = f"{failure}: a guest's network card is served by its emulator, outside of the kernel"
        return Check(Area.VIRTUALIZATION, "vhost", State.ABSENT, finding, remedy)
    return Check(Area.VIRTUALIZATION, "vhost", State.OK, f"{_VHOST} opened and asked for its features")


def emulators(paths: tuple[str, ...]) -> Check:
    """Judge whether guests can be emulated, whatever the CPU offers."""
    if paths:
        return Check(Area.VIRTUALIZATION, "emulation", State.OK, ", ".join(paths))
    finding = "no QEMU on the PATH: VMs of a lab are namespaces, or taps for a guest of yours"
    return Check(Area.VIRTUALIZATION, "emulation", State.ABSENT, finding, "`apt install qemu-system-x86`")


def _count(folder: Path) -> int:
    try:
        return len(list(folder.iterdir()))
    except OSError:
        return 0
