"""SMS codes: 6 digits, valid for 2 minutes, rate-limited before a provider is called.

A code is bound to the approval, to the login that requested it, and to the number that it was sent to.
"""

import enum
import logging
import secrets
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

from django.conf import settings
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
from hitobit_portal import background
from hitobit_portal.http.context import address_of
from hitobit_portal.i18n.bidi import fill, verbatim, without_isolates
from hitobit_portal.i18n.fields import is_served
from hitobit_portal.security import crypto, ratelimits
from hitobit_portal.security.ratelimits import Rate, Slot

logger = logging.getLogger("portal.sms")
RESEND_AFTER = timedelta(seconds=60)
#: What a request waits for the provider: most answer within it, and the page says what became of the message.
ANSWER_SECONDS = 0.5
PREFIX_LENGTH = 7  # "+989121": country, operator and the first digit of the number block


class SendStatus(enum.Enum):
    SENT = "sent"
    SENDING = "sending"  # handed over; the provider has not answered yet
    WAITING = "waiting"  # the last code is younger than RESEND_AFTER and still valid
    SENT_TO_OTHER_LOGIN = (
        "elsewhere"  # the last code is as recent and valid only in the login that requested it
    )
    LOGIN_ENDED = "over"  # the requesting login ended meanwhile
    CAPPED = "capped"
    FAILED = "failed"  # no provider accepted the message; the slot is free again
    NOT_SERVED = "not served"  # no messages are sent to numbers of this country


@dataclass(frozen=True)
class SendResult:
    state: SendStatus
    seconds_until_resend: int

    @property
    def is_under_way(self) -> bool:
        """Return whether a code that is valid in this login is on its way."""
        return self.state in (SendStatus.SENT, SendStatus.SENDING, SendStatus.WAITING)


def send_code(
    request: HttpRequest,
    user: User,
    approval: Approval,
    *,
    spoken: bool = False,
    replacement_text: str = "",
) -> SendResult:
    """Send a new code for ``approval``, unless one was sent within RESEND_AFTER for the same approval.

    The code is valid only in the login of ``request``. ``spoken``: by a voice call. ``replacement_text``: a text that
    is sent instead of a code; the stored digest then matches nothing that can be typed.

    The provider is asked by a thread of `background`. If it has not answered after ANSWER_SECONDS, the result is
    SENDING, and `delivery_state` has the state later.
    """
    code = secrets.token_hex() if replacement_text else f"{secrets.randbelow(1_000_000):06d}"
    # SECURITY: the slot is acquired under the lock and before the provider is called: 200 parallel resends send 1
    # message.
    with transaction.atomic(durable=True):
        verification.lock(user)
        # SECURITY: the row is read under the lock that also guards its change. A number that was loaded earlier may
        # have been replaced while this request waited, and the code would be valid on the thief's phone.
        person = User.objects.get(pk=user.pk)
        nonce = logins.current_nonce(request, person, approval.purpose)
        if not nonce:
            return SendResult(SendStatus.LOGIN_ENDED, 0)
        phone = approval.to or person.phone
        wait = seconds_until_resend(user, approval)
        if wait:
            is_for_this_login = is_code_pending(request, user, approval)
            return SendResult(
                SendStatus.WAITING if is_for_this_login else SendStatus.SENT_TO_OTHER_LOGIN, wait
            )
        # The list of countries may have become shorter since the account was created.
        if not is_served(phone):
            audit.record(
                Event.SMS_FAILED, request, customer=user, succeeded=False, purpose=approval.purpose.value
            )
            return SendResult(SendStatus.NOT_SERVED, 0)
        capped = ratelimits.first_full(_slots(request, person, approval, phone))
        if capped is None:
            row = _store(person, approval, nonce, code)
    if capped is not None:
        _report_cap(request, user, approval, capped.slot)
        return SendResult(SendStatus.CAPPED, capped.wait)
    is_visitor = is_unauthenticated(request, person, approval)
    queue = background.visitors_codes if is_visitor else background.codes
    handed_over = queue.submit(_deliver, request, row, phone, approval, code, spoken, replacement_text)
    if handed_over is None:
        _note_failure(request, row, approval)
        return SendResult(SendStatus.FAILED, 0)
    try:
        is_sent = handed_over.result(ANSWER_SECONDS)
    except TimeoutError:
        return SendResult(SendStatus.SENDING, int(RESEND_AFTER.total_seconds()))
    if not is_sent:
        return SendResult(SendStatus.FAILED, 0)
    return SendResult(SendStatus.SENT, int(RESEND_AFTER.total_seconds()))


