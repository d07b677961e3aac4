"""What a lab could leave behind on this machine: processes, devices, mounts, namespaces, rules."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

MARK = "VNETLAB_TEST_SESSION"
PATIENCE = 3.0  # seconds: the time in which nothing of a dead lab may remain


def left_behind(mark: str, patience: float = PATIENCE) -> list[str]:
    """Return the marked processes that still run after a while, but for this one and its parents."""
    deadline = time.monotonic() + patience
    while (found := marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def marked(mark: str) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes()
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # ended meanwhile, or somebody else's
            continue
        if f"{MARK}={mark}".encode() in environment and int(process.name) != os.getpid():
            found.append(f"{process.name} {command}")
    return found


def state_of_machine() -> tuple[str, ...]:
    """Return what of this machine a lab could have changed."""
    links = sorted(line.split(":")[0].strip() for line in _lines("/proc/net/dev"))
    mounts = sorted(_lines("/proc/self/mountinfo"))
    named = sorted(path.name for path in Path("/run/netns").glob("*"))
    rules = ""
    if os.geteuid() == 0 and shutil.which("nft"):
        listing = ["nft", "list", "ruleset"]
        rules = subprocess.run(listing, capture_output=True, text=True, check=False).stdout
    return (*links, *mounts, *named, rules)


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


NO_USER_NAMESPACES = """
import os, sys
if "inside" not in os.environ:
    from vnetlab.kernel import linux
    uid, gid = os.geteuid(), os.getegid()
    linux.unshare(linux.CLONE_NEWUSER)
    maps = {"setgroups": "deny", "uid_map": f"{uid} {uid} 1", "gid_map": f"{gid} {gid} 1"}
    for name, text in maps.items():
        open("/proc/self/" + name, "w").write(text)
    open("/proc/sys/user/max_user_namespaces", "w").write("0")
    os.execve(sys.executable, sys.orig_argv, {**os.environ, "inside": "1"})
"""
"""The beginning of a Python program: a user namespace that allows no further ones, with the privileges in it
given up by exec."""
