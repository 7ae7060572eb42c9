"""Parse the route table. Pure: no ORM, no Django.

One route a line: ``METHOD  PATH  SECURITY  PERMISSION``, separated by spaces or tabs. ``#`` begins a comment.

- METHOD: one or several, joined by ``,``. GET includes HEAD.
- PATH: a path, or with ``/*`` at its end all paths below it.
- SECURITY: ``none``, ``key`` or ``signed``; or one of Binance's security types, which imply a permission.
- PERMISSION: ``read``, ``trade``, ``withdraw``, or ``-`` for none.

An exact path wins over ``/*``, a longer ``/*`` over a shorter one. A request that no route matches needs a signature
and the permission to withdraw.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from apikeys.gateway.requests import PERMISSIONS, Security

METHODS: Final = ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")
#: Binance's names ("Endpoint security type" in rest-api.md) → security type and permission.
BINANCE_NAMES: Final = {
    "NONE": (Security.NONE, ""),
    "MARKET_DATA": (Security.KEY, "read"),
    "USER_STREAM": (Security.KEY, "read"),
    "USER_DATA": (Security.SIGNED, "read"),
    "TRADE": (Security.SIGNED, "trade"),
    "WITHDRAW": (Security.SIGNED, "withdraw"),
}
#: The paths that the proxies let through, for all regular expression dialects in use (RE2, PCRE, ECMAScript).
#: SECURITY: every other spelling of a path (``..``, ``//``, ``%2f``, ``;``) may mean another route to the exchange than
#: to the proxy, so a proxy refuses it before it chooses a route. No segment begins with a dot.
PATH_PATTERN: Final = r"(/[A-Za-z0-9_~:@,+-][A-Za-z0-9._~:@,+-]*)+/?"
_PATH = re.compile(PATH_PATTERN)
#: Longer paths would not fit into a line of every proxy's configuration.
MAX_PATH_LENGTH: Final = 512
_SECURITY_ORDER = (Security.NONE, Security.KEY, Security.SIGNED)
_PERMISSION_ORDER = ("", *PERMISSIONS)
_UNSAFE_PARTS = {
    "..": "'..' leads to another path",
    "//": "'//' is the same as '/' for some servers",
    "%": "'%' starts an encoded byte: write the path decoded",
    ";": "';' starts a parameter for some servers",
    "?": "a query string is no part of a route",
    "#": "'#' starts a fragment",
    "\\": "'\\' is the same as '/' for some servers",
}


class RouteTableError(ValueError):
    """Problems of a route table. ``problems``: one text a problem, beginning with ``line N:``."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Needs:
    """What a route needs: the values of ``X-Required-Security`` and ``X-Required-Permission`` ("" for none)."""

    security: Security
    permission: str

    def covers(self, other: Needs) -> bool:
        """Return whether a request that satisfies these needs satisfies ``other``, too."""
        return _SECURITY_ORDER.index(self.security) >= _SECURITY_ORDER.index(
            other.security
        ) and _PERMISSION_ORDER.index(self.permission) >= _PERMISSION_ORDER.index(other.permission)

    def __str__(self) -> str:
        return f"{self.security.value} {self.permission or '-'}"


#: What a request needs that no route matches.
DEFAULT_NEEDS: Final = Needs(Security.SIGNED, "withdraw")


@dataclass(frozen=True, slots=True)
class Route:
    """One line of the table.

    ``path`` of a route with ``/*`` ends with ``/``; GET in ``methods`` is followed by HEAD.
    """

    methods: tuple[str, ...]
    path: str
    is_prefix: bool
    needs: Needs
    line: int

    def matches(self, method: str, path: str) -> bool:
        return method in self.methods and (
            path.startswith(self.path) if self.is_prefix else path == self.path
        )


@dataclass(frozen=True, slots=True)
class RouteTable:
    """Routes in the order in which they are tried: exact paths, then longer before shorter prefixes.

    A proxy that tries them in this order, and takes the first one that matches, agrees with `needs`.
    """

    routes: tuple[Route, ...]

    def needs(self, method: str, path: str) -> Needs:
        """Return what a request needs. ``path``: as sent, and checked against `PATH_PATTERN` before."""
        return next((route.needs for route in self.routes if route.matches(method, path)), DEFAULT_NEEDS)


def parse(text: str) -> RouteTable:
    """Parse the text of a route table. Raise `RouteTableError` with all of its problems."""
    routes: list[Route] = []
    problems: list[str] = []
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            routes.append(_route(words, number))
        except ValueError as error:
            problems.append(f"line {number}: {error}")
    if not problems:
        problems = [*_conflicts(routes)]
    if not routes and not problems:
        problems = ["line 1: there is no route in the table"]
    if problems:
        raise RouteTableError(problems)
    routes.sort(key=lambda route: (route.is_prefix, -len(route.path), route.path, route.line))
    return RouteTable(tuple(routes))


def _route(words: list[str], line: int) -> Route:
    """Return the route of a line. Raise `ValueError`."""
    if len(words) < 3:
        missing = ("METHOD", "PATH", "SECURITY")[len(words)]
        raise ValueError(f"{missing} is missing; a route is METHOD PATH SECURITY PERMISSION")
    if len(words) > 4:
        raise ValueError(f"there is a fifth word, {words[4]!r}; a route is METHOD PATH SECURITY PERMISSION")
    path = words[1].removesuffix("*") if words[1].endswith("/*") else words[1]
    _check_path(path, words[1])
    permission = words[3] if len(words) == 4 else None
    return Route(_methods(words[0]), path, path != words[1], _needs(words[2], permission), line)


