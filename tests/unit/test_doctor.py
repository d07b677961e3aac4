"""What doctor makes of the texts that machines show: each is given as a machine gave it."""

from __future__ import annotations

import json
from ipaddress import ip_network
from typing import Any

import pytest

from vnetlab.health import LAB_SIZES, Area, Check, State, exit_code, sizes
from vnetlab.kernel.doctor import (
    interference,
    kvm_main,
    libraries,
    limits,
    privileges,
    settings,
    virtualization,
)
from vnetlab.kernel.doctor.interference import Claim, Route
from vnetlab.kernel.doctor.processor import parse_processor, processor_checks
from vnetlab.report.doctor_table import checks_object
from vnetlab.state import Sysctl

INTEL = """processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Intel(R) Core(TM) i7-8650U CPU @ 1.90GHz
flags\t\t: fpu vme de pse tsc msr pcid vmx ssse3
vmx flags\t: vnmi preemption_timer ept vpid unrestricted_guest

processor\t: 1
flags\t\t: fpu
"""
AMD = "model name\t: AMD EPYC 7763\nflags\t\t: fpu hypervisor svm npt nrip_save flushbyasid\n"
ARM = "processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd evtstrm aes\n"
NOTHING = "model name\t: Plain\nflags\t\t: fpu hypervisor pcid\n"
DROP = {"family": "inet", "table": "filter", "name": "forward", "hook": "forward", "policy": "drop"}


def states(cpuinfo: str, *parameters: str) -> dict[str, State]:
    checks = processor_checks(parse_processor(cpuinfo, frozenset(parameters)))
    return {check.name: check.state for check in checks}


def listing(*objects: dict[str, Any]) -> str:
    return json.dumps({"nftables": [{"metainfo": {"version": "1.0.6"}}, *objects]})


def test_cpu_of_intel() -> None:
    assert set(states(INTEL).values()) == {State.OK}
    assert "VT-x (flag vmx)" in processor_checks(parse_processor(INTEL))[0].finding


def test_cpu_of_amd_has_asids_whatever_the_flags() -> None:
    assert states(AMD) == {"CPU": State.OK, "nested paging": State.OK, "tagged TLB": State.OK}
    assert "itself in a virtual machine" in processor_checks(parse_processor(AMD))[0].finding


def test_cpu_without_extensions_and_a_pcid_that_is_no_tag_for_guests() -> None:
    assert set(states(NOTHING).values()) == {State.ABSENT}


def test_cpu_without_x86_flags_is_unknown_not_absent() -> None:
    assert set(states(ARM).values()) == {State.UNKNOWN}
    assert set(states("").values()) == {State.UNKNOWN}


def test_what_the_cpu_has_and_kvm_has_switched_off() -> None:
    assert states(INTEL, "ept", "nested")["tagged TLB"] is State.LIMITED
    assert states(INTEL, "ept", "nested")["nested paging"] is State.OK


@pytest.mark.parametrize(
    ("said", "state", "words"),
    [
        ("open\tNo such file or directory\n", State.ABSENT, "No such file"),
        ("open\tPermission denied\n", State.UNKNOWN, "Permission denied"),
        ("", State.ABSENT, "ended before"),
        ("open\tok\nvm\tDevice or resource busy\n", State.LIMITED, "makes no virtual machine: Device"),
        ("open\tok\nvm\tok\nvcpu\tInvalid argument\n", State.LIMITED, "makes no vCPU"),
        ("open\tok\nvm\tok\nvcpu\tok\n", State.LIMITED, "runs no guest: no answer"),
        ("open\tok\nvm\tok\nvcpu\tok\nguest\tok\n", State.LIMITED, "its guest hangs"),
        ("open\tok\nvm\tok\nvcpu\tok\nguest\tok\nspeed\t1900000\n", State.LIMITED, "emulated one by one"),
        ("open\tok\nvm\tok\nvcpu\tok\nguest\tok\nspeed\t2100000000\n", State.OK, "2,100 million"),
        (f"open\tok\nvm\tok\nvcpu\tok\nguest\t{kvm_main.FOREIGN}\n", State.OK, "x86-64 code"),
    ],
)
def test_kvm_that_opens_is_told_from_one_that_works(said: str, state: State, words: str) -> None:
    check = virtualization.kvm(said, ("kvm_intel",))
    assert check.state is state
    assert words in check.finding
    assert (check.remedy != "") == (state is not State.OK)


def test_a_guest_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = ["sh", "-c", "printf 'open\\tok\\n'; exec sleep 60"]
    monkeypatch.setattr(virtualization, "program", lambda *_: hanging)
    assert virtualization.run_guest(deadline=0.3) == "open\tok\n"


def test_iommu_needs_units_and_groups() -> None:
    assert virtualization.iommu(2, 14, True).state is State.OK
    assert "vfio" in virtualization.iommu(2, 14, False).finding
    assert virtualization.iommu(2, 0, False).state is State.ABSENT


