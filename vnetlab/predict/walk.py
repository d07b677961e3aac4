"""One packet on its way, with all that comes of it: frames waiting, hops passed, arrivals, doubts."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from msgspec import Struct

from vnetlab.predict.conntrack import Conntrack
from vnetlab.predict.passage import Unknown

if TYPE_CHECKING:
    from vnetlab.items import Item
    from vnetlab.predict.hooks import Stop
    from vnetlab.predict.packet import Arp, Frame, Packet
    from vnetlab.predict.passage import Passage
    from vnetlab.predict.space import Device, Space
    from vnetlab.predict.world import World

    NeighbourKey = tuple[str, str, int, int]

MOST_FRAMES = 20_000
"""Frames after which a flow is taken to go round for ever."""


class Hop(Struct, frozen=True):
    """One thing that happened to a packet."""

    namespace: str
    stage: str
    """Such as ``bridge``, ``prerouting``, ``route``, ``neighbour``, ``deliver``."""
    object: str
    """What decided: a device, rule, route or address."""
    verdict: str
    before: Packet | Arp
    after: Packet | Arp

    def __str__(self) -> str:
        changed = "" if self.before == self.after else f" -> {self.after}"
        return f"{self.namespace}: {self.stage}: {self.object}: {self.verdict}: {self.before}{changed}"


class Arrival(Struct, frozen=True):
    """A packet seen at a node."""

    node: str
    device: str
    socket: bool
    """Behind the node's own filters; False: on its device, as a capture sees it."""
    addressed: bool
    """The frame was for this device, or for a group."""
    source_mac: str
    payload: Packet | Arp
    after: int = 0
    """How many hops had been noted before."""


class Walk:
    """The state of one prediction."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.queue: deque[tuple[Space, Device, Frame]] = deque()
        self.hops: list[Hop] = []
        self.arrivals: list[Arrival] = []
        self.doubts: list[str] = []
        self.looped = False
        self.learned: dict[NeighbourKey, str] = {}
        """Namespace, device, version and address of whoever asked a node, with the MAC it asked from."""
        self.unawaited: list[tuple[Device, Passage]] = []
        """Answers that reached a namespace: its own kernel has no socket that waits for them."""
        self.used: list[Item | None] = []
        """Rules, routes, ports and neighbours on the way, as often as met; None counts for nothing."""
        self.crafted: tuple[Space, Device, Frame] | None = None
        """The frame that it began with, where that was sent past the sender's own IP."""
        self._conntracks: dict[str, Conntrack] = {}

    def run(self) -> None:
        """Let every waiting frame go its way, until none is left."""
        from vnetlab.predict.ethernet import receive

        for _ in range(MOST_FRAMES):
            if not self.queue:
                return
            space, device, frame = self.queue.popleft()
            try:
                receive(self, space, device, frame)
            except Unknown as why:
                self.doubt(space, str(why), frame.payload)
        self.looped = True

    def aftermath(self) -> frozenset[Item] | None:
        """Let kernels refuse the answers that no socket waits for, and return what that goes through.

        The packets of a probe are made by hand: the kernel that they leave from has opened no port for them.
        None: the model does not know.
        """
        from vnetlab.predict.local import refuse_answer

        later = Walk(self.world)
        later._conntracks = self._conntracks
        for device, passage in self.unawaited:
            try:
                refuse_answer(later, device, passage)
            except Unknown:
                return None
        later.run()
        return None if later.doubts else frozenset(item for item in later.used if item is not None)

    def doubt(self, space: Space, why: str, packet: Packet | Arp) -> None:
        """Write down what the model cannot tell."""
        self.doubts.append(f"{space.name}: {why}")
        self.note(space, "model", why, "unknown", packet)

    def note(
        self,
        space: Space,
        stage: str,
        thing: str,
        verdict: str,
        before: Packet | Arp,
        after: Packet | Arp | None = None,
    ) -> None:
        """Write down a hop."""
        self.hops.append(Hop(space.name, stage, thing, verdict, before, before if after is None else after))

    def hook(self, name: str, passage: Passage) -> Stop | None:
        """Run an IP packet through a hook of its namespace. Raises Unknown."""
        space, before = passage.space, passage.ip
        if not space.hooks.steps(before.version, name):
            return None
        conntrack = self._conntracks.get(space.name)
        if conntrack is None:
            conntrack = self._conntracks[space.name] = Conntrack()

        def passed(label: str, verdict: str) -> None:
            self.note(space, name, label, verdict, passage.packet)

        passage.used = self.used
        stop = space.hooks.at_layer3(name, passage, conntrack, passed)
        if passage.packet != before:
            self.note(space, name, "translation", "translate", before, passage.packet)
        return stop

    def family_hook(self, family: str, name: str, passage: Passage) -> Stop | None:
        """Run a frame through a hook of the bridge or arp family. Raises Unknown."""
        space = passage.space
        if not space.hooks.has_family(family, name):
            return None

        def passed(label: str, verdict: str) -> None:
            self.note(space, f"{family} {name}", label, verdict, passage.packet)

        passage.used = self.used
        return space.hooks.of_family(family, name, passage, passed)

    def device_hook(self, name: str, device: str, passage: Passage) -> Stop | None:
        """Run a frame through the ingress or egress hook of a device. Raises Unknown."""
        space = passage.space
        if not space.hooks.has_device(name, device):
            return None

        def passed(label: str, verdict: str) -> None:
            self.note(space, name, label, verdict, passage.packet)

        passage.used = self.used
        return space.hooks.at_device(name, device, passage, passed)
