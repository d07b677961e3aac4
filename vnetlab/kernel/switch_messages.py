"""Options of bridges and ports (switching.py) as rtnetlink attributes, read and written.

Attributes are those of linux/if_link.h.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from vnetlab import switching
from vnetlab.kernel.attributes import number
from vnetlab.kernel.messages import change_link

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vnetlab.switching import Option

_BRIDGE = {
    "stp_state": "IFLA_BR_STP_STATE",
    "forward_delay": "IFLA_BR_FORWARD_DELAY",
    "ageing_time": "IFLA_BR_AGEING_TIME",
    "group_fwd_mask": "IFLA_BR_GROUP_FWD_MASK",
    "vlan_filtering": "IFLA_BR_VLAN_FILTERING",
    "mcast_snooping": "IFLA_BR_MCAST_SNOOPING",
    "nf_call_iptables": "IFLA_BR_NF_CALL_IPTABLES",
    "nf_call_ip6tables": "IFLA_BR_NF_CALL_IP6TABLES",
    "nf_call_arptables": "IFLA_BR_NF_CALL_ARPTABLES",
}
_PORT = {
    "hairpin": "IFLA_BRPORT_MODE",
    "learning": "IFLA_BRPORT_LEARNING",
    "flood": "IFLA_BRPORT_UNICAST_FLOOD",
    "mcast_flood": "IFLA_BRPORT_MCAST_FLOOD",
    "bcast_flood": "IFLA_BRPORT_BCAST_FLOOD",
    "proxy_arp": "IFLA_BRPORT_PROXYARP",
    "neigh_suppress": "IFLA_BRPORT_NEIGH_SUPPRESS",
    "locked": "IFLA_BRPORT_LOCKED",
    "group_fwd_mask": "IFLA_BRPORT_GROUP_FWD_MASK",
}
_FORWARDING = 3  # BR_STATE_FORWARDING


def of_bridge(found: Mapping[int, memoryview]) -> tuple[Option, ...]:
    """Return what of a bridge is not as usual, from the attributes in its IFLA_INFO_DATA."""
    return switching.unusual(_values(found, _BRIDGE), switching.BRIDGE)


def of_port(found: Mapping[int, memoryview]) -> tuple[Option, ...]:
    """Return what of a port is not as usual, from the attributes in its IFLA_INFO_SLAVE_DATA."""
    return switching.unusual(_values(found, _PORT), switching.PORT)


def _values(found: Mapping[int, memoryview], named: Mapping[str, str]) -> dict[str, int]:
    # A kernel leaves out what it was built without, and that is as if it were not used.
    here = {name: found[number(attribute)] for name, attribute in named.items() if number(attribute) in found}
    return {name: int.from_bytes(value, sys.byteorder) for name, value in here.items()}


def set_bridge(index: int, option: Option) -> bytes:
    """Return the request that gives a bridge an option."""
    data = ("IFLA_INFO_DATA", ((_BRIDGE[option.name], option.value),))
    return change_link(index, ("IFLA_LINKINFO", (("IFLA_INFO_KIND", "bridge"), data)))


def set_port(index: int, option: Option) -> bytes:
    """Return the request that gives a port an option."""
    return _port(index, _PORT[option.name], option.value)


def set_forwarding(index: int) -> bytes:
    """Return the request that has a port forward, which nothing but its state keeps from it."""
    return _port(index, "IFLA_BRPORT_STATE", _FORWARDING)


def forget_macs(index: int) -> bytes:
    """Return the request that has a bridge forget what it has learned to be behind a port."""
    return _port(index, "IFLA_BRPORT_FLUSH", b"")


def _port(index: int, attribute: str, value: int | bytes) -> bytes:
    data = ("IFLA_INFO_SLAVE_DATA", ((attribute, value),))
    return change_link(index, ("IFLA_LINKINFO", (("IFLA_INFO_SLAVE_KIND", "bridge"), data)))
