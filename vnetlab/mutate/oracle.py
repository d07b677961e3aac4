"""What the model says of a fault: which guarantees notice it, or which packet shows it, or that none does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

from vnetlab.guarantees import Outcome
from vnetlab.mutate.battery import Battery, Shot
from vnetlab.mutate.behaviour import behaviour_of, difference, is_unknown
from vnetlab.mutate.domains import domains_of
from vnetlab.mutate.fault import changes_of
from vnetlab.mutate.literals import edges, literals_of
from vnetlab.mutate.recording import ChainKey, Recorder, differing
from vnetlab.mutate.scope import concerns
from vnetlab.predict.compare import differences
from vnetlab.predict.matrix import guests_of, model_of
from vnetlab.predict.tables import base_chains

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.guarantees import Guarantee
    from vnetlab.mutate.behaviour import Behaviour
    from vnetlab.mutate.fault import Fault
    from vnetlab.mutate.recording import Kept
    from vnetlab.predict.journey import Journey
    from vnetlab.predict.model import Model
    from vnetlab.state import Namespace, State
    from vnetlab.topology.model import Topology

_REACHED = (Outcome.DELIVERED, Outcome.REFUSED)
ENOUGH = 24
"""Guarantees that are asked to notice a fault: more would say the same."""


@dataclass(frozen=True, slots=True)
class Witness:
    """A packet that a fault is seen by."""

    sent: str
    difference: str


@dataclass(frozen=True, slots=True)
class Opinion:
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


@dataclass(frozen=True, slots=True)
class _Known:
    """A packet whose way in the State without a fault is known."""

    node: str
    shot: Shot
    behaviour: Behaviour
    met: frozenset[tuple[ChainKey, int]]
    touched: frozenset[str]


class Oracle:
    """The model of a lab without faults, asked about one fault after the other."""

    def __init__(self, topology: Topology, state: State, guarantees: tuple[Guarantee, ...]) -> None:
        self._topology = topology
        self._state = state
        self._guarantees = guarantees
        self._kinds = {n.name: n.kind for n in state.namespaces}
        self._taps = {vm.name for vm in topology.vms.values() if vm.backend == "tap"}
        self._recorder = Recorder()
        self._model = model_of(topology, state, guarantees)
        self._recorder.attach(self._model.world)
        self._promised = tuple(self._know(Shot(g.source, g.flow)) for g in guarantees)
        # Passages of promised flows come first: most faults are seen by those alone.
        self._split = {key: len(kept) for key, kept in self._recorder.passages.items()}
        literals = literals_of(state)
        mtus = {link.mtu for n in state.namespaces for link in n.links} | {1280, 600}
        own = {nic.mac: nic.addresses for vm in topology.vms.values() for nic in vm.nics}
        self._battery = Battery(domains_of(state, guests_of(topology), own), literals.ports, mtus)
        self._literals = literals
        shots = dict.fromkeys(self._battery.base(edges(literals.networks)))
        self._known = tuple(self._know(shot) for shot in shots)

    @property
    def size(self) -> int:
        """How many packets the battery has, beside those that a single fault adds."""
        return len(self._known)

    def opinion(self, fault: Fault) -> Opinion:
        """Return what the model says of a fault."""
        changes = changes_of(self._state, fault.state)
        broken = self._broken(fault, changes)
        affected = _Affected(self._state, changes, self._recorder, self._split, promised=True)
        noticed, doubtful, unknown = self._noticed(broken, affected)
        if noticed:
            return Opinion(noticed, None)
        affected = _Affected(self._state, changes, self._recorder, self._split, promised=False)
        shots = (
            each
            for each in self._known
            if affected.may_differ(each.met, each.touched) and concerns(fault, each.shot)
        )
        directed = (self._know(shot) for shot in self._directed(fault, changes))
        for known in chain(shots, directed):
            journey = broken.send(known.node, known.shot.flow)
            after = behaviour_of(journey, self._kinds)
            if after == known.behaviour or is_unknown(known.behaviour):
                continue
            if is_unknown(after):
                unknown = unknown or difference(frozenset(), after)
                continue
            witness = Witness(_told(known.shot), difference(known.behaviour, after))
            return Opinion((), witness, unknown, doubtful)
        return Opinion((), None, unknown, doubtful)

    def _noticed(self, broken: Model, affected: _Affected) -> tuple[tuple[int, ...], tuple[int, ...], str]:
        """Return guarantees that the fault breaks, of as many different promises as there are.

        And those that the model does not know of, with the first reason.
        """
        found: dict[str, list[int]] = {}
        doubtful: list[int] = []
        unknown = ""
        for number, known in enumerate(self._promised):
            guarantee = self._guarantees[number]
            full = len(found.get(guarantee.id, ())) >= ENOUGH // 4
            if full or not affected.may_differ(known.met, known.touched):
                continue
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

    def _broken(self, fault: Fault, changes: tuple[Namespace, ...]) -> Model:
        """Return the model of the lab with the fault; what is as before is worked out once for all."""
        model = model_of(self._topology, fault.state, self._guarantees)
        names = {namespace.name for namespace in changes}
        for name, space in self._model.world.spaces.items():
            if name not in names:
                model.world.spaces[name] = space
        return model

    def _know(self, shot: Shot) -> _Known:
        self._recorder.met = set()
        journey = self._model.send(shot.node, shot.flow)
        met = frozenset(self._recorder.met)
        return _Known(shot.node, shot, behaviour_of(journey, self._kinds), met, _touched(journey))

    def _directed(self, fault: Fault, changes: tuple[Namespace, ...]) -> Iterator[Shot]:
        """Yield packets about the prefixes and ports that only the State with the fault names."""
        literals = literals_of(fault.state, [n.name for n in changes])
        points = edges(literals.networks - self._literals.networks)
        yield from self._battery.towards(points)
        yield from self._battery.under(points)
        if literals.ports - self._literals.ports:
            yield from self._battery.about_ports(literals.ports - self._literals.ports)


class _Affected:
    """Tells which packets a fault can make a difference to."""

    def __init__(
        self,
        state: State,
        changes: tuple[Namespace, ...],
        recorder: Recorder,
        split: dict[ChainKey, int],
        *,
        promised: bool,
    ) -> None:
        """Work out which passages are decided otherwise: those of promised flows alone, or all."""
        self._names = {namespace.name for namespace in changes}
        self._met: frozenset[tuple[ChainKey, int]] | None = None
        if len(changes) == 1:
            passages = recorder.passages
            if promised:
                passages = {key: kept[: split.get(key, 0)] for key, kept in passages.items()}
            self._met = _by_rules(state.namespace(changes[0].name), changes[0], passages)

    def may_differ(self, met: frozenset[tuple[ChainKey, int]], touched: frozenset[str]) -> bool:
        """Tell whether a packet that met these chains and came by these namespaces may be affected."""
        if self._met is not None:
            return not self._met.isdisjoint(met)
        return not self._names.isdisjoint(touched)


def _by_rules(
    before: Namespace, after: Namespace, passages: dict[ChainKey, list[Kept]]
) -> frozenset[tuple[ChainKey, int]] | None:
    """Return the passages that are decided otherwise; None where more than rules changed."""
    if replace(before, tables=()) != replace(after, tables=()):
        return None
    old = {(b.chain.family, b.chain.name): b for b in base_chains(before.tables)}
    new = {(b.chain.family, b.chain.name): b for b in base_chains(after.tables)}
    moved = _reordered(before, after)
    found: set[tuple[ChainKey, int]] = set()
    for (family, name), base in old.items():
        key = ChainKey(before.name, family, name)
        kept = passages.get(key, [])
        now = new.get((family, name))
        if now is None or (base.hook.name in moved and now.hook.priority != base.hook.priority):
            found |= {(key, number) for number in range(len(kept))}
        elif now.chain != base.chain:
            found |= {(key, number) for number in differing(kept, now.ruleset, now.chain)}
    return frozenset(found)


def _reordered(before: Namespace, after: Namespace) -> frozenset[str]:
    """Return the hooks at which the order of chains, conntrack and translation is not what it was."""
    was, now = _orders(before), _orders(after)
    return frozenset(hook for hook in was | now if was.get(hook) != now.get(hook))


def _orders(namespace: Namespace) -> dict[str, list[str]]:
    """Return, by hook, what a packet meets there: chains by name, and the kernel's own steps."""
    steps: dict[str, list[tuple[int, str]]] = {}
    for base in base_chains(namespace.tables):
        own = steps.setdefault(base.hook.name, [(-200, "conntrack"), (-100, "dstnat"), (100, "srcnat")])
        own.append((base.hook.priority, f"{base.chain.family} {base.chain.name}"))
    return {hook: [name for _, name in sorted(found)] for hook, found in steps.items()}


def _touched(journey: Journey) -> frozenset[str]:
    return frozenset(
        chain((h.namespace for h in journey.hops), (a.node for a in journey.arrivals), (journey.source,))
    )


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
