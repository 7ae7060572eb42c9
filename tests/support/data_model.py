"""Writes the diagram of the tables in docs/architecture.md from the models.

``python -m tests.support.production .venv/bin/python -m tests.support.data_model`` prints the section, ``--write`` puts
it into the document. tests/deploy/test_documentation.py compares both.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING

from tests.support.generated_sections import with_section
from tests.support.production import ROOT

if TYPE_CHECKING:
    from django.db.models import Model

DOCUMENT = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- data model: begin -->", "<!-- data model: end -->"
APPS = ("accounts", "apikeys")


def section() -> str:
    """Return the Markdown between the two markers: one diagram and one table for each module with models."""
    from django.apps import apps

    parts = []
    module_of = attrgetter("__module__")
    models = [model for app in APPS for model in apps.get_app_config(app).get_models()]
    for module, grouped in groupby(sorted(models, key=module_of), module_of):
        group = list(grouped)
        parts.append(f"### `{module.replace('.', '/')}.py`")
        parts.append("```mermaid\n" + "\n".join(_diagram(group)) + "\n```")
        parts.append("\n".join(["| model | what a row is |", "|---|---|", *map(_row, group)]))
    return "\n\n".join(parts)


def written_into(document: str) -> str:
    """Return ``document`` with the section of today's models."""
    return with_section(document, BEGIN, END, section())


def _diagram(models: list[type[Model]]) -> Iterator[str]:
    from django.db.models import Field, ForeignKey

    yield "erDiagram"
    relations = []
    for model in models:
        yield f"    {model.__name__} {{"
        for field in model._meta.get_fields():
            if not isinstance(field, Field) or field.many_to_many:
                continue
            if isinstance(field, ForeignKey):
                ends = ("|o" if field.null else "||") + "--" + ("o|" if field.unique else "o{")
                target = field.remote_field.model.__name__
                relations.append(f"    {target} {ends} {model.__name__} : {field.name}")
            mark = (
                " PK" if field.primary_key else " FK" if field.is_relation else " UK" if field.unique else ""
            )
            yield f"        {field.get_internal_type().removesuffix('Field')} {field.column}{mark}"
        yield "    }"
    yield from relations


def _row(model: type[Model]) -> str:
    text = " ".join((model.__doc__ or "").strip().split("\n\n")[0].split())
    return f"| `{model.__name__}` | {text.replace('|', chr(92) + '|')} |"


def main(arguments: list[str]) -> int:
    """Print the section, or write it into the document."""
    import django

    django.setup()
    if arguments == ["--write"]:
        DOCUMENT.write_text(written_into(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print(section())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
