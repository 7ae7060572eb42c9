"""Tables that apps fill in `AppConfig.ready()` and that are closed after start. Pure: no models, no settings."""

from collections.abc import Iterator, Mapping
from typing import TypeVar

from django.apps import apps

K = TypeVar("K")
V = TypeVar("V")


class RegistrationError(Exception):
    """An app registers an entry a second time, or after start."""


def require_start() -> None:
    """Raise `RegistrationError` once Django has started: what was read meanwhile would lack the entry."""
    if apps.ready:
        raise RegistrationError("Register in AppConfig.ready(): the portal has started.")


class Registry(Mapping[K, V]):
    """A mapping to which each app adds its own entries before the portal has started; none is replaced or removed.

    The entries come in the order of registration, which is that of ``INSTALLED_APPS``.
    """

    def __init__(self, entries: Mapping[K, V]) -> None:
        self._entries = dict(entries)

    def register(self, entries: Mapping[K, V]) -> None:
        """Add ``entries``, all or none. Raise `RegistrationError` for one that is there already, and after start."""
        require_start()
        if again := [str(key) for key in entries if key in self._entries]:
            raise RegistrationError(f"Registered already: {', '.join(again)}.")
        self._entries.update(entries)

    def __getitem__(self, key: K) -> V:
        return self._entries[key]

    def __iter__(self) -> Iterator[K]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
