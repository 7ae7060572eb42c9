"""The cast of the tests: people in every state of enrolment, their real codes, and browsers in every state of login.

Rows and sessions are made by the portal's own functions (`accounts.access.pending_login`), not by pages, and no password is hashed
where none is typed: sixty sessions take milliseconds. Codes are real: RFC 6238 and the clock.

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
from accounts.choices.approvals import Approval, Purpose
from accounts.factors import recovery_codes as factors_recovery_codes
from accounts.factors import verification
from accounts.models import LoginSession, SmsDevice, TotpDevice, User
from accounts.registration import flow as ways
from apikeys.models import ApiKey, Credential
from apikeys.pages import session_state
from hitobit_portal.security import crypto
from tests.support import sms_collector
from tests.support.production import HOST

#: Documentation addresses (RFC 5737); a test that means several callers takes `address(n)`.
ADDRESS = "203.0.113.7"
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
_numbers = itertools.count(1)
#: The last browser of a person, by (id, way): codes that a test writes count in it. See `live_sms_code`.
_browsers: dict[tuple[int, str], Client] = {}


@dataclass(frozen=True)
class Person:
    """A row of people, with what only that person knows. ``seed`` is base32, "" before an authenticator exists."""

    user: User
    password: str = field(repr=False)  # a failing test prints its people
    seed: str = field(default="", repr=False)

    def totp(self, steps: int = 0) -> str:
        """The authenticator's code, ``steps`` of 30 s from now: -1, 0 and 1 are taken, and each of them once."""
        return self.totp_at(time.time() + steps * verification.TOTP_PERIOD)

    def totp_at(self, moment: float) -> str:
        """The authenticator's code at ``moment`` (seconds since 1970)."""
        return pyotp.TOTP(self.seed).generate_otp(int(moment) // verification.TOTP_PERIOD)

    def fresh_totp(self) -> str:
        """A code that is right now, whatever was used before: forgets the last step, as if a minute had passed."""
        TotpDevice.objects.filter(user=self.user).update(last_step=-1)
        return self.totp()

    def wrong_totp(self, number: int = 0) -> str:
        """A code that is wrong now and a minute either way; another one for each ``number`` up to 1000."""
        right = {self.totp(steps) for steps in range(-3, 4)}
        return [code for n in range(number + 8) if (code := f"{n:06d}") not in right][number]

    def reload(self) -> User:
        """The person's row as it is now, with the factors."""
        return User.objects.select_related("totp", "sms").get(pk=self.user.pk)


def next_phone() -> str:
    """An Iranian mobile number (E.164) that no other person of this process has."""
    return f"+98912{next(_numbers):07d}"


def newcomer(*, password: str = "", name: str = "", **fields: bool) -> Person:
    """Somebody with an account and no factor. The password is hashed (slowly) only when one is given."""
    user = User.objects.create_user(next_phone(), password or None, name=name, **fields)
    return Person(user, password)


def with_phone(person: Person) -> Person:
    """The same person after enrolling the mobile number: one factor of two."""
    now = timezone.now()
    SmsDevice.objects.create(
        user=person.user, name="sms", number=person.user.phone, confirmed=True, confirmed_at=now
    )
    return person


def with_authenticator(person: Person, *, confirmed: bool = True) -> Person:
    """The same person with an authenticator; unconfirmed as between the two halves of its enrolment."""
    seed = pyotp.random_base32()
    sealed = crypto.seal(seed.encode(), verification.seal_owner(person.user))
    at = timezone.now() if confirmed else None
    TotpDevice.objects.create(
        user=person.user, name="totp", seed_sealed=sealed, confirmed=confirmed, confirmed_at=at
    )
    return Person(person.user, person.password, seed)


def half_enrolled(*, password: str = "") -> Person:
    """Somebody whose phone is confirmed and who has no authenticator yet."""
    return with_phone(newcomer(password=password))


def customer(*, password: str = "", name: str = "", **fields: bool) -> Person:
    """Somebody with both factors confirmed. ``fields``: ``is_staff=True``, ``is_superuser=True``."""
    person = with_authenticator(with_phone(newcomer(password=password, name=name, **fields)))
    return Person(person.reload(), person.password, person.seed)


def with_password(person: Person) -> Person:
    """The same person with a password that can be typed into the login page."""
    password = secrets.token_urlsafe(12)
    person.user.set_password(password)
    person.user.save(update_fields=["password"])
    return Person(person.user, password, person.seed)


def recovery_codes(person: Person) -> list[str]:
    """Ten new recovery codes of the person, as they are shown."""
    return factors_recovery_codes.generate(None, person.user, renew=True)


def address(number: int) -> str:
    """The ``number``-th of 65536 callers (RFC 2544): no rate per address stands in for the rate that is meant."""
    return f"198.18.{number // 256}.{number % 256}"


def browser(from_address: str = ADDRESS, *, csrf: bool = False) -> Client:
    """A browser without cookies, behind the TLS proxy of production. Its 500s are answers, not exceptions."""
    client = Client(
        raise_request_exception=False,
        headers={"x-forwarded-proto": "https", "host": HOST, "user-agent": BROWSER},
        REMOTE_ADDR=from_address,
    )
    client.handler = _portal(csrf)
    return client


@functools.cache
def _portal(csrf: bool) -> ClientHandler:
    """The portal that all browsers share, as in production; building it (static files) costs more than a request."""
    return ClientHandler(enforce_csrf_checks=csrf)


def twin(client: Client, from_address: str | None = None) -> Client:
    """The same browser once more (same cookies): what a double click or a second tab sends."""
    other = browser(
        from_address or str(client.defaults["REMOTE_ADDR"]), csrf=client.handler.enforce_csrf_checks
    )
    for name, morsel in client.cookies.items():
        other.cookies[name] = morsel.value
    return other


def half_logged_in(person: Person, from_address: str = ADDRESS, *, csrf: bool = False) -> Client:
    """A browser after the right password: the second factor, or enrolment, is what comes next."""
    client = browser(from_address, csrf=csrf)
    request = _request()
    pending_login.begin(request, person.reload(), "")
    return _carrying(client, request, person.user)


def proved_in(person: Person, *factors: str, from_address: str = ADDRESS) -> Client:
    """A half-finished login in which ``factors`` (sms, totp, recovery) were proved, and enrolment goes on.

    It began when the person had not both factors.
    """
    client = browser(from_address)
    request = _request()
    pending_login.begin(request, person.reload(), "")
    request.session[logins.PENDING] = {**request.session[logins.PENDING], "needs": 2}
    for factor in factors:
        pending_login.record_proof(request, factor)
    return _carrying(client, request, person.user)


def replacing_authenticator(person: Person) -> Client:
    """A half-finished login in which a recovery code stands for a lost authenticator."""
    client = browser()
    request = _request()
    pending_login.begin(request, person.reload(), "")
    pending_login.record_proof(request, "recovery")
    pending_login.start_totp_replacement(request)
    return _carrying(client, request, person.user)


def outside(user: User, way: str, *, proved: bool = False) -> Client:
    """A browser on the way of sign-up or "forgotten password" (`accounts.registration.flow`), before or after the codes."""
    client = browser()
    request = _request()
    ways.begin(request, way, user.phone, **({"invitation": None} if way == ways.SIGN_UP else {}))
    if proved:
        ways.record_proof(request, way, user)
    return _carrying(client, request, user, way)


def logged_in(person: Person, from_address: str = ADDRESS, *, csrf: bool = False) -> Client:
    """A browser after both steps of the login."""
    client = browser(from_address, csrf=csrf)
    request = _request()
    user = person.reload()
    pending_login.begin(request, user, "")
    pending_login.record_proof(request, "totp")
    pending_login.finish(request, user, user.totp)
    return _carrying(client, request, user)


def password_only(person: Person, from_address: str = ADDRESS) -> Client:
    """A Django login without a second factor, which no page of the portal makes: what a forgotten back door would."""
    client = browser(from_address)
    request = _request()
    django_login(request, person.user, backend="accounts.access.backends.PhoneBackend")
    return _carrying(client, request, person.user)


def _request() -> HttpRequest:
    request: HttpRequest = RequestFactory().get("/", headers={"host": HOST})
    request.session = SessionStore()
    request.user = AnonymousUser()
    return request


def _carrying(client: Client, request: HttpRequest, user: User, way: str = "") -> Client:
    request.session.save()
    client.cookies[settings.SESSION_COOKIE_NAME] = request.session.session_key or ""
    _browsers[user.pk, way] = client
    return client


def request_of(person: Person, caller: str = ADDRESS) -> HttpRequest:
    """A request out of a finished login of the person; always the same login, for what is tested without pages."""
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


def nonce_of(person: Person, purpose: Purpose, client: Client | None = None) -> str:
    """The nonce of the login (or way) that ``client`` is in; by default the person's last browser, or `request_of`."""
    client = client or _browsers.get((person.user.pk, logins.PRE_LOGIN_KEYS.get(purpose, "")))
    request = _request()
    if client is not None:
        request.session = SessionStore(client.cookies[settings.SESSION_COOKIE_NAME].value)
    found = logins.current_nonce(request, person.reload(), purpose)
    if found or purpose in logins.PRE_LOGIN_KEYS:
        return found
    return logins.current_nonce(request_of(person), person.reload(), purpose)


def remember(client: Client, **values: object) -> None:
    """Puts ``values`` into the browser's session, as a page before would have."""
    session = SessionStore(client.cookies[settings.SESSION_COOKIE_NAME].value)
    session.update(values)
    session.save()


def key_of(person: Person, name: str = "bot", wizard_id: uuid.UUID | None = None) -> ApiKey:
    """A key of the person's: active, reading, unrestricted, its secret not shown yet."""
    return ApiKey.objects.create_with_secret(person.user, name, wizard_id or uuid.uuid4())


def secret_of(key: ApiKey) -> str:
    """The key's secret, opened as the signature check opens it; nothing counts as shown by this."""
    credential = Credential.objects.get(key=key)
    return crypto.unseal(credential.sealed, credential.seal_owner).decode()


def made_just_now(client: Client, key: ApiKey) -> Client:
    """``client`` as it is right after it made ``key``: it may see the secret and give the first settings."""
    remember(client, **{session_state.MADE_KEY: {"key": str(key.pk), "until": int(time.time()) + 600}})
    return client


def live_sms_code(
    person: Person,
    approval: Approval,
    code: str = "",
    *,
    lifetime: float = 120,
    client: Client | None = None,
) -> str:
    """A code that the person has just been sent for ``approval``, without a provider; expires in ``lifetime`` s.

    It counts in the login of ``client``; by default in that of the person's last browser.
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
    """What the person types to approve ``purpose``: the newest SMS of the collector, and the authenticator's code."""
    return {"sms_code": sms_collector.newest(purpose).code, "totp_code": person.fresh_totp()}
