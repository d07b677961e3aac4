"""Takes steps in one namespace, each as one thing to do in the kernel.

Consecutive rtnetlink requests share a system call. After an error the namespace is as far as it got.
"""

from __future__ import annotations

import os
from functools import singledispatchmethod
from socket import if_nametoindex
from typing import TYPE_CHECKING, Self

from vnetlab.errors import KernelError
from vnetlab.kernel import conntrack, messages, nftables, read_messages, switch_messages, tap
from vnetlab.kernel.netlink import Netlink
from vnetlab.plan import (
    AddAddress,
    AddNeighbour,
    AddRoute,
    AttachPort,
    ChangeMac,
    ChangeMtu,
    ChangeRoute,
    ChangeTables,
    CreateBridge,
    CreateTap,
    CreateVeth,
    DeleteLink,
    DetachPort,
    EndFlows,
    ForgetMacs,
    ForgetNeighbours,
    ForwardPort,
    IsolatePort,
    LinkDown,
    LinkUp,
    LoadTable,
    NameLink,
    RemoveAddress,
    RemoveNeighbour,
    RemoveRoute,
    SetOptions,
    SetSysctls,
    Step,
    UnisolatePort,
    UnnameLink,
)
from vnetlab.state import Address

if TYPE_CHECKING:
    from vnetlab.kernel.spaces import Spaces


