"""What the model says of a fault: which guarantees notice it, or which packet shows it, or that none does."""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from itertools import chain, islice
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

from vnetlab import garbage
from vnetlab.guarantees import Outcome
from vnetlab.mutate.affected import Affected, Index
from vnetlab.mutate.battery import Battery, Shot
from vnetlab.mutate.behaviour import behaviour_of, difference, is_unknown
from vnetlab.mutate.domains import domains_of
from vnetlab.mutate.fault import changes_of
from vnetlab.mutate.links import SMALL_MTUS
from vnetlab.mutate.literals import literals_of, points_of
from vnetlab.mutate.recording import Recorder
from vnetlab.mutate.scope import concerns
from vnetlab.predict.around import guests_of, model_of
from vnetlab.predict.compare import differences
from vnetlab.predict.groups import groups_of
from vnetlab.predict.mentions import mentions
from vnetlab.predict.miniature import is_single

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from vnetlab.guarantees import Guarantee
    from vnetlab.mutate.behaviour import Behaviour
    from vnetlab.mutate.fault import Fault
    from vnetlab.mutate.queries import Footprint
    from vnetlab.predict.model import Model
    from vnetlab.state import Namespace, State
    from vnetlab.topology.model import Topology

_REACHED = (Outcome.DELIVERED, Outcome.REFUSED)
ENOUGH, OF_EACH = 12, 2
"""Guarantees that are asked to notice a fault, in all and of each promise: more would say the same."""
FURTHER = 500
"""Flows that are followed after the first that shows something, or that the model cannot tell of.

From then on it is certain that the fault is put to packets; what more is found makes them quicker."""


class Witness(Struct, frozen=True):
    """A packet that a fault is seen by."""

    sent: str
    difference: str


class Opinion(Struct, frozen=True):
    """What the model says of a fault."""

    noticed_by: tuple[int, ...]
    """Numbers of guarantees that it breaks, a few of them."""
    witness: Witness | None
    """A packet that it changes the way of; None: it is equivalent, as far as the model can tell."""
    unknown: str = ""
    """Why the model cannot tell."""
    doubtful: tuple[int, ...] = ()
    """Numbers of guarantees that it cannot tell of, a few of them."""

    @property
    def equivalent(self) -> bool:
        """Whether no packet is treated otherwise."""
        return not self.noticed_by and self.witness is None and not self.unknown


class _Known(NamedTuple):
    """A packet whose way in the State without a fault is known."""

    shot: Shot
    footprint: Footprint


