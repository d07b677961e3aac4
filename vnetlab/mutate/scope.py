"""Which packets of the battery can concern a fault of devices, addresses or settings at all.

Rules need no such list: which packets they met is known one by one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnetlab.guarantees import Protocol, Special
from vnetlab.mutate import fault as kinds
from vnetlab.mutate.links import SMALL_MTUS

if TYPE_CHECKING:
    from vnetlab.mutate.battery import Shot
    from vnetlab.mutate.fault import Fault


def concerns(fault: Fault, shot: Shot) -> bool:
    """Tell whether a packet may be treated otherwise because of a fault, by its kind alone."""
    flow = shot.flow
    if fault.kind == kinds.MTU:
        # Answers are as long as what they answer, errors shorter than any MTU here.
        return flow.size > min(SMALL_MTUS) or flow.special is Special.FRAGMENTS
    if fault.kind == kinds.SETTING and fault.object == "accept_ra":
        return flow.special is Special.ADVERTISEMENT
    if fault.kind == kinds.SETTING and fault.object in ("arp_ignore", "proxy_arp", "rp_filter"):
        return flow.family.version == 4
    if fault.kind == kinds.SETTING:
        return flow.family.version == 6
    if fault.kind == kinds.FORWARDING:
        return flow.family.value == fault.object.split(" ", 1)[0] and flow.protocol is not Protocol.RESOLUTION
    return True