def test_vhost_and_emulators_say_what_is_lost() -> None:
    assert virtualization.vhost("", "").state is State.OK
    assert virtualization.vhost("/dev/vhost-net: gone", "x").state is State.ABSENT
    assert virtualization.emulators(("/usr/bin/qemu-system-x86_64",)).state is State.OK
    assert virtualization.emulators(()).state is State.ABSENT


def test_capabilities_of_a_status() -> None:
    full = "Name:\tx\nCapPrm:\t0000000000000000\nCapEff:\t000001ffffffffff\n"
    assert privileges.capabilities(full) == ("CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_SYS_ADMIN")
    assert privileges.capabilities("CapEff:\t00000000a80425fb\n") == ("CAP_NET_RAW",)  # Docker's default
    assert privileges.capabilities("") == ()


def test_root_of_a_container_is_not_root() -> None:
    everybody = "         0          0 4294967295\n"
    whole = privileges.user(0, "CapEff:\t000001ffffffffff\n", everybody)
    assert (whole.state, whole.finding.split(",")[0]) == (State.OK, "root")
    contained = privileges.user(0, "CapEff:\t00000000a80425fb\n", everybody)
    assert contained.state is State.LIMITED
    assert "CAP_SYS_ADMIN" in contained.finding
    mapped = privileges.user(0, "CapEff:\t000001ffffffffff\n", "0 1000 1\n")
    assert "of a user namespace" in mapped.finding


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("kernel/unprivileged_userns_clone", 0),
        ("kernel/apparmor_restrict_unprivileged_userns", 1),
        ("user/max_user_namespaces", 0),
    ],
)
def test_settings_that_forbid_user_namespaces(key: str, value: int) -> None:
    free: dict[str, int | None] = {
        "kernel/unprivileged_userns_clone": None,
        "kernel/apparmor_restrict_unprivileged_userns": 0,
        "user/max_user_namespaces": 96364,
    }
    assert privileges.user_namespaces(free).state is State.OK
    check = privileges.user_namespaces(free | {key: value})
    assert check.state is State.LIMITED
    assert key.replace("/", ".") in check.remedy


def test_versions_of_libraries() -> None:
    wanted = libraries.Library("pydantic", "2.7", "topology files")
    assert libraries.library(wanted, "2.10.1").state is State.OK
    assert libraries.library(wanted, "2.6.4").state is State.MISSING
    assert "is broken" in libraries.library(wanted, "2.10.1", "ImportError: is broken").finding
    assert libraries.library(wanted, None).remedy == "`pip install 'pydantic>=2.7'`"
    assert (
        libraries.library(libraries.Library("pydot", "3.0", "DOT", needed=False), None).state is State.ABSENT
    )
    assert libraries.python((3, 10, 4)).state is State.MISSING


def test_limits_fit_up_to_a_size() -> None:
    limit = limits.Limit("x", "net.x", 10, "what for", 50)
    assert limits.judge(limit, 100_050).sizes == LAB_SIZES
    small = limits.judge(limit, 1_050)
    assert (small.state, small.sizes) == (State.LIMITED, (100,))
    assert small.remedy == "`sysctl -w net.x=10050` for 1,000 machines"
    assert limits.judge(limit, 100).sizes == ()
    hidden = limits.judge(limit, None)
    assert (hidden.state, hidden.sizes) == (State.UNKNOWN, None)


def test_a_broadcast_reaches_one_segment_only() -> None:
    backlog = next(limit for limit in limits.SYSCTLS if limit.name == "backlog")
    assert backlog.need(10_000) == backlog.need(1_000)


def test_available_memory() -> None:
    assert limits.available_memory("MemTotal: 1 kB\nMemAvailable:   24248192 kB\n") == 23679
    assert limits.available_memory("") is None


def test_lab_sizes_follow_from_the_limits_that_every_lab_needs() -> None:
    found = (
        Check(Area.LIMITS, "small", State.LIMITED, "", "r", (100,)),
        Check(Area.LIMITS, "big", State.OK, "", "", LAB_SIZES),
        Check(Area.LIMITS, "inotify", State.LIMITED, "", "r", None),
    )
    assert [size.limited_by for size in sizes(found)] == [(), ("small",), ("small",)]


def test_the_exit_code_is_for_what_the_modes_need() -> None:
    warnings = tuple(Check(Area.LIMITS, "x", state, "", "r") for state in State if state != State.MISSING)
    assert exit_code(warnings) == 0
    assert exit_code((*warnings, Check(Area.MODES, "nat", State.MISSING, "", "r"))) == 3


def test_bridge_netfilter() -> None:
    assert interference.bridge_netfilter({"bridge-nf-call-iptables": None}).state is State.OK
    assert interference.bridge_netfilter({"bridge-nf-call-iptables": 0}).state is State.OK
    on = interference.bridge_netfilter({"bridge-nf-call-iptables": 1, "bridge-nf-call-ip6tables": 0})
    assert on.state is State.LIMITED
    assert on.remedy.startswith("`sysctl -w net.bridge.bridge-nf-call-iptables=0`")


