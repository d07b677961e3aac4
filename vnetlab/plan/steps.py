"""The steps that a plan is made of, as values: each one thing to do in one namespace. Nothing here acts.

Those of devices, and of what devices carry, are in device_steps.py.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from vnetlab.plan.flows import Concern
    from vnetlab.plan.tables import TableChange
    from vnetlab.state import NftTable, Sysctl


class Effect(StrEnum):
    """What a step does to what is there."""

    ADD = "add"
    CHANGE = "change"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class Step(ABC):
    """One thing to do in one namespace."""

    namespace: str

    effect: ClassVar[Effect] = Effect.ADD

    def describe(self) -> str:
        """Return the step in one line."""
        return f"{self.namespace}: {self._what()}"

    @abstractmethod
    def _what(self) -> str: ...


@dataclass(frozen=True, slots=True)
class CreateNamespace(Step):
    """Make an empty network namespace."""

    kind: str

    def _what(self) -> str:
        return f"create network namespace of {self.kind}"


@dataclass(frozen=True, slots=True)
class RemoveNamespace(Step):
    """Remove a network namespace, with every process and device in it."""

    effect: ClassVar[Effect] = Effect.REMOVE

    def _what(self) -> str:
        return "remove network namespace"


@dataclass(frozen=True, slots=True)
class SetSysctls(Step):
    """Write settings, in this order: those of the namespace, or those of its devices."""

    sysctls: tuple[Sysctl, ...]

    effect: ClassVar[Effect] = Effect.CHANGE

    def _what(self) -> str:
        settings = ", ".join(f"{sysctl.key}={sysctl.value}" for sysctl in self.sysctls)
        return f"set {settings}"


@dataclass(frozen=True, slots=True)
class LoadTable(Step):
    """Load one nftables table as a transaction."""

    table: NftTable

    def _what(self) -> str:
        rules = sum(len(chain.rules) for chain in self.table.chains)
        return f"load nftables table {self.table.family} {self.table.name}, {rules} rules"


@dataclass(frozen=True, slots=True)
class ChangeTables(Step):
    """Change nftables tables, all as one transaction."""

    changes: tuple[TableChange, ...]

    effect: ClassVar[Effect] = Effect.CHANGE

    def _what(self) -> str:
        return "; ".join(change.describe() for change in self.changes)


@dataclass(frozen=True, slots=True)
class EndFlows(Step):
    """Have live flows judged again by the rules that have changed."""

    concern: Concern

    effect: ClassVar[Effect] = Effect.CHANGE

    def _what(self) -> str:
        return "judge live flows anew that the change concerns"


@dataclass(frozen=True, slots=True)
class MoveNic(Step):
    """Make a NIC of this very machine a port of a bridge, which takes over its addresses and routes."""

    nic: str
    bridge: str

    effect: ClassVar[Effect] = Effect.CHANGE

    def _what(self) -> str:
        return f"move addresses and routes of {self.nic} onto {self.bridge}, and make it a port of that"


@dataclass(frozen=True, slots=True)
class MoveNicBack(Step):
    """Have a NIC of this very machine a port no more, and give it back what its bridge carries."""

    nic: str
    bridge: str

    effect: ClassVar[Effect] = Effect.CHANGE

    def _what(self) -> str:
        return f"move addresses and routes of {self.bridge} back onto {self.nic}, which is its port no more"


@dataclass(frozen=True, slots=True)
class ReleaseSettings(Step):
    """Give settings of this very machine the values of before labs again, if no other lab needs them."""

    keys: tuple[str, ...]

    effect: ClassVar[Effect] = Effect.CHANGE

    def _what(self) -> str:
        return f"give back {', '.join(self.keys)}"


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in the order in which they are to be done."""

    steps: tuple[Step, ...]
