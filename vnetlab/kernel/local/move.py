"""Puts a NIC of this machine under a bridge, with all that it carries, and back; no packet is lost by it.

The bridge has the NIC's MAC. On the way there it gets the addresses, and the neighbours that the NIC knows,
while it has no port; then the NIC becomes its port. From here on what comes in comes in by the bridge, where
the addresses are already, and what goes out still goes straight out by the NIC. When the bridge is ready to
send, each route gets a twin by it (NLM_F_APPEND), and then the NIC's own routes and addresses go: at no moment
is there none. The way back is the same with routes first, since a port can send by itself but a bridge without
ports cannot.

Rejected: to replace routes (NLM_F_REPLACE), since of several to one prefix the kernel replaces the first,
whose device may be another one.

Addresses and routes are carried as the kernel described them: lifetimes, metrics, protocols, scopes.
Everything here looks what is there before it does anything, so it can be begun again at any point.
"""

from __future__ import annotations

import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vnetlab.errors import KernelError
from vnetlab.kernel import messages, read_messages
from vnetlab.kernel.local import carriage
from vnetlab.kernel.local.facts import read_setting
from vnetlab.kernel.netlink import Netlink, attributes
from vnetlab.kernel.sysctl import write
from vnetlab.state import Sysctl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vnetlab.kernel.local.carriage import Carried

