"""Loading: the forms that a file may take, what is filled in, and what a hostile file can cost."""

from __future__ import annotations

import copy
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vnetlab.errors import TopologyError
from vnetlab.topology.load import load, parse
from vnetlab.topology.model import Family, Mode, Topology
from vnetlab.topology.yaml_source import MAX_CHARACTERS, read

if TYPE_CHECKING:
    from pathlib import Path

FIVE_MODES = """
name: five-modes
segments:
  lan: {subnets: [192.0.2.0/24, "2001:db8:1::/64"]}
  far: {subnets: [198.51.100.0/24, "2001:db8:2::/64"]}
hosts:
  hv1:
    nics: {eth0: {segment: lan, addresses: [192.0.2.10/24, "2001:db8:1::10/64"]}}
    networks:
      office:  {mode: bridge, uplink: eth0}
      vault:   {mode: isolated, subnets: [10.10.0.0/24]}
      dmz:     {mode: routed, uplink: eth0, subnets: [10.20.0.0/24, "fd00:20::/64"]}
      bench:   {mode: host-only, subnets: [10.30.0.0/24]}
      home:
        mode: nat
        uplink: eth0
        subnets: [10.40.0.0/24, "fd00:40::/64"]
        forwards: [{protocol: tcp, port: 8080, to: web, to_port: 80}]
    vms:
      desk1: office
      desk2: office
      safe1: vault
      safe2: {networks: [vault], backend: tap}
      www:   dmz
      tool1: bench
      tool2: bench
      web:   home
      kiosk: {networks: [home, bench]}
machines:
  peer:   {segment: lan}
  gw:     {segments: [lan, far], router: true}
  remote: {segment: far}
expect:
  - {from: peer, to: www, protocol: tcp, port: 443, outcome: delivered}
"""


ONE_NETWORK = """
hosts: {{h: {{networks: {{home: {{mode: host-only, subnets: 10.0.0.0/24}}}}, vms: {{a: {}}}}}}}
"""


@pytest.fixture(scope="module")
def five() -> Topology:
    return parse(FIVE_MODES, "lab.yaml")


def problems(text: str) -> list[str]:
    with pytest.raises(TopologyError) as caught:
        parse(text, "lab.yaml")
    return [str(problem) for problem in caught.value.problems]


def test_the_whole_example(five: Topology) -> None:
    assert five.name == "five-modes"
    assert [n.name for n in five.networks] == ["office", "vault", "dmz", "bench", "home"]
    assert list(five.machines) == ["peer", "gw", "remote"]
    assert five.text == FIVE_MODES
    assert five.file == "lab.yaml"
    assert five.vms["safe2"].backend == "tap"
    assert [nic.name for nic in five.vms["kiosk"].nics] == ["eth0", "eth1"]
    (expect,) = five.expect
    assert (expect.source, expect.port, expect.family) == ("peer", 443, None)


def test_bridge_network_is_the_segment(five: Topology) -> None:
    office, uplink = five.hosts["hv1"].networks["office"], five.hosts["hv1"].nics["eth0"]
    assert office.lan == uplink.lan
    assert office.subnets == five.segments["lan"].subnets
    assert office.mac == uplink.mac
    assert office.addresses == ()


def test_host_addresses(five: Topology) -> None:
    networks = five.hosts["hv1"].networks
    assert [str(a) for a in networks["home"].addresses] == ["10.40.0.1/24", "fd00:40::1/64"]
    assert networks["vault"].addresses == ()
    assert networks["bench"].families() == (Family.IPV4,)


def test_host_bits_are_the_hosts_address() -> None:
    text = "hosts: {h: {networks: {b: {mode: host-only, subnets: [10.0.0.254/24, 'fd00::fe/64']}}}}"
    network = parse(text).hosts["h"].networks["b"]
    assert [str(a) for a in network.addresses] == ["10.0.0.254/24", "fd00::fe/64"]
    assert [str(s) for s in network.subnets] == ["10.0.0.0/24", "fd00::/64"]


def test_places(five: Topology) -> None:
    assert str(five.vms["desk1"].place) == "lab.yaml:20:7"
    assert str(five.segments["far"].place) == "lab.yaml:5:3"
    assert str(five.hosts["hv1"].networks["home"].forwards[0].place) == "lab.yaml:18:20"


@pytest.mark.parametrize(
    "vm",
    [
        "home",
        "[home]",
        "{network: home}",
        "{networks: home}",
        "{networks: [home]}",
        "{networks: {home: }}",
        "{networks: {home: {}}}",
        "{networks: [{home: {}}]}",
    ],
)
def test_forms_of_a_vm_mean_the_same(vm: str) -> None:
    assert parse(ONE_NETWORK.format(vm)) == parse(ONE_NETWORK.format("home"))


