"""Finds out what a State needs and this machine lacks, by trying it before anything is made.

Everything is tried in scratch namespaces of a child process, which end with it. Kernel versions are not
asked: distributions port features back and leave them out.
"""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from vnetlab import plan
from vnetlab.errors import Absent, FeatureUnavailable, KernelError
from vnetlab.kernel import agent, nftables, tap
from vnetlab.kernel.apply import apply
from vnetlab.kernel.enclosure import RefusedError
from vnetlab.kernel.holder import absent_namespace
from vnetlab.state import Bridge, Namespace, State, Tap, Veth

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.kernel.spaces import Spaces
    from vnetlab.state import Link, NftChain, NftTable, Sysctl

PRELOAD = ("vnetlab.kernel.detect", *agent.PRELOAD)
"""What the agent of a try imports; `missing()` takes one that was started earlier."""


_KEPT = 100
_found: dict[tuple[int, Needs], None] = {}
"""The last States' needs of which this process found that nothing is missing."""
_NFT_REMEDY = "a kernel with nf_tables and this part of it (`modprobe nf_tables`)"
_OPERAND = re.compile(r"""\S*[\d"$@{}]\S*""")


class Ruleset(Struct, frozen=True):
    """The tables of one namespace, and the devices that their netdev chains hook into."""

    tables: tuple[NftTable, ...]
    devices: tuple[str, ...]


class Needs(Struct, frozen=True):
    """What a State asks of the kernel, each thing once."""

    bridge: bool
    veth: bool
    isolated: bool
    tap: bool
    sysctls: tuple[Sysctl, ...]
    """Of namespaces, not of devices, which do not exist yet."""
    rulesets: tuple[Ruleset, ...]


def begin() -> agent.Agent | None:
    """Start what missing() tries features in, so that it imports meanwhile; None where all may be known."""
    return None if _found else agent.Agent(None, PRELOAD)


def missing(state: State, scratch: agent.Agent | None = None) -> tuple[Absent, ...]:
    """Return every feature that the State needs and the machine lacks; nothing stays behind.

    ``scratch`` is what begin() started; it is closed. What was there when this process tried it, as the
    user that it is now, is not tried again.
    """
    wanted = needs(state)
    key = os.geteuid(), wanted
    if key in _found:
        if scratch:
            scratch.close()
        return ()
    with scratch or agent.Agent(None, PRELOAD) as trying:
        absent = trying.call(attempt, wanted)
    if not absent:
        _found[key] = None
        if len(_found) > _KEPT:
            del _found[next(iter(_found))]
    return absent


def needs(state: State) -> Needs:
    """Return what a State asks of the kernel. Pure."""
    links = [link for namespace in state.namespaces for link in namespace.links]
    sysctls = {s.key: s for namespace in state.namespaces for s in namespace.sysctls}
    return Needs(
        bridge=any(isinstance(link, Bridge) for link in links),
        veth=any(isinstance(link, Veth) for link in links),
        isolated=any(link.isolated for link in links),
        tap=any(isinstance(link, Tap) for link in links),
        sysctls=tuple(s for s in sysctls.values() if not _is_of_device(s.key)),
        rulesets=tuple(_ruleset(n) for n in state.namespaces if n.tables),
    )


def _ruleset(namespace: Namespace) -> Ruleset:
    netdev = [table for table in namespace.tables if table.family == "netdev"]
    words = {
        word
        for table in netdev
        for text in (*(c.hook for c in table.chains), *(value for _, value in table.defines))
        for word in re.findall(r"[\w.-]+", text)
    }
    devices = tuple(link.name for link in namespace.links if link.name in words)
    return Ruleset(namespace.tables, devices)


def attempt(context: Spaces | RefusedError, wanted: Needs) -> tuple[Absent, ...]:
    """Try everything, in an agent without a lab; return what failed."""
    found = list(_without_namespaces(wanted))
    if isinstance(context, RefusedError):
        found.insert(0, absent_namespace(context.step, context.number))
    else:
        found += _links(context, wanted)
        found += _sysctls(context, wanted)
        if not any(absent.feature == nftables.FEATURE for absent in found):
            found += _rulesets(context, wanted)
    return tuple(dict.fromkeys(found))


def _is_of_device(key: str) -> bool:
    parts = key.split("/")
    return len(parts) > 3 and parts[2] in ("conf", "neigh") and parts[3] not in ("all", "default")


def _without_namespaces(wanted: Needs) -> Iterator[Absent]:
    if wanted.rulesets:
        try:
            nftables.library()
        except FeatureUnavailable as error:
            yield from error.absent
    if wanted.tap:
        try:
            os.close(os.open(tap.DEVICE, os.O_RDWR | os.O_CLOEXEC))
        except OSError as error:
            yield _absent_tun(error)


def _absent_tun(error: OSError) -> Absent:
    evidence = f"{tap.DEVICE}: {error.strerror}"
    if error.errno in (errno.EACCES, errno.EPERM):
        remedy = f"run as root, `chmod 0666 {tap.DEVICE}` as root, or leave `backend: tap` out"
        return Absent("tap devices", evidence, remedy)
    if error.errno == errno.ENOENT:
        remedy = "`modprobe tun`; in a container, start it with `--device /dev/net/tun`"
        return Absent("tap devices", evidence, remedy)
    return Absent("tap devices", evidence, "`modprobe tun`")


