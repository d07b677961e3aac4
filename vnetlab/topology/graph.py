"""A topology as a networkx graph: for drawing, for counting, for whatever graphs are good for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import networkx

    from vnetlab.topology.model import Topology


def as_graph(topology: Topology) -> networkx.MultiGraph[str]:
    """Return segments, hosts, networks, VMs and machines as nodes, and what joins them as edges.

    Hosts, VMs and machines are called by their names, segments ``segment:NAME`` and networks
    ``network:HOST/NAME``. Each node has ``kind`` and ``label`` (networks ``mode`` also); each edge
    has ``nic``, the device that it is, and between a host and its network the uplink, if there is
    one.
    """
    import networkx

    graph: networkx.MultiGraph[str] = networkx.MultiGraph(name=topology.name)
    for segment in topology.segments.values():
        graph.add_node(f"segment:{segment.name}", kind="segment", label=segment.name)
    for host in topology.hosts.values():
        graph.add_node(host.name, kind="host", label=host.name)
        for nic in host.nics.values():
            graph.add_edge(host.name, f"segment:{nic.lan.name}", nic=nic.name)
    for network in topology.networks:
        name = f"network:{network.host}/{network.name}"
        graph.add_node(name, kind="network", label=network.name, mode=str(network.mode))
        graph.add_edge(network.host, name, nic=network.uplink)
    for vm in topology.vms.values():
        graph.add_node(vm.name, kind="vm", label=vm.name)
        for nic in vm.nics:
            graph.add_edge(vm.name, f"network:{vm.host}/{nic.network}", nic=nic.name)
    for machine in topology.machines.values():
        kind = "router" if machine.router else "machine"
        graph.add_node(machine.name, kind=kind, label=machine.name)
        for nic in machine.nics:
            graph.add_edge(machine.name, f"segment:{nic.lan.name}", nic=nic.name)
    return graph
