"""What was recorded of a key's requests: its counts, its stored rejections, and the page that shows them."""

import re
from typing import Any

from apikeys.models import ApiKey, Refusal
from apikeys.verification.outcomes import Outcome
from tests.support.people import Person, logged_in

OTHER = "198.51.100.77"
REFUSED = [outcome for outcome in Outcome if outcome is not Outcome.ALLOWED]


def counted(key: ApiKey) -> dict[str, int]:
    return {f"{row.outcome} {row.permission}": row.count for row in key.daily_use.all()}


def page(person: Person, key: ApiKey) -> str:
    client = logged_in(person)
    client.cookies["language"] = "en"
    return client.get(f"/keys/{key.pk}/usage/").content.decode()


def text(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html))


def rejection(key: ApiKey, outcome: Outcome, **fields: Any) -> Refusal:
    defaults = {"address": OTHER, "permission": "read", "skew_ms": 0}
    return Refusal.objects.create(key=key, outcome=outcome.value, **{**defaults, **fields})
