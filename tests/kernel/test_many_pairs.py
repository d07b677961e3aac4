"""One flight for all pairs of hundreds of machines: fast, and not blind to the one that is at fault."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from vnetlab import Lab, Topology, names
from vnetlab.guarantees import VerdictKind

if TYPE_CHECKING:
    from vnetlab.guarantees import Verdict
    from vnetlab.kernel.spaces import Spaces

pytestmark = [pytest.mark.kernel, pytest.mark.alone]

VMS = 300
HEAD = """
name: many
segments: {lan: {subnets: [10.0.0.0/16]}}
hosts:
  hv:
    nics: {eth0: lan}
    networks: {office: {mode: bridge, uplink: eth0}}
    vms:
"""


def many(count: int) -> Topology:
    return Topology.parse(HEAD + "".join(f"      v{i}: office\n" for i in range(count)), "many.yaml")


def timed(lab: Lab, *flows: str) -> tuple[float, dict[VerdictKind, int], dict[tuple[str, str], Verdict]]:
    """Return what it took of the processors, the verdicts counted, and those that do not hold, by their ends.

    Seconds of a processor rather than of a clock: whatever else the machine does is no matter.
    """
    before = used(lab)
    findings = lab.examine(flows=flows)
    seconds = used(lab) - before
    verdicts = findings.verdicts
    bad = [v for kind in VerdictKind if kind is not VerdictKind.HOLDS for v in verdicts.of_kind(kind)]
    troubles = {(v.guarantee.source, v.guarantee.destination): v for v in bad}
    return seconds, dict(verdicts.counts()), troubles


def used(lab: Lab) -> float:
    """Return the seconds that we and the process inside the lab have had of the processors."""
    return time.process_time() + lab._running_agent().call(_clock, None)


def _clock(_: Spaces, __: None) -> float:
    return time.process_time()


def test_all_pairs_of_hundreds(lab_name: str) -> None:
    """Then one port drops what one VM sends, and one VM changes what it sends: they alone are named."""
    with Lab(many(VMS), lab_name) as lab:
        for flows in (("udp-one-way",), ("icmp",)):
            seconds, counts, troubles = timed(lab, *flows)
            assert not troubles
            assert counts[VerdictKind.HOLDS] >= VMS * (VMS - 1)
            assert seconds < 15, f"{flows}: {seconds:.1f} s"
        address = lab.topology.vms["v5"].nics[0].addresses[0].ip
        rule(lab, "hv", names.port("v9", "eth0"), f"ip saddr {address} udp dport 49403 drop")
        rule(lab, "v17", names.nic_device("eth0"), "udp dport 49403 ip ttl set 9")
        _, counts, troubles = timed(lab, "udp-one-way")
        senders = {pair for pair in troubles if pair[0] == "v17"}
        assert len(senders) >= VMS - 1
        assert set(troubles) - senders == {("v5", "v9")}
        assert troubles["v5", "v9"].kind is VerdictKind.BROKEN
        assert "v9 saw nothing" in troubles["v5", "v9"].reason
        assert "TTL 9 instead of 64" in troubles["v17", "v30"].reason


def rule(lab: Lab, node: str, device: str, text: str) -> None:
    """Add a rule by hand to what leaves by a device."""
    chain = f'chain c {{ type filter hook egress device "{device}" priority 0; {text}\n}}\n'
    done = lab[node].run(["nft", f"table netdev byhand {{ {chain} }}"])
    assert done.returncode == 0, done.stderr
