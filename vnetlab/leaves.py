"""The bridges of a network or segment with more ports than one bridge takes, as kernel objects. Pure.

Which port is where is cascade.py's. A leaf has no part in its host: it is an interface of the host like every
bridge, and the host's rules speak of the hub alone, so walls at its netdev hooks drop whatever would pass
between it and the host's stack, in every mode. IPv6 is off on it as on all devices that nobody gave an
address.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from vnetlab import cascade, names
from vnetlab.cascade import HUB
from vnetlab.state import Bridge, NftChain, NftRule, Veth

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vnetlab.cascade import Port
    from vnetlab.state import Link
    from vnetlab.topology.model import Host, Segment, Topology

SWITCH = "switch"
"""The bridge that a segment is."""


@dataclass(frozen=True)
class Tree:
    """The bridges of a network or segment: a hub, and below it leaves, mostly none."""

    namespace: str
    path: tuple[str, ...]
    """Host and network, or the segment."""
    hub: str
    """Device name."""
    leaf_of: Mapping[Port, int]
    """The leaf of each port that is not on the hub."""

    @cached_property
    def leaves(self) -> tuple[int, ...]:
        """The numbers of the leaves."""
        return tuple(range(max(self.leaf_of.values(), default=HUB) + 1))

    @cached_property
    def trunks(self) -> tuple[str, ...]:
        """The upper ends of the trunks, ports of the hub and of leaves, in the order of their leaves."""
        return tuple(self.ends(leaf)[0] for leaf in self.leaves)

    def bridge(self, leaf: int) -> str:
        """Return the device name of the hub or of a leaf."""
        return self.hub if leaf == HUB else names.leaf_bridge(self.path, leaf)

    def master(self, node: str, nic: str) -> str:
        """Return the bridge that a node's NIC is plugged into."""
        return self.bridge(self.leaf_of.get((node, nic), HUB))

    def ends(self, leaf: int) -> tuple[str, str]:
        """Return the ends of a leaf's trunk: the port of the bridge above, and the leaf's own."""
        return names.trunk(self.path, leaf)

    def links(self, mtu: int, *, isolated: bool = False) -> Iterator[Link]:
        """Yield the leaves and their trunks; ``isolated``: no frame passes from one port to another.

        Upper ends are isolated then like the ports of VMs, and lower ends are not: what comes down a trunk
        comes from the host or the uplink, since from anywhere else nothing goes up and down again.
        """
        for leaf in self.leaves:
            bridge, (upper, lower) = self.bridge(leaf), self.ends(leaf)
            about = f"{'.'.join(self.path)}+{leaf + 1}"
            yield Bridge(name=bridge, altname=names.altname(about), mac=self._mac(bridge), mtu=mtu)
            yield Veth(
                name=upper,
                altname=names.altname(about, "upper"),
                mac=self._mac(upper),
                mtu=mtu,
                master=self.bridge(cascade.above(leaf)),
                isolated=isolated,
                peer_namespace=self.namespace,
                peer=lower,
            )
            yield Veth(
                name=lower,
                altname=names.altname(about, "lower"),
                mac=self._mac(lower),
                mtu=mtu,
                master=bridge,
                peer_namespace=self.namespace,
                peer=upper,
            )

    def _mac(self, device: str) -> str:
        return names.port_mac(self.namespace, device)

    def walls(self) -> Iterator[NftChain]:
        """Yield the chains that keep every leaf and its host apart.

        What a VM sends to everybody comes to the one wall every day; to the other nothing ever comes, since
        the host has neither address nor route there, so its policy says all.
        """
        name = self.path[-1]
        for leaf in self.leaves:
            about = f"{name}: the host is on its hub, not on leaf {leaf + 1}"
            stopped = NftRule("drop", f"{name}: frame to the host by leaf {leaf + 1}")
            yield self._wall(leaf, "ingress", (stopped,), about)
            yield self._wall(leaf, "egress", (), about)

    def _wall(self, leaf: int, hook: str, rules: tuple[NftRule, ...], about: str) -> NftChain:
        bridge = self.bridge(leaf)
        text = f'type filter hook {hook} device "{bridge}" priority -500; policy drop;'
        return NftChain(f"{bridge}-{hook}", text, rules, about)


def trees_of_host(topology: Topology, host: Host) -> dict[str, Tree]:
    """Return the bridges of each network of a host."""
    found: dict[str, Tree] = {}
    for networks in cascade.sharing(host):
        leaves = cascade.leaves_of_networks(topology, networks)
        for network in networks:
            ports = ((vm.name, nic.name) for vm, nic in topology.vms_of(network)) if leaves else ()
            own = {port: leaves[port] for port in ports if port in leaves}
            hub = names.network_bridge(host, network)
            found[network.name] = Tree(host.name, (host.name, network.name), hub, own)
    return found


def tree_of_segment(topology: Topology, segment: Segment) -> Tree:
    """Return the bridges of a segment."""
    namespace = names.segment_namespace(segment.name)
    return Tree(namespace, (segment.name,), SWITCH, cascade.leaves_of_segment(topology, segment))
