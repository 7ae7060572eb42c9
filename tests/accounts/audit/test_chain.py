"""The chain of events: append-only in the database, made by everybody at once, and without a gap."""

import json
import signal
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from accounts import audit
from accounts.audit import chain as audit_chain
from accounts.audit import rows
from accounts.audit.verify import Walk
from accounts.choices import audit_mac
from accounts.choices.audit_mac import StoredEvent
from accounts.choices.events import Event, SecurityEvent
from accounts.models import AuditEvent, AuditHead, AuditLink, User
from tests.support import people
from tests.support.audit_trail import chained, recorded, rules, tamper, unguarded
from tests.support.concurrency import WAIT_SECONDS, child_of, run_concurrently
from tests.support.people import Person, customer

EVENTS, LINKS, HEAD = "accounts_auditevent", "accounts_auditlink", "accounts_audithead"
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_characters="\0")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab۱é", max_size=3), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@pytest.fixture
def sara() -> Person:
    return customer()


def left(person: Person, event: SecurityEvent = Event.LOGOUT, **detail: Any) -> AuditEvent:
    return audit.record(event, None, customer=person.user, **detail)


def is_whole() -> bool:
    return not list(Walk().findings())


@pytest.mark.django_db
@pytest.mark.parametrize(
    "statement",
    [
        f"UPDATE {EVENTS} SET label = 'x'",
        f"DELETE FROM {EVENTS}",
        f"TRUNCATE {EVENTS}",
        f"TRUNCATE {EVENTS}, {LINKS}, {HEAD}",
        f"INSERT INTO {EVENTS} SELECT * FROM {EVENTS} ON CONFLICT (id) DO UPDATE SET label = 'x'",
        f"INSERT OR REPLACE INTO {EVENTS} SELECT * FROM {EVENTS}",
        f"UPDATE {LINKS} SET mac = 'x'",
        f"DELETE FROM {LINKS}",
        f"TRUNCATE {LINKS}",
        f"INSERT OR REPLACE INTO {LINKS} (sequence, event_id, mac) SELECT sequence + 9, event_id, mac FROM {LINKS}",
        f"DELETE FROM {HEAD}",
        f"TRUNCATE {HEAD}",
        f"INSERT OR REPLACE INTO {HEAD} SELECT * FROM {HEAD}",
    ],
)
def test_the_database_refuses_to_change_the_trail(sara: Person, statement: str) -> None:
    other = "postgresql" if "OR REPLACE" in statement else "sqlite"
    if connection.vendor == other and ("OR REPLACE" in statement or "TRUNCATE" in statement):
        return  # a verb of the other database
    if connection.vendor == "sqlite":
        statement = statement.replace(" ON CONFLICT", " WHERE true ON CONFLICT")
    recorded(sara, 2)
    with (
        pytest.raises(DatabaseError, match="append-only"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)
    assert chained()
    assert is_whole()


@pytest.mark.django_db
def test_events_are_not_made_in_bulk_past_their_mac(sara: Person) -> None:
    with pytest.raises(TypeError):
        AuditEvent.objects.bulk_create([AuditEvent(event="login")])


@pytest.mark.django_db
@given(detail=st.dictionaries(st.text("ab۱é", max_size=3), VALUES, max_size=3))
def test_an_event_reads_as_it_was_written(detail: dict[str, Any]) -> None:
    with transaction.atomic():
        event = AuditEvent.objects.create(event="login", detail=detail)
        assert audit_mac.is_event(AuditEvent.objects.get(pk=event.pk))
        assert audit_mac.is_event(rows.events([event.pk])[event.pk])
        transaction.set_rollback(True)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBER = st.none() | st.integers(0, 2**63 - 1)


@given(
    st.builds(
        StoredEvent, pk=st.integers(1, 2**63 - 1), at=st.datetimes(timezones=st.just(UTC)), event=TEXT, actor_id=NUMBER,
        customer_id=NUMBER, target=TEXT, label=TEXT, succeeded=st.booleans(), address=TEXT, agent=TEXT, request_id=TEXT,
        detail=st.dictionaries(TEXT, st.none() | st.booleans() | st.integers() | TEXT | st.lists(TEXT), max_size=4),
        mac=st.just(""), erased_mac=st.none(),
    )
)  # fmt: skip
def test_text_that_a_mac_covers_is_the_json_of_the_fields_sorted_by_name(event: StoredEvent) -> None:
    """Events on disk outlive the code that wrote the text in one piece."""
    fields = event._asdict()
    del fields["mac"], fields["erased_mac"]
    fields["at"] = (event.at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    fields |= {"id": fields.pop("pk"), "actor": fields.pop("actor_id"), "customer": fields.pop("customer_id")}
    expected = json.dumps({**fields, "version": 1}, sort_keys=True, separators=(",", ":"))
    assert audit_mac.canonical(event) == expected


@pytest.mark.django_db
def test_rows_of_events_and_links_have_what_their_models_have(sara: Person) -> None:
    recorded(sara, 3)
    at = timezone.now().replace(microsecond=999_999)
    AuditEvent.objects.create(event="login", at=at, detail={"list": [1.5, {"a": None}]}, label="بات")
    numbers = list(AuditEvent.objects.order_by("pk").values_list("pk", flat=True))
    for chosen in (numbers, [numbers[-1], numbers[0], numbers[0] + 10_000]):
        for number, row in rows.events(chosen).items():
            event = AuditEvent.objects.get(pk=number)
            assert row == StoredEvent(
                **{name: getattr(event, name) for name in StoredEvent._fields if name != "detail"},
                detail=audit_mac.salted_detail(event),
            )
        assert set(rows.events(chosen)) == set(chosen) & set(numbers)
    assert rows.events([]) == {}
    assert [(one.sequence, one.event_id, one.mac) for one in rows.links(AuditLink.objects.all(), 2)] == list(
        AuditLink.objects.values_list("sequence", "event_id", "mac")[:2]
    )


@pytest.mark.django_db(transaction=True)
def test_an_event_is_linked_once_its_transaction_is_through(sara: Person) -> None:
    with transaction.atomic():
        first = left(sara)
        second = left(sara)
        assert not AuditLink.objects.exists()
    assert chained() == [first.pk, second.pk]
    with transaction.atomic():
        left(sara)
        transaction.set_rollback(True)
    third = left(sara)
    assert chained() == [first.pk, second.pk, third.pk]
    assert is_whole()


@pytest.mark.django_db(transaction=True)
def test_linking_takes_few_statements(sara: Person, django_assert_num_queries: Any) -> None:
    # BEGIN, the number, the event, COMMIT; BEGIN, the head, what is not linked, the links, the head, COMMIT.
    with django_assert_num_queries(10):
        left(sara)
    with transaction.atomic():
        for _n in range(5):
            left(sara)
        waiting = len(connection.run_on_commit)
    assert waiting == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "error", [DatabaseError("no such thing as 0912"), audit_chain.ChainError("its head")]
)
def test_what_can_not_be_linked_stops_nobody_and_is_linked_later(
    sara: Person, error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(audit_chain, "locked_head", lambda: (_ for _ in ()).throw(error))
        lost = left(sara)
    assert "the audit trail is not sealed" in caplog.text
    assert "0912" not in caplog.text
    assert not AuditLink.objects.exists()
    kept = left(sara)
    assert chained() == [lost.pk, kept.pk]


@pytest.mark.django_db
def test_events_of_the_version_before_are_linked_as_they_are(sara: Person) -> None:
    with unguarded() as cursor:
        cursor.execute(f"DELETE FROM {HEAD}")
        for number in range(1, 4):
            AuditEvent.objects.create(event="login", customer=sara.user, label=f"{number}")
        cursor.execute(f"UPDATE {EVENTS} SET mac = ''")
    from django.apps import apps

    rules.begin(apps, None)
    new = left(sara)
    assert audit_chain.seal_pending() == 4
    walk = Walk()
    assert (list(walk.findings()), walk.unsigned, walk.links) == ([], 3, 4)
    tamper(f"UPDATE {EVENTS} SET label = 'x' WHERE label = '2'")
    assert [(one.kind, one.sequence) for one in Walk().findings()] == [("changed_event", 2)]
    assert chained()[-1] == new.pk


@pytest.mark.django_db
def test_a_backlog_is_linked_page_by_page(sara: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_chain, "PAGE", 3)
    monkeypatch.setattr("accounts.audit.verify.PAGE", 3)
    events = [left(sara).pk for _n in range(10)]
    assert audit_chain.seal_pending() == 10
    assert chained() == events
    assert is_whole()
    assert audit_chain.seal_pending() == 0


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_a_lower_number_that_commits_later_is_linked_later(sara: Person) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def slow() -> int:
        with transaction.atomic():
            event = left(sara)
            begun.set()
            assert may_end.wait(60)
        return event.pk

    def quick() -> int:
        assert begun.wait(60)
        event = left(customer())
        may_end.set()
        return event.pk

    first, second = run_concurrently([slow, quick])
    assert first < second
    assert chained() == [second, first]
    assert is_whole()


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_eight_at_once_make_one_chain_without_a_gap() -> None:
    crowd = [customer() for _n in range(8)]

    def work(number: int) -> None:
        for turn in range(5):
            with transaction.atomic():
                # Rows of people in any order: the chain must not be one more lock among them.
                User.objects.select_for_update().get(pk=crowd[(number + turn) % 8].user.pk)
                left(crowd[number], turn=turn)
                if turn == 3:
                    transaction.set_rollback(True)
            audit_chain.seal_pending() if turn == 4 else None

    run_concurrently([lambda number=number: work(number) for number in range(8)])  # type: ignore[misc]
    assert sorted(chained()) == sorted(AuditEvent.objects.values_list("pk", flat=True))
    assert len(chained()) == 8 * 4
    assert is_whole()


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_a_process_killed_between_commit_and_link_leaves_an_event_that_is_linked_later() -> None:
    for finder in ("the next event", "the chores"):
        sara = people.customer()
        with child_of("unsealed", sara.user.phone) as child:
            text = child.communicate(timeout=WAIT_SECONDS)
        assert child.returncode == -signal.SIGKILL, text
        lost = AuditEvent.objects.order_by("pk").last()
        assert lost is not None
        assert (lost.customer, AuditLink.objects.filter(event=lost).exists()) == (sara.user, False)
        left(sara) if finder == "the next event" else audit_chain.seal_pending()
        assert AuditLink.objects.filter(event=lost).exists()
    assert is_whole()
    assert AuditHead.objects.get().sequence == 3
