"""Known browsers: browsers in which an account finished a login before have separate counters of wrong passwords and
codes.

Source: OWASP, "Slow Down Online Guessing with Device Cookies". Failures from unknown browsers count against the
account everywhere else, so they cannot lock the owner out; failures in a known browser count against that browser
only.

The cookie holds one token for each account, ``day.nonce.tag``. The tag is keyed over the account, its
`browser_epoch`, the day and the nonce, so nothing is stored and no token is valid for another account. It proves
nothing else: password and second factor are required as in any other browser.

A token is valid for LIFETIME. It survives a logout, because a logout does not change who the owner is, and it
survives a freeze: a thief with a stolen phone can freeze the account by a link, and could then lock the owner out by
wrong passwords. Every other event that ends all sessions (new password, replaced factors, "end all others", staff)
makes the tokens void, because one of the browsers may be a thief's. The browser in which that was done gets a new
token.
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
MAX_ACCOUNTS = 5  # accounts of one browser, such as a family's; the one that logged in longest ago is removed
COOKIE = "__Host-known" if settings.SECURE else "known"
USE = "known-browser"
DAY = 86_400
NONCE_BYTES = 12
TOKEN = re.compile(r"([0-9a-f]{1,8})\.([A-Za-z0-9_-]{16})\.([A-Za-z0-9_-]{22})", re.ASCII)
MAX_COOKIE_LENGTH = MAX_ACCOUNTS * 60

#: Query parameter of the login page after a logout: the one-time name under which the tokens are kept for a minute.
HANDOVER_PARAMETER = "browser"
HANDOVER_SECONDS = 60


def identify(request: HttpRequest, user: User | None) -> str:
    """Return the name of this browser in the counters of ``user``, "" if the user never finished a login in it.

    ``user`` is None for a number without an account: the work is the same.
    """
    if user is not None and _is_logged_in(request, user):
        return "session"
    nonces = [nonce for token in tokens(request) if (nonce := _nonce(token, user))]
    # Trusted devices count too; some of them are older than known browsers.
    device = trusted_devices.find(request, user)
    return nonces[0] if nonces else f"trusted-{device.pk}" if device else ""


def identify_by_phone(request: HttpRequest, phone: str) -> str:
    """Return `identify` for the account with this number (E.164), prefixed with its id; "" if there is none."""
    if COOKIE not in request.COOKIES and trusted_devices.COOKIE not in request.COOKIES:
        return ""
    user = User.objects.filter(phone=phone).first()
    browser = identify(request, user)
    return f"{user.pk}|{browser}" if user is not None and browser else ""


def _is_logged_in(request: HttpRequest, user: User) -> bool:
    current_user = getattr(request, "user", None)
    return isinstance(current_user, User) and current_user.pk == user.pk and current_user.is_verified()


def tokens(request: HttpRequest) -> list[str]:
    """Return the tokens in the browser's cookie, for any account, valid or not; the newest last."""
    cookie = request.COOKIES.get(COOKIE, "")
    parts = cookie.split(":") if len(cookie) <= MAX_COOKIE_LENGTH else []
    return [part for part in parts if TOKEN.fullmatch(part)][-MAX_ACCOUNTS:]


def _nonce(token: str, user: User | None) -> str:
    """Return the nonce of a token that is valid for ``user``, "" for any other token."""
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
    """Mark the browser of ``request`` as known to ``user``, who has proved both factors in it. The response sets the
    cookie.
    """
    request.known_to = user  # type: ignore[attr-defined]


def middleware(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Set the cookie of a browser that a login, or a change of password or factors, marked as known (`mark_known`)."""

    def process(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if (user := getattr(request, "known_to", None)) is not None:
            _set_cookie(response, _tokens_with(request, user))
        return response

    return process


def _tokens_with(request: HttpRequest, user: User) -> list[str]:
    """Return the tokens of the browser with a new one for ``user``, which replaces the old one."""
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
    """Return the query parameters of the login page after a logout, which deletes all cookies of the site.

    SECURITY: they contain a random name for the tokens, valid once and for a minute, and not the tokens, which
    proxies would log.
    """
    known = (
        _tokens_with(request, user) if user is not None and _is_logged_in(request, user) else tokens(request)
    )
    name = secrets.token_urlsafe(NONCE_BYTES)
    # A logout must not depend on the cache. Without it, the browser becomes known again at its next login.
    with contextlib.suppress(Exception):
        if known:
            cache.set(_cache_key(name), known, HANDOVER_SECONDS)
            return {HANDOVER_PARAMETER: name}
    return {}


def import_tokens(request: HttpRequest, response: HttpResponse) -> None:
    """Restore the tokens that `export_tokens` kept, once."""
    name = request.GET.get(HANDOVER_PARAMETER, "")[:40]
    known = cache.get(_cache_key(name))
    # Of parallel requests with the same name, the one that deletes the entry continues.
    if known and cache.delete(_cache_key(name)):
        # SECURITY: the browser's own tokens come last, so a link with tokens of another browser cannot displace them.
        _set_cookie(
            response,
            [*(token for token in known if token not in tokens(request)), *tokens(request)][-MAX_ACCOUNTS:],
        )


def _cache_key(name: str) -> str:
    return f"known-browser|{crypto.tag(USE, 'handover', name)}"
