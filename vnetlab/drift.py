"""What of a State that was read back is not as in the one that was compiled, in words. Pure.

Compared is what becomes of packets: rules by their meaning, settings by their effect. A State that was read
back holds some settings of a namespace and not all, so only those that it holds count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnetlab.predict.space import written
from vnetlab.predict.tables import understood
from vnetlab.switching import changed

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping, Sequence

    from vnetlab.predict.rules import Chain, Rule
    from vnetlab.state import Address, Link, Namespace, NftTable, State

_DEVICE_SETTINGS = ("net/ipv4/conf/", "net/ipv6/conf/")
_LOOPBACK = "lo"


def drift(compiled: State, present: State) -> tuple[str, ...]:
    """Return each difference as ``NAMESPACE: what``; nothing where the states mean the same."""
    there = {namespace.name: namespace for namespace in present.namespaces}
    found: list[str] = []
    for wanted in compiled.namespaces:
        actual = there.pop(wanted.name, None)
        if actual is None:
            found.append(f"{wanted.name}: is gone")
        else:
            found += [f"{wanted.name}: {what}" for what in _of_namespace(wanted, actual)]
    return (*found, *(f"{name}: is there besides" for name in there))


def _of_namespace(wanted: Namespace, actual: Namespace) -> Iterator[str]:
    yield from _of_tables(wanted.tables, actual.tables)
    yield from _of_links(wanted.links, actual.links)
    yield from _of_sets([f"route {r}" for r in wanted.routes], [f"route {r}" for r in actual.routes])
    yield from _of_sets([_address(a) for a in wanted.addresses], [_address(a) for a in actual.addresses])
    before, after = ([f"neighbour {n}" for n in each.neighbours] for each in (wanted, actual))
    yield from _of_sets(before, after)
    yield from _of_settings(wanted, actual)
    yield from (f"has {what}" for what in actual.unplanned if what not in wanted.unplanned)


def _of_sets(wanted: Sequence[str], actual: Sequence[str]) -> Iterator[str]:
    yield from (f"lacks {each}" for each in wanted if each not in set(actual))
    yield from (f"has {each} besides" for each in actual if each not in set(wanted))


def _address(address: Address) -> str:
    return f"address {address.address} of {address.device}"


def _of_links(wanted: Sequence[Link], actual: Sequence[Link]) -> Iterator[str]:
    there = {link.name: link for link in actual}
    for link in wanted:
        found = there.pop(link.name, None)
        if found is None:
            yield f"lacks device {_named(link)}"
        elif type(found) is not type(link):
            yield f"{_named(link)} is a {type(found).__name__} instead of a {type(link).__name__}"
        else:
            yield from _of_link(link, found)
    yield from (f"has device {_named(link)} besides" for link in there.values())


def _of_link(wanted: Link, actual: Link) -> Iterator[str]:
    for name in wanted.__struct_fields__:
        before, after = getattr(wanted, name), getattr(actual, name)
        if before == after or (name == "mac" and not before):
            continue
        if name == "up":
            yield f"{_named(wanted)} is down"
        elif name == "options":
            yield from _of_options(wanted, actual)
        else:
            yield f"{name} of {_named(wanted)} is {after or 'none'} instead of {before or 'none'}"


def _of_options(wanted: Link, actual: Link) -> Iterator[str]:
    found = {option.name: option.value for option in actual.options}
    for option in changed(actual.options, wanted.options, wanted.usual):
        value = found.get(option.name, wanted.usual[option.name])
        yield f"{option.name} of {_named(wanted)} is {value} instead of {option.value}"


def _named(link: Link) -> str:
    return f"{link.name} ({link.altname})" if link.altname else link.name


def _of_settings(wanted: Namespace, actual: Namespace) -> Iterator[str]:
    before = written(wanted.sysctls)
    for key, value in written(actual.sysctls).items():
        promised = before.get(key, before.get(_default_of(key)))
        if promised is not None and promised != value:
            yield f"{key} is {value} instead of {promised}"


def _default_of(key: str) -> str:
    """Return the setting that a device starts from; empty for one that is of no device, or of `lo`."""
    for start in _DEVICE_SETTINGS:
        device, _, name = key.removeprefix(start).partition("/")
        if key.startswith(start) and device not in ("all", "default", _LOOPBACK):
            return f"{start}default/{name}"
    return ""


def _of_tables(wanted: Sequence[NftTable], actual: Sequence[NftTable]) -> Iterator[str]:
    there = {(table.family, table.name): table for table in actual}
    for table in wanted:
        name = f"table {table.family} {table.name}"
        found = there.pop((table.family, table.name), None)
        if found is None:
            yield f"lacks {name}"
        else:
            yield from _of_chains(understood(table), understood(found))
    yield from (f"has table {family} {name} besides" for family, name in there)


def _of_chains(wanted: Mapping[str, Chain], actual: Mapping[str, Chain]) -> Iterator[str]:
    for name, chain in wanted.items():
        found = actual.get(name)
        if found is None:
            yield f"lacks chain {chain.label}"
            continue
        if found.hook != chain.hook:
            yield f"chain {chain.label} hooks in otherwise"
        yield from _of_rules(chain, found)
    yield from (f"has chain {chain.label} besides" for name, chain in actual.items() if name not in wanted)


def _of_rules(wanted: Chain, actual: Chain) -> Iterator[str]:
    missing, besides = _without(wanted.rules, actual.rules), _without(actual.rules, wanted.rules)
    labels = {rule.label for rule in besides}
    yield from (f"{wanted.label} lacks `{rule.label}`" for rule in missing if rule.label not in labels)
    labels = {rule.label for rule in missing}
    for rule in besides:
        what = "says otherwise" if rule.label in labels else "is there besides"
        yield f"{wanted.label}: `{rule.label}` {what}"
    if not missing and not besides and wanted.rules != actual.rules:
        yield f"{wanted.label} has its rules in another order"


def _without(rules: Sequence[Rule], others: Sequence[Hashable]) -> list[Rule]:
    left = list(others)
    found = []
    for rule in rules:
        if rule in left:
            left.remove(rule)
        else:
            found.append(rule)
    return found
