"""``manage.py send_notices``: once, forever, many at once, beside the demo's server."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection
from django.utils import timezone

from accounts.management.commands import send_notices
from accounts.models import LastRun, Notice
from accounts.operations import chores
from apikeys.actions import expiry_reminders, key_requests
from apikeys.models import ApiKey, KeyRequest
from apikeys.policy.settings_change import Settings
from tests.accounts.notifications.test_outbox import noticed, owner
from tests.support import people, sms_collector
from tests.support.live_portal import LivePortal
from tests.support.production import ROOT
from tests.support.servers import die_with_parent

WAIT_SECONDS = 180.0


@pytest.fixture(autouse=True)
def _phone(settings: Any, tmp_path: Path) -> None:
    settings.SMS_BACKENDS, settings.DATA_DIR = ["tests.support.sms_collector"], tmp_path
    sms_collector.reset()


@pytest.mark.django_db(transaction=True)
def test_one_run_sends_everything_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    sara = owner(email="sara@example.com")
    for _n in range(3):
        noticed(sara)
    call_command("send_notices", "--json")
    assert json.loads(capsys.readouterr().out) == {
        "sent": 6,
        "failed": 0,
        "postponed": 0,
        "gave_up": 0,
        "waiting": 0,
    }
    call_command("send_notices")
    assert capsys.readouterr().out == ""


@pytest.mark.django_db(transaction=True)
def test_one_run_that_could_not_deliver_ends_with_an_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    noticed(owner())
    sms_collector.failing = True
    with pytest.raises(CommandError) as caught:
        call_command("send_notices", "--json")
    assert caught.value.returncode == 1
    assert json.loads(capsys.readouterr().out)["failed"] == 1


@pytest.mark.django_db(transaction=True)
def test_work_that_fails_is_logged_and_keeps_nothing_else_from_being_done(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise DatabaseError("password=hunter2")

    monkeypatch.setattr(chores, "CHORES", {"a chore": (broken, 60), **chores.CHORES})
    noticed(owner())
    with pytest.raises(CommandError):
        call_command("send_notices")
    assert "a chore: DatabaseError" in caplog.text
    assert "hunter2" not in caplog.text
    assert len(sms_collector.messages) == 1


@pytest.mark.django_db(transaction=True)
def test_a_run_does_all_that_comes_up_from_time_to_time() -> None:
    sara = owner()
    people.logged_in(sara)
    sara.user.login_sessions.update(seen_at=timezone.now() - timedelta(days=1))
    key = people.key_of(sara)
    ApiKey.objects.filter(pk=key.pk).update(expires_at=timezone.now() + timedelta(days=5))
    wanted = Settings(frozenset({"read"}), "unrestricted", ())
    key_requests.make(sara.user, "requested", wanted, "back-office")
    KeyRequest.objects.update(waits_until=timezone.now() - timedelta(days=1))
    call_command("send_notices")
    assert not sara.user.login_sessions.exists()
    assert KeyRequest.objects.get().state == "expired"
    assert "expires soon" in sms_collector.newest().text
    assert len(chores.CHORES) == 9
    assert LastRun.of("send_notices") is not None


@pytest.mark.django_db(transaction=True)
def test_reminders_are_recorded_in_batches_with_notices_sent_between_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(expiry_reminders, "BATCH", 2)
    sara = owner()
    for n in range(5):
        people.key_of(sara, f"bot {n}")
    ApiKey.objects.update(expires_at=timezone.now() + timedelta(days=5))
    call_command("send_notices", "--json")
    rounds = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["sent"] for each in rounds] == [2, 2, 1]
    assert [each["waiting"] for each in rounds] == [0, 0, 0]


@pytest.mark.django_db(transaction=True)
def test_a_loop_goes_on_without_a_pause_while_notices_wait(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A round ends after a while, for the other work: with a pause there, an urgent notice would wait for it."""
    monkeypatch.setattr(send_notices, "LONGEST_ROUND", 0.0)
    pauses: list[int] = []

    def pause(command: send_notices.Command, _seconds: float) -> None:
        pauses.append(Notice.objects.filter(sent_at=None).count())
        command.stop.set()

    monkeypatch.setattr(send_notices.Command, "_pause", pause)
    sara = owner()
    for _n in range(5):
        noticed(sara)
    call_command("send_notices", "--loop", "--json", "--senders", "1")
    assert pauses == [0]
    assert [json.loads(line)["sent"] for line in capsys.readouterr().out.splitlines()] == [1, 1, 1, 1, 1, 0]


@pytest.mark.parametrize("count", ["0", "65", "-1"])
def test_a_number_of_senders_that_makes_no_sense_is_refused(count: str) -> None:
    with pytest.raises(CommandError, match="--senders"):
        call_command("send_notices", "--senders", count)


@pytest.mark.parametrize("every", ["0", "-1", "nan", "99999"])
def test_a_pause_that_makes_no_sense_is_refused(every: str) -> None:
    with pytest.raises(CommandError, match="--every"):
        call_command("send_notices", "--loop", "--every", every)