def _links(spaces: Spaces, wanted: Needs) -> Iterator[Absent]:
    bridge = Bridge(name="bridge")
    if wanted.bridge:
        yield from _try(spaces, "bridges", "bridge", _lone("bridges", bridge))
    if wanted.veth:
        yield from _try(spaces, "veth pairs", "veth", _pair("veth"))
    if wanted.isolated and wanted.veth:
        ports = _pair("isolated", bridge)
        yield from _try(spaces, "isolated bridge ports", "bridge", ports)
    if wanted.tap and os.access(tap.DEVICE, os.R_OK | os.W_OK):
        yield from _try(spaces, "tap devices", "tun", _lone("taps", Tap(name="tap")))


def _lone(name: str, *links: Link) -> State:
    return State((Namespace(name, "host", links=links),))


def _pair(name: str, *bridges: Bridge) -> State:
    master = bridges[0].name if bridges else ""
    far = f"{name}-far"
    near = Veth(name="a", master=master, isolated=bool(master), peer_namespace=far, peer="b")
    other = Namespace(far, "vm", links=(Veth(name="b", peer_namespace=name, peer="a"),))
    return State((*_lone(name, *bridges, near).namespaces, other))


def _try(spaces: Spaces, feature: str, module: str, state: State) -> Iterator[Absent]:
    """Make devices through the same code that makes a lab."""
    try:
        apply(spaces, plan.build(_unused(spaces, state)))
    except KernelError as error:
        yield Absent(feature, str(error), f"`modprobe {module}`, or a kernel that has it")


def _unused(spaces: Spaces, state: State) -> State:
    """Return the State in namespaces that an earlier try has not made; a veth's peer moves with it."""
    mark = f"-{len(spaces.names())}"
    return State(
        tuple(
            replace(
                namespace,
                name=namespace.name + mark,
                links=tuple(
                    replace(link, peer_namespace=link.peer_namespace + mark)
                    if isinstance(link, Veth)
                    else link
                    for link in namespace.links
                ),
            )
            for namespace in state.namespaces
        )
    )


def _sysctls(spaces: Spaces, wanted: Needs) -> Iterator[Absent]:
    name = f"sysctls-{len(spaces.names())}"
    spaces.create(name)
    with spaces.inside(name):
        for setting in wanted.sysctls:
            if setting.key.startswith("net/ipv6/") and not Path("/proc/sys/net/ipv6").exists():
                yield Absent("IPv6", "no /proc/sys/net/ipv6", "boot without `ipv6.disable=1`")
                continue
            try:
                spaces.settings.write((setting,))
            except KernelError as error:
                remedy = "a /proc that is mounted writable, and a kernel that has the setting"
                yield Absent("network settings", str(error), remedy)


def _rulesets(spaces: Spaces, wanted: Needs) -> Iterator[Absent]:
    for number, ruleset in enumerate(wanted.rulesets):
        name = f"ruleset-{number}-{len(spaces.names())}"
        try:
            apply(spaces, plan.build(_lone(name, *(Bridge(name=d) for d in ruleset.devices))))
        except KernelError:  # no bridges, which _links() has said
            continue
        with spaces.inside(name):
            for table in ruleset.tables:
                yield from _table(table)


def _table(table: NftTable) -> Iterator[Absent]:
    try:
        nftables.load(table)
    except KernelError as error:
        parts = tuple(_refused_parts(table))
        yield from parts
        if not parts:
            yield Absent(f"nftables family {table.family}", _short(error), _NFT_REMEDY)


def _refused_parts(table: NftTable) -> Iterator[Absent]:
    """Load each chain without rules, then each kind of rule on its own, and tell which is refused."""
    empty = tuple(replace(chain, rules=()) for chain in table.chains)
    seen: set[tuple[str, str]] = set()
    for number, chain in enumerate(table.chains):
        kind = " ".join(chain.hook.split()[:4])  # such as "type nat hook prerouting"
        if ("", kind) in seen:
            continue
        yield from _refused(f"nftables {table.family} {kind}", table, (empty[number],))
        seen.add(("", kind))
        for rule in chain.rules:
            shape = _OPERAND.sub("", rule.text)
            if (shape, kind) in seen:
                continue
            seen.add((shape, kind))
            chains = (*empty[:number], replace(chain, rules=(rule,)), *empty[number + 1 :])
            yield from _refused(f"nftables {table.family} `{rule.text}`", table, chains)


def _refused(feature: str, table: NftTable, chains: tuple[NftChain, ...]) -> Iterator[Absent]:
    try:
        nftables.load(replace(table, chains=chains))
    except KernelError as error:
        yield Absent(feature, _short(error), _NFT_REMEDY)
    else:
        nftables.delete(table)


def _short(error: KernelError) -> str:
    """Return the first error that nft reports, without the line it quotes."""
    lines = str(error).splitlines()
    return next((line for line in lines if "Error:" in line), lines[0]).rpartition("Error: ")[2]
