"""Writes the diagram of the tables in docs/architecture.md from the models.

``python -m tests.support.production .venv/bin/python -m tests.support.data_model`` prints the section, ``--write`` puts it
into the document. tests/deploy/test_documentation.py compares both.
"""

import re
import sys
from collections.abc import Iterator

from tests.support.production import ROOT

DOCUMENT = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- data model: begin -->", "<!-- data model: end -->"
APPS = ("accounts", "apikeys")


def section() -> str:
    """Return the Markdown between the two markers: one diagram and one table of models for each app."""
    parts = []
    for app in APPS:
        parts += [f"#### Tables of `{app}`", "```mermaid\n" + "\n".join(_diagram(app)) + "\n```"]
        parts.append("\n".join(["| model | what a row is |", "|---|---|", *_rows(app)]))
    return "\n\n".join(parts)


def written_into(document: str) -> str:
    """Return ``document`` with the section of today's models."""
    before, _, rest = document.partition(BEGIN)
    _old, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{section()}\n{END}{after}"


def _diagram(app: str) -> Iterator[str]:
    from django.apps import apps
    from django.db.models import Field, ForeignKey

    yield "erDiagram"
    relations = []
    for model in apps.get_app_config(app).get_models():
        yield f"    {model.__name__} {{"
        for field in model._meta.get_fields():
            if not isinstance(field, Field) or field.many_to_many:
                continue
            if isinstance(field, ForeignKey):
                many = "|o--o|" if field.unique else "|o--o{" if field.null else "||--o{"
                many = "||--o|" if field.unique and not field.null else many
                target = field.related_model
                assert not isinstance(target, str)
                relations.append(f"    {target.__name__} {many} {model.__name__} : {field.name}")
            mark = " PK" if field.primary_key else " FK" if field.is_relation else " UK" if field.unique else ""
            yield f"        {field.get_internal_type().removesuffix('Field')} {field.column}{mark}"
        yield "    }"
    yield from relations


def _rows(app: str) -> Iterator[str]:
    from django.apps import apps

    for model in apps.get_app_config(app).get_models():
        text = re.sub(r"\s+", " ", (model.__doc__ or "").strip().split("\n\n")[0])
        yield f"| `{model.__name__}` (`{model.__module__.replace('.', '/')}.py`) | {text.replace('|', chr(92) + '|')} |"


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
