"""What on this machine would be in the way of a lab that is not in namespaces of its own.

Hosts of a lab that are namespaces meet none of it. The machine's own rules, bridge settings and routes matter
where a host is this very machine (`backend: local`), and for guests that people bridge to it.
"""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from vnetlab.errors import FeatureUnavailable, KernelError
from vnetlab.health import Area, Check, State
from vnetlab.kernel import nftables, read_messages
from vnetlab.kernel.doctor.files import number_of
from vnetlab.kernel.netlink import Netlink

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vnetlab.topology.model import IPNetwork

_APART = "labs in namespaces are not touched; one on the machine itself (`backend: local`) is"
_BRIDGE_SETTINGS = tuple(f"bridge-nf-call-{family}" for family in ("iptables", "ip6tables", "arptables"))
_LEGACY = (("iptables", "ip"), ("ip6tables", "ip6"), ("arptables", "arp"))
_DENYING = ("drop", "reject", "queue")
_SHOWN = 3


class Claim(Struct, frozen=True):
    """A prefix that a lab uses, and what for."""

    prefix: IPNetwork
    owner: str


class Route(Struct, frozen=True):
    """Where the machine sends a prefix."""

    prefix: IPNetwork
    device: str


def interference(claims: tuple[Claim, ...]) -> tuple[Check, ...]:
    """Look at the machine's bridge netfilter, firewalls and routes; nothing is changed."""
    return (
        bridge_netfilter({name: number_of(f"net/bridge/{name}") for name in _BRIDGE_SETTINGS}),
        _nftables(),
        legacy_tables({tool: _legacy(family) for tool, family in _LEGACY}),
        _routes(claims),
    )


def bridge_netfilter(values: dict[str, int | None]) -> Check:
    """Judge whether bridged frames of the machine meet its IP rules; None: there is no such setting."""
    on = [name for name, value in values.items() if value]
    if on:
        finding = f"net.bridge.{', '.join(on)} on: frames between ports of a bridge meet IP rules; {_APART}"
        remedy = f"`sysctl -w {' '.join(f'net.bridge.{name}=0' for name in on)}` if nothing needs it"
        return Check(Area.INTERFERENCE, "bridge netfilter", State.LIMITED, finding, remedy)
    loaded = any(value is not None for value in values.values())
    finding = "off" if loaded else "not loaded: no frame of a bridge meets an IP rule"
    return Check(Area.INTERFERENCE, "bridge netfilter", State.OK, finding)


def _nftables() -> Check:
    try:
        with _quiet():
            listing = nftables.ruleset_json()
    except FeatureUnavailable as error:
        absent = error.absent[0]
        finding, remedy = f"not looked at: {absent.evidence}", absent.remedy
    except KernelError as error:
        finding, remedy = f"not looked at: {error}", "run `vnetlab doctor` as root to see the machine's rules"
    else:
        return drop_policies(listing)
    return Check(Area.INTERFERENCE, "nftables", State.UNKNOWN, finding, remedy)


@contextmanager
def _quiet() -> Iterator[None]:
    """Send standard error nowhere: libnftables writes there by itself when it may not list the rules."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def drop_policies(listing: str) -> Check:
    """Judge the machine's ruleset, the text of `nft --json list ruleset`, by what its base chains deny."""
    name = "nftables"
    try:
        objects = json.loads(listing or '{"nftables": []}')["nftables"]
    except (ValueError, KeyError, TypeError) as error:
        finding = f"the listing was not understood: {error}"
        return Check(Area.INTERFERENCE, name, State.UNKNOWN, finding, "read `nft list ruleset` yourself")
    denying = _denying_chains(objects)
    if denying:
        shown = ", ".join(denying[:_SHOWN]) + (
            f" and {len(denying) - _SHOWN} more" if denying[_SHOWN:] else ""
        )
        remedy = "accept the lab's bridges in these chains first: an accept elsewhere does not undo a drop"
        return Check(Area.INTERFERENCE, name, State.LIMITED, f"{shown}; {_APART}", remedy)
    tables = sum("table" in entry for entry in objects)
    finding = f"{tables} tables, none denies by default" if tables else "no tables"
    return Check(Area.INTERFERENCE, name, State.OK, finding)


