"""The route table: what it accepts, which route a request gets, and that every format says the same."""

import json
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apikeys.gateway import routes
from apikeys.gateway.requests import Security
from apikeys.gateway.routes.table import BINANCE_NAMES, METHODS, PATH_PATTERN
from tests.support.production import ROOT

EXAMPLE = (ROOT / "deploy/routes.example").read_text(encoding="utf-8")


def needs(text: str, method: str, path: str) -> str:
    return str(routes.parse(text).needs(method, path))


def problems(text: str) -> list[str]:
    with pytest.raises(routes.RouteTableError) as raised:
        routes.parse(text)
    assert str(raised.value) == "\n".join(raised.value.problems)
    return raised.value.problems


def test_what_is_not_listed_needs_a_signature_and_withdraw() -> None:
    text = "GET /api/v3/time none -\nGET /api/v3/ticker/* none -"
    for method, path in (
        ("POST", "/api/v3/time"), ("OPTIONS", "/api/v3/time"), ("get", "/api/v3/time"), ("GET", "/api/v3/time/"),
        ("GET", "/API/v3/time"), ("GET", "/api/v3/times"), ("GET", "/api/v3/ticker"), ("GET", "/"),
        ("GET", "/x/api/v3/ticker/24hr"),
    ):  # fmt: skip
        assert needs(text, method, path) == "signed withdraw", (method, path)


def test_an_exact_path_wins_over_a_prefix_and_a_long_prefix_over_a_short_one() -> None:
    text = (
        "GET /a/* signed withdraw\nGET /a/b/* signed trade\nGET /a/b/c/* signed read\n"
        "GET /a/b/c/d key read\nGET /a/x none -"
    )
    assert needs(text, "GET", "/a/z") == "signed withdraw"
    assert needs(text, "GET", "/a/b/z") == "signed trade"
    assert needs(text, "GET", "/a/b/c/z") == "signed read"
    assert needs(text, "GET", "/a/b/c/d") == "key read"
    assert needs(text, "GET", "/a/x") == "none -"


def test_head_needs_what_get_needs() -> None:
    text = "POST,GET /a key read"
    assert needs(text, "HEAD", "/a") == needs(text, "GET", "/a") == "key read"
    assert needs("POST /a key read", "HEAD", "/a") == "signed withdraw"


@pytest.mark.parametrize(("name", "expected"), [
    ("NONE", "none -"), ("MARKET_DATA", "key read"), ("USER_STREAM", "key read"),
    ("USER_DATA", "signed read"), ("TRADE", "signed trade"), ("WITHDRAW", "signed withdraw"),
])  # fmt: skip
def test_binance_names_imply_security_and_permission(name: str, expected: str) -> None:
    assert needs(f"GET /a {name}", "GET", "/a") == expected


def test_a_permission_beside_a_binance_name_may_only_be_stronger() -> None:
    assert needs("GET /a USER_DATA withdraw", "GET", "/a") == "signed withdraw"
    assert problems("GET /a TRADE read") == [
        "line 1: contradiction: TRADE needs at least the permission trade"
    ]


def test_comments_blank_lines_tabs_and_a_byte_order_mark_are_no_routes() -> None:
    text = "\ufeff# routes\n\n  \t\nGET\t/a\tsigned\tread  # why\r\n#GET /b none -\n"
    assert needs(text, "GET", "/a") == "signed read"
    assert needs(text, "GET", "/b") == "signed withdraw"


