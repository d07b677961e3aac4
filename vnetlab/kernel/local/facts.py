"""What this very machine is like without any lab: read in the namespace that the thread is in.

What labs have changed is read from their journals instead: the first of them recorded what was there before.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vnetlab.errors import KernelError
from vnetlab.kernel import read_messages
from vnetlab.kernel.local import journal
from vnetlab.kernel.netlink import Netlink
from vnetlab.names import ON_MACHINE
from vnetlab.topology.facts import Facts, NicFacts, RouteFacts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from vnetlab.kernel.read_messages import Found
    from vnetlab.topology.model import IPNetwork

_LOOPBACK = "lo"


def read_facts() -> Facts:
    """Return the facts of this machine; raises KernelError."""
    with Netlink() as netlink:
        links = [read_messages.link(b) for _, b in netlink.dump(read_messages.dump(read_messages.GET_LINKS))]
        names = {link.index: link.name for link in links}
        addresses = [
            read_messages.address(b, names)
            for _, b in netlink.dump(read_messages.dump(read_messages.GET_ADDRESSES))
        ]
        routes = [
            read_messages.destination(b, names)
            for _, b in netlink.dump(read_messages.dump(read_messages.GET_ROUTES))
        ]
    before = values_before_labs()
    own = [link for link in links if link.name != _LOOPBACK and not link.name.startswith(ON_MACHINE)]
    by_name = sorted(own, key=lambda link: link.name)
    found: dict[str, list[str]] = {link.name: [] for link in own}
    for address in addresses:
        if address.device in found and not address.address.is_link_local:
            found[address.device].append(str(address.address))
    return Facts(
        tuple(_nic(link, names, tuple(found[link.name]), before) for link in by_name if link.mac),
        tuple(link.name for link in own),
        tuple(sorted({*_routes(routes)}, key=lambda route: route.key)),
        _value("net/ipv6/conf/all/forwarding", before) == "1",
        tuple(n for n in sorted(found) if _value(f"net/ipv6/conf/{n}/accept_ra", before) == "1"),
    )


def values_before_labs(but: Path | None = None) -> dict[str, str]:
    """Return what every setting that labs have changed was before the first of them.

    ``but`` is the journal of one that is not asked.
    """
    found: dict[str, str] = {}
    for path in journal.journals():
        records = journal.records(path)
        if path != but and not journal.is_over(records):
            found |= {r.name: r.before for r in journal.latest(records) if r.kind == "sysctl"}
    return found


def read_setting(key: str) -> str | None:
    """Return the value of a setting below /proc/sys; None where the kernel has none. Raises KernelError."""
    try:
        return Path("/proc/sys", key).read_text().strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KernelError(f"sysctl {key}: {error.strerror}") from error


def _routes(found: Iterable[tuple[IPNetwork, str] | None]) -> Iterator[RouteFacts]:
    for prefix, device in filter(None, found):
        if not (prefix.is_link_local or prefix.is_multicast) and device != _LOOPBACK:
            yield RouteFacts(str(prefix), device)


def _nic(
    link: Found, names: Mapping[int, str], addresses: tuple[str, ...], before: Mapping[str, str]
) -> NicFacts:
    return NicFacts(
        link.name,
        link.mac,
        link.mtu,
        addresses,
        link.kind,
        names.get(link.master, ""),
        _value(f"net/ipv4/conf/{link.name}/forwarding", before) == "1",
    )


def _value(key: str, before: Mapping[str, str]) -> str | None:
    return before[key] if key in before else read_setting(key)
