"""Browsers in which an account has finished a login before: they have their own counters of wrong passwords and codes.

OWASP, "Slow Down Online Guessing with Device Cookies". What strangers try counts against the account from everywhere
else, so that they can't lock its owner out; what is tried in a known browser counts against that browser alone.

The cookie holds one token for each account, ``day.nonce.tag``; the tag is keyed over the account, its `browser_epoch`,
the day and the nonce, so nothing is stored and no token serves another account. It proves nothing else: password and
second factor are asked for as everywhere.

How long it holds: LIFETIME; over a logout, since who logs out does not stop being the owner; and over the freezing of
the account. Whoever holds a stolen phone can freeze by a link, and could lock the owner out by wrong passwords after
that. It is void after whatever else ends all sessions (a new password, replaced factors, "end all others", staff):
then one of the browsers may be a thief's. The browser in which that was done gets a new token.
"""

import contextlib
import re
import secrets
import time
from collections.abc import Callable
from datetime import timedelta

from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse

from accounts.access import trusted_devices
from accounts.models import User
from hitobit_portal.security import crypto

LIFETIME = timedelta(days=180)
MAX_ACCOUNTS = 5  # accounts of one browser, a family's; the one that logged in longest ago goes
COOKIE = "__Host-known" if settings.SECURE else "known"
USE = "known-browser"
DAY = 86_400
NONCE_BYTES = 12
TOKEN = re.compile(r"([0-9a-f]{1,8})\.([A-Za-z0-9_-]{16})\.([A-Za-z0-9_-]{22})", re.ASCII)
MAX_COOKIE_LENGTH = MAX_ACCOUNTS * 60

#: In the address of the login page after a logout: what names, for a minute and once, the tokens that are kept for it.
HANDOVER_PARAMETER = "browser"
HANDOVER_SECONDS = 60


def identify(request: HttpRequest, user: User | None) -> str:
    """What names this browser in counters of ``user``; "" when they never finished a login in it.

    ``user`` is None for a number that nobody has: the same work.
    """
    if user is not None and _is_logged_in(request, user):
        return "session"
    nonces = [nonce for token in tokens(request) if (nonce := _nonce(token, user))]
    # Also one that was trusted before there were known ones.
    device = trusted_devices.find(request, user)
    return nonces[0] if nonces else f"trusted-{device.pk}" if device else ""


def identify_by_phone(request: HttpRequest, phone: str) -> str:
    """`identify` the account with this number (E.164), with its id: a name for counters. "" when there is none."""
    if COOKIE not in request.COOKIES and trusted_devices.COOKIE not in request.COOKIES:
        return ""
    user = User.objects.filter(phone=phone).first()
    browser = identify(request, user)
    return f"{user.pk}|{browser}" if user is not None and browser else ""


def _is_logged_in(request: HttpRequest, user: User) -> bool:
    current_user = getattr(request, "user", None)
    return isinstance(current_user, User) and current_user.pk == user.pk and current_user.is_verified()


def tokens(request: HttpRequest) -> list[str]:
    """The tokens of the browser's cookie, whosever they are and whether or not they hold; the newest last."""
    cookie = request.COOKIES.get(COOKIE, "")
    parts = cookie.split(":") if len(cookie) <= MAX_COOKIE_LENGTH else []
    return [part for part in parts if TOKEN.fullmatch(part)][-MAX_ACCOUNTS:]


def _nonce(token: str, user: User | None) -> str:
    """The nonce of a token that makes its browser known to ``user``; "" of any other."""
    parts = TOKEN.fullmatch(token)
    if parts is None:
        return ""
    day, nonce, tag = parts.groups()
    is_valid = crypto.tag_matches(tag, USE, *_owner(user), day, nonce)
    return nonce if is_valid and user is not None and 0 <= _today() - int(day, 16) < LIFETIME.days else ""


def _owner(user: User | None) -> tuple[str, str]:
    return (str(user.pk), str(user.browser_epoch)) if user is not None else ("", "")


def _today() -> int:
    return int(time.time()) // DAY


def mark_known(request: HttpRequest, user: User) -> None:
    """Has the browser of ``request`` known to ``user`` from its answer on: they have proved both factors in it."""
    request.known_to = user  # type: ignore[attr-defined]


def middleware(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Writes the cookie of a browser that a login, or a change of what proves somebody, made known (`mark_known`)."""

    def process(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if (user := getattr(request, "known_to", None)) is not None:
            _set_cookie(response, _tokens_with(request, user))
        return response

    return process


def _tokens_with(request: HttpRequest, user: User) -> list[str]:
    """The tokens of the browser with a new one for ``user`` in the place of theirs."""
    day, nonce = f"{_today():x}", secrets.token_urlsafe(NONCE_BYTES)
    new = f"{day}.{nonce}.{crypto.tag(USE, *_owner(user), day, nonce)}"
    return [*(token for token in tokens(request) if not _nonce(token, user)), new][-MAX_ACCOUNTS:]


def _set_cookie(response: HttpResponse, known: list[str]) -> None:
    response.set_cookie(
        COOKIE,
        ":".join(known),
        max_age=int(LIFETIME.total_seconds()),
        secure=settings.SECURE,
        httponly=True,
        samesite="Lax",
    )


def export_tokens(request: HttpRequest, user: User | None) -> dict[str, str]:
    """For the address of the login page after a logout, which has the browser drop all cookies of the site.

    SECURITY: not the tokens, which proxies would log, but a random name of them that holds for a minute and once.
    """
    known = (
        _tokens_with(request, user) if user is not None and _is_logged_in(request, user) else tokens(request)
    )
    name = secrets.token_urlsafe(NONCE_BYTES)
    # Logging out must not depend on the cache; without it the browser is known again after its next login.
    with contextlib.suppress(Exception):
        if known:
            cache.set(_cache_key(name), known, HANDOVER_SECONDS)
            return {HANDOVER_PARAMETER: name}
    return {}


def import_tokens(request: HttpRequest, response: HttpResponse) -> None:
    """Gives the tokens back that `export_tokens` kept, once."""
    name = request.GET.get(HANDOVER_PARAMETER, "")[:40]
    known = cache.get(_cache_key(name))
    # Of many requests with one name the one that deletes goes on.
    if known and cache.delete(_cache_key(name)):
        # SECURITY: the browser's own last, so that a link with somebody else's tokens drives none of them out.
        _set_cookie(
            response,
            [*(token for token in known if token not in tokens(request)), *tokens(request)][-MAX_ACCOUNTS:],
        )


def _cache_key(name: str) -> str:
    return f"known-browser|{crypto.tag(USE, 'handover', name)}"
