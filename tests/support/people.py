"""Users of the tests in every state of enrolment, their codes, and test clients in every state of login.

Rows and sessions are created by the portal's own functions (`accounts.access.pending_login`), not by pages, and no
password is hashed unless one is typed: sixty sessions take milliseconds. Codes are real: RFC 6238 and the clock.

    browser = logged_in(customer())  # both factors confirmed, and a finished login
"""

import functools
import itertools
import secrets
import time
import uuid
from dataclasses import dataclass, field
from datetime import timedelta

import pyotp
from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth import login as django_login
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest
from django.test import Client, RequestFactory
from django.test.client import ClientHandler
from django.utils import timezone

from accounts.access import logins, pending_login
from accounts.choices.approvals import Approval, ApprovalPurpose
from accounts.factors import recovery_codes as factors_recovery_codes
from accounts.factors import verification
from accounts.models import LoginSession, SmsDevice, TotpDevice, User
from accounts.registration import flow as pre_login
from apikeys.models import ApiKey, Credential
from apikeys.pages import session_state
from hitobit_portal.security import crypto
from tests.support import sms_collector
from tests.support.production import HOST

#: Documentation address (RFC 5737); tests with several callers use `address(n)`.
ADDRESS = "203.0.113.7"
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
_numbers = itertools.count(1)
#: The last browser of a user, by (id, flow): codes that a test creates are valid in it. See `live_sms_code`.
_browsers: dict[tuple[int, str], Client] = {}


