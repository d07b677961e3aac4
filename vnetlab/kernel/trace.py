"""nftables' own word on one packet: which rule of which chain it met (`meta nftrace`, nft(8) "TRACE").

A table of ours marks the packets that are to be followed, and a netlink socket hears what the rules behind
it do with them. The table has the flag `owner` (linux/netfilter/nf_tables.h, since 5.12): the kernel removes
it with the socket that made it, so a killed process leaves nothing. The events are read from the multicast
group itself: it is joined when bind() returns, while `nft monitor` says nothing of when it is ready.
"""

from __future__ import annotations

import re
import socket
import struct
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from vnetlab.errors import Absent, FeatureUnavailable, KernelError
from vnetlab.kernel import nftables, read_tables
from vnetlab.kernel.netlink import HEADER, attributes, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_NETLINK_NETFILTER = 12
_GROUP_TRACE = 9
"""NFNLGRP_NFTRACE (linux/netfilter/nfnetlink.h)."""
_EVENT_TRACE = 10 << 8 | 17
"""NFNL_SUBSYS_NFTABLES and NFT_MSG_TRACE."""
_TABLE, _CHAIN, _HANDLE, _TYPE, _VERDICT, _ID, _NETWORK, _TRANSPORT, _POLICY = 1, 2, 3, 4, 5, 6, 8, 9, 16
"""Attributes of an event (`enum nft_trace_attributes`)."""
_OF_POLICY, _OF_RULE = 1, 3
"""`enum nft_trace_types`; the third, of a return from a chain, decides nothing."""
_VERDICT_CODE = 1
_FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}
_VERDICTS = {0: "drop", 1: "accept"}
_EARLIEST = -2_000_000_000
_BE32, _BE64 = struct.Struct("!i"), struct.Struct("!Q")
_RECEIVE = 1 << 16
_ADD_MEMBERSHIP, _SOL_NETLINK = 1, 270
_LINE = re.compile(r"(.*?) # handle (\d+)")
_OPENED = re.compile(r"(table|chain) (\S+ )?(\S+) \{")


class Hooks(Struct, frozen=True):
    """Where packets are marked; the events name every chain behind, whoever's it is."""

    devices: tuple[str, ...] = ()
    """Those with chains at their netdev ingress or egress hook."""
    bridge: bool = False
    """There are chains of the bridge family."""


class Traced(Struct, frozen=True):
    """What one base chain said of a packet: by a rule, or by its policy."""

    label: str
    """Chain and rule as predictions name them: ``inet vnetlab forward: home: VM to the LAN``."""
    verdict: str
    """``accept`` or ``drop``."""
    by_policy: bool
    network: bytes
    """The packet's IP header at that chain."""
    transport: bytes
    """The first bytes behind it."""


def marking_table(name: str, matches: tuple[str, ...], hooks: Hooks) -> tuple[str, ...]:
    """Return nft commands for the tables that mark packets; pure.

    ``matches`` are nft expressions: a packet that one of them fits is followed.
    """
    rules = [f"{match} meta nftrace set 1" for match in matches]
    layer3 = [("prerouting", ""), ("output", "")]
    found = [_table("inet", name, layer3, rules)]
    if hooks.bridge:
        found.append(_table("bridge", name, layer3, rules))
    if hooks.devices:
        both = ("ingress", "egress")
        of_devices = [(hook, f'device "{device}" ') for device in hooks.devices for hook in both]
        found.append(_table("netdev", name, of_devices, rules))
    return tuple(found)


def _table(family: str, name: str, hooks: list[tuple[str, str]], rules: list[str]) -> str:
    lines = [f"table {family} {name} {{", "flags owner"]
    for number, (hook, device) in enumerate(hooks):
        lines.append(f"chain c{number} {{")
        lines.append(f"type filter hook {hook} {device}priority {_EARLIEST}; policy accept;")
        lines += [*rules, "}"]
    return "\n".join([*lines, "}"]) + "\n"


