"""Staff accounts for tests: one of each role, logged in, as `manage.py create_staff` creates them."""

from typing import Any

from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEvent, Notice
from apikeys.models import ApiKey
from tests.support.people import Person, customer, logged_in

USERS, KEYS, EVENTS = "/admin/accounts/user/", "/admin/apikeys/apikey/", "/admin/accounts/auditevent/"
SMS = "/admin/accounts/smsdelivery/"
ROLES = ("support", "security", "auditor")
REASON = "Ticket 4711: phone stolen"


def staff_member(role: str, name: str = "") -> Person:
    """Return a staff member. ``role``: a group's name, "chief" for a superuser, "none" for no role."""
    person = customer(is_staff=True, is_superuser=role == "chief", name=name or role)
    if role in ROLES:
        person.user.groups.add(Group.objects.get(name=role))
    return person


def staff_browser(role: str) -> Client:
    """Return a browser of a new staff member."""
    return logged_in(staff_member(role))


def page_of(person: Person) -> str:
    return reverse("admin:accounts_user_change", args=[person.user.pk])


def page_of_action(person: Person, act: str) -> str:
    return reverse("admin:accounts_user_act", args=[person.user.pk, act])


def page_of_notice(person: Person, notice: Notice) -> str:
    return reverse("admin:accounts_user_resend", args=[person.user.pk, notice.pk])


def page_of_event(event: AuditEvent) -> str:
    return reverse("admin:accounts_auditevent_change", args=[event.pk])


def act_on(client: Client, person: Person, act: str, reason: str = REASON) -> Any:
    return client.post(page_of_action(person, act), {"reason": reason})


def act_on_keys(client: Client, act: str, *keys: ApiKey, reason: str | None = REASON) -> Any:
    fields: dict[str, Any] = {"action": act, "_selected_action": [str(key.pk) for key in keys]}
    return client.post(KEYS, fields if reason is None else {**fields, "reason": reason})


def events(*kinds: str) -> list[AuditEvent]:
    """Events of these kinds, oldest first."""
    return list(AuditEvent.objects.filter(event__in=kinds).order_by("pk"))
