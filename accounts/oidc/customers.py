"""The customer whom the provider names: found by `User.external_id`, or provisioned."""

import enum
import logging
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.http import HttpRequest

from accounts import audit
from accounts.actions import pending_accounts, scheduled_changes
from accounts.choices import external_ids
from accounts.choices.events import Event
from accounts.models import FactorGuard, User
from accounts.oidc import provider
from hitobit_portal.i18n import free_text
from hitobit_portal.i18n.fields import is_served, parse_phone

logger = logging.getLogger("portal.oidc")
NAME_LENGTH = 80


class Rejection(enum.Enum):
    """Why a login with the exchange's account does not go on."""

    STATE = "state"  # not begun in this browser, used, or too old
    CANCELLED = "cancelled"
    PROVIDER = "provider"  # the provider reported an error
    TOKEN = "token"  # nosec B105
    UNKNOWN = "unknown"
    CLOSED = "closed"
    STAFF = "staff"
    NO_PHONE = "no_phone"
    PHONE_TAKEN = "phone_taken"
    LINKED = "linked"  # to another account
    DOWN = "down"


class LoginRejectedError(Exception):
    """``user``: whose login it would have been, if that is known."""

    def __init__(self, rejection: Rejection, user: User | None = None) -> None:
        super().__init__(rejection.value)
        self.rejection = rejection
        self.user = user


def find_or_provision(request: HttpRequest, claims: dict[str, Any], access_token: object) -> User:
    """Return the active customer with these verified claims. Raise `LoginRejectedError` or `ProviderDownError`."""
    subject = claims["sub"]
    if not external_ids.is_external_id(subject):
        raise LoginRejectedError(Rejection.UNKNOWN)
    user = _find(subject)
    if user is None:
        if not settings.OIDC_PROVISION:
            raise LoginRejectedError(Rejection.UNKNOWN)
        user = _provision(request, subject, _contact(claims, access_token))
    # As after a password: a lost number is replaced by now, even if no process sends notices.
    scheduled_changes.apply_due(number=user.phone)
    user = _find(subject)
    if user is None or not user.is_active or user.joined_at is None:
        raise LoginRejectedError(Rejection.CLOSED, user)
    # SECURITY: whoever controls the provider would have half of every staff login, and staff see all customers.
    if user.is_staff:
        raise LoginRejectedError(Rejection.STAFF, user)
    return user


def _find(subject: str) -> User | None:
    return User.objects.select_related("totp", "sms").filter(external_id=subject).first()


def _contact(claims: dict[str, Any], access_token: object) -> dict[str, Any]:
    """Return the claims with number and name: of the ID token, else of the provider's userinfo endpoint."""
    if "phone_number" in claims or not isinstance(access_token, str) or not access_token:
        return claims
    answer = provider.userinfo(access_token)
    # SECURITY: the answer is not signed; it has to be about the same customer (OpenID Connect Core, 5.3.2).
    return answer if answer.get("sub") == claims["sub"] else {}


def _provision(request: HttpRequest, subject: str, contact: dict[str, Any]) -> User:
    """Open an account without a password and without factors: both are set up in this login, as after an import."""
    phone = parse_phone(str(contact.get("phone_number", "")))
    # SECURITY: a number that the exchange has not verified may be somebody else's, who could then have no account.
    if contact.get("phone_number_verified") is not True or phone is None or not is_served(phone):
        raise LoginRejectedError(Rejection.NO_PHONE)
    # SECURITY: as in an import. The number's next owner would come with the same id, and it would be in logs.
    if phone in (subject, parse_phone(subject)):
        logger.error("no account is opened: the provider's sub is the mobile number")
        raise LoginRejectedError(Rejection.UNKNOWN)
    name = contact.get("name")
    name = free_text.one_line(name) if isinstance(name, str) else ""
    if len(name) > NAME_LENGTH or free_text.problem(name):
        name = ""
    # Somebody may have typed the number into sign-up or "forgotten password" a moment ago.
    pending_accounts.delete_for_number(phone)
    try:
        with transaction.atomic():
            user = User.objects.create_user(phone, None, external_id=subject, name=name)
            FactorGuard.objects.get_or_create(user=user)
            audit.record(Event.SIGNED_UP, request, customer=user, via="oidc")
    except IntegrityError:
        # Another request of the same customer, or, SECURITY: an account with this number, which is never taken over:
        # its owner has not agreed, and the exchange may have given the number to somebody else.
        other = _find(subject)
        if other is None:
            raise LoginRejectedError(Rejection.PHONE_TAKEN) from None
        return other
    return user
