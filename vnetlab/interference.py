"""Whether rules that this machine has besides would break what a lab on it promises. Pure.

An accept in one table does not undo a drop in another: all base chains of a hook are asked. So the model is
asked about every promise twice, of the lab's own rules and of those together with the machine's, with a LAN
machine that stands in for everybody outside. Where the answers differ, the machine's rules are the reason.
"""

from __future__ import annotations

import dataclasses
import re
from ipaddress import ip_interface
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from vnetlab import names
from vnetlab.compile import compile_topology
from vnetlab.modes import guarantees_for
from vnetlab.predict.matrix import predict
from vnetlab.state import NftRule
from vnetlab.topology.model import Lan, Machine, Nic, Topology
from vnetlab.topology.routes import Routing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vnetlab.state import NftTable, State, Sysctl
    from vnetlab.topology.model import IPAddress, IPInterface, Segment

OUTSIDE = "the-lan"
"""Name of the machine that stands in for those outside."""
REMEDY = (
    "have that chain accept the lab's bridges first, such as by `nft insert rule FAMILY TABLE CHAIN iifname "
    f'"{names.ON_MACHINE}b*" accept` and the same with `oifname` (in DOCKER-USER where Docker runs)'
)
_SHOWN = 3
_SHOWN_TO = {"iptables": ("ip", "inet"), "ip6tables": ("ip6", "inet")}
"""Families whose chains frames meet, by the setting that shows them."""
_LETS_THROUGH = re.compile(r'"vb[^"]*".* accept$')


class Hindrance(Struct, frozen=True):
    """One reason for which promises would be broken."""

    reason: str
    """Where packets end, and at what: chain and rule as nft lists them."""
    examples: tuple[str, ...]
    count: int
    """Promises that it breaks."""
    sure: bool
    """False: the model does not understand a rule on the way, so they may be broken."""

    def __str__(self) -> str:
        shown = "; ".join(self.examples[:_SHOWN])
        more = f" and {self.count - _SHOWN} more" if self.count > _SHOWN else ""
        verb = "breaks" if self.sure else "may break, as the model does not know what it does,"
        return f"{self.reason}: {verb} {shown}{more}"


def hindrances(
    topology: Topology, lab: str, tables: tuple[NftTable, ...], settings: tuple[Sysctl, ...] = ()
) -> tuple[Hindrance, ...]:
    """Return what of the machine's own tables and settings would break a promise of a lab on it."""
    host = topology.local
    if host is None or not tables:
        return ()
    whole = with_outside(topology)
    alone = compile_topology(whole)
    own_names = {names.on_machine(lab, link.name): link.name for link in alone.namespace(host.name).links}
    tables = tuple(_as_compiled(table, own_names) for table in tables)
    guarantees = guarantees_for(whole)
    before = predict(whole, alone, guarantees)
    after = predict(whole, _together(alone, host.name, tables), guarantees)
    found: dict[tuple[str, bool], list[str]] = {}
    for guarantee, own, prediction in zip(guarantees, before, after, strict=True):
        # Where the lab's own rules alone do not tell it either, it is not the machine's.
        if own.outcome is guarantee.expected and prediction.outcome is not own.outcome:
            flow = guarantee.flow
            what = f"{guarantee.source} to {guarantee.destination} ({flow.family}, {flow.protocol})"
            found.setdefault((prediction.reason, prediction.outcome is not None), []).append(what)
    return (
        *(
            Hindrance(reason, tuple(dict.fromkeys(examples)), len(examples), sure)
            for (reason, sure), examples in found.items()
        ),
        *_of_frames(topology, tables, settings),
    )


def _of_frames(
    topology: Topology, tables: tuple[NftTable, ...], settings: tuple[Sysctl, ...]
) -> Iterator[Hindrance]:
    """Yield chains that would drop frames within a network, which the machine shows to IP rules.

    The model has no part in that (bridge netfilter). A chain that accepts bridges of labs by name is taken to
    let them through.
    """
    on = {setting.key.rpartition("-")[2] for setting in settings if setting.value != "0"}
    families = {family for which, found in _SHOWN_TO.items() if which in on for family in found}
    examples = tuple(f"VM to VM on {network.name}" for network in topology.networks)
    for table in tables:
        rules = [rule.text for chain in table.chains for rule in chain.rules]
        if table.family not in families or any(_LETS_THROUGH.search(text) for text in rules):
            continue
        for chain in table.chains:
            if "hook forward" in chain.hook and "policy drop" in chain.hook:
                where = f"{table.family} {table.name} {chain.name}"
                reason = f"{where}: policy: drop, and net.bridge.bridge-nf-call-* is on"
                yield Hindrance(reason, examples, len(examples), True)


def _as_compiled(table: NftTable, known: Mapping[str, str]) -> NftTable:
    """Return a table of the machine with the lab's devices by the names that they have in the compiled State.

    A pattern such as ``vlb*`` means the bridges of every lab.
    """

    def renamed(text: str) -> str:
        for here, compiled in known.items():
            text = text.replace(f'"{here}"', f'"{compiled}"')
        return text.replace(f'"{names.ON_MACHINE}', '"v')

    chains = tuple(
        replace(chain, rules=tuple(NftRule(renamed(rule.text), rule.comment) for rule in chain.rules))
        for chain in table.chains
    )
    return replace(table, chains=chains)


def _together(state: State, host: str, tables: tuple[NftTable, ...]) -> State:
    return replace(
        state,
        namespaces=tuple(
            replace(space, tables=(*space.tables, *tables)) if space.name == host else space
            for space in state.namespaces
        ),
    )


def with_outside(topology: Topology) -> Topology:
    """Return the topology with a machine on each of its segments that stands in for all others there."""
    machines = {}
    for number, segment in enumerate(topology.segments.values(), 1):
        addresses = tuple(_free(topology, segment))
        if addresses:
            name = OUTSIDE if len(topology.segments) == 1 else f"{OUTSIDE}-{number}"
            nic = Nic("eth0", Lan(segment.name), names.port_mac(name, "itself"), addresses, segment.mtu)
            machines[name] = Machine(name, (nic,))
    whole = dataclasses.replace(topology, machines=machines)
    routing = Routing(whole)
    routed = {name: replace(m, routes=tuple(routing.of_machine(m))) for name, m in machines.items()}
    return dataclasses.replace(topology, machines=routed)


def _free(topology: Topology, segment: Segment) -> Iterator[IPInterface]:
    taken: set[IPAddress] = {
        address.ip
        for group in (
            *(host.nics.values() for host in topology.hosts.values()),
            *(vm.nics for vm in topology.vms.values()),
        )
        for nic in group
        for address in nic.addresses
    }
    for subnet in segment.subnets:
        own = next((address for address in subnet.hosts() if address not in taken), None)
        if own is not None:
            yield ip_interface(f"{own}/{subnet.prefixlen}")
