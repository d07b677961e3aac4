"""What nodes and bridges have learned of others, and is no longer so after a change. Pure.

A node believes for up to a minute that an address is at the MAC where it was (REACHABLE of RFC 4861, section
7.3.2, which Linux keeps for ARP too). So where an address is at another MAC on a link, those on that link
forget it, and ask when they next need it; all else that they have learned stays. Rejected: announcing the new
MAC, as real machines do, since an announcement can be lost; and writing the new MAC into their tables, since
the bridges in between learn from question and answer where it is.

A bridge believes for five minutes that a MAC is behind the port where it was heard (`ageing_time`), and no
longer if the port leaves it. So where a port moves to another bridge of its namespace, only those in between
are wrong: what was heard by their trunks to each other is forgotten, and frames are flooded until it is heard
anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnetlab.plan.device_steps import ForgetNeighbours
from vnetlab.plan.port_steps import ForgetMacs
from vnetlab.state import Neighbour, Veth

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.plan.links import End
    from vnetlab.state import State
    from vnetlab.topology.model import IPAddress

_Owners = dict["IPAddress", set[str]]
"""At which MACs an address is; several where it was given twice."""


def outdated(before: State, after: State, kept: frozenset[End]) -> Iterator[ForgetNeighbours]:
    """Yield what devices that stay have to forget."""
    if not kept or _placed(before) == _placed(after):
        return
    old, new = _on_links(before), _on_links(after)
    for namespace in after.namespaces:
        own = {address.address.ip for address in namespace.addresses}
        for link in namespace.links:
            end = (namespace.name, link.name)
            if link.master or end not in kept:
                continue
            was, now = old[end], new[end]
            moved = [a for a in now if a not in own and a in was and not now[a] <= was[a]]
            known = tuple(Neighbour(link.name, a, mac) for a in moved for mac in sorted(now[a]))
            if known:
                yield ForgetNeighbours(namespace.name, link.name, known)


def misplaced(before: State, after: State, kept: frozenset[End]) -> Iterator[ForgetMacs]:
    """Yield of which ports bridges have to forget whom they heard there."""
    masters = {(n.name, link.name): link.master for n in before.namespaces for link in n.links if link.master}
    for namespace in after.namespaces:
        ports = {link.name: link for link in namespace.links if link.master}
        stay = [link for name, link in ports.items() if (namespace.name, name) in kept]
        if all(masters.get((namespace.name, link.name), link.master) == link.master for link in stay):
            continue
        for link in stay:
            if isinstance(link, Veth) and link.peer_namespace == namespace.name and link.peer in ports:
                yield ForgetMacs(namespace.name, link.name)


def _placed(state: State) -> set[tuple[object, ...]]:
    """Return where addresses and MACs are."""
    links = ((n.name, li.name, li.mac, li.master) for n in state.namespaces for li in n.links)
    return {*links, *((n.name, a.device, a.address) for n in state.namespaces for a in n.addresses)}


def _on_links(state: State) -> dict[End, _Owners]:
    """Return for each device what addresses are on its link; devices of one link share one value."""
    link_of = _links_of(state)
    found: dict[End, _Owners] = {end: {} for end in set(link_of.values())}
    for namespace in state.namespaces:
        macs = {link.name: link.mac for link in namespace.links}
        for address in namespace.addresses:
            if macs.get(address.device):
                owners = found[link_of[namespace.name, address.device]]
                owners.setdefault(address.address.ip, set()).add(macs[address.device])
    return {end: found[link] for end, link in link_of.items()}


def _links_of(state: State) -> dict[End, End]:
    """Return for each device one that stands for its link: a broadcast domain of bridges and veth pairs."""
    parent = {(n.name, link.name): (n.name, link.name) for n in state.namespaces for link in n.links}

    def root(end: End) -> End:
        while parent[end] != end:
            parent[end] = parent[parent[end]]
            end = parent[end]
        return end

    for namespace in state.namespaces:
        for link in namespace.links:
            others = [(namespace.name, link.master)] if link.master else []
            others += [(link.peer_namespace, link.peer)] if isinstance(link, Veth) else []
            for other in others:
                if other in parent:
                    parent[root((namespace.name, link.name))] = root(other)
    return {end: root(end) for end in parent}
