"""Whoever has all of the database, but no master key, changes the audit trail: each way is found, and named."""

import json
import os
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.utils import timezone

from accounts.audit import chain, rows, verify
from accounts.audit.verify import Walk
from accounts.models import AuditEvent, AuditHead, AuditLink
from tests.support.audit_trail import recorded, tamper
from tests.support.people import Person, customer

pytestmark = pytest.mark.django_db
EVENT, LINK, HEAD = "accounts_auditevent", "accounts_auditlink", "accounts_audithead"
COLUMNS = (
    "at, event, actor_id, customer_id, target, label, succeeded, address, agent, request_id, detail, mac"
)
#: A MAC of the right form, by the right key's name, that is nobody's.
FORGED = "test:" + "0" * 64
FAR = 999_999
Result = list[tuple[str, int | None, int | None]]


@pytest.fixture
def sara() -> Person:
    return customer()


@pytest.fixture
def events(sara: Person) -> list[int]:
    """The numbers of six events, linked as 1 to 6."""
    return [event.pk for event in recorded(sara, 6)]


def result(**options: Any) -> Result:
    """What the chain itself says; `numbers` has what the numbers say."""
    every = [(one.kind, one.sequence, one.event) for one in Walk(**options).findings()]
    return [one for one in every if one[0] != "missing_number"]


def stored(moment: datetime) -> Any:
    return connection.ops.adapt_datetimefield_value(moment)


def test_a_trail_that_nobody_touched_is_whole(events: list[int]) -> None:
    walk = Walk()
    assert (list(walk.findings()), walk.links) == ([], 6)


@pytest.mark.parametrize(
    "change",
    [
        """detail = '{"number": 9}'""",
        "at = '2020-01-01 00:00:00+00:00'",
        "customer_id = NULL",
        "actor_id = actor_id + 1",
        "event = 'logout'",
        "label = 'bot 9'",
        "target = 'x'",
        "succeeded = NOT succeeded",
        "address = '192.0.2.1'",
        "agent = 'x'",
        "request_id = 'x'",
        "mac = ''",
        f"mac = '{FORGED}'",
    ],
)
def test_a_changed_event_is_named(events: list[int], change: str) -> None:
    tamper(f"UPDATE {EVENT} SET {change} WHERE id = %s", events[2])
    assert result() == [("changed_event", 3, events[2])]


def removed(*events: int, links: bool = True) -> None:
    for event in events:
        tamper(f"DELETE FROM {EVENT} WHERE id = %s", event)
        if links:
            tamper(f"DELETE FROM {LINK} WHERE event_id = %s", event)


def test_an_event_that_was_removed_is_named(events: list[int]) -> None:
    removed(events[2], links=False)
    assert result() == [("missing_event", 3, events[2])]


@pytest.mark.parametrize(("which", "first"), [([0], 1), ([2], 3), ([2, 3], 3), ([4, 5], 5), ([5], 6)])
def test_events_that_were_removed_with_their_links_are_missed(
    events: list[int], which: list[int], first: int
) -> None:
    removed(*(events[number] for number in which))
    assert result() == [("missing_link", first, None)]


def test_a_trail_that_was_emptied_is_missed(events: list[int]) -> None:
    removed(*events)
    assert result() == [("missing_link", 1, None)]
    assert next(Walk().findings()).what == "links 1 to 6 were removed"


def test_two_events_that_changed_places_are_named(events: list[int]) -> None:
    for old, new in ((events[1], FAR), (events[3], events[1]), (FAR, events[3])):
        tamper(f"UPDATE {EVENT} SET id = %s WHERE id = %s", new, old)
    assert result() == [("changed_event", 2, events[1]), ("changed_event", 4, events[3])]


def test_two_links_that_changed_places_are_named(events: list[int]) -> None:
    for old, new in ((events[1], FAR), (events[3], events[1]), (FAR, events[3])):
        tamper(f"UPDATE {LINK} SET event_id = %s WHERE event_id = %s", new, old)
    assert result() == [("changed_link", 2, events[3]), ("changed_link", 4, events[1])]


def test_links_that_were_numbered_anew_over_a_gap_are_named(events: list[int]) -> None:
    removed(events[2])
    for sequence in (4, 5, 6):
        tamper(f"UPDATE {LINK} SET sequence = %s WHERE sequence = %s", sequence - 1, sequence)
    assert [one[:2] for one in result()] == [
        *(("changed_link", 3), ("changed_link", 4), ("changed_link", 5), ("missing_link", 6))
    ]


def copied(event: int, **changes: Any) -> None:
    values = ", ".join(f"%s AS {name}" if name in changes else name for name in COLUMNS.split(", "))
    tamper(
        f"INSERT INTO {EVENT} (id, {COLUMNS}) SELECT %s, {values} FROM {EVENT} WHERE id = %s",
        FAR, *changes.values(), event,
    )  # fmt: skip


