"""Objects common to the modes in which the host is present on the network: routed, host-only, NAT.

The host is a router for the devices that a mode names and for nothing else: the forward chain drops by
policy, and each mode adds the flows that it allows. What these modes share is the host's own presence: a
bridge with addresses, an answer on them, and a guard against forged sources in both directions. The guard
compares with the prefixes of the file rather than with the FIB: reverse path filtering (RFC 3704) asks only
IPv4, and lets through a source that happens to be routed the same way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnetlab.modes.base import IP, UNROUTABLE, Objects, Rules, deny, members, of_family
from vnetlab.names import altname
from vnetlab.state import Address, Bridge, NftRule, Sysctl
from vnetlab.topology.model import Family

if TYPE_CHECKING:
    from vnetlab.modes.base import Context
    from vnetlab.topology.model import IPAddress, IPNetwork, Network

_LINK_LOCAL = {Family.IPV4: [], Family.IPV6: ["fe80::/10"]}
_GROUPS = {Family.IPV4: ["224.0.0.0/4", "255.255.255.255"], Family.IPV6: ["ff00::/8"]}


def present(context: Context, answers_on: tuple[IPAddress, ...], rules: Rules) -> Objects:
    """Return the objects of a network on which the host answers.

    ``answers_on`` are the host's addresses that the VMs reach beside those on the network itself;
    ``rules`` are the mode's own.
    """
    network, device = context.network, context.device
    six = Family.IPV6 in network.families()
    return Objects(
        bridge=Bridge(
            name=device,
            altname=altname(network.host, network.name),
            mac=network.mac,
            mtu=network.mtu,
        ),
        addresses=tuple(Address(device, address) for address in network.addresses),
        sysctls=(
            Sysctl(f"net/ipv4/conf/{device}/forwarding", "1"),
            Sysctl(f"net/ipv6/conf/{device}/disable_ipv6", "0" if six else "1"),
        ),
        rules=_presence_rules(context, answers_on) + rules,
    )


def _presence_rules(context: Context, answers_on: tuple[IPAddress, ...]) -> Rules:
    network, device = context.network, f'"{context.device}"'
    guard: list[NftRule] = []
    answers: list[NftRule] = []
    private: list[NftRule] = []
    for family, ip in IP.items():
        subnets = of_family(network.subnets, family)
        guard += _guard(network.name, device, family, subnets)
        if not subnets:
            continue
        own = [address.ip for address in of_family(network.addresses, family)]
        more = [a for a in of_family(answers_on, family) if a not in own]
        local = [*own, *more, *_LINK_LOCAL[family], *_groups(family, subnets)]
        answers.append(
            NftRule(
                f"iifname {device} {ip} daddr {members(local)} accept",
                f"{network.name}: VM to the host's addresses that it may reach",
            )
        )
        if not set(own) <= set(context.reachable):
            private.append(
                NftRule(
                    f"{ip} daddr {members(subnets)} drop",
                    f"{network.name}: its host address is not for others",
                )
            )
    denials = _denials(network, device)
    return denials + Rules(guard=tuple(guard), input=tuple(answers), input_private=tuple(private))


def _denials(network: Network, device: str) -> Rules:
    """Return the rules that end what VMs begin towards the host and towards nowhere."""
    return Rules(
        unroutable=(
            NftRule(
                f"iifname {device} {UNROUTABLE} {deny(network)}",
                f"{network.name}: VM to where the host has no route",
            ),
        ),
        input_deny=(
            NftRule(
                f"iifname {device} {deny(network)}", f"{network.name}: VM to other addresses of the host"
            ),
        ),
    )


def _guard(name: str, device: str, family: Family, subnets: list[IPNetwork]) -> list[NftRule]:
    ip, nfproto = IP[family], family.value
    if not subnets:
        return [
            NftRule(
                f"iifname {device} meta nfproto {nfproto} drop",
                f"{name}: has no {nfproto} subnet, so the host has no part in {nfproto}",
            )
        ]
    sources = [*map(str, subnets), *_LINK_LOCAL[family], *(["::"] if family is Family.IPV6 else [])]
    return [
        NftRule(
            f"iifname {device} {ip} saddr != {members(sources)} drop",
            f"{name}: forged source of a VM",
        ),
        NftRule(
            f'iifname != {{ {device}, "lo" }} {ip} saddr {members(subnets)} drop',
            f"{name}: its addresses as source from elsewhere",
        ),
    ]


def _groups(family: Family, subnets: list[IPNetwork]) -> list[str]:
    directed = [str(s.broadcast_address) for s in subnets] if family is Family.IPV4 else []
    return [*_GROUPS[family], *directed]


def established(inside: str, outside: str, name: str) -> NftRule:
    """Return the rule that lets answers and related ICMP errors of a flow that VMs began come back."""
    return NftRule(
        f'iifname "{outside}" oifname "{inside}" ct state established,related accept',
        f"{name}: answers and ICMP errors of flows that its VMs began",
    )


def reach_rules(context: Context) -> tuple[NftRule, ...]:
    """Return the rules by which the network's VMs begin flows to the networks named in ``reach``."""
    network = context.network
    rules: list[NftRule] = []
    for device, target in context.reach:
        for family, ip in IP.items():
            sources = of_family(network.subnets, family)
            destinations = of_family(target.subnets, family)
            if sources and destinations:
                rules.append(
                    NftRule(
                        f'iifname "{context.device}" oifname "{device}" {ip} saddr {members(sources)} '
                        f"{ip} daddr {members(destinations)} accept",
                        f"{network.name}: reach {target.name}",
                    )
                )
        rules.append(established(context.device, device, f"{network.name}: reach {target.name}"))
    return tuple(rules)


def own_subnets(context: Context) -> tuple[NftRule, ...]:
    """Return the rule by which VMs of one network with several subnets reach each other by the host."""
    network = context.network
    several = any(len(of_family(network.subnets, family)) > 1 for family in Family)
    if not several or network.port_isolation:
        return ()
    device = f'"{context.device}"'
    return (NftRule(f"iifname {device} oifname {device} accept", f"{network.name}: between its subnets"),)


def vm_begun_denied(context: Context) -> tuple[NftRule, ...]:
    """Return the rule that ends whatever the VMs begin and no rule before it allowed."""
    network = context.network
    return (
        NftRule(
            f'iifname "{context.device}" {deny(network)}',
            f"{network.name}: VM to where its mode gives no path",
        ),
    )
