"""Whether a file asks for more than can be worked out in bounded time and memory.

Most costs grow with the file, which is bounded itself. Those that grow with a product are bounded here, far
above what one machine can run: 100,000 VMs on 100 hosts are within all of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sized

    from vnetlab.topology.document import Document
    from vnetlab.topology.report import Path, Report

MAX_HOSTS: Final = 4_000
MAX_NETWORKS: Final = 1_000
"""Of one host: what each of them owes every other is a matter of pairs."""
MAX_NICS: Final = 1_000
MAX_SUBNETS: Final = 100
MAX_FORWARDS: Final = 10_000
MAX_ROUTES: Final = 2_500_000
"""Derived ones: each host and machine may need one to each prefix that is known everywhere."""


def check_size(document: Document, report: Report) -> bool:
    """Return whether the document is small enough to be resolved; what is too large is reported."""
    before = len(report.problems)
    for path, what, found, most, remedy in _sizes(document):
        if len(found) > most:
            wrong = f"has {len(found):,} {what}, and at most {most:,} can be handled"
            report.add(path, wrong, remedy, "")
    routes = _routes(document)
    if routes > MAX_ROUTES:
        wrong = f"needs up to {routes:,} routes, and at most {MAX_ROUTES:,} can be handled"
        report.add((), wrong, "take fewer segments and routed networks, or fewer hosts and machines", "")
    return len(report.problems) == before


def _sizes(document: Document) -> Iterator[tuple[Path, str, Sized, int, str]]:
    spread = "spread them over several hosts"
    yield ("hosts",), "hosts", document.hosts, MAX_HOSTS, "put more VMs on each host"
    for name, segment in document.segments.items():
        path: Path = ("segments", name, "subnets")
        yield path, "subnets", segment.subnets, MAX_SUBNETS, "take shorter prefixes"
    for name, host in document.hosts.items():
        path = ("hosts", name)
        yield (*path, "networks"), "networks", host.networks, MAX_NETWORKS, spread
        yield (*path, "nics"), "NICs", host.nics, MAX_NICS, spread
        for key, network in host.networks.items():
            inner = (*path, "networks", key)
            yield (*inner, "subnets"), "subnets", network.subnets, MAX_SUBNETS, "take shorter prefixes"
            yield (*inner, "forwards"), "forwards", network.forwards, MAX_FORWARDS, "forward fewer ports"


def _routes(document: Document) -> int:
    known = sum(len(segment.subnets) for segment in document.segments.values())
    known += sum(
        len(network.subnets)
        for host in document.hosts.values()
        for network in host.networks.values()
        if network.mode == "routed"
    )
    routing = sum(1 for machine in document.machines.values() if machine.routes != "none")
    return known * (len(document.hosts) + routing)
