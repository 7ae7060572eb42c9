"""Streaming of the audit trail as JSON lines: each event, in the order of the chain, and nobody waits for it."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from accounts import audit
from accounts.audit import chain, stream
from accounts.audit.verify import Walk
from accounts.models import AuditLink
from apikeys.policy.events import KeyEvent
from hitobit_portal.config import checks
from tests.support.audit_trail import chained, recorded
from tests.support.people import Person, customer

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "_failing", False)


@pytest.fixture
def sara() -> Person:
    return customer()


def is_whole() -> bool:
    return not list(Walk().findings())


@pytest.mark.django_db(transaction=True)
def test_sink_gets_each_linked_event_as_one_line_in_order(
    sara: Person, tmp_path: Path, settings: Any
) -> None:
    recorded(sara, 1)  # before there was a sink
    file = tmp_path / "audit.jsonl"
    settings.AUDIT_SINK = str(file)
    for _n in range(2):
        audit.record(KeyEvent.RENAMED, None, customer=sara.user, label="a\nb", number=sara.user.phone)
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert [(line["sequence"], line["id"]) for line in lines] == list(enumerate(chained(), start=1))[1:]
    assert lines[0]["detail"]["number"] == f"{sara.user.phone[:6]}•••{sara.user.phone[-4:]}"
    assert lines[0]["mac"] == AuditLink.objects.get(sequence=2).mac
    assert sara.user.phone not in file.read_text(encoding="utf-8")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_sink_that_fails_is_logged_once_and_gets_the_rest_later(
    sara: Person, tmp_path: Path, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    directory = tmp_path / "gone"
    settings.AUDIT_SINK = str(directory / "audit.jsonl")
    recorded(sara, 2)
    recorded(sara, 1)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert chained() and is_whole()  # noqa: PT018
    directory.mkdir()
    recorded(sara, 1)
    lines = (directory / "audit.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["sequence"] for line in lines] == [1, 2, 3, 4]
    assert chain.seal_pending() == 0
    assert len((directory / "audit.jsonl").read_text(encoding="utf-8").splitlines()) == 4


def test_a_sink_that_was_away_for_long_gets_everything_page_by_page(
    sara: Person, tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "MOST", 2)
    settings.AUDIT_SINK = str(tmp_path / "gone" / "audit.jsonl")
    recorded(sara, 5)
    (tmp_path / "gone").mkdir()
    chain.seal_pending()
    lines = (tmp_path / "gone" / "audit.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["sequence"] for line in lines] == [1, 2, 3, 4, 5]


def test_a_pipe_that_nobody_reads_holds_nobody(
    sara: Person, tmp_path: Path, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    os.mkfifo(tmp_path / "pipe")
    settings.AUDIT_SINK = str(tmp_path / "pipe")
    recorded(sara, 1)
    assert "can't be written" in caplog.text
    assert chained()


def test_standard_output_is_the_servers_and_no_commands(
    sara: Person, settings: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.AUDIT_SINK = "stdout"
    monkeypatch.setattr(stream, "is_server", lambda: False)
    recorded(sara, 2)
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(stream, "is_server", lambda: True)
    recorded(sara, 1)
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["sequence"] for line in lines] == [1, 2, 3]


@pytest.mark.parametrize(
    ("sink", "fine"),
    [
        ("", True),
        ("stdout", True),
        ("/tmp/audit.jsonl", True),
        ("audit.jsonl", False),
        ("/no/such/audit", False),
    ],
)
def test_a_sink_in_no_directory_is_refused_at_the_start(settings: Any, sink: str, fine: bool) -> None:
    settings.AUDIT_SINK = sink
    assert [result.id for result in checks.audit_sink()] == ([] if fine else ["portal.E010"])