def database_url() -> str:
    """Of the running test's database, for a process of its own."""
    parts = connection.settings_dict
    if connection.vendor != "postgresql":
        return os.environ["DATABASE_URL"]
    return f"postgresql://{parts['USER']}:{parts['PASSWORD']}@{parts['HOST']}:{parts['PORT']}/{parts['NAME']}"


@contextmanager
def senders(count: int, data_dir: Path, *options: str) -> Iterator[list[subprocess.Popen[str]]]:
    """``manage.py send_notices --loop`` in processes of their own; each has said that it runs."""
    environ = {
        **os.environ,
        "DATABASE_URL": database_url(),
        "PORTAL_DATA_DIR": str(data_dir),
        "PORTAL_EMAIL_URL": f"file:///{data_dir}/mail",
    }
    command = [sys.executable, "manage.py", "send_notices", "--loop", "--every", "0.1", "--json", *options]
    pipe = subprocess.PIPE
    children: list[subprocess.Popen[str]] = []
    try:
        for _n in range(count):
            children.append(
                subprocess.Popen(
                    command,
                    cwd=ROOT,
                    env=environ,
                    text=True,
                    stdout=pipe,
                    stderr=pipe,
                    preexec_fn=die_with_parent,
                )
            )
        for child in children:
            assert child.stdout is not None
            assert json.loads(child.stdout.readline())["sent"] == 0
        yield children
    finally:
        for child in children:
            child.kill()
            child.communicate()


def wait_for(what: Any) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


@pytest.mark.postgres
@pytest.mark.verify
@pytest.mark.django_db(transaction=True)
def test_four_processes_send_two_hundred_notices_once_each(tmp_path: Path) -> None:
    people_ = [owner(email=f"sara{n}@example.com") for n in range(10)]
    sent: list[int] = []
    with senders(4, tmp_path) as children:
        for n in range(100):
            noticed(people_[n % 10])
        wait_for(lambda: not Notice.objects.filter(sent_at=None).exists())
        for child in children:
            child.send_signal(signal.SIGTERM)
            out, err = child.communicate(timeout=WAIT_SECONDS)
            assert child.returncode == 0, err
            sent.append(sum(json.loads(line)["sent"] for line in out.splitlines()))
    assert sum(sent) == 200
    assert sum(count > 0 for count in sent) > 1, f"one process did it all: {sent}"
    assert set(Notice.objects.values_list("attempts", flat=True)) == {1}
    assert len(list((tmp_path / "sms").glob("*.json"))) == 100
    letters = "".join(path.read_text() for path in (tmp_path / "mail").iterdir())
    assert letters.count("Message-ID:") == 100


@pytest.mark.django_db(transaction=True)
def test_a_sender_ends_with_its_parent(tmp_path: Path) -> None:
    with senders(1, tmp_path, "--while-pid", str(os.getpid())) as [child]:
        assert child.poll() is None
    # Not its parent, as after the parent's end: it does not begin.
    command = [sys.executable, "manage.py", "send_notices", "--loop", "--while-pid", str(os.getppid())]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=WAIT_SECONDS)
    assert (ended.returncode, ended.stdout) == (0, ""), ended.stderr


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def children_of(pid: int) -> list[int]:
    """The senders among the processes that ``pid`` started."""
    result = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            is_sender = b"send_notices" in (path / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == pid and is_sender:
            result.append(int(path.name))
    return result


def test_a_loop_outlives_a_database_that_is_away_and_ends_when_told(tmp_path: Path) -> None:
    environ = {**os.environ, "DATABASE_URL": f"sqlite:///{tmp_path}/missing/portal.sqlite3"}
    command = [sys.executable, "manage.py", "send_notices", "--loop", "--every", "0.1", "--json"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, env=environ, text=True, stdout=pipe, stderr=pipe) as child:
        assert child.stdout is not None
        rounds = [json.loads(child.stdout.readline()) for _n in range(3)]
        child.send_signal(signal.SIGINT)
        _out, err = child.communicate(timeout=WAIT_SECONDS)
    assert rounds == [{"sent": 0, "failed": 0, "postponed": 0, "gave_up": 0, "waiting": None}] * 3
    assert child.returncode == 0
    assert err.count("outbox: OperationalError") >= 3
    assert "Traceback" not in err


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data of a demo that is started again and again: the database is made once."""
    return tmp_path_factory.mktemp("demo")


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize(
    ("ending", "reaches"),
    [
        pytest.param(signal.SIGINT, os.killpg, id="Ctrl+C"),
        pytest.param(signal.SIGKILL, os.kill, id="SIGKILL"),
    ],
)
def test_the_demo_sends_beside_its_server_and_leaves_nobody_behind(
    demo: Path, ending: signal.Signals, reaches: Callable[[int, int], None]
) -> None:
    portal = LivePortal(demo).start()
    assert portal.process is not None
    try:
        wait_for(lambda: children_of(portal.process.pid))
        [sender] = children_of(portal.process.pid)
        reaches(portal.process.pid, ending)
        portal.process.wait(timeout=WAIT_SECONDS)
        wait_for(lambda: not running(sender))
    finally:
        with suppress(ProcessLookupError):
            os.killpg(portal.process.pid, signal.SIGKILL)  # the server's own worker outlives a SIGKILL
        portal.process.wait()
    assert (demo / "mail").stat().st_mode & 0o777 == 0o700