@pytest.mark.parametrize(("line", "problem"), [
    ("GET", "PATH is missing"),
    ("GET /a", "SECURITY is missing"),
    ("GET /a signed", "PERMISSION is missing"),
    ("GET /a signed read now", "a fifth word, 'now'"),
    ("FETCH /a signed read", "unknown method 'FETCH'"),
    ("get /a signed read", "unknown method 'get': write GET"),
    ("GET, /a signed read", "unknown method ''"),
    ("HEAD /a signed read", "HEAD needs what GET needs: write GET"),
    ("GET,GET /a signed read", "a method occurs twice"),
    ("GET /a Signed read", "unknown security type 'Signed'"),
    ("GET /a PUBLIC read", "unknown security type 'PUBLIC'"),
    ("GET /a signed reed", "unknown permission 'reed'"),
    ("GET /a signed -", "signed needs a permission"),
    ("GET /a key -", "key needs a permission"),
    ("GET /a USER_DATA -", "USER_DATA needs at least the permission read"),
    ("GET /a none read", "contradiction: none is for everybody"),
    ("GET /a NONE trade", "contradiction: NONE is for everybody"),
    ("GET /a key trade", "the permission trade needs a signature"),
    ("GET /a MARKET_DATA withdraw", "the permission withdraw needs a signature"),
    ("GET a signed read", "does not begin with '/'"),
    ("GET http://x/a signed read", "does not begin with '/'"),
    ("GET /a/../b signed read", "'..' leads to another path"),
    ("GET /a//b signed read", "'//' is the same as '/'"),
    ("GET //* signed read", "'//' is the same as '/'"),
    ("GET /a%2fb signed read", "'%' starts an encoded byte"),
    ("GET /a;b signed read", "';' starts a parameter"),
    ("GET /a?b=1 signed read", "a query string is no part of a route"),
    ("GET /a\\b signed read", "'\\' is the same as '/'"),
    ("GET /.well-known/x signed read", "begins with a dot"),
    ("GET /./a signed read", "begins with a dot"),
    ("GET /ü signed read", "has a character other than"),
    ("GET /a{b} signed read", "has a character other than"),
    ('GET /a"b signed read', "has a character other than"),
    ("GET /a$ signed read", "has a character other than"),
    ("GET /a* signed read", "has a '*' that is not a '/*' at its end"),
    ("GET /*/a signed read", "has a '*' that is not a '/*' at its end"),
    ("GET /* none -", "would match every route"),
    ("GET / signed read", "has a character other than"),
    (f"GET /{'a' * 512} signed read", "more than 512 characters"),
    ("", "there is no route in the table"),
    ("# nothing", "there is no route in the table"),
])  # fmt: skip
def test_a_wrong_line_is_named_with_its_number(line: str, problem: str) -> None:
    [text] = problems(line)
    assert text.startswith("line 1: ")
    assert problem in text


def test_all_problems_are_named_at_once() -> None:
    texts = problems("GET /a signed reed\nGET /b none -\n\nFETCH /c none -\n")
    assert [text.partition(":")[0] for text in texts] == ["line 1", "line 4"]


@pytest.mark.parametrize(("lines", "problem"), [
    (("GET /a signed read", "GET /a signed read"), "line 2: GET /a is a duplicate of line 1"),
    (("POST,GET /a none -", "POST /a none -"), "line 2: POST /a is a duplicate of line 1"),
    (("GET /a/* none -", "GET /a/* signed read"), "line 2: GET /a/* contradicts line 1: signed read, and none -"),
    (("GET /a none -", "PUT,GET /a USER_DATA"), "line 2: GET /a contradicts line 1: signed read, and none -"),
    (("GET /api/Order none -", "GET /api/order key read"), "line 2: GET /api/order contradicts line 1, which differs"),
    (("GET /a/ none -", "GET /a key read"), "line 2: GET /a contradicts line 1, which differs only by case or"),
])  # fmt: skip
def test_two_lines_about_one_route_are_refused(lines: tuple[str, ...], problem: str) -> None:
    [text] = problems("\n".join(lines))
    assert text.startswith(problem)


@pytest.mark.parametrize(("outer", "inner"), [
    ("none -", "signed read"), ("none -", "key read"), ("key read", "signed read"), ("signed read", "signed trade"),
    ("signed trade", "signed withdraw"),
])  # fmt: skip
@pytest.mark.parametrize("path", ["/api/v3/order", "/API/v3/order", "/api/v3/order/*"])
def test_a_prefix_that_needs_less_than_a_route_below_it_is_refused(outer: str, inner: str, path: str) -> None:
    """SECURITY: "/api/v3/Order" would need what the prefix needs, and be served as the order if case is ignored."""
    for order in (1, -1):
        [text] = problems("\n".join([f"GET /api/v3/* {outer}", f"GET {path} {inner}"][::order]))
        assert f"needs less ({outer})" in text
    assert routes.parse(f"POST /api/v3/* {outer}\nGET {path} {inner}")
    assert routes.parse(f"GET /api/v3/* {inner}\nGET {path} {outer}")


