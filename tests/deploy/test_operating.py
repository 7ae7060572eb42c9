"""docs/operating.md says what is so: every setting, every command."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.core.management import get_commands

from hitobit_portal.config import declarations, table
from manage import REAL
from tests.support.production import ROOT
from tests.support.staff import staff_browser

#: What runbooks are: documents for operators, and the alerts' own texts.
RUNBOOKS = (*sorted((ROOT / "docs").glob("*.md")), ROOT / "deploy/prometheus/alerts.yml")
STAFF_PAGE = re.compile(r"(?<![\w/])/admin/[\w/.-]*(?:\?[\w=&.-]*)?")


def document() -> str:
    return (ROOT / "docs/operating.md").read_text(encoding="utf-8")


def test_table_of_settings_is_made_from_the_declarations() -> None:
    """`python -m hitobit_portal.config.table --write` updates it."""
    assert table.written_into(document()) == document()
    rows = re.findall(r"(?m)^\| `([A-Z_]+)`\*?(?= \|)", table.markdown())
    assert sorted(rows) == sorted(declarations.NAMES)


def test_variable_that_is_named_anywhere_is_declared() -> None:
    assert declarations.NAMES >= REAL
    for path in (ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")):
        named = set(re.findall(r"\bPORTAL_[A-Z_]*[A-Z]\b(?![*_])", path.read_text(encoding="utf-8")))
        known = {name.removesuffix("_FILE") for name in named if not name.startswith("PORTAL_TEST")}
        assert known - declarations.NAMES - of_scripts() == set(), path.name


def of_scripts() -> set[str]:
    """Variables that the scripts around the portal read and do not pass on: of portal-manage, and in compose.yaml."""
    script = (ROOT / "deploy/portal-manage").read_text(encoding="utf-8")
    read = set(re.findall(r"\$\{(\w+):-", script))
    unset = re.search(r"(?m)^unset (.*)$", script)
    assert unset
    assert read == set(unset[1].split())
    image = re.search(r"image: hitobit-portal:\$\{(\w+)", (ROOT / "compose.yaml").read_text(encoding="utf-8"))
    assert image
    return read | {image[1]}


def test_every_command_that_is_named_exists() -> None:
    named = set(re.findall(r"(?:portal-manage|manage\.py|deps notices) ([a-z]\w+)", document()))
    # The tables of metrics have names of their own, which `tests/portal/test_metrics.py` compares.
    text = re.sub(r"(?m)^\| `portal_.*$", "", document())
    named |= set(re.findall(r"`([a-z]+_[a-z_]+)(?: [^`]*)?`", text)) - {
        "server_name",
        "max_connections",
        "pg_dump",
        "connect_query",
        "pg_trgm",
    }
    outcomes = {"address_refused", "rate_limited"}
    assert len(named) > 10
    assert named - outcomes <= set(get_commands()), sorted(named - outcomes - set(get_commands()))


def test_links_within_the_document_lead_somewhere() -> None:
    text = document()
    headings = {re.sub(r"[^\w\- ]", "", line.lstrip("# ")).strip().lower().replace(" ", "-")
                for line in re.findall(r"(?m)^##+ .+$", text)}  # fmt: skip
    for target in re.findall(r"\]\(([^)]+)\)", text):
        place, _, anchor = target.partition("#")
        if place:
            assert (ROOT / "docs" / place).exists(), target
        else:
            assert anchor in headings, target


def pages_of_runbooks() -> Iterator[str]:
    for path in RUNBOOKS:
        yield from STAFF_PAGE.findall(path.read_text(encoding="utf-8"))


@pytest.mark.django_db
def test_staff_page_that_a_runbook_names_is_there_with_its_filters() -> None:
    named = set(pages_of_runbooks()) - {"/admin/login/"}  # which sends everybody to the portal's own
    assert {"/admin/accounts/smsdelivery/", "/admin/accounts/smsdelivery/?state=failed&within=1h"} <= named
    client = staff_browser("chief")
    for path in named:
        response: Any = client.get(path)
        assert response.status_code == 200, path
        if query := parse_qs(urlsplit(path).query, strict_parsing=True):
            form = response.context_data["form"]
            assert form.errors == {}, path
            assert {name: [form.cleaned_data[name]] for name in query} == query, path


def test_table_of_the_database_is_in_no_instruction_for_an_alert() -> None:
    """Whom an alert wakes up has a browser, and perhaps no rights in the database."""
    instructions = document().partition("What to do when an alert fires:")[2].partition("\n## ")[0]
    assert "**PortalDown**" in instructions
    assert re.findall(r"\b(?:accounts|apikeys)_\w+", instructions) == []
