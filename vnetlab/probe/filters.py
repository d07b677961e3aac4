"""Classic BPF programs (the kernel's networking/filter document), so that noise never wakes the
reader.

Every ARP request and neighbour solicitation reaches every NIC of a segment: N machines that
resolve each other make N^3 captures of which only N^2 are of the flight. Likewise the broadcasts of N
machines, each of which is judged at one of the others.
"""

from __future__ import annotations

import ctypes
import socket
from struct import pack
from typing import TYPE_CHECKING

from vnetlab.probe.frames import ANSWER, NUMBER

if TYPE_CHECKING:
    from vnetlab.probe.flight import Wide

SO_ATTACH_FILTER = 26

LOAD_WORD, LOAD_HALF, LOAD_BYTE = 0x20, 0x28, 0x30
JUMP, JUMP_EQUAL, JUMP_AT_LEAST, JUMP_SET, AND, RETURN = 0x05, 0x15, 0x35, 0x45, 0x54, 0x06
WHOLE = 0x0004_0000
MOST_ADDRESSES = 100
"""A jump reaches 255 instructions; stations asked for more addresses read all questions, and stations that
judge more broadcasts read all of those.
"""

Instruction = tuple[int, int, int, int]

NOTHING: list[Instruction] = [(RETURN, 0, 0, 0)]
"""A program that drops everything."""


def questions_for(addresses: tuple[bytes, ...]) -> list[Instruction]:
    """Return a program that drops ARP requests and solicitations for other addresses, and nothing
    else.
    """
    arp = [int.from_bytes(a, "big") for a in addresses if len(a) == 4]
    nd = [int.from_bytes(a[-4:], "big") for a in addresses if len(a) == 16]
    if len(arp) + len(nd) > MOST_ADDRESSES:
        return [(RETURN, 0, 0, WHOLE)]
    # ARP: opcode at 20, target at 38. IPv6: next header at 20, ICMPv6 type at 54, end of target
    # at 74.
    arp_part = [(LOAD_HALF, 0, 0, 20), (JUMP_EQUAL, 0, len(arp) + 2, 1), (LOAD_WORD, 0, 0, 38)]
    arp_part += _any_of(arp)
    nd_part = [
        (LOAD_BYTE, 0, 0, 20), (JUMP_EQUAL, 0, len(nd) + 4, 58),
        (LOAD_BYTE, 0, 0, 54), (JUMP_EQUAL, 0, len(nd) + 2, 135),
        (LOAD_WORD, 0, 0, 74),
    ]  # fmt: skip
    nd_part += _any_of(nd)
    program = [(LOAD_HALF, 0, 0, 12), (JUMP_EQUAL, 0, len(arp_part), 0x0806), *arp_part]
    program += [(LOAD_HALF, 0, 0, 12), (JUMP_EQUAL, 0, len(nd_part), 0x86DD), *nd_part]
    return [*program, (RETURN, 0, 0, WHOLE)]


def broadcasts_for(wide: Wide | None, nonce: int) -> list[Instruction]:
    """Return what drops a flight's datagrams to everybody that are not judged here; all else goes on.

    Dropped is what certainly is one: to a group of Ethernet, a whole UDP datagram, of the flight's nonce, and
    of the number of a shot that was sent to everybody.
    """
    if wide is None or len(wide.judged) > MOST_ADDRESSES:
        return []
    check = [
        (JUMP_AT_LEAST, _ON, 0, ANSWER), (AND, 0, 0, NUMBER), (JUMP_AT_LEAST, _ON, 0, wide.below),
        *((JUMP_EQUAL, _ON, 0, number) for number in wide.judged),
        (RETURN, 0, 0, 0),
    ]  # fmt: skip
    # IPv6: next header at 20, tag at 62. IPv4: version and size of the header at 14, fragments at 20,
    # protocol at 23, tag at 42.
    six = [
        (JUMP_EQUAL, 0, _ON, 0x86DD), (LOAD_BYTE, 0, 0, 20), (JUMP_EQUAL, 0, _ON, 17),
        (LOAD_WORD, 0, 0, 62), (JUMP_EQUAL, 0, _ON, nonce), (LOAD_WORD, 0, 0, 66),
    ]  # fmt: skip
    four = [
        (LOAD_BYTE, 0, 0, 14), (JUMP_EQUAL, 0, _ON, 0x45), (LOAD_HALF, 0, 0, 20), (JUMP_SET, _ON, 0, 0x3FFF),
        (LOAD_BYTE, 0, 0, 23), (JUMP_EQUAL, 0, _ON, 17),
        (LOAD_WORD, 0, 0, 42), (JUMP_EQUAL, 0, _ON, nonce), (LOAD_WORD, 0, 0, 46), (JUMP, 0, 0, len(six)),
    ]  # fmt: skip
    head = [(LOAD_BYTE, 0, 0, 0), (JUMP_SET, 0, _ON, 1), (LOAD_HALF, 0, 0, 12)]
    head += [(JUMP_EQUAL, 0, len(four), 0x0800)]
    program = [*head, *four, *six, *check]
    ends = range(len(program) - 1, -1, -1)
    return [
        (code, end if yes == _ON else yes, end if no == _ON else no, value)
        for (code, yes, no, value), end in zip(program, ends, strict=True)
    ]


_ON = -1
"""A jump behind the program."""


def _any_of(values: list[int]) -> list[Instruction]:
    """Accept if the loaded word is one of the values; a mismatch of the opcode jumps to the last
    line.
    """
    found = [(JUMP_EQUAL, len(values) - i, 0, value) for i, value in enumerate(values)]
    return [*found, (RETURN, 0, 0, 0), (RETURN, 0, 0, WHOLE)]


def attach(sock: socket.socket, program: list[Instruction]) -> None:
    """Attach a program to a socket (`struct sock_fprog` of linux/filter.h). Raises OSError."""
    code = b"".join(pack("HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code)
    fprog = pack("HL", len(program), ctypes.addressof(buffer))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, fprog)
