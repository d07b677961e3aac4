"""The hooks of a namespace, each a list of steps in the kernel's order: chains, conntrack, translation.

Priorities are those of linux/netfilter_ipv4.h: conntrack at -200, translation of destinations at -100 and
of sources at 100 whatever a nat chain's own priority, which orders nat chains among themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from vnetlab.predict.conntrack import NEW, Conntrack, Entry, translated
from vnetlab.predict.nat import set_up, tracked_versions
from vnetlab.predict.packet import Packet
from vnetlab.predict.passage import Unknown
from vnetlab.predict.rules import Reject, Translate, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vnetlab.predict.evaluate import Decision
    from vnetlab.predict.passage import Passage
    from vnetlab.predict.tables import Base

    Note = Callable[[str, str], None]
    """Takes what was passed, and with which verdict."""

_TRACK, _TRANSLATE_DESTINATION, _TRANSLATE_SOURCE, _CONFIRM = -200, -100, 100, 1 << 31
_TIED = -1 << 32
"""A step before all others, where a chain has the priority of one of these: nobody knows their order."""
_DESTINATION_HOOKS, _SOURCE_HOOKS = ("prerouting", "output"), ("input", "postrouting")
_FAMILIES = {4: ("inet", "ip"), 6: ("inet", "ip6")}


class Stop(Struct, frozen=True):
    """A packet's end at a hook."""

    label: str
    reject: Reject | None


class Hooks:
    """All hooks of a namespace."""

    def __init__(self, bases: tuple[Base, ...]) -> None:
        self.bases = bases
        self.tracks = frozenset(version for base in bases for version in tracked_versions(base))
        self._nat_families = {base.chain.family for base in bases if base.hook.kind == "nat"}
        self._layer3: dict[tuple[int, str], tuple[tuple[int, Base | None], ...]] = {}
        self._devices = {
            (base.hook.name, device): tuple(
                b
                for b in bases
                if b.hook.name == base.hook.name
                and b.chain.family in ("netdev", "inet")
                and device in b.hook.devices
            )
            for base in bases
            for device in base.hook.devices
        }
        self._by_family: dict[tuple[str, str], tuple[Base, ...]] = {}
        for base in bases:
            key = (base.chain.family, base.hook.name)
            self._by_family[key] = (*self._by_family.get(key, ()), base)

    def at_device(self, hook: str, device: str, passage: Passage, note: Note) -> Stop | None:
        """Run the ingress or egress chains of a device. Raises Unknown."""
        for base in self._devices.get((hook, device), ()):
            family = base.chain.family
            if family == "inet" and not isinstance(passage.packet, Packet):
                continue  # `nft_do_chain_inet_ingress` lets pass what is not IP
            passage.family = family
            stop = _run(base, passage, note)
            if stop:
                return stop
        return None

    def has_device(self, hook: str, device: str) -> bool:
        """Tell whether a device has chains of that hook."""
        return (hook, device) in self._devices

    def of_family(self, family: str, hook: str, passage: Passage, note: Note) -> Stop | None:
        """Run the chains of the bridge or arp family at a hook. Raises Unknown."""
        for base in self._by_family.get((family, hook), ()):
            stop = _run(base, passage, note)
            if stop:
                return stop
        return None

    def has_family(self, family: str, hook: str) -> bool:
        """Tell whether a family has chains at that hook."""
        return (family, hook) in self._by_family

    def at_layer3(self, hook: str, passage: Passage, conntrack: Conntrack, note: Note) -> Stop | None:
        """Run everything that an IP packet meets at a hook. Raises Unknown."""
        passage.hook = hook
        for priority, base in self.steps(passage.ip.version, hook):
            if base is not None:
                mark = passage.mark
                stop = _run(base, passage, note)
                passage.rerouted |= passage.mark != mark and base.hook.kind == "route"
            elif priority == _TRACK:
                stop = _track(passage, conntrack)
            elif priority == _TIED:
                raise Unknown(f"chains of {hook} beside conntrack or NAT: which of them came first decides")
            elif priority == _CONFIRM:
                conntrack.confirm(passage.tracked)
                stop = None
            else:
                stop = self._translate(hook, passage, note)
            if stop:
                return stop
        return None

    def steps(self, version: int, hook: str) -> tuple[tuple[int, Base | None], ...]:
        """Return what an IP packet meets at a hook, with the priorities, in order."""
        steps = self._layer3.get((version, hook))
        if steps is None:
            steps = self._layer3[version, hook] = tuple(self._sorted(version, hook))
        return steps

    def _sorted(self, version: int, hook: str) -> Iterator[tuple[int, Base | None]]:
        families = _FAMILIES[version]
        found: list[tuple[int, Base | None]] = [
            (base.hook.priority, base)
            for base in self.bases
            if base.chain.family in families and base.hook.name == hook and base.hook.kind != "nat"
        ]
        if version in self.tracks:
            if hook in _DESTINATION_HOOKS:
                found += [(_TRACK, None), (_TRANSLATE_DESTINATION, None)]
            elif hook in _SOURCE_HOOKS:
                found += [(_TRANSLATE_SOURCE, None), (_CONFIRM, None)]
            kernels = {priority for priority, base in found if base is None}
            if any(base is not None and priority in kernels for priority, base in found):
                found.append((_TIED, None))
        return iter(sorted(found, key=lambda step: step[0]))

    def _translate(self, hook: str, passage: Passage, note: Note) -> Stop | None:
        """Choose a new flow's translation, and translate (`nf_nat_inet_fn`).

        No chain is one, too; but where the namespace has no nat chain at all, nobody even chooses.
        """
        source = hook in _SOURCE_HOOKS
        tracked = passage.tracked
        if tracked is None or tracked.entry is None:
            return None
        if self._nat_families.isdisjoint(_FAMILIES[passage.ip.version]):
            return None
        entry = tracked.entry
        done = entry.source_done if source else entry.destination_done
        if tracked.state == NEW and not entry.confirmed and not done:
            stop = self._choose(hook, passage, entry, note)
            if stop:
                return stop
            if source:
                entry.source_done = True
            else:
                entry.destination_done = True
        passage.packet = translated(passage.ip, tracked, source=source)
        return None

    def _choose(self, hook: str, passage: Passage, entry: Entry, note: Note) -> Stop | None:
        families = _FAMILIES[passage.ip.version]
        for base in self.bases:
            if base.hook.kind != "nat" or base.hook.name != hook or base.chain.family not in families:
                continue
            decision = base.ruleset.run(base.chain, passage)
            action = decision.action
            if isinstance(action, Translate):
                note(decision.label, action.kind)
                set_up(action, passage, entry, source=hook in _SOURCE_HOOKS)
                return None
            if isinstance(action, Reject) or action.kind == "drop":
                return _stop(decision, note)
        return None


def _track(passage: Passage, conntrack: Conntrack) -> Stop | None:
    if passage.untracked or passage.tracked is not None:
        return None
    passage.tracked = conntrack.track(passage.ip)
    passage.untracked = passage.tracked is None
    return None


def _run(base: Base, passage: Passage, note: Note) -> Stop | None:
    decision = base.ruleset.run(base.chain, passage)
    action = decision.action
    if isinstance(action, Translate):
        raise Unknown(f"{action.kind} outside of a nat chain")
    if isinstance(action, Verdict) and action.kind == "accept":
        if decision.rule is not None:
            note(decision.label, "accept")
        return None
    return _stop(decision, note)


def _stop(decision: Decision, note: Note) -> Stop:
    reject = decision.action if isinstance(decision.action, Reject) else None
    note(decision.label, "reject" if reject else "drop")
    return Stop(decision.label, reject)
