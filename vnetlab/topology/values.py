"""The scalar types of a topology file: names, MACs, prefixes, addresses; refusals have remedies."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Annotated, Final

from msgspec import Struct
from pydantic import AfterValidator, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from vnetlab.topology.model import IPAddress, IPNetwork

NAME_PATTERN: Final = r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?"
MAX_NAME: Final = 1_000
"""So that a text about each pair of a thousand machines still fits in memory."""
CUSTOM: Final = "vnetlab"

_NAME = re.compile(NAME_PATTERN)
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_RESERVED: Final[tuple[tuple[IPNetwork, str], ...]] = (
    (IPv4Network("0.0.0.0/8"), "this network (RFC 1122)"),
    (IPv4Network("127.0.0.0/8"), "loopback (RFC 1122)"),
    (IPv4Network("169.254.0.0/16"), "link-local (RFC 3927)"),
    (IPv4Network("224.0.0.0/4"), "multicast (RFC 5771)"),
    (IPv4Network("240.0.0.0/4"), "reserved (RFC 1112)"),
    (IPv6Network("::/96"), "unspecified, loopback and IPv4-compatible (RFC 4291)"),
    (IPv6Network("::ffff:0:0/96"), "IPv4-mapped (RFC 4291)"),
    (IPv6Network("fe80::/10"), "link-local (RFC 4291)"),
    (IPv6Network("ff00::/8"), "multicast (RFC 4291)"),
)


class Subnet(Struct, frozen=True):
    """A prefix as written, with the host's address where host bits were written."""

    prefix: IPNetwork
    address: IPAddress | None


class FixedAddress(Struct, frozen=True):
    """An address as written; ``length`` is None where the prefix length was left out."""

    ip: IPAddress
    length: int | None

    def __str__(self) -> str:
        return str(self.ip) if self.length is None else f"{self.ip}/{self.length}"


class Destination(Struct, frozen=True):
    """Where a route leads; ``prefix`` None is the default route, its family that of ``via``."""

    prefix: IPNetwork | None


def refuse(wrong: str, remedy: str) -> PydanticCustomError:
    """Return the error that becomes a Problem with this text and remedy."""
    return PydanticCustomError(CUSTOM, "{wrong}; {remedy}", {"wrong": wrong, "remedy": remedy})


def name_fault(name: str) -> tuple[str, str] | None:
    """Return what is wrong with a name and the remedy, or None."""
    if len(name) > MAX_NAME:
        return f"a name has at most {MAX_NAME} characters", "shorten it"
    if _NAME.fullmatch(name):
        return None
    foreign = next((f"; U+{ord(c):04X} is none of them" for c in name if not c.isascii()), "")
    return (
        f"a name is letters, digits, _ . and -, and begins and ends with a letter, digit or _{foreign}",
        f"write {clean_name(name)}" if clean_name(name) else "choose another name",
    )


