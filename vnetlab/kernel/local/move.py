"""Puts a NIC of this machine under a bridge, with all that it carries, and back; no packet is lost by it.

The bridge has the NIC's MAC. On the way there it gets the addresses, and the neighbours that the NIC knows,
while it has no port; then the NIC becomes its port. From here on what comes in comes in by the bridge, where
the addresses are already, and what goes out still goes straight out by the NIC. When the bridge is ready to
send, each route gets a twin by it (NLM_F_APPEND), and then the NIC's own routes and addresses go: at no
moment is there none. The way back is the same with routes first, since a port can send by itself but a bridge
without ports cannot. While the kernel makes a port of the NIC, packets take a way round (bypass.py).

Rejected: to replace routes (NLM_F_REPLACE), since of several to one prefix the kernel replaces the first,
whose device may be another one.

Addresses and routes are carried as the kernel described them: lifetimes, metrics, protocols, scopes.
Everything here looks what is there before it does anything, so it can be begun again at any point.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnetlab.kernel import messages
from vnetlab.kernel.local import carriage, devices
from vnetlab.kernel.local.facts import read_setting
from vnetlab.kernel.netlink import Netlink
from vnetlab.kernel.sysctl import write
from vnetlab.state import Sysctl

if TYPE_CHECKING:
    from vnetlab.kernel.local.bypass import Bypass
    from vnetlab.kernel.local.carriage import Carried

_LOOSE = "2"
"""rp_filter: any route back will do (RFC 3704); while routes and frames change sides nothing stricter can."""
_COPIED = {
    "ipv4": (
        "rp_filter", "accept_local", "accept_source_route", "accept_redirects", "secure_redirects",
        "send_redirects", "shared_media", "proxy_arp", "arp_filter", "arp_ignore", "arp_announce",
        "arp_accept", "log_martians", "route_localnet", "promote_secondaries", "forwarding",
    ),
    "ipv6": (
        "accept_ra", "accept_ra_defrtr", "accept_ra_pinfo", "accept_redirects", "autoconf", "use_tempaddr",
        "hop_limit", "addr_gen_mode", "forwarding", "disable_ipv6",
    ),
}  # fmt: skip


def copy_settings(nic: str, bridge: str) -> None:
    """Give a bridge that is still down the settings of the NIC whose place it takes. Raises KernelError."""
    for family, keys in _COPIED.items():
        for key in keys:
            value = read_setting(f"net/{family}/conf/{nic}/{key}")
            if value is not None:
                write((Sysctl(f"net/{family}/conf/{bridge}/{key}", value),))
    for key in ("accept_dad", "dad_transmits"):  # the addresses are in use already
        write((Sysctl(f"net/ipv6/conf/{bridge}/{key}", "0"),))


def look(nic: str) -> tuple[str, Carried]:
    """Return a NIC's MAC and what it carries; raises KernelError, also for what could not be moved."""
    with Netlink() as netlink:
        link = next(link for link in devices.links(netlink) if link.name == nic)
        found = carriage.Carried(
            carriage.addresses(netlink, link.index), carriage.routes(netlink, link.index)
        )
        carriage.check(nic, found)
        return link.mac, found


def put_under(bypass: Bypass, bridge: str) -> None:
    """Make a NIC a port of a bridge that is up, and give the bridge what it carries; raises KernelError."""
    nic = bypass.nic
    with Netlink() as netlink:
        known = devices.indices(netlink)
        near, far = known[nic], known[bridge]
        _loosen(bridge)
        what = f"move from {nic} to {bridge}"
        _copy(netlink, what, near, far)
        with bypass.open(carriage.addresses(netlink, near)):
            devices.send(netlink, f"make {nic} a port of {bridge}", (messages.set_master(near, far),))
        devices.await_ready(netlink, bridge)
        _turn(netlink, what, near, far)
        _remove_addresses(netlink, what, near)
        _remove_routes(netlink, what, near)
        write((Sysctl(f"net/ipv4/conf/{bridge}/rp_filter", _strictness(nic)),))


