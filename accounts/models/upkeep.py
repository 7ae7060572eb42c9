"""The times of the last runs of recurring jobs."""

from __future__ import annotations

from django.db import models
from django.utils import timezone


class LastRun(models.Model):
    """One recurring job, and the end of its last run."""

    name = models.CharField(max_length=32, primary_key=True)
    at = models.DateTimeField()

    @classmethod
    def of(cls, name: str) -> LastRun | None:
        return cls.objects.filter(name=name).first()

    @classmethod
    def note(cls, name: str) -> None:
        """Record that a run ended now."""
        cls.objects.update_or_create(name=name, defaults={"at": timezone.now()})