def _denying_chains(objects: Sequence[dict[str, Any]]) -> list[str]:
    """Name each base chain that drops by its policy, or by a rule that matches everything."""
    chains = [entry["chain"] for entry in objects if "chain" in entry and "hook" in entry["chain"]]
    found: list[str] = []
    for chain in chains:
        where = f"chain {chain['name']} of {chain['family']} {chain['table']} (hook {chain['hook']})"
        if chain.get("policy") == "drop":
            found.append(f"{where} drops by policy")
        elif word := _denies_all(chain, objects):
            found.append(f"{where} ends with a rule that says {word} to everything")
    return found


def _denies_all(chain: dict[str, Any], objects: Sequence[dict[str, Any]]) -> str:
    for entry in objects:
        rule = entry.get("rule", {})
        if [rule.get(key) for key in ("family", "table", "chain")] != [
            chain[key] for key in ("family", "table", "name")
        ]:
            continue
        words = [word for part in rule.get("expr", ()) for word in part]
        telling = [word for word in words if word not in ("counter", "log")]
        if len(telling) == 1 and telling[0] in _DENYING:
            return str(telling[0])
    return ""


def _legacy(family: str) -> str | None:
    path = Path(f"/proc/net/{family}_tables_names")
    if not path.exists():
        return ""
    try:
        return path.read_text()
    except OSError:
        return None


def legacy_tables(names: dict[str, str | None]) -> Check:
    """Judge tables of legacy iptables, which nft does not list; None: they may not be read."""
    name = "legacy iptables"
    loaded = [f"{tool} {' '.join(text.split())}" for tool, text in names.items() if text and text.strip()]
    if loaded:
        finding = f"{', '.join(loaded)}: rules that `nft` does not show; {_APART}"
        remedy = "look for drops with `iptables-legacy-save` and `ip6tables-legacy-save`"
        return Check(Area.INTERFERENCE, name, State.LIMITED, finding, remedy)
    if any(text is None for text in names.values()):
        remedy = "run `vnetlab doctor` as root to see which tables are loaded"
        return Check(Area.INTERFERENCE, name, State.UNKNOWN, "not looked at: only root may", remedy)
    return Check(Area.INTERFERENCE, name, State.OK, "no tables loaded")


def _routes(claims: tuple[Claim, ...]) -> Check:
    try:
        return overlap(claims, machine_routes())
    except (KernelError, OSError) as error:
        finding = f"not looked at: {error}"
        return Check(Area.INTERFERENCE, "addresses", State.UNKNOWN, finding, "look at `ip route` yourself")


def machine_routes() -> tuple[Route, ...]:
    """Return the routes of the namespace that the thread is in, but for its own addresses. No root."""
    with Netlink() as netlink:
        links = [read_messages.link(b) for _, b in netlink.dump(read_messages.dump(read_messages.GET_LINKS))]
        names = {link.index: link.name for link in links}
        bodies = [body for _, body in netlink.dump(read_messages.dump(read_messages.GET_ROUTES))]
    found = (read_messages.destination(body, names) for body in bodies)
    return tuple(Route(prefix, device) for prefix, device in filter(None, found))


def overlap(claims: tuple[Claim, ...], routes: tuple[Route, ...]) -> Check:
    """Judge whether prefixes of a lab and routes of the machine have addresses in common."""
    name = "addresses"
    telling = [
        r for r in routes if r.prefix.prefixlen and not (r.prefix.is_link_local or r.prefix.is_multicast)
    ]
    if not claims:
        finding = f"the machine has routes to {len(telling)} prefixes; no lab to compare them with"
        remedy = "give a topology: `vnetlab doctor FILE`"
        return Check(Area.INTERFERENCE, name, State.OK, finding, remedy)
    hits = [
        f"{claim.prefix} of {claim.owner} and the machine's route to {route.prefix} by {route.device}"
        for claim in claims
        for route in telling
        if claim.prefix.version == route.prefix.version and claim.prefix.overlaps(route.prefix)
    ]
    if hits:
        shown = "; ".join(hits[:_SHOWN]) + (f"; {len(hits) - _SHOWN} more" if hits[_SHOWN:] else "")
        remedy = "take other subnets for what is to run on the machine itself"
        return Check(Area.INTERFERENCE, name, State.LIMITED, f"{shown}: {_APART}", remedy)
    finding = f"{len(claims)} prefixes of the lab, none of them in the machine's routes"
    return Check(Area.INTERFERENCE, name, State.OK, finding)
