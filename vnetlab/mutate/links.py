"""Faults of devices: ports on other bridges, port isolation, MACs, MTUs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from vnetlab.mutate import fault
from vnetlab.mutate.fault import Fault, with_namespace
from vnetlab.state import Bridge, Veth

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vnetlab.state import Link, Namespace, State

_LEAST_OF_IPV6 = 1280
"""Bytes (RFC 8200, 5). Below that the kernel takes IPv6 from a device, which is another fault."""
SMALL_MTUS = (_LEAST_OF_IPV6, 600)


def link_faults(
    state: State, chosen: Iterable[Namespace], ports: Iterable[tuple[str, str]]
) -> Iterator[Fault]:
    """Yield the faults of the chosen namespaces' NICs, and of these ports of hosts."""
    of_interest = set(ports)
    for namespace in chosen:
        if namespace.kind != "host":
            for link in namespace.links:
                yield from _mtus(state, namespace, link)
        for link in namespace.links:
            is_nic = isinstance(link, Veth) and link.peer_namespace.startswith("segment:")
            if namespace.kind == "host" and (is_nic or (namespace.name, link.name) in of_interest):
                yield from _mtus(state, namespace, link)
        for link in namespace.links:
            if (namespace.name, link.name) in of_interest:
                yield from _elsewhere(state, namespace, link)
    for namespace in state.namespaces:
        yield from _isolation(state, namespace)
        if namespace.kind == "host":
            yield from _twins(state, namespace)


def _readable(link: Link) -> str:
    return link.altname or link.name


def _with_links(namespace: Namespace, changes: dict[str, Link]) -> Namespace:
    return replace(namespace, links=tuple(changes.get(link.name, link) for link in namespace.links))


def _fault(state: State, kind: str, namespace: Namespace, link: Link, what: str, **changes: object) -> Fault:
    changed = replace(link, **changes)
    thing = _readable(link)
    text = f"{namespace.name}/{thing}: {what}"
    new = with_namespace(state, _with_links(namespace, {link.name: changed}))
    return Fault(text, kind, namespace.name, thing, new)


def _has_ipv6(namespace: Namespace, link: Link) -> bool:
    on = {
        s.key.split("/")[3] for s in namespace.sysctls if s.key.endswith("/disable_ipv6") and s.value == "0"
    }
    return link.name in on or link.master in on


def _mtus(state: State, namespace: Namespace, link: Link) -> Iterator[Fault]:
    for mtu in SMALL_MTUS:
        if mtu >= link.mtu or (mtu < _LEAST_OF_IPV6 and _has_ipv6(namespace, link)):
            continue
        links: dict[str, Link] = {link.name: replace(link, mtu=mtu)}
        if link.master:
            # A bridge's MTU follows that of its smallest port (`br_mtu_auto_adjust`).
            links[link.master] = replace(namespace.link(link.master), mtu=mtu)
        thing = _readable(link)
        new = with_namespace(state, _with_links(namespace, links))
        yield Fault(f"{namespace.name}/{thing}: MTU {mtu}", fault.MTU, namespace.name, thing, new)


def _elsewhere(state: State, namespace: Namespace, link: Link) -> Iterator[Fault]:
    for bridge in namespace.links:
        if isinstance(bridge, Bridge) and link.master not in ("", bridge.name):
            if _is_loop(namespace, link, bridge.name):
                continue  # one frame in it, and nothing else can be judged any more
            what = f"on the bridge {_readable(bridge)}"
            yield _fault(state, fault.BRIDGE, namespace, link, what, master=bridge.name)


def _is_loop(namespace: Namespace, link: Link, bridge: str) -> bool:
    """Tell whether frames would go round if a port of a namespace were one of that bridge."""
    if not isinstance(link, Veth) or link.peer_namespace != namespace.name:
        return False
    others = [port for port in namespace.links if port.name not in (link.name, link.peer)]
    masters = {port.name: port.master for port in namespace.links}
    joined = [
        {port.master, masters[port.peer]}
        for port in others
        if isinstance(port, Veth) and port.peer_namespace == namespace.name and port.master
    ]
    reached, before = {masters[link.peer]}, set[str]()
    while reached != before:
        before = reached
        reached = reached.union(*(pair for pair in joined if pair & reached))
    return bridge in reached


def _isolation(state: State, namespace: Namespace) -> Iterator[Fault]:
    for link in namespace.links:
        if link.isolated:
            yield _fault(state, fault.ISOLATION, namespace, link, "not isolated", isolated=False)


def _twins(state: State, host: Namespace) -> Iterator[Fault]:
    """Yield one VM with the MAC of its neighbour, for each bridge with two."""
    for bridge in host.links:
        ports = [link for link in host.links if bridge.name == link.master and isinstance(link, Veth)]
        ends = [(p.peer_namespace, p.peer) for p in ports if p.peer_namespace != host.name]
        nics = [(state.namespace(name), nic) for name, nic in ends if not name.startswith("segment:")]
        if not isinstance(bridge, Bridge) or len(nics) < 2:
            continue
        (first, one), (second, other) = nics[:2]
        mac = first.link(one).mac
        what = f"the MAC of {first.name}"
        yield _fault(state, fault.MAC, second, second.link(other), what, mac=mac)
