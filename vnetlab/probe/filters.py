"""Classic BPF programs (the kernel's networking/filter document), so that noise never wakes the
reader.

Every ARP request and neighbour solicitation reaches every NIC of a segment: N machines that
resolve each other make N^3 captures of which only N^2 are of the flight.
"""

from __future__ import annotations

import ctypes
import socket
from struct import pack

SO_ATTACH_FILTER = 26

LOAD_WORD, LOAD_HALF, LOAD_BYTE = 0x20, 0x28, 0x30
JUMP_EQUAL, RETURN = 0x15, 0x06
WHOLE = 0x0004_0000
MOST_ADDRESSES = 100
"""A jump reaches 255 instructions; stations asked for more addresses read all questions."""

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
