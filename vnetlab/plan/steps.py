"""The steps that a plan is made of, as values: each one thing to do in one namespace. Nothing here acts.

Those of devices, and of what devices carry, are in device_steps.py.
"""

from __future__ import annotations

from abc import abstractmethod
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from msgspec import Struct

if TYPE_CHECKING:
    from vnetlab.plan.flows import Concern
    from vnetlab.plan.tables import TableChange
    from vnetlab.state import NftTable, Sysctl


class Effect(StrEnum):
    """What a step does to what is there."""

    ADD = "add"
    CHANGE = "change"
    REMOVE = "remove"


class Step(Struct, frozen=True):
    """One thing to do in one namespace."""

    namespace: str

    effect: ClassVar[Effect] = Effect.ADD

    def describe(self) -> str:
        """Return the step in one line."""
        return f"{self.namespace}: {self._what()}"

    @abstractmethod
    def _what(self) -> str: ...


class CreateNamespace(Step, frozen=True):
    """Make an empty network namespace."""

    kind: str

    def _what(self) -> str:
        return f"create network namespace of {self.kind}"


class RemoveNamespace(Step, frozen=True):
    """Remove a network namespace, with every process and device in it."""

    effect: ClassVar[Effect] = Effect.REMOVE

    def _what(self) -> str:
        return "remove network namespace"


class SetSysctls(Step, frozen=True):
    """Write settings, in this order: those of the namespace, or those of its devices."""

    sysctls: tuple[Sysctl, ...]

    effect: ClassVar[Effect] = Effect.CHANGE

    def _what(self) -> str:
        settings = ", ".join(f"{sysctl.key}={sysctl.value}" for sysctl in self.sysctls)
        return f"set {settings}"


class LoadTable(Step, frozen=True):
    """Load one nftables table as a transaction."""

    table: NftTable

    def _what(self) -> str:
        rules = sum(len(chain.rules) for chain in self.table.chains)
        return f"load nftables table {self.table.family} {self.table.name}, {rules} rules"


class ChangeTables(Step, frozen=True):
    """Change nftables tables, all as one transaction."""

    changes: tuple[TableChange, ...]

    effect: ClassVar[Effect] = Effect.CHANGE

    def _what(self) -> str:
        return "; ".join(change.describe() for change in self.changes)


class EndFlows(Step, frozen=True):
    """Have live flows judged again by the rules that have changed."""

    concern: Concern

    effect: ClassVar[Effect] = Effect.CHANGE

    def _what(self) -> str:
        return "judge live flows anew that the change concerns"


class MoveNic(Step, frozen=True):
    """Make a NIC of this very machine a port of a bridge, which takes over its addresses and routes."""

    nic: str
    bridge: str

    effect: ClassVar[Effect] = Effect.CHANGE

    def _what(self) -> str:
        return f"move addresses and routes of {self.nic} onto {self.bridge}, and make it a port of that"


class MoveNicBack(Step, frozen=True):
    """Have a NIC of this very machine a port no more, and give it back what its bridge carries."""

    nic: str
    bridge: str

    effect: ClassVar[Effect] = Effect.CHANGE

    def _what(self) -> str:
        return f"move addresses and routes of {self.bridge} back onto {self.nic}, which is its port no more"


class ReleaseSettings(Step, frozen=True):
    """Give settings of this very machine the values of before labs again, if no other lab needs them."""

    keys: tuple[str, ...]

    effect: ClassVar[Effect] = Effect.CHANGE

    def _what(self) -> str:
        return f"give back {', '.join(self.keys)}"


class Plan(Struct, frozen=True):
    """Steps in the order in which they are to be done."""

    steps: tuple[Step, ...]