def test_the_example_lists_each_security_type_and_is_accepted() -> None:
    table = routes.parse(EXAMPLE)
    assert {route.needs.security for route in table.routes} == set(Security)
    for name in BINANCE_NAMES:
        assert f" {name}\n" in EXAMPLE
    assert str(table.needs("POST", "/sapi/v1/capital/withdraw/apply")) == "signed withdraw"
    assert str(table.needs("DELETE", "/api/v3/order")) == "signed trade"
    assert str(table.needs("HEAD", "/api/v3/ticker/24hr")) == "none -"


@pytest.mark.parametrize("path", [
    "/a//b", "//a", "/a/../b", "/a/./b", "/.a", "/a/%2e%2e/b", "/a%2fb", "/a;x", "/a\\b", "/a\n", "/a b", "/ä", "a", "",
    "/", "/a#b", "/a?b", "/a\x00", "/a*",
])  # fmt: skip
def test_only_paths_that_mean_the_same_to_every_server_pass(path: str) -> None:
    assert not re.fullmatch(PATH_PATTERN, path)


def nginx_needs(text: str) -> Callable[[str, str], str]:
    block = text.partition("$portal_needs {\n")[2].partition("\n}")[0]
    default, *lines = (line.strip() for line in block.splitlines())
    rules = [re.fullmatch(r'"~(.*)" "(.*)";', line) for line in lines]
    return _first(
        [(rule[1].replace(r"\z", r"\Z"), rule[2]) for rule in rules if rule], " ",
        default.removeprefix('default "').removesuffix('";'),
    )  # fmt: skip


def caddy_needs(text: str) -> Callable[[str, str], str]:
    rules = re.findall(r'(?m)^\t~(\S+) (\w+) "(\w*)"$', text)
    default = re.search(r'(?m)^\tdefault (\w+) "(\w+)"$', text)
    assert default
    # RE2's "$" is the end of the text.
    each = [
        (rule.removesuffix("$") + r"\Z" * rule.endswith("$"), f"{one} {two or '-'}")
        for rule, one, two in rules
    ]
    return _first(each, " ", f"{default[1]} {default[2]}")


def haproxy_needs(text: str) -> Callable[[str, str], str]:
    rules = [line.split(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    return _first([(rule[0], rule[1]) for rule in rules], ":", "signed withdraw")


def _first(rules: list[tuple[str, str]], separator: str, default: str) -> Callable[[str, str], str]:
    assert rules

    def look_up(method: str, path: str) -> str:
        key = f"{method}{separator}{path}"
        return next((value for rule, value in rules if re.search(rule, key)), default)

    return look_up


def json_needs(text: str) -> Callable[[str, str], str]:
    document = json.loads(text)
    assert document["path"] == PATH_PATTERN

    def look_up(method: str, path: str) -> str:
        for route in document["routes"]:
            same = path.startswith(route["path"]) if route["prefix"] else path == route["path"]
            if method in route["methods"] and same:
                return f"{route['security']} {route['permission'] or '-'}"
        return f"{document['default']['security']} {document['default']['permission']}"

    return look_up


READERS = {"nginx": nginx_needs, "caddy": caddy_needs, "haproxy": haproxy_needs, "json": json_needs}
segments = st.sampled_from(["a", "b", "A", "a.b", "a+b", "a-b"])
paths = st.lists(segments, min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts))
table_lines = st.tuples(
    st.lists(st.sampled_from(METHODS), min_size=1, max_size=3, unique=True).map(",".join),
    st.tuples(paths, st.sampled_from(["", "/*", "/"])).map("".join),
    st.sampled_from(["none -", "key read", "signed read", "signed trade", "signed withdraw"]),
).map(" ".join)


@pytest.mark.parametrize("name", READERS)
@given(data=st.data())
def test_what_a_proxy_is_given_is_the_table(name: str, data: st.DataObject) -> None:
    lines = data.draw(st.lists(table_lines, min_size=1, max_size=6))
    try:
        table = routes.parse("\n".join(lines))
    except routes.RouteTableError:
        table = routes.parse(lines[0])
    look_up = READERS[name](routes.FORMATS[name](table))
    for method in (*METHODS, "HEAD", "get", "TRACE"):
        for path in data.draw(
            st.lists(st.tuples(paths, st.sampled_from(["", "/", "/a", "x"])).map("".join), max_size=5)
        ):
            assert look_up(method, path) == str(table.needs(method, path)), (method, path)
    for route in table.routes:
        assert look_up(route.methods[0], route.path) == str(table.needs(route.methods[0], route.path))