@dataclass(frozen=True)
class Person:
    """A user row together with the user's secrets. ``seed`` is base32, "" before an authenticator exists."""

    user: User
    password: str = field(repr=False)  # a failing test prints its objects
    seed: str = field(default="", repr=False)

    def totp(self, steps: int = 0) -> str:
        """Return the authenticator's code ``steps`` of 30 s from now: -1, 0 and 1 are accepted, each of them once."""
        return self.totp_at(time.time() + steps * verification.TOTP_PERIOD)

    def totp_at(self, moment: float) -> str:
        """Return the authenticator's code at ``moment`` (seconds since 1970)."""
        return pyotp.TOTP(self.seed).generate_otp(int(moment) // verification.TOTP_PERIOD)

    def fresh_totp(self) -> str:
        """Return a currently valid code: the last used step is reset, as if a minute had passed."""
        TotpDevice.objects.filter(user=self.user).update(last_step=-1)
        return self.totp()

    def wrong_totp(self, number: int = 0) -> str:
        """Return a code that is wrong now and within a minute; a different one for each ``number`` up to 1000."""
        right = {self.totp(steps) for steps in range(-3, 4)}
        return [code for n in range(number + 8) if (code := f"{n:06d}") not in right][number]

    def reload(self) -> User:
        """Return the current row, with the factors."""
        return User.objects.select_related("totp", "sms").get(pk=self.user.pk)


def next_phone() -> str:
    """Return an Iranian mobile number (E.164) that no other user of this process has."""
    return f"+98912{next(_numbers):07d}"


def newcomer(*, password: str = "", name: str = "", **fields: bool) -> Person:
    """Return a user without factors. The password is hashed (slowly) only if one is given."""
    user = User.objects.create_user(next_phone(), password or None, name=name, **fields)
    return Person(user, password)


def with_phone(person: Person) -> Person:
    """Confirm the mobile number of the user: one factor of two."""
    now = timezone.now()
    SmsDevice.objects.create(
        user=person.user, name="sms", number=person.user.phone, confirmed=True, confirmed_at=now
    )
    return person


def with_authenticator(person: Person, *, confirmed: bool = True) -> Person:
    """Give the user an authenticator; unconfirmed as between the two halves of its enrolment."""
    seed = pyotp.random_base32()
    sealed = crypto.seal(seed.encode(), verification.seal_owner(person.user))
    at = timezone.now() if confirmed else None
    TotpDevice.objects.create(
        user=person.user, name="totp", seed_sealed=sealed, confirmed=confirmed, confirmed_at=at
    )
    return Person(person.user, person.password, seed)


def half_enrolled(*, password: str = "") -> Person:
    """Return a user whose phone is confirmed and who has no authenticator yet."""
    return with_phone(newcomer(password=password))


def customer(*, password: str = "", name: str = "", **fields: bool) -> Person:
    """Return a user with both factors confirmed. ``fields``: ``is_staff=True``, ``is_superuser=True``."""
    person = with_authenticator(with_phone(newcomer(password=password, name=name, **fields)))
    return Person(person.reload(), person.password, person.seed)


def with_password(person: Person) -> Person:
    """Give the user a password that can be typed into the login page."""
    password = secrets.token_urlsafe(12)
    person.user.set_password(password)
    person.user.save(update_fields=["password"])
    return Person(person.user, password, person.seed)


def recovery_codes(person: Person) -> list[str]:
    """Return ten new recovery codes of the user, as they are shown."""
    return factors_recovery_codes.generate(None, person.user, renew=True)


def address(number: int) -> str:
    """Return the ``number``-th of 65536 addresses (RFC 2544), so that limits by address do not interfere."""
    return f"198.18.{number // 256}.{number % 256}"


def browser(from_address: str = ADDRESS, *, csrf: bool = False) -> Client:
    """Return a browser without cookies, behind the TLS proxy of production. Exceptions become responses with status
    500.
    """
    client = Client(
        raise_request_exception=False,
        headers={"x-forwarded-proto": "https", "host": HOST, "user-agent": BROWSER},
        REMOTE_ADDR=from_address,
    )
    client.handler = _portal(csrf)
    return client


@functools.cache
def _portal(csrf: bool) -> ClientHandler:
    """Return the handler that all browsers share, as in production; building it (static files) costs more than a
    request.
    """
    return ClientHandler(enforce_csrf_checks=csrf)


def clone_browser(client: Client, from_address: str | None = None) -> Client:
    """Return a client with the same cookies, for a double click or a second tab."""
    other = browser(
        from_address or str(client.defaults["REMOTE_ADDR"]), csrf=client.handler.enforce_csrf_checks
    )
    for name, morsel in client.cookies.items():
        other.cookies[name] = morsel.value
    return other


def half_logged_in(person: Person, from_address: str = ADDRESS, *, csrf: bool = False) -> Client:
    """Return a browser after the right password; the second factor, or the enrolment, comes next."""
    client = browser(from_address, csrf=csrf)
    request = _request()
    pending_login.begin(request, person.reload(), "")
    return _with_session(client, request, person.user)


def proved_in(person: Person, *factors: str, from_address: str = ADDRESS) -> Client:
    """Return a half-finished login in which ``factors`` (sms, totp, recovery) were proved, and the enrolment
    continues.

    It started when the user did not have both factors.
    """
    client = browser(from_address)
    request = _request()
    pending_login.begin(request, person.reload(), "")
    request.session[logins.PENDING] = {**request.session[logins.PENDING], "needs": 2}
    for factor in factors:
        pending_login.record_proof(request, factor)
    return _with_session(client, request, person.user)


def replacing_authenticator(person: Person) -> Client:
    """Return a half-finished login in which a recovery code replaces a lost authenticator."""
    client = browser()
    request = _request()
    pending_login.begin(request, person.reload(), "")
    pending_login.record_proof(request, "recovery")
    pending_login.start_totp_replacement(request)
    return _with_session(client, request, person.user)


def in_pre_login_flow(user: User, way: str, *, proved: bool = False) -> Client:
    """Return a browser in sign-up or "forgotten password" (`accounts.registration.flow`), before or after the codes."""
    client = browser()
    request = _request()
    pre_login.begin(request, way, user.phone, **({"invitation": None} if way == pre_login.SIGN_UP else {}))
    if proved:
        pre_login.record_proof(request, way, user)
    return _with_session(client, request, user, way)


def logged_in(person: Person, from_address: str = ADDRESS, *, csrf: bool = False) -> Client:
    """Return a browser after both steps of the login."""
    client = browser(from_address, csrf=csrf)
    request = _request()
    user = person.reload()
    pending_login.begin(request, user, "")
    pending_login.record_proof(request, "totp")
    pending_login.finish(request, user, user.totp)
    return _with_session(client, request, user)


def password_only(person: Person, from_address: str = ADDRESS) -> Client:
    """Return a Django login without a second factor, which no page creates; a forgotten bypass would look like this."""
    client = browser(from_address)
    request = _request()
    django_login(request, person.user, backend="accounts.backends.PhoneBackend")
    return _with_session(client, request, person.user)


def _request() -> HttpRequest:
    request: HttpRequest = RequestFactory().get("/", headers={"host": HOST})
    request.session = SessionStore()
    request.user = AnonymousUser()
    return request


def _with_session(client: Client, request: HttpRequest, user: User, way: str = "") -> Client:
    request.session.save()
    client.cookies[settings.SESSION_COOKIE_NAME] = request.session.session_key or ""
    _browsers[user.pk, way] = client
    return client


def request_of(person: Person, caller: str = ADDRESS) -> HttpRequest:
    """Return a request of a finished login of the user; always the same login, for tests without pages."""
    request = _request()
    request.client_address = caller  # type: ignore[attr-defined]
    user = User.objects.get(pk=person.user.pk)
    session, _made = LoginSession.objects.get_or_create(user=user, method="of a test")
    request.session.update(
        {
            SESSION_KEY: str(user.pk),
            HASH_SESSION_KEY: user.get_session_auth_hash(),
            logins.LOGIN_SESSION: str(session.pk),
        }
    )
    return request


def nonce_of(person: Person, purpose: ApprovalPurpose, client: Client | None = None) -> str:
    """Return the nonce of the login (or flow) of ``client``; by default of the user's last browser, or of
    `request_of`.
    """
    client = client or _browsers.get((person.user.pk, logins.PRE_LOGIN_KEYS.get(purpose, "")))
    request = _request()
    if client is not None:
        request.session = SessionStore(client.cookies[settings.SESSION_COOKIE_NAME].value)
    result = logins.current_nonce(request, person.reload(), purpose)
    if result or purpose in logins.PRE_LOGIN_KEYS:
        return result
    return logins.current_nonce(request_of(person), person.reload(), purpose)


def set_session(client: Client, **values: object) -> None:
    """Store ``values`` in the browser's session, as an earlier page would have."""
    session = SessionStore(client.cookies[settings.SESSION_COOKIE_NAME].value)
    session.update(values)
    session.save()


def key_of(person: Person, name: str = "bot", wizard_id: uuid.UUID | None = None) -> ApiKey:
    """Create a key of the user: active, reading, unrestricted, its secret not shown yet."""
    return ApiKey.objects.create_with_secret(person.user, name, wizard_id or uuid.uuid4())


def secret_of(key: ApiKey) -> str:
    """Return the key's secret, decrypted as in the signature check. It does not count as shown."""
    credential = Credential.objects.get(key=key)
    return crypto.unseal(credential.sealed, credential.seal_owner).decode()


def made_just_now(client: Client, key: ApiKey) -> Client:
    """Return ``client`` as after creating ``key``: it may see the secret and set the first settings."""
    set_session(client, **{session_state.MADE_KEY: {"key": str(key.pk), "until": int(time.time()) + 600}})
    return client


def live_sms_code(
    person: Person,
    approval: Approval,
    code: str = "",
    *,
    lifetime: float = 120,
    client: Client | None = None,
) -> str:
    """Store a valid code for ``approval``, without a provider. It expires in ``lifetime`` s.

    It is valid in the login of ``client``; by default in that of the user's last browser.
    """
    code = code or f"{secrets.randbelow(1_000_000):06d}"
    nonce, user = nonce_of(person, approval.purpose, client), User.objects.get(pk=person.user.pk)
    now = timezone.now()
    person.user.sms_codes.update_or_create(
        purpose=approval.purpose.value,
        defaults={
            "binding": approval.binding,
            "login": logins.digest(nonce),
            "digest": crypto.digest("sms-code", *verification.sms_parts(user, approval, nonce, code)),
            "sent_at": now,
            "expires_at": now + timedelta(seconds=lifetime),
        },
    )
    return code


def both_codes(person: Person, purpose: str = "key.create") -> dict[str, str]:
    """Return the form fields that approve ``purpose``: the newest collected SMS and the authenticator's code."""
    return {"sms_code": sms_collector.newest(purpose).code, "totp_code": person.fresh_totp()}
