"""From one State to another: the steps, in the order that makes them safe. Pure.

In a namespace that is new, rules are loaded before any device is up, settings of a device are written before
it is up, addresses come when every device of the lab is up, and the routes of a namespace after its
addresses. So no packet ever passes rules that are only half there.

In one that is there already, what closes comes first: routes, addresses and devices that go, ports that
become isolated, forwarding that ends. Then all its rules change in one transaction, when the devices that
they name exist but are down. What opens comes last. So what is denied before and after is denied in between,
and what is allowed before and after is never touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from vnetlab import garbage
from vnetlab.plan import carried, flows, learned, links, settings, stages, tables
from vnetlab.plan.device_steps import (
    CreateVeth,
    DeleteLink,
    LinkDown,
    LinkUp,
    NameLink,
    UnnameLink,
)
from vnetlab.plan.port_steps import (
    AttachPort,
    ForwardPort,
    IsolatePort,
)
from vnetlab.plan.steps import (
    ChangeTables,
    CreateNamespace,
    EndFlows,
    LoadTable,
    Plan,
    RemoveNamespace,
    SetSysctls,
)
from vnetlab.state import Namespace, State, Veth

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.plan.links import End, Links
    from vnetlab.plan.steps import Step
    from vnetlab.plan.tables import TableChange
    from vnetlab.state import Sysctl


def build(desired: State) -> Plan:
    """Return the steps that make a whole State out of nothing; raises ValueError as diff() does."""
    return diff(State(), desired)


def diff(present: State, desired: State) -> Plan:
    """Return the steps that make a desired State out of the one that is there.

    Of a setting that is desired nowhere, a device that stays takes the default; any other is left alone.
    Raises ValueError for a veth whose other end the desired State does not have.
    """
    with garbage.paused():
        return _diff(present, desired)


def _diff(present: State, desired: State) -> Plan:
    devices = links.Links.of(present, desired)
    before = {namespace.name: namespace for namespace in present.namespaces}
    changing = (n for n in desired.namespaces if not _is_same(before.get(n.name), n, devices))
    spaces = tuple(_Change.of(before.get(n.name), n, devices) for n in changing)
    new = tuple(each for each in spaces if each.new)
    old = tuple(each for each in spaces if not each.new)
    stay = frozenset(namespace.name for namespace in desired.namespaces if namespace.name in before)
    made = tuple(links.creations(devices, desired))
    joined = {(s.namespace, s.link.name) for s in made if isinstance(s, CreateVeth)}
    doomed = links.doomed(devices, stay)
    first = tuple(end for end in doomed if _in_the_way(end, devices))
    return Plan(
        (
            *(CreateNamespace(each.name, each.after.kind) for each in new),
            *(step for each in new for step in each.foundations()),
            *(step for each in old for step in each.closings()),
            *(DeleteLink(*end) for end in first),
            *made,
            *(step for each in spaces for step in each.completions(joined)),
            *(step for each in old for step in each.changes()),
            *learned.misplaced(present, desired, devices.kept),
            *(DeleteLink(*end) for end in doomed if end not in first),
            *(step for each in old for step in each.openings()),
            *(step for each in spaces for step in each.ups()),
            *(step for each in spaces for step in carried.additions(each.lasting, each.wanted)),
            *learned.outdated(present, desired, devices.kept),
            *(RemoveNamespace(name) for name in before if name not in stay),
        )
    )


def _is_same(before: Namespace | None, after: Namespace, devices: links.Links) -> bool:
    """Tell whether nothing of a namespace changes, which is so of most: what differs takes longer to say."""
    kept = devices.in_namespace(after.name)
    return (
        before is not None
        and len(kept) == len(after.links)
        and before.links == after.links
        and before.addresses == after.addresses
        and before.neighbours == after.neighbours
        and before.routes == after.routes
        and before.tables == after.tables
        and not settings.changed(before, after, kept)
    )


def _in_the_way(end: End, devices: Links) -> bool:
    """Tell whether a device to delete has the name of one to make."""
    link = devices.before[end]
    far = (link.peer_namespace, link.peer) if isinstance(link, Veth) else end
    return end in devices.after or far in devices.after


class _Change(Struct, frozen=True):
    """One namespace, before and after."""

    new: bool
    before: Namespace
    after: Namespace
    lasting: Namespace
    """What of it is there by itself when all devices are as they shall be."""
    wanted: Namespace
    """The desired namespace without what its devices cannot carry."""
    links: Links
    kept: frozenset[str]
    settings: tuple[Sysctl, ...]
    tables: tuple[TableChange, ...]

    @classmethod
    def of(cls, before: Namespace | None, after: Namespace, devices: Links) -> _Change:
        new = before is None
        before = before or Namespace(after.name, after.kind)
        kept = devices.in_namespace(after.name)
        written = () if new else settings.changed(before, after, kept)
        loss = _loss(before, after, devices, kept)
        if settings.restarts_ipv6(written):
            loss = carried.Loss(loss.all, loss.down, loss.neighbours, loss.ipv6 | kept)
        still_down = frozenset(d for d in kept if not devices.after[after.name, d].up)
        cannot = carried.Loss(down=still_down, ipv6=settings.without_ipv6(after) & kept)
        changes = () if new else tables.changes(before.tables, after.tables)
        return cls(
            new,
            before,
            after,
            loss.apply(before),
            cannot.apply(after),
            devices,
            kept,
            written,
            changes,
        )

    @property
    def name(self) -> str:
        return self.after.name

    def foundations(self) -> Iterator[Step]:
        """Yield what a new namespace needs before its devices."""
        own = settings.wanted(self.after, of_devices=False)
        if own:
            yield SetSysctls(self.name, own)
        yield from (LoadTable(self.name, t) for t in self.after.tables if t.family != "netdev")

    def closings(self) -> Iterator[Step]:
        """Yield what takes paths away."""
        yield from carried.removals(self.lasting, self.wanted)
        for link in self.before.links:
            end = (self.name, link.name)
            if link.name not in self.kept:
                # What is still to be deleted must not be open when its rules are gone.
                if link.up and self.tables:
                    yield LinkDown(*end)
                continue
            after = self.links.after[end]
            if after.isolated and not link.isolated and self.links.master(end) == after.master:
                yield IsolatePort(*end)
            if link.up and (not after.up or self.links.bounced(end)):
                yield LinkDown(*end)
            if link.altname and link.altname != after.altname:
                yield UnnameLink(*end, link.altname)
        written = settings.closing(self.settings)
        if written:
            yield SetSysctls(self.name, written)

    def completions(self, joined: set[End]) -> Iterator[Step]:
        """Yield what new devices need before they are up, and what a new namespace does."""
        for link in self.after.links:
            end = (self.name, link.name)
            known = self.links.before[end].altname if link.name in self.kept else ""
            if link.altname and link.altname != known:
                yield NameLink(*end, link.altname)
            if link.name in self.kept:
                continue
            if link.master and isinstance(link, Veth) and end not in joined:
                yield AttachPort(*end, link.master)
            if link.isolated:
                yield IsolatePort(*end)
            yield from links.options(self.name, link)
        if self.new:
            # Tables of the netdev family hook into devices by name, so those have to exist.
            yield from (LoadTable(self.name, t) for t in self.after.tables if t.family == "netdev")
        own = tuple(s for s in settings.wanted(self.after, of_devices=True) if self._is_of_new(s))
        if own:
            yield SetSysctls(self.name, own)

    def _is_of_new(self, sysctl: Sysctl) -> bool:
        return settings.device_of(sysctl.key) not in self.kept

    def changes(self) -> Iterator[Step]:
        """Yield the change of the rules, and then of the devices that stay."""
        if self.tables:
            before, proper = stages.staged(self.tables)
            if before:
                yield ChangeTables(self.name, before)
            yield ChangeTables(self.name, proper)
            concern = flows.concern(self.tables, self.before, self.after)
            if concern:
                yield EndFlows(self.name, concern)
        for link in self.after.links:
            if link.name not in self.kept:
                continue
            end = (self.name, link.name)
            yield from links.alterations(self.links, end)
            if link.isolated and self.links.master(end) != link.master:
                yield IsolatePort(*end)

    def openings(self) -> Iterator[Step]:
        """Yield the settings that may open paths."""
        closed = set(settings.closing(self.settings))
        rest = tuple(sysctl for sysctl in self.settings if sysctl not in closed)
        new = [link.name for link in self.after.links if link.name not in self.kept]
        rest += tuple(settings.spread_to(new, self.after, rest))
        if rest:
            yield SetSysctls(self.name, rest)

    def ups(self) -> Iterator[Step]:
        """Yield what sets devices up."""
        if self.new:
            yield LinkUp(self.name, "lo")
        for link in self.after.links:
            end = (self.name, link.name)
            was_up = link.name in self.kept and self.links.before[end].up and not self.links.bounced(end)
            if link.up and not was_up:
                yield LinkUp(*end)
                if link.master and link.name in self.kept and not self.links.bounced(end):
                    yield ForwardPort(*end)


def _loss(before: Namespace, after: Namespace, devices: Links, kept: frozenset[str]) -> carried.Loss:
    ends = {name: (after.name, name) for name in kept}
    down = {d for d, e in ends.items() if not devices.before[e].up or devices.bounced(e)}
    macs = {d for d, e in ends.items() if devices.after[e].mac not in ("", devices.before[e].mac)}
    return carried.Loss(
        frozenset(link.name for link in before.links) - kept,
        frozenset(down),
        frozenset(macs),
        settings.without_ipv6(before) & kept,
    )
