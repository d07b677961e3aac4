"""Tells the seconds of a command and the peak of its largest process: ``python -I -S timed.py CMD ...``.

A process of its own, and a small one: what a program begins with counts into its peak (exec_mmap() in
fs/exec.c takes over the peak of the process that started it). Prints a line of JSON; ends with the command's
exit code.
"""

from __future__ import annotations

import json
import os
import sys
import time


def main() -> None:
    """Run and tell."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    quiet = [(os.POSIX_SPAWN_DUP2, nothing, 1)]
    began = time.perf_counter()
    pid = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions=quiet)
    _, status, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - began
    sys.stdout.write(json.dumps({"seconds": seconds, "peak": usage.ru_maxrss * 1024}) + "\n")
    sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