class Tracer:
    """Follows packets in the namespace that the thread is in when it is made."""

    def __init__(self, name: str, matches: tuple[str, ...], hooks: Hooks) -> None:
        """Listen, then mark. Raises FeatureUnavailable where the kernel has no owned tables or no trace."""
        self._name = name
        self._labels = rule_labels(_listing())
        self._last: tuple[bytes, bytes] = (b"", b"")
        self._owner = nftables.library()
        self._tables: list[str] = []
        self.lost = False
        self._socket = _listen()
        try:
            for text in marking_table(name, matches, hooks):
                self._load(text)
        except BaseException:
            self.close()
            raise

    def _load(self, text: str) -> None:
        status, _, message = self._owner.cmd(text)
        if status:
            absent = Absent(
                "nftables trace", f"a table with `flags owner`: {message.strip()}", "use Linux 5.12 or later"
            )
            raise FeatureUnavailable((absent,))
        self._tables.append(text.split()[1])

    def read(self) -> tuple[Traced, ...]:
        """Return what has happened since the last call, in its order."""
        return tuple(self._read())

    def _read(self) -> Iterator[Traced]:
        while True:
            try:
                data = self._socket.recv(_RECEIVE, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:  # ENOBUFS: events came faster than they were read
                self.lost = True
                continue
            yield from self._events(memoryview(data))

    def _events(self, view: memoryview) -> Iterator[Traced]:
        at = 0
        while at + HEADER.size <= len(view):
            length, kind, *_ = HEADER.unpack_from(view, at)
            if kind == _EVENT_TRACE:
                yield from self._event(view[at + HEADER.size : at + length])
            at += (length + 3) & ~3

    def _event(self, body: memoryview) -> Iterator[Traced]:
        fields = attributes(body, 4)
        if _NETWORK in fields:  # only the first event of a packet at a chain shows its headers
            self._last = bytes(fields[_NETWORK]), bytes(fields.get(_TRANSPORT, b""))
        table = text_of(fields.get(_TABLE))
        kind = _BE32.unpack(fields[_TYPE])[0]
        if table == self._name or kind not in (_OF_POLICY, _OF_RULE):
            return
        chain = f"{_FAMILIES.get(body[0], body[0])} {table} {text_of(fields.get(_CHAIN))}"
        if kind == _OF_POLICY:
            code, label = _BE32.unpack(fields[_POLICY])[0], "policy"
        else:
            inner = attributes(fields[_VERDICT], 0)
            code = _BE32.unpack(inner[_VERDICT_CODE])[0]
            # The end of a chain is an event of a rule too, one without a handle that says `continue`.
            handle = _BE64.unpack(fields.get(_HANDLE, bytes(8)))[0]
            label = self._labels.get((chain, handle), f"rule {handle}")
        if code in _VERDICTS:
            yield Traced(f"{chain}: {label}", _VERDICTS[code], kind == _OF_POLICY, *self._last)

    def close(self) -> None:
        """Remove the tables and stop listening."""
        for family in self._tables:
            self._owner.cmd(f"delete table {family} {self._name}")
        self._socket.close()
        self._owner = None


def _listen() -> socket.socket:
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
    try:
        sock.bind((0, 0))
        sock.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _GROUP_TRACE)
    except OSError as error:
        sock.close()
        raise KernelError(f"listening to nftables: {error.strerror}") from error
    return sock


def _listing() -> str:
    context: Any = nftables.library()
    context.set_handle_output(True)
    status, output, message = context.cmd("list ruleset")
    if status:
        raise KernelError(f"nftables: list ruleset: {message.strip()}")
    return str(output)


def rule_labels(listing: str) -> dict[tuple[str, int], str]:
    """Return how predictions name each rule of a listing with handles, by its chain and handle; pure."""
    found: dict[tuple[str, int], str] = {}
    table = chain = ""
    for raw in listing.splitlines():
        line = raw.strip()
        if opened := _OPENED.match(line):
            if opened[1] == "table":
                table, chain = f"{opened[2]}{opened[3]}", ""
            else:
                chain = f"{table} {opened[3]}"
        elif chain and (rule := _LINE.fullmatch(line)):
            found[chain, int(rule[2])] = read_tables.rule_label(rule[1])
    return found
