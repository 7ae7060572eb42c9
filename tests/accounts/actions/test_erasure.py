"""Erasure of customers: two persons, a waiting period, nothing personal left anywhere, and an audit trail that is
whole.
"""

import io
import json
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import DatabaseError, IntegrityError, connection, models, transaction
from django.db.models import CASCADE
from django.utils import timezone

from accounts import audit
from accounts.actions import erasure, invitations, scheduled_changes
from accounts.actions.erasure import Decider
from accounts.audit import chain
from accounts.audit.verify import Walk
from accounts.choices import audit_mac
from accounts.choices.events import Event
from accounts.models import AuditEvent, AuditLink, Erasure, Notice, TrustedDevice, User
from accounts.operations import chores
from apikeys.actions import key_loader
from apikeys.models import AddressUse, ApiKey, DailyUse, KeyRequest, ManagementToken, NetworkUse, Refusal
from apikeys.policy.events import KeyEvent
from apikeys.verification.outcomes import Outcome
from tests.support.audit_trail import tamper
from tests.support.people import Person, customer, key_of, logged_in, recovery_codes, request_of
from tests.support.signed_requests import decided
from tests.support.staff import REASON, act_on, events, page_of, page_of_action, staff_browser, staff_member

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("collected_sms")]
ONE, OTHER = Decider(operator="one"), Decider(operator="other")
NAME, EMAIL, EXTERNAL_ID = "Zahra Nazari", "zahra@mail.example", "hb-4711-zahra"
KEY_NAME, OLD_KEY_NAME, AGENT = "zahra arbitrage", "zahra first bot", "ZahraBrowser/7"
HOME, OFFICE, LISTED = "198.51.100.23", "198.51.100.77", "198.51.100.99"
PERSONAL = (NAME, EMAIL, EXTERNAL_ID, KEY_NAME, OLD_KEY_NAME, AGENT, HOME, OFFICE, LISTED, "personal reason")
#: How each table with data of customers, or of others, is treated. Tables that refer to a customer, over any number
#: of keys, by CASCADE go with the account's row and are not listed.
TREATED = {
    "accounts.User": "the row itself is deleted",
    "accounts.AuditEvent": "the personal fields are emptied (accounts.audit.erasure)",
    "accounts.Erasure": "outlives the account: numbers, times and who decided; the reason is emptied",
    "accounts.Invitation": "those to the number are deleted",
    "apikeys.ApiKey": "deleted before the account (apikeys.actions.erasure)",
    "apikeys.IdempotentAnswer": "those with the number or the exchange's id are deleted; all are after a day",
    "accounts.AuditLink": "numbers and MACs",
    "accounts.AuditHead": "numbers and MACs",
    "accounts.SmsDelivery": "names no customer; the number is masked; kept for 180 days",
    "accounts.ImportedHashKind": "kinds of hashes, of nobody",
    "accounts.LastRun": "times of jobs",
    "accounts.WebhookEndpoint": "systems of the exchange",
    "accounts.WebhookDelivery": "numbers of events; bodies are not stored; kept for 30 days",
    "apikeys.GatewayToken": "machines of the exchange",
    "apikeys.ManagementToken": "machines of the exchange",
    "auth.Group": "roles of staff",
    "auth.Group_permissions": "roles of staff",
    "auth.Permission": "rights of staff",
    "contenttypes.ContentType": "names of models",
    "sessions.Session": "ended by the request, and deleted after 12 hours: long before the erasure",
}


@pytest.fixture
def zahra() -> Person:
    return customer(name=NAME)


