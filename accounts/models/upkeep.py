"""When the work that nobody asks for was last done."""

from __future__ import annotations

from django.db import models
from django.utils import timezone


class LastRun(models.Model):
    """One recurring piece of work, and when a run of it last ended."""

    name = models.CharField(max_length=32, primary_key=True)
    at = models.DateTimeField()

    @classmethod
    def of(cls, name: str) -> LastRun | None:
        return cls.objects.filter(name=name).first()

    @classmethod
    def note(cls, name: str) -> None:
        """A run ended now."""
        cls.objects.update_or_create(name=name, defaults={"at": timezone.now()})
