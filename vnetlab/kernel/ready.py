"""Waits until a lab can carry packets, on the kernel's own word.

Ready is: every veth has carrier, every veth that is a bridge port forwards, no address is still being
checked for duplicates. A tap has carrier only while its guest has it open, so taps are not waited for.

Of a thousand VMs none has to be asked. Both ends of a veth have carrier as soon as both are up
(`veth_open()` in drivers/net/veth.c), and a port that came up first forwards once linkwatch has let it send
(`linkwatch_do_dev()` in net/core/link_watch.c); the other end may send when it is up (`dev_activate()`).
"""

from __future__ import annotations

import struct
import time
from typing import TYPE_CHECKING, NamedTuple

from vnetlab.errors import KernelError
from vnetlab.kernel import messages
from vnetlab.kernel.netlink import Netlink, attributes, text_of
from vnetlab.state import Veth

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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


End = tuple[str, str]
"""A namespace and a device in it."""


class _Present(NamedTuple):
    """A device that is there: its interface index, and what it does."""

    number: int
    carrier: bool
    forwards: bool
    """Whether it is a bridge port, and forwards."""


def wait_ready(spaces: Spaces, state: State) -> None:
    """Return when every namespace of the State is ready.

    Raises KernelError naming what is not ready after twenty seconds.
    """
    wait_for(spaces, telling(state))


def telling(state: State) -> tuple[Namespace, ...]:
    """Return the namespaces that tell, when they are ready, that all of them are."""
    ports = {(n.name, link.name) for n in state.namespaces for link in n.links if link.master}
    return tuple(namespace for namespace in state.namespaces if _is_asked(namespace, ports))


def wait_for(spaces: Spaces, namespaces: Sequence[Namespace]) -> None:
    """Do what wait_ready() does, for the namespaces that tell."""
    deadline = time.monotonic() + DEADLINE
    waiting = list(namespaces)
    while waiting:
        late = {namespace: _not_ready(spaces, namespace) for namespace in waiting}
        waiting = [namespace for namespace, reasons in late.items() if reasons]
        if waiting and time.monotonic() > deadline:
            reasons = [f"{n.name}: {reason}" for n in waiting for reason in late[n]]
            raise KernelError(f"not ready after {DEADLINE:.0f} s: " + "; ".join(reasons))
        if waiting:
            time.sleep(_PAUSE)


def _is_asked(namespace: Namespace, ports: set[End]) -> bool:
    """Tell whether there is something to wait for that no bridge port of another namespace tells."""
    if not namespace.links:
        return False
    veths = [link for link in namespace.links if isinstance(link, Veth)]
    if any(link.master or (link.peer_namespace, link.peer) not in ports for link in veths):
        return True
    # Without duplicate address detection addresses are usable at once (`addrconf_dad_begin()`).
    detection = {setting.value for setting in namespace.sysctls if setting.key.endswith("/accept_dad")}
    return detection != {"0"}


def _not_ready(spaces: Spaces, namespace: Namespace) -> tuple[str, ...]:
    with spaces.inside(namespace.name), Netlink() as netlink:
        links = _present(netlink)
        # On this very machine there are devices besides, which are not ours to wait for.
        indices = {links[link.name].number for link in namespace.links if link.name in links}
        veths = [link for link in namespace.links if isinstance(link, Veth)]
        return (*_not_carrying(links, veths), *_unchecked(netlink, indices))


def _present(netlink: Netlink) -> dict[str, _Present]:
    found = {}
    for _, body in netlink.dump(messages.dump_links()):
        link = attributes(body, _LINK.size)
        name = text_of(link[_IFLA_IFNAME])
        found[name] = _Present(_LINK.unpack_from(body)[2], bool(link[_IFLA_CARRIER][0]), _forwards(link))
    return found


def _not_carrying(links: dict[str, _Present], veths: list[Veth]) -> Iterator[str]:
    for veth in veths:
        link = links.get(veth.name)
        if link is None:
            yield f"{veth.name} does not exist"
        elif not link.carrier:
            yield f"{veth.name}, to {veth.peer} of {veth.peer_namespace}, has no carrier"
        elif veth.master and not link.forwards:
            yield f"bridge port {veth.name} does not forward"


def _forwards(link: dict[int, memoryview]) -> bool:
    info = attributes(link.get(_IFLA_LINKINFO, memoryview(b"")), 0)
    port = attributes(info.get(_IFLA_INFO_SLAVE_DATA, memoryview(b"")), 0)
    return _IFLA_BRPORT_STATE in port and port[_IFLA_BRPORT_STATE][0] == _BR_STATE_FORWARDING


def _unchecked(netlink: Netlink, indices: set[int]) -> Iterator[str]:
    for _, body in netlink.dump(messages.dump_addresses()):
        if _ADDRESS.unpack_from(body)[4] not in indices:
            continue
        flags = attributes(body, _ADDRESS.size).get(_IFA_FLAGS)
        state = _FLAGS.unpack(flags)[0] if flags else body[2]
        if state & _IFA_F_DADFAILED:
            yield "an IPv6 address is in use by somebody else"
        elif state & _IFA_F_TENTATIVE:
            yield "an IPv6 address is still being checked for duplicates"
