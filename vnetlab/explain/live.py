"""A packet of a lab that is up: predicted by what its kernels hold, sent, followed, and compared."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from msgspec.structs import replace

from vnetlab.compile import compile_topology
from vnetlab.explain import observing
from vnetlab.explain.answer import tell_of
from vnetlab.explain.compare import Observed, compare
from vnetlab.explain.event import What
from vnetlab.explain.explanation import Explanation
from vnetlab.explain.lexicon import Lexicon
from vnetlab.explain.question import guarantee_of
from vnetlab.kernel.agent import Agent
from vnetlab.kernel.read import nodes_of, read
from vnetlab.kernel.trace import Hooks
from vnetlab.modes.world import FIRST_SOURCE_PORT, SOURCE_PORTS
from vnetlab.predict.tables import base_chains
from vnetlab.probe.follow import PRELOAD, Followed, Order, follow, single
from vnetlab.probe.observation import Observer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from vnetlab.explain.answer import Told
    from vnetlab.explain.event import Event
    from vnetlab.explain.question import Words
    from vnetlab.guarantees import Guarantee, Outcome
    from vnetlab.kernel.holder import Holder
    from vnetlab.probe.observation import Observation
    from vnetlab.state import Namespace, State
    from vnetlab.topology.model import Topology


def explain_lab(topology: Topology, holder: Holder, words: Words) -> Explanation:
    """Predict, send and compare. Raises UserError for words that make no question, and KernelError."""
    # A fresh port: where one is used again, conntrack has the translation of the last time.
    port = FIRST_SOURCE_PORT + secrets.randbelow(SOURCE_PORTS)
    guarantee = guarantee_of(topology, words, port)
    with Agent(holder, PRELOAD) as agent:
        compiled = compile_topology(topology)
        present = agent.call(read, nodes_of(compiled))
        told = tell_of(topology, guarantee, present, "present")
        declared = tell_of(topology, guarantee, compiled)
        order = _order(topology, guarantee, present, (told, declared))
        followed = agent.call(follow, order)
    explanation = Explanation(topology, holder.name, words.destination, guarantee, told, declared)
    observed = _observed(explanation, order, followed)
    return replace(explanation, observed=observed)


def _order(topology: Topology, guarantee: Guarantee, present: State, tellings: tuple[Told, ...]) -> Order:
    """Return where to look: every namespace on the way by either prediction, and both ends."""
    names = {event.node for told in tellings for event in told.events}
    names |= {hop.namespace for told in tellings for hop in told.journey.hops}
    names |= {guarantee.source, guarantee.destination or guarantee.source}
    guests = {name: topology.vms[name].host for name in names if name in topology.vms}
    spaces = {each.name: each for each in present.namespaces}
    wanted = {name if name in spaces else guests.get(name, "") for name in names}
    watched = tuple(name for name in spaces if name in wanted)
    return Order(
        single(topology, _judged(guarantee)),
        secrets.randbits(32),
        watched,
        tuple((name, _hooks(spaces[name])) for name in watched if spaces[name].tables),
    )


def _judged(guarantee: Guarantee) -> Guarantee:
    """Return the guarantee as the wire can watch it: nobody but the sender where none has the address."""
    return guarantee if guarantee.destination else replace(guarantee, destination=guarantee.source)


def _hooks(namespace: Namespace) -> Hooks:
    bases = base_chains(namespace.tables)
    devices = {device for base in bases for device in base.hook.devices}
    present = {link.name for link in namespace.links}
    return Hooks(tuple(sorted(devices & present)), any(base.chain.family == "bridge" for base in bases))


def _observed(explanation: Explanation, order: Order, followed: Followed) -> Observed:
    guarantee, reference = explanation.guarantee, explanation.reference
    lexicon = Lexicon(explanation.topology)
    seen = Observer(order.flight, followed.log).observe(_judged(guarantee), 0)
    failed = {failure.station for failure in followed.log.failures}
    events = observing.events_of(lexicon, followed)
    expected = {(event.role, event.header) for event in reference.events}
    at = {event.node for event in reference.events} | {guarantee.destination}
    copies = tuple(
        event
        for event in events
        if (event.role, event.header) in expected
        and event.what is What.FRAME
        and (event.node not in at or _is_beside(lexicon, event, reference.events))
    )
    ours = tuple(_once(e for e in events if e not in copies))
    rows = compare(tuple(_once(reference.events)), ours) if guarantee.source not in failed else ()
    outcome = None if failed else seen.outcome
    as_present = all(row.agrees for row in compare(tuple(_once(explanation.told.events)), ours))
    return Observed(
        outcome,
        bool(seen.answers),
        rows,
        tuple(_flooded(lexicon, explanation, followed)),
        tuple(_trouble(explanation.told, followed, seen, outcome)),
        as_present,
    )


def _is_beside(lexicon: Lexicon, event: Event, foreseen: Sequence[Event]) -> bool:
    """Tell a frame at a trunk that is not on the way: a bridge flooded it to the next one."""
    return lexicon.is_trunk(event.node, event.thing) and event not in foreseen


def _once(events: Iterable[Event]) -> Iterator[Event]:
    """Yield events; what bridges stop of one frame once, though a flooded frame is stopped at every port."""
    stopped: set[Event] = set()
    for event in events:
        of_bridge = event.what is What.CHAIN and event.thing.startswith("bridge ")
        if event in stopped and of_bridge and event.verdict == "drop":
            continue
        stopped.add(event)
        yield event


def _flooded(lexicon: Lexicon, explanation: Explanation, followed: Followed) -> Iterator[str]:
    """Say where switches sent copies that neither prediction needs."""
    needed = set()
    for hop in (*explanation.told.journey.hops, *explanation.declared.journey.hops):
        if (hop.stage, hop.verdict) == ("bridge", "forward"):
            needed.add((hop.before.role.value, hop.namespace, hop.object.partition(" to ")[2]))
    extra: dict[tuple[str, str], dict[str, None]] = {}
    for role, space, device in observing.sent_out(lexicon, followed):
        if (role, space, device) not in needed:
            port = lexicon.port(space, device)
            whom = port[0] if port else lexicon.device(space, device)
            extra.setdefault((role, lexicon.place(space)), {})[whom] = None
    for (role, place), nodes in extra.items():
        yield f"{place} sent the {role} to {', '.join(nodes)} as well"


def _trouble(present: Told, followed: Followed, seen: Observation, outcome: Outcome | None) -> Iterator[str]:
    for failure in followed.log.failures:
        yield f"{failure.station} could not take part: {failure.text}"
    for space in followed.lost:
        yield f"{space}: more came than could be read, so something may be missing"
    if seen.send_error and outcome is not present.end.outcome:
        yield f"it could not be sent: {seen.send_error.text}"
