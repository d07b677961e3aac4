"""Names and choices that users give, checked before anything is done with them."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING

from vnetlab.errors import UserError
from vnetlab.guarantees import Outcome
from vnetlab.topology.model import Expect, Family
from vnetlab.visible import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

LAB_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?")
LAB_NAME_LENGTH = 1_000


def checked_name(name: str) -> str:
    """Return a lab's name; raises UserError for one that no lab can have."""
    if not LAB_NAME.fullmatch(name):
        raise UserError(
            f"lab name {name!r}: use letters, digits and underscores, within it dots and dashes too"
        )
    if len(name) > LAB_NAME_LENGTH:
        raise UserError(f"lab name {name!r}: over {LAB_NAME_LENGTH} characters; give a shorter one")
    return name


def checked_choice(what: str, value: str, choices: Sequence[str]) -> str:
    """Return the value if it is one of the choices, else raise UserError naming them."""
    if value not in choices:
        raise UserError(f"{what} {value!r}: is one of {', '.join(choices)}")
    return str(value)


def unknown_node(lab: str, name: str, nodes: Sequence[str]) -> str:
    """Return what to say of a node that a lab does not have, with the nearest name."""
    near = get_close_matches(name, nodes, n=1)
    hint = f"did you mean {near[0]}?" if near else "vnetlab status lists the nodes"
    return f"lab {lab} has no node {visible(name)}; {hint}"


def checked_expect(
    source: str, destination: str, protocol: str, outcome: str, port: int, family: str | None
) -> Expect:
    """Return the expectation that these words mean; raises UserError for a word that means nothing."""
    return Expect(
        source,
        destination,
        checked_choice("protocol", protocol, ("icmp", "tcp", "udp")),
        checked_choice("outcome", outcome, tuple(Outcome)),
        port,
        None if family is None else Family(checked_choice("family", family, tuple(Family))),
    )
