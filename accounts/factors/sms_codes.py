"""SMS codes: 6 digits, 2 minutes, capped before the provider is asked.

Bound to what they approve, to the login that asked for them, and to the number that they went to.
"""

import enum
import logging
import secrets
from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts import audit, sms
from accounts.access import known_browsers, logins
from accounts.choices.approvals import OUTSIDE, Approval
from accounts.choices.events import Event
from accounts.factors import verification
from accounts.models import SmsCode, User
from hitobit_portal.http.context import address_of
from hitobit_portal.i18n.fields import is_served
from hitobit_portal.security import crypto, ratelimits
from hitobit_portal.security.ratelimits import Rate, Slot

logger = logging.getLogger("portal.sms")
RESEND_AFTER = timedelta(seconds=60)
PREFIX_LENGTH = 7  # "+989121": country, operator and the first digit of the block


class Sending(enum.Enum):
    SENT = "sent"
    WAITING = "waiting"  # the last one is younger than RESEND_AFTER; it still holds
    ELSEWHERE = (
        "elsewhere"  # the last one is that young, and counts only in another login, which asked for it
    )
    OVER = "over"  # the login that asks was ended meanwhile
    CAPPED = "capped"
    FAILED = "failed"  # the provider did not take it; the slot is free again
    NOT_SERVED = "not served"  # no messages go to this number, nor to any other of its kind


@dataclass(frozen=True)
class Sent:
    state: Sending
    resend_in: int

    @property
    def is_under_way(self) -> bool:
        """Whether a code that counts in this login is on its way to the person."""
        return self.state in (Sending.SENT, Sending.WAITING)


def send_code(
    request: HttpRequest,
    user: User,
    approval: Approval,
    *,
    spoken: bool = False,
    instead: str = "",
) -> Sent:
    """Sends a new code for ``approval``, unless one went out within RESEND_AFTER for exactly the same thing.

    It counts in the login of ``request`` only. ``spoken``: by a voice call. ``instead``: the text that is sent in the
    code's place; what is stored then is nothing that anybody could type.
    """
    code = secrets.token_hex() if instead else f"{secrets.randbelow(1_000_000):06d}"
    # SECURITY: the slot is taken under the lock and before the provider is called: 200 parallel resends are 1 message.
    with transaction.atomic(durable=True):
        verification.lock(user)
        # SECURITY: read under the lock that also guards its change. A number that was loaded before may have been
        # replaced while this request waited: the code would be live, and at the thief's phone.
        person = User.objects.get(pk=user.pk)
        nonce = logins.current(request, person, approval.purpose)
        if not nonce:
            return Sent(Sending.OVER, 0)
        phone = approval.to or person.phone
        wait = resend_in(user, approval)
        if wait:
            is_here = is_sent(request, user, approval)
            return Sent(Sending.WAITING if is_here else Sending.ELSEWHERE, wait)
        # An account may have the number from before the list of countries became shorter.
        if not is_served(phone):
            audit.record(
                Event.SMS_FAILED, request, customer=user, succeeded=False, purpose=approval.purpose.value
            )
            return Sent(Sending.NOT_SERVED, 0)
        capped = ratelimits.first_full(_slots(request, person, approval, phone))
        if capped is None:
            row = _store(person, approval, nonce, code)
    if capped is not None:
        _alarm(request, user, approval, capped.slot)
        return Sent(Sending.CAPPED, capped.wait)
    try:
        _hand_over(phone, approval, code, spoken, instead)
    except sms.SmsError:
        # Nothing half-made: without the row the next try is free, and the code that nobody got is worth nothing.
        SmsCode.objects.filter(pk=row.pk, digest=row.digest).delete()
        audit.record(
            Event.SMS_FAILED, request, customer=user, succeeded=False, purpose=approval.purpose.value
        )
        return Sent(Sending.FAILED, 0)
    audit.record(Event.SMS_SENT, request, customer=user, purpose=approval.purpose.value)
    return Sent(Sending.SENT, int(RESEND_AFTER.total_seconds()))


def _hand_over(phone: str, approval: Approval, code: str, spoken: bool, instead: str) -> None:
    if instead:
        sms.send(phone, instead, code="", purpose=approval.purpose.value)
    elif spoken:
        sms.speak(phone, _spoken_text(approval, code), code=code, purpose=approval.purpose.value)
    else:
        sms.send(phone, _text(approval, code), code=code, purpose=approval.purpose.value)


