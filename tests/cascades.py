"""Labs whose networks and segments have more ports than a bridge takes, with bridges that take few."""

from __future__ import annotations

from typing import TYPE_CHECKING, ParamSpec

from vnetlab import cascade
from vnetlab.topology.model import Topology

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

_Words = ParamSpec("_Words")

PORTS = 3
TRUNKS = 2
MODES = ("bridge", "isolated", "routed", "host-only", "nat")
_SUBNETS = 'subnets: [10.9.0.0/24, "fd00:9::/64"]'
_OPTIONS = {"bridge": "uplink: eth0", "isolated": _SUBNETS, "host-only": _SUBNETS}


def small_bridges(monkeypatch: pytest.MonkeyPatch, ports: int = PORTS, trunks: int = TRUNKS) -> None:
    """Have bridges take few ports, so that few VMs show what otherwise takes thousands."""
    monkeypatch.setattr(cascade, "MAX_BRIDGE_PORTS", ports)
    monkeypatch.setattr(cascade, "MAX_TRUNKS", trunks)


def text_of(
    mode: str,
    vms: int,
    *,
    options: str = "cascade: true",
    machines: int = 1,
    segment: str = "",
    tap: int = -1,
) -> str:
    """Return a file: a network of VMs v0, v1, ..., another one beside it, and machines on the LAN."""
    uplink = _OPTIONS.get(mode, f"uplink: eth0, {_SUBNETS}")
    own = [f"v{n}: {{network: net, backend: tap}}" if n == tap else f"v{n}: net" for n in range(vms)]
    lan = f'{{subnets: [192.0.2.0/24, "2001:db8:1::/64"]{segment}}}'
    return f"""
name: cascade
segments: {{lan: {lan}}}
machines: {{{", ".join(f"m{n}: lan" for n in range(machines))}}}
hosts:
  hv:
    nics: {{eth0: lan}}
    networks:
      net: {{mode: {mode}, {uplink}, {options}}}
      den: {{mode: host-only, subnets: [10.8.0.0/24]}}
    vms: {{{", ".join(own)}, tool: den}}
"""


def _parsed(text: Callable[_Words, str]) -> Callable[_Words, Topology]:
    def topology(*words: _Words.args, **more: _Words.kwargs) -> Topology:
        return Topology.parse(text(*words, **more), "cascade.yaml")

    return topology


lab_of = _parsed(text_of)
"""Returns the topology of such a file."""
