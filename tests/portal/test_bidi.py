"""Every value in a sentence is isolated from the direction of its line, in every message, in one way."""

import ast
import re
import unicodedata
from collections.abc import Iterator

import pytest
from django.template import Context, Template, TemplateSyntaxError
from django.utils import translation
from django.utils.safestring import SafeString, mark_safe
from hypothesis import given
from hypothesis import strategies as st

from hitobit_portal.i18n import bidi, catalogue
from hitobit_portal.i18n.bidi import FSI, PDI, RLI, RLM, fill
from tests.structure.sources import sources
from tests.support.production import ROOT

NAME = "DCA phone"
#: Values that turn a Persian line, or are turned by one: a name, an address, a network, a number, a browser.
VALUES = (
    NAME,
    "203.0.113.24",
    "2001:db8::/48",
    "+989121234567",
    "۳",
    "-7",
    "Chrome, Linux",
    "sara@example.com",
)
#: Modules whose formats are one value each, such as "3 days ago", which a sentence isolates as a whole.
FORMATS_OF_ONE_VALUE = {"hitobit_portal.i18n.jalali"}
#: The answers of the authorization API: a protocol in English, for programs.
ANSWERS_TO_PROGRAMS = {"apikeys.verification.decision"}
TEMPLATES = sorted((ROOT / "templates").rglob("*.html")) + sorted((ROOT / "templates").rglob("*.txt"))
PART = re.compile(r"({%.*?%}|{{.*?}}|{#.*?#})", re.DOTALL)


@pytest.fixture(autouse=True)
def _persian() -> Iterator[None]:
    with translation.override("fa"):
        yield


# --- values


@pytest.mark.parametrize("value", VALUES)
def test_a_value_in_a_persian_sentence_is_isolated(value: str) -> None:
    assert fill("API «%(name)s» کار می‌کند.", name=value) == f"API «{FSI}{value}{PDI}» کار می‌کند."
    assert bidi.isolated_html(value) == f"<bdi>{value}</bdi>"


def test_a_persian_value_that_begins_with_a_latin_word_keeps_the_direction_of_the_line() -> None:
    text = "IP دفتر"
    assert fill("از %(where)s", where=text) == f"از {RLI}{text}{PDI}"
    assert bidi.isolated_html(text) == f'<bdi dir="rtl">{text}</bdi>'


def test_a_persian_value_with_a_latin_word_inside_needs_no_isolates() -> None:
    text = "ورود به پرتال API هیتوبیت"
    assert fill("برای: %(what)s", what=text) == f"برای: {text}"
    assert fill("برای: %(what)s", what="ورود به API") == f"برای: {FSI}ورود به API{PDI}"


def test_a_line_of_plain_text_that_begins_with_a_latin_word_is_marked() -> None:
    assert bidi.line("IP تازه") == f"{RLM}IP تازه"
    assert bidi.line("نشانی IP") == "نشانی IP"
    assert bidi.line(f"{FSI}bot{PDI} کار می‌کند") == f"{FSI}bot{PDI} کار می‌کند"
    with translation.override("en"):
        assert bidi.line("IP تازه") == "IP تازه"


def test_an_english_sentence_isolates_what_runs_right_to_left_and_pays_for_nothing_else() -> None:
    with translation.override("en"):
        assert fill("“%(name)s” works", name="ربات") == f"“{FSI}ربات{PDI}” works"
        assert fill("“%(name)s” works", name=NAME) == f"“{NAME}” works"


def test_a_value_is_isolated_once() -> None:
    inner = bidi.isolated(NAME)
    assert bidi.isolated(inner) == inner
    assert bidi.isolated_html(bidi.isolated_html(NAME)) == f"<bdi>{NAME}</bdi>"


def test_a_copied_value_has_no_invisible_characters() -> None:
    assert fill("کد: %(code)s", code=bidi.verbatim("123456")) == "کد: 123456"


@given(st.text(st.sampled_from("ab ۳«»\u2066\u2067\u2068\u2069ا")))
def test_no_value_ends_the_isolate_around_it(value: str) -> None:
    with translation.override("fa"):
        text = bidi.isolated(value)
    depth = 0
    for char in text:
        depth += (char in "\u2066\u2067\u2068") - (char == PDI)
        assert depth >= 0
    assert depth == 0


