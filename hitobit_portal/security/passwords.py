"""Password hashing: Argon2id with the parameters of the settings, and a bound on memory and cores of all hashes."""

import threading
from functools import cache
from typing import Any

from django.conf import settings
from django.contrib.auth.hashers import Argon2PasswordHasher, BasePasswordHasher


class PortalPasswordHasher(Argon2PasswordHasher):
    """Django's hasher. Passwords that were hashed with other parameters are hashed again at the next login."""

    @property
    def time_cost(self) -> int:  # type: ignore[override]
        passes: int = settings.PASSWORD_PASSES
        return passes

    @property
    def memory_cost(self) -> int:  # type: ignore[override]
        kibibytes: int = settings.PASSWORD_MEMORY * 1024
        return kibibytes

    @property
    def parallelism(self) -> int:  # type: ignore[override]
        lanes: int = settings.PASSWORD_LANES
        return lanes

    def encode(self, password: str, salt: str) -> str:
        with slots():
            return super().encode(password, salt)

    def verify(self, password: str, encoded: str) -> bool:
        # SECURITY: without a bound, each thread takes the memory of a hash, and a flood of logins takes every core.
        with slots():
            return super().verify(password, encoded)


class BoundedHasher(BasePasswordHasher):
    """The same bound for a hasher of Django's whose ``verify`` calls ``encode``: all but those of argon2."""

    def encode(self, password: str, salt: Any, *arguments: Any, **named: Any) -> Any:
        with slots():
            return super().encode(password, salt, *arguments, **named)


@cache
def slots() -> threading.BoundedSemaphore:
    """Return what each hash of a password holds while it is computed."""
    return threading.BoundedSemaphore(settings.PASSWORD_HASHES)
