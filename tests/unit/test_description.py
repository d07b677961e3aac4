"""What a lab says of itself, and the names that it may have."""

from pathlib import Path

import pytest

from vnetlab.checks import LAB_NAME, LAB_NAME_LENGTH, checked_name
from vnetlab.cli.verdicts import temporary_name
from vnetlab.description import decode, describe, hosts_file
from vnetlab.errors import LabLost, LabNotFound, UserError
from vnetlab.lab import Lab
from vnetlab.topology.model import Topology

TOPOLOGIES = Path(__file__).parents[2] / "topologies"


@pytest.fixture
def topology() -> Topology:
    return Topology.load(TOPOLOGIES / "five-modes.yaml")


def test_a_description_survives_its_bytes(topology: Topology) -> None:
    description = describe(topology)
    assert decode(description.encode()) == description
    assert decode(description.encode()).topology() == topology


def test_nodes_are_described_as_status_shows_them(topology: Topology) -> None:
    nodes = {node.name: (node.kind, node.backend, node.host) for node in describe(topology).nodes}
    assert nodes["hv1"] == ("host", "namespace", "")
    assert nodes["safe2"] == ("vm", "tap", "hv1")
    assert nodes["gw"] == ("machine", "namespace", "")
    assert len(nodes) == 13


def test_a_lab_that_is_coming_up_is_no_json_error() -> None:
    with pytest.raises(LabLost):
        decode(b"")


def test_a_topology_without_source_says_so() -> None:
    description = describe(Topology("made", {}, {}, {}, {}))
    with pytest.raises(UserError, match="Python"):
        decode(description.encode()).topology()


def test_hosts_file_has_every_address_once(topology: Topology) -> None:
    lines = hosts_file(topology).splitlines()
    assert "192.0.2.10 hv1" in lines
    assert "127.0.0.1 localhost" in lines
    assert len(lines) == len(set(lines))
    kiosk = [line for line in lines if line.endswith(" kiosk")]
    assert sorted(line.split(".")[1] for line in kiosk if "." in line) == ["30", "40"]


@pytest.mark.parametrize("name", ["", ".x", "x.", "-x", "a/b", "a b", "x" * (LAB_NAME_LENGTH + 1)])
def test_names_that_no_lab_can_have(name: str) -> None:
    with pytest.raises(UserError):
        checked_name(name)


@pytest.mark.parametrize("name", ["a", "five-modes", "x" * LAB_NAME_LENGTH, "a.b", "x" * 190 + "-"])
def test_temporary_names_are_names(name: str) -> None:
    made = temporary_name(name)
    assert LAB_NAME.fullmatch(made)
    assert len(made) <= LAB_NAME_LENGTH


def test_a_lab_that_is_not_up_has_no_nodes(topology: Topology) -> None:
    lab = Lab(topology)
    with pytest.raises(LabNotFound, match="not up"):
        lab["web"]
    lab.down()  # of what is not up: nothing to do