def _deliver(
    request: HttpRequest,
    row: SmsCode,
    phone: str,
    approval: Approval,
    code: str,
    spoken: bool,
    replacement_text: str,
) -> bool:
    """Ask the provider. Return whether it took the message. Runs in the background."""
    try:
        if timezone.now() > row.sent_at + RESEND_AFTER:
            raise sms.SmsError("the queue is too long: the person has asked for another code meanwhile")
        _dispatch(phone, approval, code, spoken, replacement_text)
    except sms.SmsError:
        _note_failure(request, row, approval)
        return False
    SmsCode.objects.filter(pk=row.pk, digest=row.digest).update(delivery=SmsCode.Delivery.SENT)
    audit.record(Event.SMS_SENT, request, customer=row.user, purpose=approval.purpose.value)
    return True


def _note_failure(request: HttpRequest, row: SmsCode, approval: Approval) -> None:
    """Void the code, and let the next one be requested at once."""
    now = timezone.now()
    SmsCode.objects.filter(pk=row.pk, digest=row.digest).update(
        delivery=SmsCode.Delivery.FAILED, digest="", sent_at=now - RESEND_AFTER, expires_at=now
    )
    audit.record(
        Event.SMS_FAILED, request, customer=row.user, succeeded=False, purpose=approval.purpose.value
    )


def _dispatch(phone: str, approval: Approval, code: str, spoken: bool, replacement_text: str) -> None:
    if replacement_text:
        sms.send(phone, replacement_text, code="", purpose=approval.purpose.value)
    elif spoken:
        sms.speak(phone, _spoken_text(approval, code), code=code, purpose=approval.purpose.value)
    else:
        sms.send(phone, _sms_text(approval, code), code=code, purpose=approval.purpose.value)


def seconds_until_resend(user: User, approval: Approval) -> int:
    """Return the seconds until a code for ``approval`` can be sent again, whichever login requested the last one; 0
    if now.
    """
    row = SmsCode.objects.filter(user=user, purpose=approval.purpose.value, binding=approval.binding).first()
    remaining = (row.sent_at + RESEND_AFTER - timezone.now()).total_seconds() if row else 0
    return int(remaining) + 1 if remaining > 0 else 0


def delivery_state(request: HttpRequest, user: User, approval: Approval) -> str:
    """Return what is known of the last code for this approval and login: "" or a value of `SmsCode.Delivery`."""
    nonce = logins.current_nonce(request, user, approval.purpose)
    row = SmsCode.objects.filter(
        user=user,
        purpose=approval.purpose.value,
        binding=approval.binding,
        login=logins.digest(nonce),
        sent_at__gt=timezone.now() - RESEND_AFTER - verification.SMS_LIFETIME,
    ).first()
    return row.delivery if row is not None else ""


def is_code_pending(request: HttpRequest, user: User, approval: Approval) -> bool:
    """Return whether a code for this approval, requested in this login, was sent and is still valid."""
    nonce = logins.current_nonce(request, user, approval.purpose)
    return SmsCode.objects.filter(
        user=user,
        purpose=approval.purpose.value,
        binding=approval.binding,
        login=logins.digest(nonce),
        expires_at__gt=timezone.now(),
    ).exists()


