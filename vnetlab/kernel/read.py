"""What is there: a State read back from the kernel, without knowing what was wanted.

Runs inside a lab (see agent.py). Of the settings it reads those that say what becomes of packets. What the
kernel makes by itself (link-local addresses, connected routes, `lo`) is left out, as in a desired State.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING

from msgspec import Struct

from vnetlab.errors import KernelError
from vnetlab.kernel import nftables, read_messages, read_peers, read_policy, read_tables, shared
from vnetlab.kernel.netlink import Netlink
from vnetlab.policy import TableRoute
from vnetlab.settings import NODE
from vnetlab.state import Bridge, Link, Namespace, State, StaticRoute, Sysctl, Tap, Veth

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from vnetlab.kernel.read_messages import Found
    from vnetlab.kernel.spaces import Spaces
    from vnetlab.kernel.sysctl import Settings
    from vnetlab.policy import Policy
    from vnetlab.state import Address, Neighbour, NftTable

SEGMENT = "segment:"
_DEVICE_SETTINGS = {
    "ipv4": {
        "forwarding": 0,
        "rp_filter": 7,
        "accept_local": 22,
        "route_localnet": 25,
        "proxy_arp": 2,
        "arp_filter": 12,
        "arp_ignore": 18,
    },
    "ipv6": {"forwarding": 0, "force_forwarding": 59, "disable_ipv6": 26, "accept_ra": 3, "hop_limit": 1},
}
"""What is read of each device, and its place in the array that the kernel shows (linux/ip.h, ipv6.h)."""
_SETTINGS = tuple(
    dict.fromkeys(
        (
            *(sysctl.key for sysctl in NODE),
            *(
                f"net/{ip}/conf/{scope}/{name}"
                for ip, names in _DEVICE_SETTINGS.items()
                for scope in ("all", "default")
                for name in names
            ),
        )
    )
)
"""Of a namespace: all that a lab sets anywhere, and for new devices what is read of each."""
_LOOPBACK = "lo"


class Node(Struct, frozen=True):
    """A node of the lab, of which the kernel knows no more than the namespace."""

    name: str
    kind: str
    """``host``, ``vm`` or ``machine``."""


def nodes_of(state: State) -> tuple[Node, ...]:
    """Return the nodes of a State's lab, as read() has to be told of them."""
    return tuple(Node(n.name, n.kind) for n in state.namespaces if n.kind != "segment")


class _Contents(Struct, frozen=True):
    links: tuple[Found, ...]
    addresses: tuple[Address, ...]
    neighbours: tuple[Neighbour, ...]
    routes: tuple[StaticRoute, ...]
    sysctls: tuple[Sysctl, ...]
    tables: tuple[NftTable, ...]
    policy: Policy
    beyond: tuple[str, ...]


def read(spaces: Spaces, nodes: tuple[Node, ...]) -> State:
    """Return the State of every namespace of the lab: segments, then the nodes in their order.

    Raises KernelError, and FeatureUnavailable where libnftables is missing.
    """
    kinds = {node.name: node.kind for node in nodes}
    names = dict.fromkeys(spaces.names())
    ordered = [name for name in names if name.startswith(SEGMENT)]
    ordered += [name for name in kinds if name in names]
    ordered += [name for name in names if name not in kinds and not name.startswith(SEGMENT)]
    contents = dict(zip(ordered, shared.answers(partial(_inside, spaces), ordered), strict=True))
    try:
        peers = read_peers.pairs(spaces, ((name, link) for name in ordered for link in contents[name].links))
    except OSError as error:
        raise KernelError(f"reading the ends of veth pairs: {error.strerror}") from error
    return State(
        tuple(
            _namespace(
                name, "segment" if name.startswith(SEGMENT) else kinds.get(name, "machine"), found, peers
            )
            for name, found in contents.items()
        )
    )


def _inside(spaces: Spaces, name: str) -> _Contents:
    with spaces.inside(name):
        return _contents(spaces.settings)


