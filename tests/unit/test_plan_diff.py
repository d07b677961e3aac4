"""A change of what is there: what closes comes before the rules, what opens after them."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface, ip_network

import pytest
from msgspec.structs import replace

from vnetlab import plan
from vnetlab.plan.tables import TableChange, changes, transaction
from vnetlab.state import (
    Address,
    Bridge,
    Namespace,
    NftChain,
    NftRule,
    NftSet,
    NftTable,
    State,
    StaticRoute,
    Sysctl,
    Veth,
)
from vnetlab.switching import Option

ACCEPT, DROP, REJECT = (NftRule(verdict, f"to {verdict}") for verdict in ("accept", "drop", "reject"))
HOOK = "type filter hook forward priority filter; policy drop;"


def table(*rules: NftRule, hook: str = HOOK, name: str = "forward") -> NftTable:
    return NftTable("inet", "t", (NftChain(name, hook, rules),))


def lab(host: Namespace | None = None, vm: Namespace | None = None) -> State:
    return State(tuple(each for each in (host, vm) if each))


HOST = Namespace(
    "host",
    "host",
    links=(
        Bridge(name="br0", altname="home", mac="02:00:00:00:00:fe"),
        Veth(name="p1", master="br0", peer_namespace="vm", peer="eth0"),
    ),
    addresses=(Address("br0", ip_interface("10.0.0.254/24")),),
    sysctls=(
        Sysctl("net/ipv4/conf/all/forwarding", "0"),
        Sysctl("net/ipv4/conf/default/forwarding", "0"),
        Sysctl("net/ipv4/conf/br0/forwarding", "1"),
    ),
    tables=(table(ACCEPT, DROP),),
)
VM = Namespace(
    "vm",
    "vm",
    links=(Veth(name="eth0", mac="02:00:00:00:00:01", peer_namespace="host", peer="p1"),),
    addresses=(Address("eth0", ip_interface("10.0.0.1/24")),),
    routes=(StaticRoute(ip_network("0.0.0.0/0"), ip_address("10.0.0.254"), "eth0"),),
)
FLOWS = "host: judge live flows anew that the change concerns"
BASE = lab(HOST, VM)


def steps(before: State, after: State) -> list[str]:
    return [step.describe() for step in plan.diff(before, after).steps]


def host(**changes: object) -> State:
    return lab(replace(HOST, **changes), VM)


def vm(**changes: object) -> State:
    return lab(HOST, replace(VM, **changes))


def test_nothing_differs_from_itself() -> None:
    assert steps(BASE, BASE) == []


def test_out_of_nothing_it_is_what_build_says() -> None:
    assert plan.diff(State(), BASE) == plan.build(BASE)


def test_order_is_no_difference() -> None:
    chains = (*HOST.tables[0].chains, NftChain("x", "", ()))
    two = replace(HOST, tables=(replace(HOST.tables[0], chains=chains),))
    other = replace(
        two,
        links=two.links[::-1],
        tables=(replace(two.tables[0], chains=two.tables[0].chains[::-1]),),
    )
    assert steps(lab(two, VM), lab(other, VM)) == []


def test_a_node_leaves_after_everything_else() -> None:
    without = lab(replace(HOST, links=HOST.links[:1], tables=(table(DROP),)))
    assert steps(BASE, without) == [
        "host: set p1 down",
        "host: change nftables table inet t: remove from forward `accept (to accept)`",
        FLOWS,
        "host: delete p1",
        "vm: remove network namespace",
    ]


def test_a_node_comes_up_after_the_rules() -> None:
    without = lab(replace(HOST, links=HOST.links[:1], tables=(table(DROP),)))
    found = steps(without, BASE)
    made = found.index("host: create veth p1 on bridge br0, other end in vm: eth0")
    rules = found.index("host: change nftables table inet t: add to forward `accept (to accept)`")
    assert made < rules < found.index("host: set p1 up")
    assert found[0] == "vm: create network namespace of vm"
    assert found[-1] == "vm: add route to 0.0.0.0/0 via 10.0.0.254 on eth0"


def test_what_closes_comes_before_the_rules_and_what_opens_after_them() -> None:
    closed = host(
        addresses=(),
        sysctls=(*HOST.sysctls[:2], Sysctl("net/ipv4/conf/br0/forwarding", "0")),
        tables=(table(DROP),),
    )
    change = "host: change nftables table inet t: "
    assert steps(BASE, closed) == [
        "host: remove address 10.0.0.254/24 from br0",
        "host: set net/ipv4/conf/br0/forwarding=0",
        f"{change}remove from forward `accept (to accept)`",
        FLOWS,
    ]
    assert steps(closed, BASE) == [
        f"{change}add to forward `accept (to accept)`",
        FLOWS,
        "host: set net/ipv4/conf/br0/forwarding=1",
        "host: add address 10.0.0.254/24 to br0",
    ]


def test_a_device_setting_that_nobody_wants_any_more_takes_the_default() -> None:
    assert steps(BASE, host(sysctls=HOST.sysctls[:2])) == ["host: set net/ipv4/conf/br0/forwarding=0"]


def test_a_setting_of_the_namespace_that_nobody_wants_any_more_is_left_alone() -> None:
    more = host(sysctls=(Sysctl("net/ipv4/ip_default_ttl", "9"), *HOST.sysctls))
    assert steps(more, BASE) == []


def test_a_setting_that_writes_others_is_followed_by_these() -> None:
    open_wide = host(sysctls=(Sysctl("net/ipv4/conf/all/forwarding", "1"), *HOST.sysctls[1:]))
    assert steps(BASE, open_wide) == [
        "host: set net/ipv4/conf/all/forwarding=1, net/ipv4/conf/default/forwarding=0, "
        "net/ipv4/conf/br0/forwarding=1, net/ipv4/conf/p1/forwarding=0"
    ]


def test_a_device_that_comes_up_gets_its_routes_back() -> None:
    down = vm(links=(replace(VM.links[0], up=False),))
    assert steps(BASE, down) == [
        "vm: remove route to 0.0.0.0/0 via 10.0.0.254 on eth0",
        "vm: set eth0 down",
    ]
    assert steps(down, BASE) == [
        "vm: set eth0 up",
        "vm: add route to 0.0.0.0/0 via 10.0.0.254 on eth0",
    ]


def test_a_device_without_its_last_address_gets_its_routes_back() -> None:
    other = vm(addresses=(Address("eth0", ip_interface("10.0.0.2/24")),))
    assert steps(BASE, other) == [
        "vm: remove address 10.0.0.1/24 from eth0",
        "vm: add address 10.0.0.2/24 to eth0",
        "vm: add route to 0.0.0.0/0 via 10.0.0.254 on eth0",
    ]


def test_later_addresses_of_a_subnet_go_and_come_with_the_first() -> None:
    first, second = (Address("eth0", ip_interface(f"10.0.0.{n}/24")) for n in (1, 2))
    far = Address("eth0", ip_interface("10.9.0.1/24"))
    assert steps(vm(addresses=(first, second, far)), vm(addresses=(second, far))) == [
        "vm: remove address 10.0.0.2/24 from eth0",
        "vm: remove address 10.0.0.1/24 from eth0",
        "vm: add address 10.0.0.2/24 to eth0",
    ]


def test_a_route_takes_the_place_of_another() -> None:
    other = vm(routes=(replace(VM.routes[0], via=ip_address("10.0.0.9")),))
    assert steps(BASE, other) == ["vm: change route to 0.0.0.0/0 from 10.0.0.254 on eth0 to 10.0.0.9 on eth0"]


def test_a_port_that_moves_is_isolated_before_it_is_up() -> None:
    two = (*HOST.links, Bridge(name="br1", mac="02:00:00:00:00:fd"))
    moved = (HOST.links[0], replace(HOST.links[1], master="br1", isolated=True), two[2])
    assert steps(host(links=two), host(links=moved)) == [
        "host: set p1 down",
        "host: attach p1 to bridge br1",
        "host: isolate port p1",
        "host: set p1 up",
    ]


def test_a_device_of_another_kind_is_deleted_before_its_name_is_taken() -> None:
    other = lab(replace(HOST, links=(HOST.links[0], Bridge(name="p1"))))
    found = steps(BASE, other)
    assert found.index("host: delete p1") < found.index("host: create bridge p1")


def test_a_port_joins_a_bridge_that_was_made_anew() -> None:
    pair = Veth(name="br0", peer_namespace="b", peer="x")
    other = Namespace("b", "host", links=(Veth(name="x", peer_namespace="a", peer="br0"),))
    before = State((Namespace("a", "host", links=(pair, Bridge(name="br1"))), other))
    after = State((Namespace("a", "host", links=(Bridge(name="br0"), Bridge(name="br1", master="br0"))),))
    found = steps(before, after)
    assert found.index("a: create bridge br0") < found.index("a: attach br1 to bridge br0")


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (
            table(ACCEPT, DROP),
            table(REJECT, DROP),
            "delete rule inet t forward handle 1\n"
            'insert rule inet t forward handle 2 counter reject comment "to reject"\n',
        ),
        (
            table(ACCEPT),
            table(ACCEPT, DROP),
            'add rule inet t forward counter drop comment "to drop"\n',
        ),
        (
            table(ACCEPT),
            table(ACCEPT, hook=HOOK.replace("drop", "accept")),
            "add chain inet t forward { type filter hook forward priority filter; policy accept; }\n",
        ),
        (
            table(ACCEPT),
            table(ACCEPT, hook=HOOK.replace("forward", "input")),
            "flush chain inet t forward\ndelete chain inet t forward\n"
            "add chain inet t forward { type filter hook input priority filter; policy drop; }\n"
            'add rule inet t forward counter accept comment "to accept"\n',
        ),
        (table(), None, "delete table inet t\n"),
    ],
)
def test_rules_change_in_their_place(before: NftTable, after: NftTable | None, text: str) -> None:
    handles = {("inet", "t", "forward"): (1, 2, 3)}
    assert transaction((TableChange(before, after),), handles) == text


def test_a_rule_with_a_set_is_there_before_the_one_whose_place_it_takes_goes() -> None:
    old, new = (NftRule(f"tcp dport {{ 22, {port} }} accept", "ports") for port in (80, 81))
    found = steps(host(tables=(table(old, DROP),)), host(tables=(table(new, DROP),)))
    change = "host: change nftables table inet t: "
    assert found == [
        f"{change}add to forward `{new.text} (ports)`",
        f"{change}remove from forward `{old.text} (ports)`",
        FLOWS,
    ]


def test_a_table_with_other_sets_is_replaced_as_a_whole() -> None:
    before = replace(table(ACCEPT), sets=(NftSet("s", "set", "inet_service", ("22",)),))
    (found,) = changes((before,), (table(ACCEPT),))
    assert found.whole
    assert transaction((found,), {}).startswith("delete table inet t\ntable inet t {")


def test_words_and_definitions_are_no_difference() -> None:
    chain = NftChain("forward", HOOK, (NftRule("iifname $lan accept", "x"),), "why")
    before = NftTable("inet", "t", (chain,), (("lan", '"eth0"'),))
    after = table(NftRule('iifname "eth0" accept', "x"))
    assert changes((before,), (after,)) == ()


def changed_vm(**changes: object) -> Namespace:
    (link,) = VM.links
    return replace(VM, links=(replace(link, **changes),))


FORGET = "host: forget what br0 has learned of 10.0.0.1"


def test_who_knew_an_old_mac_forgets_it() -> None:
    found = steps(BASE, lab(HOST, changed_vm(mac="02:00:00:00:00:02")))
    assert found == ["vm: change MAC of eth0 from 02:00:00:00:00:01 to 02:00:00:00:00:02", FORGET]


def test_an_address_that_another_has_now_is_forgotten() -> None:
    """The other one is new: what was known before counts, not who is still there."""
    new = Namespace(
        "new",
        "vm",
        links=(Veth(name="eth0", mac="02:00:00:00:00:03", peer_namespace="host", peer="p2"),),
        addresses=VM.addresses,
    )
    port = Veth(name="p2", master="br0", peer_namespace="new", peer="eth0")
    after = State((replace(HOST, links=(HOST.links[0], port)), new))
    found = steps(BASE, after)
    assert found[-2:] == [FORGET, "vm: remove network namespace"]


def test_what_is_new_or_as_before_is_not_forgotten() -> None:
    addresses = (*VM.addresses, Address("eth0", ip_interface("10.0.0.2/24")))
    for after in (vm(addresses=addresses), vm(addresses=()), lab(HOST, changed_vm(mtu=1400))):
        assert not [step for step in steps(BASE, after) if "forget" in step]


def test_links_of_equal_addresses_do_not_meet() -> None:
    """Two labs side by side with the same addresses: only the link on which the MAC changed is concerned."""
    other = State(
        tuple(
            replace(
                n,
                name=f"{n.name}2",
                links=tuple(
                    replace(li, peer_namespace=f"{li.peer_namespace}2") if isinstance(li, Veth) else li
                    for li in n.links
                ),
            )
            for n in BASE.namespaces
        )
    )
    before = State((*BASE.namespaces, *other.namespaces))
    after = State((HOST, changed_vm(mac="02:00:00:00:00:02"), *other.namespaces))
    assert [step for step in steps(before, after) if "forget" in step] == [FORGET]


def test_options_change_before_ports_do_and_only_where_they_differ() -> None:
    bridge, port = HOST.links
    odd = replace(port, options=(Option("hairpin", 1), Option("learning", 0)))
    hub = replace(bridge, options=(Option("stp_state", 1), Option("forward_delay", 200)))
    before = host(links=(hub, odd))
    assert steps(before, BASE) == [
        "host: set stp_state 0, forward_delay 0 of bridge br0",
        "host: set hairpin 0, learning 1 of port p1",
    ]
    after = host(links=(hub, replace(odd, options=(Option("hairpin", 1),))))
    assert steps(before, after) == ["host: set learning 1 of port p1"]
    assert steps(BASE, after)[-1] == "host: set hairpin 1 of port p1"


def test_a_port_that_is_blocked_is_let_forward() -> None:
    bridge, port = HOST.links
    before = host(links=(bridge, replace(port, up=False)))
    assert steps(before, BASE) == ["host: set p1 up", "host: let port p1 forward"]


def test_a_route_of_another_metric_takes_the_place_at_once() -> None:
    (route,) = VM.routes
    before = vm(routes=(replace(route, metric=70),))
    change = "vm: change route to 0.0.0.0/0 from 10.0.0.254 on eth0 with metric 70 to 10.0.0.254 on eth0"
    assert steps(before, BASE) == [change]
    besides = vm(routes=(route, replace(route, metric=70)))
    assert steps(besides, BASE) == ["vm: remove route to 0.0.0.0/0 via 10.0.0.254 on eth0 with metric 70"]
