"""What differs between the settings of a namespace that is there and of the desired one.

Facts of the kernel (networking/ip-sysctl.rst; `inet_forward_change()` in net/ipv4/devinet.c,
`addrconf_forward_change()` and `addrconf_disable_change()` in net/ipv6/addrconf.c): writing another value
to one of three keys of ``all`` writes it to ``default`` and to every device as well.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from vnetlab.state import Sysctl

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from vnetlab.state import Namespace

_SPREADING = (
    "net/ipv4/conf/all/forwarding",
    "net/ipv6/conf/all/forwarding",
    "net/ipv6/conf/all/disable_ipv6",
)
_ALSO = {"net/ipv4/conf/all/accept_redirects": "net/ipv4/conf/all/forwarding"}
"""What the kernel writes too where it writes another value to that key."""
_CLOSING = (("/forwarding", "0"), ("/disable_ipv6", "1"))


def wanted(namespace: Namespace, of_devices: bool | None = None) -> tuple[Sysctl, ...]:
    """Return the settings of a namespace, of a key that is given twice the last in its place.

    ``of_devices`` picks those of its devices, or the others. The order is that of the State.
    """
    return _wanted(namespace.sysctls, frozenset(link.name for link in namespace.links), of_devices)


def _wanted(
    sysctls: tuple[Sysctl, ...], devices: frozenset[str], of_devices: bool | None
) -> tuple[Sysctl, ...]:
    last: dict[str, Sysctl] = {}
    for sysctl in sysctls:
        if of_devices is None or (device_of(sysctl.key) in devices) is of_devices:
            last.pop(sysctl.key, None)
            last[sysctl.key] = sysctl
    return tuple(last.values())


def device_of(key: str) -> str:
    """Return the device that a setting is of (or ``all`` or ``default``); empty for none."""
    parts = key.split("/")  # such as net/ipv4/conf/eth0/forwarding
    return parts[3] if len(parts) > 3 and parts[2] in ("conf", "neigh") else ""


def changed(before: Namespace, after: Namespace, kept: frozenset[str]) -> tuple[Sysctl, ...]:
    """Return the settings to write in a namespace whose devices ``kept`` stay, in their order.

    A setting of such a device that is not desired takes the desired default; any other is left alone. Those
    of devices that are still to be made are not among them.
    """
    devices = frozenset(link.name for link in after.links)
    return _changed(before.sysctls, after.sysctls, devices, kept)


@lru_cache(maxsize=256)  # of a thousand machines most are alike
def _changed(
    before: tuple[Sysctl, ...], after: tuple[Sysctl, ...], devices: frozenset[str], kept: frozenset[str]
) -> tuple[Sysctl, ...]:
    new = devices - kept
    present = {sysctl.key: sysctl.value for sysctl in before}
    desired = _in_order(after, devices)
    spread = {key for key in _SPREADING if key in desired and present.get(key) != desired[key]}
    of_kept = {key for key in present if device_of(key) in kept}
    of_kept |= {key.replace("/all/", f"/{device}/") for key in spread for device in kept}
    defaults = _Defaults(desired)
    for key in sorted(of_kept - desired.keys()):
        default = defaults.of(key)
        if default is not None:
            desired[key] = default
    return tuple(
        Sysctl(key, value)
        for key, value in desired.items()
        if (present.get(key) != value or _spreading(key) in spread) and device_of(key) not in new
    )


def spread_to(new: Iterable[str], after: Namespace, written: Iterable[Sysctl]) -> Iterator[Sysctl]:
    """Yield what new devices need again when these were written while they were there."""
    spreading = [sysctl for sysctl in written if sysctl.key in _SPREADING]
    if not spreading:
        return
    desired = _in_order(after.sysctls, frozenset(link.name for link in after.links))
    defaults = _Defaults(desired)
    for sysctl in spreading:
        for device in new:
            key = sysctl.key.replace("/all/", f"/{device}/")
            value = desired.get(key, defaults.of(key))
            if value is not None:
                yield Sysctl(key, value)


def _in_order(sysctls: tuple[Sysctl, ...], devices: frozenset[str]) -> dict[str, str]:
    """Return the settings as they are written: those of the namespace, then those of its devices."""
    order = (*_wanted(sysctls, devices, False), *_wanted(sysctls, devices, True))
    return {sysctl.key: sysctl.value for sysctl in order}


class _Defaults:
    """What new devices would have."""

    def __init__(self, desired: Mapping[str, str]) -> None:
        """Take the settings of a namespace in the order in which they are written."""
        self._values = dict(desired)
        self._places = {key: place for place, key in enumerate(desired)}

    def of(self, key: str) -> str | None:
        """Return the last word of ``default`` and of a key that writes it."""
        default = key.replace(f"/{device_of(key)}/", "/default/", 1)
        spreading = _spreading(key)
        words = [k for k in (default, spreading) if k in self._places and (k == default or k in _SPREADING)]
        return self._values[max(words, key=self._places.__getitem__)] if words else None


def _spreading(key: str) -> str:
    """Return the key whose writing writes this one too."""
    return _ALSO.get(key) or key.replace(f"/{device_of(key)}/", "/all/", 1)


def closing(sysctls: Iterable[Sysctl]) -> tuple[Sysctl, ...]:
    """Return those that take a path away, to be written before rules that count on it."""
    found = tuple(sysctls)
    spread = {sysctl.key for sysctl in found if sysctl.key in _SPREADING}
    if not all(_closes(sysctl) for sysctl in found if sysctl.key in spread):
        return ()
    return tuple(sysctl for sysctl in found if _closes(sysctl) or _spreading(sysctl.key) in spread)


def _closes(sysctl: Sysctl) -> bool:
    return any(sysctl.key.endswith(setting) and sysctl.value == value for setting, value in _CLOSING)


def without_ipv6(namespace: Namespace) -> frozenset[str]:
    """Return the devices on which IPv6 is switched off."""
    return _without_ipv6(namespace.sysctls, frozenset(link.name for link in namespace.links))


@lru_cache(maxsize=256)
def _without_ipv6(sysctls: tuple[Sysctl, ...], devices: frozenset[str]) -> frozenset[str]:
    values = {sysctl.key: sysctl.value for sysctl in sysctls}
    default = values.get("net/ipv6/conf/default/disable_ipv6", "0")
    return frozenset(
        name for name in devices if values.get(f"net/ipv6/conf/{name}/disable_ipv6", default) != "0"
    )


def restarts_ipv6(sysctls: Iterable[Sysctl]) -> bool:
    """Tell whether writing these takes the IPv6 addresses of every device away for a moment."""
    return Sysctl("net/ipv6/conf/all/disable_ipv6", "1") in tuple(sysctls)
