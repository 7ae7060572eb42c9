"""The demo: made once and kept, readable by its owner only, and not to be had in production."""

import json
import os
import stat
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.http import Http404
from django.test import RequestFactory

from accounts.models import User
from accounts.profile.activity import demo_sms
from accounts.sms import file
from hitobit_portal.config import demo
from tests.support.live_portal import LivePortal
from tests.support.people import Person, browser, customer, logged_in


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def demo_directory(settings: Any, tmp_path: Path, db: None) -> Path:
    settings.DEMO, settings.DATA_DIR = True, tmp_path / "var"
    return tmp_path / "var"


def printed(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    capsys.readouterr()
    call_command("create_demo", *options)
    return capsys.readouterr().out


@pytest.mark.usefixtures("demo_directory")
def test_json_for_scripts_is_phone_password_and_authenticator(capsys: pytest.CaptureFixture[str]) -> None:
    login = json.loads(printed(capsys, "--json"))
    assert list(login) == ["phone", "password", "totp_secret"]
    assert login["phone"].startswith("+98")
    assert len(login["password"]) >= 12


@pytest.mark.usefixtures("demo_directory")
def test_printed_login_works(settings: Any, capsys: pytest.CaptureFixture[str]) -> None:
    login = json.loads(printed(capsys, "--json"))
    settings.DEMO = False  # the pages of this process have no route to the inbox
    client = browser()
    client.post("/login/", {"phone": login["phone"], "password": login["password"]})
    user = User.objects.get(phone=login["phone"])
    code = Person(user, login["password"], login["totp_secret"]).totp()
    client.post("/login/second-factor/?method=totp", {"code": code})
    assert client.get("/dashboard/").status_code == 200


def test_second_run_keeps_everything(demo_directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = printed(capsys, "--json")
    files = {path: path.read_bytes() for path in demo_directory.iterdir()}
    stored = list(User.objects.values())
    assert printed(capsys, "--json") == first
    assert {path: path.read_bytes() for path in demo_directory.iterdir()} == files
    assert list(User.objects.values()) == stored


@pytest.mark.usefixtures("demo_directory")
def test_login_is_printed_for_people_with_a_picture(capsys: pytest.CaptureFixture[str]) -> None:
    login = json.loads(printed(capsys, "--json"))
    text = printed(capsys)
    assert all(value in text for value in (login["password"], login["totp_secret"], f"0{login['phone'][3:]}"))
    assert "█" in text or "▀" in text


def test_every_file_of_the_demo_is_its_owners_only(
    demo_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = os.umask(0)  # as careless as a shell can be
    try:
        demo.secret_key(demo_directory)
        demo.master_keys(demo_directory)
        printed(capsys, "--json")
        file.send("+989121234567", "x", code="123456", purpose="login")
    finally:
        os.umask(before)
    assert {path.name for path in demo_directory.iterdir()} >= {
        "secret-key",
        "master-keys",
        "demo.json",
        "sms",
    }
    for path in [demo_directory, *demo_directory.rglob("*")]:
        assert mode(path) == (0o700 if path.is_dir() else 0o600), path


def test_processes_that_start_at_once_agree_on_a_secret(tmp_path: Path) -> None:
    with ThreadPoolExecutor(20) as pool:
        kept = set(pool.map(lambda _n: demo.secret_key(tmp_path / "var"), range(40)))
    assert len(kept) == 1
    assert [path.name for path in (tmp_path / "var").iterdir()] == ["secret-key"]


@pytest.mark.parametrize("command", ["create_demo", "run_demo"])
def test_demo_is_refused_outside_the_demo(db: None, settings: Any, tmp_path: Path, command: str) -> None:
    settings.DATA_DIR = tmp_path
    with pytest.raises(CommandError, match="PORTAL_DEMO"):
        call_command(command)
    assert not User.objects.exists()
    assert list(tmp_path.iterdir()) == []


def test_inbox_of_messages_exists_in_the_demo_only(db: None) -> None:
    for client in (browser(), logged_in(customer())):
        assert client.get("/demo/sms/").status_code == 404
    with pytest.raises(Http404):
        demo_sms(RequestFactory().get("/demo/sms/"))


def test_running_demo_shows_its_messages_and_no_page_of_production_does(
    live_portal: LivePortal, settings: Any
) -> None:
    settings.DATA_DIR = live_portal.data_dir
    file.send("+989121234567", "<b>کد</b>", code="314159", purpose="login")
    with urllib.request.urlopen(f"{live_portal.url}/demo/sms/", timeout=20) as answer:
        page = answer.read().decode()
    assert "314159" in page or "۳۱۴۱۵۹" in page
    assert "<b>کد</b>" not in page


def test_running_demo_keeps_its_login_and_secrets_private(live_portal: LivePortal) -> None:
    again = json.loads(live_portal.manage("create_demo", "--json"))
    assert again == live_portal.demo
    for name in ("secret-key", "master-keys", "demo.json"):
        assert mode(live_portal.data_dir / name) == 0o600


def test_running_demo_is_on_this_machine_only(live_portal: LivePortal) -> None:
    """A forged Host is refused even here: DNS rebinding would let any web site read the inbox."""
    request = urllib.request.Request(f"{live_portal.url}/demo/sms/", headers={"Host": "evil.example"})
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(request, timeout=20)
