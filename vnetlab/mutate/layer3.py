"""Faults of addresses, routes, neighbours and settings."""

from __future__ import annotations

from ipaddress import ip_interface
from typing import TYPE_CHECKING

from msgspec.structs import replace

from vnetlab.mutate import fault
from vnetlab.mutate.domains import domains_of
from vnetlab.mutate.fault import Fault, with_namespace
from vnetlab.mutate.wording import neighbours_of
from vnetlab.state import Address, Bridge, Neighbour, Sysctl

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vnetlab.state import Namespace, State
    from vnetlab.topology.model import IPAddress, IPNetwork

STRANGER = "02:00:00:00:00:77"
"""A MAC that no NIC has."""
_EVERYWHERE = {
    "arp_ignore": ("ipv4", "0", "it answers ARP for the addresses of its other interfaces"),
    "accept_ra": ("ipv6", "2", "it believes router advertisements"),
    "proxy_arp": ("ipv4", "1", "it answers ARP for whatever it has a route to"),
    "rp_filter": ("ipv4", "1", "reverse path filtering"),
}
"""Settings that count for a device as the larger of its own and that of ``all``: all are flipped.

Proxy ARP needs a router; reverse path filtering is for hosts to do without, others may have it."""


def layer3_faults(state: State, chosen: Iterable[Namespace]) -> Iterator[Fault]:
    """Yield the faults of the chosen namespaces."""
    taken = {a.address.ip for n in state.namespaces for a in n.addresses}
    near = _links(state)
    for namespace in chosen:
        yield from _addresses(state, namespace)
        yield from _routes(state, namespace, taken)
        yield from _neighbours(state, namespace, near)
        yield from _forwarding(state, namespace)
        yield from _settings(state, namespace)
        if namespace.kind == "host":
            yield from _presence(state, namespace, taken)


def _fault(state: State, kind: str, namespace: Namespace, thing: str, what: str) -> Fault:
    text = f"{namespace.name}/{thing}: {what}"
    return Fault(text, kind, namespace.name, thing, with_namespace(state, namespace))


def named(namespace: Namespace, device: str) -> str:
    """Return a device's readable name."""
    found = next((link for link in namespace.links if link.name == device), None)
    return found.altname if found and found.altname else device


def _addresses(state: State, namespace: Namespace) -> Iterator[Fault]:
    for at, own in enumerate(namespace.addresses):
        for other in neighbours_of(own.address.network):
            new = ip_interface((own.address.ip, other.prefixlen))
            if new.ip not in other or _overlaps(namespace, at, new.network):
                continue
            changed = (*namespace.addresses[:at], Address(own.device, new), *namespace.addresses[at + 1 :])
            thing = f"address {own.address} of {named(namespace, own.device)}"
            # The kernel takes no route whose next hop is on no link, or has a link's broadcast address.
            routes = tuple(
                r
                for r in namespace.routes
                if r.device != own.device or r.via not in own.address.network or _is_hop(r.via, new.network)
            )
            less = replace(namespace, addresses=changed, routes=routes)
            yield _fault(state, fault.PREFIX, less, thing, f"/{other.prefixlen}")


def _is_hop(address: IPAddress, network: IPNetwork) -> bool:
    """Tell whether an address may be a next hop on a link (`fib_check_nh` of the kernel)."""
    return address in network and (network.version == 6 or address != network.broadcast_address)


def _overlaps(namespace: Namespace, at: int, network: IPNetwork) -> bool:
    others = (a.address.network for n, a in enumerate(namespace.addresses) if n != at)
    return any(other.version == network.version and other.overlaps(network) for other in others)


def _routes(state: State, namespace: Namespace, taken: set[IPAddress]) -> Iterator[Fault]:
    routes = namespace.routes
    for at, route in enumerate(routes):
        thing = f"route {route.prefix} via {route.via}"
        without = replace(namespace, routes=(*routes[:at], *routes[at + 1 :]))
        yield _fault(state, fault.ROUTE_MISSING, without, thing, "missing")
        changes = [(fault.PREFIX, replace(route, prefix=p), str(p)) for p in neighbours_of(route.prefix)]
        network = _network_of(namespace, route.device, route.via)
        if network:
            own = {a.address.ip for a in namespace.addresses}
            other = next((a for a in sorted(taken - own, key=str) if a in network and a != route.via), None)
            hops = [hop for hop in (other, nobody(network, taken)) if hop]
            changes += [(fault.NEXT_HOP, replace(route, via=hop), f"via {hop}") for hop in hops]
        for kind, new, what in changes:
            rest = (*routes[:at], *routes[at + 1 :])
            if any((r.prefix, r.device) == (new.prefix, new.device) for r in rest):
                continue  # the kernel keeps one route for each prefix
            changed = replace(namespace, routes=(*routes[:at], new, *routes[at + 1 :]))
            yield _fault(state, kind, changed, thing, what)


def _network_of(namespace: Namespace, device: str, address: IPAddress) -> IPNetwork | None:
    networks = (a.address.network for a in namespace.addresses if a.device == device)
    return next((n for n in networks if address in n), None)


def nobody(network: IPNetwork, taken: set[IPAddress]) -> IPAddress | None:
    """Return an address of a prefix that belongs to nobody, from its end."""
    last = int(network.broadcast_address)
    kind = type(network.network_address)
    candidates = (kind(last - n) for n in range(1, min(64, network.num_addresses)))
    return next((c for c in candidates if c not in taken), None)


def _links(state: State) -> dict[tuple[str, str], tuple[IPAddress, ...]]:
    """Return, for each device, the addresses of the others on its link."""
    return {
        (end.node, end.device): tuple(a.ip for e in domain if e.node != end.node for a in e.addresses)
        for domain in domains_of(state, (), {})
        for end in domain
    }


