"""Regular expressions of the product, and which of them may take more than one pass over a text.

Python's `re` goes back over what it matched when the rest does not fit. That costs the square of a text's length, or
worse, where two repeats can share characters, where a repeat stands within a repeat, and where a search can begin anew
within what a repeat has just gone through. `slow` finds all of these. It also refuses some that are harmless; those can
be written in another way, or with a bound.
"""

import ast
import re
import re._constants as op  # type: ignore[import-not-found]
import re._parser as parser  # type: ignore[import-not-found]
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from tests.structure.sources import sources

#: More repetitions than this are as good as without an end.
BOUND = 64
#: Every character that expressions here tell apart: ASCII, and some of what lies beyond it.
SAMPLE = (
    *range(256),
    0x660,
    0x6F0,
    0x6CC,
    0x200B,
    0x200C,
    0x200E,
    0x2010,
    0x2066,
    0x212A,
    0x3002,
    0xFEFF,
    0x1F600,
)
_CATEGORIES = {
    op.CATEGORY_DIGIT: r"\d",
    op.CATEGORY_NOT_DIGIT: r"\D",
    op.CATEGORY_SPACE: r"\s",
    op.CATEGORY_NOT_SPACE: r"\S",
    op.CATEGORY_WORD: r"\w",
    op.CATEGORY_NOT_WORD: r"\W",
}
#: Calls that look at one place only; all others look at every place of a text.
_ANCHORED = ("match", "fullmatch")
_CALLS = ("compile", "search", "match", "fullmatch", "sub", "subn", "split", "findall", "finditer")

Chars = frozenset[int]
EVERY: Chars = frozenset(SAMPLE)


@dataclass(frozen=True)
class Expression:
    """One in the source; ``anchored`` if it is only ever matched at one place."""

    module: str
    line: int
    pattern: str | bytes
    flags: int
    anchored: bool


def expressions() -> Iterator[Expression]:
    """All that are written out, in every module of the product."""
    for module, tree in sources():
        anchored = _anchored_names(tree)
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
                continue
            function, pattern = node.func, node.args[0]
            if not (
                isinstance(function.value, ast.Name) and function.value.id == "re" and function.attr in _CALLS
            ):
                continue
            if isinstance(pattern, ast.Constant) and isinstance(pattern.value, str | bytes):
                used = function.attr in _ANCHORED or id(node) in anchored
                yield Expression(module, node.lineno, pattern.value, _flags(node), used)


def _anchored_names(tree: ast.Module) -> set[int]:
    """The `re.compile` calls whose names are used with `match` and `fullmatch` alone."""
    compiled: dict[str, int] = {}
    uses: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Call)
            and isinstance(node.targets[0], ast.Name)
        ):
            compiled[node.targets[0].id] = id(node.value)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            uses.setdefault(node.value.id, set()).add(node.attr)
    return {
        call for name, call in compiled.items() if uses.get(name) and uses[name] <= {*_ANCHORED, "pattern"}
    }


def _flags(call: ast.Call) -> int:
    named = {node.attr for node in ast.walk(call) if isinstance(node, ast.Attribute)}
    return sum(int(re.RegexFlag[name]) for name in named & set(re.RegexFlag.__members__))


@dataclass(frozen=True)
class _Item:
    """A part of an expression: what it can be made of, whether it may be left out, and whether it has no end."""

    chars: Chars
    optional: bool = False
    endless: bool = False
    variable: bool = False
    #: An assertion takes no characters; of one that looks behind, those that may not stand before.
    assertion: bool = False
    not_before: Chars = frozenset()


def slow(pattern: str | bytes, *, flags: int = 0, anchored: bool = False) -> list[str]:
    """What is wrong with ``pattern``, in words; nothing if it goes through each text once."""
    tree = parser.parse(pattern, flags)
    result: list[str] = []
    for sequence in _sequences(tree, tree.state.flags, result):
        result += _shared(sequence)
        if not anchored:
            result += _begun_within(sequence)
    return sorted(set(result))


def _shared(sequence: list[_Item]) -> Iterator[str]:
    endless = [at for at, item in enumerate(sequence) if item.endless]
    for first, second in ((a, b) for a in endless for b in endless if a < b):
        both = sequence[first].chars & sequence[second].chars
        between = sequence[first + 1 : second]
        if both and all(item.optional or item.assertion or item.chars & both for item in between):
            yield "two repeats share characters"


