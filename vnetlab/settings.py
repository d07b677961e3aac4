"""Kernel settings that every namespace of a lab gets, whatever it inherited.

A new namespace may take its `default` and `all` values from the initial one (`devconf_inherit_init_net`,
kernel documentation admin-guide/sysctl/net.rst), so each setting that an outcome depends on is written. The
meaning of the keys is in the kernel's networking/ip-sysctl.rst.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnetlab.state import Sysctl

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_IPV4 = {
    "forwarding": "0",
    "rp_filter": "0",  # the guard chain filters sources, of both families alike
    "accept_local": "0",
    "route_localnet": "0",
    "accept_source_route": "0",
    "accept_redirects": "0",
    "send_redirects": "0",
    "proxy_arp": "0",
    "arp_filter": "0",
    "arp_ignore": "1",  # no answer for an address of another interface (ARP flux)
    "arp_announce": "2",
    "bc_forwarding": "0",
    "drop_unicast_in_l2_multicast": "0",
}
_IPV6 = {
    "forwarding": "0",
    "accept_ra": "0",  # a VM's router advertisement must not change anybody's routes
    "accept_redirects": "0",
    "autoconf": "0",
    "router_solicitations": "0",
    "accept_dad": "0",
    "dad_transmits": "0",
    "addr_gen_mode": "0",
    "proxy_ndp": "0",
    "use_tempaddr": "0",
    "hop_limit": "64",
}
# Errors and answers are part of what is promised: no budget may silence the second of two.
_ICMP = {
    "net/ipv4/icmp_ratelimit": "0",
    "net/ipv4/icmp_msgs_per_sec": "1000000",
    "net/ipv4/icmp_msgs_burst": "100000",
    "net/ipv6/icmp/ratelimit": "0",
    "net/ipv4/icmp_echo_ignore_all": "0",
    "net/ipv6/icmp/echo_ignore_all": "0",
    "net/ipv4/icmp_echo_ignore_broadcasts": "1",
    "net/ipv4/ip_default_ttl": "64",
    "net/ipv4/ip_no_pmtu_disc": "0",
}
_BRIDGE_NETFILTER = {
    "net/bridge/bridge-nf-call-iptables": "0",
    "net/bridge/bridge-nf-call-ip6tables": "0",
    "net/bridge/bridge-nf-call-arptables": "0",
}


def _settings(ipv6: bool) -> Iterator[Sysctl]:
    for key, value in (_ICMP | _BRIDGE_NETFILTER).items():
        yield Sysctl(key, value)
    for scope in ("all", "default"):
        for key, value in _IPV4.items():
            yield Sysctl(f"net/ipv4/conf/{scope}/{key}", value)
        for key, value in _IPV6.items():
            yield Sysctl(f"net/ipv6/conf/{scope}/{key}", value)
    # New devices start without IPv6 and get it where an address asks for it: a port or an uplink that
    # nobody gave an IPv6 address must not have a link-local one.
    yield Sysctl("net/ipv6/conf/all/disable_ipv6", "0" if ipv6 else "1")
    yield Sysctl("net/ipv6/conf/default/disable_ipv6", "1")


def merged(*groups: Iterable[Sysctl]) -> tuple[Sysctl, ...]:
    """Return the settings of all groups in order, each key once; a later group has the last word."""
    # The very same objects for all nodes: a lab has tens of thousands, and they travel to its agent.
    last = {sysctl.key: sysctl for group in groups for sysctl in group}
    return tuple(last.values())


NODE: tuple[Sysctl, ...] = tuple(_settings(ipv6=True))
"""Hosts, VMs and machines."""

ROUTER: tuple[Sysctl, ...] = merged(
    NODE,
    (
        Sysctl(f"net/{ip}/conf/{scope}/forwarding", "1")
        for ip in ("ipv4", "ipv6")
        for scope in ("all", "default")
    ),
)
"""Routers between segments: every interface forwards."""

SWITCH: tuple[Sysctl, ...] = tuple(_settings(ipv6=False))
"""Segments, which have no part in IP."""