def resend_in(user: User, approval: Approval) -> int:
    """Seconds until a code for ``approval`` can be sent again, whichever login asked for the last one; 0 when now."""
    row = SmsCode.objects.filter(user=user, purpose=approval.purpose.value, binding=approval.binding).first()
    left = (row.sent_at + RESEND_AFTER - timezone.now()).total_seconds() if row else 0
    return int(left) + 1 if left > 0 else 0


def is_sent(request: HttpRequest, user: User, approval: Approval) -> bool:
    """Whether a code for exactly this, asked for in this login, is under way and still holds."""
    nonce = logins.current(request, user, approval.purpose)
    return SmsCode.objects.filter(
        user=user,
        purpose=approval.purpose.value,
        binding=approval.binding,
        login=logins.digest(nonce),
        expires_at__gt=timezone.now(),
    ).exists()


def _slots(request: HttpRequest, user: User, approval: Approval, phone: str) -> list[Slot]:
    """The caps that a message counts against."""
    address = address_of(request)
    # SECURITY: apart, or strangers who sign up from many addresses use up the login codes of customers. Each purpose
    # apart as well: codes for forgotten passwords go to customers only.
    if is_stranger(request, user, approval):
        what = approval.purpose.value
        return [
            *ratelimits.address_slots(Rate.SMS_OUTSIDE_ADDRESS, address, what),
            Slot(Rate.SMS_OUTSIDE_PREFIX, f"{what}|{phone[:PREFIX_LENGTH]}"),
            Slot(Rate.SMS_OUTSIDE_DAY, what),
        ]
    slots = [
        Slot(Rate.SMS_PHONE, phone),
        Slot(Rate.SMS_ACCOUNT, str(user.pk)),
        *ratelimits.address_slots(Rate.SMS_ADDRESS, address),
        Slot(Rate.SMS_PREFIX, phone[:PREFIX_LENGTH]),
        Slot(Rate.SMS_DAY, "all"),
    ]
    return slots if phone == user.phone else [Slot(Rate.SMS_NEW_NUMBER, str(user.pk)), *slots]


def is_stranger(request: HttpRequest, user: User, approval: Approval) -> bool:
    """Whether the code is asked for by somebody who has proved nothing, in a browser where ``user`` never logged in."""
    return approval.purpose in OUTSIDE and not known_browsers.of(request, user)


def _alarm(request: HttpRequest, user: User, approval: Approval, slot: Slot) -> None:
    """A cap was hit: the owner's trail and the operators' log name which, each person and cap once in an hour."""
    rate = slot.rate
    # Strangers type numbers by the thousand; of the cap that they share there is one event.
    who = slot.value if is_stranger(request, user, approval) else str(user.pk)
    if ratelimits.acquire(Rate.SMS_CAPPED_EVENT, f"{rate.name}|{who}") is None:
        purpose = approval.purpose.value
        audit.record(
            Event.SMS_CAPPED, request, customer=user, succeeded=False, purpose=purpose, cap=rate.name.lower()
        )
        logger.warning("SMS cap hit: %s user=%s (%s)", rate.name, user.pk, rate.value.reason)


def _store(user: User, approval: Approval, nonce: str, code: str) -> SmsCode:
    now = timezone.now()
    row, _made = SmsCode.objects.update_or_create(
        user=user,
        purpose=approval.purpose.value,
        defaults={
            "binding": approval.binding,
            "login": logins.digest(nonce),
            "digest": crypto.digest("sms-code", *verification.sms_parts(user, approval, nonce, code)),
            "sent_at": now,
            "expires_at": now + verification.SMS_LIFETIME,
        },
    )
    return row


def _text(approval: Approval, code: str) -> str:
    """The message names what it approves: whoever reads it sees a fraud before typing the code."""
    return _("Hitobit\nCode: %(code)s\nFor: %(what)s\nGive it to nobody, not even to support.") % {
        "code": code,
        "what": approval.sentence,
    }


def _spoken_text(approval: Approval, code: str) -> str:
    """What a call says: what it is for, and the digits one by one (commas make pauses) and twice."""
    return _("A code of Hitobit, for %(what)s. The code is: %(digits)s. Once more: %(digits)s.") % {
        "what": approval.sentence,
        "digits": ", ".join(code),
    }