@pytest.mark.parametrize(
    "written",
    [
        "{network: home, address: 10.0.0.7}",
        "{network: home, addresses: [10.0.0.7/24]}",
        "{networks: {home: {address: 10.0.0.7/24}}}",
        "{networks: [{home: {addresses: 10.0.0.7}}]}",
    ],
)
def test_fixed_address(written: str) -> None:
    (nic,) = parse(ONE_NETWORK.format(written)).vms["a"].nics
    assert [str(a) for a in nic.addresses] == ["10.0.0.7/24"]


def test_no_addresses_is_none_at_all() -> None:
    text = "segments: {lan: {subnets: 192.0.2.0/24}}\nmachines: {a: {segment: lan, addresses: []}}"
    assert parse(text).machines["a"].nics[0].addresses == ()


def test_mode_alone_and_uplink_left_out() -> None:
    text = "segments: {lan: }\nhosts: {h: {nics: {eth0: lan}, networks: {o: bridge, v: isolated}}}"
    networks = parse(text).hosts["h"].networks
    assert (networks["o"].mode, networks["o"].uplink) == (Mode.BRIDGE, "eth0")
    assert (networks["v"].mode, networks["v"].uplink) == (Mode.ISOLATED, "")


def test_isolated_subnets_follow_fixed_addresses() -> None:
    text = """
hosts:
  h:
    networks: {v: isolated}
    vms:
      a: {network: v, address: 10.0.0.1/24}
      b: {network: v, addresses: [10.0.0.2/24, "fd00::2/64"]}
      c: v
"""
    topology = parse(text)
    assert [str(s) for s in topology.networks[0].subnets] == ["10.0.0.0/24", "fd00::/64"]
    assert topology.vms["c"].nics[0].addresses == ()


def test_yaml_1_2_scalars() -> None:
    text = "segments: {lan: {subnets: 192.0.2.0/24}}\nmachines: {no: {segment: lan, mac: 12:34:56:12:34:56}}"
    assert parse(text).machines["no"].nics[0].mac == "12:34:56:12:34:56"


def test_aliases() -> None:
    text = "segments: {a: &plain {mtu: 9000}, b: *plain}"
    assert parse(text).segments["b"].mtu == 9000


def test_mtu() -> None:
    text = """
segments: {lan: {mtu: 9000}}
hosts: {h: {nics: {eth0: lan}, networks: {o: bridge, v: {mode: isolated, mtu: 1400}}}}
"""
    networks = parse(text).hosts["h"].networks
    assert (networks["o"].mtu, networks["v"].mtu) == (9000, 1400)


def test_json_is_a_topology_too() -> None:
    assert list(parse('{"segments": {"lan": {}}}', "lab.json").segments) == ["lan"]


@pytest.mark.parametrize(("file", "name"), [("my lab.yaml", "my-lab"), ("dir/x.yaml", "x"), ("...", "lab")])
def test_name_from_the_file(file: str, name: str) -> None:
    assert parse("segments: {lan: }", file).name == name


def test_load_reads_a_file(tmp_path: Path) -> None:
    path = tmp_path / "five.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + FIVE_MODES.encode())
    topology = load(path)
    assert topology == parse(FIVE_MODES, str(path))
    assert topology.file == str(path)
    assert topology.segments["lan"].place.file == str(path)


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(TopologyError, match="No such file or directory; check the path"):
        load(tmp_path / "none.yaml")
    with pytest.raises(TopologyError, match="Is a directory"):
        load(tmp_path)
    path = tmp_path / "latin.yaml"
    path.write_bytes(b"segments:\n  l\xe4n:\n")
    with pytest.raises(TopologyError, match=r"latin.yaml:2:4: file: byte 0xe4: is not UTF-8"):
        load(path)


def test_all_problems_at_once_and_in_order() -> None:
    found = problems(
        "segmnts: {}\nhosts:\n  h:\n    networks: {a: natt, b: {mode: nat, subnets: 10.0.0.0/33}}\n"
        "    vms: {v: c}\n"
    )
    places = [text.split(": ")[0] for text in found]
    assert places == ["lab.yaml:1:1", "lab.yaml:4:19", "lab.yaml:4:49", "lab.yaml:5:14"]


def test_a_refused_element_hides_no_other_problem() -> None:
    found = problems("machines: {a: b, c: {segment: lan, mac: x}}\nsegments: {lan: {subnets: [10.0.0.1/24]}}")
    assert len(found) == 3