def clean_name(text: str) -> str:
    """Return the nearest valid name, or an empty string if nothing is left."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text)[:MAX_NAME].strip(".-")


def _name(value: str) -> str:
    fault = name_fault(value)
    if fault:
        raise refuse(*fault)
    return value


def _text(value: object, example: str) -> str:
    if not isinstance(value, str):
        raise refuse("is not text", f"write for example {example}")
    return value


def _mac(value: object) -> str:
    mac = _text(value, '"02:00:00:00:00:01"').lower()
    if not _MAC.fullmatch(mac):
        remedy = "write six pairs of hex digits joined by colons, such as 02:00:00:00:00:01"
        raise refuse("is not a MAC address", remedy)
    first = int(mac[:2], 16)
    if first & 1:
        remedy = f"make the first byte even, such as {first & 0xFE:02x}{mac[2:]}"
        raise refuse("is a group address (lowest bit of the first byte), not one of a NIC", remedy)
    if mac == "00:00:00:00:00:00":
        raise refuse("is no MAC address of a NIC", "write for example 02:00:00:00:00:01")
    return mac


def _split(value: object, example: str) -> tuple[IPAddress, str | None]:
    text = _text(value, example)
    address, slash, length = text.partition("/")
    if "%" in address:
        raise refuse("has a zone", f"leave %{address.partition('%')[2]} out")
    try:
        return ip_address(address), length if slash else None
    except ValueError as error:
        raise refuse("is not an IPv4 or IPv6 address", f"write for example {example}") from error


def _length(ip: IPAddress, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,3}", text) or int(text) > ip.max_prefixlen:
        raise refuse(f"prefix is 0-{ip.max_prefixlen}", f"write for example {ip}/{_usual(ip)}")
    return int(text)


def _usual(ip: IPAddress) -> int:
    return 24 if ip.version == 4 else 64


def _shortest(ip: IPAddress) -> int:
    return 8 if ip.version == 4 else 16


def _refuse_reserved(ip: IPAddress) -> None:
    for block, purpose in _RESERVED:
        if ip in block:
            remedy = "take 10.0.0.0/8 or another private range (RFC 1918)"
            if ip.version == 6:
                remedy = "take fd00::/8 (RFC 4193) or 2001:db8::/32 (RFC 3849)"
            raise refuse(f"lies in {block}, which is {purpose}", remedy)


def _subnet(value: object) -> Subnet:
    ip, text = _split(value, "10.0.0.0/24")
    if text is None:
        raise refuse("a subnet has a prefix length", f"write {ip}/{_usual(ip)}")
    length = _length(ip, text)
    if not _shortest(ip) <= length < ip.max_prefixlen:
        wrong = f"a subnet of IPv{ip.version} is /{_shortest(ip)} to /{ip.max_prefixlen - 1}"
        raise refuse(wrong, f"write for example {ip}/{_usual(ip)}")
    _refuse_reserved(ip)
    prefix = ip_network((ip, length), strict=False)
    if ip == prefix.network_address:
        return Subnet(prefix, None)
    if ip.version == 4 and length < 31 and ip == prefix.broadcast_address:
        remedy = f"write {prefix}, or {prefix.broadcast_address - 1}/{length} for the last address"
        raise refuse("is the broadcast address of the subnet", remedy)
    return Subnet(prefix, ip)


def _address(value: object) -> FixedAddress:
    ip, text = _split(value, "10.0.0.7/24")
    _refuse_reserved(ip)
    return FixedAddress(ip, None if text is None else _length(ip, text))


def _bare_address(value: object) -> IPAddress:
    ip, text = _split(value, "10.0.0.1")
    if text is not None:
        raise refuse("a next hop has no prefix length", f"write {ip}")
    return ip


def _destination(value: object) -> Destination:
    if value == "default":
        return Destination(None)
    ip, text = _split(value, "10.0.0.0/24, or default")
    length = ip.max_prefixlen if text is None else _length(ip, text)
    prefix = ip_network((ip, length), strict=False)
    if ip != prefix.network_address:
        raise refuse("has bits set behind the prefix", f"write {prefix}")
    return Destination(prefix)


def _schema(kind: str, *examples: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "format": kind, "examples": list(examples)})


Name = Annotated[
    str,
    AfterValidator(_name),
    WithJsonSchema({"type": "string", "pattern": f"^{NAME_PATTERN}$", "maxLength": MAX_NAME}),
]
MacText = Annotated[str, PlainValidator(_mac), _schema("mac-address", "02:00:00:00:00:01")]
SubnetText = Annotated[Subnet, PlainValidator(_subnet), _schema("prefix", "10.40.0.0/24", "fd00:40::/64")]
AddressText = Annotated[
    FixedAddress,
    PlainValidator(_address),
    _schema("address", "192.0.2.10/24", "192.0.2.10"),
]
NextHopText = Annotated[
    IPAddress, PlainValidator(_bare_address), _schema("address", "192.0.2.1", "2001:db8:1::1")
]
DestinationText = Annotated[
    Destination,
    PlainValidator(_destination),
    _schema("prefix-or-default", "default", "10.0.0.0/8"),
]
