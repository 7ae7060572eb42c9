"""Writes the tables of docs/events.md from the registry of events.

``python -m tests.support.production .venv/bin/python -m tests.support.event_tables --write`` puts them into the
document; tests/accounts/webhooks/test_documents.py compares both.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from tests.support.generated_sections import with_section
from tests.support.production import ROOT

DOCUMENT = ROOT / "docs" / "events.md"


def written_into(document: str) -> str:
    """Return ``document`` with the tables of today's events."""
    from django.utils import translation

    from accounts.choices.events import choices
    from accounts.webhooks import documents

    members = documents.FIELDS | {
        name: f"{member.text}; `null` for other events" for name, member in documents.MORE.items()
    }
    with translation.override("en"):
        events = {value: str(title) for value, title in sorted(choices())}
    for name, rows in (
        ("members", members),
        ("details", dict(sorted(documents.DETAILS.items()))),
        ("events", events),
    ):
        document = with_section(
            document, f"<!-- {name}: begin -->", f"<!-- {name}: end -->", _table(name[:-1], rows)
        )
    return document


def _table(name: str, rows: Mapping[str, str]) -> str:
    return "\n".join(
        [f"| {name} | what it is |", "|---|---|", *(f"| `{k}` | {v} |" for k, v in rows.items())]
    )


def main(arguments: list[str]) -> int:
    """Print the document, or write it."""
    import django

    django.setup()
    text = written_into(DOCUMENT.read_text(encoding="utf-8"))
    if arguments == ["--write"]:
        DOCUMENT.write_text(text, encoding="utf-8")
    else:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
