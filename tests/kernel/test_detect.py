"""What is missing is named before anything is made, with its remedy. Each lack is made, not mocked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from machine import NO_USER_NAMESPACES

from vnetlab.kernel import detect
from vnetlab.kernel.agent import Agent
from vnetlab.state import (
    Bridge,
    Namespace,
    NftChain,
    NftRule,
    NftTable,
    State,
    Sysctl,
    Tap,
    Veth,
)

pytestmark = pytest.mark.kernel

WALL = 'type filter hook {hook} device "br0" priority 0; policy drop;'


def state(*rules: NftRule, tap: bool = False, sysctls: tuple[Sysctl, ...] = ()) -> State:
    tables = (
        NftTable(
            "inet",
            "test",
            (
                NftChain("nat", "type nat hook postrouting priority srcnat;", rules),
                NftChain("pass", "type filter hook forward priority filter; policy drop;", ()),
            ),
        ),
        NftTable("netdev", "test", (NftChain("out", WALL.format(hook="egress"), ()),), ()),
    )
    port = Veth(name="p", master="br0", isolated=True, peer_namespace="vm", peer="eth0")
    taps = (Tap(name="t0", master="br0"),) if tap else ()
    return State(
        (
            Namespace(
                "host",
                "host",
                links=(Bridge(name="br0"), port, *taps),
                tables=tables,
                sysctls=(Sysctl("net/ipv4/conf/br0/forwarding", "1"), *sysctls),
            ),
            Namespace("vm", "vm", links=(Veth(name="eth0", peer_namespace="host", peer="p"),)),
        )
    )


MASQUERADE = NftRule('oifname "br0" masquerade', "nat")

HIDING = """
import os, sys
from vnetlab.kernel import linux
user = linux.CLONE_NEWUSER if os.geteuid() else 0
uid, gid = os.geteuid(), os.getegid()
linux.unshare(linux.CLONE_NEWNS | user)
if user:
    maps = {"setgroups": "deny", "uid_map": f"{uid} {uid} 1", "gid_map": f"{gid} {gid} 1"}
    for name, text in maps.items():
        open("/proc/self/" + name, "w").write(text)
linux.mount("none", "/", "", linux.MS_REC | linux.MS_PRIVATE)
"""


def hide(path: str) -> str:
    return f"{HIDING}linux.mount('none', {path!r}, 'tmpfs', 0)\n"


TRY = """
sys.path[:0] = {here!r}
from vnetlab.kernel import detect
from test_detect import MASQUERADE, state
for absent in detect.missing(state(MASQUERADE, tap={tap})):
    print(absent)
"""


def try_without(python: list[str], preparation: str, tap: bool = False) -> list[str]:
    script = preparation + TRY.format(
        here=[str(folder) for folder in list(Path(__file__).parents)[:2]], tap=tap
    )
    done = subprocess.run([*python, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.fixture(autouse=True)
def nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have everything tried again, whatever other tests of this process have found."""
    monkeypatch.setattr(detect, "_found", {})


def test_nothing_is_missing_here() -> None:
    assert detect.missing(state(MASQUERADE)) == ()


def test_what_was_there_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = detect.begin()
    assert begun is not None
    assert detect.missing(state(MASQUERADE), begun) == ()
    assert detect.begin() is None
    with monkeypatch.context() as nobody:
        nobody.setattr("vnetlab.kernel.agent.Agent", lambda *_: pytest.fail("it was tried again"))
        assert detect.missing(state(MASQUERADE)) == ()
    odd = state(NftRule("ip saddr 10.0.0.1 strange 7", "x"))
    assert len(detect.missing(odd)) == 1
    assert len(detect.missing(odd)) == 1, "what is missing may come"


def test_an_agent_started_beforehand_is_used_and_closed() -> None:
    scratch = Agent(None, detect.PRELOAD)
    assert detect.missing(state(), scratch) == ()
    assert scratch.closed


def test_everything_missing_is_named_at_once() -> None:
    found = detect.missing(
        state(
            NftRule('oifname "br0" no-such-verdict', "x"),
            NftRule('oifname "br1" no-such-verdict', "x"),
            NftRule("ip saddr 10.0.0.1 strange 7", "x"),
            MASQUERADE,
            sysctls=(Sysctl("net/ipv4/no_such_key", "1"), Sysctl("net/ipv4/other_key", "1")),
        )
    )
    assert [absent.feature for absent in found] == [
        "network settings",
        "network settings",
        'nftables inet `oifname "br0" no-such-verdict`',
        "nftables inet `ip saddr 10.0.0.1 strange 7`",
    ]
    assert "net/ipv4/no_such_key" in found[0].evidence
    assert "syntax error" in found[2].evidence


def test_needs_are_those_of_the_state() -> None:
    needs = detect.needs(state(tap=True, sysctls=(Sysctl("net/ipv4/ip_forward", "1"),)))
    assert (needs.bridge, needs.veth, needs.isolated, needs.tap) == (True, True, True, True)
    assert [s.key for s in needs.sysctls] == ["net/ipv4/ip_forward"]
    assert [ruleset.devices for ruleset in needs.rulesets] == [("br0",)]
    nothing = detect.needs(State((Namespace("n", "vm"),)))
    assert nothing == detect.Needs(False, False, False, False, (), ())


def test_no_libnftables() -> None:
    binding = "/usr/lib/python3/dist-packages/nftables"
    if not Path(binding).is_dir():
        pytest.skip("the binding is not where Debian puts it")
    (line,) = try_without([sys.executable], hide(binding))
    assert line.startswith("libnftables: No module named 'nftables'")
    assert "apt install python3-nftables" in line


def test_no_tun_device() -> None:
    if not Path("/dev/net").is_dir():
        pytest.skip("there is no /dev/net to hide")
    (line,) = try_without([sys.executable], hide("/dev/net"), tap=True)
    assert line.startswith("tap devices: /dev/net/tun: No such file or directory; `modprobe tun`")


def test_tun_device_of_root(ordinary_user: list[str]) -> None:
    if not Path("/dev/net/tun").exists() or Path("/dev/net/tun").stat().st_mode & 0o006:
        pytest.skip("/dev/net/tun is missing, or open to everyone")
    (line,) = try_without(ordinary_user, "import sys\n", tap=True)
    assert line.startswith("tap devices: /dev/net/tun: Permission denied; run as root")


def test_no_user_namespaces(ordinary_user: list[str]) -> None:
    (line,) = try_without(ordinary_user, NO_USER_NAMESPACES)
    assert line == (
        "namespaces: user namespace: No space left on device; "
        "run as root, or raise `sysctl user.max_user_namespaces`"
    )


def test_an_ordinary_user_lacks_nothing(ordinary_user: list[str]) -> None:
    assert try_without(ordinary_user, "import sys\n") == []


def test_nothing_stays() -> None:
    before = sorted(Path("/proc/self/fd").iterdir())
    detect.missing(state(MASQUERADE))
    assert sorted(Path("/proc/self/fd").iterdir()) == before
