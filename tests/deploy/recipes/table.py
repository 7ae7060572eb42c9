"""Writes the table of docs/gateway.md.

    python -m tests.support.production python -m tests.deploy.recipes.table --write

A cell says what the test of this case and this proxy asserts, so the table says no more than `make verify` has shown.
"""

import sys

from tests.support import production
from tests.support.generated_sections import with_section

DOCUMENT = production.ROOT / "docs/gateway.md"
BEGIN, END = "<!-- matrix: made by tests/deploy/recipes/table.py -->", "<!-- end of matrix -->"


def table() -> str:
    """Return the table in Markdown."""
    from tests.deploy.recipes.cases import CASES
    from tests.support.recipes import RECIPES

    lines = [
        "| | " + " | ".join(recipe.title for recipe in RECIPES.values()) + " |",
        "|---" * (len(RECIPES) + 1) + "|",
    ]
    for case in CASES.values():
        cells = ("refused" if case.name in recipe.refuses else "yes" for recipe in RECIPES.values())
        lines.append(f"| {case.title} | " + " | ".join(cells) + " |")
    reasons = [
        f"{recipe.title}: {reason}"
        for recipe in RECIPES.values()
        for reason in dict.fromkeys(recipe.refuses.values())
    ]
    return "\n".join(lines) + "\n\nrefused: " + "; ".join(reasons) + ". Nothing reaches the exchange.\n"


def with_table(text: str) -> str:
    """Return the document with the current table."""
    return with_section(text, BEGIN, END, table())


if __name__ == "__main__":
    # The cases import models.
    import os

    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hitobit_portal.settings")
    django.setup()
    if sys.argv[1:] == ["--write"]:
        DOCUMENT.write_text(with_table(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print(table(), end="")