def _begun_within(sequence: list[_Item]) -> Iterator[str]:
    for at, item in enumerate(sequence):
        if not item.endless or at == len(sequence) - 1:
            continue
        before = sequence[:at]
        kept_out = any(one.not_before and item.chars <= one.not_before for one in before)
        within = all(one.optional or one.assertion or one.chars & item.chars for one in before)
        if within and not kept_out and not all(one.optional for one in sequence[at + 1 :]):
            yield "a search begins anew within a repeat"


def _sequences(tree: Any, flags: int, result: list[str]) -> Iterator[list[_Item]]:
    """Each way through the alternatives, as the parts that follow each other."""
    alternatives: list[list[_Item]] = [[]]
    for code, value in tree:
        parts = list(_parts(code, value, flags, result))
        alternatives = [[*way, *part] for way in alternatives for part in parts]
        assert len(alternatives) <= 5_000, "an expression with too many alternatives"
    yield from alternatives


def _parts(code: Any, value: Any, flags: int, result: list[str]) -> Iterator[list[_Item]]:
    if code is op.SUBPATTERN:
        yield from _sequences(value[3], flags | value[1] & ~value[2], result)
    elif code is op.BRANCH:
        for branch in value[1]:
            yield from _sequences(branch, flags, result)
    elif code in (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT):
        yield from _repeated(code, value, flags, result)
    elif code in (op.ATOMIC_GROUP, op.GROUPREF, op.GROUPREF_EXISTS):
        result.append(f"{str(code).lower()} is not used here")
        yield []
    elif code in (op.ASSERT, op.ASSERT_NOT):
        direction, inner = value
        items = [item for way in _sequences(inner, flags, result) for item in way]
        single = len(items) == 1 and not items[0].endless
        behind = items[0].chars if code is op.ASSERT_NOT and direction < 0 and single else frozenset()
        if any(item.endless for item in items):
            result.append("an assertion has a repeat without an end")
        yield [_Item(frozenset(), assertion=True, not_before=behind)]
    elif code is op.AT:
        yield [_Item(frozenset(), assertion=True)]
    elif code is op.FAILURE:
        yield [_Item(frozenset())]
    else:
        yield [_Item(_chars(code, value, flags))]


def _repeated(code: Any, value: Any, flags: int, result: list[str]) -> Iterator[list[_Item]]:
    least, most, body = value
    if code is not op.MAX_REPEAT and most != 1:
        result.append("a lazy or possessive repeat")
    alternatives = list(_sequences(body, flags, result))
    endless = most is op.MAXREPEAT or most > BOUND
    if most == 1:
        yield from alternatives
        yield []
        return
    for way in alternatives:
        if any(item.endless for item in way):
            result.append("a repeat within a repeat")
        for at, item in enumerate(way):
            others = way[:at] + way[at + 1 :]
            if item.variable and all(other.optional or other.chars & item.chars for other in others):
                result.append("a repeat of changing length within a repeat")
    if any(all(item.optional or item.assertion for item in way) for way in alternatives):
        result.append("a repeat of what may be empty")
    if (
        len(alternatives) > 1
        and endless
        and any(a[0].chars & b[0].chars for a in alternatives for b in alternatives if a is not b)
    ):
        result.append("alternatives within a repeat begin alike")
    chars: Chars = frozenset().union(*(item.chars for way in alternatives for item in way))
    single = all(len(way) == 1 for way in alternatives)
    whole = _Item(chars, optional=least == 0, endless=endless, variable=least != most)
    if single or endless:
        yield [whole]
    else:  # what has to stand within each repetition stands between what is around it
        yield from ([*way, replace(whole, optional=True)] for way in alternatives) if least else [[whole]]


def _chars(code: Any, value: Any, flags: int) -> Chars:
    result: Chars
    if code is op.LITERAL:
        result = frozenset({value})
    elif code is op.NOT_LITERAL:
        result = EVERY - {value}
    elif code is op.ANY:
        result = EVERY if flags & re.DOTALL else EVERY - {10}
    elif code is op.IN:
        result = frozenset().union(*(_of_class(*item) for item in value if item[0] is not op.NEGATE))
        result = EVERY - result if value[0][0] is op.NEGATE else result
    elif code is op.CATEGORY:
        result = frozenset(_of_class(code, value))
    else:
        raise AssertionError(f"{code} is not known here")
    if flags & re.IGNORECASE:
        result |= {*(ord(c) for n in result for c in (chr(n).lower(), chr(n).upper()) if len(c) == 1)}
    return frozenset(result)


def _of_class(code: Any, value: Any) -> Chars:
    if code is op.LITERAL:
        return frozenset({value})
    if code is op.RANGE:
        return frozenset(n for n in SAMPLE if value[0] <= n <= value[1])
    return frozenset(n for n in SAMPLE if re.fullmatch(_CATEGORIES[value], chr(n)))
