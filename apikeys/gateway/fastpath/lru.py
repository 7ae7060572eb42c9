"""The keys that a gateway process remembers: bounded, and dropped one by one. Not a clock, not a database: no ORM."""

from __future__ import annotations

from typing import Generic, TypeVar

Value = TypeVar("Value")


class TwoGenerations(Generic[Value]):
    """At most ``limit`` values, of which the least recently used half goes at a time.

    What is found costs one look-up and writes nothing, unlike a list kept in order of use. Only the event loop's thread
    may use it.
    """

    __slots__ = ("_half", "_old", "_young", "turns")

    def __init__(self, limit: int) -> None:
        self._half = max(limit // 2, 1)
        self._young: dict[str, Value] = {}
        self._old: dict[str, Value] = {}
        #: How often the half went that was not used.
        self.turns = 0

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, name: str) -> Value | None:
        value = self._young.get(name)
        if value is None and self._old:
            value = self._old.pop(name, None)
            if value is not None:
                self.put(name, value)
        return value

    def put(self, name: str, value: Value) -> None:
        if len(self._young) >= self._half and name not in self._young:
            self._old, self._young = self._young, {}
            self.turns += 1
        self._old.pop(name, None)
        self._young[name] = value

    def drop(self, name: str) -> None:
        self._young.pop(name, None)
        self._old.pop(name, None)

    def clear(self) -> None:
        self._young.clear()
        self._old.clear()