@given(st.text(st.sampled_from("ab ا\u2068\u2069")), st.integers(0, 20))
def test_a_cut_text_ends_its_isolates(text: str, length: int) -> None:
    cut = bidi.closed(text[:length])
    opened = 0
    for char in cut:
        opened = max(0, opened - 1) if char == PDI else opened + (char == FSI)
    assert opened == 0


def test_values_are_escaped_as_markup() -> None:
    assert bidi.isolated_html("<script>") == "<bdi>&lt;script&gt;</bdi>"
    filled = bidi.fill_html("a < %(b)s", b="<i>")
    assert isinstance(filled, SafeString)
    assert filled == "a &lt; <bdi>&lt;i&gt;</bdi>"
    assert bidi.isolated_html(mark_safe("<b>x</b>")) == "<bdi><b>x</b></bdi>"


# --- all messages


def messages() -> list[tuple[str, tuple[str, ...]]]:
    """The Persian texts that have placeholders, with the names of these."""
    texts = [
        text
        for message in catalogue.messages(catalogue.load("fa"))
        for text in ((message.string,) if isinstance(message.string, str) else message.string or ())
    ]
    parsed = [(text, tuple(re.findall(r"%\((\w+)\)s", text))) for text in texts]
    return [(text, names) for text, names in parsed if names]


def test_every_message_keeps_its_direction_whatever_is_put_into_it() -> None:
    filled = messages()
    assert len(filled) > 150
    for text, names in filled:
        for value in VALUES:
            result = fill(text, **dict.fromkeys(names, value))
            assert result == text % dict.fromkeys(names, f"{FSI}{value}{PDI}"), text


def test_no_python_code_fills_a_message_in_another_way() -> None:
    """``%`` and `str.format` are for numbers and bytes; texts are filled by `bidi.fill`."""
    wrong = []
    for name, tree in sources():
        if name in FORMATS_OF_ONE_VALUE | ANSWERS_TO_PROGRAMS | {"hitobit_portal.i18n.bidi"}:
            continue
        wrong += [f"{name}: {ast.unparse(node)}" for node in ast.walk(tree) if fills_a_text(node)]
    assert wrong == []