BOMBS = {
    "aliases": "a: &a [x, x, x, x]\n"
    + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(20)),
    "flow": "[" * 1_000_000,
    "block": "".join("- " * depth + "\n" for depth in range(1000)),
    "maps": "{a: " * 500_000,
    "long": "x" * 10 * 1024 * 1024,
    "items": "segments: [" + "1, " * (MAX_CHARACTERS // 3 - 10) + "]",
    "keys": "".join(f"k{i}: 1\n" for i in range(20_000)),
    "references": "hosts: {h: {networks: {"
    + "".join(f"network-{i}: isolated, " for i in range(3000))
    + "}, vms: {"
    + "".join(f"v{i}: netwerk-{i}, " for i in range(3000))
    + "}}}",
    "number": "name: " + "9" * 1_000_000,
    "prefix": "segments: {lan: {subnets: ['" + "1" * 1_000_000 + "/24']}}",
}


def test_a_long_list_of_problems_is_cut() -> None:
    found = problems(BOMBS["keys"])
    assert len(found) == 501
    assert any("too many problems to list" in problem for problem in found)


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_cost_little(bomb: str) -> None:
    begin = time.process_time()
    found = problems(BOMBS[bomb])
    assert time.process_time() - begin < 5
    assert all(len(problem) < 1000 for problem in found)


def test_a_thousand_vms_load_in_half_a_second() -> None:
    hosts = "".join(
        f"  h{h}:\n    nics: {{eth0: lan}}\n    networks: {{home: {{mode: nat, subnets: [10.9.0.0/22]}}}}\n"
        "    vms:\n" + "".join(f"      v{h}-{i}: home\n" for i in range(100))
        for h in range(10)
    )
    text = f"segments: {{lan: {{subnets: [10.0.0.0/16]}}}}\nhosts:\n{hosts}"
    parse("segments: {lan: }")
    begin = time.process_time()
    topology = parse(text)
    assert time.process_time() - begin < 0.5
    assert len(topology.vms) == 1000


@settings(max_examples=150, deadline=None)
@given(
    cut=st.integers(0, len(FIVE_MODES) - 1),
    length=st.integers(0, 12),
    put=st.sampled_from(["", "{", "]", ":", "x", "0", "/", "~", "\n", " ", "nat", "&a ", "*a", "-"]),
)
def test_a_damaged_file_loads_or_says_what_is_wrong(cut: int, length: int, put: str) -> None:
    text = FIVE_MODES[:cut] + put + FIVE_MODES[cut + length :]
    found: tuple[object, ...]
    try:
        found = (parse(text),)
    except TopologyError as error:
        found = error.problems
    assert found


@pytest.mark.parametrize("key", ["<list>", "<word>", "[key]", ""])
def test_keys_that_look_like_marks_of_the_parser(key: str) -> None:
    assert len(problems(f'{{"{key}": 1, machines: {{a: {{segment: b, "{key}": 1}}, "{key}": c}}}}')) >= 3


WRONG = [None, {}, [], "", "home", 5, -1, True, "10.0.0.1", ["home"], [[1]], {"a": {"b": "c"}}, [None]]
KEYS = ["network", "networks", "address", "mac", "routes", "reach", "uplink", "vms", "nics", "expect"]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_value_in_any_place_loads_or_is_a_problem(data: st.DataObject) -> None:
    tree: Any = read(FIVE_MODES, "lab.yaml").root.plain()
    for _ in range(data.draw(st.integers(1, 3))):
        at = tree
        while isinstance(at, dict | list) and at and data.draw(st.integers(0, 4)):
            parent = at
            step = data.draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
            at = parent[step]
        if at is tree:
            continue
        parent[step] = copy.deepcopy(data.draw(st.sampled_from(WRONG)))
        if isinstance(parent, dict):
            parent[data.draw(st.sampled_from(KEYS))] = copy.deepcopy(data.draw(st.sampled_from(WRONG)))
    found: tuple[object, ...]
    try:
        found = (parse(json.dumps(tree)),)
    except TopologyError as error:
        found = error.problems
    assert found


def test_a_topology_built_in_python_is_the_one_of_the_file() -> None:
    built = Topology.of(
        name="small",
        segments={"lan": {"subnets": ["192.0.2.0/24"]}},
        hosts={
            "hv1": {
                "nics": {"eth0": "lan"},
                "networks": {"home": {"mode": "nat", "subnets": ["10.40.0.0/24"]}},
                "vms": {"web": "home"},
            }
        },
    )
    text = """
name: small
segments: {lan: {subnets: [192.0.2.0/24]}}
hosts: {hv1: {nics: {eth0: lan}, networks: {home: {mode: nat, subnets: [10.40.0.0/24]}}, vms: {web: home}}}
"""
    assert built.vms["web"].nics == Topology.parse(text).vms["web"].nics
    with pytest.raises(TopologyError, match="nosuch"):
        Topology.of(hosts={"hv1": {"vms": {"web": "nosuch"}}})
