"""The vocabulary of promises: Flow, Outcome, Guarantee, Verdict. Words only; the modes speak them."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct, field

if TYPE_CHECKING:
    from vnetlab.topology.model import Family, IPAddress


class Outcome(StrEnum):
    """What became of a flow, judged at its receiver."""

    DELIVERED = "delivered"
    """The destination saw it."""
    REFUSED = "refused"
    """The destination saw it and answered RST or port unreachable itself."""
    REJECTED = "rejected"
    """The destination did not see it; somebody on the way said no by an ICMP error."""
    SILENT = "silent"
    """The destination did not see it and nobody said anything."""


UNKNOWN = "unknown"
"""What reports call the outcome of a model that does not know."""


class VerdictKind(StrEnum):
    """How the four answers compare: promised, predicted, present and observed."""

    HOLDS = "holds"
    """All four agree, in outcome and in every promised detail."""
    BROKEN = "broken"
    """One differs from another."""
    INCONCLUSIVE = "inconclusive"
    """One is missing: the model does not know, or the observation proves nothing (a control was lost, a
    capture failed, a counter of drops moved)."""
    UNAVAILABLE = "unavailable"
    """The probe could not be made here; a feature it needs is absent."""


class Protocol(StrEnum):
    """The kinds of flow judged for every pair."""

    RESOLUTION = "resolution"
    """ARP request (RFC 826) or neighbour solicitation (RFC 4861)."""
    ICMP = "icmp"
    """Echo request and reply."""
    TCP = "tcp"
    """A connect: SYN, answered by SYN-ACK of a listener."""
    UDP = "udp"
    """One datagram; ``answer`` in the flow says whether an answer is asked for."""


class Special(StrEnum):
    """What makes a flow more than a plain unicast one."""

    NONE = ""
    CRAFTED = "crafted"
    """The sender addresses the frame to ``via`` on its own: as if it had added a route or neighbour."""
    EDGE = "edge"
    """Crafted to try what no pair of nodes owes each other: a way, a family, an address without a route."""
    FORGED = "forged-source"
    BROADCAST = "broadcast"
    MULTICAST = "multicast"
    DHCP = "dhcp"
    TTL = "ttl-exceeded"
    FRAG_NEEDED = "fragmentation-needed"
    FRAGMENTS = "fragments"
    SAME_PORT = "same-port"
    """Two senders use one source port and ICMP id at once."""
    ADVERTISEMENT = "router-advertisement"
    UNTRACKED = "untracked"
    """A TCP FIN of no connection, which connection tracking calls invalid."""
    ALIEN = "alien-source"
    """An outsider claims an address of a private network as its source."""
    VACANT = "vacant"
    """Nobody has the destination. Who asks for it says so after seconds, if at all (RFC 1122, 3.3.2.1)."""


LINK_WIDE = (Special.BROADCAST, Special.MULTICAST, Special.DHCP, Special.ADVERTISEMENT)
"""Flows to whoever is on the link: no port has to be open for them, and all hear them."""


class Flow(Struct, frozen=True):
    """One flow: what is sent. Everything in it is known from the topology."""

    family: Family
    protocol: Protocol
    destination_address: IPAddress
    source_address: IPAddress | None = None
    """None: the sending kernel chooses (only where the sender is a host)."""
    source_port: int = 0
    destination_port: int = 0
    answer: bool = True
    """Whether an answer is part of the flow (False: UDP one way)."""
    special: Special = Special.NONE
    out_nic: str = ""
    """NIC of the sender that it leaves by; empty: chosen by the sending host's kernel."""
    next_hop_mac: str = ""
    """Where the first frame goes; empty: resolved by the sending host's kernel."""
    ttl: int = 64
    size: int = 0
    """Whole IP packet in bytes; 0: as small as it comes. DF is always set in IPv4 unless FRAGMENTS."""


class Seen(Struct, frozen=True):
    """What the receiver must see of a delivered flow; None and empty mean unchecked."""

    nic: str = ""
    """NIC of the receiver that it arrives at."""
    source_address: IPAddress | None = None
    source_mac: str = ""
    ttl: int | None = None
    source_port_unprivileged: bool = False
    """The source port is 1024 or above (and need not be the sender's)."""
    destination_address: IPAddress | None = None
    """Differs from the flow's where a forward translates."""
    destination_port: int = 0


class Guarantee(Struct, frozen=True):
    """What a mode promises of one flow from one node to another, derived from the topology alone."""

    id: str
    """Stable: mode, dot, promise, such as ``nat.unsolicited-inbound``."""
    mode: str
    network: str
    """``HOST/NETWORK`` whose promise it is; empty where only segments are concerned."""
    source: str
    destination: str
    flow: Flow
    expected: Outcome
    promise: str
    """The promise in one sentence, in the words of the topology."""
    seen: Seen | None = None
    answered: bool = False
    """The answer reaches the sender: echo reply, SYN-ACK, UDP answer, ARP or ND reply."""
    error_from: IPAddress | None = None
    """Who sends the ICMP error of a rejected flow; None: unchecked."""
    error_code: str = ""
    """``admin-prohibited``, ``no-route``, ``host-unreachable``, ``ttl-exceeded``, ``frag-needed``."""


class Verdict(Struct, frozen=True):
    """A guarantee, judged."""

    guarantee: Guarantee
    observed: Outcome | None
    """None where the observation could not be made."""
    kind: VerdictKind
    reason: str
    """One sentence: why it is broken or inconclusive; what was seen where it holds."""
    evidence: tuple[str, ...] = field(default=())
    """What was sent, what was seen where, which control arrived, and what decided in the model."""
    predicted: Outcome | None = None
    """What a model of the compiled State says; None: it does not know."""
    present: Outcome | None = None
    """What the same model says of the State read back from the kernel; None: it does not know."""


FLOW_KINDS = ("resolution", "icmp", "tcp", "udp", "udp-one-way")
"""The kinds of flow by the names that a user chooses them by."""


def kind_of(flow: Flow) -> str:
    """Return which of FLOW_KINDS a flow is."""
    one_way = flow.protocol is Protocol.UDP and not flow.answer
    return "udp-one-way" if one_way else flow.protocol.value
