"""Laws between labs: what must stay the same when a topology is changed in ways that should not matter, and
which way it may move when it is made stricter. Promises and predictions alike, on topologies at random.
"""

from __future__ import annotations

from collections import Counter
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from random_labs import Document, documents
from sabotage import with_rule

from vnetlab.compile import compile_topology
from vnetlab.guarantees import Outcome, Special
from vnetlab.modes import guarantee_for_expect, guarantees_for
from vnetlab.predict.matrix import predict
from vnetlab.topology.model import Expect, Topology

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Sequence
    from random import Random

    from vnetlab.guarantees import Guarantee
    from vnetlab.predict.journey import Prediction
    from vnetlab.state import State

EXTRA = "unrelated"
NOBODY, SEVERAL = "nobody's", "of several hosts"
REACHED = (Outcome.DELIVERED, Outcome.REFUSED)
each = settings(
    max_examples=10,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
randoms = st.randoms(use_true_random=True)
Names = dict[str, str]


@dataclass(frozen=True)
class Answers:
    """Both pure answers to everything that is asked of a lab."""

    topology: Topology
    state: State
    guarantees: Sequence[Guarantee]
    predictions: Sequence[Prediction]

    @property
    def pairs(self) -> Iterator[tuple[Guarantee, Prediction]]:
        return zip(self.guarantees, self.predictions, strict=True)


def answers(document: Document) -> Answers:
    topology = Topology.of(**document)
    state, guarantees = compile_topology(topology), guarantees_for(topology)
    return Answers(topology, state, guarantees, predict(topology, state, guarantees))


class Reader:
    """Reads guarantees and predictions without what is derived of names: addresses and MACs become owners."""

    def __init__(self, topology: Topology, original: Names | None = None) -> None:
        """``original`` gives each node, network and segment the name that it had before."""
        self._names = original or {}
        self._hosts = {self.name(host) for host in topology.hosts}
        self._owners: dict[str, list[tuple[Any, ...]]] = {}
        for value, (node, *rest) in _owners(topology):
            self._owners.setdefault(value, []).append((self.name(node), *rest))

    def name(self, name: str) -> str:
        host, slash, network = name.rpartition("/")
        if slash:
            return f"{self.name(host)}/{self._names.get(f'{host}/{network}', network)}"
        return self._names.get(name, name)

    def owner(self, value: object, guarantee: Guarantee) -> tuple[Any, ...]:
        """Read whose an address or MAC is; of private addresses that hosts share, the flow's own is meant."""
        return self._near(value, guarantee.destination, guarantee.source, guarantee.network)

    def _near(self, value: object, *nodes: str) -> tuple[Any, ...]:
        if not value:
            return ()
        found = self._owners.get(str(value), [])
        for near in nodes:
            host = self.name(near).partition("/")[0]
            for owner in found:
                if owner[0].partition("/")[0] == host:
                    return owner
        return found[0] if len(found) == 1 else (SEVERAL,) if found else (NOBODY,)

    def source(self, guarantee: Guarantee) -> Hashable:
        """Read whose address a flow comes from; which of its own a host pretends to, does not matter."""
        ends = (guarantee.source, guarantee.destination, guarantee.network)
        owner = self._near(guarantee.flow.source_address, *ends)
        host = owner[0].partition("/")[0] if owner else ""
        return (host,) if host in self._hosts else owner

    def _exit(self, guarantee: Guarantee) -> Hashable:
        """Read the NIC that a flow leaves by; a host's may be its part in a network."""
        kind, colon, network = guarantee.flow.out_nic.rpartition(":")
        return (kind, self.name(f"{guarantee.source}/{network}")) if colon else network

    def read(self, guarantee: Guarantee, prediction: Prediction) -> Hashable:
        flow, seen, received = guarantee.flow, guarantee.seen, prediction.received

        def whose(*values: object) -> Hashable:
            return tuple(self.owner(value, guarantee) for value in values)

        return (
            (guarantee.id, guarantee.mode, self.name(guarantee.network)),
            (self.name(guarantee.source), self.name(guarantee.destination)),
            (flow.family, flow.protocol, flow.special, flow.answer, flow.ttl, flow.size),
            self._exit(guarantee),
            (self.source(guarantee), whose(flow.destination_address, flow.next_hop_mac)),
            (flow.destination_port, guarantee.expected, guarantee.answered, guarantee.error_code),
            whose(guarantee.error_from, prediction.error_from),
            seen and (seen.nic, seen.ttl, whose(seen.source_address, seen.source_mac)),
            (prediction.outcome, prediction.answered, prediction.error_code),
            received and (received.ttl, received.destination_port),
            received and whose(received.source_address, received.source_mac, received.destination_address),
        )

    def all(self, found: Answers) -> Counter[Hashable]:
        """Read everything but what is asked of addresses that nobody has: which are free, names decide."""
        return Counter(
            self.read(guarantee, prediction)
            for guarantee, prediction in found.pairs
            if self.owner(guarantee.flow.destination_address, guarantee) != (NOBODY,)
        )


def _owners(topology: Topology) -> Iterator[tuple[str, tuple[Any, ...]]]:
    nics = [(vm.name, nic) for vm in topology.vms.values() for nic in vm.nics]
    nics += [(machine.name, nic) for machine in topology.machines.values() for nic in machine.nics]
    nics += [(host.name, nic) for host in topology.hosts.values() for nic in host.nics.values()]
    for node, nic in nics:
        yield nic.mac, (node, nic.name)
        yield from ((str(a.ip), (node, nic.name, a.version)) for a in nic.addresses)
    for host in topology.hosts.values():
        for network in host.networks.values():
            yield network.mac, (f"{host.name}/{network.name}",)
            yield from ((str(a.ip), (f"{host.name}/{network.name}", a.version)) for a in network.addresses)


def renamed(document: Document, new: Callable[[str], str]) -> tuple[Document, Names]:
    """Rename every node, network and segment everywhere; return the former names too."""
    changed = deepcopy(document)
    original: Names = {}

    def rename(parent: Document, host: str = "") -> Document:
        for name in parent:
            original[f"{host}/{new(name)}" if host else new(name)] = name
        return {new(name): value for name, value in parent.items()}

    changed["segments"] = rename(changed["segments"])
    changed["machines"] = rename(changed["machines"])
    for machine in changed["machines"].values():
        for key in {"segment", "segments"} & machine.keys():
            value = machine[key]
            machine[key] = new(value) if isinstance(value, str) else [new(one) for one in value]
    changed["hosts"] = rename(changed["hosts"])
    for name, host in changed["hosts"].items():
        host["nics"] = {nic: new(segment) for nic, segment in host["nics"].items()}
        host["networks"] = rename(host["networks"], name)
        host["vms"] = rename(host["vms"])
        for vm in host["vms"].values():
            vm["networks"] = [new(network) for network in vm["networks"]]
        for network in host["networks"].values():
            if "reach" in network:
                network["reach"] = [new(one) for one in network["reach"]]
            for forward in network.get("forwards", []):
                forward["to"] = new(forward["to"])
    return changed, original


def apart(document: Document) -> Document:
    """Give each host private prefixes of its own: in shared ones names decide which addresses coincide."""
    changed = deepcopy(document)
    for index, host in enumerate(changed["hosts"].values()):
        for network in host["networks"].values():
            for number, subnet in enumerate(network.get("subnets", [])):
                own = subnet.replace("10.9.", f"10.{90 + index}.").replace("fd00:9:", f"fd00:{90 + index}:")
                network["subnets"][number] = own
    return changed


def _in_order(name: str) -> str:
    return f"new-{name}"


def _in_reverse(name: str) -> str:
    return f"{9 - int(name[-1])}x{name[::-1]}"


@each
@given(documents(max_vms=8))
def test_names_do_not_matter(document: Document) -> None:
    """With every node, network and segment renamed, the same is promised and predicted of each flow.

    Names decide addresses and MACs; whose address it is, is compared instead. They also decide which of two
    routers is asked that lead to the same place, so the new ones sort like the old ones where there are two.
    """
    document = apart(document)
    routers = sum(machine.get("router", False) for machine in document["machines"].values())
    change = _in_order if routers > 1 else _in_reverse
    changed, original = renamed(document, change)
    before, after = answers(document), answers(changed)
    assert Reader(before.topology).all(before) == Reader(after.topology, original).all(after)


def reordered(document: Document) -> Document:
    """Turn every map of a file about but those of NICs, whose order numbers a machine's own."""
    changed = deepcopy(document)
    for key in ("segments", "hosts", "machines"):
        changed[key] = dict(reversed(changed[key].items()))
    for host in changed["hosts"].values():
        for key in ("networks", "vms"):
            host[key] = dict(reversed(host[key].items()))
        for network in host["networks"].values():
            for key in {"reach", "forwards"} & network.keys():
                network[key] = network[key][::-1]
    return changed


def asked(found: Answers) -> dict[Hashable, Hashable]:
    """Return what is promised and predicted by what is asked; only the numbering of ports is left out."""
    return {
        (g.id, g.network, g.source, g.destination, replace(g.flow, source_port=0)): (
            (g.expected, g.seen, g.answered, g.error_from, g.error_code),
            (p.outcome, p.answered, p.error_from, p.error_code),
        )
        for g, p in found.pairs
    }


@each
@given(documents(max_vms=8))
def test_the_order_of_a_file_does_not_matter(document: Document) -> None:
    """The same entries in another order promise and predict the same of each flow.

    Where one flow of many is tried, it is the first of the file, so a few are tried of one order only.
    """
    before, after = asked(answers(document)), asked(answers(reordered(document)))
    common = before.keys() & after.keys()
    assert {key: before[key] for key in common} == {key: after[key] for key in common}
    assert len(common) * 2 >= len(before)


def with_unrelated_network(document: Document, random: Random) -> Document:
    changed = deepcopy(document)
    host = changed["hosts"][random.choice(list(changed["hosts"]))]
    host["networks"][EXTRA] = {
        "mode": random.choice(["isolated", "host-only"]),
        "subnets": ["10.77.0.0/24", "fd00:77::/64"],
    }
    for number in range(random.randint(0, 3)):
        host["vms"][f"{EXTRA}{number}"] = {"networks": [EXTRA]}
    return changed


def concerns_the_unrelated(guarantee: Guarantee) -> bool:
    """Tell whether a guarantee is about the network that was added: its VMs, or the host's part in it."""
    told = (guarantee.network, guarantee.source, guarantee.destination, guarantee.promise)
    address = str(guarantee.flow.destination_address)
    return any(EXTRA in text for text in told) or address.startswith(("10.77.", "fd00:77:"))


def of_one_that_only_bridges(guarantee: Guarantee, topology: Topology) -> bool:
    """Tell the promise that a host passes nothing on."""
    return guarantee.id == "node.no-relay" and guarantee.promise.split()[0] in topology.hosts


def of_any_bystander(guarantee: Guarantee) -> bool:
    """Tell the promise that a packet for nobody is seen by nobody: one is asked, and any would do."""
    return guarantee.id == "node.own-routes" and guarantee.flow.special is Special.VACANT


def for_nobody(found: Answers) -> Counter[Hashable]:
    """Return what is promised and predicted of packets for nobody, whoever is asked."""
    return Counter(
        (g.source, g.flow.destination_address, g.expected, p.outcome)
        for g, p in found.pairs
        if of_any_bystander(g)
    )


@each
@given(documents(max_vms=8), randoms)
def test_an_unrelated_network_does_not_matter(document: Document, random: Random) -> None:
    """A network that shares nothing with the others changes no promise and no prediction of theirs.

    A host that had no network, or no address of a family, is asked more from then on; all that is denied. One
    that only bridged is a router from then on, which denies, where it did not even listen.
    """
    before, after = answers(document), answers(with_unrelated_network(document, random))
    read, others = Reader(before.topology).read, Reader(after.topology).read
    assert for_nobody(before) - for_nobody(after) == Counter()
    pairs = [(g, p) for g, p in before.pairs if not of_any_bystander(g)]
    kept = Counter(read(g, p) for g, p in pairs if not of_one_that_only_bridges(g, before.topology))
    left = [(p, others(g, p)) for g, p in after.pairs if not concerns_the_unrelated(g)]
    assert kept - Counter(told for _, told in left) == Counter()
    assert {p.outcome for p, told in left if told not in kept} <= {Outcome.SILENT, Outcome.REJECTED}


def stricter(document: Document, random: Random) -> Document:
    """Take one permission away: a network that may be reached, a forward, or what VMs of a network may."""
    changed = deepcopy(document)
    networks = [network for host in changed["hosts"].values() for network in host["networks"].values()]
    ways = [(n, key) for n in networks for key in ("reach", "forwards") if n.get(key)]
    ways += [(n, "port_isolation") for n in networks if not n.get("port_isolation")]
    if ways:
        network, key = random.choice(ways)
        if key == "port_isolation":
            network[key] = True
        else:
            network[key].pop(random.randrange(len(network[key])))
    return changed


@each
@given(documents(max_vms=8), randoms)
def test_a_permission_taken_away_adds_no_way(document: Document, random: Random) -> None:
    """Whatever gets through the stricter lab gets through the one that it was made of.

    But for the ports of forwards: one that is taken away hands its port back to the host itself.
    """
    wider, narrower = answers(document), answers(stricter(document, random))
    ports = {forward.port for network in wider.topology.networks for forward in network.forwards}
    through = tuple(
        g for g, p in narrower.pairs if p.outcome in REACHED and g.flow.destination_port not in ports
    )
    again = predict(wider.topology, wider.state, through)
    assert [g for g, p in zip(through, again, strict=True) if p.outcome not in REACHED] == []


DENIALS = ("meta l4proto udp", "ip6 hoplimit 64", "ip ttl 63", "tcp dport 49401", "meta nfproto ipv4")


def chains_of(state: State) -> list[tuple[str, str]]:
    """Return namespace and name of every chain of the filters."""
    return [
        (space.name, chain.name)
        for space in state.namespaces
        for table in space.tables
        if table.family == "inet"
        for chain in table.chains
        if "type filter" in chain.hook
    ]


def added(found: Answers, changed: State) -> list[Guarantee]:
    """Return what gets through a changed State and does not get through the compiled one."""
    after = predict(found.topology, changed, found.guarantees)
    return [
        guarantee
        for (guarantee, before), now in zip(found.pairs, after, strict=True)
        if now.outcome in REACHED and before.outcome not in REACHED
    ]


@each
@given(documents(max_vms=8), randoms)
def test_a_rule_that_drops_adds_no_way(document: Document, random: Random) -> None:
    """Another denied flow never adds reachability: with a `drop` more, what gets through only shrinks."""
    found = answers(document)
    chains = chains_of(found.state)
    if chains:
        host, chain = random.choice(chains)
        assert added(found, with_rule(found.state, host, chain, f"{random.choice(DENIALS)} drop")) == []


def bench(number: int) -> Document:
    return {"mode": "host-only", "subnets": [f"10.{number}.0.0/24"]}


def test_a_rule_that_accepts_adds_ways() -> None:
    """The law above can be broken: it says so where a door is opened."""
    document = {
        "hosts": {"hv": {"networks": {"a": bench(1), "b": bench(2)}, "vms": {"one": "a", "two": "b"}}}
    }
    found = answers(document)
    assert added(found, with_rule(found.state, "hv", "forward", "meta l4proto udp accept"))


@each
@given(documents(max_vms=8), randoms)
def test_an_expectation_changes_nothing_but_what_is_asked(document: Document, random: Random) -> None:
    """An author's own denied flow compiles to nothing: the same State, and every other promise as before."""
    nodes = [*document["machines"], *(vm for host in document["hosts"].values() for vm in host["vms"])]
    if len(nodes) < 2:
        return
    source, destination = random.sample(nodes, 2)
    question = {"from": source, "to": destination, "protocol": "icmp", "outcome": "silent"}
    before = Topology.of(**document)
    if not guarantee_for_expect(before, Expect(source, destination, "icmp", Outcome.SILENT)):
        return  # no family in common: such a file is refused
    after = Topology.of(**document, expect=[question])
    assert compile_topology(after) == compile_topology(before)
    promised = guarantees_for(before)
    assert guarantees_for(after)[: len(promised)] == promised