class Visit:
    """A stay in one namespace: queued rtnetlink requests, and what they need to be kept open."""

    def __init__(self, spaces: Spaces) -> None:
        self._spaces = spaces
        self._netlink = Netlink()
        self._indices: dict[str, int] = {}
        self._descriptors: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._release()
        self._netlink.__exit__(*error)

    def flush(self) -> None:
        """Send what is queued; raises KernelError."""
        self._netlink.flush()
        self._release()

    @singledispatchmethod
    def do(self, step: Step) -> None:
        """Do one step, or queue it; raises KernelError."""
        raise TypeError(f"no way to do this in the kernel: {step.describe()}")

    @do.register
    def _(self, step: SetSysctls) -> None:
        self.flush()
        self._spaces.settings.write(step.sysctls)

    @do.register
    def _(self, step: LoadTable) -> None:
        self.flush()
        nftables.load(step.table)

    @do.register
    def _(self, step: ChangeTables) -> None:
        self.flush()
        nftables.change(step.changes)

    @do.register
    def _(self, step: EndFlows) -> None:
        self.flush()
        conntrack.end_flows(step.concern)

    @do.register
    def _(self, step: CreateBridge) -> None:
        self._queue(step, messages.create_bridge(step.link))

    @do.register
    def _(self, step: CreateTap) -> None:
        self.flush()
        with tap.created(step.link.name, step.link.owner, step.link.group):
            index = self._index(step, step.link.name)
            self._queue(step, messages.set_identity(step.link, index))
            self.flush()
        if step.link.master:
            self._queue(step, messages.set_master(index, self._index(step, step.link.master)))

    @do.register
    def _(self, step: CreateVeth) -> None:
        master = self._index(step, step.link.master) if step.link.master else 0
        far = self._spaces.open(step.link.peer_namespace)
        self._descriptors.append(far)
        self._queue(step, messages.create_veth(step.link, step.peer, far, master))

    @do.register
    def _(self, step: DeleteLink) -> None:
        self._queue(step, messages.delete_link(self._index(step, step.device)))
        self.flush()
        del self._indices[step.device]

    @do.register
    def _(self, step: NameLink) -> None:
        self._queue(step, messages.add_altname(self._index(step, step.device), step.altname))

    @do.register
    def _(self, step: UnnameLink) -> None:
        self._queue(step, messages.remove_altname(self._index(step, step.device), step.altname))

    @do.register
    def _(self, step: ChangeMac) -> None:
        index = self._index(step, step.device)
        # The kernel makes the link-local address when a device comes up, and leaves it at that.
        own = Address(step.device, read_messages.automatic_address(step.old))
        present = self._has(own, index)
        if present:
            self._queue(step, messages.remove_address(own, index))
        self._queue(step, messages.set_mac(index, step.mac))
        if present:
            new = Address(step.device, read_messages.automatic_address(step.mac))
            self._queue(step, messages.add_address(new, index))

    @do.register
    def _(self, step: ChangeMtu) -> None:
        self._queue(step, messages.set_mtu(self._index(step, step.device), step.mtu))

    @do.register
    def _(self, step: AttachPort) -> None:
        bridge = self._index(step, step.bridge)
        self._queue(step, messages.set_master(self._index(step, step.device), bridge))

    @do.register
    def _(self, step: DetachPort) -> None:
        self._queue(step, messages.set_master(self._index(step, step.device), 0))

    @do.register
    def _(self, step: IsolatePort | UnisolatePort) -> None:
        isolated = isinstance(step, IsolatePort)
        self._queue(step, messages.set_isolated(self._index(step, step.device), isolated))

    @do.register
    def _(self, step: SetOptions) -> None:
        index = self._index(step, step.device)
        set_option = switch_messages.set_bridge if step.of_bridge else switch_messages.set_port
        for option in step.options:
            self._queue(step, set_option(index, option))

    @do.register
    def _(self, step: ForwardPort) -> None:
        self.flush()
        links = map(read_messages.link, self._dump(read_messages.GET_LINKS))
        found = [link for link in links if link.name == step.device]
        if any(link.blocked for link in found):
            self._queue(step, switch_messages.set_forwarding(found[0].index))

    @do.register
    def _(self, step: ForgetMacs) -> None:
        self._queue(step, switch_messages.forget_macs(self._index(step, step.device)))

    @do.register
    def _(self, step: LinkUp) -> None:
        self._queue(step, messages.set_up(self._index(step, step.device)))

    @do.register
    def _(self, step: LinkDown) -> None:
        self._queue(step, messages.set_down(self._index(step, step.device)))

    @do.register
    def _(self, step: AddAddress) -> None:
        index = self._index(step, step.address.device)
        self._queue(step, messages.add_address(step.address, index))

    @do.register
    def _(self, step: RemoveAddress) -> None:
        index = self._index(step, step.address.device)
        self._queue(step, messages.remove_address(step.address, index))

    @do.register
    def _(self, step: AddNeighbour) -> None:
        index = self._index(step, step.neighbour.device)
        self._queue(step, messages.add_neighbour(step.neighbour, index))

    @do.register
    def _(self, step: RemoveNeighbour) -> None:
        index = self._index(step, step.neighbour.device)
        self._queue(step, messages.remove_neighbour(step.neighbour, index))

    @do.register
    def _(self, step: ForgetNeighbours) -> None:
        index = self._index(step, step.device)
        self.flush()
        known = set(step.known)
        addresses = {entry.address for entry in known}
        for body in self._dump(read_messages.GET_NEIGHBOURS):
            found = read_messages.learned_neighbour(body, {index: step.device})
            if found and found.address in addresses and found not in known:
                self._queue(step, messages.remove_neighbour(found, index), gone=True)

    @do.register
    def _(self, step: AddRoute) -> None:
        index = self._index(step, step.route.device)
        self._queue(step, messages.add_route(step.route, index))

    @do.register
    def _(self, step: ChangeRoute) -> None:
        index = self._index(step, step.route.device)
        if step.route.metric == step.old.metric:
            self._queue(step, messages.change_route(step.route, index))
        else:  # to the kernel they are two
            self._queue(step, messages.add_route(step.route, index))
            self._queue(step, messages.remove_route(step.old, self._index(step, step.old.device)))

    @do.register
    def _(self, step: RemoveRoute) -> None:
        index = self._index(step, step.route.device)
        self._queue(step, messages.remove_route(step.route, index))

    def _has(self, address: Address, index: int) -> bool:
        self.flush()
        names = {index: address.device}
        dump = self._dump(read_messages.GET_ADDRESSES)
        return any(read_messages.address(body, names) == address for body in dump)

    def _dump(self, kind: int) -> list[memoryview]:
        return [body for _, body in self._netlink.dump(read_messages.dump(kind))]

    def _queue(self, step: Step, message: bytes, *, gone: bool = False) -> None:
        if self._netlink.add(message, step, gone=gone):
            self.flush()

    def _index(self, step: Step, device: str) -> int:
        """Return a device's index; one that is still to be made is made first."""
        if device not in self._indices:
            self.flush()
            try:
                self._indices[device] = if_nametoindex(device)
            except OSError as error:
                raise KernelError(f"{step.describe()}: no device {device}") from error
        return self._indices[device]

    def _release(self) -> None:
        while self._descriptors:
            os.close(self._descriptors.pop())
