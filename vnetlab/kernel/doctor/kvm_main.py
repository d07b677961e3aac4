"""Makes a virtual machine under KVM and runs a loop in it. A program of its own.

On some machines /dev/kvm opens and a guest then hangs, or every instruction of it is emulated in software.
So this runs under a deadline, says each step on standard output before it tries the next (``step``, a
tab, ``ok`` or the kernel's answer), and measures the guest's speed. The interface is that of the kernel's
virt/kvm/api.rst. Standard library only.
"""

import ctypes
import fcntl
import mmap
import os
import platform
import struct
import time
from collections.abc import Callable

DEVICE = "/dev/kvm"
OPEN, MACHINE, PROCESSOR, GUEST, SPEED = "open", "vm", "vcpu", "guest", "speed"
OK = "ok"
FOREIGN = "not tried: the guest is x86-64 code"

_GET_API_VERSION = 0xAE00
_CREATE_VM = 0xAE01
_GET_VCPU_MMAP_SIZE = 0xAE04
_CREATE_VCPU = 0xAE41
_SET_USER_MEMORY_REGION = 0x4020AE46
_RUN = 0xAE80
_SET_REGS = 0x4090AE82
_GET_SREGS = 0x8138AE83
_SET_SREGS = 0x4138AE84
_STABLE_VERSION = 12
_EXIT_REASON = struct.Struct("=8xI")  # struct kvm_run
_EXITS = {2: "i/o", 5: "halt", 8: "shutdown", 9: "entry refused", 17: "internal error"}
_REGION = struct.Struct("=IIQQQ")  # slot, flags, guest address, size, address here
_REGISTERS = struct.Struct("=16QQQ")  # rax to r15, rip, rflags
_SEGMENT = struct.Struct("=QIH10B")  # struct kvm_segment; cs, ds, es, fs, gs, ss come first in kvm_sregs
_SREGS_SIZE = 312
_CONTROL = struct.Struct("=6Q")  # cr0, cr2, cr3, cr4, cr8, efer
_CONTROL_AT = 8 * _SEGMENT.size + 2 * 16  # behind eight segments and two descriptor tables
_CODE_SEGMENT = _SEGMENT.pack(0, 0xFFFFFFFF, 8, 11, 1, 0, 0, 1, 1, 1, 0, 0, 0)
_DATA_SEGMENT = _SEGMENT.pack(0, 0xFFFFFFFF, 16, 3, 1, 0, 1, 1, 0, 1, 0, 0, 0)

# 64-bit mode with paging, the way every present-day kernel runs: protection and paging (cr0), physical
# address extension (cr4), long mode (efer); page tables at 0x1000 map 2 MB one to one.
_LONG_MODE = _CONTROL.pack(0x80050033, 0, 0x1000, 0x20, 0, 0x500)
_TABLES = ((0x1000, 0x2007), (0x2000, 0x3007), (0x3000, 0x87))
_MEMORY = 0x10000
_ENTRY = 0x4000
_RFLAGS = 0x2  # the bit that is always set
ROUNDS = 200_000
_LAPS = 3
_LAP = bytes([0xE6, 0x10, 0xB9, *ROUNDS.to_bytes(4, "little"), 0xFF, 0xC9, 0x75, 0xFC])
"""``out 0x10, al; mov ecx, ROUNDS; again: dec ecx; jnz again``"""
_PROGRAM = _LAP * _LAPS + bytes([0xE6, 0x10, 0xF4])
"""The laps, with an exit to this program before and behind each; then ``hlt``."""


def main() -> None:
    """Take the steps until one fails."""
    kvm = _step(OPEN, lambda: os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC))
    version = fcntl.ioctl(kvm, _GET_API_VERSION)
    if version != _STABLE_VERSION:
        _say(MACHINE, f"not tried: the interface has version {version}")
        return
    machine = _step(MACHINE, lambda: fcntl.ioctl(kvm, _CREATE_VM, 0))
    processor = _step(PROCESSOR, lambda: fcntl.ioctl(machine, _CREATE_VCPU, 0))
    if platform.machine() != "x86_64":
        _say(GUEST, FOREIGN)
        return
    memory = _guest_memory()
    state = mmap.mmap(processor, fcntl.ioctl(kvm, _GET_VCPU_MMAP_SIZE))
    _step(GUEST, lambda: _start(machine, processor, memory, state))
    seconds = [_step_to("i/o", processor, state) for _ in range(_LAPS)]
    _step_to("halt", processor, state)
    # The fastest lap: in the others, this machine may have been busy with something else.
    _say(SPEED, str(int(ROUNDS / min(seconds))))


def _step(name: str, action: Callable[[], int]) -> int:
    try:
        result = action()
    except OSError as error:
        _say(name, error.strerror or str(error))
        raise SystemExit from error
    _say(name, OK)
    return result


def _say(step: str, text: str) -> None:
    os.write(1, f"{step}\t{text}\n".encode())


def _guest_memory() -> mmap.mmap:
    memory = mmap.mmap(-1, _MEMORY)
    for at, entry in _TABLES:
        memory[at : at + 8] = struct.pack("=Q", entry)
    memory[_ENTRY : _ENTRY + len(_PROGRAM)] = _PROGRAM
    return memory


def _start(machine: int, processor: int, memory: mmap.mmap, state: mmap.mmap) -> int:
    """Set up the guest and run it up to its first exit."""
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    fcntl.ioctl(machine, _SET_USER_MEMORY_REGION, _REGION.pack(0, 0, 0, _MEMORY, address))
    special = bytearray(_SREGS_SIZE)
    fcntl.ioctl(processor, _GET_SREGS, special)
    special[: 6 * _SEGMENT.size] = _CODE_SEGMENT + 5 * _DATA_SEGMENT
    special[_CONTROL_AT : _CONTROL_AT + _CONTROL.size] = _LONG_MODE
    fcntl.ioctl(processor, _SET_SREGS, special)
    fcntl.ioctl(processor, _SET_REGS, _REGISTERS.pack(*[0] * 16, _ENTRY, _RFLAGS))
    _step_to("i/o", processor, state)
    return 0


def _step_to(exit_wanted: str, processor: int, state: mmap.mmap) -> float:
    """Run the guest up to its next exit and return the seconds; raises OSError for any other exit."""
    began = time.perf_counter()
    fcntl.ioctl(processor, _RUN, 0)
    seconds = time.perf_counter() - began
    (reason,) = _EXIT_REASON.unpack_from(state)
    found = _EXITS.get(reason, f"exit {reason}")
    if found != exit_wanted:
        raise OSError(0, f"the guest ended with {found} instead of {exit_wanted}")
    return seconds
