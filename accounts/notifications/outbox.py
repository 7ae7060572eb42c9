"""The outbox's sender: takes notices that are due, hands them over, and notes what became of each.

Taking a notice is one short transaction that counts the attempt and moves its next try LEASE away, so that no other
sender takes it meanwhile; the provider is asked outside of it. A sender that is killed between handing over and noting
so leaves a notice that comes up again after LEASE and goes out with the same reference (SMS) or Message-ID (e-mail),
by which a provider or a mail program knows that it has it already.
"""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.db import DatabaseError, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from accounts import audit, sms
from accounts.choices.events import Event
from accounts.models import Notice
from accounts.notifications import policy, texts
from hitobit_portal.security import ratelimits
from hitobit_portal.security.ratelimits import Rate

logger = logging.getLogger("portal.outbox")
#: Longer than every provider's time-out together: a notice in work is not taken by another sender.
LEASE = timedelta(minutes=2)
BACKOFF = (
    *(timedelta(seconds=10), timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=30)),
    timedelta(hours=1),
)
GIVE_UP_AFTER = timedelta(days=3)
#: The next try of what is over: the index of `next_try_at` leads to waiting notices only, however many went out.
NEVER = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Report:
    """How many notices went out, failed (to be tried again), wait for a cap, were given up."""

    sent: int = 0
    failed: int = 0
    postponed: int = 0
    gave_up: int = 0

    def __add__(self, other: "Report") -> "Report":
        return Report(
            self.sent + other.sent,
            self.failed + other.failed,
            self.postponed + other.postponed,
            self.gave_up + other.gave_up,
        )

    @property
    def handled(self) -> int:
        return self.sent + self.failed + self.postponed + self.gave_up


class Unsent(Exception):
    """The notice was not handed over, for a reason of our own."""


def send_due(now: datetime | None = None, limit: int = 100) -> Report:
    """Sends up to ``limit`` notices whose time has come. Safe to run many times at once.

    Raises `django.db.DatabaseError`; what was in work then is tried again after LEASE.
    """
    report = Report()
    while report.handled < limit:
        at = now or timezone.now()
        notice = _take(at)
        if notice is None:
            break
        report += _work(notice, at)
    return report


def count_waiting() -> int:
    """Return the number of notices that are not over, whether their time has come or not."""
    return Notice.objects.filter(sent_at=None, gave_up_at=None).count()


def _take(now: datetime) -> Notice | None:
    """Take the oldest due notice of the highest priority that has one."""
    for priority in Notice.Priority:
        # A query for each priority, as one over all of them would read what waits for a later time, too.
        due = Notice.objects.filter(priority=priority, sent_at=None, gave_up_at=None, next_try_at__lte=now)
        if (notice := _take_first(due, now)) is not None:
            return notice
    return None


def _take_first(due: QuerySet[Notice], now: datetime) -> Notice | None:
    if not due.exists():
        return None  # without a transaction: on SQLite an idle sender would lock the database every second
    with transaction.atomic():
        # One at a time: the last of a hundred would wait for 99 providers, longer than its lease.
        locked = due.select_for_update(skip_locked=True, of=("self",)).order_by("next_try_at", "pk")
        notice = locked.select_related("user", "event").first()
        if notice is not None:
            notice.attempts += 1
            notice.next_try_at = now + LEASE
            notice.save(update_fields=["attempts", "next_try_at"])
    return notice


def _work(notice: Notice, now: datetime) -> Report:
    try:
        wait = _wait_for_cap(notice)
        if wait is None:
            _hand_over(notice)
    except DatabaseError:
        raise
    except Exception as error:
        # SECURITY: the class only: a message may repeat the address or the text, and the text has the link.
        logger.error("notice %s was not sent by %s: %s", notice.pk, notice.channel, type(error).__name__)
        pause = BACKOFF[min(notice.attempts, len(BACKOFF)) - 1]
        return _try_later(notice, now, pause, Report(failed=1))
    if wait is not None:
        return _try_later(notice, now, timedelta(seconds=wait), Report(postponed=1))
    # Whoever took it meanwhile (a lease ran out): it is sent, whatever the attempt.
    Notice.objects.filter(pk=notice.pk, sent_at=None).update(sent_at=now, gave_up_at=None, next_try_at=NEVER)
    return Report(sent=1)


def _wait_for_cap(notice: Notice) -> int | None:
    """Seconds until the account may be sent this SMS; None when it may now, and then it is counted: once."""
    is_first = notice.attempts == 1
    if not is_first or notice.channel != Notice.Channel.SMS or not policy.may_wait(notice.event):
        return None
    return ratelimits.acquire(Rate.NOTICE_ACCOUNT, str(notice.user_id))


def _reference(notice: Notice) -> str:
    """What names the message to providers and mail programs; a new name when staff have it sent once more."""
    return f"notice-{notice.pk}" + (f"-{notice.resent}" if notice.resent else "")


def send_again(notice: Notice) -> bool:
    """Puts a notice that went out or was given up into the outbox once more; False while it waits there."""
    over = Q(sent_at__isnull=False) | Q(gave_up_at__isnull=False)
    return (
        Notice.objects.filter(over, pk=notice.pk).update(
            sent_at=None, gave_up_at=None, attempts=0, next_try_at=timezone.now(), resent=F("resent") + 1
        )
        == 1
    )


def _hand_over(notice: Notice) -> None:
    if notice.channel == Notice.Channel.SMS:
        text = texts.sms_text(notice)
        sms.send(notice.to, text, code="", purpose="notice", reference=_reference(notice))
        return
    if not settings.EMAIL:
        raise Unsent("e-mail was turned off")
    mail = texts.mail(notice)
    headers = {
        "Message-ID": f"<{_reference(notice)}@{urlsplit(settings.BASE_URL).hostname}>",
        "Auto-Submitted": "auto-generated",  # RFC 3834: no answer from a holiday
    }
    message = EmailMultiAlternatives(mail.subject, mail.text, to=[notice.to], headers=headers)
    message.attach_alternative(mail.html, "text/html")
    message.send()


def _try_later(notice: Notice, now: datetime, pause: timedelta, report: Report) -> Report:
    """Gives the notice its next time; or gives it up, which leaves an event behind and no silence."""
    ours = Notice.objects.filter(pk=notice.pk, attempts=notice.attempts, sent_at=None, gave_up_at=None)
    if now < notice.created_at + GIVE_UP_AFTER:
        changes = {"attempts": F("attempts") - 1} if report.postponed else {}
        ours.update(next_try_at=now + pause, **changes)
        return report
    with transaction.atomic():
        if not ours.update(gave_up_at=now, next_try_at=NEVER):
            return report
        # NOTICE_FAILED is told to nobody (`policy.put`): a notice of it would fail in its turn.
        audit.record(
            Event.NOTICE_FAILED, None, customer=notice.user, target=str(notice.pk), succeeded=False,
            channel=notice.channel, of=notice.event.event,
        )  # fmt: skip
    logger.error("notice %s was given up after %s attempts", notice.pk, notice.attempts)
    return Report(gave_up=1)
