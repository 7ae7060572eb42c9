"""Staff pages of customers: by role, with a reason, and never without an event."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts import audit
from accounts.access import sessions
from accounts.actions import erasure, scheduled_changes
from accounts.audit import activity
from accounts.choices.roles import Right
from accounts.models import AuditEvent, LoginSession, Notice, User
from accounts.notifications import outbox
from accounts.staff import actions
from accounts.staff.access_log import masked_email
from apikeys.policy.events import KeyEvent
from hitobit_portal.i18n.jalali import masked_phone
from tests.support.people import Person, customer, key_of, logged_in, newcomer
from tests.support.staff import (
    REASON,
    ROLES,
    USERS,
    act_on,
    events,
    page_of,
    page_of_action,
    page_of_notice,
    staff_browser,
    staff_member,
)

pytestmark = pytest.mark.django_db
#: Roles of each action. The page of an action responds 403 to everybody else, whatever they post.
ALLOWED = {
    "freeze": {"support", "security"},
    **{
        act: {"security"}
        for act in (
            *("thaw", "quarantine", "end-sessions", "reset-factors", "stop-reset", "close", "reopen"),
            *("erase", "confirm-erasure", "cancel-erasure"),
        )
    },
}
LEAVES = {
    "freeze": "account.frozen",
    "thaw": "account.thawed",
    "quarantine": "account.quarantined",
    "end-sessions": "staff.ended_sessions",
    "reset-factors": "factor.reset_asked",
    "stop-reset": "factor.change_stopped",
    "close": "account.closed",
    "reopen": "account.reopened",
    "erase": "account.erasure_requested",
    "confirm-erasure": "account.erasure_confirmed",
    "cancel-erasure": "account.erasure_cancelled",
}


@pytest.fixture
def sara() -> Person:
    person = customer(name="Sara")
    User.objects.filter(pk=person.user.pk).update(email="sara.rezaei@example.com")
    return Person(person.reload(), person.password, person.seed)


def ready_for(act: str, person: Person) -> None:
    """Put the account into the state from which ``act`` changes something."""
    states: dict[str, dict[str, Any]] = {
        "thaw": {"frozen_at": timezone.now()},
        "reopen": {"is_active": False},
    }
    changes = states.get(act)
    if changes:
        User.objects.filter(pk=person.user.pk).update(**changes)
    if act == "stop-reset":
        scheduled_changes.schedule_factor_reset(person.user, "asked before")
    if act in ("confirm-erasure", "cancel-erasure"):
        erasure.request_erasure(person.user, "requested before", erasure.Decider(operator="operator"))


def search(client: Any, text: str) -> str:
    return str(client.post(USERS, {"q": text}, follow=True).content.decode())


def test_every_act_stands_in_the_table() -> None:
    assert set(ALLOWED) == {act.name for act in actions.STAFF_ACTIONS} == set(LEAVES)


@pytest.mark.parametrize("role", [*ROLES, "none"])
@pytest.mark.parametrize("act", ALLOWED)
def test_role_by_act(sara: Person, role: str, act: str) -> None:
    ready_for(act, sara)
    me = staff_member(role)
    before = AuditEvent.objects.count()
    response = act_on(logged_in(me), sara, act)
    if role not in ALLOWED[act]:
        assert response.status_code == 403
        assert AuditEvent.objects.count() == before
        return
    assert response.status_code == 302
    left = AuditEvent.objects.get(event=LEAVES[act], actor=me.user)
    assert (left.customer, left.detail["reason"]) == (sara.user, REASON)


@pytest.mark.parametrize("act", ALLOWED)
def test_no_act_without_a_reason(sara: Person, act: str) -> None:
    ready_for(act, sara)
    done = AuditEvent.objects.exclude(event="staff.viewed")
    before = User.objects.filter(pk=sara.user.pk).values().get(), done.count()
    client = staff_browser("security")
    for reason in ("", "   ", "x", "x" * 201, "\u202e\u202e\u202e\u202e\u202e\u202e"):
        response = act_on(client, sara, act, reason)
        assert response.status_code == 200, reason
        assert 'aria-invalid="true"' in response.content.decode(), reason
    assert (User.objects.filter(pk=sara.user.pk).values().get(), done.count()) == before


def test_action_page_shows_the_effect(sara: Person) -> None:
    key_of(sara, "ربات من")
    LoginSession.objects.create(user=sara.user)
    page = staff_browser("support").get(page_of_action(sara, "freeze")).content.decode()
    assert "ربات من" in page
    assert masked_phone(sara.user.phone) in page
    assert User.objects.get(pk=sara.user.pk).frozen_at is None


def test_frozen_by_staff_nothing_passes_and_its_owner_reads_why_but_not_who(sara: Person) -> None:
    agent = staff_member("support", name="Agent Maryam")
    mine = logged_in(sara)
    act_on(logged_in(agent, "203.0.113.99"), sara, "freeze")
    assert mine.get("/dashboard/").status_code == 302
    page = logged_in(sara).get("/activity/").content.decode()
    assert REASON in page
    assert "Maryam" not in page
    assert "203.0.113.99" not in page
    assert Notice.objects.filter(user=sara.user, event__event="account.frozen").count() == 2


def test_reset_waits_a_day_and_notifies_by_every_channel(sara: Person) -> None:
    act_on(staff_browser("security"), sara, "reset-factors")
    change = scheduled_changes.waiting(sara.user).get()
    assert change.due_at - change.asked_at == timedelta(hours=24)
    assert {n.channel for n in Notice.objects.filter(event__event="factor.reset_asked")} == {"sms", "email"}
    assert scheduled_changes.apply_due() == 0
    assert sara.reload().has_both_factors


def test_ended_sessions_are_over(sara: Person) -> None:
    mine = logged_in(sara)
    act_on(staff_browser("security"), sara, "end-sessions")
    assert mine.get("/dashboard/").status_code == 302
    assert sessions.open_sessions(sara.user) == []


def test_second_press_leaves_no_second_event(sara: Person) -> None:
    client = staff_browser("security")
    for act in ("freeze", "quarantine", "reset-factors", "close"):
        act_on(client, sara, act)
        act_on(client, sara, act)
        assert len(events(LEAVES[act])) == 1, act


def test_page_shows_factors_keys_sessions_events_and_notices(sara: Person) -> None:
    key_of(sara, "ربات من")
    audit.record(KeyEvent.CREATED, None, customer=sara.user, label="ربات من")
    logged_in(sara)
    page = staff_browser("security").get(page_of(sara)).content.decode()
    assert page.count("ربات من") >= 2
    assert masked_email(sara.user.email) in page
    assert "Firefox, Linux" in page


def test_support_sees_numbers_and_e_mails_masked_and_security_whole(sara: Person) -> None:
    for role, whole in (("support", False), ("security", True), ("auditor", True)):
        client = staff_browser(role)
        for page in (client.get(page_of(sara)).content.decode(), search(client, sara.user.phone)):
            assert (sara.user.phone in page) is whole, role
            assert (sara.user.email in page) is whole, role
            assert whole or masked_phone(sara.user.phone) in page


def test_customer_is_found_by_phone_e_mail_and_key_in_any_spelling(sara: Person) -> None:
    key = key_of(sara)
    client = staff_browser("support")
    digits = sara.user.phone[3:].translate(str.maketrans("0123456789", "۰۱۲۳۴۵۶۷۸۹"))
    masked = f"{key.key_id[:6]}…{key.key_id[-4:]}"
    for text in (sara.user.phone, f"۰{digits}", "SARA.rezaei@example.com", key.key_id, masked):
        assert client.post(USERS, {"q": text})["Location"] == page_of(sara), text


def test_support_cannot_search_by_parts_or_list_customers(sara: Person) -> None:
    client = staff_browser("support")
    parts = (sara.user.phone[:-1], sara.user.phone[-4:], "example.com", "sara", "S", "%", str(sara.user.pk))
    for text in parts:
        assert page_of(sara) not in search(client, text), text
    assert page_of(sara) not in client.get(USERS, {"state": "", "q": ""}).content.decode()
    assert page_of(sara) in staff_browser("security").get(USERS).content.decode()
    assert page_of(sara) in search(staff_browser("security"), "sar")


@pytest.mark.parametrize("text", ["%", "'", "\x00", "x" * 5000, "+98", "@", "…", "1" * 30, "۱۲"])
def test_search_takes_any_text(sara: Person, text: str) -> None:
    client = staff_browser("security")
    assert client.post(USERS, {"q": text}).status_code in (200, 302)
    assert client.get(USERS, {"q": text, "before": text, "after": text, "state": text}).status_code == 200


def test_pending_accounts_and_colleagues_are_no_customers(sara: Person) -> None:
    typed = newcomer()
    User.objects.filter(pk=typed.user.pk).update(joined_at=None)
    colleague = staff_member("auditor")
    for person in (typed, colleague):
        assert staff_browser("security").get(page_of(person)).status_code == 404
    assert staff_browser("auditor").get(page_of(colleague)).status_code == 200


def test_looking_and_searching_are_events_once_a_minute_and_hidden_from_the_customer(sara: Person) -> None:
    agent = staff_member("support")
    client = logged_in(agent)
    search(client, sara.user.phone)
    for _n in range(3):
        client.get(page_of(sara))
    viewed, searched = events("staff.viewed"), events("staff.searched")
    assert [(e.actor, e.customer, e.detail["page"]) for e in viewed] == [(agent.user, sara.user, "customer")]
    assert [(e.detail["text"], e.detail["found"]) for e in searched] == [(masked_phone(sara.user.phone), 1)]
    assert activity.of_customer(sara.user) == []
    assert not Notice.objects.filter(user=sara.user)
    assert len(events("staff.viewed")) == 1


def notice_of(person: Person, **fields: Any) -> Notice:
    event = audit.record(KeyEvent.CREATED, None, customer=person.user)
    notice = event.notices.get(channel="sms")
    Notice.objects.filter(pk=notice.pk).update(**fields)
    return Notice.objects.get(pk=notice.pk)


def test_notice_is_sent_again_under_another_name_for_a_reason(sara: Person, settings: Any) -> None:
    settings.SMS_BACKENDS = ["tests.support.sms_collector"]
    notice = notice_of(sara, sent_at=timezone.now(), attempts=1)
    client = staff_browser("support")
    path = page_of_notice(sara, notice)
    assert client.post(path, {"reason": ""}).status_code == 200
    assert client.post(path, {"reason": REASON}).status_code == 302
    assert outbox.send_due().sent >= 1
    notice.refresh_from_db()
    assert (notice.resent, notice.sent_at is None) == (1, False)
    assert outbox._reference(notice) == f"notice-{notice.pk}-1"
    assert [e.detail["reason"] for e in events("notice.resent")] == [REASON]


@pytest.mark.parametrize("fields", [{}, {"sent_at": timezone.now(), "to": "+989129999999"}])
def test_notice_that_waits_or_went_to_a_replaced_number_is_not_sent_again(
    sara: Person, fields: dict[str, Any]
) -> None:
    notice = notice_of(sara, **fields)
    response = staff_browser("security").post(page_of_notice(sara, notice), {"reason": REASON})
    assert response.status_code == 403
    assert events("notice.resent") == []


def test_exchanges_id_is_shown_and_found_for_staff_who_may_list_customers(sara: Person) -> None:
    sara.user.external_id = "09351234567@x"
    sara.user.save(update_fields=["external_id"])
    key = key_of(sara)
    for role in ROLES:
        browser = staff_browser(role)
        response = browser.post(USERS, {"q": sara.user.external_id})
        if response.status_code == 403:
            continue
        lists = staff_member(role).user.has_perm(Right.SEARCH_MANY.value)
        assert (response.status_code == 302) is lists, role
        if lists:
            assert sara.user.external_id in browser.get(response["Location"]).content.decode()
    security = staff_browser("security")
    for url in (
        "/admin/apikeys/apikey/",
        f"/admin/apikeys/apikey/{key.pk}/change/",
        "/admin/accounts/auditevent/",
    ):
        assert sara.user.external_id in security.get(url).content.decode(), url
