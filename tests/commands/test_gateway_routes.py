"""``gateway_routes``: the route table in the form of each proxy, and its problems."""

import io
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.core.management import CommandError, call_command

from apikeys.gateway import routes
from tests.support.production import ROOT

EXAMPLE = ROOT / "deploy/routes.example"


@pytest.mark.parametrize("name", routes.FORMATS)
def test_the_example_is_printed_for_each_proxy(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("gateway_routes", str(EXAMPLE), "--format", name)
    printed = capsys.readouterr().out
    assert printed == routes.FORMATS[name](routes.parse(EXAMPLE.read_text(encoding="utf-8")))
    assert "/sapi/v1/capital/withdraw/apply" in printed


def test_the_table_is_read_from_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"GET /a none -\n")))
    call_command("gateway_routes", "-", "--format", "haproxy")
    assert "^(GET|HEAD):/a$ none -\n" in capsys.readouterr().out


@pytest.mark.parametrize(("text", "problem"), [
    (b"GET /a none -\nGET /b sined read\nGET /c none", "routes, line 2: unknown security type 'sined'"),
    (b"GET /a none -\nGET /\xff none -", "routes, line 2: not UTF-8."),
    (b"", "routes, line 1: there is no route in the table"),
])  # fmt: skip
def test_a_problem_is_exit_code_1_and_prints_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: bytes, problem: str
) -> None:
    file = tmp_path / "routes"
    file.write_bytes(text)
    with pytest.raises(CommandError) as raised:
        call_command("gateway_routes", str(file), "--format", "nginx")
    assert raised.value.returncode == 1
    assert problem in str(raised.value)
    assert capsys.readouterr().out == ""


def test_all_problems_of_a_table_are_printed(tmp_path: Path) -> None:
    file = tmp_path / "routes"
    file.write_text("GET /a none\nGET /b//c none -\n")
    with pytest.raises(CommandError) as raised:
        call_command("gateway_routes", str(file), "--format", "nginx")
    assert len(str(raised.value).splitlines()) == 2


def test_a_missing_file_and_an_unknown_format_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="can't be read: No such file"):
        call_command("gateway_routes", str(tmp_path / "none"), "--format", "nginx")
    with pytest.raises(CommandError, match="invalid choice: 'apache'"):
        call_command("gateway_routes", str(EXAMPLE), "--format", "apache")
