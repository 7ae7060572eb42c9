"""Rows of staff pages: events, factors and notices. They never contain a seed, a code, a digest or a text."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.access import user_agents
from accounts.audit import activity
from accounts.audit.detail_texts import tone_of
from accounts.choices.events import choices, event_of
from accounts.choices.roles import Right
from accounts.models import AuditEvent, DelayedChange, Notice, RecoveryCode, User, WebhookDelivery
from accounts.staff import access
from accounts.staff.access_log import masked_email
from hitobit_portal.i18n.bidi import fill
from hitobit_portal.i18n.jalali import digits, masked_phone

EVENTS, NOTICES = 50, 20
#: Details that are shown to staff in addition to what the customer sees.
DETAILS: dict[str, Promise] = {
    "via": gettext_lazy("through: %(value)s"),
    "page": gettext_lazy("page: %(value)s"),
    "text": gettext_lazy("searched for: %(value)s"),
    "found": gettext_lazy("results: %(value)s"),
    "filters": gettext_lazy("filters: %(value)s"),
    "cap": gettext_lazy("limit: %(value)s"),
    "of": gettext_lazy("of: %(value)s"),
    "channel": gettext_lazy("channel: %(value)s"),
    "format": gettext_lazy("format: %(value)s"),
    "why": gettext_lazy("reason: %(value)s"),
    "token": gettext_lazy("token: %(value)s"),
}
#: Labels of values that are identifiers of the portal; other values are shown as stored.
VALUE_LABELS: dict[str, dict[str, Promise]] = {
    "via": {
        "page": gettext_lazy("the customer's own page"),
        "link": gettext_lazy("the link in a notice"),
        "staff": gettext_lazy("the staff's pages"),
        "command": gettext_lazy("an operator command"),
        "api": gettext_lazy("the management API"),
    },
    "page": {
        "customers": gettext_lazy("list of customers"),
        "customer": gettext_lazy("a customer"),
        "keys": gettext_lazy("list of keys"),
        "key": gettext_lazy("a key"),
        "events": gettext_lazy("list of events"),
        "event": gettext_lazy("an event"),
        "webhooks": gettext_lazy("list of webhooks"),
        "webhook": gettext_lazy("a webhook"),
        "sms": gettext_lazy("list of SMS"),
    },
    "channel": dict(Notice.Channel.choices),
    "of": dict(DelayedChange.Kind.choices),
}


@dataclass(frozen=True)
class EventRow:
    event: AuditEvent
    title: str
    details: list[str]
    tone: str
    icon: str
    device: str
    by_staff: bool


def event_rows(events: Iterable[AuditEvent]) -> list[EventRow]:
    return [_event_row(event) for event in events]


def _event_row(event: AuditEvent) -> EventRow:
    look = event_of(event.event).look
    more = [
        fill(label, value=digits(_value_label(name, event.detail[name])))
        for name, label in DETAILS.items()
        if event.detail.get(name)
    ]
    details = [text for text in (activity.detail_of(event), *more) if text]
    by_staff = event.actor_id not in (None, event.customer_id)
    device = user_agents.describe(event.agent)
    return EventRow(event, str(look.title), details, tone_of(event), look.icon, device, by_staff)


def _value_label(name: str, value: object) -> str:
    """Return a detail in one line: its label if it is an identifier of the portal, otherwise the value."""
    label = VALUE_LABELS.get(name, {}).get(str(value))
    if label is not None:
        return str(label)
    if isinstance(value, dict):
        value = [f"{key}={one}" for key, one in value.items()]
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _event_title(value: str) -> Promise | None:
    """The title of the event that a notice was ``of``."""
    return dict(choices()).get(value)


def events_of(request: HttpRequest, user: User) -> list[EventRow]:
    """Return the last events of a customer. Page views of staff are included only for staff who may read the whole
    trail.
    """
    whole: QuerySet[AuditEvent] = AuditEvent.objects.filter(customer=user).order_by("-pk")
    events = whole if access.has_right(request, Right.VIEW_EVENT) else activity.shown_to(user)
    return event_rows(events.select_related("actor", "customer")[:EVENTS])


@dataclass(frozen=True)
class FactorRow:
    """A row of one factor. ``note``: for SMS, the phone number as this staff member may see it."""

    kind: Promise
    confirmed_at: datetime | None
    used_at: datetime | None
    note: str = ""
    is_ok: bool = True


def factors_of(request: HttpRequest, user: User) -> list[FactorRow]:
    rows = []
    totp, sms, recovery = (getattr(user, name, None) for name in ("totp", "sms", "recovery"))
    if sms:
        same = sms.number == user.phone
        note = (
            display_phone(request, sms.number)
            if same
            else _("for a number that no longer belongs to the account")
        )
        rows.append(
            FactorRow(gettext_lazy("SMS"), sms.confirmed_at, sms.last_used_at, note, sms.confirmed and same)
        )
    if totp:
        rows.append(
            FactorRow(
                gettext_lazy("Authenticator"), totp.confirmed_at, totp.last_used_at, is_ok=totp.confirmed
            )
        )
    if recovery:
        left = RecoveryCode.objects.filter(device=recovery, used_at=None).count()
        note = fill(_("%(n)s left"), n=digits(left))
        rows.append(
            FactorRow(
                gettext_lazy("Recovery codes"), recovery.confirmed_at, recovery.last_used_at, note, left > 0
            )
        )
    return rows


@dataclass(frozen=True)
class NoticeRow:
    notice: Notice
    title: str
    to: str
    state: str
    tone: str
    at: datetime | None
    may_resend: bool


def notice_rows(request: HttpRequest, user: User) -> list[NoticeRow]:
    notices = Notice.objects.filter(user=user).select_related("event").order_by("-pk")[:NOTICES]
    return [notice_row(request, user, notice) for notice in notices]


def notice_row(request: HttpRequest, user: User, notice: Notice) -> NoticeRow:
    state, tone, at = outbox_state(notice, notice.sent_at, _("Sent"))
    # SECURITY: not to a replaced address: its current owner would get the link that freezes the account.
    is_theirs = notice.to in (user.phone, user.email)
    is_over = bool(notice.sent_at or notice.gave_up_at)
    resend = is_theirs and is_over and access.has_right(request, Right.RESEND_NOTICE)
    title = str(event_of(notice.event.event).look.title)
    resend = resend and access.can_act_on(request, user)
    return NoticeRow(notice, title, shown_address(notice), state, tone, at, resend)


def outbox_state(
    row: Notice | WebhookDelivery, done_at: datetime | None, done: str
) -> tuple[str, str, datetime]:
    """Return state, tone and time of something that an outbox sends; ``done``: the word for what was sent."""
    if done_at:
        return done, "ok", done_at
    if row.gave_up_at:
        return _("Gave up"), "danger", row.gave_up_at
    if row.attempts:
        return _("Failed, will be retried"), "warn", row.next_try_at
    return _("Waiting to be sent"), "info", row.next_try_at


def shown_address(notice: Notice) -> str:
    """Return the address masked, for every role: the page is about whether the notice was sent."""
    return masked_phone(notice.to) if notice.channel == Notice.Channel.SMS else masked_email(notice.to)


def display_phone(request: HttpRequest, number: str) -> str:
    return number if access.has_right(request, Right.SEE_CONTACT) else masked_phone(number)


def display_email(request: HttpRequest, email: str) -> str:
    return email if access.has_right(request, Right.SEE_CONTACT) else masked_email(email)


def key_events(request: HttpRequest, owner: User, key: str) -> list[EventRow]:
    """Return the last events of the owner's key; page views only for staff who may read the whole trail."""
    # By the key alone: with both conditions PostgreSQL expects hardly any events, and sorts all of a customer's.
    events = AuditEvent.objects.filter(target=key).order_by("-pk")
    if not access.has_right(request, Right.VIEW_EVENT):
        events = events.exclude(event__in=activity.HIDDEN)
    newest = events.select_related("actor", "customer")[:EVENTS]
    return event_rows([event for event in newest if event.customer_id == owner.pk])
