"""Makes a lab whose host is this very machine.

Runs inside the lab (see agent.py). After an error the machine is as far as it got, and the journal says how
far: whoever started it undoes it (undo.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from vnetlab.kernel.local.journal import Journal, head, path_of
from vnetlab.kernel.local.steps import take
from vnetlab.kernel.ready import wait_ready

if TYPE_CHECKING:
    from vnetlab.kernel.spaces import Spaces
    from vnetlab.localise import OnMachine
    from vnetlab.plan import Plan
    from vnetlab.state import State


class Making(Struct, frozen=True):
    """All that a lab on this machine is made of."""

    where: OnMachine
    state: State
    plan: Plan
    hosts: str


def make(spaces: Spaces, making: Making) -> None:
    """Make the lab; returns when every address is usable.

    Raises KernelError, also for a name that is taken: nothing that was there before is ever changed or taken
    for the lab's own.
    """
    where = making.where
    spaces.adopt(where.host)
    with spaces.inside(where.host), Journal(path_of(where.lab)) as journal:
        journal.write(head(where.lab, where.facts))
    take(spaces, where, making.plan, making.state)
    wait_ready(spaces, making.state)
    spaces.write_hosts(making.hosts)
