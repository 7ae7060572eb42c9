"""The catalogues are complete, and the extraction that says so sees every kind of message."""

import io
import re
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog

from hitobit_portal.i18n import catalogue

TEMPLATE = """{% load i18n %}
<p title="{% translate 'A title' %}">{% translate "Two" context "number" %}</p>
    {% blocktranslate trimmed with name=user.name %}
        Hello
        {{ name }}, 100% sure
    {% endblocktranslate %}
  {% blocktranslate count n=rows|length trimmed context "list" %}One row{% plural %}{{ n }} rows{% endblocktranslate %}
{{ value|default:_("Nothing") }} {# {% translate "Not here" %} #} it's "unbalanced ( {
"""


def extracted_from(template: str) -> dict[object, str | None]:
    result = Catalog()
    file = io.BytesIO(template.encode())
    for _line, function, message, _comments in catalogue.extract_template(file, catalogue.KEYWORDS, (), {}):
        strings = message if isinstance(message, tuple) else (message,)
        context = strings[0] if "p" in function[:2] and function != "_" else None
        result.add(tuple(strings[1:3]) if function == "npgettext" else strings[-1], context=context)
    return {message.id: message.context for message in catalogue.messages(result)}


@pytest.fixture(scope="module")
def sources() -> Catalog:
    return catalogue.extract()


def one(original: str | tuple[str, str], translation: str | tuple[str, ...], locale: str = "fa") -> list[str]:
    """The problems of a catalogue with this one message, which the sources have too."""
    extracted, translated = Catalog(), Catalog(locale=locale)
    extracted.add(original)
    translated.add(original, translation)
    return catalogue.problems(translated, extracted)


def test_extraction_reads_every_kind_of_template_message() -> None:
    assert extracted_from(TEMPLATE) == {
        "A title": None,
        "Two": "number",
        "Hello %(name)s, 100%% sure": None,
        ("One row", "%(n)s rows"): "list",
        "Nothing": None,
    }


def test_extraction_sees_every_template_and_python_file_with_messages(sources: Catalog) -> None:
    seen = {name for message in sources for name, _line in message.locations}
    for path in (catalogue.ROOT / "templates").rglob("*.html"):
        if re.search(r"{%-?\s*(blocktrans|trans)", path.read_text(encoding="utf-8")):
            assert path.relative_to(catalogue.ROOT).as_posix() in seen
    for package in ("accounts", "apikeys", "hitobit_portal"):
        for path in (catalogue.ROOT / package).rglob("*.py"):
            if re.search(r"""\b_\(\s*["']""", path.read_text(encoding="utf-8")):
                assert path.relative_to(catalogue.ROOT).as_posix() in seen


@pytest.mark.parametrize("language", catalogue.LANGUAGES)
def test_catalogue_is_complete(sources: Catalog, language: str) -> None:
    assert len(catalogue.messages(sources)) > 100
    assert catalogue.problems(catalogue.load(language), sources) == []


def test_english_says_what_the_sources_say() -> None:
    english = catalogue.messages(catalogue.load("en"))
    assert [catalogue.label(message) for message in english if message.string != message.id] == []


def test_complete_message_has_no_problem() -> None:
    assert one("%(n)s keys of {total}", "%(n)s کلید از {total}") == []


@pytest.mark.parametrize(
    ("original", "translation", "problem"),
    [
        ("Key", "", "is not translated"),
        ("Key", " ", "is not translated"),
        ("Key %(n)s", "کلید", "has other placeholders"),
        ("Key {n}", "کلید {m}", "has other placeholders"),
        ("Key", "کلید %s", "has other placeholders"),
        (
            ("%(n)s key of %(all)s", "%(n)s keys of %(all)s"),
            ("%(n)s کلید", "%(n)s کلید"),
            "has other placeholders",
        ),
        ("Key", "كلید", "has Arabic kaf"),
        ("Key", "کليد", "has Arabic yeh"),
        ("Confirm", "تأیید", "has the spelling"),
        ("Key\n", "کلید", "begins or ends with a line break"),
    ],
)
def test_faulty_translation_is_a_problem(
    original: str | tuple[str, str], translation: str | tuple[str, ...], problem: str
) -> None:
    assert any(problem in line for line in one(original, translation))


def test_missing_obsolete_and_fuzzy_messages_are_problems() -> None:
    extracted, translated = Catalog(), Catalog(locale="fa")
    extracted.add("New")
    translated.add("Old", "کهنه", flags=["fuzzy"])
    result = catalogue.problems(translated, extracted)
    assert result == ["'New' is missing", "'Old' is not in the sources", "'Old' is marked fuzzy"]


def test_update_keeps_translations_adds_new_messages_and_drops_old_ones(tmp_path: Path) -> None:
    (tmp_path / "babel.cfg").write_text("[python: accounts/**.py]\n", encoding="utf-8")
    (tmp_path / "accounts").mkdir()
    source = tmp_path / "accounts" / "words.py"
    source.write_text('_("Kept")\n_("Gone")\n', encoding="utf-8")
    catalogue.update("fa", tmp_path)
    file = catalogue.path_of("fa", tmp_path)
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace('msgid "Kept"\nmsgstr ""', 'msgid "Kept"\nmsgstr "مانده"'), encoding="utf-8")
    source.write_text('_("Kept")\n_("New")\n', encoding="utf-8")
    catalogue.update("fa", tmp_path)
    after = catalogue.load("fa", tmp_path)
    assert {message.id: message.string for message in catalogue.messages(after)} == {
        "Kept": "مانده",
        "New": "",
    }
    assert after.obsolete == {}
    first = file.read_bytes()
    catalogue.update("fa", tmp_path)
    assert file.read_bytes() == first
