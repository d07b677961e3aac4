"""Kernel device names: short hashes that never collide, with the readable name as altname.

The kernel cuts no name, it refuses those over 15 bytes (IFNAMSIZ in linux/if.h); a name that a tool cuts
by itself collides with its neighbour. A hash of the full path depends on nothing else in the file, so
adding a VM renames no device of another.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from vnetlab.topology.model import Mode

if TYPE_CHECKING:
    from vnetlab.topology.model import Host, Network, Nic

DEVICE_NAME_BYTES = 15
ALTNAME_BYTES = 127
ON_MACHINE = "vl"
"""How the devices of every lab begin on this very machine; ``vlb`` are bridges of networks."""
SWITCHES = f"{ON_MACHINE}u"
"""How the bridges begin that NICs of this very machine become ports of."""


def network_bridge(host: Host, network: Network) -> str:
    """Return the bridge of a network: its own, or the one that its uplink's NIC is a port of."""
    if network.mode is Mode.BRIDGE:
        return uplink_bridge(host.name, network.uplink)
    return _hashed("vb", host.name, network.name)


def uplink_bridge(host: str, nic: str) -> str:
    """Return the bridge that takes the place of a host's NIC when bridge networks use it."""
    return _hashed("vu", host, nic)


def leaf_bridge(path: tuple[str, ...], leaf: int) -> str:
    """Return a further bridge of a network or segment whose ports do not fit on one.

    ``path`` is host and network, or the segment.
    """
    return _hashed("vc", *path, str(leaf))


def trunk(path: tuple[str, ...], leaf: int) -> tuple[str, str]:
    """Return the ends of the veth pair that joins a leaf to the bridge above it: the upper, and its own."""
    return _hashed("vd", *path, str(leaf)), _hashed("ve", *path, str(leaf))


def port(node: str, nic: str) -> str:
    """Return the bridge port that a node's NIC is plugged into."""
    return _hashed("vp", node, nic)


def port_mac(node: str, nic: str) -> str:
    """Return the MAC of a bridge port: locally administered, and above those of NICs.

    A bridge whose MAC nobody set takes the lowest of its ports'.
    """
    digest = _digest("port", node, nic)
    return ":".join(["fe", *(digest[i : i + 2] for i in range(0, 10, 2))])


def nic_device(nic: str) -> str:
    """Return the device name of a NIC inside its own node: its name, hashed only if it is too long."""
    return nic if len(nic.encode()) <= DEVICE_NAME_BYTES else _hashed("vn", nic)


def host_device(host: Host, nic: Nic) -> str:
    """Return the device that carries a host NIC's addresses: itself, or the bridge it is a port of."""
    bridged = any(n.mode is Mode.BRIDGE and n.uplink == nic.name for n in host.networks.values())
    return uplink_bridge(host.name, nic.name) if bridged else nic_device(nic.name)


def on_machine(lab: str, device: str) -> str:
    """Return the name that a lab's device has on this very machine, where other labs have theirs.

    ``device`` is one that the other functions here make; its first two letters say what it is.
    """
    return _hashed(f"{ON_MACHINE}{device[1]}", lab, device)


def table_on_machine(lab: str) -> str:
    """Return the name of a lab's nftables tables on this very machine."""
    return f"vnetlab-{_digest(lab)[:10]}"


def altname(*parts: str) -> str:
    """Return a readable name for `ip link`, cut with a hash where it would be too long."""
    name = ".".join(parts)
    if len(name.encode()) <= ALTNAME_BYTES:
        return name
    return f"{name[: ALTNAME_BYTES - 13]}-{_digest(*parts)[:12]}"


def segment_namespace(segment: str) -> str:
    """Return the namespace of a segment, whose name no node can have."""
    return f"segment:{segment}"


def _hashed(prefix: str, *parts: str) -> str:
    return prefix + _digest(*parts)[: DEVICE_NAME_BYTES - len(prefix) - 1]


def _digest(*parts: str) -> str:
    return hashlib.sha256("/".join(parts).encode()).hexdigest()
