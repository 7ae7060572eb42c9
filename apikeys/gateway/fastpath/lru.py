"""A bounded cache that evicts by generations and looks up without writing. Pure: no Django, no clock."""

from __future__ import annotations

from typing import Generic, TypeVar

Value = TypeVar("Value")


class GenerationalCache(Generic[Value]):
    """At most ``limit`` values; when it is full, the half that was not used recently is evicted.

    A hit in the newer half takes one look-up and writes nothing, unlike a list in order of use. Only the thread of the
    event loop may use it.
    """

    __slots__ = ("_half", "_old", "_young", "generation")

    def __init__(self, limit: int) -> None:
        self._half = max(limit // 2, 1)
        self._young: dict[str, Value] = {}
        self._old: dict[str, Value] = {}
        #: Number of evictions so far.
        self.generation = 0

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
            self.generation += 1
        self._old.pop(name, None)
        self._young[name] = value

    def drop(self, name: str) -> None:
        self._young.pop(name, None)
        self._old.pop(name, None)

    def clear(self) -> None:
        self._young.clear()
        self._old.clear()
