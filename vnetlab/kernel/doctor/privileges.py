"""What this process may do: user, capabilities, and whether ordinary users may make namespaces."""

from __future__ import annotations

import os
import re
from pathlib import Path

from vnetlab.health import Area, Check, State
from vnetlab.kernel.doctor.files import number_of, text_of

CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13, "CAP_SYS_ADMIN": 21}
"""What making namespaces and devices takes, by bit (linux/capability.h)."""
_STATUS = Path("/proc/self/status")
_UID_MAP = Path("/proc/self/uid_map")
_EVERYBODY = "0 0 4294967295"
"""The map of the initial user namespace (user_namespaces(7)), blanks made one."""
_RESTRICTIONS = (
    ("kernel/unprivileged_userns_clone", 0, "sysctl kernel.unprivileged_userns_clone=1"),
    (
        "kernel/apparmor_restrict_unprivileged_userns",
        1,
        "sysctl kernel.apparmor_restrict_unprivileged_userns=0",
    ),
    ("user/max_user_namespaces", 0, "sysctl user.max_user_namespaces=10000"),
)
"""Settings, the value of each that forbids user namespaces, and what allows them."""


def privileges() -> tuple[Check, ...]:
    """Look at this process and at the settings that decide what an ordinary user may do."""
    status, mapped = text_of(_STATUS), text_of(_UID_MAP)
    found = {key: number_of(key) for key, _, _ in _RESTRICTIONS}
    return (user(os.geteuid(), status, mapped), user_namespaces(found))


def user(uid: int, status: str, mapped: str) -> Check:
    """Say who runs this and with which capabilities, of the texts of /proc/self/status and uid_map."""
    held = capabilities(status)
    root = "root" if " ".join(mapped.split()) == _EVERYBODY else "root of a user namespace"
    who = root if uid == 0 else f"user {uid}"
    if held == tuple(CAPABILITIES):
        return Check(Area.PRIVILEGES, "user", State.OK, f"{who}, with {', '.join(held)}")
    without = ", ".join(name for name in CAPABILITIES if name not in held)
    finding = f"{who}, without {without}: labs live in a user namespace"
    if uid:
        return Check(Area.PRIVILEGES, "user", State.OK, finding)
    remedy = "root of a container is given what it lacks by `--cap-add` or `--privileged`"
    return Check(Area.PRIVILEGES, "user", State.LIMITED, finding, remedy)


def capabilities(status: str) -> tuple[str, ...]:
    """Return which of CAPABILITIES are in effect, of the text of /proc/self/status."""
    found = re.search(r"^CapEff:\s*([0-9a-f]+)", status, re.MULTILINE)
    mask = int(found.group(1), 16) if found else 0
    return tuple(name for name, bit in CAPABILITIES.items() if mask >> bit & 1)


def user_namespaces(values: dict[str, int | None]) -> Check:
    """Say whether settings keep ordinary users from labs; the try itself is the line `namespaces`."""
    closed = [(key, remedy) for key, forbids, remedy in _RESTRICTIONS if values[key] == forbids]
    name = "without root"
    if not closed:
        return Check(Area.PRIVILEGES, name, State.OK, "no setting forbids user namespaces")
    key, remedy = closed[0]
    finding = f"{key.replace('/', '.')} is {values[key]}: ordinary users may get no labs"
    return Check(Area.PRIVILEGES, name, State.LIMITED, finding, f"`{remedy}`")
