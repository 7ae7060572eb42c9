"""docs/operating.md says what is so: every setting, every command."""

import re

from django.core.management import get_commands

from hitobit_portal.config import declarations, env
from tests.support.production import ROOT


def document() -> str:
    return (ROOT / "docs/operating.md").read_text(encoding="utf-8")


def test_the_table_of_settings_is_the_codes() -> None:
    """`python -m hitobit_portal.config.declarations --write` makes it so."""
    assert declarations.written_into(document()) == document()
    assert declarations.NAMES == env.KNOWN
    assert len(declarations.NAMES) == sum(len(settings) for _title, settings in declarations.TABLE)


def test_every_setting_is_read_and_what_is_named_anywhere_is_a_setting() -> None:
    sources = "".join(
        path.read_text(encoding="utf-8")
        for app in ("hitobit_portal", "accounts", "apikeys")
        for path in (ROOT / app).rglob("*.py")
        if path.name != "settings_table.py"
    )
    assert [name for name in declarations.NAMES if f'"{name}"' not in sources] == []
    for path in (ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")):
        named = set(re.findall(r"\bPORTAL_[A-Z_]*[A-Z]\b(?!\*)", path.read_text(encoding="utf-8")))
        known = {name.removesuffix("_FILE") for name in named if not name.startswith("PORTAL_TEST")}
        # Of the scripts around the portal, and the prefix of names of one kind.
        strange = known - declarations.NAMES - {"PORTAL_HOME", "PORTAL_VERSION", "PORTAL_GATEWAY"}
        assert strange == set(), path.name


def test_every_command_that_is_named_exists() -> None:
    named = set(re.findall(r"(?:portal-manage|manage\.py|deps notices) ([a-z]\w+)", document()))
    named |= set(re.findall(r"`([a-z]+_[a-z_]+)(?: [^`]*)?`", document())) - {
        "server_name",
        "max_connections",
        "pg_dump",
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