def _neighbours(
    state: State, namespace: Namespace, links: dict[tuple[str, str], tuple[IPAddress, ...]]
) -> Iterator[Fault]:
    """Yield a wrong permanent entry for a next hop, or a neighbour, on each device and family."""
    for each in namespace.addresses:
        hops = [r.via for r in namespace.routes if r.device == each.device and r.via in each.address.network]
        near = [a for a in links.get((namespace.name, each.device), ()) if a in each.address.network]
        for hop in [*hops, *near][:1]:
            entry = Neighbour(each.device, hop, STRANGER)
            thing = f"neighbour {hop} on {named(namespace, each.device)}"
            changed = replace(namespace, neighbours=(*namespace.neighbours, entry))
            yield _fault(state, fault.NEIGHBOUR, changed, thing, f"at {STRANGER}")


def _forwarding(state: State, namespace: Namespace) -> Iterator[Fault]:
    for sysctl in namespace.sysctls:
        parts = sysctl.key.split("/")
        if parts[-1] != "forwarding" or parts[3] == "default" or parts[1:4:2] == ["ipv4", "all"]:
            continue
        value = "0" if sysctl.value == "1" else "1"
        what = f"forwarding {'on' if value == '1' else 'off'}"
        thing = f"{parts[1]} {named(namespace, parts[3])}"
        yield _fault(state, fault.FORWARDING, with_sysctls(namespace, {sysctl.key: value}), thing, what)
    # What no setting names stays as it was made: off on a host's NIC without networks, on on a router.
    written = {s.key for s in namespace.sysctls}
    default = next((s.value for s in namespace.sysctls if s.key == "net/ipv4/conf/default/forwarding"), "0")
    for link in namespace.links:
        key = f"net/ipv4/conf/{link.name}/forwarding"
        addressed = any(a.device == link.name for a in namespace.addresses)
        if key not in written and addressed:
            value = "1" if default == "0" else "0"
            what = f"forwarding {'on' if value == '1' else 'off'}"
            thing = f"ipv4 {named(namespace, link.name)}"
            yield _fault(state, fault.FORWARDING, with_sysctls(namespace, {key: value}), thing, what)


def with_sysctls(namespace: Namespace, values: dict[str, str]) -> Namespace:
    """Return the namespace with settings written; those that it has keep their place."""
    known = {s.key for s in namespace.sysctls}
    kept = tuple(Sysctl(s.key, values.get(s.key, s.value)) for s in namespace.sysctls)
    added = tuple(Sysctl(key, value) for key, value in values.items() if key not in known)
    return replace(namespace, sysctls=kept + added)


def _settings(state: State, namespace: Namespace) -> Iterator[Fault]:
    devices = [link.name for link in namespace.links]
    forwards = namespace.kind == "host" or any(
        s.key == "net/ipv4/conf/all/forwarding" and s.value == "1" for s in namespace.sysctls
    )
    for name, (family, value, what) in _EVERYWHERE.items():
        if (name == "proxy_arp" and not forwards) or (name == "rp_filter" and namespace.kind != "host"):
            continue
        values = {f"net/{family}/conf/{scope}/{name}": value for scope in ("all", *devices)}
        if name == "proxy_arp":
            # A proxy waits by chance for up to 0.8 s (`proxy_delay`, arp(7)); no flight listens so long.
            values |= {f"net/ipv4/neigh/{device}/proxy_delay": "0" for device in devices}
        yield _fault(state, fault.SETTING, with_sysctls(namespace, values), name, what)
    for sysctl in namespace.sysctls:
        parts = sysctl.key.split("/")
        if parts[-1] == "disable_ipv6" and parts[3] in devices:
            value = "0" if sysctl.value == "1" else "1"
            what = f"IPv6 {'off' if value == '1' else 'on'}"
            changed = with_sysctls(namespace, {sysctl.key: value})
            if value == "1":
                changed = _without_ipv6(changed, parts[3])
            yield _fault(state, fault.SETTING, changed, named(namespace, parts[3]), what)


def _without_ipv6(namespace: Namespace, device: str) -> Namespace:
    """Return the namespace without what the kernel removes as IPv6 is turned off on a device."""
    return replace(
        namespace,
        addresses=tuple(a for a in namespace.addresses if a.device != device or a.address.version == 4),
        routes=tuple(r for r in namespace.routes if r.device != device or r.prefix.version == 4),
    )


def _presence(state: State, namespace: Namespace, taken: set[IPAddress]) -> Iterator[Fault]:
    """Yield an address of the host on each bridge that has none: the isolated networks'."""
    addressed = {a.device for a in namespace.addresses}
    for bridge in namespace.links:
        if not isinstance(bridge, Bridge) or bridge.name in addressed:
            continue
        for network in sorted(_networks_behind(state, namespace, bridge.name), key=str):
            free = next((a for a in network.hosts() if a not in taken), None)
            if free is None or free.version == 6:
                continue  # IPv6 is off there
            own = Address(bridge.name, ip_interface((free, network.prefixlen)))
            changed = replace(namespace, addresses=(*namespace.addresses, own))
            thing = bridge.altname or bridge.name
            yield _fault(state, fault.PRESENCE, changed, thing, f"address {own.address}")


def _networks_behind(state: State, host: Namespace, bridge: str) -> set[IPNetwork]:
    """Return the prefixes of those whose NICs are ports of a bridge."""
    ports = {link.name for link in host.links if link.master == bridge}
    return {
        address.address.network
        for other in state.namespaces
        for link in other.links
        if getattr(link, "peer_namespace", "") == host.name and getattr(link, "peer", "") in ports
        for address in other.addresses
        if address.device == link.name
    }
