"""Which flows a fault of devices, addresses or settings can concern at all.

Rules need no such list: which flows met them is known one by one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnetlab.guarantees import Protocol, Special
from vnetlab.mutate import fault as kinds
from vnetlab.mutate.links import SMALL_MTUS

if TYPE_CHECKING:
    from vnetlab.guarantees import Flow
    from vnetlab.mutate.fault import Fault


def concerns(fault: Fault, flow: Flow) -> bool:
    """Tell whether a flow may be treated otherwise because of a fault, by its kind alone."""
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