@pytest.mark.parametrize("changes", [{}, {"mac": FORGED}, {"mac": ""}, {"label": "forged"}])
def test_an_event_that_was_put_in_is_named_and_never_linked(
    events: list[int], changes: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    copied(events[2], **changes)
    chain._told.clear()
    assert chain.seal_pending() == chain.seal_pending() == 0
    assert caplog.messages == [f"audit event {FAR} is not ours: it is not linked"]
    assert result() == [("forged_event", None, FAR)]


def test_a_forged_event_keeps_no_honest_one_from_being_linked(sara: Person, events: list[int]) -> None:
    copied(events[2])
    assert [event.link.sequence for event in recorded(sara, 2)] == [7, 8]


def test_a_link_that_was_put_in_is_named(events: list[int]) -> None:
    copied(events[2])
    tamper(f"INSERT INTO {LINK} (sequence, event_id, mac) VALUES (7, %s, %s)", FAR, FORGED)
    assert result() == [("forged_link", 7, FAR)]


def test_a_changed_link_is_named_and_the_one_after_it_is_not(events: list[int]) -> None:
    tamper(f"UPDATE {LINK} SET mac = %s WHERE sequence = 3", FORGED)
    assert result() == [("changed_link", 3, events[2])]


def test_a_link_from_another_history_is_named(sara: Person, events: list[int]) -> None:
    with (
        transaction.atomic()
    ):  # a copy of the database in which other things happened, each as genuine as here
        other = AuditEvent.objects.filter(pk=recorded(sara, 2)[1].pk).values().get()
        link = AuditLink.objects.filter(event=other["id"]).values().get()
        transaction.set_rollback(True)
    removed(recorded(sara, 2)[1].pk)
    AuditEvent(**other).save_base(raw=True, force_insert=True)
    AuditLink(**link).save_base(raw=True, force_insert=True)
    tamper(f"UPDATE {HEAD} SET link_mac = %s", link["mac"])
    assert ("changed_link", 8, other["id"]) in result()


def test_a_removed_link_is_missed_also_when_its_event_is_linked_again(events: list[int]) -> None:
    tamper(f"DELETE FROM {LINK} WHERE sequence = 3")
    assert result() == [("missing_link", 3, None)]
    assert chain.seal_pending() == 1
    assert result() == [("missing_link", 3, None)]


def test_a_removed_link_of_an_old_event_leaves_it_outside_of_the_chain(
    events: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    tamper(f"DELETE FROM {LINK} WHERE sequence = 3")
    later = timezone.now() + timedelta(minutes=2)
    monkeypatch.setattr("accounts.audit.verify.timezone.now", lambda: later)
    assert result() == [("missing_link", 3, None), ("unlinked_event", None, events[2])]


@pytest.mark.parametrize("change", ["sequence = 4", "unsigned_to = 999999999", "pruned_sequence = 3"])
def test_a_changed_head_is_found_and_not_made_good(
    sara: Person, events: list[int], change: str, caplog: pytest.LogCaptureFixture
) -> None:
    removed(*events[4:])
    tamper(f"UPDATE {HEAD} SET {change}")
    assert result()[0] == ("head", None, None)
    with pytest.raises(chain.ChainError, match="changed"):
        chain.seal_pending()
    assert result()[0] == ("head", None, None)


def test_a_removed_head_is_found_and_the_chain_goes_on_when_an_operator_says_so(
    sara: Person, events: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    tamper(f"DELETE FROM {HEAD}")
    assert result() == [("head", None, None)]
    with pytest.raises(chain.ChainError, match="missing"):
        chain.seal_pending()
    with pytest.raises(CommandError) as caught:
        call_command("verify_audit", "--restart", " ")
    assert caught.value.returncode == 2
    call_command("verify_audit", "--restart", "restored from Monday's copy")
    assert "after link 6" in capsys.readouterr().out
    chain.seal_pending()
    assert result() == []
    assert AuditLink.objects.get(sequence=7).event.detail["reason"] == "restored from Monday's copy"
    with pytest.raises(CommandError, match="nothing to restart"):
        call_command("verify_audit", "--restart", "again")


def test_triggers_that_were_dropped_and_a_guard_left_open_are_found(events: list[int]) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(f"ALTER TABLE {EVENT} DISABLE TRIGGER USER")
        else:
            cursor.execute(f"DROP TRIGGER {EVENT}_keep")
        cursor.execute(f"INSERT INTO {chain.GUARD} (id) VALUES (1)")
    assert result() == [("guard", None, None), ("rules", None, None)]


def test_without_the_master_key_nobody_can_tell_and_that_is_said(
    sara: Person, events: list[int], settings: Any
) -> None:
    old = settings.MASTER_KEYS
    settings.MASTER_KEYS = {"new": b"n" * 32, **old}
    recorded(sara, 2)
    assert result() == []
    settings.MASTER_KEYS = {"new": b"n" * 32}
    assert result() == [("no_key", n + 1, event) for n, event in enumerate(events)]


def test_a_walk_since_a_time_begins_with_its_first_link_whatever_the_order_of_times(
    sara: Person, events: list[int]
) -> None:
    since = timezone.now()
    # As if the clock of another machine was ahead: its event was linked before older ones.
    tamper(f"UPDATE {EVENT} SET at = %s WHERE id = %s", stored(since + timedelta(hours=1)), events[2])
    later = recorded(sara, 2)
    walk = Walk(since=since)
    assert [one.kind for one in walk.findings()] == ["changed_event"]
    assert (walk.first, walk.links) == (3, 6)
    walk = Walk(since=later[0].at)
    list(walk.findings())
    assert walk.first == 3
    assert list(Walk(since=since + timedelta(hours=2)).findings()) == []


def test_a_walk_since_a_time_reads_nothing_before_it(
    sara: Person, events: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    later = recorded(sara, 3)
    read: list[int] = []
    of_numbers = rows.events

    def noted(numbers: list[int]) -> Any:
        read.extend(numbers)
        return of_numbers(numbers)

    monkeypatch.setattr(rows, "events", noted)
    walk = Walk(since=later[0].at)
    assert list(walk.findings()) == []
    assert read == [event.pk for event in later]
    assert (walk.first, walk.links) == (7, 3)


@pytest.mark.parametrize(
    ("at", "kinds"), [("2020-01-01 00:00:00+00:00", []), ("2099-01-01 00:00:00+00:00", ["forged_event"])]
)
def test_forged_event_with_an_old_number_is_noticed_since_a_time_if_it_claims_to_be_of_it(
    sara: Person, events: list[int], at: str, kinds: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "EARLIEST", 1)
    later = recorded(sara, 1)
    tamper(f"DELETE FROM {LINK} WHERE event_id = %s", events[1])
    tamper(f"UPDATE {EVENT} SET at = %s, label = 'x' WHERE id = %s", at, events[1])
    results = list(Walk(since=later[0].at - timedelta(microseconds=1)).findings())
    assert [one.kind for one in results if one.kind != "missing_link"] == kinds
    assert "forged_event" in [one.kind for one in Walk().findings()]


def test_walk_since_a_time_misses_numbers_if_everything_of_that_time_was_removed(
    sara: Person, events: list[int]
) -> None:
    head = AuditHead.objects.values().get()
    since = timezone.now()
    recorded(sara, 2)
    tamper(f"DELETE FROM {EVENT} WHERE at > %s", stored(since))
    tamper(f"DELETE FROM {LINK} WHERE sequence > 6")
    tamper("DELETE FROM accounts_notice")
    AuditHead.objects.filter(pk=1).update(**head)
    assert [one.kind for one in Walk(since=since).findings()] == ["missing_number"]


def test_command_says_what_a_walk_since_a_time_does_not_prove(
    sara: Person, events: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    since = recorded(sara, 2)[0].at.isoformat()
    call_command("verify_audit", "--since", since)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "2 links checked."
    assert lines[1].startswith("Not checked: links before 7, and whether events before ")
    call_command("verify_audit", "--since", since, "--json")
    assert json.loads(capsys.readouterr().out)["first"] == 7
    call_command("verify_audit", "--json")
    assert json.loads(capsys.readouterr().out)["first"] == 1


@pytest.mark.skipif(
    "sqlite" not in os.environ.get("PORTAL_TEST_DATABASE", ""), reason="PostgreSQL checks types"
)
def test_text_in_a_column_of_numbers_is_a_finding(events: list[int]) -> None:
    tamper(f"UPDATE {EVENT} SET actor_id = 'nobody' WHERE id = %s", events[1])
    assert result() == [("changed_event", 2, events[1])]


def test_a_walk_since_a_time_begins_there(events: list[int], capsys: pytest.CaptureFixture[str]) -> None:
    tamper(f"UPDATE {EVENT} SET label = 'x' WHERE id = %s", events[1])
    since = AuditEvent.objects.get(pk=events[3]).at
    assert result(since=since) == []
    tamper(f"UPDATE {LINK} SET mac = %s WHERE sequence = 5", FORGED)
    assert result(since=since) == [("changed_link", 5, events[4])]
    call_command("verify_audit", "--since", (timezone.now() + timedelta(days=1)).isoformat())
    assert AuditHead.objects.get().sequence == 6