def test_no_rules_and_rules_that_deny_nothing() -> None:
    assert interference.drop_policies("").state is State.OK
    accepting = listing({"table": {"family": "ip", "name": "nat"}}, {"chain": DROP | {"policy": "accept"}})
    assert "1 tables, none denies" in interference.drop_policies(accepting).finding


def test_a_drop_policy_is_named_with_its_chain() -> None:
    check = interference.drop_policies(listing({"chain": DROP}))
    assert check.state is State.LIMITED
    assert "chain forward of inet filter (hook forward) drops by policy" in check.finding


def test_a_rule_that_rejects_everything_is_as_good_as_a_policy() -> None:
    chain = DROP | {"policy": "accept"}
    place = {"family": "inet", "table": "filter", "chain": "forward"}
    everything = {"rule": place | {"expr": [{"counter": {}}, {"reject": {"type": "icmpx"}}]}}
    some = {"rule": place | {"expr": [{"match": {}}, {"drop": None}]}}
    elsewhere = {"rule": place | {"chain": "other", "expr": [{"drop": None}]}}
    assert interference.drop_policies(listing({"chain": chain}, some, elsewhere)).state is State.OK
    check = interference.drop_policies(listing({"chain": chain}, everything))
    assert "says reject to everything" in check.finding


def test_a_chain_that_no_packet_enters_by_itself_denies_nothing() -> None:
    chain = {"chain": {"family": "inet", "table": "filter", "name": "denied"}}
    rule = {"rule": {"family": "inet", "table": "filter", "chain": "denied", "expr": [{"drop": None}]}}
    assert interference.drop_policies(listing(chain, rule)).state is State.OK


@pytest.mark.parametrize("text", ["nonsense", "[]", '{"other": 1}'])
def test_a_listing_that_is_not_understood_is_unknown(text: str) -> None:
    assert interference.drop_policies(text).state is State.UNKNOWN


def test_legacy_tables() -> None:
    assert interference.legacy_tables({"iptables": "", "ip6tables": ""}).state is State.OK
    assert interference.legacy_tables({"iptables": None}).state is State.UNKNOWN
    loaded = interference.legacy_tables({"iptables": "filter\nnat\n", "ip6tables": None})
    assert (loaded.state, loaded.finding[:20]) == (State.LIMITED, "iptables filter nat:")


def test_addresses_that_a_lab_and_the_machine_both_have() -> None:
    lan = Route(ip_network("192.168.0.0/16"), "wlan0")
    routes = (Route(ip_network("0.0.0.0/0"), "wlan0"), Route(ip_network("fe80::/64"), "wlan0"), lan)
    home = Claim(ip_network("192.168.7.0/24"), "network home on hv1")
    six = Claim(ip_network("fd00::/64"), "network home on hv1")
    check = interference.overlap((home, six), routes)
    assert check.state is State.LIMITED
    assert "192.168.7.0/24 of network home on hv1 and the machine's route to 192.168.0.0/16 by wlan0" in (
        check.finding
    )
    assert interference.overlap((six,), routes).state is State.OK
    assert "doctor FILE" in interference.overlap((), routes).remedy


def test_settings_that_a_new_namespace_inherits() -> None:
    wanted = (Sysctl("net/ipv4/a", "0"), Sysctl("net/ipv4/b", "1"), Sysctl("net/ipv4/none", "1"))
    hostile = {"net/ipv4/a": "1", "net/ipv4/b": "1", "net/ipv4/none": ""}
    written = {"net/ipv4/a": "0", "net/ipv4/b": "1", "net/ipv4/none": ""}
    check = settings.judge(wanted, hostile, written, "")
    assert check.state is State.OK
    assert "net.ipv4.a=1" in check.finding
    assert settings.judge(wanted, hostile, hostile, "").state is State.MISSING
    refused = settings.judge(wanted, hostile, written, "sysctl net/ipv4/a: Read-only file system")
    assert "Read-only" in refused.finding


def test_json_has_all_and_counts_it() -> None:
    found = (
        Check(Area.MODES, "nat", State.OK, "made"),
        Check(Area.LIMITS, "x", State.LIMITED, "1", "more", (100,)),
    )
    value = checks_object(found)
    assert value["checks"][1] == {
        "area": "limits", "name": "x", "state": "limited", "finding": "1", "remedy": "more",
    }  # fmt: skip
    assert value["summary"]["modes"] == {"nat": "ok"}
    assert value["summary"]["limited"] == 1
    assert value["summary"]["lab_sizes"]["1000"] == {"fits": False, "limited_by": ["x"]}
    assert value["summary"]["lab_sizes"]["100"] == {"fits": True, "limited_by": []}
