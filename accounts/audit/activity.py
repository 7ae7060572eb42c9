"""Security events as rows for people."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from accounts.access import user_agents
from accounts.audit.detail_texts import change_lines, login_text, replaced_text, tone_of
from accounts.choices.approvals import past_text
from accounts.choices.events import Event, event_of
from accounts.models import AuditEvent, User
from hitobit_portal.i18n.bidi import fill, isolated
from hitobit_portal.i18n.free_text import plain
from hitobit_portal.i18n.jalali import date_local, digits

PAGE = 50


@dataclass(frozen=True)
class Row:
    title: str
    detail: str
    tone: str
    icon: str
    address: str
    device: str
    at: datetime


#: The first rows of `shown_to`, and one login. Two querysets take Django three times as long as this the database.
NEWEST = """
SELECT * FROM (
    SELECT *, FALSE AS is_earlier_login FROM accounts_auditevent
    WHERE customer_id = %s AND event <> %s ORDER BY id DESC LIMIT %s
) AS events
UNION ALL SELECT * FROM (
    SELECT *, TRUE AS is_earlier_login FROM accounts_auditevent
    WHERE customer_id = %s AND event = %s ORDER BY id DESC LIMIT 1 OFFSET 1
) AS logins
ORDER BY id DESC
"""
#: What the customer is not shown: that staff looked. What staff did is.
HIDDEN = (Event.STAFF_VIEWED.value,)


def shown_to(user: User) -> QuerySet[AuditEvent]:
    """The person's own events as they may read them, newest first."""
    return AuditEvent.objects.filter(customer=user).exclude(event__in=HIDDEN).order_by("-pk")


def row(event: AuditEvent) -> Row:
    """One event in the words of its customer. Of staff it says that it was they, not who and from where."""
    look = event_of(event.event).look
    title = f"{look.title}: {isolated(plain(event.label))}" if event.label else str(look.title)
    # An operator's command has no account, so its events stand under the customer's.
    by_command = event.detail.get("via") == "command"
    if event.actor_id in (None, event.customer_id) and not by_command:
        device = user_agents.describe(event.agent)
        return Row(title, detail_of(event), tone_of(event), look.icon, event.address, device, event.at)
    parts = [_("by Hitobit's staff"), detail_of(event)]
    detail = pgettext("list separator", ", ").join(filter(None, parts))
    return Row(title, detail, tone_of(event), look.icon, "", "", event.at)


def detail_of(event: AuditEvent) -> str:
    detail: dict[str, Any] = event.detail
    parts = []
    parts.append(login_text(detail))
    if "purpose" in detail:
        parts.append(past_text(detail["purpose"]))
    if "changes" in detail:
        parts.append(_("; ").join(change_lines(event)))
    parts += _facts(detail)
    if "reason" in detail:
        parts.append(isolated(plain(str(detail["reason"]))))
    return pgettext("list separator", ", ").join(filter(None, parts))


def _facts(detail: dict[str, Any]) -> list[str]:
    """What else the details hold: what was before, and until when."""
    facts = []
    if "before" in detail:
        facts.append(fill(_("previously “%(name)s”"), name=plain(detail["before"])))
    if until := _moment(detail, "until"):
        facts.append(fill(_("until %(when)s"), when=until))
    if "old" in detail and "new" in detail:
        facts.append(replaced_text(detail["old"], detail["new"]))
    elif "new" in detail:
        facts.append(isolated(detail["new"]))
    if on := _moment(detail, "date"):
        facts.append(fill(_("on %(when)s"), when=on))
    if "left" in detail:
        facts.append(fill(_("codes left: %(n)s"), n=digits(detail["left"])))
    return facts


def _moment(detail: dict[str, Any], name: str) -> str:
    """A stored ISO date in words, "" where there is none."""
    stored = detail.get(name)
    return date_local(datetime.fromisoformat(stored)) if stored else ""


def of_customer(user: User, before: int | None = None) -> list[AuditEvent]:
    """The newest PAGE + 1 events of a customer that are older than event id ``before``."""
    events = shown_to(user)
    if before is not None:
        events = events.filter(pk__lt=before)
    return list(events[: PAGE + 1])


def newest(user: User, count: int) -> tuple[list[Row], Row | None]:
    """Return the ``count`` newest events, and the login before the current one, of one statement."""
    (hidden,) = HIDDEN
    values = [user.pk, hidden, count, user.pk, Event.LOGIN.value]
    rows: list[Row] = []
    earlier_login = None
    for event in AuditEvent.objects.raw(NEWEST, values):
        if event.is_earlier_login:  # type: ignore[attr-defined]
            earlier_login = row(event)
        else:
            rows.append(row(event))
    return rows, earlier_login


def by_day(events: Iterable[AuditEvent]) -> list[tuple[date, list[Row]]]:
    days = groupby(events, key=lambda event: timezone.localtime(event.at).date())
    return [(day, [row(event) for event in group]) for day, group in days]
