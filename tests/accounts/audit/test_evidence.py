"""An old head put back over a cut trail: the counter of numbers, notices and the sink know what was removed."""

import json
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.utils import timezone

from accounts import audit
from accounts.audit import chain, evidence, prune
from accounts.audit.verify import Walk
from accounts.choices import audit_mac
from accounts.choices.events import Event
from accounts.models import AuditEvent, AuditHead, AuditLink
from apikeys.policy.events import KeyEvent
from tests.support.audit_trail import recorded, tamper
from tests.support.concurrency import run_concurrently
from tests.support.people import Person, customer

pytestmark = pytest.mark.django_db
EVENT, LINK, HEAD, NOTICE = (
    "accounts_auditevent",
    "accounts_auditlink",
    "accounts_audithead",
    "accounts_notice",
)
Output = list[tuple[str, Any]]


@pytest.fixture
def sara() -> Person:
    return customer()


def on_postgresql() -> bool:
    return connection.vendor == "postgresql"


def output(*sinks: Path, **options: Any) -> tuple[Output, Output]:
    """(findings, remarks), each with its numbers, or its event."""
    walk = Walk(sinks=sinks, **options)
    findings = [(one.kind, one.numbers or one.event) for one in walk.findings()]
    return findings, [(one.kind, one.event) for one in walk.remarks]


def copied_head() -> dict[str, Any]:
    return dict(AuditHead.objects.values().get())


def put_back(head: dict[str, Any], *, notices: bool = True) -> None:
    """Cuts the trail off after what ``head`` knew, and makes it the head again, as the tables' owner can."""
    end = head["highest_event"]
    tamper(f"DELETE FROM {EVENT} WHERE id > %s", end)
    tamper(f"DELETE FROM {LINK} WHERE sequence > %s", head["sequence"])
    if notices:
        tamper(f"DELETE FROM {NOTICE} WHERE event_id > %s", end)
    columns = [name for name in head if name != "id"]
    tamper(
        f"UPDATE {HEAD} SET {', '.join(f'{name} = %s' for name in columns)}",
        *(head[name] for name in columns),
    )


def set_counter(number: int) -> None:
    with connection.cursor() as cursor:
        if on_postgresql():
            cursor.execute(f"SELECT setval(pg_get_serial_sequence('{EVENT}', 'id'), %s)", [number])
        else:
            cursor.execute("UPDATE sqlite_sequence SET seq = %s WHERE name = %s", [number, EVENT])


@pytest.mark.parametrize(("kept", "cut"), [(4, 1), (4, 3), (1, 40), (0, 3)])
def test_a_tail_that_was_cut_off_under_an_old_head_is_found(sara: Person, kept: int, cut: int) -> None:
    if kept == 0:
        set_counter_to_nothing()
    recorded(sara, kept)
    head = copied_head()
    gone = [event.pk for event in recorded(sara, cut)]
    assert output() == ([], [])
    put_back(head)
    assert output()[0] == [("missing_number", (gone[0], gone[-1]))]


def set_counter_to_nothing() -> None:
    """The counter as in a new database; it holds numbers of other tests."""
    with connection.cursor() as cursor:
        if on_postgresql():
            cursor.execute(f"SELECT setval(pg_get_serial_sequence('{EVENT}', 'id'), 1, false)")
        else:
            cursor.execute("DELETE FROM sqlite_sequence WHERE name = %s", [EVENT])


@pytest.mark.parametrize("cut", [3, 40])
def test_what_the_portal_writes_afterwards_does_not_cover_a_long_cut(sara: Person, cut: int) -> None:
    recorded(sara, 4)
    head = copied_head()
    gone = [event.pk for event in recorded(sara, cut)]
    put_back(head)
    recorded(sara, 2)
    result, remarks = output()
    # SQLite gives numbers back, so that each missing one was an event's; PostgreSQL leaves a few when something fails.
    if on_postgresql() and cut <= 32:
        assert (result, remarks) == ([], [("rolled_back", gone[0])])
    else:
        assert (result, remarks) == ([("missing_number", (gone[0], gone[-1]))], [])


