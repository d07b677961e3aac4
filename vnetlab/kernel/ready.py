"""Waits until a lab can carry packets, on the kernel's own word.

Ready is: every veth has carrier, every veth that is a bridge port forwards, no address is still being
checked for duplicates. A tap has carrier only while its guest has it open, so taps are not waited for.
"""

from __future__ import annotations

import struct
import time
from socket import if_nameindex
from typing import TYPE_CHECKING

from vnetlab.errors import KernelError
from vnetlab.kernel import messages
from vnetlab.kernel.netlink import Netlink, attributes
from vnetlab.state import Veth

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.kernel.spaces import Spaces
    from vnetlab.state import Namespace, State

DEADLINE = 20.0
"""Seconds. Carrier takes the kernel up to one (linkwatch), duplicate address detection about two."""
_PAUSE = 0.005

_LINK = struct.Struct("=BxHiII")  # struct ifinfomsg
_ADDRESS = struct.Struct("=BBBBI")  # struct ifaddrmsg
_FLAGS = struct.Struct("=I")
_IFLA_IFNAME = 3
_IFLA_LINKINFO = 18
_IFLA_CARRIER = 33
_IFLA_INFO_SLAVE_DATA = 5
_IFLA_BRPORT_STATE = 1
_BR_STATE_FORWARDING = 3
_IFA_FLAGS = 8
_IFA_F_DADFAILED = 0x08
_IFA_F_TENTATIVE = 0x40


def wait_ready(spaces: Spaces, state: State) -> None:
    """Return when every namespace of the State is ready.

    Raises KernelError naming what is not ready after twenty seconds.
    """
    deadline = time.monotonic() + DEADLINE
    waiting = [namespace for namespace in state.namespaces if namespace.links]
    while waiting:
        late = {namespace: _not_ready(spaces, namespace) for namespace in waiting}
        waiting = [namespace for namespace, reasons in late.items() if reasons]
        if waiting and time.monotonic() > deadline:
            reasons = [f"{n.name}: {reason}" for n in waiting for reason in late[n]]
            raise KernelError(f"not ready after {DEADLINE:.0f} s: " + "; ".join(reasons))
        if waiting:
            time.sleep(_PAUSE)


def _not_ready(spaces: Spaces, namespace: Namespace) -> tuple[str, ...]:
    veths = {link.name: bool(link.master) for link in namespace.links if isinstance(link, Veth)}
    with spaces.inside(namespace.name), Netlink() as netlink:
        own = {link.name for link in namespace.links}
        # On this very machine there are devices besides, which are not ours to wait for.
        indices = {index for index, name in if_nameindex() if name in own}
        return (*_links(netlink, veths), *_addresses(netlink, indices))


def _links(netlink: Netlink, veths: dict[str, bool]) -> Iterator[str]:
    missing = dict(veths)
    for _, body in netlink.dump(messages.dump_links()):
        found = attributes(body, _LINK.size)
        name = bytes(found[_IFLA_IFNAME]).rstrip(b"\0").decode()
        port = missing.pop(name, None)
        if port is None:
            continue
        if not found[_IFLA_CARRIER][0]:
            yield f"{name} has no carrier"
        elif port and not _forwards(found):
            yield f"bridge port {name} does not forward"
    yield from (f"{name} does not exist" for name in missing)


def _forwards(link: dict[int, memoryview]) -> bool:
    info = attributes(link.get(_IFLA_LINKINFO, memoryview(b"")), 0)
    port = attributes(info.get(_IFLA_INFO_SLAVE_DATA, memoryview(b"")), 0)
    return _IFLA_BRPORT_STATE in port and port[_IFLA_BRPORT_STATE][0] == _BR_STATE_FORWARDING


def _addresses(netlink: Netlink, indices: set[int]) -> Iterator[str]:
    for _, body in netlink.dump(messages.dump_addresses()):
        if _ADDRESS.unpack_from(body)[4] not in indices:
            continue
        flags = attributes(body, _ADDRESS.size).get(_IFA_FLAGS)
        state = _FLAGS.unpack(flags)[0] if flags else body[2]
        if state & _IFA_F_DADFAILED:
            yield "an IPv6 address is in use by somebody else"
        elif state & _IFA_F_TENTATIVE:
            yield "an IPv6 address is still being checked for duplicates"
