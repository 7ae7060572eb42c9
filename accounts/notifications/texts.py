"""What notices say, in their owner's language. Made when they are sent; nothing of it is stored."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from django.conf import settings
from django.template.loader import render_to_string
from django.utils import translation
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.access import user_agents
from accounts.audit.detail_texts import change_lines, login_text
from accounts.choices.approvals import past_text
from accounts.choices.events import Event, SecurityEvent, event_of
from accounts.choices.registry import Registry
from accounts.models import AuditEvent, DelayedChange, Notice
from accounts.notifications import links
from accounts.notifications.links import token_of
from hitobit_portal.i18n import bidi
from hitobit_portal.i18n.bidi import fill
from hitobit_portal.i18n.free_text import plain
from hitobit_portal.i18n.jalali import date_local, digits, masked_phone

#: Four parts of an SMS in Persian (UCS-2, 67 characters each), link included.
LONGEST_SMS = 268
LONGEST_LABEL_IN_SMS = 30
SHORTEST_CUT = 12
WAITING: dict[SecurityEvent, DelayedChange.Kind] = {
    Event.PHONE_CHANGE_ASKED: DelayedChange.Kind.PHONE,
    Event.FACTORS_RESET_ASKED: DelayedChange.Kind.FACTORS,
}
BROWSER_WORDS = frozenset(name for _mark, name in (*user_agents.BROWSERS, *user_agents.SYSTEMS))


@dataclass(frozen=True)
class NoticeWords:
    """What the notices of an app's event say beside what all of them say.

    ``label``: what the event's label names; ``label_in_sms``: the line with ``%(name)s``. ``ask``: what stands before
    the link. ``dates``: returns (name, value) pairs, in the active language, that are in every SMS. ``changes_first``:
    whether an SMS leaves out everything else before the changes: without them nobody could decide what it asks.
    """

    label: Promise
    label_in_sms: Promise
    ask: Promise | None = None
    dates: Callable[[AuditEvent], list[tuple[str, str]]] | None = None
    changes_first: bool = False


def _erasure_date(event: AuditEvent) -> list[tuple[str, str]]:
    date = event.detail.get("date")
    return [(_("Takes effect"), date_local(datetime.fromisoformat(date)))] if date else []


#: Filled by apps in `AppConfig.ready()`: ``WORDS.register({...})``. Without an entry a notice shows no label.
WORDS: Registry[SecurityEvent, NoticeWords] = Registry(
    {
        Event.ERASURE_REQUESTED: NoticeWords(
            gettext_lazy("Account"),
            gettext_lazy("Account"),
            ask=gettext_lazy("Not your wish? Call support, or freeze the account:"),
            dates=_erasure_date,
        )
    }
)


class Mail(NamedTuple):
    subject: str
    text: str
    html: str


@dataclass(frozen=True)
class Content:
    """What is told, in words; ``""`` where there is nothing to tell.

    ``label``: the name of what it is about, as it is in an e-mail, ``label_name``: what that is; ``label_in_sms``: the
    line with the name, which may be cut. ``changes``: a line each. ``dates``, ``more``: (name, value); the dates are in
    every SMS.
    ``is_waiting``: whether it tells of a change that its link can stop; ``is_held``: of one that only a login can stop.
    """

    title: str
    label: str
    label_name: str
    label_in_sms: str
    changes: list[str]
    when: str
    address: str
    browser: str
    dates: list[tuple[str, str]]
    is_waiting: bool
    is_held: bool
    ask: str
    link: str
    more: list[tuple[str, str]]


def sms_text(notice: Notice) -> str:
    """At most LONGEST_SMS UTF-16 units: what does not fit is cut, never the title, the time or the link."""
    with translation.override(language_of(notice)):
        content = content_of(notice)
        lines = {
            "title": fill(_("Hitobit: %(title)s"), title=content.title),
            "label": content.label_in_sms,
            "changes": _("; ").join(content.changes),
            "when": content.when,
            "address": fill(_("From %(address)s"), address=content.address) if content.address else "",
            "browser": content.browser,
            "dates": "\n".join(_fact(name, value) for name, value in content.dates),
            "ask": content.ask,
        }
        lines = {name: bidi.line(text) for name, text in lines.items()} | {"link": content.link}
        whole = ("title", "when", "dates", "ask", "link")
        room = LONGEST_SMS + 1 - sum(_units(lines[name]) + 1 for name in whole if lines[name])
        words = WORDS.get(event_of(notice.event.event))
        changes_first = words is not None and words.changes_first
        rest = ("label", "address", "browser")
        for name in ("changes", *rest) if changes_first else (*rest[:2], "changes", *rest[2:]):
            # A cut address would be another one, and a cut name without its quotation mark a forged line.
            may_cut = name == "changes" and not changes_first
            text = cut(lines[name], room - 1) if may_cut else lines[name]
            lines[name] = text if _units(text) < room else ""
            room -= _units(lines[name]) + 1 if lines[name] else 0
    return "\n".join(text for text in lines.values() if text)


def mail(notice: Notice) -> Mail:
    """Subject (of our own words only), plain text and HTML of the e-mail."""
    language = language_of(notice)
    with translation.override(language):
        content = content_of(notice)
        facts = [
            (content.label_name, content.label),
            *((_("Change"), line) for line in content.changes),
            *content.dates,
            *content.more,
            (_("Time"), fill(_("%(when)s (Tehran)"), when=content.when)),
            (_("From"), content.address),
            (_("Browser"), content.browser),
        ]
        facts = [(name, value) for name, value in facts if value]
        context = {
            "content": content,
            "facts": facts,
            "lines": [_fact(name, value) for name, value in facts],
            "language": language,
            "direction": "rtl" if translation.get_language_bidi() else "ltr",
            "advice": _advice(content),
            "never": _("Hitobit never asks for your password, your codes or your secret key."),
        }
        return Mail(
            fill(_("Hitobit: %(title)s"), title=content.title),
            render_to_string("notices/email.txt", context),
            render_to_string("notices/email.html", context),
        )


def _fact(name: str, value: str) -> str:
    """A line of plain text, or two: nothing may stand beside a link, or phones take it for a part of the link."""
    if value.startswith(settings.BASE_URL):
        return f"{bidi.line(name)}:\n{value}"
    return bidi.line(f"{name}: {bidi.isolated(value)}")


def language_of(notice: Notice) -> str:
    known = dict(settings.LANGUAGES)
    return notice.user.language if notice.user.language in known else settings.LANGUAGE_CODE


def content_of(notice: Notice) -> Content:
    """The notice's event in the words of the active language."""
    event = notice.event
    kind = event_of(event.event)
    words = WORDS.get(kind)
    label = plain(event.label) if words is not None else ""
    short = cut(label, LONGEST_LABEL_IN_SMS)
    by_staff = event.actor_id not in (None, event.customer_id)
    waiting = _waiting_change(notice, kind)
    dates = _dates(event, waiting, words)
    can_stop = waiting is not None and links.link_may_stop(notice.user)
    return Content(
        title=str(kind.look.title),
        label=label,
        label_name=str(words.label) if words is not None else "",
        label_in_sms=fill(words.label_in_sms, name=short) if words is not None and short else "",
        changes=change_lines(event),
        when=date_local(event.at),
        # SECURITY: of staff not the address: it tells nothing about a thief, and much about the house.
        address=_("Hitobit staff") if by_staff else event.address or "",
        browser="" if by_staff else browser_of(event.agent),
        dates=dates,
        is_waiting=can_stop,
        is_held=waiting is not None and not can_stop,
        ask=_ask(words, is_waiting=can_stop),
        link=f"{settings.BASE_URL}/n/{token_of(notice)}/",
        more=_more(event, waiting),
    )


