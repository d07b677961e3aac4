"""A flight begins without filling its links with broadcasts, and bridges know everybody all the same."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from vnetlab import names
from vnetlab.lab import Lab
from vnetlab.modes import guarantees_for
from vnetlab.probe.trial import plan_flight
from vnetlab.probe.wire import fly
from vnetlab.topology.model import Topology

if TYPE_CHECKING:
    from vnetlab.kernel.spaces import Spaces
    from vnetlab.probe.flight import Flight

pytestmark = pytest.mark.kernel
VMS = 20
HOSTS = ("hv1", "hv2")


@pytest.fixture
def topology() -> Topology:
    hosts = "".join(
        f"  {host}:\n    nics: {{eth0: lan}}\n    networks: {{office: {{mode: bridge, uplink: eth0}}}}\n"
        f"    vms: {{{', '.join(f'{host}v{i}: office' for i in range(VMS))}}}\n"
        for host in HOSTS
    )
    return Topology.parse(
        f"segments: {{lan: {{subnets: [10.0.0.0/16]}}}}\nmachines: {{peer: lan}}\nhosts:\n{hosts}", "q.yaml"
    )


def shown(spaces: Spaces, job: tuple[str, tuple[str, ...]]) -> str:
    """Return what a command prints in a namespace."""
    space, command = job
    with spaces.inside(space):
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def received(lab: Lab) -> dict[str, int]:
    """Return how many frames each VM's NIC has received so far."""
    agent = lab._running_agent()
    found = {}
    for vm in lab.topology.vms:
        text = agent.call(shown, (vm, ("ip", "-j", "-s", "link", "show", "eth0")))
        found[vm] = int(json.loads(text)[0]["stats64"]["rx"]["packets"])
    return found


def test_all_bridges_know_all_nics_before_anything_flies(lab_name: str, topology: Topology) -> None:
    with Lab(topology, lab_name) as lab:
        flight = plan_flight(topology, guarantees_for(topology, ("udp-one-way",)))
        agent = lab._running_agent()
        segment = names.segment_namespace("lan")
        for space in (*HOSTS, segment):
            agent.call(shown, (space, ("sh", "-c", "ip -br link show type bridge | cut -d' ' -f1 | "
                                       "xargs -I{} ip link set {} type bridge fdb_flush")))  # fmt: skip
        before = received(lab)
        agent.call(_announced, flight)
        macs = {vm: own.nics[0].mac for vm, own in topology.vms.items()}
        for space in (*HOSTS, segment):
            known = agent.call(shown, (space, ("bridge", "fdb", "show")))
            assert [vm for vm, mac in macs.items() if mac not in known] == []
        after = received(lab)
        # the hosts and the peer tell everybody, all others tell these three
        assert {after[vm] - before[vm] for vm in macs} == {3}


def _announced(spaces: Spaces, flight: Flight) -> None:
    """Fly a flight without its shots."""
    fly(spaces, replace(flight, blocks=()))
