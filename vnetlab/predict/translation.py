"""The NAT statements of nft text."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING

from vnetlab.predict.fields import TYPES, FieldType
from vnetlab.predict.keys import keys_at
from vnetlab.predict.rules import Key, Lookup, Translate
from vnetlab.predict.tokens import Unsupported
from vnetlab.predict.values import lookup_at, number_at

if TYPE_CHECKING:
    from vnetlab.predict.tokens import Words

NAT = ("dnat", "snat", "masquerade", "redirect")
_RANDOM = ("random", "fully-random", "persistent")
_PORTS = re.compile(r"(\d+)(?:-(\d+))?")
_VERSIONS = {"ip": 4, "ip6": 6}
_ADDRESS = {4: FieldType("ipv4"), 6: FieldType("ipv6")}
_PORT = TYPES[Key("tcp", "dport")]
_KEYS = ("ip", "ip6", "tcp", "udp", "th", "meta", "iifname", "oifname", "ct", "ether", "mark")


def translate_at(words: Words) -> Translate:
    """Take a NAT statement; raises Unsupported."""
    kind = words.take()
    version = None
    if not words.done and words.peek() in _VERSIONS:
        version = _VERSIONS[words.take()]
        if words.starts("addr"):  # `dnat ip addr . port to`, as older nft lists it
            words.skip(1)
            while words.starts(".") or words.starts("port"):
                words.skip(1)
    found = Translate(kind, version)
    if words.starts("to"):
        words.skip(1)
        found = _to(words, found)
    while not words.done and words.peek() in _RANDOM:
        if words.take() != "persistent":
            raise Unsupported("a random port")
    return found


def _to(words: Words, found: Translate) -> Translate:
    word = words.peek()
    if word in _KEYS:
        return _by_map(words, found)
    if word.endswith(":") and word != "::":
        words.take()
        version, address, _ = _target(word[:-1], found.version)
        return Translate(found.kind, version, address, None, _port_map(words), ("port",))
    if word.startswith(":") and word[1:] in _KEYS:
        words.take()
        words.push(word[1:])
        return Translate(found.kind, found.version, None, None, _port_map(words), ("port",))
    return Translate(found.kind, *_target(words.take(), found.version))


def _port_map(words: Words) -> Lookup:
    return lookup_at(words, keys_at(words), lambda datum: (number_at(datum, _PORT),))


def _by_map(words: Words, found: Translate) -> Translate:
    """Read a map to addresses, or to addresses and ports, of the family that the first of them has."""
    versions: set[int] = set()
    sizes: set[int] = set()

    def datum(at: Words) -> tuple[int, ...]:
        version = 6 if at.peek().count(":") > 1 else 4
        versions.add(version)
        numbers = [number_at(at, _ADDRESS[version])]
        if at.starts("."):
            at.skip(1)
            numbers.append(number_at(at, _PORT))
        sizes.add(len(numbers))
        return tuple(numbers)

    lookup = lookup_at(words, keys_at(words), datum)
    if len(versions) != 1 or len(sizes) != 1:
        raise Unsupported("a map to addresses of both families, or without members")
    fills = ("address", "port")[: sizes.pop()]
    return Translate(found.kind, found.version or versions.pop(), None, None, lookup, fills)


def _target(word: str, version: int | None) -> tuple[int | None, int | None, tuple[int, int] | None]:
    """Read ``ADDRESS``, ``ADDRESS:PORT``, ``[ADDRESS]:PORT``, ``:PORT-PORT``."""
    host, ports = word, ""
    if word.startswith("["):
        host, _, ports = word[1:].partition("]")
        ports = ports.removeprefix(":")
    elif word.startswith(":") and not word.startswith("::"):
        host, ports = "", word[1:]
    elif word.count(":") == 1:
        host, _, ports = word.partition(":")
    found = _PORTS.fullmatch(ports) if ports else None
    if ports and found is None:
        raise Unsupported(f"translation to {word}")
    span = (int(found[1]), int(found[2] or found[1])) if found else None
    if not host:
        return version, None, span
    try:
        address = ip_address(host)
    except ValueError:
        raise Unsupported(f"translation to {word}") from None
    assert isinstance(address, IPv4Address | IPv6Address)
    return address.version, int(address), span
