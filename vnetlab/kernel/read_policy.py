"""Policy rules from a dump, as far as there is a word for them. Numbers are those of linux/fib_rules.h."""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import TYPE_CHECKING

from vnetlab.kernel.netlink import attributes, number_of, text_of
from vnetlab.kernel.read_messages import network
from vnetlab.policy import BLACKHOLE, LOOKUP, NO_POLICY, PROHIBIT, UNREACHABLE, USUAL, Policy, PolicyRule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vnetlab.policy import TableRoute

_HEADER = struct.Struct("=BBBBBBBBI")  # struct fib_rule_hdr
_VERSIONS = {2: 4, 10: 6}
_ACTIONS = {1: LOOKUP, 6: BLACKHOLE, 7: UNREACHABLE, 8: PROHIBIT}
_DST, _SRC, _IIF, _PRIORITY, _MARK, _SUPPRESS, _TABLE, _MASK = 1, 2, 3, 6, 10, 14, 15, 16
_OIF, _PROTOCOL = 17, 21
_KNOWN = {_DST, _SRC, _IIF, _PRIORITY, _MARK, _SUPPRESS, _TABLE, _MASK, _OIF, _PROTOCOL}
_PLAIN_FLAGS = 1 | 8 | 16 | 0x10000
"""Permanent; a named device is not there; FIB_RULE_FIND_SADDR, which the kernel sets itself."""
_NOT_SUPPRESSED = 0xFFFFFFFF


def policy(rules: Iterable[memoryview], routes: Iterable[TableRoute]) -> tuple[Policy, tuple[str, ...]]:
    """Return the policy routing of a namespace, and in words what of it has no place in a State."""
    decoded = [rule(bytes(body)) for body in rules]
    odd = [each for each in decoded if isinstance(each, str)]
    kept: list[PolicyRule] = []
    for version, usual in USUAL.items():
        mine = tuple(each for each in decoded if isinstance(each, PolicyRule) and each.version == version)
        if mine == usual or (version == 6 and not mine):  # a kernel without IPv6 has none
            continue
        if mine[:1] != usual[:1]:
            odd.append(f"policy rules of IPv{version} that do not begin with the table local")
        else:
            kept += mine[1:]
    found = Policy(tuple(kept), tuple(routes))
    return NO_POLICY if found == NO_POLICY else found, tuple(odd)  # the very same one: it is pickled once


@lru_cache(maxsize=256)
def rule(body: bytes) -> PolicyRule | str | None:
    """Decode a policy rule; None for one of another family, text for what there is no word for."""
    family, to, source, tos, table, _, _, action, flags = _HEADER.unpack_from(body)
    version = _VERSIONS.get(family)
    if version is None:
        return None
    found = attributes(memoryview(body), _HEADER.size)
    priority = number_of(found, _PRIORITY)
    plain = not tos and not flags & ~_PLAIN_FLAGS and found.keys() <= _KNOWN and action in _ACTIONS
    if not plain or number_of(found, _SUPPRESS, _NOT_SUPPRESSED) != _NOT_SUPPRESSED:
        return f"policy rule {priority} of a kind that the model does not know"
    return PolicyRule(
        version,
        priority,
        number_of(found, _TABLE, table) if action == 1 else 0,
        _ACTIONS[action],
        network(family, found.get(_SRC), source) if source else None,
        network(family, found.get(_DST), to) if to else None,
        text_of(found.get(_IIF)),
        text_of(found.get(_OIF)),
        number_of(found, _MARK),
        number_of(found, _MASK),
    )
