"""Every regular expression of the product is one that all supported Pythons match alike."""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from re import _constants as constants
from re import _parser as parser
from typing import Any

import pytest

from apikeys.gateway.fastpath import query as fastpath_query
from apikeys.gateway.routes.table import PATH_PATTERN
from tests.support.production import ROOT

PRODUCT = ("hitobit_portal", "accounts", "apikeys", "deploy")
FUNCTIONS = {"compile", "match", "fullmatch", "search", "sub", "subn", "split", "findall", "finditer"}
#: Functions of Django that take a regular expression.
OF_DJANGO = {"RegexValidator", "re_path"}
#: What is put together where it is used: examples of it, made by the code itself.
BUILT = {
    "apikeys/gateway/fastpath/query.py": [
        fastpath_query._compile_pattern((b"symbol", b"recvWindow", b"timestamp")).__self__.pattern,  # type: ignore[attr-defined]
        fastpath_query._compile_pattern((b"timestamp", b"a.b")).__self__.pattern,  # type: ignore[attr-defined]
    ],
    "deploy/middleware/portal_asgi.py": [PATH_PATTERN],
}
#: What matches exactly one character; a possessive repeat of one of these is right in every Python that has them.
ONE_CHARACTER = (constants.LITERAL, constants.NOT_LITERAL, constants.ANY, constants.IN)

Result = tuple[str, int, str | bytes]


def sources() -> list[Path]:
    return sorted(path for package in PRODUCT for path in (ROOT / package).rglob("*.py"))


def calls(tree: ast.AST) -> Iterator[ast.expr]:
    """The first argument of each call that takes a regular expression."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        function = node.func
        of_re = (
            isinstance(function, ast.Attribute)
            and isinstance(function.value, ast.Name)
            and function.value.id == "re"
            and function.attr in FUNCTIONS
        )
        if of_re or (isinstance(function, ast.Name) and function.id in OF_DJANGO):
            yield node.args[0]


def patterns() -> Iterator[Result]:
    """(file, line, pattern) of each; one that only exists in a function is taken from `BUILT`."""
    for path in sources():
        name = str(path.relative_to(ROOT))
        built = list(BUILT.get(name, ()))
        for argument in calls(ast.parse(path.read_text(encoding="utf-8"))):
            try:
                value = ast.literal_eval(argument)
            except ValueError:
                module = importlib.import_module(name.removesuffix(".py").replace("/", "."))
                try:
                    value = eval(compile(ast.Expression(argument), name, "eval"), vars(module))
                except NameError:
                    assert built, f"{name}:{argument.lineno}: a pattern without an example in BUILT"
                    for value in built:
                        yield name, argument.lineno, value
                    continue
            yield name, argument.lineno, value


def is_unsafe(pattern: str | bytes) -> bool:
    """Whether it has an atomic group, or a possessive repeat of more than one character, read plain or as VERBOSE."""
    return any(_is_unsafe(parser.parse(pattern, flags)) for flags in (0, re.VERBOSE))


def _is_unsafe(parsed: Any) -> bool:
    for code, argument in parsed:
        if code is constants.ATOMIC_GROUP:
            return True
        if code is constants.POSSESSIVE_REPEAT:
            body = argument[2]
            if len(body) != 1 or body[0][0] not in ONE_CHARACTER:
                return True
        if any(_is_unsafe(inner) for inner in _inner(argument)):
            return True
    return False


def _inner(argument: Any) -> Iterator[Any]:
    if isinstance(argument, parser.SubPattern):
        yield argument
    elif isinstance(argument, list | tuple):
        for part in argument:
            yield from _inner(part)


def test_no_pattern_has_an_atomic_group_or_a_possessive_repeat_of_a_group() -> None:
    result = list(patterns())
    assert len(result) > 50
    assert {name for name, _line, _pattern in result} >= {
        "apikeys/gateway/fastpath/query.py",
        "hitobit_portal/observability/logs.py",
    }
    assert [(name, line) for name, line, pattern in result if is_unsafe(pattern)] == []


def test_re_is_reached_by_its_own_name_alone() -> None:
    """Or a pattern would be missed here."""
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                assert all(alias.name != "regex" for alias in node.names), path
                assert all(alias.asname is None for alias in node.names if alias.name == "re"), path
            if isinstance(node, ast.ImportFrom):
                assert node.module not in ("re", "regex"), path


@pytest.mark.parametrize(
    "pattern",
    [r"(?>ab)", r"(?:ab)*+", r"(a)++", r"x|(?:y(?:ab){2,3}+)", r"(?=(?:ab)?+)", b"(?:a[b-c]*+)*+", r"(?<!(?>a))",
     r"(x)?(?(1)(?:ab)*+|c)", r"(?:[a]*+b)++"],
)  # fmt: skip
def test_unsafe_pattern_is_found_wherever_it_stands(pattern: str | bytes) -> None:
    assert is_unsafe(pattern)


@pytest.mark.parametrize(
    "pattern", [r"[ab]*+", r"a++", r".?+", r"[^&]{1,5}+", r"(?:ab)*", b"(?:%[0-9]{2}[a]*+)*"]
)
def test_possessive_repeat_of_one_character_is_no_fault(pattern: str | bytes) -> None:
    assert not is_unsafe(pattern)


@pytest.mark.parametrize("value", ["%", "x%", "%4", "x%4", "%41%", "%41x%4", "%4g", "x%%41"])
@pytest.mark.parametrize(
    "order", [(b"symbol", b"timestamp"), (b"timestamp", b"symbol"), (b"a", b"timestamp", b"b")]
)
def test_stray_percent_fits_no_shape(value: str, order: tuple[bytes, ...]) -> None:
    now = 1_800_000_000_000

    def query(text: str) -> bytes:
        values = (str(now) if name == b"timestamp" else text for name in order)
        pairs = (f"{name.decode()}={value}" for name, value in zip(order, values, strict=True))
        return ("&".join(pairs) + "&signature=" + "0" * 64).encode()

    shape = fastpath_query._compile_pattern(order)
    assert fastpath_query.parse(query("%41x%2c"), now, shape) is not None
    assert shape(query(value)) is None
    assert fastpath_query.parse(query(value), now, shape) is None