class Oracle:
    """The model of a lab without faults, asked about one fault after the other."""

    def __init__(
        self,
        topology: Topology,
        state: State,
        guarantees: Sequence[Guarantee],
        faults: Iterable[Fault] = (),
    ) -> None:
        """Follow every promised flow: of endpoints of equal treatment those of two, and of the faulty."""
        self._topology = topology
        self._state = state
        self._guarantees = guarantees
        self._kinds = {n.name: n.kind for n in state.namespaces}
        self._namespaces = {n.name: n for n in state.namespaces}
        self._taps = {vm.name for vm in topology.vms.values() if vm.backend == "tap"}
        self._plain = model_of(topology, state, guarantees)
        self._recorder = Recorder(self._plain.world)
        self._model = self._plain.within(self._recorder.world())
        self._behaviours: dict[Shot, Behaviour] = {}
        self._added: dict[Shot, _Known] = {}
        self._literals = literals_of(state)
        spare = groups_of(topology, state, mentions(state)).spare - {fault.namespace for fault in faults}
        self._battery = self._battery_of(topology, state, spare)
        with garbage.paused():
            self._promised = {
                number: self._know(Shot(guarantees[number].source, guarantees[number].flow)).footprint
                for number in _by_turns(guarantees, spare)
            }

    def _battery_of(self, topology: Topology, state: State, spare: frozenset[str]) -> Battery:
        mtus = {link.mtu for n in state.namespaces for link in n.links} | set(SMALL_MTUS)
        own = {nic.mac: nic.addresses for vm in topology.vms.values() for nic in vm.nics}
        domains = domains_of(state, guests_of(topology), own)
        kept = tuple(tuple(end for end in domain if end.node not in spare) for domain in domains)
        return Battery(kept, self._literals.ports, mtus)

    @cached_property
    def _known(self) -> tuple[_Known, ...]:
        """The packets of the battery; most faults are noticed without them."""
        shots = dict.fromkeys(self._battery.base(points_of(self._literals.networks)))
        return tuple(self._know(shot) for shot in shots)

    @cached_property
    def _index(self) -> Index:
        return Index(known.footprint for known in self._known)

    @property
    def size(self) -> int:
        """How many packets the battery has, beside those that a single fault adds."""
        return len(self._known)

    def opinion(self, fault: Fault) -> Opinion:
        """Return what the model says of a fault."""
        with garbage.paused():
            return self._opinion(fault)

    def _opinion(self, fault: Fault) -> Opinion:
        changes = changes_of(self._state, fault.state)
        broken = self._plain.changed(changes)
        affected = Affected(self._namespaces, changes, broken, self._recorder)
        noticed, doubtful, unknown = self._noticed(fault, broken, affected)
        if noticed:
            return Opinion(noticed, None)
        for known in islice(self._suspects(fault, changes, affected), FURTHER if unknown else None):
            before = self._behaviour(known.shot)
            after = behaviour_of(broken.follow(*known.shot), self._kinds)
            if after == before or is_unknown(before):
                continue
            if is_unknown(after):
                return Opinion((), None, unknown or difference(frozenset(), after), doubtful)
            witness = Witness(_told(known.shot), difference(before, after))
            return Opinion((), witness, unknown, doubtful)
        return Opinion((), None, unknown, doubtful)

    def _suspects(self, fault: Fault, changes: tuple[Namespace, ...], affected: Affected) -> Iterator[_Known]:
        """Yield the packets, of the battery and those that this fault adds, that it may matter to."""
        index = self._index
        affected.learn()
        for number in affected.among(index):
            if concerns(fault, self._known[number].shot.flow):
                yield self._known[number]
        directed = [self._known_of(shot) for shot in self._directed(fault, changes)]
        affected.learn()
        yield from (known for known in directed if affected.may_differ(known.footprint))

    def _noticed(
        self, fault: Fault, broken: Model, affected: Affected
    ) -> tuple[tuple[int, ...], tuple[int, ...], str]:
        """Return guarantees that the fault breaks, of as many different promises as there are.

        And those that the model does not know of, with the first reason.
        """
        found: dict[str, list[int]] = {}
        doubtful: list[int] = []
        unknown = ""
        left = FURTHER
        for number, footprint in self._promised.items():
            guarantee = self._guarantees[number]
            full = len(found.get(guarantee.id, ())) >= OF_EACH
            if full or not (concerns(fault, guarantee.flow) and affected.may_differ(footprint)):
                continue
            left -= 1 if found or unknown else 0
            if not left:
                break
            prediction = broken.send(guarantee.source, guarantee.flow).prediction(
                guarantee.destination,
                is_host=guarantee.destination in self._topology.hosts,
                is_guest=guarantee.destination in self._taps,
                any_frame=guarantee.expected not in _REACHED,
            )
            if prediction.outcome is None:
                unknown = unknown or prediction.reason
                doubtful.append(number)
            elif differences(guarantee, prediction):
                found.setdefault(guarantee.id, []).append(number)
            if sum(len(each) for each in found.values()) >= ENOUGH:
                break
        return tuple(sorted(chain.from_iterable(found.values()))), tuple(doubtful[:ENOUGH]), unknown

    def _know(self, shot: Shot) -> _Known:
        return _Known(shot, self._recorder.footprint(lambda: self._model.follow(*shot)))

    def _known_of(self, shot: Shot) -> _Known:
        """Do as `_know`, once: many faults add the same packets."""
        found = self._added.get(shot)
        if found is None:
            found = self._added[shot] = self._know(shot)
        return found

    def _behaviour(self, shot: Shot) -> Behaviour:
        """Return what becomes of a packet in the State without a fault."""
        found = self._behaviours.get(shot)
        if found is None:
            found = self._behaviours[shot] = behaviour_of(self._plain.follow(*shot), self._kinds)
        return found

    def _directed(self, fault: Fault, changes: tuple[Namespace, ...]) -> Iterator[Shot]:
        """Yield packets about the prefixes and ports that only the State with the fault names."""
        literals = literals_of(fault.state, [n.name for n in changes])
        points = points_of(literals.networks - self._literals.networks, self._literals.networks)
        yield from self._battery.towards(points)
        yield from self._battery.under(points)
        if literals.ports - self._literals.ports:
            yield from self._battery.about_ports(literals.ports - self._literals.ports)


def _by_turns(guarantees: Sequence[Guarantee], spare: frozenset[str]) -> list[int]:
    """Return the guarantees that are asked, one of each promise after the other."""
    turns: Counter[str] = Counter()
    found: list[tuple[int, int]] = []
    for number, guarantee in enumerate(guarantees):
        if is_single(guarantee) or not {guarantee.source, guarantee.destination} & spare:
            found.append((turns[guarantee.id], number))
            turns[guarantee.id] += 1
    return [number for _, number in sorted(found)]


def _told(shot: Shot) -> str:
    flow = shot.flow
    source = f"from {flow.source_address} " if flow.source_address else ""
    ports = f" port {flow.destination_port}" if flow.destination_port else ""
    way = f" as a frame to {flow.next_hop_mac}" if flow.next_hop_mac else " by its own routes"
    what = [flow.special.value] if flow.special else []
    what += [f"TTL {flow.ttl}"] if flow.ttl not in (64, 255) else []
    what += [f"{flow.size} bytes"] if flow.size else []
    what += [f"source port {flow.source_port}"] if 0 < flow.source_port < 2000 else []
    extra = f" ({', '.join(what)})" if what else ""
    return f"{shot.node} sends {flow.protocol} {source}to {flow.destination_address}{ports}{extra}{way}"