def _methods(text: str) -> tuple[str, ...]:
    methods = text.split(",")
    for method in methods:
        if method == "HEAD":
            raise ValueError("HEAD needs what GET needs: write GET")
        if method not in METHODS:
            hint = (
                f": write {method.upper()}"
                if method.upper() in METHODS
                else f" (known: {', '.join(METHODS)})"
            )
            raise ValueError(f"unknown method {method!r}{hint}")
    if len(set(methods)) < len(methods):
        raise ValueError(f"a method occurs twice in {text!r}")
    return tuple(name for method in methods for name in ((method, "HEAD") if method == "GET" else (method,)))


def _check_path(path: str, text: str) -> None:
    """Raise `ValueError` if a proxy would not let this path through. ``text``: the path as written."""
    if not path.startswith("/"):
        raise ValueError(f"the path {text!r} does not begin with '/'")
    for part, reason in _UNSAFE_PARTS.items():
        if part in path:
            raise ValueError(f"the path {text!r} is not allowed: {reason}")
    if path == "/" and text == "/*":
        # SECURITY: it would be the default of all routes that somebody forgot to list.
        raise ValueError("'/*' would match every route; what is not listed needs 'signed withdraw'")
    if "*" in path:
        raise ValueError(f"the path {text!r} has a '*' that is not a '/*' at its end")
    if not _PATH.fullmatch(path):
        raise ValueError(
            f"the path {text!r} has a character other than A-Z a-z 0-9 and . _ ~ : @ , + -, or a segment that begins "
            "with a dot"
        )
    if len(path) > MAX_PATH_LENGTH:
        raise ValueError(f"the path has more than {MAX_PATH_LENGTH} characters")


def _needs(name: str, permission: str | None) -> Needs:
    """Return what the last two words of a line say. ``permission`` None: the line ends with the security type."""
    if permission is not None and permission != "-" and permission not in PERMISSIONS:
        raise ValueError(f"unknown permission {permission!r} (known: {', '.join(PERMISSIONS)}, - for none)")
    if name in BINANCE_NAMES:
        security, implied = BINANCE_NAMES[name]
        needs = Needs(security, implied if permission is None else permission.replace("-", ""))
        if not needs.covers(Needs(security, implied)):
            raise ValueError(f"contradiction: {name} needs at least the permission {implied}")
    elif name in [security.value for security in Security]:
        if permission is None:
            raise ValueError("PERMISSION is missing (read, trade, withdraw, or - for none)")
        needs = Needs(Security(name), permission.replace("-", ""))
    else:
        known = ", ".join([*(security.value for security in Security), *BINANCE_NAMES])
        raise ValueError(f"unknown security type {name!r} (known: {known})")
    if needs.security is Security.NONE and needs.permission:
        raise ValueError(f"contradiction: {name} is for everybody, so it needs no permission: write -")
    if needs.security is not Security.NONE and not needs.permission:
        raise ValueError(f"contradiction: {name} needs a permission (read, trade or withdraw)")
    # SECURITY: an API key alone is no secret; whoever has seen it could trade.
    if needs.security is Security.KEY and needs.permission != "read":
        raise ValueError(f"contradiction: the permission {needs.permission} needs a signature (signed)")
    return needs


def _conflicts(routes: list[Route]) -> Iterator[str]:
    """Yield what is wrong with routes that are right one by one."""
    for number, route in enumerate(routes):
        for earlier in routes[:number]:
            methods = [method for method in route.methods if method in earlier.methods]
            if methods:
                yield from _conflict(methods[0], earlier, route)


def _conflict(method: str, earlier: Route, route: Route) -> Iterator[str]:
    where = f"line {route.line}: {method} {_spelled(route)}"
    if (route.path, route.is_prefix) == (earlier.path, earlier.is_prefix):
        if route.needs == earlier.needs:
            yield f"{where} is a duplicate of line {earlier.line}"
        else:
            yield f"{where} contradicts line {earlier.line}: {route.needs}, and {earlier.needs}"
        return
    # SECURITY: a service that ignores case or a "/" at the end (as ASP.NET does) serves both as one route.
    if route.is_prefix == earlier.is_prefix and _loose(route.path) == _loose(earlier.path):
        if route.needs != earlier.needs:
            yield (
                f"{where} contradicts line {earlier.line}, which differs only by case or the last '/': "
                f"{route.needs}, and {earlier.needs}"
            )
        return
    # SECURITY: for the same reason, "/api/v3/Order" would be matched by "/api/v3/*" and served as "/api/v3/order".
    for outer, inner in ((route, earlier), (earlier, route)):
        if outer.is_prefix and _loose(inner.path).startswith(_loose(outer.path) + "/"):
            if not outer.needs.covers(inner.needs):
                yield (
                    f"line {outer.line}: {method} {_spelled(outer)} needs less ({outer.needs}) than line {inner.line} "
                    f"below it ({_spelled(inner)}: {inner.needs}); other spellings of that path would need less, too. "
                    "List the routes one by one"
                )
            return


def _loose(path: str) -> str:
    """Return the path as a service reads it that ignores case and a "/" at the end."""
    return path.casefold().rstrip("/")


def _spelled(route: Route) -> str:
    return route.path + "*" * route.is_prefix
