"""What a running lab says of itself: the bytes that its holder keeps for whoever asks.

Commands that only list or enter a lab read the nodes from here and load no topology; those that
probe it parse the source text, so that file and lab cannot drift apart.
"""

from __future__ import annotations

import json

import msgspec
from msgspec import Struct

from vnetlab.errors import LabLost, UserError
from vnetlab.topology.facts import Facts, decoded
from vnetlab.topology.model import Host, Machine, Topology, Vm


class NodeInfo(Struct, frozen=True):
    """A node as listings show it."""

    name: str
    kind: str
    """``host``, ``vm`` or ``machine``."""
    backend: str
    """``namespace`` or ``tap``."""
    host: str
    """The host that a VM is on; empty for the others."""


class Description(Struct, frozen=True):
    """The source of a lab's topology, and its nodes in the order of the file."""

    file: str
    text: str
    nodes: tuple[NodeInfo, ...]
    facts: Facts | None = None
    """This very machine as it was before, where a host is that."""

    def encode(self) -> bytes:
        """Return the bytes that a holder keeps."""
        return msgspec.json.encode(self)

    def topology(self) -> Topology:
        """Parse the topology again; raises UserError for a lab that was made without source."""
        if not self.text:
            raise UserError(
                "this lab was built from Python objects and keeps no topology source; "
                "probe it in the program that made it"
            )
        return Topology.parse(self.text, self.file, self.facts)


def describe(topology: Topology) -> Description:
    """Return the description of a lab of this topology."""
    nodes = tuple(_node_info(node) for node in topology.nodes())
    return Description(topology.file, topology.text, nodes, topology.facts)


def decode(data: bytes) -> Description:
    """Read a holder's bytes; raises LabLost where the lab is still being built, or is ending."""
    if not data:
        raise LabLost("the lab is still being brought up, or just ended; try again")
    try:
        fields = json.loads(data)
        nodes = tuple(NodeInfo(**node) for node in fields["nodes"])
        facts = decoded(fields["facts"]) if fields.get("facts") else None
        return Description(fields["file"], fields["text"], nodes, facts)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        # Root sees the sockets of every user's labs, and whoever listens there may answer anything.
        raise LabLost(f"what holds the lab does not say what it is: {error}") from error


def hosts_file(topology: Topology) -> str:
    """Return every node's addresses as a hosts file (hosts(5)): commands reach nodes by name."""
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost"]
    for node in topology.nodes():
        nics = node.nics.values() if isinstance(node, Host) else node.nics
        lines += [f"{address.ip} {node.name}" for nic in nics for address in nic.addresses]
    return "\n".join(lines) + "\n"


def _node_info(node: Vm | Host | Machine) -> NodeInfo:
    if isinstance(node, Vm):
        return NodeInfo(node.name, "vm", node.backend, node.host)
    kind = "host" if isinstance(node, Host) else "machine"
    return NodeInfo(node.name, kind, node.backend if isinstance(node, Host) else "namespace", "")
