"""The examination of this machine: what each mode needs is tried, everything else is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnetlab.health import Area, Check, State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.kernel.doctor.features import Try
    from vnetlab.kernel.doctor.interference import Claim
    from vnetlab.topology.model import Mode, Topology

_OPTIONS: dict[str, dict[str, object]] = {
    "nat": {"forwards": [{"protocol": "tcp", "port": 80, "to": "a"}]},
    "routed": {"deny": "reject"},
    "isolated": {"port_isolation": True},
}
_WITH_UPLINK = ("bridge", "routed", "nat")
_LIBRARIES_FIRST = "install what is missing among the libraries first"


def examine(topology: Topology | None = None) -> tuple[Check, ...]:
    """Examine the machine; nothing is changed, and no root is needed.

    ``topology`` is compared with the machine's routes; by default those of the labs that are up.
    """
    from vnetlab.kernel.doctor.interference import interference
    from vnetlab.kernel.doctor.libraries import libraries
    from vnetlab.kernel.doctor.limits import limits
    from vnetlab.kernel.doctor.privileges import privileges
    from vnetlab.kernel.doctor.virtualization import virtualization

    found = (
        *privileges(),
        *_features(),
        *libraries(),
        *limits(),
        *interference(_claims(topology)),
        *_promises(topology),
        *virtualization(),
    )
    order = list(Area)
    return tuple(sorted(found, key=lambda check: order.index(check.area)))


def _features() -> tuple[Check, ...]:
    from vnetlab.errors import VnetlabError
    from vnetlab.kernel.agent import Agent

    try:
        # Both need libraries, and the lines of those say which are not there.
        from vnetlab.kernel.doctor import features
        from vnetlab.settings import NODE

        with Agent(None, features.PRELOAD) as trying:
            return trying.call(features.examine, features.Wanted(_modes(), NODE))
    except (ImportError, VnetlabError) as error:
        finding = f"not tried: {error}"
        return (Check(Area.MODES, "all modes", State.MISSING, finding, _LIBRARIES_FIRST),)


def _modes() -> tuple[Try, ...]:
    """Return a try of each mode: the needs of a lab that has a network of it, with its usual options."""
    from vnetlab.compile import compile_topology
    from vnetlab.kernel import detect
    from vnetlab.kernel.doctor.features import Try
    from vnetlab.topology.model import Mode

    told = "all that such a lab is made of was made in scratch namespaces"
    return tuple(
        Try(Area.MODES, str(mode), detect.needs(compile_topology(_lab(mode))), told=told) for mode in Mode
    )


def _lab(mode: Mode) -> Topology:
    """Return a lab of one network in a mode, in both address families."""
    from vnetlab.topology.model import Topology

    network: dict[str, object] = {"mode": str(mode), **_OPTIONS.get(mode, {})}
    if mode in _WITH_UPLINK:
        network["uplink"] = "eth0"
    if mode != "bridge":
        network["subnets"] = ["10.0.0.0/24", "fd00::/64"]
    host = {"nics": {"eth0": "lan"}, "networks": {"n": network}, "vms": {"a": "n", "b": "n"}}
    lan = {"subnets": ["192.0.2.0/24", "2001:db8::/64"]}
    return Topology.of(name="doctor", segments={"lan": lan}, hosts={"h": host})


def _claims(topology: Topology | None) -> tuple[Claim, ...]:
    from vnetlab.kernel.doctor.interference import Claim

    found = [topology] if topology is not None else _running()
    return tuple(
        Claim(subnet, f"network {each.name} on {each.host}")
        for lab in found
        for each in lab.networks
        if each.lan.host
        for subnet in each.subnets
    )


def _promises(topology: Topology | None) -> Iterator[Check]:
    """Yield what the machine's own rules would do to the promises of labs on it."""
    from vnetlab import local
    from vnetlab.errors import VnetlabError

    for each in [topology] if topology is not None else _running():
        if each.local is None:
            continue
        name = f"promises of {each.name}"
        try:
            found = local.hindered(local.seen(each, each.name), each.name)
        except (ImportError, VnetlabError) as error:
            remedy = _LIBRARIES_FIRST if isinstance(error, ImportError) else "run it as root"
            yield Check(Area.INTERFERENCE, name, State.UNKNOWN, f"not looked at: {error}", remedy)
            continue
        if found:
            from vnetlab.interference import REMEDY

            yield Check(Area.INTERFERENCE, name, State.LIMITED, "; ".join(map(str, found)), REMEDY)
        else:
            yield Check(Area.INTERFERENCE, name, State.OK, "kept by this machine's own rules too")


def _running() -> list[Topology]:
    """Return the topologies of the labs that are up; one that ends meanwhile is left out."""
    from vnetlab.description import decode
    from vnetlab.errors import VnetlabError
    from vnetlab.kernel.holder import Holder, labs

    found: list[Topology] = []
    for info in labs():
        try:
            with Holder.find(info.name) as holder:
                found.append(decode(holder.description()).topology())
        except (VnetlabError, ImportError):
            continue
    return found
