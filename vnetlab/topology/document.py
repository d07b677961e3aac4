"""The topology file as written: every element and key, checked for shape only.

What the elements mean together is checked in `validate`; `shortform` writes short forms out.
The descriptions here are the reference documentation (`vnetlab schema`).
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from vnetlab.topology import shortform
from vnetlab.topology.shortform import (
    ADDRESS_SCHEMA,
    NAME_SCHEMA,
    NAMES_SCHEMA,
    NULL_SCHEMA,
    SUBNET_SCHEMA,
    ShortForm,
)
from vnetlab.topology.values import (
    AddressText,
    DestinationText,
    MacText,
    Name,
    NextHopText,
    SubnetText,
)

ModeWord = Literal["bridge", "isolated", "routed", "host-only", "nat"]
Port = Annotated[int, Field(ge=1, le=65535)]
Mtu = Annotated[int, Field(ge=68, le=65535)]
Subnets = Annotated[list[SubnetText], ShortForm(shortform.one_to_list, (SUBNET_SCHEMA,))]
Addresses = Annotated[list[AddressText], ShortForm(shortform.one_to_list, (ADDRESS_SCHEMA,))]
Names = Annotated[list[Name], ShortForm(shortform.one_to_list, (NAME_SCHEMA,))]

T = TypeVar("T")
Named = Annotated[dict[Name, T], ShortForm(shortform.nothing_to_map, (NULL_SCHEMA,))]


class Element(BaseModel):
    """What all elements share: unknown keys are errors, and nothing is converted in silence."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class RouteDoc(Element):
    """A static route of a node's own; it wins over a derived one to the same prefix."""

    to: DestinationText = Field(description="Prefix it leads to, or `default`.")
    via: NextHopText = Field(description="Address of the next hop, on a subnet of the node.")


class SegmentDoc(Element):
    """A physical LAN: one Ethernet broadcast domain outside any hypervisor host."""

    subnets: Subnets = Field(
        default=[],
        description="Prefixes of the LAN. What is on it and has no fixed address gets one of each.",
    )
    mtu: Mtu = Field(default=1500, description="MTU of everything on it, in bytes.")
    cascade: bool = Field(
        default=False,
        description="Whether it may have more NICs than one Linux bridge takes: past 1,000 they are spread "
        "over a tree of bridges.",
    )


class AttachmentDoc(Element):
    """How a node is attached to a network or segment."""

    address: AddressText | None = Field(default=None, description="Its only address there.")
    addresses: Addresses | None = Field(
        default=None,
        description="Its addresses there, and no others. Left out: one derived of each subnet.",
    )
    mac: MacText | None = Field(default=None, description="MAC address. Left out: derived.")


Attachment = Annotated[AttachmentDoc, ShortForm(shortform.nothing_to_map, (NULL_SCHEMA,))]
Attachments = Annotated[dict[Name, Attachment], ShortForm(shortform.attachments, (NAME_SCHEMA, NAMES_SCHEMA))]


class NicDoc(AttachmentDoc):
    """A network card of a hypervisor host."""

    segment: Name = Field(description="Segment that it is plugged into.")


class ForwardDoc(Element):
    """A port of the uplink's addresses that is handed to a VM of a NAT network."""

    protocol: Literal["tcp", "udp"] = Field(description="Transport protocol.")
    port: Port = Field(description="Port on the host's uplink.")
    to: Name = Field(description="VM on this network that gets the flow.")
    to_port: Port | None = Field(default=None, description="Port of the VM. Left out: the same.")


class NetworkDoc(Element):
    """A virtual network of a host, in one of the five modes."""

    mode: ModeWord = Field(description="What its VMs may reach and who may reach them.")
    uplink: Name | None = Field(
        default=None,
        description="NIC of the host that it goes out by: for bridge, routed and nat. "
        "May be left out where the host has exactly one.",
    )
    subnets: Subnets = Field(
        default=[],
        description="Its prefixes: required for routed, host-only and nat, optional for isolated, "
        "none for bridge. Host bits say the host's own address (`10.40.0.254/24`); else it is the "
        "first of the subnet.",
    )
    forwards: list[ForwardDoc] = Field(
        default=[], description="nat only: ports of the uplink handed to VMs of this network."
    )
    reach: Names = Field(
        default=[],
        description="routed, host-only and nat: networks of this host to which VMs of this one may "
        "begin flows, beside what the mode allows.",
    )
    port_isolation: bool = Field(default=False, description="VMs of this network do not reach each other.")
    cascade: bool = Field(
        default=False,
        description="Whether it may have more VMs than one Linux bridge takes: past 1,000 they are spread "
        "over a tree of bridges.",
    )
    deny: Literal["reject", "drop"] | None = Field(
        default=None,
        description="routed, host-only and nat: whether a denied flow of a VM is answered by ICMP "
        "administratively prohibited (reject, the default) or dropped in silence.",
    )
    mtu: Mtu | None = Field(
        default=None,
        description="MTU in bytes, 1500 by default; a bridge network has its segment's.",
    )
    mac: MacText | None = Field(
        default=None,
        description="MAC address of the host on it. Left out: derived. Not for bridge.",
    )


