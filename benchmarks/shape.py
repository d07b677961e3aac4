"""The topology that is measured: sites of four hosts, each host with a network of every mode.

One site, which is twenty networks, up to a thousand machines; beyond, a site for each thousand, with a LAN of
its own. So the work grows with the machines alone: on one LAN every machine would get a route to every
routed network, and a host with thousands of machines costs the kernel more for each of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MODES = ("bridge", "isolated", "routed", "host-only", "nat")
MACHINES_PER_SITE = 1000
HOSTS_PER_SITE = 4
_LAN4 = IPv4Address("192.0.0.0")
_LAN6 = IPv6Address("2001:db8:1::")
_PRIVATE = {"isolated": 16, "routed": 32, "host-only": 48, "nat": 64}
"""The second octet of the first network of a mode: the n-th is the n-th /22 from 10.x.0.0 on."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How many machines at how many sites, and how many hosts a site has."""

    machines: int
    sites: int
    hosts_per_site: int

    @property
    def hosts(self) -> int:
        """How many hosts there are."""
        return self.sites * self.hosts_per_site

    @property
    def lan_length(self) -> int:
        """Prefix length of a LAN: room for the machines of bridge networks, and some."""
        return 22 if self.machines <= self.sites * 4000 else 19

    @property
    def networks(self) -> int:
        """How many networks there are: one of each mode on every host."""
        return self.hosts * len(MODES)


def shape_for(machines: int, hosts_per_site: int = HOSTS_PER_SITE, sites: int = 0) -> Shape:
    """Return the shape of so many machines; 0 sites means one for each thousand."""
    return Shape(machines, sites or -(-machines // MACHINES_PER_SITE), hosts_per_site)


def topology_text(shape: Shape) -> str:
    """Return the topology file."""
    sites = range(shape.sites)
    lines = [f"name: bench{shape.machines}", "segments:"]
    lines += [f'  lan{site}: {{subnets: [{_lan4(shape, site)}, "{_lan6(site)}"]}}' for site in sites]
    lines += ["hosts:"]
    lines += [line for host in range(shape.hosts) for line in _host(shape, host)]
    lines += ["machines:"]
    lines += [f"  peer{site}: lan{site}" for site in sites]
    return "\n".join(lines) + "\n"


def _lan4(shape: Shape, site: int) -> IPv4Network:
    return IPv4Network((int(_LAN4) + (site << (32 - shape.lan_length)), shape.lan_length))


def _lan6(site: int) -> IPv6Network:
    return IPv6Network((int(_LAN6) + (site << 64), 64))


def _host(shape: Shape, host: int) -> Iterator[str]:
    site, place = divmod(host, shape.hosts_per_site)
    four, six = _lan4(shape, site), _lan6(site)
    addresses = f'{four[2 + place]}/{shape.lan_length}, "{six[0x10 + place]}/64"'
    yield f"  hv{host}:"
    yield f"    nics: {{eth0: {{segment: lan{site}, addresses: [{addresses}]}}}}"
    yield "    networks:"
    yield from (f"      {mode}{host}: {_network(host, mode)}" for mode in MODES)
    yield "    vms:"
    for number in range(host, shape.machines, shape.hosts):
        mode = MODES[number // shape.hosts % len(MODES)]
        yield f"      vm{number}: {mode}{host}"


def _network(host: int, mode: str) -> str:
    uplink = "" if mode in ("isolated", "host-only") else ", uplink: eth0"
    if mode == "bridge":
        return f"{{mode: {mode}{uplink}}}"
    index = (_PRIVATE[mode] << 16) + (host << 10)
    four = IPv4Network((int(IPv4Address("10.0.0.0")) + index, 22))
    six = IPv6Network((int(IPv6Address("fd00::")) + (index << 64), 64))
    return f'{{mode: {mode}{uplink}, subnets: [{four}, "{six}"]}}'
