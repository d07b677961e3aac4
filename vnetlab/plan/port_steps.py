"""Steps that make a device a port of a bridge, or none, and say what ports and bridges do with frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from vnetlab.plan.steps import Effect, Step

if TYPE_CHECKING:
    from vnetlab.switching import Option


class AttachPort(Step, frozen=True):
    """Make a device a port of a bridge."""

    device: str
    bridge: str

    def _what(self) -> str:
        return f"attach {self.device} to bridge {self.bridge}"


class DetachPort(Step, frozen=True):
    """Make a device a port of no bridge."""

    device: str
    bridge: str

    effect: ClassVar[Effect] = Effect.REMOVE

    def _what(self) -> str:
        return f"detach {self.device} from bridge {self.bridge}"


class IsolatePort(Step, frozen=True):
    """Stop frames between a bridge port and the other isolated ones."""

    device: str

    def _what(self) -> str:
        return f"isolate port {self.device}"


class UnisolatePort(Step, frozen=True):
    """Let frames pass between a bridge port and the isolated ones."""

    device: str

    effect: ClassVar[Effect] = Effect.REMOVE

    def _what(self) -> str:
        return f"end isolation of port {self.device}"


class SetOptions(Step, frozen=True):
    """Give a bridge, or a port of one, options, in this order."""

    device: str
    of_bridge: bool
    options: tuple[Option, ...]

    effect: ClassVar[Effect] = Effect.CHANGE

    def _what(self) -> str:
        what = "bridge" if self.of_bridge else "port"
        return f"set {', '.join(map(str, self.options))} of {what} {self.device}"


class ForgetMacs(Step, frozen=True):
    """Have a bridge forget what it has learned to be behind one of its ports."""

    device: str

    effect: ClassVar[Effect] = Effect.CHANGE

    def _what(self) -> str:
        return f"forget who was heard by port {self.device}"


class ForwardPort(Step, frozen=True):
    """Have a port with carrier forward, if something keeps it from that."""

    device: str

    effect: ClassVar[Effect] = Effect.CHANGE

    def _what(self) -> str:
        return f"let port {self.device} forward"
