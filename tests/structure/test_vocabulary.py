"""The project uses the field's terms: names and words that were replaced do not come back.

Code is searched by its identifiers, comments and docstrings, templates by their comments, documents as text. Strings
are not searched: they are texts for people, or names in the database, in URLs and in interfaces.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.structure.sources import tracked
from tests.support.production import ROOT

#: Parts of the tree, as prefixes of paths.
PARTS = ("accounts", "apikeys", "hitobit_portal", "templates", "bench", "docs", "tests")
#: Packages in which class names are unique.
UNIQUE = ("accounts", "apikeys", "hitobit_portal")
#: This module names the words.
SELF = Path("tests/structure/test_vocabulary.py")

#: Words that have no ordinary use here, and the terms that replace them. Also searched as parts of identifiers.
WORDS = {
    r"doors?": "authorization API, endpoints",
    r"gatekeepers?": "authorizer",
    r"verdicts?": "result",
    r"wires?": "connection; received bytes",
    r"hubs?": "server",
    r"swift(ly)?": "fast path",
    r"believed": "key cache, fresh",
    r"tall(y|ies)": "usage counters",
    r"deaf": "unresponsive",
    r"decoys?": "dummy key, constant-work padding",
    r"suspects?": "payload candidate",
    r"culprits?": "search result",
    r"mend(s|ed|ing)?": "fix",
    r"rescu(e|es|ed|ing)": "address approval",
    r"reseal(s|ed|ing)?": "re-encryption",
    r"refusals?": "rejection",
    r"spied": "instrumented",
    r"strangers?": "unknown key, other customer, attacker",
}
#: Identifiers, and the terms that replace them. As words of a sentence they are ordinary English.
IDENTIFIERS = {
    **dict.fromkeys(("told", "said", "found", "asked", "looked"), "what the value is: result, text, request"),
    **dict.fromkeys(("Found", "Said", "Looked", "Ask"), "the kind of object"),
    **dict.fromkeys(("hot", "heat", "cool"), "cache entry, store, clear"),
    **dict.fromkeys(
        ("hear", "give_back", "Seen", "Use", "Uses"), "receive, release, ReplayGuard, usage counters"
    ),
    **dict.fromkeys(("make_up", "NOBODY"), "pad_work, DUMMY_KEY"),
    **dict.fromkeys(("assemblies", "Assembly", "Way", "ways"), "payload candidates, SignatureCandidate"),
    **dict.fromkeys(
        ("standing", "pasted", "Pasted", "leaks", "leaked"), "checks, parsed request, secret masking"
    ),
    **dict.fromkeys(("strangers", "drops", "promises"), "unknown-key timing, invalidation latency, targets"),
}
#: Names of modules and packages.
MODULES = frozenset(
    """
    door asks answers gatekeeper wire exchange hub swift memory tally shapes proofs compiled decoys suspects
    assemblies culprit cause_words surface standing pasted leaks rescue life frozen refusals counts trial
    resealing stages guessing purposes proof outside placeholder delayed emergency devices trusted drift
    drafts looks later in_force strangers drops promises
    """.split()
)
#: Identifiers that stand for names in the database, in URLs and in interfaces, which migrations and clients know.
STORED = re.compile(
    r"""
    Refusal | refusals? | portal_refusals      # the table, its related name, the parameter of its URLs, the metric
    | RescueRequest | rescues | allows_rescue  # the table, its related name, the column
    | asks_for_rescue                          # the property that reads the column
    """,
    re.VERBOSE,
)
#: What makes a line quote such a name.
QUOTED = (
    "portal_refusals",
    "`Refusal`",  # tables in the generated data model
    "`RescueRequest`",
    "    Refusal {",
    "    RescueRequest {",
    "ApiKey ||--o{ Refusal",
    "ApiKey ||--o{ RescueRequest",
    "Boolean allows_rescue",
    "(“IP rescue” in URLs and columns)",
    '"+rescue"',  # the stored code of a change
    "`key.rescue_",  # stored names of events
)

#: Classes with the same role in sibling packages.
SIBLINGS = {
    "Command",  # Django's name of a management command
    "Headers",  # the headers of an HTTP request, and the protocol by which the authorization API reads them
}

_COMMENT = re.compile(r"\{#(.*?)#\}|\{% comment %\}(.*?)\{% endcomment %\}", re.DOTALL)
_WORD = re.compile(r"[A-Za-z]+")
_FORBIDDEN = re.compile("|".join(WORDS), re.IGNORECASE)


def parts_of(identifier: str) -> list[str]:
    """Return the words of an identifier in snake_case or CamelCase."""
    return _WORD.findall(re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", identifier).replace("_", " "))


def docstrings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node, clean=False)
            if text is not None:
                yield node.body[0].lineno, text


def of_python(source: str) -> Iterator[str]:
    """Yield a message for each forbidden identifier, and each forbidden word in comments and docstrings."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        line = token.start[0]
        if token.type == tokenize.NAME and not STORED.fullmatch(token.string):
            if token.string in IDENTIFIERS:
                yield f"{line}: {token.string} (use: {IDENTIFIERS[token.string]})"
            yield from (f"{line}: {token.string}" for word in parts_of(token.string) if is_forbidden(word))
        elif token.type == tokenize.COMMENT:
            yield from of_text(token.string, line)
    for line, text in docstrings(ast.parse(source)):
        yield from of_text(text, line)