def _slots(request: HttpRequest, user: User, approval: Approval, phone: str) -> list[Slot]:
    """Return the rate limits that apply to a message."""
    address = address_of(request)
    # SECURITY: separate limits, or sign-ups from many addresses would use up the login codes of customers. Each
    # purpose is separate too: codes for forgotten passwords are sent to customers only.
    if is_unauthenticated(request, user, approval):
        purpose_value = approval.purpose.value
        return [
            *ratelimits.address_slots(Rate.SMS_OUTSIDE_ADDRESS, address, purpose_value),
            Slot(Rate.SMS_OUTSIDE_PREFIX, f"{purpose_value}|{phone[:PREFIX_LENGTH]}"),
            Slot(Rate.SMS_OUTSIDE_DAY, purpose_value),
        ]
    slots = [
        Slot(Rate.SMS_PHONE, phone),
        Slot(Rate.SMS_ACCOUNT, str(user.pk)),
        *ratelimits.address_slots(Rate.SMS_ADDRESS, address),
        Slot(Rate.SMS_PREFIX, phone[:PREFIX_LENGTH]),
        Slot(Rate.SMS_DAY, "all"),
    ]
    return slots if phone == user.phone else [Slot(Rate.SMS_NEW_NUMBER, str(user.pk)), *slots]


def is_unauthenticated(request: HttpRequest, user: User, approval: Approval) -> bool:
    """Return whether the requester has proved nothing and uses a browser in which ``user`` never logged in."""
    return approval.purpose in OUTSIDE and not known_browsers.identify(request, user)


def _report_cap(request: HttpRequest, user: User, approval: Approval, slot: Slot) -> None:
    """Record that a limit was reached in the audit trail and the log, once an hour for each user and limit."""
    rate = slot.rate
    # Unauthenticated requests may name thousands of numbers; a limit that they share is recorded once.
    subject = slot.value if is_unauthenticated(request, user, approval) else str(user.pk)
    if ratelimits.acquire(Rate.SMS_CAPPED_EVENT, f"{rate.name}|{subject}") is None:
        purpose = approval.purpose.value
        audit.record(
            Event.SMS_CAPPED, request, customer=user, succeeded=False, purpose=purpose, cap=rate.name.lower()
        )
        logger.warning("SMS limit reached: %s user=%s (%s)", rate.name, user.pk, rate.value.reason)


def _store(user: User, approval: Approval, nonce: str, code: str) -> SmsCode:
    now = timezone.now()
    row, _made = SmsCode.objects.update_or_create(
        user=user,
        purpose=approval.purpose.value,
        defaults={
            "binding": approval.binding,
            "login": logins.digest(nonce),
            "digest": crypto.digest("sms-code", *verification.sms_parts(user, approval, nonce, code)),
            "delivery": SmsCode.Delivery.SENDING,
            "sent_at": now,
            "expires_at": now + verification.SMS_LIFETIME,
        },
    )
    return row


def _sms_text(approval: Approval, code: str) -> str:
    """Return the SMS text. It names what the code approves, so that the reader notices a fraud before typing the
    code. The last line binds the code to this site (WICG, "Origin-bound one-time codes"): phones fill the code in here
    only, and not in a copy of the page on another host.
    """
    text = fill(
        _("Hitobit\nCode: %(code)s\nFor: %(what)s\nDo not share it with anyone, not even support."),
        code=verbatim(code),
        what=approval.sentence,
    )
    return f"{text}\n\n@{urlsplit(settings.BASE_URL).hostname} #{code}"


def _spoken_text(approval: Approval, code: str) -> str:
    """Return the text of a call: the purpose, and the digits one by one (commas make pauses), twice."""
    text = _("This is a Hitobit code, for %(what)s. The code is: %(digits)s. Again: %(digits)s.")
    return without_isolates(fill(text, what=approval.sentence, digits=", ".join(code)))