def _contents(settings: Settings) -> _Contents:
    with Netlink() as netlink:
        links = [read_messages.link(body) for body in _dump(netlink, read_messages.GET_LINKS)]
        names = {link.index: link.name for link in links}
        addresses = _addresses(netlink, {index: name for index, name in names.items() if name != _LOOPBACK})
        routes = [read_messages.route(b, names) for b in _dump(netlink, read_messages.GET_ROUTES)]
        entries = [read_messages.neighbour(b, names) for b in _dump(netlink, read_messages.GET_NEIGHBOURS)]
        elsewhere = [route for route in routes if isinstance(route, TableRoute)]
        policy, odd = read_policy.policy(_dump(netlink, read_messages.GET_RULES), elsewhere)
    listing = nftables.ruleset()
    odd += tuple(route for route in routes if isinstance(route, str))
    odd += ("a dormant nftables table",) if read_tables.dormant(listing) else ()
    macs = {link.name: link.mac for link in links}
    return _Contents(
        tuple(link for link in links if link.name != _LOOPBACK),
        tuple(a for a in addresses if not _is_automatic(a, macs.get(a.device, ""))),
        tuple(entry for entry in entries if entry and entry.device != _LOOPBACK),
        tuple(route for route in routes if isinstance(route, StaticRoute)),
        _sysctls(tuple(_settings(settings, links))),
        read_tables.tables(listing),
        policy,
        odd,
    )


def _addresses(netlink: Netlink, names: Mapping[int, str]) -> list[Address]:
    """Return the addresses of these devices in the order in which they were given.

    The kernel puts a new IPv6 address before the others of its device (`ipv6_link_dev_addr`).
    """
    bodies = _dump(netlink, read_messages.GET_ADDRESSES)
    found = [read_messages.address(b, names) for b in bodies if read_messages.of_device(b) in names]
    four = [each for each in found if each.address.version == 4]
    return four + [each for each in reversed(found) if each.address.version == 6]


def _dump(netlink: Netlink, kind: int) -> Iterator[memoryview]:
    return (body for _, body in netlink.dump(read_messages.dump(kind)))


def _is_automatic(address: Address, mac: str) -> bool:
    own = address.address
    return own.is_link_local and bool(mac) and own.ip == read_messages.automatic_address(mac).ip


def _settings(settings: Settings, links: list[Found]) -> Iterator[tuple[str, str]]:
    for key in _SETTINGS:
        value = settings.read(key)
        if value is not None:  # a kernel without it behaves as if it were off
            yield key, value
    yield from device_settings(links)


def device_settings(links: Sequence[Found]) -> Iterator[tuple[str, str]]:
    """Yield what is read of each device, from what the kernel tells with it: files would take longer."""
    for family, names in _DEVICE_SETTINGS.items():
        for link in links:
            values = link.settings.get(family, ())
            for name, place in names.items():
                if place < len(values):
                    yield f"net/{family}/conf/{link.name}/{name}", str(values[place])


@lru_cache(maxsize=64)
def _sysctls(settings: tuple[tuple[str, str], ...]) -> tuple[Sysctl, ...]:
    """Return settings, the very same ones for all machines where they are alike."""
    return tuple(Sysctl(key, value) for key, value in settings)


def _namespace(
    name: str, kind: str, found: _Contents, peers: dict[read_peers.End, read_peers.End]
) -> Namespace:
    names = {link.index: link.name for link in found.links}
    return Namespace(
        name,
        kind,
        tuple(_link(name, link, names, peers) for link in found.links),
        found.addresses,
        found.neighbours,
        found.routes,
        found.sysctls,
        found.tables,
        found.policy,
        found.beyond,
    )


def _link(
    space: str, found: Found, names: dict[int, str], peers: dict[read_peers.End, read_peers.End]
) -> Link:
    master = names.get(found.master, "")
    peer = peers.get((space, found.name))
    name, altname, mac, mtu = found.name, found.altname, found.mac, found.mtu
    if found.kind == "veth" and peer:
        return Veth(
            name=name, altname=altname, mac=mac, mtu=mtu, master=master, isolated=found.isolated, up=found.up,
            options=found.options, peer_namespace=peer[0], peer=peer[1],
        )  # fmt: skip
    kinds: dict[str, type[Link]] = {"bridge": Bridge, "tun": Tap}
    kind = kinds.get(found.kind, Link)
    return kind(
        name=name, altname=altname, mac=mac, mtu=mtu, master=master, isolated=found.isolated, up=found.up,
        options=found.options,
    )  # fmt: skip
