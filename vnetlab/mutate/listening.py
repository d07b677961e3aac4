"""A world that has every question written down that a packet puts to it.

It answers as the world that it stands for; `recording.Recorder` hears of each question.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any, TypeVar

from vnetlab.mutate.queries import TOWARDS, WHOLE
from vnetlab.predict.fib import Fib
from vnetlab.predict.space import Space
from vnetlab.predict.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    from vnetlab.predict.fib import Entry, Look, OwnAddress, Way
    from vnetlab.predict.hooks import Hooks
    from vnetlab.predict.neighbour import Resolved
    from vnetlab.predict.space import Device
    from vnetlab.predict.world import NeighbourKey

    Ask = Callable[[str, int, str, tuple[Hashable, ...]], Any]
    """Takes namespace, part, question and what it is about; returns the answer. Raises Unknown."""
    Resolve = Callable[[NeighbourKey, Callable[[], Resolved]], Resolved]

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class _Answers(dict[_Key, _Value]):
    """A mapping of which each access is a question."""

    def __init__(self, ask: Callable[[_Key], Any], plain: Mapping[_Key, _Value]) -> None:
        super().__init__(plain)
        self._ask = ask

    def __getitem__(self, key: _Key) -> _Value:
        found: _Value | None = self._ask(key)
        if found is None:
            raise KeyError(key)
        return found

    def get(self, key: _Key, default: Any = None) -> Any:
        found = self._ask(key)
        return default if found is None else found

    def __contains__(self, key: object) -> bool:
        return self._ask(key) is not None  # type: ignore[arg-type]


class _Members(frozenset[int]):
    """A set of which each look is a question."""

    ask: Callable[[object], bool]

    def __contains__(self, value: object) -> bool:
        return self.ask(value)


class ListeningWorld(World):
    """A world whose every answer is written down by whoever listens."""

    def __init__(self, plain: World, ask: Ask, resolve: Resolve, hooks: Mapping[str, Hooks]) -> None:
        self.__dict__.update(copy(plain).__dict__)
        self.neighbours = {}
        self.spaces = {name: _Space(space, ask, hooks[name]) for name, space in plain.spaces.items()}
        self._ask = ask
        self._resolve = resolve

    def towards(self, space: Space, bridge: str, mac: str) -> tuple[Device, ...]:
        """Ask which ports of a bridge a MAC is behind."""
        found: tuple[Device, ...] = self._ask(space.name, WHOLE, TOWARDS, (bridge, mac))
        return found

    def resolved(self, key: NeighbourKey, ask: Callable[[], Resolved]) -> Resolved:
        """Ask who has an address."""
        return self._resolve(key, ask)


class _Space(Space):
    """A namespace that is listened to."""

    def __init__(self, plain: Space, ask: Ask, hooks: Hooks) -> None:
        self.namespace, self.name, self.kind, self.beyond = (
            plain.namespace, plain.name, plain.kind, plain.beyond,
        )  # fmt: skip
        self._listener = ask
        self._fibs = {version: _Fib(plain.fib(version), plain.name, version, ask) for version in (4, 6)}
        self.devices = self._asking("devices", plain.devices)
        # In the place of what would be worked out.
        self.__dict__["ports"] = self._asking("ports", plain.ports)
        self.__dict__["bridge_macs"] = self._asking("bridge_macs", plain.bridge_macs)
        self.__dict__["permanent_neighbours"] = self._asking(
            "permanent_neighbours", plain.permanent_neighbours
        )
        self.__dict__["hooks"] = hooks

    def _asking(self, what: str, plain: Mapping[_Key, _Value]) -> _Answers[_Key, _Value]:
        return _Answers(lambda key: self._listener(self.name, WHOLE, what, (key,)), plain)

    def _own(self, what: str, *about: Hashable) -> Any:
        return self._listener(self.name, WHOLE, what, about)

    def master_of(self, device: str) -> str:
        return str(self._own("master_of", device))

    def setting(self, family: str, device: str, name: str, default: int = 0) -> int:
        return int(self._own("setting", family, device, name, default))

    def most(self, family: str, device: str, name: str) -> int:
        return int(self._own("most", family, device, name))

    def plain_setting(self, key: str, default: int = 0) -> int:
        return int(self._own("plain_setting", key, default))

    def forwards(self, version: int, device: str) -> bool:
        return bool(self._own("forwards", version, device))

    def has_ipv6(self, device: str) -> bool:
        return bool(self._own("has_ipv6", device))

    def fib(self, version: int) -> Fib:
        return self._fibs[version]


class _Fib(Fib):
    """Addresses and routes that are listened to."""

    def __init__(self, plain: Fib, space: str, version: int, ask: Ask) -> None:
        self.version, self.bits = version, plain.bits
        self._space = space
        self._listener = ask
        self.broadcasts = self._members("broadcasts", plain.broadcasts)
        self.anycasts = self._members("anycasts", plain.anycasts)
        self.local = _Answers(lambda address: self._own("local", address), plain.local)

    def _members(self, what: str, plain: frozenset[int]) -> _Members:
        found = _Members(plain)
        found.ask = lambda address: bool(self._own(what, address))
        return found

    def _own(self, what: str, *about: Hashable) -> Any:
        return self._listener(self._space, self.version, what, about)

    def leading_out_of(self, device: str) -> tuple[Entry, ...]:
        found: tuple[Entry, ...] = self._own("leading_out_of", device)
        return found

    def is_local(self, address: int, device: str = "") -> bool:
        return bool(self._own("is_local", address, device))

    def on_device(self, address: int, device: str) -> bool:
        return bool(self._own("on_device", address, device))

    def of_device(self, device: str) -> list[OwnAddress]:
        found: list[OwnAddress] = self._own("of_device", device)
        return found

    def device_sharing(self, destination: int) -> str:
        return str(self._own("device_sharing", destination))

    def way(self, destination: int, device: str = "") -> Way | None:
        found: Way | None = self._own("way", destination, device)
        return found

    def type_of(self, address: int, device: str = "", way: Look | None = None) -> int:
        return int(self._own("type_of", address, device))

    def device_towards(self, address: int, device: str = "", way: Look | None = None) -> str:
        return str(self._own("device_towards", address, device))

    def select(self, device: str, towards: int) -> int | None:
        found: int | None = self._own("select", device, towards)
        return found

    def source_on(self, device: str, destination: int) -> int | None:
        found: int | None = self._own("source_on", device, destination)
        return found