class VmDoc(Element):
    """A machine attached to networks of its host, by NICs eth0, eth1, ... in their order."""

    network: Name | None = Field(default=None, description="Its network, where it has one only.")
    networks: Attachments | None = Field(
        default=None,
        description="Its networks: a list of names, or a map from name to `address`, `addresses`, `mac`.",
    )
    address: AddressText | None = Field(default=None, description="Its only address on `network`.")
    addresses: Addresses | None = Field(
        default=None, description="Its addresses on `network`, and no others."
    )
    mac: MacText | None = Field(default=None, description="Its MAC address on `network`.")
    backend: Literal["namespace", "tap"] = Field(
        default="namespace",
        description="namespace: a network namespace with a network stack of its own. tap: a tap "
        "port for a guest of yours.",
    )
    owner: Name | None = Field(
        default=None,
        description="tap on a host that is this very machine: user who may attach a guest beside root.",
    )
    group: Name | None = Field(
        default=None,
        description="tap on a host that is this very machine: group whose members may attach a guest.",
    )
    routes: list[RouteDoc] = Field(default=[], description="Static routes beside the derived ones.")


TAGS: Final = ("<word>", "<list>")
"""What errors inside of ``routes`` have in their paths, from the two ways to write it."""


def _routes_tag(value: object) -> str:
    return TAGS[0] if isinstance(value, str) else TAGS[1]


RoutesOrNone = Annotated[
    Annotated[Literal["none"], Tag(TAGS[0])] | Annotated[list[RouteDoc], Tag(TAGS[1])],
    Discriminator(_routes_tag),
]


class MachineDoc(Element):
    """Something outside of the hosts: a LAN peer, a router between segments, a remote machine."""

    segment: Name | None = Field(default=None, description="Its segment, where it has one only.")
    segments: Attachments | None = Field(
        default=None,
        description="Its segments: a list of names, or a map from name to `address`, `addresses`, "
        "`mac`. Its NICs are eth0, eth1, ... in this order.",
    )
    address: AddressText | None = Field(default=None, description="Its only address on `segment`.")
    addresses: Addresses | None = Field(
        default=None, description="Its addresses on `segment`, and no others."
    )
    mac: MacText | None = Field(default=None, description="Its MAC address on `segment`.")
    router: bool = Field(default=False, description="Whether it forwards between its segments.")
    routes: RoutesOrNone = Field(
        default=[],
        description="Static routes beside the derived ones; `none`: no route at all but those to "
        "its subnets.",
    )


Nic = Annotated[NicDoc, ShortForm(shortform.text_to("segment"), (NAME_SCHEMA,))]
Network = Annotated[NetworkDoc, ShortForm(shortform.text_to("mode"), ({"enum": list(get_args(ModeWord))},))]
Vm = Annotated[VmDoc, ShortForm(shortform.names_to("networks"), (NAME_SCHEMA, NAMES_SCHEMA))]
Machine = Annotated[MachineDoc, ShortForm(shortform.names_to("segments"), (NAME_SCHEMA, NAMES_SCHEMA))]
Segment = Annotated[SegmentDoc, ShortForm(shortform.nothing_to_map, (NULL_SCHEMA,))]


class HostDoc(Element):
    """A hypervisor host: NICs on segments, virtual networks, and VMs on those."""

    nics: Named[Nic] = Field(default={}, description="Its network cards by device name.")
    networks: Named[Network] = Field(
        default={}, description="Its virtual networks by name; short form: just a mode."
    )
    vms: Named[Vm] = Field(
        default={}, description="Its VMs by name; short form: a network, or a list of them."
    )
    routes: list[RouteDoc] = Field(default=[], description="Static routes beside the derived ones.")
    backend: Literal["namespace", "local"] = Field(
        default="namespace",
        description="namespace: the host is a network namespace of its own. local: the host is this very "
        "machine, and its networks are made in the namespace that vnetlab runs in.",
    )


Host = Annotated[HostDoc, ShortForm(shortform.nothing_to_map, (NULL_SCHEMA,))]


class ExpectDoc(Element):
    """A guarantee of the author's own, probed beside those that the modes imply."""

    source: Name = Field(alias="from", description="Node that begins the flow.")
    destination: Name = Field(alias="to", description="Node that the flow is for.")
    protocol: Literal["icmp", "tcp", "udp"] = Field(description="icmp is an echo request.")
    port: Port | None = Field(default=None, description="Destination port; for tcp and udp only.")
    family: Literal["ipv4", "ipv6"] | None = Field(
        default=None, description="Address family. Left out: every family that both ends have."
    )
    outcome: Literal["delivered", "refused", "rejected", "silent"] = Field(
        description="delivered: it arrives. refused: it arrives and is answered by RST or port "
        "unreachable. rejected: it does not arrive and somebody says so by ICMP. silent: nobody "
        "says anything."
    )


class Document(Element):
    """A vnetlab topology: hosts with virtual networks and VMs, and the world around them."""

    name: Name | None = Field(
        default=None, description="Name of the lab. Left out: the file name without its ending."
    )
    segments: Named[Segment] = Field(default={}, description="Physical LANs by name.")
    hosts: Named[Host] = Field(default={}, description="Hypervisor hosts by name.")
    machines: Named[Machine] = Field(
        default={}, description="Machines outside of the hosts by name; short form: a segment."
    )
    expect: list[ExpectDoc] = Field(default=[], description="Guarantees of your own.")
