"""The author's own guarantees (`expect` in the file), beside those that the modes imply."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnetlab.guarantees import Guarantee, Outcome, Protocol, Special
from vnetlab.modes.journey import answer_returns, travel
from vnetlab.modes.packet import Fate, Packet
from vnetlab.modes.pairs import first_hop
from vnetlab.modes.promise import Kind, Label, flow_of, own_address
from vnetlab.topology.model import Family

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.modes.world import Hop, Interface, World
    from vnetlab.topology.model import Expect


def expected(world: World, expect: Expect) -> Iterator[Guarantee]:
    """Yield the author's guarantee, one for each family that it holds for."""
    families = (expect.family,) if expect.family else tuple(Family)
    for family in families:
        found = _best(world, expect, family)
        if found:
            target, hop, special = found
            yield _guarantee(world, expect, family, target, hop, special)


def _best(world: World, expect: Expect, family: Family) -> tuple[Interface, Hop, Special] | None:
    """Return the destination's interface to ask for: one on a shared link, else the first with a way."""
    mine = {i.lan for i in world.interfaces.get(expect.source, ())}
    candidates = [i for i in world.interfaces.get(expect.destination, ()) if i.address(family)]
    for target in sorted(candidates, key=lambda i: i.lan not in mine):
        address = target.address(family)
        assert address is not None
        hop, special = first_hop(world, expect.source, target, address.ip)
        if hop:
            return target, hop, special
    return None


def _guarantee(
    world: World, expect: Expect, family: Family, target: Interface, hop: Hop, special: Special
) -> Guarantee:
    address = target.address(family)
    assert address is not None
    sender = own_address(hop.by, address.ip, hop) or address.ip
    protocol, outcome = Protocol(expect.protocol), Outcome(expect.outcome)
    packet = Packet(sender, address.ip, expect.protocol, expect.port)
    port = f" port {expect.port}" if expect.port else ""
    about = Label(
        f"expect.{outcome}",
        f"the file expects {expect.protocol}{port} from {expect.source} to {expect.destination}: {outcome}",
        target.network,
    )
    return Guarantee(
        id=about.id,
        mode=about.mode,
        network=about.network_name,
        source=expect.source,
        destination=expect.destination,
        flow=flow_of(world, hop, packet, Kind(protocol, expect.port), special),
        expected=outcome,
        promise=about.promise,
        answered=outcome is Outcome.DELIVERED and _answered(world, expect, travel(world, packet, hop)),
    )


def _answered(world: World, expect: Expect, fate: Fate) -> bool:
    """Whether the topology has a way back; without a way there at all, an answer is expected too."""
    if fate.outcome is not Outcome.DELIVERED:
        return True
    return answer_returns(world, expect.source, fate)
