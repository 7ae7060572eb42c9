"""Template filters for dates, digits and masked values: Jalali and Persian digits in ``fa``, Gregorian in ``en``.

Times are in Tehran's time zone in both languages, because the exchange uses it. ``jdatetime`` computes Jalali dates.
"""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import jdatetime
from django import template
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import get_language, gettext, ngettext

from hitobit_portal.http import display_preferences
from hitobit_portal.i18n import bidi

register = template.Library()

TEHRAN = ZoneInfo("Asia/Tehran")
PERSIAN_DIGITS = str.maketrans("0123456789", "۰۱۲۳۴۵۶۷۸۹")


def _persian() -> bool:
    return (get_language() or "").startswith("fa")


def _tehran(value: dt.datetime) -> dt.datetime:
    return value.astimezone(TEHRAN)


@register.filter
def digits(value: object) -> str:
    """The text with Persian digits if the language is Persian, unless the visitor prefers Latin ones."""
    persian = _persian() and display_preferences.digits.get() != "latin"
    return str(value).translate(PERSIAN_DIGITS) if persian else str(value)


@register.simple_tag
def display_attributes() -> SafeString:
    """The attributes of ``<html>`` that tell style sheets and scripts the visitor's theme and digits."""
    chosen = [
        ("data-theme", display_preferences.theme.get()),
        ("data-digits", display_preferences.digits.get()),
    ]
    return format_html_join("", ' {}="{}"', [pair for pair in chosen if pair[1]])


@register.filter
def day_local(value: dt.date | None) -> str:
    """``1 آذر 1405`` (in Persian digits) or ``22 Nov 2026``; a datetime is converted to Tehran's time first."""
    if value is None:
        return ""
    day = _tehran(value).date() if isinstance(value, dt.datetime) else value
    if not _persian():
        return date_format(day, "j M Y")
    jalali = jdatetime.date.fromgregorian(date=day)
    return digits(f"{jalali.day} {jdatetime.date.j_months_fa[jalali.month - 1]} {jalali.year}")


@register.filter
def clock_local(value: dt.datetime | None) -> str:
    """Hours and minutes in Tehran's time."""
    return digits(f"{_tehran(value):%H:%M}") if value else ""


@register.filter
def date_local(value: dt.datetime | None) -> str:
    """Day and time in Tehran's time."""
    if value is None:
        return ""
    return f"{day_local(value)}{'،' if _persian() else ','} {clock_local(value)}"


@register.filter
def moment_local(value: dt.datetime | None) -> str:
    """Day and time to the second in Tehran's time, to be found in a program's log."""
    if value is None:
        return ""
    return f"{day_local(value)}{'،' if _persian() else ','} {digits(f'{_tehran(value):%H:%M:%S}')}"


@register.filter
def near_day(value: dt.date) -> str:
    """``Today`` or ``Yesterday`` in Tehran's time, or an empty text."""
    today = _tehran(timezone.now()).date()
    return {0: gettext("Today"), 1: gettext("Yesterday")}.get((today - value).days, "")


@register.filter
def ago(value: dt.datetime | None) -> str:
    """How long ago, up to a week; older values as a day. A time in the future counts as now."""
    if value is None:
        return ""
    minutes = max(0, int((timezone.now() - value).total_seconds() // 60))
    if minutes < 1:
        return gettext("just now")
    if minutes < 60:
        return digits(ngettext("%(n)d minute ago", "%(n)d minutes ago", minutes) % {"n": minutes})
    hours = minutes // 60
    if hours < 24:
        return digits(ngettext("%(n)d hour ago", "%(n)d hours ago", hours) % {"n": hours})
    days = hours // 24
    if days < 7:
        return digits(ngettext("%(n)d day ago", "%(n)d days ago", days) % {"n": days})
    return day_local(value)


@register.filter
def duration(seconds: int) -> str:
    """A waiting time, rounded up: in seconds below a minute, in minutes up to 90, in hours above."""
    if seconds < 60:
        return digits(ngettext("%(n)d second", "%(n)d seconds", seconds) % {"n": seconds})
    minutes = -(-seconds // 60)
    if minutes <= 90:
        return digits(ngettext("%(n)d minute", "%(n)d minutes", minutes) % {"n": minutes})
    hours = -(-minutes // 60)
    return digits(ngettext("%(n)d hour", "%(n)d hours", hours) % {"n": hours})


@register.filter
def seconds_left(seconds: int) -> SafeString:
    """A number of seconds that the script counts down (`static/js/countdown.js`)."""
    return bidi.IsolatedHtml(format_html("<bdi data-left>{}</bdi>", digits(seconds)))


@register.filter
def groups(value: str) -> str:
    """The text in groups of four characters, so that people can read and type long secrets."""
    return " ".join(value[i : i + 4] for i in range(0, len(value), 4))


@register.filter
def masked_phone(value: str) -> str:
    """``+989121234567`` as ``0912•••4567``."""
    national = "0" + value.removeprefix("+98") if value.startswith("+98") else value
    return f"{national[:4]}•••{national[-4:]}"


@register.filter
def masked_key(value: str) -> str:
    """The first six and last four characters of a key id, which are enough to tell two keys apart."""
    return f"{value[:6]}…{value[-4:]}"
