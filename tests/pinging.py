"""A ping as a program of its own: `pinging.py ADDRESS [COUNT INTERVAL]`; prints how many came back.

Echo requests (RFC 792, RFC 4443) are sent in a steady stream, and answers counted until one second after.
"""

from __future__ import annotations

import select
import socket
import struct
import sys
import time


def main() -> None:
    address, count, interval = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    six = ":" in address
    family, protocol = (socket.AF_INET6, 58) if six else (socket.AF_INET, 1)
    request, answer = (128, 129) if six else (8, 0)
    with socket.socket(family, socket.SOCK_RAW, protocol) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        raw.setblocking(False)
        _say("begun")
        seen: set[int] = set()
        refused: dict[str, int] = {}
        begin = time.monotonic()
        number, over = 0, 0.0
        while number < count or time.monotonic() < over:
            due = begin + number * interval
            now = time.monotonic()
            if number < count and now >= due:
                try:
                    raw.sendto(_packet(request, number, six), (address, 0))
                except OSError as error:
                    refused[str(error)] = refused.get(str(error), 0) + 1
                number += 1
                over = time.monotonic() + 1
                continue
            wait = max(0.0, min(due - now, 0.1)) if number < count else 0.1
            if select.select([raw], [], [], wait)[0]:
                _receive(raw, answer, six, seen)
            if number == count and len(seen) == count:
                break
    lost = [n for n in range(count) if n not in seen]
    _say(f"{len(seen)} of {count} came back; lost: {lost[:20]}; refused: {refused}")
    sys.exit(bool(lost))


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


def _receive(raw: socket.socket, answer: int, six: bool, seen: set[int]) -> None:
    while True:
        try:
            data = raw.recv(2048)
        except BlockingIOError:
            return
        data = data if six else data[(data[0] & 15) * 4 :]
        if data[0] == answer and data[4:6] == b"\x7e\x57":
            seen.add(struct.unpack("!I", data[8:12])[0])


if __name__ == "__main__":
    main()
