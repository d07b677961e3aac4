"""A way round a NIC for the moment in which it becomes a port of a bridge, or stops being one.

The kernel hands a port's frames to the bridge before the port may pass any, and as it leaves, after it may no
more (`br_add_if()` and `del_nbp()` in net/bridge/br_if.c): what comes in meanwhile is dropped. So IP packets
to the NIC's own MAC are taken off before that, at the netdev ingress hook, and put on a veth pair whose other
end has the same MAC: the machine takes them for its own there, whatever device has the address. ARP and
neighbour discovery, which belong to their device, are asked again if they are lost.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from msgspec import Struct

from vnetlab import names
from vnetlab.errors import KernelError
from vnetlab.kernel import messages, nftables
from vnetlab.kernel.local import carriage, devices
from vnetlab.kernel.local.facts import read_setting
from vnetlab.kernel.local.journal import Record
from vnetlab.kernel.netlink import Netlink
from vnetlab.kernel.sysctl import write
from vnetlab.state import Link, NftChain, NftRule, NftTable, Sysctl

if TYPE_CHECKING:
    from collections.abc import Iterator

_OWN = "/proc/thread-self/ns/net"
_IN_FLIGHT = 0.05
"""Seconds that a packet may be on its way through the pair."""
_DISCOVERY = "{ nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert, nd-redirect }"
_MTU = 65535
_ABSENT = ("Could not process rule: No such file", "Could not process rule: Operation not supported")
"""What nft says of an expression that the kernel does not have."""


class Bypass(Struct, frozen=True):
    """One, by names that are the lab's own."""

    lab: str
    nic: str
    mac: str
    """Of the NIC."""

    @property
    def near(self) -> str:
        """The end that packets are put on."""
        return names.on_machine(self.lab, f"vt{self.nic}/near")

    @property
    def far(self) -> str:
        """The end that they come out of."""
        return names.on_machine(self.lab, f"vt{self.nic}/far")

    @property
    def table(self) -> NftTable:
        """The rules that put them there."""
        match = f"ether daddr {self.mac}"
        rules = (
            NftRule(f"{match} icmpv6 type {_DISCOVERY} return", "belongs to the device"),
            NftRule(f'{match} meta protocol {{ ip, ip6 }} fwd to "{self.near}"', "round the port"),
        )
        hook = f'type filter hook ingress device "{self.nic}" priority -510; policy accept;'
        name = f"{names.table_on_machine(self.lab)}-{self.near}"
        return NftTable("netdev", name, (NftChain("bypass", hook, rules),))

    def records(self) -> tuple[Record, ...]:
        """Return what the journal has to say of it before it is used for the first time."""
        table = self.table
        return (
            Record("link", self.near, f"{names.port_mac(self.lab, self.near)} -"),
            Record("table", f"netdev {table.name}", table.name),
        )

    @contextmanager
    def open(self, addresses: tuple[bytes, ...]) -> Iterator[None]:
        """Have packets take it as long as the block lasts; raises KernelError.

        ``addresses`` are those that packets are for, as rtnetlink describes them. On a kernel that cannot do
        that (without nft_fwd_netdev) there is none, and packets may be lost.
        """
        self.remove()
        self._make_pair(next(filter(carriage.is_ipv4, addresses), None))
        usable = _loaded(self.table)
        try:
            yield
        finally:
            if usable:
                nftables.delete(self.table)
                time.sleep(_IN_FLIGHT)
            self.remove()

    def _make_pair(self, address: bytes | None) -> None:
        what = f"make the veth pair {self.near}"
        own = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with Netlink() as netlink:
                near = Link(name=self.near, mac=names.port_mac(self.lab, self.near), mtu=_MTU)
                far = Link(name=self.far, mac=self.mac, mtu=_MTU)
                devices.send(netlink, what, (messages.create_veth(near, far, own, 0),))
                write(tuple(self._settings()))
                known = devices.indices(netlink)
                if address is not None:
                    # Without one a device fails the loosest rp_filter (`__fib_validate_source()`).
                    lent = carriage.lend_address(address, known[self.far])
                    devices.send(netlink, what, (lent,))
                devices.send(netlink, what, (messages.set_up(known[d]) for d in (self.far, self.near)))
                for device in (self.near, self.far):
                    devices.await_ready(netlink, device)
        finally:
            os.close(own)

    def _settings(self) -> Iterator[Sysctl]:
        """Yield what makes the far end take whatever the NIC would, and both ends keep silent."""
        yield Sysctl(f"net/ipv6/conf/{self.near}/disable_ipv6", "1")
        yield Sysctl(f"net/ipv6/conf/{self.far}/addr_gen_mode", "1")  # no address of its own
        yield Sysctl(f"net/ipv6/conf/{self.far}/accept_ra", "0")
        yield Sysctl(f"net/ipv4/conf/{self.far}/arp_ignore", "8")
        yield Sysctl(f"net/ipv4/conf/{self.far}/rp_filter", "2")
        for family, key in (("ipv4", "forwarding"), ("ipv6", "forwarding"), ("ipv6", "disable_ipv6")):
            value = read_setting(f"net/{family}/conf/{self.nic}/{key}")
            if value is not None:
                yield Sysctl(f"net/{family}/conf/{self.far}/{key}", value)

    def remove(self) -> None:
        """Remove what is there of it, after a crash too; raises KernelError."""
        table = self.table
        if f"table netdev {table.name} {{" in nftables.ruleset():
            nftables.delete(table)
        with Netlink() as netlink:
            index = devices.indices(netlink).get(self.near)
            if index is not None:
                what = f"remove the veth pair {self.near}"
                devices.send(netlink, what, (messages.delete_link(index),))


def _loaded(table: NftTable) -> bool:
    try:
        nftables.load(table)
    except KernelError as error:
        if not any(sign in str(error) for sign in _ABSENT):
            raise
        return False
    return True