def fills_a_text(node: ast.AST) -> bool:
    """Whether ``node`` is ``text % values``, or ``_("…").format(…)``, or an f-string around a translated text."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        if isinstance(node.left, ast.Constant) and isinstance(node.left.value, bytes):
            return False
        return (
            isinstance(node.right, ast.Dict | ast.Tuple)
            or (isinstance(node.right, ast.Name) and node.right.id.islower())
            or is_translated(node.left)
        )
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return node.func.attr in ("format", "format_map") and is_translated(node.func.value)
    return isinstance(node, ast.JoinedStr) and any(
        is_translated(part.value) for part in node.values if isinstance(part, ast.FormattedValue)
    )


def is_translated(node: ast.AST) -> bool:
    return any(
        isinstance(one, ast.Call)
        and isinstance(one.func, ast.Name)
        and one.func.id in ("_", "gettext", "ngettext", "pgettext", "npgettext", "gettext_lazy")
        for one in ast.walk(node)
    )


@pytest.mark.parametrize(
    "source",
    [
        '_("of %(n)s") % {"n": 1}',
        "text % values",
        '_("%s left") % (n,)',
        'str(_("%(n)s")) % anything()',
        '_("{n}").format(n=1)',
        'f"{_(label)}: {name}"',
    ],
)
def test_other_ways_to_fill_a_message_are_seen(source: str) -> None:
    assert any(map(fills_a_text, ast.walk(ast.parse(source))))


@pytest.mark.parametrize("source", ["n % 2", "-len(text) % 4", 'b"%d" % n', "seconds % HOUR", 'f"{a}: {b}"'])
def test_arithmetic_is_no_message(source: str) -> None:
    assert not any(map(fills_a_text, ast.walk(ast.parse(source))))


# --- templates


def rendered(source: str, **values: object) -> str:
    return Template(f"{{% load i18n %}}{source}").render(Context(values))


def test_a_template_isolates_the_values_of_a_sentence_with_markup() -> None:
    source = "{% blocktranslate with name=key %}API «{{ name }}»: {{ other }}{% endblocktranslate %}"
    assert rendered(source, key=NAME, other="<") == f"API «<bdi>{NAME}</bdi>»: <bdi>&lt;</bdi>"


def test_a_template_of_plain_text_isolates_them_with_characters() -> None:
    source = (
        "{% autoescape off %}{% blocktranslate %}API «{{ name }}»{% endblocktranslate %}{% endautoescape %}"
    )
    assert rendered(source, name=NAME) == f"API «{FSI}{NAME}{PDI}»"


def test_an_attribute_has_characters_and_no_markup() -> None:
    source = '<p title="{% blocktranslate with name=name|isolated %}«{{ name }}»{% endblocktranslate %}">'
    assert rendered(source, name='"DCA') == f'<p title="«{FSI}&quot;DCA{PDI}»">'


def test_a_plural_isolates_its_values_and_never_shows_the_bare_number() -> None:
    plural = (
        "{% blocktranslate count n=n with shown=n %}{{ shown }} key{% plural %}{{ shown }} keys"
        "{% endblocktranslate %}"
    )
    assert "<bdi>2</bdi>" in rendered(plural, n=2)
    with pytest.raises(TemplateSyntaxError, match="n only chooses the plural"):
        rendered(plural.replace("shown }}", "n }}"), n=2)


def in_attributes_and_titles(source: str) -> Iterator[tuple[str, list[str]]]:
    """Each sentence with values that stands in an attribute, an option or the title: its tag, the names of its values.

    Parts of the template in the order of the source are followed like a browser's tokenizer follows the markup.
    """
    in_tag, quote, in_title, last_text = False, "", False, ""
    parts = PART.split(source)
    for at, part in enumerate(parts):
        if re.match(r"{% block title", part):
            in_title = True
        elif re.match(r"{% endblock", part):
            in_title = False
        elif re.match(r"{% blocktranslate", part) and (
            in_title or (in_tag and quote) or re.search(r"<option[^>]*>$", last_text)
        ):
            end = next(n for n in range(at, len(parts)) if parts[n].startswith("{% endblocktranslate"))
            yield part, [one[2:-2].strip() for one in parts[at:end] if one.startswith("{{")]
        elif not part.startswith(("{%", "{{", "{#")):
            last_text = part
            for char in part:
                if not in_tag:
                    in_tag = char == "<"
                elif quote:
                    quote = "" if char == quote else quote
                elif char in "\"'":
                    quote = char
                elif char == ">":
                    in_tag = False


def test_sentences_in_attributes_and_titles_have_no_markup() -> None:
    seen = 0
    for path in TEMPLATES:
        for tag, names in in_attributes_and_titles(path.read_text(encoding="utf-8")):
            for name in names:
                seen += 1
                assert re.search(rf"\b{name}=[^ ]*\|isolated\b", tag), f"{path.name}: {tag}"
    assert seen >= 1


def test_a_name_in_a_title_is_isolated() -> None:
    for path in TEMPLATES:
        for title in re.findall(r"{% block title %}(.*?){% endblock %}", path.read_text(encoding="utf-8")):
            for value in re.findall(r"{{ (.*?) }}", title):
                assert ("label" not in value and "name" not in value) or value.endswith("|isolated"), (
                    path.name
                )


def test_no_line_of_a_sentence_takes_its_direction_from_its_first_letter() -> None:
    """``dir="auto"`` is for what people type. ``<bdi>``, which does the same, is for names and dates."""
    for path in TEMPLATES:
        source = path.read_text(encoding="utf-8")
        for tag in re.findall(r"<\w+[^<>]*dir=\"auto\"", source):
            assert tag.startswith(("<input", "<textarea")), f"{path.name}: {tag}"
        for words in re.findall(r"<bdi>{{ ([\w.]+)", source):
            assert words.split(".")[-1] not in ("detail", "text", "line", "title", "sentence", "note"), (
                path.name
            )
        assert "<bdi>{% blocktranslate" not in source, path.name


def test_the_letters_of_the_values_have_a_direction() -> None:
    """The table of values is of use: all but numbers and addresses have letters that would turn a line."""
    assert sum(any(unicodedata.bidirectional(char) == "L" for char in value) for value in VALUES) >= 3
