"""The routes of every node: the derived ones, and those of the file, which win."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from msgspec.structs import replace

from vnetlab.topology.model import Route, family_of
from vnetlab.topology.report import dotted
from vnetlab.topology.routes import DEFAULT, Routing, ordered

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from vnetlab.topology.document import Document, RouteDoc
    from vnetlab.topology.model import Nic, Topology
    from vnetlab.topology.report import Path, Report


def with_routes(document: Document, topology: Topology, report: Report) -> Topology:
    """Return the topology with the routes of every node."""
    routing = Routing(topology)
    hosts = {
        name: replace(host, routes=merged(routing.of_host(host), document.hosts[name].routes))
        for name, host in topology.hosts.items()
    }
    vms = {
        name: replace(vm, routes=merged(routing.of_vm(vm), document.hosts[vm.host].vms[name].routes))
        for name, vm in topology.vms.items()
    }
    machines = {}
    for name, machine in topology.machines.items():
        explicit = document.machines[name].routes
        if not isinstance(explicit, str):
            machine = replace(machine, routes=merged(routing.of_machine(machine), explicit))
        machines[name] = machine
    return dataclasses.replace(topology, hosts=hosts, vms=vms, machines=machines)


def merged(derived: Sequence[Route], explicit: Iterable[RouteDoc]) -> tuple[Route, ...]:
    """Return derived and explicit routes; of two to one prefix the explicit one."""
    by_prefix = {route.prefix: route for route in derived}
    by_prefix |= {route.prefix: route for route in map(explicit_route, explicit)}
    return ordered(by_prefix.values())


def explicit_route(doc: RouteDoc) -> Route:
    """Return a route of the file; ``default`` is of its next hop's family."""
    return Route(doc.to.prefix or DEFAULT[family_of(doc.via)], doc.via)


def check_routes(docs: Sequence[RouteDoc], nics: Sequence[Nic], path: Path, report: Report) -> None:
    """Report routes of the file whose next hop the node cannot reach, and prefixes given twice."""
    own = {address.ip for nic in nics for address in nic.addresses}
    subnets = [address.network for nic in nics for address in nic.addresses]
    seen: dict[object, int] = {}
    for index, doc in enumerate(docs):
        via, route = (*path, index, "via"), explicit_route(doc)
        if route.prefix.version != route.via.version:
            remedy = f"take an IPv{route.prefix.version} address of the next hop"
            report.add(via, f"is of another address family than {route.prefix}", remedy)
        elif route.via in own:
            report.add(via, "is an address of the node itself", "take one of the next hop")
        elif not any(route.via in subnet for subnet in subnets):
            known = ", ".join(str(s) for s in subnets if s.version == route.via.version)
            remedy = f"take an address in {known}" if known else "give the node an address first"
            report.add(via, "is on no subnet of the node, so it is no next hop", remedy)
        if route.prefix in seen:
            wrong = f"{dotted((*path, seen[route.prefix]))} leads to the same prefix"
            report.add((*path, index, "to"), wrong, "keep one of them")
        seen.setdefault(route.prefix, index)
