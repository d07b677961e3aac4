"""Kernel names in the words of the topology: which network a bridge is, whose port a device is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from vnetlab import names
from vnetlab.topology.model import Host, Mode

if TYPE_CHECKING:
    from vnetlab.topology.model import IPAddress, Machine, Network, Topology, Vm

_SEGMENT = names.segment_namespace("")
_ROUTE = re.compile(r"(?P<prefix>\S+) via (?P<via>\S+) dev (?P<device>\S+)")
_CONNECTED = "connected, "


class Lexicon:
    """What every device of a topology is called by people."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self._networks: dict[tuple[str, str], Network] = {}
        self._ports: dict[tuple[str, str], tuple[str, str]] = {}
        self._nics: dict[tuple[str, str], str] = {}
        self._macs: dict[str, str] = {}
        for node in topology.nodes():
            self._add(node)

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
        if (namespace, device) in self._ports:
            return True
        host = self.topology.hosts.get(namespace)
        nic = host.nics.get(self._nics.get((namespace, device), "")) if host else None
        return bool(host and nic and names.host_device(host, nic) != device)

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
        return re.sub(r"\bv[bpun][0-9a-f]{8,12}\b", lambda m: self.device(namespace, m[0]), text)

    def network_at(self, host: str, address: IPAddress) -> Network | None:
        """Return the private network of a host in whose prefixes an address is."""
        found = self.topology.hosts.get(host)
        if found is None:
            return None
        private = (n for n in found.networks.values() if n.mode is not Mode.BRIDGE)
        return next((n for n in private if any(address in subnet for subnet in n.subnets)), None)
