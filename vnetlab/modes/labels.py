"""Which promise a pair of endpoints comes under, and how it reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnetlab.modes.promise import Label

if TYPE_CHECKING:
    from vnetlab.modes.world import Interface, World
    from vnetlab.topology.model import Network


def label_for(world: World, source: Interface, target: Interface) -> Label:
    """Return the promise that covers flows from one interface to another one."""
    if source.port and source.network:
        return _from_vm(world, source, source.network, target)
    if target.port and target.network:
        return _to_vm(world, source, target.network)
    if target.node in world.topology.hosts:
        return _to_host(world, target)
    if source.node in world.topology.hosts:
        return Label("segment.from-host", "a host reaches the machines outside")
    return Label("segment.machines", "machines outside reach each other as their routes say")


def _named(network: Network) -> str:
    return f"{network.host}/{network.name}"


def _from_vm(world: World, source: Interface, network: Network, target: Interface) -> Label:
    mode, name = network.mode.value, _named(network)
    if target.port and target.network is network:
        how = "do not reach each other" if network.port_isolation else "reach each other directly"
        return Label(f"{mode}.same-network", f"VMs of {name} {how}", network)
    if target.node == network.host:
        return _from_vm_to_host(world, network, target)
    if target.port and target.network and target.network.host == network.host:
        other = target.network.mode.value
        return Label(
            f"{mode}.to-{other}-network",
            f"VMs of {name} and of {_named(target.network)} ({other}) owe each other what their "
            f"modes allow{' and `reach` opens' if target.network.name in network.reach else ''}",
            network,
        )
    may = "may" if world.properties[network.mode].outward else "may not"
    return Label(f"{mode}.outbound", f"VMs of {name} ({mode}) {may} begin flows outward", network)


def _from_vm_to_host(world: World, network: Network, target: Interface) -> Label:
    mode, name = network.mode.value, _named(network)
    if target.network is network:
        return Label(f"{mode}.host-address", f"VMs of {name} reach their host's address", network)
    if target.network is None or world.properties[target.network.mode].public:
        may = "reach" if world.properties[network.mode].outward else "do not reach"
        return Label(f"{mode}.host-lan-address", f"VMs of {name} {may} the host's LAN addresses", network)
    return Label(
        f"{mode}.host-private-address",
        f"VMs of {name} do not reach the host's address on {_named(target.network)}",
        network,
    )


def _to_vm(world: World, source: Interface, network: Network) -> Label:
    mode, name = network.mode.value, _named(network)
    if source.node == network.host:
        may = "does not reach" if mode == "isolated" else "reaches"
        return Label(f"{mode}.from-host", f"the host {may} the VMs of {name}", network)
    if world.properties[network.mode].inward:
        return Label(f"{mode}.inbound", f"outsiders may begin flows to VMs of {name}", network)
    return Label(f"{mode}.unsolicited-inbound", f"no outsider may begin a flow to VMs of {name}", network)


def _to_host(world: World, target: Interface) -> Label:
    network = target.network
    if network is None:
        return Label("segment.to-host", "machines outside reach a host's LAN addresses")
    mode = network.mode.value
    if world.properties[network.mode].public:
        return Label(
            f"{mode}.host-address-inbound",
            f"outsiders reach the host's address on {_named(network)}",
            network,
        )
    return Label(
        f"{mode}.host-address-hidden",
        f"no outsider reaches the host's address on {_named(network)}",
        network,
    )
