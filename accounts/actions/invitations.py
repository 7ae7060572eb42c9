"""Invitations: a signed link for one phone number, valid once within 72 hours."""

import enum
from datetime import timedelta

from django.conf import settings
from django.core import signing
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from accounts import audit
from accounts.choices.events import Event
from accounts.models import Invitation
from hitobit_portal.i18n.jalali import masked_phone

LIFETIME = timedelta(hours=72)
_signer = signing.TimestampSigner(salt="accounts.invitation")


class InvitationError(enum.Enum):
    FORGED = "forged"
    EXPIRED = "expired"
    USED = "used"


def invite(phone: str, request: HttpRequest | None = None) -> tuple[Invitation, str]:
    """Create an invitation for ``phone`` (E.164). Return it and its link."""
    invitation = Invitation.objects.create(phone=phone, expires_at=timezone.now() + LIFETIME)
    audit.record(Event.INVITED, request, customer=None, target=str(invitation.pk), label=masked_phone(phone))
    # The configured address: a Host header must not decide where a link leads.
    return invitation, settings.BASE_URL + reverse("invited", args=[_signer.sign(str(invitation.pk))])


def read(token: str) -> Invitation | InvitationError:
    """Return the invitation of a link, or why it is not valid."""
    try:
        number = _signer.unsign(token, max_age=LIFETIME)
    except signing.SignatureExpired:
        return InvitationError.EXPIRED
    except signing.BadSignature:
        return InvitationError.FORGED
    invitation = Invitation.objects.filter(pk=number).first()
    if invitation is None:
        return InvitationError.FORGED
    if invitation.used_at is not None:
        return InvitationError.USED
    return invitation if invitation.expires_at > timezone.now() else InvitationError.EXPIRED


def is_usable(number: int, phone: str) -> bool:
    """Return whether the invitation can still open an account for ``phone``."""
    return _open(number, phone).exists()


def use(number: int, phone: str) -> bool:
    """Use the invitation, in the transaction that opens the account. Return whether it was valid."""
    return _open(number, phone).update(used_at=timezone.now()) == 1


def _open(number: int, phone: str) -> QuerySet[Invitation]:
    return Invitation.objects.filter(pk=number, phone=phone, used_at=None, expires_at__gt=timezone.now())