def of_text(text: str, first: int = 1) -> Iterator[str]:
    for number, line in enumerate(text.split("\n"), first):
        if not any(quoted in line for quoted in QUOTED):
            yield from (f"{number}: {word}" for word in _WORD.findall(line) if is_forbidden(word))


def is_forbidden(word: str) -> bool:
    return _FORBIDDEN.fullmatch(word) is not None


def problems(path: Path) -> list[str]:
    text = (ROOT / path).read_text(encoding="utf-8")
    if path.suffix == ".py":
        return [f"{path}:{problem}" for problem in of_python(text)]
    if path.suffix == ".html":
        comments = (text.count("\n", 0, match.start()) + 1 for match in _COMMENT.finditer(text))
        bodies = (match[1] or match[2] for match in _COMMENT.finditer(text))
        return [
            f"{path}:{p}" for line, body in zip(comments, bodies, strict=True) for p in of_text(body, line)
        ]
    return [f"{path}:{problem}" for problem in of_text(text)]


def files(part: str) -> list[Path]:
    return [
        path
        for path in tracked()
        if path.as_posix().startswith(f"{part}/")
        and path.suffix in (".py", ".html", ".md")
        and "migrations" not in path.parts
        and path != SELF
    ]


@pytest.mark.parametrize("part", PARTS)
def test_replaced_words_do_not_come_back(part: str) -> None:
    found_in = files(part)
    assert len(found_in) > 5, "the walk over the files finds nothing"
    assert [problem for path in found_in for problem in problems(path)] == []


@pytest.mark.parametrize("part", PARTS)
def test_modules_have_the_names_of_the_layout(part: str) -> None:
    wrong = [
        path for path in files(part) if path.suffix == ".py" and MODULES & {path.stem, *path.parts[1:-1]}
    ]
    assert wrong == []


@pytest.mark.parametrize("part", PARTS)
def test_messages_of_django_are_not_imported_as_notices(part: str) -> None:
    """`accounts.notifications` sends notices; the messages of a page are something else."""
    for path in files(part):
        assert "import messages as notices" not in (ROOT / path).read_text(encoding="utf-8"), path


def test_class_names_are_unique() -> None:
    """A name stands for one thing. Classes that play the same role in sibling packages share a name."""
    places: dict[str, list[str]] = {}
    for path in tracked():
        if path.suffix == ".py" and path.parts[0] in UNIQUE and "migrations" not in path.parts:
            for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef):
                    places.setdefault(node.name, []).append(str(path))
    doubles = {name: paths for name, paths in places.items() if len(paths) > 1 and name not in SIBLINGS}
    assert doubles == {}


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("rescue = 1", "1: rescue"),
        ("class KeyRescue: ...", "1: KeyRescue"),
        ("x = 1  # the culprit", "1: culprit"),
        ('"""The\nswift way."""', "2: swift"),
        ("told = 1", "1: told (use: what the value is: result, text, request)"),
    ],
)
def test_a_replaced_word_is_found(source: str, problem: str) -> None:
    assert list(of_python(source)) == [problem]


@pytest.mark.parametrize(
    "source",
    ["key.rescues.all()", "x = 'the rescue'", "# nobody was told", "RescueRequest.objects", "swiftlet = 1"],
)
def test_stored_names_texts_and_ordinary_words_are_not(source: str) -> None:
    assert list(of_python(source)) == []
