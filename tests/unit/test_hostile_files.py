"""What is given as a topology file and is none, or none of a sensible size."""

from __future__ import annotations

import io
import os
import threading
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from vnetlab import plan
from vnetlab.compile import compile_topology
from vnetlab.description import decode
from vnetlab.errors import LabLost, TopologyError, UserError
from vnetlab.modes import guarantees_for
from vnetlab.modes.size import MAX_NODES
from vnetlab.report.plan_tree import print_plan
from vnetlab.state import COMMENT_BYTES, NftRule
from vnetlab.topology import load as loading
from vnetlab.topology.model import Topology
from vnetlab.visible import visible, visible_lines

if TYPE_CHECKING:
    from pathlib import Path


def complaint(path: str | Path) -> str:
    with pytest.raises(TopologyError) as caught:
        Topology.load(path)
    return str(caught.value)


def test_a_device_without_end_is_read_up_to_the_limit() -> None:
    assert complaint("/dev/zero") == (
        "/dev/zero: file: has more than 16,777,216 bytes; give the topology as a file"
    )


def test_a_pipe_that_nobody_writes_to_does_not_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "PATIENCE", 1)
    os.mkfifo(tmp_path / "pipe.yaml")
    assert "nothing came from it for 1 s" in complaint(tmp_path / "pipe.yaml")


def test_a_pipe_is_a_file_when_its_writer_closes_it(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.yaml"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_text("machines: {a: lan}\nsegments: {lan: {}}\n"))
    writer.start()
    topology = Topology.load(pipe)
    writer.join()
    assert list(topology.machines) == ["a"]


def test_a_directory_a_loop_and_a_name_with_a_zero_byte(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert "Is a directory" in complaint(tmp_path)
    assert "symbolic links" in complaint(tmp_path / "loop")
    assert "Invalid argument" in complaint("a\0b")


def test_a_file_over_the_limit_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "big.yaml"
    file.write_bytes(b"#" * (10 << 20))
    assert "at most 4,194,304 characters" in complaint(file)


def test_names_of_files_cannot_speak_to_the_terminal(tmp_path: Path) -> None:
    file = tmp_path / "a\x1b[31m\nb.yaml"
    file.write_text("x: 1\n")
    assert r"a\x1b[31m\nb.yaml:1:1: x" in complaint(file)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ä €", "plain ä €"),
        ("\x1b[2J\x7f\x85", r"\x1b[2J\x7f\x85"),
        ("a\nb\tc", r"a\nb\tc"),
        ("\u202e\u200b\ufeff", r"\u202e\u200b\ufeff"),
        ("\udcff", r"\udcff"),
    ],
)
def test_visible(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert visible_lines(f"{text}\n") == "\n".join(map(visible, f"{text}\n".split("\n")))


def test_comments_that_nft_would_refuse_are_cut_and_stay_apart() -> None:
    one, other = (NftRule("accept", "n" * 200 + end) for end in "ab")
    assert len(one.comment) == COMMENT_BYTES
    assert one.comment != other.comment
    assert NftRule("accept", one.comment).comment == one.comment
    assert NftRule("accept", "ä" * 64).comment == "ä" * 64
    assert len(NftRule("accept", "ä" * 65).comment.encode()) <= COMMENT_BYTES


def many(hosts: int, vms: int) -> Topology:
    """Return a lab of so many hosts, each with a network of so many VMs."""
    lines = ["segments: {lan: {subnets: [10.0.0.0/8]}}", "hosts:"]
    for host in range(hosts):
        lines += [f"  h{host}:", "    nics: {e: lan}"]
        lines += ["    networks: {n: {mode: nat, subnets: [192.168.0.0/20]}}", "    vms:"]
        lines += [f"      v{host}x{vm}: n" for vm in range(vms)]
    return Topology.parse("\n".join(lines))


def test_a_plan_of_many_vms_is_printed_in_linear_time() -> None:
    """Ten times as many VMs, well under a hundred times the lines looked at."""
    topology = many(4, 500)
    state = compile_topology(topology)
    out = io.StringIO()
    print_plan(Console(file=out, width=100, markup=False), "many", plan.build(state).steps, state)
    assert out.getvalue().count("\nv3x") == 500


def test_more_machines_than_can_be_judged_are_refused_before_they_fill_the_memory() -> None:
    with pytest.raises(UserError, match="are about pairs"):
        guarantees_for(many(2, MAX_NODES // 2))


@pytest.mark.parametrize("data", [b"{", b"[]", b'{"nodes": 1}', b'{"nodes": [{"x": 1}]}', b"\xff"])
def test_a_holder_that_answers_nonsense(data: bytes) -> None:
    with pytest.raises(LabLost):
        decode(data)