def _ask(words: NoticeWords | None, *, is_waiting: bool) -> str:
    if is_waiting:
        return _("Not you? Stop it:")
    if words is not None and words.ask is not None:
        return str(words.ask)
    return _("Not you? Freeze the account:")


def _advice(content: Content) -> str:
    if content.is_waiting:
        return _(
            "The link needs no login. It stops this change and, if you choose so, freezes the "
            "account: all API keys stop and all sessions end."
        )
    if content.is_held:
        return _(
            "The link needs no login. It stops all API keys and ends all sessions at once. It does "
            "not stop this change, because a link has already stopped one before. To stop it, log in "
            "and open the settings, or call support."
        )
    return _(
        "The link needs no login. It stops all API keys and ends all sessions at once. You start "
        "the keys again with your two codes."
    )


def _waiting_change(notice: Notice, kind: SecurityEvent) -> DelayedChange | None:
    """The change that the notice warns of, as long as it waits."""
    if kind not in WAITING:
        return None
    changes = DelayedChange.objects.filter(
        user=notice.user, kind=WAITING[kind], stopped_at=None, done_at=None
    )
    if notice.event.target.isdecimal():
        changes = changes.filter(pk=int(notice.event.target))
    return changes.order_by("-asked_at").first()


def _dates(
    event: AuditEvent, waiting: DelayedChange | None, words: NoticeWords | None
) -> list[tuple[str, str]]:
    """When what the notice warns of comes true: a change of factors, or what the event's app says."""
    dates = []
    if waiting is not None:
        dates.append((_("Takes effect"), date_local(waiting.due_at)))
    if words is not None and words.dates is not None:
        dates += words.dates(event)
    return dates


def _more(event: AuditEvent, waiting: DelayedChange | None) -> list[tuple[str, str]]:
    """What else the event's details hold."""
    detail: dict[str, Any] = event.detail
    new = waiting.phone if waiting else ""
    more = [
        (_("Login"), login_text(detail)),
        (_("Codes"), past_text(detail.get("purpose", ""))),
        (_("Recovery codes left"), digits(detail["left"]) if "left" in detail else ""),
        (_("Reason"), plain(str(detail.get("reason", "")))),
        (_("New mobile number"), masked_phone(new) if new else ""),
    ]
    return [(name, value) for name, value in more if value]


def browser_of(agent: str) -> str:
    """``Firefox, Windows``; of a browser that nobody knows nothing."""
    # SECURITY: its header is free text: "call 0900... at once" must not arrive in a message from Hitobit.
    known = [word for word in user_agents.describe(agent).split(", ") if word in BROWSER_WORDS]
    return ", ".join(known)


def cut(text: str, room: int) -> str:
    """``text`` in at most ``room`` UTF-16 units; "" where so little of it fits that it tells nothing."""
    if _units(text) <= room:
        return text
    if room < SHORTEST_CUT:
        return ""
    while _units(shorter := bidi.closed(f"{text.rstrip()}…")) > room:
        text = text[:-1]
    return shorter


def _units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2
