"""A namespace of a State, indexed: devices, bridges, settings, routes and hooks as a packet needs them."""

from __future__ import annotations

from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING

from msgspec import Struct

from vnetlab.items import Item, ItemKind
from vnetlab.policy import NO_POLICY
from vnetlab.predict.fib import LOOPBACK, Fib, Given, OwnAddress
from vnetlab.predict.hooks import Hooks
from vnetlab.predict.packet import link_local
from vnetlab.predict.passage import Unknown
from vnetlab.predict.policy import OWN, Asked, BarredError, PolicyRouting
from vnetlab.predict.tables import base_chains
from vnetlab.state import Bridge, Tap, Veth

if TYPE_CHECKING:
    from vnetlab.predict.fib import Entry, Way
    from vnetlab.state import Link, Namespace, Sysctl

_LOOPBACK_MTU = 65536


class Device(Struct, frozen=True):
    """A network device, as far as packets care."""

    name: str
    kind: str
    """``bridge``, ``veth``, ``tap``, ``loopback`` or ``other``."""
    mac: str
    mtu: int
    master: str = ""
    isolated: bool = False
    peer: tuple[str, str] = ("", "")
    """Namespace and name of a veth's other end."""
    up: bool = True
    entered: Item | None = None
    """What is written down where a frame comes in by it; None: a bridge, or the loopback."""
    left: Item | None = None
    """What is written down where a frame goes out by it."""


class Space:
    """One namespace; everything is worked out when first asked for."""

    def __init__(self, namespace: Namespace) -> None:
        self.namespace = namespace
        self.name = namespace.name
        self.kind = namespace.kind
        self.devices = {link.name: _device(link, namespace.name) for link in namespace.links}
        self._settings = written(namespace.sysctls)
        self.asked: dict[tuple[str, str, int], int] = {}
        """Every setting that was asked for, as keys to be tried in order and the default, with the answer."""
        self.beyond = namespace.beyond[0] if namespace.beyond else self._unmodelled()
        self.devices[LOOPBACK] = Device(LOOPBACK, "loopback", "00:00:00:00:00:00", _LOOPBACK_MTU)

    def _unmodelled(self) -> str:
        """Return what of settings and switches the model has no idea of; empty for nothing."""
        odd = (f"{link.name} has {option}" for link in self.namespace.links for option in link.options)
        calls = (f"net/bridge/bridge-nf-call-{which}" for which in ("iptables", "ip6tables", "arptables"))
        return next(chain(odd, (f"{key} is on" for key in calls if self.plain_setting(key))), "")

    @cached_property
    def ports(self) -> dict[str, tuple[Device, ...]]:
        """The ports of every bridge."""
        found: dict[str, list[Device]] = {d.name: [] for d in self.devices.values() if d.kind == "bridge"}
        for device in self.devices.values():
            if device.master:
                found.setdefault(device.master, []).append(device)
        return {bridge: tuple(ports) for bridge, ports in found.items()}

    @cached_property
    def bridge_macs(self) -> dict[str, frozenset[str]]:
        """The MACs that a bridge takes for its host: its own, and those of its ports."""
        return {
            bridge: frozenset({self.devices[bridge].mac, *(port.mac for port in ports)})
            for bridge, ports in self.ports.items()
            if bridge in self.devices
        }

    def master_of(self, device: str) -> str:
        """Return the bridge that a device is a port of; empty for none."""
        found = self.devices.get(device)
        return found.master if found else ""

    @cached_property
    def hooks(self) -> Hooks:
        """The namespace's nftables, by hook."""
        return Hooks(base_chains(self.namespace.tables, self.name))

    @property
    def tracks(self) -> frozenset[int]:
        """The IP versions that anything here has conntrack at work for."""
        return self.hooks.tracks

    def setting(self, family: str, device: str, name: str, default: int = 0) -> int:
        """Return a device's setting below ``net/FAMILY/conf``; new devices start from ``default``."""
        conf = f"net/{family}/conf"
        return self.answer(f"{conf}/{device}/{name}", f"{conf}/default/{name}", default)

    def most(self, family: str, device: str, name: str) -> int:
        """Return the larger of a device's setting and that of ``all`` (`IN_DEV_MAXCONF`)."""
        return max(self.plain_setting(f"net/{family}/conf/all/{name}"), self.setting(family, device, name))

    def plain_setting(self, key: str, default: int = 0) -> int:
        """Return a setting that has no device."""
        return self.answer(key, "", default)

    def answer(self, key: str, otherwise: str, default: int) -> int:
        """Return the first of two settings that is there, and remember that it was asked for."""
        question = (key, otherwise, default)
        known = self.asked.get(question)
        if known is None:
            value = self._settings.get(key, self._settings.get(otherwise))
            known = self.asked[question] = default if value is None else int(value)
        return known

    def forwards(self, version: int, device: str) -> bool:
        """Tell whether what comes in by a device may be forwarded.

        IPv6 asks `all`, and of the device only `force_forwarding` (ip-sysctl).
        """
        if version == 4:
            return bool(self.setting("ipv4", device, "forwarding"))
        overall = self.plain_setting("net/ipv6/conf/all/forwarding")
        return bool(overall) or bool(self.setting("ipv6", device, "force_forwarding"))

    def has_ipv6(self, device: str) -> bool:
        """Tell whether a device takes part in IPv6 at all."""
        return device == LOOPBACK or not self.setting("ipv6", device, "disable_ipv6")

    def fib(self, version: int) -> Fib:
        """Return a family's addresses, and the routes of its table `main`."""
        return self._fib4 if version == 4 else self._fib6

    @cached_property
    def policy(self) -> PolicyRouting | None:
        """Policy routing; None where all is as in a new namespace, and the table `main` decides alone."""
        policy = self.namespace.policy
        return None if policy == NO_POLICY else PolicyRouting(policy, self.fib, self._takes_part)

    def way(self, version: int, destination: int, device: str = "", asked: Asked = OWN) -> Way | None:
        """Return where a packet goes; ``device`` restricts routes to that device. Raises Unknown."""
        if self.policy is None:
            return self.fib(version).way(destination, device)
        return self.policy.way(version, destination, device, asked)

    def leading_out_of(self, version: int, device: str) -> tuple[Entry, ...]:
        """Return all routes by which packets are forwarded out of a device."""
        found = self.fib(version).leading_out_of(device)
        return (*found, *self.policy.leading_out_of(version, device)) if self.policy else found

    def way_unless_barred(
        self, version: int, destination: int, device: str = "", asked: Asked = OWN
    ) -> Way | None:
        """Do as way(); None too where a policy rule bars the packet."""
        try:
            return self.way(version, destination, device, asked)
        except BarredError:
            return None

    def certain(self, version: int, destination: int, device: str, way: Way, source: int) -> None:
        """Raise Unknown where a packet would go another way once this source is chosen for it."""
        if self.policy and self.policy.way(version, destination, device, Asked(source)) != way:
            raise Unknown("whether its route is looked up before it has a source address, or after")

    @cached_property
    def _fib4(self) -> Fib:
        return Fib(4, self._addresses(4), self._routes(4))

    @cached_property
    def _fib6(self) -> Fib:
        own = self._addresses(6)
        given = {(a.device, a.address) for a in own}
        for device in self.devices.values():
            if device.kind == "loopback" or not device.mac or not self._takes_part(6, device.name):
                continue
            address = link_local(device.mac)
            if (device.name, address) not in given:
                own.append(OwnAddress(device.name, address, 64))
        routers = frozenset(
            d for d in self.devices if self.plain_setting("net/ipv6/conf/all/forwarding") and d != LOOPBACK
        )
        return Fib(6, own, self._routes(6), routers)

    def _takes_part(self, version: int, device: str) -> bool:
        """Tell whether a device's addresses and routes count: one that is down has none."""
        found = self.devices.get(device)
        return found is not None and found.up and (version == 4 or self.has_ipv6(device))

    def _addresses(self, version: int) -> list[OwnAddress]:
        return [
            OwnAddress(each.device, int(each.address.ip), each.address.network.prefixlen)
            for each in self.namespace.addresses
            if each.address.version == version and self._takes_part(version, each.device)
        ]

    def _routes(self, version: int) -> list[Given]:
        return [
            Given(
                int(route.prefix.network_address),
                route.prefix.prefixlen,
                int(route.via),
                route.device,
                str(route),
                Item(ItemKind.ROUTE, self.name, str(route)),
            )
            for route in sorted(self.namespace.routes, key=lambda route: route.priority)
            if route.prefix.version == version and self._takes_part(version, route.device)
        ]

    @cached_property
    def permanent_neighbours(self) -> dict[tuple[str, int, int], tuple[str, Item]]:
        """The MAC of each permanent entry, and what it is, by device, version and address."""
        return {
            (each.device, each.address.version, int(each.address)): (
                each.mac,
                Item(ItemKind.NEIGHBOUR, self.name, str(each)),
            )
            for each in self.namespace.neighbours
        }


