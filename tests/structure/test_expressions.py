"""No regular expression of the product takes more than one pass over a text, whoever wrote that text."""

import pytest

from tests.structure.expressions import Expression, expressions, slow

#: Where the text is short in any case: (module, what the expression begins with), and what bounds it.
SHORT = {
    (
        "hitobit_portal.observability.logs",
        r"(?<![\w./-])[A-Za-z0-9+/_=-]{16,}",
    ): "of a message 500 characters are looked at",
    ("hitobit_portal.observability.logs", r"(?<![A-Za-z0-9])(?:[A-Za-z0-9]{4,8}"): "the same",
    (
        "hitobit_portal.i18n.fields",
        r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:",
    ): "an address has 254 characters at most",
    (
        "hitobit_portal.i18n.free_text",
        r"(?<![A-Za-z0-9])\+?\(?[0-9](?:",
    ): "a long run matches, at the latest without its last digit",
}
ALL = list(expressions())


@pytest.mark.parametrize("one", ALL, ids=[f"{one.module}:{one.line}" for one in ALL])
def test_each_expression_goes_through_a_text_once(one: Expression) -> None:
    pattern = one.pattern.decode("latin-1") if isinstance(one.pattern, bytes) else one.pattern
    if any(one.module == module and pattern.startswith(start) for module, start in SHORT):
        return
    assert slow(one.pattern, flags=one.flags, anchored=one.anchored) == []


def test_the_walk_finds_them() -> None:
    modules = {one.module for one in ALL}
    assert len(ALL) > 50
    assert {
        "apikeys.debugger.request_parser",
        "apikeys.debugger.curl",
        "apikeys.debugger.secret_masking",
        "apikeys.debugger.signature_candidates",
        "hitobit_portal.observability.logs",
    } <= modules
    for module, start in SHORT:
        (one,) = (one for one in ALL if one.module == module and str(one.pattern).startswith(start))
        assert slow(one.pattern, flags=one.flags, anchored=one.anchored), "it needs no exception any more"


@pytest.mark.parametrize(
    ("pattern", "anchored"),
    [
        # What was used here before, and cost seconds.
        (r"(?:(?P<method>[A-Za-z]{3,10})\s+)?(?P<target>\S.*?)(?:\s+HTTP/[0-9.]{1,3})?", True),
        (r"(?<=[=])([0-9]+)\.([0-9]*?)0*(?=$)", False),
        (r"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", False),
        (r"(://[^\s:/@]*:)[^\s@]+@", False),
        (r"(?:[0-9A-Fa-f]{2}|[0-9A-Fa-f]{3})+", True),
        # What is known to be slow.
        (r"(?:a+)+b", True),
        (r"(?:a|a)+b", True),
        (r"(?:a*)*", True),
        (r"(?:a{1,8}){2,}b", True),
        (r"a+a+b", True),
        (r"a+[ab]c?[ab]+d", True),
        (r"\s+$", False),
        (r"[ab]a*c", False),
        (r"(?:ab)*+c", True),
        (r"(a+)b\1", True),
    ],
)
def test_a_slow_expression_is_known(pattern: str, anchored: bool) -> None:
    assert slow(pattern, anchored=anchored)


@pytest.mark.parametrize(
    ("pattern", "anchored"),
    [
        (r"\s+", False),
        (r"a+b+c", True),
        (r"[a-z]+:[a-z]+", True),
        (r"(?<![a-z])[a-z]+(?![0-9])", False),
        (r"%[0-9A-Fa-f]{2}", False),
        (r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}", True),
    ],
)
def test_a_quick_expression_is_let_pass(pattern: str, anchored: bool) -> None:
    assert slow(pattern, anchored=anchored) == []