def test_numbers_of_transactions_that_were_rolled_back_are_a_remark(sara: Person) -> None:
    recorded(sara, 2)
    with transaction.atomic():
        lost = audit.record(Event.LOGOUT, None, customer=sara.user)
        transaction.set_rollback(True)
    recorded(sara, 2)
    assert output() == ([], [("rolled_back", lost.pk)] if on_postgresql() else [])


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_numbers_of_transactions_that_go_on_are_waited_for(
    sara: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded(sara, 2)
    taken, may_end = threading.Event(), threading.Event()
    notified: list[tuple[Output, Output]] = []

    def slow() -> int:
        with transaction.atomic():
            event = audit.record(Event.LOGOUT, None, customer=sara.user)
            taken.set()
            assert may_end.wait(60)
        return event.pk

    def verify() -> int:
        assert taken.wait(60)
        with monkeypatch.context() as patch:
            patch.setattr(evidence, "PATIENCE", 0)
            notified.append(output())
        look = evidence._open

        def release() -> dict[str, bool]:
            result = look()
            may_end.set()
            return result

        monkeypatch.setattr(evidence, "_open", release)
        notified.append(output())
        return 0

    number, _nothing = run_concurrently([slow, verify])
    chain.seal_pending()
    assert notified == [([], [("open_numbers", number)]), ([], [])]
    assert output() == ([], [])


def test_notices_tell_of_events_that_were_removed_with_the_counter(sara: Person) -> None:
    recorded(sara, 2)
    head = copied_head()
    gone = audit.record(KeyEvent.CREATED, None, customer=sara.user)
    chain.seal_pending()
    put_back(head, notices=False)
    set_counter(head["highest_event"])
    assert output() == ([("missing_event", gone.pk)], [])


def test_a_counter_that_was_set_back_too_far_is_found(sara: Person) -> None:
    events = recorded(sara, 4)
    set_counter(events[1].pk)
    assert output() == ([("counter", events[3].pk)], [])


@pytest.fixture
def sink(tmp_path: Path, settings: Any) -> Path:
    settings.AUDIT_SINK = str(tmp_path / "audit.jsonl")
    return tmp_path / "audit.jsonl"


def test_the_sink_tells_of_what_was_removed_with_the_counter_and_the_notices(
    sara: Person, sink: Path
) -> None:
    recorded(sara, 2)
    head = copied_head()
    gone = [event.pk for event in recorded(sara, 3)]
    put_back(head)
    set_counter(head["highest_event"])
    assert output() == ([], [])
    assert output(sink) == ([("missing_event", number) for number in gone], [])
    # Later events take the numbers of those that are gone.
    again = [event.pk for event in recorded(sara, 2)]
    assert again == gone[:2]
    assert output() == ([], [])
    assert output(sink)[0] == [
        ("replaced_event", gone[0]),
        ("replaced_event", gone[1]),
        ("missing_event", gone[2]),
    ]


def test_the_sink_of_a_whole_trail_says_nothing_also_after_pruning(sara: Person, sink: Path) -> None:
    recorded(sara, 5)
    sink.write_bytes(sink.read_bytes() * 2)  # at least once each
    assert output(sink) == ([], [])
    prune.prune(prune.Plan(1, 3), lambda _done, _all: None)
    assert output(sink) == ([], [])
    assert output(sink, since=timezone.now() + timedelta(days=1)) == ([], [])


def test_a_mac_with_the_digits_of_a_mobile_number_is_streamed_as_it_is(
    sara: Person, sink: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits = "test:" + "a" * 20 + "09123456789" + "b" * 33
    monkeypatch.setattr(audit_mac, "link_mac", lambda *_values: digits)
    recorded(sara, 1)
    assert [json.loads(line)["mac"] for line in sink.read_text().splitlines()] == [digits]
    assert list(evidence.of_sink(sink)) == []


def test_links_that_a_crash_of_the_database_lost_are_a_remark(sara: Person, sink: Path) -> None:
    recorded(sara, 3)
    lines = [json.loads(line) for line in sink.read_text().splitlines()]
    lines[2]["mac"], lines[2]["sequence"] = "test:" + "0" * 64, 7
    sink.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"sequence": 9, "id"\n[]\n\xff\n')
    result, remarks = output(sink)
    assert (result, [kind for kind, _event in remarks]) == ([], ["linked_again", "bad_line"])


def test_a_sink_that_ends_early_is_a_remark(sara: Person, sink: Path) -> None:
    recorded(sara, 3)
    sink.write_text("".join(sink.read_text().splitlines(keepends=True)[:2]))
    result, remarks = output(sink)
    assert (result, [kind for kind, _event in remarks]) == ([], ["short_sink"])


def verify(capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
    """The document of ``verify_audit --json``; "exit" is the exit code."""
    capsys.readouterr()
    code = 0
    try:
        call_command("verify_audit", "--json", *options)
    except CommandError as error:
        code = error.returncode
    return {**json.loads(capsys.readouterr().out), "exit": code}


def test_the_command_compares_with_the_sink_of_its_machine_and_with_others(
    sara: Person, sink: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], settings: Any
) -> None:
    recorded(sara, 1)
    assert (output(), verify(capsys)["exit"]) == (([], []), 0)
    head = copied_head()
    gone = recorded(sara, 1)[0].pk
    put_back(head)
    set_counter(head["highest_event"])
    damaged = verify(capsys)
    assert (damaged["exit"], damaged["whole"], damaged["remarks"]) == (1, False, [])
    assert [(one["kind"], one["sequence"], one["event"]) for one in damaged["findings"]] == [
        ("missing_event", 2, gone)
    ]
    other = tmp_path / "other.jsonl"
    sink.rename(other)
    assert verify(capsys)["exit"] == 0
    assert verify(capsys, "--sink", str(other))["exit"] == 1
    with pytest.raises(CommandError) as caught:
        call_command("verify_audit", "--sink", str(tmp_path / "none.jsonl"))
    assert caught.value.returncode == 2
    settings.AUDIT_SINK = "stdout"
    assert verify(capsys)["exit"] == 0


def test_missing_numbers_that_were_explained_are_not_found_again(
    sara: Person, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded(sara, 2)
    with pytest.raises(CommandError, match="no number is missing"):
        call_command("verify_audit", "--explain", "restored")
    head = copied_head()
    gone = [event.pk for event in recorded(sara, 2)]
    put_back(head)
    with pytest.raises(CommandError) as caught:
        call_command("verify_audit", "--explain", " ")
    assert caught.value.returncode == 2
    # Somebody without a master key explains nothing.
    tamper(
        f"INSERT INTO {EVENT} (id, at, event, target, label, succeeded, address, agent, request_id, detail, mac) "
        "SELECT 9000000, at, 'audit.explained', '', '', succeeded, '', '', '', %s, mac FROM accounts_auditevent "
        "ORDER BY id LIMIT 1",
        json.dumps({"numbers": [gone]}),
    )  # fmt: skip
    assert ("missing_number", (gone[0], gone[1])) in output()[0] or not on_postgresql()
    tamper(f"DELETE FROM {EVENT} WHERE id = 9000000")
    set_counter(gone[1])
    assert output()[0] == [("missing_number", (gone[0], gone[1]))]
    call_command("verify_audit", "--explain", "the disk was full")
    assert f"numbers {gone[0]} to {gone[1]}" in capsys.readouterr().out
    chain.seal_pending()
    assert output() == ([], [])
    left = AuditEvent.objects.get(event="audit.explained")
    assert (left.detail["reason"], left.detail["numbers"]) == ("the disk was full", [gone])


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("events_too", [True, False])
def test_a_process_that_knows_of_later_events_logs_that_they_are_gone(
    sara: Person, events_too: bool, caplog: pytest.LogCaptureFixture
) -> None:
    recorded(sara, 2)
    head = copied_head()
    gone = recorded(sara, 2)
    if events_too:
        put_back(head)
    else:  # as a crash of PostgreSQL's server may
        tamper(f"DELETE FROM {LINK} WHERE sequence > %s", head["sequence"])
        AuditHead(**head).save(force_update=True)
    recorded(sara, 1)
    recorded(sara, 1)
    text = f"the audit trail was cut: link 4 and event {gone[1].pk} are gone"
    assert caplog.text.count(text) == (1 if events_too else 0)
    assert "cut" not in caplog.text.replace(text, "")
    assert AuditLink.objects.count() == (4 if events_too else 6)
