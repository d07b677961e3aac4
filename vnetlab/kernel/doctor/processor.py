"""What the CPU offers to guests, as flags and module parameters say: an offer, not a proof (see kvm.py)."""

from __future__ import annotations

import re
from pathlib import Path

from msgspec import Struct

from vnetlab.health import Area, Check, State
from vnetlab.kernel.doctor.files import text_of

_EXTENSIONS = {"vmx": "Intel VT-x", "svm": "AMD-V"}
_NO_EXTENSION = "switch VT-x or AMD-V on in the firmware; in a virtual machine, ask for nested virtualization"


class Processor(Struct, frozen=True):
    """What /proc/cpuinfo says of the first CPU, and KVM's parameters that say what is in use."""

    flags: frozenset[str]
    """Those of the line `vmx flags` included."""
    model: str
    parameters: frozenset[str] = frozenset()
    """Such as ``ept``: parameters of kvm_intel or kvm_amd that are on."""


def read_processor() -> Processor:
    """Read the CPU and the parameters of KVM's modules."""
    on = [
        path.name
        for module in ("kvm_intel", "kvm_amd")
        for path in Path("/sys/module", module, "parameters").glob("*")
        if text_of(path).strip() in ("Y", "1")
    ]
    return parse_processor(text_of(Path("/proc/cpuinfo")), frozenset(on))


def parse_processor(cpuinfo: str, parameters: frozenset[str] = frozenset()) -> Processor:
    """Read the text of /proc/cpuinfo; on ARM it has neither of these lines."""
    first = cpuinfo.split("\n\n", 1)[0]
    lines = dict(re.findall(r"^([^\t:]+?)\s*:\s*(.*)$", first, re.MULTILINE))
    flags = f"{lines.get('flags', '')} {lines.get('vmx flags', '')}".split()
    return Processor(frozenset(flags), lines.get("model name", ""), parameters)


def processor_checks(processor: Processor) -> tuple[Check, ...]:
    """Judge the CPU's extensions for guests."""
    if not processor.flags:
        finding = "/proc/cpuinfo has no line of flags: not an x86 CPU"
        remedy = "see the line KVM: it tries"
        return tuple(
            Check(Area.VIRTUALIZATION, name, State.UNKNOWN, finding, remedy)
            for name in ("CPU", "nested paging", "tagged TLB")
        )
    return (_extension(processor), _nested_paging(processor), _tagged_tlb(processor))


def _extension(processor: Processor) -> Check:
    place = " (itself in a virtual machine)" if "hypervisor" in processor.flags else ""
    for flag, name in _EXTENSIONS.items():
        if flag in processor.flags:
            finding = f"{processor.model}{place}: {name} (flag {flag})"
            return Check(Area.VIRTUALIZATION, "CPU", State.OK, finding)
    finding = f"{processor.model}{place}: neither VT-x (flag vmx) nor AMD-V (svm)"
    return Check(Area.VIRTUALIZATION, "CPU", State.ABSENT, finding, _NO_EXTENSION)


def _nested_paging(processor: Processor) -> Check:
    found = {"ept": "Extended Page Tables (Intel)", "npt": "Nested Page Tables (AMD)"}
    return _offer(
        processor,
        "nested paging",
        found,
        "the second step of a guest's address translation is done in software (shadow page tables)",
    )


def _tagged_tlb(processor: Processor) -> Check:
    if "svm" in processor.flags:  # address space identifiers are part of AMD-V from its beginning
        exact = ", flushed one by one (flushbyasid)" if "flushbyasid" in processor.flags else ""
        return Check(Area.VIRTUALIZATION, "tagged TLB", State.OK, f"ASIDs, part of AMD-V{exact}")
    lost = "every switch between guest and host empties the TLB; PCID tags processes, not guests"
    return _offer(processor, "tagged TLB", {"vpid": "Virtual Processor Identifiers (Intel)"}, lost)


def _offer(processor: Processor, name: str, names: dict[str, str], lost: str) -> Check:
    for word, told in names.items():
        if word in processor.flags:
            if processor.parameters and word not in processor.parameters:
                remedy = f"load KVM's module with `{word}=1`"
                finding = f"{told}: the CPU has it, KVM has it off"
                return Check(Area.VIRTUALIZATION, name, State.LIMITED, finding, remedy)
            return Check(Area.VIRTUALIZATION, name, State.OK, told)
    finding = f"no flag {' or '.join(names)}: {lost}"
    return Check(Area.VIRTUALIZATION, name, State.ABSENT, finding, _NO_EXTENSION)
