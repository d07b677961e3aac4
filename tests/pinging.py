"""A ping as a program of its own: `pinging.py ADDRESS COUNT INTERVAL`; says how many came back.

Echo requests (RFC 792, RFC 4443) are sent in a steady stream, until there were COUNT of them or, where it is
0, standard input is closed; answers are counted until one second after. Ends with 1 if any is missing.
"""

from __future__ import annotations

import select
import socket
import struct
import sys
import time


def main() -> None:
    """Ping as the arguments say."""
    address, count, interval = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    six = ":" in address
    family, protocol = (socket.AF_INET6, 58) if six else (socket.AF_INET, 1)
    with socket.socket(family, socket.SOCK_RAW, protocol) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        raw.setblocking(False)
        _say("begun")
        seen: set[int] = set()
        sent, refused = _stream(raw, address, count, interval, seen)
        over = time.monotonic() + 1
        while len(seen) < sent and time.monotonic() < over:
            select.select([raw], [], [], 0.1)
            _receive(raw, six, seen)
    lost = [n for n in range(sent) if n not in seen]
    _say(f"{len(seen)} of {sent} came back; lost: {lost[:20]}; refused: {refused}")
    sys.exit(bool(lost))


def _stream(
    raw: socket.socket, address: str, count: int, interval: float, seen: set[int]
) -> tuple[int, set[str]]:
    """Send until it is time to stop; return how many, and what the kernel said to those that it refused."""
    six = ":" in address
    begin, number, refused = time.monotonic(), 0, set()
    until = [] if count else [sys.stdin]
    while not count or number < count:
        wait = begin + number * interval - time.monotonic()
        if wait > 0:
            ready = select.select([raw, *until], [], [], wait)[0]
            _receive(raw, six, seen)
            if sys.stdin in ready:
                break
            continue
        try:
            raw.sendto(_packet(128 if six else 8, number, six), (address, 0))
        except OSError as error:
            refused.add(str(error))
        number += 1
    return number, refused


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _packet(kind: int, number: int, six: bool) -> bytes:
    body = struct.pack("!HHI", 0x7E57, number & 0xFFFF, number)
    if six:
        return struct.pack("!BBH", kind, 0, 0) + body
    total = sum(struct.unpack(f"!{(len(body) + 4) // 2}H", struct.pack("!BBH", kind, 0, 0) + body))
    total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!BBH", kind, 0, ~(total + (total >> 16)) & 0xFFFF) + body


def _receive(raw: socket.socket, six: bool, seen: set[int]) -> None:
    while True:
        try:
            data = raw.recv(2048)
        except BlockingIOError:
            return
        data = data if six else data[(data[0] & 15) * 4 :]
        if data[0] == (129 if six else 0) and data[4:6] == b"\x7e\x57":
            seen.add(struct.unpack("!I", data[8:12])[0])


if __name__ == "__main__":
    main()