def written(sysctls: tuple[Sysctl, ...]) -> dict[str, str]:
    """Return the settings as they are after all are written, in order.

    Writing these two for `all` writes them for every device, and for those to come (ip-sysctl).
    """
    found: dict[str, str] = {}
    for sysctl in sysctls:
        head, _, name = sysctl.key.rpartition("/")
        if head in ("net/ipv4/conf/all", "net/ipv6/conf/all") and name in ("forwarding", "disable_ipv6"):
            conf = head.removesuffix("all")
            spread = [key for key in found if key.startswith(conf) and key.endswith(f"/{name}")]
            found |= dict.fromkeys((*spread, f"{conf}default/{name}"), sysctl.value)
        found[sysctl.key] = sysctl.value
    return found


def _device(link: Link, namespace: str) -> Device:
    kind, peer = "other", ("", "")
    if isinstance(link, Bridge):
        kind = "bridge"
    elif isinstance(link, Veth):
        kind, peer = "veth", (link.peer_namespace, link.peer)
    elif isinstance(link, Tap):
        kind = "tap"
    return Device(
        link.name,
        kind,
        link.mac,
        link.mtu,
        link.master,
        link.isolated,
        peer,
        link.up,
        *_ways(link, namespace),
    )


def _ways(link: Link, namespace: str) -> tuple[Item | None, Item | None]:
    if isinstance(link, Bridge):
        return None, None
    port = Item(ItemKind.PORT, namespace, link.name, link.altname)
    return port._replace(way="in"), port._replace(way="out")
