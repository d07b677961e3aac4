"""Kernel names in the words of the topology: which network a bridge is, whose port a device is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from vnetlab import names
from vnetlab.leaves import tree_of_segment, trees_of_host
from vnetlab.topology.model import Host, Mode

if TYPE_CHECKING:
    from vnetlab.leaves import Tree
    from vnetlab.topology.model import IPAddress, Machine, Network, Topology, Vm

_SEGMENT = names.segment_namespace("")
_ROUTE = re.compile(r"(?P<prefix>\S+) via (?P<via>\S+) dev (?P<device>\S+)(?: metric \d+)?(?: table \S+)?")
_CONNECTED = "connected, "


class Lexicon:
    """What every device of a topology is called by people."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self._networks: dict[tuple[str, str], Network] = {}
        self._ports: dict[tuple[str, str], tuple[str, str]] = {}
        self._nics: dict[tuple[str, str], str] = {}
        self._macs: dict[str, str] = {}
        self._leaves: dict[tuple[str, str], str] = {}
        self._trunks: dict[tuple[str, str], str] = {}
        self._behind: dict[tuple[str, str], Network] = {}
        for node in topology.nodes():
            self._add(node)
        for host in topology.hosts.values():
            for name, tree in trees_of_host(topology, host).items():
                self._add_leaves(tree, f"network {name}")
                self._add_ports(tree, host.networks[name])
        for segment in topology.segments.values():
            self._add_leaves(tree_of_segment(topology, segment), f"segment {segment.name}")

    def _add(self, node: Host | Vm | Machine) -> None:
        nics = node.nics.values() if isinstance(node, Host) else node.nics
        host = getattr(node, "host", "")
        for nic in nics:
            self._macs[nic.mac] = node.name
            self._nics[node.name, names.nic_device(nic.name)] = nic.name
            far = host if nic.network else names.segment_namespace(nic.lan.name)
            self._ports[far, names.port(node.name, nic.name)] = node.name, nic.name
            if nic.network:  # a guest is met at its tap
                self._nics[node.name, names.port(node.name, nic.name)] = nic.name
        if not isinstance(node, Host):
            return
        for nic in node.nics.values():
            self._nics[node.name, names.host_device(node, nic)] = nic.name
        for network in node.networks.values():
            if network.mode is not Mode.BRIDGE:
                self._macs[network.mac] = node.name
                self._networks[node.name, names.network_bridge(node, network)] = network

    def _add_leaves(self, tree: Tree, about: str) -> None:
        for leaf in tree.leaves:
            self._leaves[tree.namespace, tree.bridge(leaf)] = f"leaf {leaf + 1} of {about}"
            for end in tree.ends(leaf):
                self._trunks[tree.namespace, end] = f"the trunk of leaf {leaf + 1}"

    def _add_ports(self, tree: Tree, network: Network) -> None:
        ports = [names.port(vm.name, nic.name) for vm, nic in self.topology.vms_of(network)]
        self._behind |= {(network.host, port): network for port in (*ports, *tree.trunks)}

    def place(self, namespace: str) -> str:
        """Return a namespace's name as people say it."""
        if namespace.startswith(_SEGMENT):
            return f"segment {namespace.removeprefix(_SEGMENT)}"
        return namespace

    def is_segment(self, namespace: str) -> bool:
        """Tell a segment from a node."""
        return namespace.startswith(_SEGMENT)

    def network(self, namespace: str, device: str) -> Network | None:
        """Return the network whose bridge a device is; None for an uplink's bridge and all else."""
        return self._networks.get((namespace, device))

    def port(self, namespace: str, device: str) -> tuple[str, str] | None:
        """Return node and NIC that are plugged into a bridge port."""
        return self._ports.get((namespace, device))

    def is_port(self, namespace: str, device: str) -> bool:
        """Tell a bridge port, whatever it is called elsewhere: a frame there is on its way through."""
        if (namespace, device) in self._ports or self.is_trunk(namespace, device):
            return True
        host = self.topology.hosts.get(namespace)
        nic = host.nics.get(self._nics.get((namespace, device), "")) if host else None
        return bool(host and nic and names.host_device(host, nic) != device)

    def network_behind(self, namespace: str, device: str) -> Network | None:
        """Return the network that all those are VMs of who are behind a bridge port."""
        return self._behind.get((namespace, device))

    def is_trunk(self, namespace: str, device: str) -> bool:
        """Tell an end of the veth pair that joins two bridges of one network or segment."""
        return (namespace, device) in self._trunks

    def is_bridge(self, namespace: str, device: str) -> bool:
        """Tell the bridge that took the place of a host's NIC."""
        host, nic = self.topology.hosts.get(namespace), self._nics.get((namespace, device), "")
        return bool(host and nic in host.nics and names.nic_device(nic) != device)

    def guest(self, namespace: str, device: str) -> tuple[str, str] | None:
        """Return node and NIC of the guest behind a tap; None for every other device."""
        found = self.port(namespace, device)
        vm = self.topology.vms.get(found[0]) if found else None
        return found if vm and vm.backend == "tap" else None

    def device(self, namespace: str, device: str) -> str:
        """Return a device's name in words: ``eth0``, ``network home``, ``the port of web``."""
        found = self.network(namespace, device)
        if found:
            return f"network {found.name}"
        inner = self._leaves.get((namespace, device)) or self._trunks.get((namespace, device))
        if inner:
            return inner
        nic = self._nics.get((namespace, device))
        if nic:
            return nic
        port = self.port(namespace, device)
        return f"the port of {port[0]}" if port else device

    def owner(self, mac: str) -> str:
        """Return the node that has a MAC, else the MAC."""
        return self._macs.get(mac, mac)

    def way(self, namespace: str, label: str) -> str:
        """Return a route of the model in words: ``to 192.0.2.1 by eth0 (route 0.0.0.0/0)``."""
        found = _ROUTE.fullmatch(label)
        if found:
            by = self.device(namespace, found["device"])
            return f"to {found['via']} by {by} (route {found['prefix']})"
        if label.startswith(_CONNECTED):
            by = self.device(namespace, label.removeprefix(_CONNECTED))
            return f"onto {by}" if by.startswith("network ") else f"straight by {by}"
        return f"by {self.device(namespace, label)}"

    def device_of_way(self, label: str) -> str:
        """Return the device that a route of the model leaves by."""
        found = _ROUTE.fullmatch(label)
        return found["device"] if found else label.removeprefix(_CONNECTED)

    def words(self, namespace: str, text: str) -> str:
        """Replace the kernel's device names in a text."""
        return re.sub(r"\bv[bpuncde][0-9a-f]{8,12}\b", lambda m: self.device(namespace, m[0]), text)

    def network_at(self, host: str, address: IPAddress) -> Network | None:
        """Return the private network of a host in whose prefixes an address is."""
        found = self.topology.hosts.get(host)
        if found is None:
            return None
        private = (n for n in found.networks.values() if n.mode is not Mode.BRIDGE)
        return next((n for n in private if any(address in subnet for subnet in n.subnets)), None)
