"""Template tags for staff pages: phone numbers and e-mails, whole or masked, and names in events."""

from datetime import UTC, datetime
from typing import Any

from django import template
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from accounts.access import user_agents
from accounts.choices.roles import Right
from accounts.models import User
from accounts.staff import access, opaque_ids, presenters
from hitobit_portal.i18n.jalali import digits

register = template.Library()


@register.simple_tag(takes_context=True)
def phone_of(context: dict[str, Any], person: User) -> SafeString:
    """Return the number, masked unless the role may see it."""
    return format_html(
        '<bdi class="number" dir="ltr">{}</bdi>', presenters.display_phone(context["request"], person.phone)
    )


@register.simple_tag(takes_context=True)
def email_of(context: dict[str, Any], person: User) -> SafeString:
    return format_html('<bdi dir="ltr">{}</bdi>', presenters.display_email(context["request"], person.email))


@register.simple_tag(takes_context=True)
def person(context: dict[str, Any], who: User | None) -> SafeString:
    """Return name, id and the exchange's id of a user; the phone number only as the role may see it."""
    if who is None:
        return format_html('<span class="muted">{}</span>', _("the portal itself"))
    name = (
        format_html("<bdi>{}</bdi>", who.name)
        if who.name
        else format_html(
            '<bdi class="number" dir="ltr">{}</bdi>', presenters.display_phone(context["request"], who.phone)
        )
    )
    number = f"{digits(who.pk)} {who.external_id}" if who.external_id else digits(who.pk)
    return format_html('{} <bdi class="muted number" dir="ltr">#{}</bdi>', name, number)


@register.simple_tag(takes_context=True)
def may_act(context: dict[str, Any], right: str, whom: User) -> bool:
    """Return whether the staff member has ``right`` (a name of `roles.Right`) and may use it on ``whom``."""
    request: HttpRequest = context["request"]
    return access.has_right(request, Right[right]) and access.can_act_on(request, whom)


@register.simple_tag(takes_context=True)
def may(context: dict[str, Any], right: str) -> bool:
    return access.has_right(context["request"], Right[right])


@register.filter
def account_id(pk: int) -> str:
    """Return the opaque id of an account, for URLs."""
    return opaque_ids.AccountId.hide(pk)


@register.filter
def browser(agent: str) -> str:
    """``Firefox, Windows``."""
    return user_agents.describe(agent) or _("Unknown browser")


@register.filter
def utc(moment: datetime) -> str:
    """Return the time in UTC with microseconds, for comparing logs."""
    return moment.astimezone(UTC).isoformat(sep=" ", timespec="microseconds").removesuffix("+00:00")