def take_back(bypass: Bypass, bridge: str) -> None:
    """Give a NIC back what its bridge carries, and take it from the bridge; raises KernelError."""
    nic = bypass.nic
    with Netlink() as netlink:
        links = {link.name: link for link in devices.links(netlink)}
        if nic not in links or bridge not in links:
            return
        near, far = links[nic].index, links[bridge].index
        _loosen(bridge)
        what = f"move from {bridge} back to {nic}"
        _copy(netlink, what, far, near)
        _turn(netlink, what, far, near)
        _remove_routes(netlink, what, far)
        if links[nic].master == far:
            with bypass.open(carriage.addresses(netlink, near)):
                devices.send(netlink, f"take {nic} from {bridge}", (messages.set_master(near, 0),))
        _remove_addresses(netlink, what, far)


def is_port(nic: str) -> bool:
    """Tell whether a NIC is a port of anything; raises KernelError."""
    with Netlink() as netlink:
        return any(link.master for link in devices.links(netlink) if link.name == nic)


def restore(nic: str, saved: Carried) -> None:
    """Give a NIC what it carried when its lab began and lacks now; raises KernelError."""
    with Netlink() as netlink:
        index = devices.indices(netlink)[nic]
        here = {carriage.address_key(a) for a in carriage.addresses(netlink, index)}
        lacking = [a for a in saved.addresses if carriage.address_key(a) not in here]
        what = f"give {nic} back what it had"
        devices.send(netlink, what, (carriage.add_address(a, index) for a in lacking))
        routes = {carriage.route_key(r) for r in carriage.routes(netlink, index)}
        lost = [r for r in saved.routes if carriage.route_key(r) not in routes]
        devices.send(netlink, what, (carriage.put_route(r, index) for r in _in_order(lost)))


def _copy(netlink: Netlink, what: str, near: int, far: int) -> None:
    """Give a device the addresses of another one, and tell it which neighbours that knows."""
    there = {carriage.address_key(a) for a in carriage.addresses(netlink, far)}
    own = [a for a in carriage.addresses(netlink, near) if carriage.address_key(a) not in there]
    devices.send(netlink, what, (carriage.add_address(a, far) for a in own))
    devices.send(netlink, what, list(carriage.neighbours(netlink, near, far)))


def _turn(netlink: Netlink, what: str, near: int, far: int) -> None:
    """Give every route by one device a twin by the other, where the kernel has made none by itself."""
    there = {carriage.route_key(r) for r in carriage.routes(netlink, far)}
    moved = [r for r in carriage.routes(netlink, near) if carriage.route_key(r) not in there]
    devices.send(netlink, what, (carriage.put_route(r, far) for r in _in_order(moved)))


def _in_order(routes: list[bytes]) -> list[bytes]:
    """Return routes so that there is one to the next hop of each before it: those without one come first."""
    return sorted(routes, key=carriage.has_gateway)


def _remove_routes(netlink: Netlink, what: str, index: int) -> None:
    left = carriage.routes(netlink, index)
    devices.send(netlink, what, (carriage.remove_route(r, index) for r in reversed(_in_order(list(left)))))


def _remove_addresses(netlink: Netlink, what: str, index: int) -> None:
    # The last first: with a first one of a prefix the kernel may take the others away by itself.
    own = carriage.addresses(netlink, index)
    devices.send(netlink, what, (carriage.remove_address(a, index) for a in reversed(own)))


def _loosen(bridge: str) -> None:
    """Have a bridge take packets whose way back is by its port."""
    write((Sysctl(f"net/ipv4/conf/{bridge}/rp_filter", _LOOSE),))


def _strictness(nic: str) -> str:
    return read_setting(f"net/ipv4/conf/{nic}/rp_filter") or "0"
