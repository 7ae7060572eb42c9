"""Replace the mobile number of an account."""

from django.http import HttpRequest
from django.utils import timezone

from accounts import audit
from accounts.access import sessions
from accounts.actions import freeze, pending_accounts
from accounts.choices.events import Event
from accounts.models import DelayedChange, SmsCode, SmsDevice, User
from hitobit_portal.i18n.jalali import masked_phone


def replace(request: HttpRequest | None, user: User, phone: str) -> None:
    """Make ``phone`` (E.164, confirmed by a code) the account's number. End every session except that of ``request``.

    Call it under `verification.lock`, in the transaction of the proof. Raise `IntegrityError` if an account has the
    number.
    """
    now = timezone.now()
    old = User.objects.get(pk=user.pk).phone
    pending_accounts.delete_for_number(phone)
    User.objects.filter(pk=user.pk).update(phone=phone)
    defaults = {"number": phone, "confirmed": True, "confirmed_at": now, "name": "sms"}
    SmsDevice.objects.update_or_create(user=user, defaults=defaults)
    # SECURITY: codes that were sent to the old number become void.
    SmsCode.objects.filter(user=user).delete()
    DelayedChange.objects.filter(
        user=user, kind=DelayedChange.Kind.PHONE, stopped_at=None, done_at=None
    ).update(stopped_at=now)
    user.refresh_from_db(fields=["phone"])
    freeze.quarantine(user)
    sessions.end_all(user, keep=request)
    audit.record(
        Event.PHONE_CHANGED,
        request,
        customer=User.objects.select_related("sms").get(pk=user.pk),
        also=[("sms", old)],
        old=masked_phone(old),
        new=masked_phone(phone),
    )