@pytest.fixture
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The waiting period is over when the request is made."""
    monkeypatch.setattr(erasure, "WAIT", timedelta(seconds=-1))


at_once = pytest.mark.usefixtures("_at_once")


def requested(person: Person) -> Erasure:
    made = erasure.request_erasure(person.user, "personal reason", ONE)
    assert made is not None
    return made


def erased(person: Person) -> None:
    requested(person)
    assert erasure.confirm(person.user, "checked", OTHER)
    chain.seal_pending()
    assert erasure.apply_due() == 1
    chain.seal_pending()


def with_data(person: Person) -> ApiKey:
    """Put personal data of the customer into every table that has any."""
    user = person.user
    User.objects.filter(pk=user.pk).update(email=EMAIL, external_id=EXTERNAL_ID)
    request = request_of(person, HOME)
    request.META["HTTP_USER_AGENT"] = AGENT
    request.request_id = "0123456789abcdef"  # type: ignore[attr-defined]
    key = key_of(person)
    ApiKey.objects.filter(pk=key.pk).update(label=KEY_NAME, last_used_ip=OFFICE)
    key.refresh_from_db()
    key.apply(["read"], "trusted", [LISTED])
    audit.record(Event.LOGIN, request, customer=user, method="totp")
    audit.record(KeyEvent.RENAMED, request, customer=user, label=KEY_NAME, before=OLD_KEY_NAME)
    audit.record(Event.LOGIN_PASSWORD_REFUSED, request, customer=user, succeeded=False)
    audit.record(Event.PASSWORD_CHANGED, request, customer=user)
    now = timezone.now()
    AddressUse.objects.create(key=key, address=OFFICE, last_at=now)
    NetworkUse.objects.create(key=key, network=OFFICE, last_at=now)
    DailyUse.objects.create(key=key, day=now.date(), outcome="allowed", count=3)
    Refusal.objects.create(key=key, outcome="ip", address=HOME)
    KeyRequest.objects.create(owner=user, requested_by="back office", label=KEY_NAME, label_folded=KEY_NAME,
                              ip_policy="trusted", networks=[LISTED], waits_until=now)  # fmt: skip
    TrustedDevice.objects.create(user=user, digest="d", address=HOME, agent=AGENT, expires_at=now)
    recovery_codes(person)
    scheduled_changes.schedule_factor_reset(user, "personal reason")
    invitations.invite(user.phone)
    token, _text = ManagementToken.new("back office", expires_at=now)
    token.save()
    token.answers.create(key="k", request_digest="d", status=201, body=json.dumps({"phone": user.phone}))
    audit.record(
        KeyEvent.FROZEN, None, customer=user, actor=staff_member("security").user, label=KEY_NAME, reason=NAME
    )
    return key


def dump() -> str:
    """Return every row of every table as text."""
    rows = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT * FROM "{table}"')
            rows += [f"{table}: {row!r}" for row in cursor.fetchall()]
    return "\n".join(rows)


def findings() -> list[Any]:
    return [one for one in Walk().findings() if one.kind != "missing_number"]


@at_once
def test_nothing_personal_is_left_and_the_audit_trail_is_whole(zahra: Person) -> None:
    with_data(zahra)
    chain.seal_pending()
    before, links = dump(), AuditLink.objects.count()
    personal = (*PERSONAL, zahra.user.phone)
    assert [one for one in personal if one not in before] == []
    erased(zahra)
    after = dump()
    assert [one for one in personal if one in after] == []
    assert findings() == []
    assert AuditLink.objects.count() > links


@at_once
def test_events_keep_what_is_nobodys_and_where_staff_acted_from(zahra: Person) -> None:
    with_data(zahra)
    member = staff_member("security")
    request = request_of(member, "192.0.2.50")
    audit.record(Event.QUARANTINED, request, customer=zahra.user, actor=member.user, reason=NAME)
    kept = ("pk", "at", "event", "actor_id", "customer_id", "target", "succeeded", "mac")
    before = list(AuditEvent.objects.filter(customer=zahra.user).order_by("pk").values_list(*kept))
    erased(zahra)
    after = AuditEvent.objects.filter(customer_id=zahra.user.pk).order_by("pk")
    assert list(after.values_list(*kept))[: len(before)] == before
    assert {(event.label, str(event.detail)) for event in after} == {("", "{}")}
    (acted,) = [event for event in after if event.event == Event.QUARANTINED.value]
    assert acted.address == "192.0.2.50", "a stolen staff login is followed up by its address"
    (record,) = events("account.erased")
    assert (record.customer_id, record.target) == (None, str(zahra.user.pk))
    assert (record.detail["requested_by"], record.detail["confirmed_by"]) == (
        "operator one",
        "operator other",
    )
    assert record.detail["keys"] == 1


def test_every_table_is_erased_or_listed_with_a_reason() -> None:
    tables = set(apps.get_models(include_auto_created=True))
    gone: set[type[models.Model]] = {User}
    while more := {model for model in tables - gone if _goes_with(model, gone)}:
        gone |= more
    unknown = {model._meta.label for model in tables - gone} - TREATED.keys()
    assert unknown == set(), "say how an erasure treats them: here, and in accounts.actions.erasure.PARTS"
    assert TREATED.keys() <= {model._meta.label for model in tables}
    assert {"accounts.LoginSession", "apikeys.Credential", "accounts.RecoveryCode"} <= {
        model._meta.label for model in gone
    }


def _goes_with(model: type[models.Model], gone: set[Any]) -> bool:
    if model is ApiKey:
        return True  # `apikeys.actions.erasure`
    return any(
        field.remote_field.on_delete is CASCADE and field.remote_field.model in gone
        for field in model._meta.get_fields()
        if isinstance(field, models.ForeignKey)
    )


@at_once
def test_what_somebody_changed_before_and_changes_after_is_named(zahra: Person) -> None:
    with_data(zahra)
    chain.seal_pending()
    first, second = AuditEvent.objects.filter(customer=zahra.user).order_by("pk")[:2]
    tamper("UPDATE accounts_auditevent SET address = '192.0.2.1' WHERE id = %s", first.pk)
    erased(zahra)
    assert "192.0.2.1" not in dump()
    assert [(one.kind, one.event) for one in findings()] == [("changed_event", first.pk)]
    tamper("UPDATE accounts_auditevent SET target = 'x' WHERE id = %s", second.pk)
    assert [one.event for one in findings()] == [first.pk, second.pk]
    third = AuditEvent.objects.filter(customer_id=zahra.user.pk, pk__gt=second.pk).order_by("pk")[0]
    tamper("UPDATE accounts_auditevent SET erased_mac = NULL WHERE id = %s", third.pk)
    assert [one.event for one in findings()] == [first.pk, second.pk, third.pk]


def test_fields_that_somebody_empties_are_named(zahra: Person) -> None:
    with_data(zahra)
    chain.seal_pending()
    event = AuditEvent.objects.filter(customer=zahra.user).order_by("pk")[0]
    for mac in ("NULL", "mac", "'test:" + "0" * 64 + "'"):
        tamper(
            "UPDATE accounts_auditevent SET label = '', address = '', agent = '', request_id = '', detail = '{}', "
            f"erased_mac = {mac} WHERE id = %s", event.pk,
        )  # fmt: skip
        assert [(one.kind, one.event) for one in findings()] == [("changed_event", event.pk)]


@pytest.mark.parametrize(
    ("change", "is_let_through"),
    [
        ("label = '', detail = '{}', address = '', agent = '', request_id = '', erased_mac = 'x'", True),
        ("label = 'x', detail = '{}'", False),
        ("label = '', detail = '{}', address = '192.0.2.1'", False),
        ("label = '', detail = '{}', target = 'x'", False),
        ("label = '', detail = '{}', customer_id = NULL", False),
        ("label = '', detail = '{}', mac = 'x'", False),
    ],
)
def test_the_triggers_let_nothing_through_but_emptied_fields(
    zahra: Person, change: str, is_let_through: bool
) -> None:
    event = audit.record(KeyEvent.RENAMED, None, customer=zahra.user, label=KEY_NAME, target="t")
    chain.seal_pending()

    def update() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"UPDATE accounts_auditevent SET {change} WHERE id = %s", [event.pk])

    with pytest.raises(DatabaseError, match="append-only"):
        update()
    with chain.removing():
        if is_let_through:
            update()
        else:
            with pytest.raises(DatabaseError, match="append-only"):
                update()
        with (
            pytest.raises(DatabaseError, match="append-only"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute("UPDATE accounts_auditlink SET mac = 'x'")


def test_macs_of_equal_events_differ_by_a_salt_that_no_reader_sees(zahra: Person) -> None:
    event = audit.record(Event.LOGIN, None, customer=zahra.user, method="totp")
    assert event.detail == {"method": "totp"}
    loaded = AuditEvent.objects.get(pk=event.pk)
    assert (loaded.detail, loaded.salt) == ({"method": "totp"}, event.salt)
    assert len(event.salt) == 32
    assert event.salt != audit.record(Event.LOGIN, None, customer=zahra.user, method="totp").salt
    tamper("""UPDATE accounts_auditevent SET detail = '{"method": "totp"}' WHERE id = %s""", event.pk)
    chain.seal_pending()
    assert [one.event for one in findings()] == [event.pk], "the MAC covers the salt"


def test_the_previous_version_which_knows_no_salt_accepts_the_mac(zahra: Person) -> None:
    event = audit.record(Event.LOGIN, None, customer=zahra.user, method="totp")
    with connection.cursor() as cursor:
        cursor.execute("SELECT detail FROM accounts_auditevent WHERE id = %s", [event.pk])
        (stored,) = cursor.fetchone()
    event.detail, event.salt = json.loads(stored), ""
    assert audit_mac.is_event(event)


def test_a_request_stops_everything_at_once_and_a_cancellation_gives_it_back(zahra: Person) -> None:
    key = key_of(zahra)
    browser = logged_in(zahra)
    assert decided(key).outcome is Outcome.ALLOWED
    requested(zahra)
    assert decided(key).outcome is Outcome.OWNER_INACTIVE
    assert browser.get("/dashboard/").status_code == 302
    notice = Notice.objects.get(event__event=Event.ERASURE_REQUESTED.value)
    assert (notice.to, notice.priority) == (zahra.user.phone, Notice.Priority.URGENT)
    assert erasure.cancel(zahra.user, "stays", OTHER)
    assert not erasure.cancel(zahra.user, "stays", OTHER)
    assert decided(key).outcome is Outcome.ALLOWED
    assert Notice.objects.filter(event__event=Event.ERASURE_CANCELLED.value).exists()
    assert erasure.apply_due() == 0


def test_an_account_that_was_closed_before_stays_closed_after_a_cancellation(zahra: Person) -> None:
    User.objects.filter(pk=zahra.user.pk).update(is_active=False)
    requested(zahra)
    assert erasure.cancel(zahra.user, "stays", OTHER)
    assert not User.objects.get(pk=zahra.user.pk).is_active


@at_once
def test_one_person_alone_erases_nothing(zahra: Person) -> None:
    made = requested(zahra)
    assert erasure.apply_due() == 0
    for by in (ONE, Decider()):
        with pytest.raises(erasure.ErasureRefused):
            erasure.confirm(zahra.user, "alone", by)
    with pytest.raises(IntegrityError), transaction.atomic():
        Erasure.objects.filter(pk=made.pk).update(confirmed_by=made.requested_by, confirmed_at=timezone.now())
    assert erasure.apply_due() == 0
    assert User.objects.filter(pk=zahra.user.pk).exists()


@at_once
@pytest.mark.parametrize(
    "change",
    [
        {"confirmed_by": "operator third", "confirmed_at": timezone.now()},
        {"requested_by": "operator third"},
        {"due_at": timezone.now() - timedelta(days=1)},
        {"cancelled_at": None},
    ],
)
def test_rows_that_somebody_put_into_the_database_erase_nothing(
    zahra: Person, change: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    made = requested(zahra)
    if "confirmed_at" not in change:
        erasure.confirm(zahra.user, "checked", OTHER)
    if "cancelled_at" in change:
        erasure.cancel(zahra.user, "stays", ONE)
        User.objects.filter(pk=zahra.user.pk).update(is_active=False)
    Erasure.objects.filter(pk=made.pk).update(**change)
    assert erasure.apply_due() == 0
    assert "does not prove" in caplog.text
    assert User.objects.filter(pk=zahra.user.pk).exists()


@pytest.mark.parametrize("has_event", [False, True])
def test_a_row_that_says_it_was_done_erases_no_event(zahra: Person, has_event: bool) -> None:
    event = audit.record(Event.LOGIN, None, customer=zahra.user, address=HOME)
    now = timezone.now()
    Erasure.objects.create(
        user=zahra.user, requested_by="operator one", requested_at=now, due_at=now, closed_account=True,
        confirmed_by="operator other", confirmed_at=now, done_at=now,
    )  # fmt: skip
    if has_event:
        forged = audit.record(Event.LOGOUT, None, customer=None, target=str(zahra.user.pk))
        tamper("UPDATE accounts_auditevent SET event = 'account.erased' WHERE id = %s", forged.pk)
        tamper("UPDATE accounts_auditevent SET customer_id = -7, actor_id = -7 WHERE id = %s", event.pk)
        tamper("UPDATE accounts_auditevent SET target = '-7' WHERE id = %s", forged.pk)
    erasure.apply_due()
    assert AuditEvent.objects.get(pk=event.pk).address == HOME


def test_late_events_of_an_account_that_is_there_are_not_erased(zahra: Person) -> None:
    """As after a restore of the account alone."""
    event = audit.record(Event.LOGIN, None, customer=zahra.user, address=HOME)
    audit.record(Event.CUSTOMER_ERASED, None, customer=None, target=str(zahra.user.pk))
    erasure.apply_due()
    assert AuditEvent.objects.get(pk=event.pk).address == HOME


def test_it_waits_a_week_whatever_is_confirmed(zahra: Person) -> None:
    made = requested(zahra)
    assert erasure.confirm(zahra.user, "checked", OTHER)
    assert made.due_at - made.requested_at == timedelta(days=7)
    assert erasure.apply_due() == 0


@at_once
def test_an_account_that_was_opened_again_is_not_erased(zahra: Person) -> None:
    requested(zahra)
    erasure.confirm(zahra.user, "checked", OTHER)
    User.objects.filter(pk=zahra.user.pk).update(is_active=True)
    assert erasure.apply_due() == 0
    assert erasure.waiting(zahra.user) is None
    assert User.objects.filter(pk=zahra.user.pk).exists()


@at_once
def test_a_second_run_changes_nothing_and_number_and_id_are_free_again(zahra: Person) -> None:
    key = with_data(zahra)
    erased(zahra)
    before = dump()
    assert erasure.apply_due() == 0
    assert dump() == before
    assert key_loader.load(key.key_id) is None
    again = User.objects.create_user(zahra.user.phone, external_id=EXTERNAL_ID)
    assert again.pk != zahra.user.pk
    assert not AuditEvent.objects.filter(customer=again).exists()


@at_once
def test_events_of_the_moment_of_the_erasure_are_erased_by_the_next_run(zahra: Person) -> None:
    erased(zahra)
    late = audit.record(Event.LOGIN_PASSWORD_REFUSED, None, customer=zahra.user, address=HOME)
    assert erasure.apply_due() == 0
    assert AuditEvent.objects.get(pk=late.pk).address == ""
    chain.seal_pending()
    assert findings() == []


@at_once
def test_what_a_process_of_the_previous_version_recorded_is_erased_too(zahra: Person) -> None:
    chain.seal_pending()
    event = audit.record(Event.LOGIN, None, customer=zahra.user, address=HOME)
    assert AuditEvent.objects.get(pk=event.pk).salt
    tamper("DELETE FROM accounts_auditevent WHERE id = %s", event.pk)
    # Without a salt, and with a MAC over just this.
    old = AuditEvent.objects.create(event=event.event, customer=zahra.user, actor=zahra.user, address=HOME)
    old.salt = ""
    tamper(
        "UPDATE accounts_auditevent SET detail = '{}', mac = %s WHERE id = %s",
        audit_mac.event_mac(old),
        old.pk,
    )
    chain.seal_pending()
    erased(zahra)
    assert HOME not in dump()
    assert findings() == []


def test_staff_and_events_without_a_mac_are_refused(zahra: Person) -> None:
    with pytest.raises(erasure.ErasureRefused, match="staff"):
        erasure.request_erasure(staff_member("support").user, "leaves", ONE)
    event = audit.record(Event.LOGIN, None, customer=zahra.user)
    tamper("UPDATE accounts_auditevent SET mac = '' WHERE id = %s", event.pk)
    with pytest.raises(erasure.ErasureRefused, match="prune_audit"):
        erasure.request_erasure(zahra.user, "leaves", ONE)
    assert User.objects.get(pk=zahra.user.pk).is_active


@at_once
def test_a_row_without_a_mac_that_somebody_puts_in_holds_up_no_other_erasure(
    zahra: Person, sara: Person
) -> None:
    erased(zahra)
    late = audit.record(Event.LOGIN, None, customer=zahra.user, address=HOME)
    tamper("UPDATE accounts_auditevent SET mac = '' WHERE id = %s", late.pk)
    requested(sara)
    waiting = audit.record(Event.LOGIN, None, customer=sara.user, address=HOME)
    erasure.confirm(sara.user, "checked", OTHER)
    assert erasure.apply_due() == 1
    assert AuditEvent.objects.get(pk=waiting.pk).address == ""
    assert AuditEvent.objects.get(pk=late.pk).address == HOME


def test_the_chores_apply_it() -> None:
    assert chores.CHORES["erasures of customers"][0] is erasure.apply_due


def test_two_members_of_staff_and_not_one_on_the_pages(zahra: Person) -> None:
    one, other, support = staff_browser("security"), staff_browser("security"), staff_browser("support")
    assert act_on(support, zahra, "erase").status_code == 403
    assert act_on(one, zahra, "erase").status_code == 302
    assert not User.objects.get(pk=zahra.user.pk).is_active
    confirm = page_of_action(zahra, "confirm-erasure")
    assert (act_on(one, zahra, "confirm-erasure").status_code, one.get(confirm).status_code) == (403, 403)
    assert confirm not in one.get(page_of(zahra)).text
    assert confirm in other.get(page_of(zahra)).text
    assert act_on(one, zahra, "reopen").status_code == 302
    assert not User.objects.get(pk=zahra.user.pk).is_active, "what is to be erased is cancelled, not opened"
    assert act_on(other, zahra, "confirm-erasure").status_code == 302
    waiting = erasure.waiting(zahra.user)
    assert waiting is not None
    assert waiting.confirmed_at
    assert act_on(one, zahra, "cancel-erasure").status_code == 302
    assert User.objects.get(pk=zahra.user.pk).is_active
    assert [event.detail["reason"] for event in events("account.erasure_cancelled")] == [REASON]


def command(*arguments: str) -> Any:
    out = io.StringIO()
    call_command("erase_customer", *arguments, "--json", stdout=out)
    return json.loads(out.getvalue())


def test_the_command_takes_two_users_of_the_machine(zahra: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    phone = zahra.user.phone
    monkeypatch.setattr(audit, "operator", lambda: "one")
    key_of(zahra)
    shown = command(phone, "--dry-run")
    assert (shown["state"], shown["changed"], shown["erases"]["keys"]) == ("none", False, 1)
    assert User.objects.get(pk=zahra.user.pk).is_active
    made = command(phone, "--reason", "leaves")
    assert (made["state"], made["changed"]) == ("requested", True)
    assert command(phone, "--reason", "leaves")["changed"] is False
    with pytest.raises(CommandError, match="another person") as caught:
        command(phone, "--confirm", "--reason", "checked")
    assert caught.value.returncode == 1
    monkeypatch.setattr(audit, "operator", lambda: "other")
    assert command(phone, "--confirm", "--reason", "checked")["state"] == "confirmed"
    assert command(phone, "--cancel", "--reason", "stays")["state"] == "none"
    with pytest.raises(CommandError, match="No erasure waits"):
        command(phone, "--cancel", "--reason", "stays")
    with pytest.raises(CommandError, match="No erasure was requested"):
        command(phone, "--confirm", "--reason", "checked")
    with pytest.raises(CommandError) as usage:
        command(phone)
    assert usage.value.returncode == 2


@at_once
def test_answers_about_others_stay_even_where_the_id_is_a_part_of_them(zahra: Person) -> None:
    """A call whose answer is gone is done again when the exchange repeats it."""
    User.objects.filter(pk=zahra.user.pk).update(external_id="7")
    zahra.user.refresh_from_db()
    token, _text = ManagementToken.new("back office", expires_at=timezone.now())
    token.save()
    for name, body in {"others": {"external_id": "hb-17"}, "hers": {"external_id": "7"}}.items():
        token.answers.create(key=name, request_digest="d", status=201, body=json.dumps(body))

    erased(zahra)

    assert [answer.key for answer in token.answers.all()] == ["others"]