READY = 10.0
"""Seconds. A bridge sends from the moment on that the kernel has noticed its first port (linkwatch)."""
_PAUSE = 0.002
_LOOSE = "2"
"""rp_filter: any route back will do (RFC 3704); while routes and frames change sides nothing stricter can."""
_LINK = struct.Struct("=BxHiII")  # struct ifinfomsg
_IFLA_QDISC, _IFLA_OPERSTATE, _UP = 6, 16, 6
_COPIED = {
    "ipv4": (
        "rp_filter", "accept_local", "accept_source_route", "accept_redirects", "secure_redirects",
        "send_redirects", "shared_media", "proxy_arp", "arp_filter", "arp_ignore", "arp_announce", "arp_accept",
        "log_martians", "route_localnet", "promote_secondaries", "forwarding",
    ),
    "ipv6": (
        "accept_ra", "accept_ra_defrtr", "accept_ra_pinfo", "accept_redirects", "autoconf", "use_tempaddr",
        "hop_limit", "addr_gen_mode", "forwarding", "disable_ipv6",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Request:
    """What a request is for, in errors."""

    text: str

    def describe(self) -> str:
        return self.text


def copy_settings(nic: str, bridge: str) -> None:
    """Give a bridge that is still down the settings of the NIC whose place it takes. Raises KernelError."""
    for family, keys in _COPIED.items():
        for key in keys:
            value = read_setting(f"net/{family}/conf/{nic}/{key}")
            if value is not None:
                write((Sysctl(f"net/{family}/conf/{bridge}/{key}", value),))
    for key in ("accept_dad", "dad_transmits"):  # the addresses are in use already
        write((Sysctl(f"net/ipv6/conf/{bridge}/{key}", "0"),))


def put_under(nic: str, bridge: str) -> None:
    """Make a NIC a port of a bridge that is up, and give the bridge what the NIC carries; raises KernelError."""
    with Netlink() as netlink:
        indices = _indices(netlink)
        near, far = indices[nic], indices[bridge]
        strict = _loosened(bridge)
        what = f"move from {nic} to {bridge}"
        _send(netlink, what, (*_missing_addresses(netlink, near, far), *carriage.neighbours(netlink, near, far)))
        _send(netlink, f"make {nic} a port of {bridge}", (messages.set_master(near, far),))
        _await(netlink, far, bridge)
        _turn(netlink, what, near, far)
        write((strict,))


def take_back(nic: str, bridge: str) -> None:
    """Give a NIC back what its bridge carries, and take it from the bridge; raises KernelError."""
    with Netlink() as netlink:
        indices = _indices(netlink)
        near, far = indices.get(nic, 0), indices.get(bridge, 0)
        if not near or not far:
            return
        _loosened(bridge)
        what = f"move from {bridge} back to {nic}"
        new = _missing_addresses(netlink, far, near)
        _send(netlink, what, (*new, *carriage.neighbours(netlink, far, near)))
        _turn(netlink, what, far, near, keep=True)
        if _master(netlink, near) == far:
            _send(netlink, f"take {nic} from {bridge}", (messages.set_master(near, 0),))
        _remove_addresses(netlink, what, far)


def restore(nic: str, saved: Carried) -> None:
    """Give a NIC what it carried when its lab began and lacks now; raises KernelError."""
    with Netlink() as netlink:
        index = _indices(netlink).get(nic, 0)
        if not index:
            return
        here = {carriage.address_key(a) for a in carriage.addresses(netlink, index)}
        lacking = [a for a in saved.addresses if carriage.address_key(a) not in here]
        _send(netlink, f"give {nic} its addresses back", (carriage.add_address(a, index) for a in lacking))
        routes = {carriage.route_key(r) for r in carriage.routes(netlink, index)}
        lost = [r for r in saved.routes if carriage.route_key(r) not in routes]
        _send(netlink, f"give {nic} its routes back", (carriage.put_route(r, index) for r in lost))


def look(nic: str) -> Carried:
    """Return what a NIC carries; raises KernelError, also for what could not be moved."""
    with Netlink() as netlink:
        index = _indices(netlink)[nic]
        found = carriage.Carried(carriage.addresses(netlink, index), carriage.routes(netlink, index))
        carriage.check(nic, found)
        return found


def _turn(netlink: Netlink, what: str, near: int, far: int, *, keep: bool = False) -> None:
    """Turn every route from one device to another, then take away what is left on the first."""
    there = {carriage.route_key(r) for r in carriage.routes(netlink, far)}
    own = carriage.routes(netlink, near)
    moved = [r for r in own if carriage.route_key(r) not in there]
    # Those that others need as their next hop's come first: of connected prefixes, without a gateway.
    moved.sort(key=carriage.has_gateway)
    _send(netlink, what, (carriage.put_route(r, far) for r in moved))
    if not keep:
        _remove_addresses(netlink, what, near)
    _send(netlink, what, (carriage.remove_route(r, near) for r in carriage.routes(netlink, near)))


def _remove_addresses(netlink: Netlink, what: str, index: int) -> None:
    # The last first: with a first one of a prefix the kernel may take the others away by itself.
    own = reversed(carriage.addresses(netlink, index))
    _send(netlink, what, (carriage.remove_address(a, index) for a in own))


def _missing_addresses(netlink: Netlink, near: int, far: int) -> tuple[bytes, ...]:
    there = {carriage.address_key(a) for a in carriage.addresses(netlink, far)}
    own = carriage.addresses(netlink, near)
    return tuple(carriage.add_address(a, far) for a in own if carriage.address_key(a) not in there)


def _loosened(bridge: str) -> Sysctl:
    """Have a bridge take packets whose way back is by its port; return the setting as it was."""
    key = f"net/ipv4/conf/{bridge}/rp_filter"
    before = Sysctl(key, read_setting(key) or "0")
    write((Sysctl(key, _LOOSE),))
    return before


def _await(netlink: Netlink, index: int, bridge: str) -> None:
    """Wait until a bridge can send: until then it drops what it is given (noop_qdisc)."""
    deadline = time.monotonic() + READY
    while True:
        for _, body in netlink.dump(read_messages.dump(read_messages.GET_LINKS)):
            if _LINK.unpack_from(body)[2] != index:
                continue
            found = attributes(body, _LINK.size)
            ready = bytes(found[_IFLA_QDISC]).rstrip(b"\0") != b"noop" and found[_IFLA_OPERSTATE][0] == _UP
            if ready:
                return
        if time.monotonic() > deadline:
            raise KernelError(f"{bridge} is not ready after {READY:.0f} s: its NIC has no carrier")
        time.sleep(_PAUSE)


def _indices(netlink: Netlink) -> dict[str, int]:
    return {link.name: link.index for link in _links(netlink)}


def _master(netlink: Netlink, index: int) -> int:
    return next((link.master for link in _links(netlink) if link.index == index), 0)


def _links(netlink: Netlink) -> list[read_messages.Found]:
    dump = netlink.dump(read_messages.dump(read_messages.GET_LINKS))
    return [read_messages.link(body) for _, body in dump]


def _send(netlink: Netlink, what: str, requests: Iterable[bytes]) -> None:
    for request in requests:
        if netlink.add(request, _Request(what)):
            netlink.flush()
    netlink.flush()
