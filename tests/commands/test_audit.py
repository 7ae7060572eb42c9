"""The commands that verify, prune and export the audit trail."""

import csv
import io
import json
import os
import stat
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from accounts import audit
from accounts.audit import chain, export, prune
from accounts.audit.verify import Walk
from accounts.choices.events import Event
from accounts.models import AuditEvent, AuditHead, AuditLink, Notice
from apikeys.policy.events import KeyEvent
from tests.support.audit_trail import recorded, tamper
from tests.support.people import Person, customer

pytestmark = pytest.mark.django_db


@pytest.fixture
def long_ago(sara: Person, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Five events of 100 days ago, then two of now; linked."""
    then = timezone.now() - timedelta(days=100)
    with monkeypatch.context() as patch:
        patch.setattr(AuditEvent._meta.get_field("at"), "_get_default", lambda: then)
        old = [event.pk for event in recorded(sara, 5)]
    return old + [event.pk for event in recorded(sara, 2)]


def is_whole() -> bool:
    return not list(Walk().findings())


def run(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    capsys.readouterr()
    call_command(*command)
    return capsys.readouterr().out


def test_pruned_trail_keeps_a_checkpoint_and_is_whole(
    long_ago: list[int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prune, "BATCH", 2)
    event = AuditEvent.objects.get(pk=long_ago[0])
    assert event.customer
    Notice.objects.create(user=event.customer, event=event, channel="sms", to="+989120000001")
    dry = json.loads(run(capsys, "prune_audit", "--older-than", "90", "--dry-run", "--json"))
    assert dry == {"removed": 0, "first": 1, "last": 5, "dry_run": True}
    assert AuditLink.objects.count() == 7
    assert "5 events (links 1 to 5) were removed" in run(capsys, "prune_audit", "--older-than", "90")
    assert list(AuditLink.objects.order_by("pk").values_list("sequence", flat=True)) == [6, 7]
    assert not AuditEvent.objects.filter(pk__in=long_ago[:5]).exists()
    assert not Notice.objects.exists()
    notified = AuditEvent.objects.get(event=Event.AUDIT_PRUNED.value)
    assert {name: notified.detail[name] for name in ("days", "first", "last")} == {
        "days": 90,
        "first": 1,
        "last": 5,
    }
    chain.seal_pending()
    assert is_whole()
    assert run(capsys, "prune_audit", "--older-than", "90") == "No event is that old.\n"


def test_after_pruning_the_database_refuses_as_before(
    long_ago: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("prune_audit", "--older-than", "90")
    with (
        pytest.raises(DatabaseError, match="append-only"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute("DELETE FROM accounts_auditevent")


@pytest.mark.parametrize("change", ["pruned_mac = link_mac", "pruned_sequence = 6", "pruned_at = NULL"])
def test_a_changed_checkpoint_is_found(long_ago: list[int], change: str) -> None:
    call_command("prune_audit", "--older-than", "90")
    chain.seal_pending()
    tamper(f"UPDATE accounts_audithead SET {change}")
    assert next(Walk().findings()).kind == "head"


def test_what_is_removed_after_a_checkpoint_is_missed(long_ago: list[int]) -> None:
    call_command("prune_audit", "--older-than", "90")
    chain.seal_pending()
    tamper("DELETE FROM accounts_auditevent WHERE id = %s", long_ago[5])
    tamper("DELETE FROM accounts_auditlink WHERE event_id = %s", long_ago[5])
    assert [(one.kind, one.sequence) for one in Walk().findings()] == [("missing_link", 6)]


def test_traces_of_damage_are_not_pruned(long_ago: list[int]) -> None:
    tamper("UPDATE accounts_auditevent SET label = 'x' WHERE id = %s", long_ago[2])
    with pytest.raises(CommandError, match="damaged") as caught:
        call_command("prune_audit", "--older-than", "90")
    assert caught.value.returncode == 1
    assert AuditLink.objects.count() == 7


def test_a_prune_that_dies_half_way_leaves_a_whole_trail_and_goes_on(
    long_ago: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prune, "BATCH", 2)
    planned = prune.plan(timezone.now() - timedelta(days=90))

    def die(done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prune.prune(planned, die)
    assert AuditHead.objects.get().pruned_sequence == 2
    assert is_whole()
    prune.prune(prune.plan(timezone.now() - timedelta(days=90)), lambda *_numbers: None)
    assert AuditHead.objects.get().pruned_sequence == 5


@pytest.mark.parametrize("days", ["29", "0", "-1", "99999999"])
def test_odd_retention_is_refused(days: str) -> None:
    with pytest.raises(CommandError) as caught:
        call_command("prune_audit", f"--older-than={days}")
    assert caught.value.returncode == 2


def test_export_is_filtered_and_leaves_an_event(sara: Person, capsys: pytest.CaptureFixture[str]) -> None:
    recorded(sara, 3)
    other = customer()
    recorded(other, 1)
    audit.record(Event.LOGOUT, None, customer=sara.user)
    phone = f"0{sara.user.phone[3:]}"
    out = run(capsys, "export_audit", "--customer", phone, "--event", "key.renamed")
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["label"] for row in rows] == ["bot 0", "bot 1", "bot 2"]
    assert [row["sequence"] for row in rows] == [1, 2, 3]
    notified = AuditEvent.objects.get(event=Event.AUDIT_EXPORTED.value)
    assert (notified.detail["of"], notified.detail["events"]) == (str(sara.user.pk), ["key.renamed"])
    assert (notified.customer, notified.actor, "operator" in notified.detail) == (None, None, True)
    future = (timezone.now() + timedelta(days=1)).isoformat()
    assert run(capsys, "export_audit", "--since", future) == ""
    assert len(run(capsys, "export_audit", "--until", future).splitlines()) == 5 + 3


def test_export_as_csv_is_no_formula_and_has_no_phone(
    sara: Person, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    audit.record(
        KeyEvent.RENAMED, None, customer=sara.user, label="=1+1", phone=sara.user.phone, list=["09121234567"]
    )
    file = tmp_path / "events.csv"
    call_command("export_audit", "--format", "csv", "--output", str(file))
    text = file.read_text(encoding="utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert (rows[0]["label"], rows[0]["event"], rows[0]["sequence"]) == ("'=1+1", "key.renamed", "")
    assert sara.user.phone not in text
    assert "09121234567" not in text
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    with pytest.raises(CommandError, match="can't be made"):
        call_command("export_audit", "--output", str(file))
    assert file.read_text(encoding="utf-8-sig") == text, "the file that was there stays"
    call_command("export_audit", "--output", str(file), "--force")
    assert json.loads(file.read_text(encoding="utf-8").splitlines()[0])["event"] == "key.renamed"
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_export_shows_no_salt_and_each_type_as_json(
    sara: Person, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    event = audit.record(
        KeyEvent.RENAMED, None, customer=sara.user, succeeded=False, numbers=[1, 2.5, None, True]
    )
    chain.seal_pending()
    out = run(capsys, "export_audit", "--format", kind, "--event", "key.renamed")
    assert event.salt
    assert event.salt not in out
    assert "_salt" not in out
    if kind == "csv":
        [row] = csv.DictReader(io.StringIO(out.removeprefix("\ufeff"), newline=""))
        assert (row["sequence"], row["succeeded"], row["actor"]) == ("1", "false", str(sara.user.pk))
        assert json.loads(row["detail"]) == {"numbers": [1, 2.5, None, True]}
    else:
        assert json.loads(out)["detail"] == {"numbers": [1, 2.5, None, True]}


def test_terminal_shows_the_progress_of_an_export_into_a_file(
    sara: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(export, "PAGE", 2)
    recorded(sara, 4)
    command = ["export_audit", "--event", "key.renamed", "--force", "--output", str(tmp_path / "events")]
    call_command(*command)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    call_command(*command)
    bars = capsys.readouterr().err
    assert [bar.partition("] ")[2].strip() for bar in bars.split("\r")[1:]] == ["2 of 4", "4 of 4"]
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    call_command("export_audit")
    assert capsys.readouterr().err == "", "lines and the bar would be mixed"


def test_an_export_that_fails_halfway_leaves_no_file(
    sara: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_arguments: object) -> Iterator[str]:
        yield "a line\n"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("accounts.audit.export.lines", failing)
    file = tmp_path / "events.csv"
    file.write_text("of last month")
    with pytest.raises(CommandError, match="can't be written: No space left"):
        call_command("export_audit", "--output", str(file), "--force")
    assert [path.name for path in tmp_path.iterdir()] == ["events.csv"]
    assert file.read_text() == "of last month"


@pytest.mark.parametrize(
    "arguments", [["--since", "yesterday"], ["--event", "x"], ["--format", "xml"], ["--since", "2026-13-40"]]
)
def test_export_refuses_what_it_does_not_understand(arguments: list[str]) -> None:
    with pytest.raises(CommandError):
        call_command("export_audit", *arguments)
    assert not AuditEvent.objects.exists()


def test_the_command_names_link_and_event_and_ends_with_1(
    sara: Person, capsys: pytest.CaptureFixture[str]
) -> None:
    events = [event.pk for event in recorded(sara, 6)]
    call_command("verify_audit")
    assert "6 links checked.\nThe audit trail is whole." in capsys.readouterr().out
    tamper("UPDATE accounts_auditevent SET label = 'x' WHERE id = %s", events[2])
    for arguments in ([], ["--json"]):
        with pytest.raises(CommandError) as caught:
            call_command("verify_audit", *arguments)
        assert caught.value.returncode == 1
    notified = capsys.readouterr().out.splitlines()
    assert notified[0].startswith(f"link 3, event {events[2]}: the event was changed")
    result = json.loads(notified[-1])
    assert (result["whole"], result["links"], len(result["findings"])) == (False, 6, 1)
    assert (result["findings"][0]["sequence"], result["findings"][0]["event"]) == (3, events[2])
