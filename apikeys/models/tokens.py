"""Bearer tokens: what those of gateways and those of the management API have in common."""

from __future__ import annotations

import hashlib
import secrets
from typing import ClassVar, Self

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

TOKEN_BYTES = 32
SCHEME = "bearer"


class BearerToken(models.Model):
    """Stored as SHA-256: 256 random bits cannot be guessed, and need neither salt nor stretching."""

    #: Identifies a token that was leaked or used in the wrong place.
    PREFIX: ClassVar[str]

    name = models.CharField(_("name"), max_length=64, unique=True)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    last_used_at = models.DateTimeField(_("last used"), null=True, editable=False)
    revoked_at = models.DateTimeField(_("revoked"), null=True, editable=False)

    class Meta:
        abstract = True
        ordering = ["created_at", "pk"]

    def __str__(self) -> str:
        return self.name

    @classmethod
    def new(cls, name: str, **values: object) -> tuple[Self, str]:
        """Return an unsaved token with ``values``, and its text, which is not stored anywhere."""
        text = cls.PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
        return cls(name=name, digest=digest_of(text), **values), text


def bearer(header: str | None) -> str | None:
    """Return the token of an ``Authorization`` header; the scheme is case-insensitive (RFC 9110, 11.1)."""
    scheme, _space, token = (header or "").partition(" ")
    return token.lstrip(" ") or None if scheme.lower() == SCHEME else None


def digest_of(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
