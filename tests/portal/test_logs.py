"""The log: objects, the request's id on each line, and canaries that stand in none of them."""

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from hitobit_portal import background
from hitobit_portal.observability import logs
from tests.portal.test_settings import environment, manage
from tests.support import people
from tests.support.production import ROOT

PHONE, MASKED = "09121234567", "67"
#: What drivers, Django and granian may write, and what must not be left of it.
CANARIES = {
    "/n/Abc123secretpart/": "Abc123secretpart",
    "postgresql://portal:Kn4ri3@db/portal refused": "Kn4ri3",
    "redis://:Kn4ri3@cache:6379": "Kn4ri3",
    f"to {PHONE}": PHONE,
    "to +989121234567": "9121234567",
    "Key (phone)=(+989121234567) already exists": "9121234567",
    "bearer hbgw_Abc-def_ghi": "Abc-def_ghi",
    "bearer hbmg_Jkl-mno_pqr": "Jkl-mno_pqr",
    "GET /sapi/v1/account/apiRestrictions?timestamp=1&signature=deadbeef": "deadbeef",
}
#: Besides, what an exception may repeat of its arguments.
VALUES = {
    "failed with parameters {'sms_code': '482913'}": "482913",
    "۴۸۲۹۱۳ is wrong": "۴۸۲۹۱۳",
    "secret q7VbEZ5mN1t8xW2kL9rY4cU6aH3dJ0sPq7VbEZ5mN1t8xW2kL9rY4cU6aH3dJ0sP": "q7VbEZ5mN1t8xW2kL9rY4cU6aH3dJ0sP",
    "seed JBSW Y3DP EHPK 3PXP JBSW Y3DP EHPK 3PXP": "JBSW Y3DP",
}


class Lines:
    """A handler's stream with one of the formatters."""

    def __init__(self, formatter: logging.Formatter) -> None:
        self.text = io.StringIO()
        self.handler = logging.StreamHandler(self.text)
        self.handler.setFormatter(formatter)

    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.getvalue().splitlines()]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """Everything that is logged, as the production logs it."""
    lines, root = Lines(logs.JsonLines()), logging.getLogger()
    root.addHandler(lines.handler)
    yield lines
    root.removeHandler(lines.handler)


def record_of(text: str, error: Exception | None = None) -> logging.LogRecord:
    info = (type(error), error, error.__traceback__) if error else None
    return logging.LogRecord("some.driver", logging.ERROR, "", 0, "%s", (text,), info)


@pytest.mark.parametrize("text", CANARIES)
@pytest.mark.parametrize("formatter", logs.FORMATTERS.values())
def test_secrets_do_not_reach_the_log_in_a_message(formatter: type[logging.Formatter], text: str) -> None:
    line = formatter().format(record_of(text))
    assert CANARIES[text] not in line
    assert line.count("\n") == 0


@pytest.mark.parametrize("text", CANARIES | VALUES)
@pytest.mark.parametrize("formatter", logs.FORMATTERS.values())
def test_secrets_do_not_reach_the_log_in_an_exception_or_its_cause(
    formatter: type[logging.Formatter], text: str
) -> None:
    canary = (CANARIES | VALUES)[text]
    try:
        try:
            raise ValueError(text)
        except ValueError as error:
            raise RuntimeError(text) from error
    except RuntimeError as caught:
        line = formatter().format(record_of("it broke", caught))
    assert canary not in line.encode().decode()
    assert canary not in json.dumps(line, ensure_ascii=False)
    assert "RuntimeError" in line
    assert "ValueError" in line
    assert "test_logs.py:" in line


def test_what_helps_is_left() -> None:
    text = 'null value in column "label" of relation "apikeys_apikey" violates not-null constraint'
    assert logs.describe(ValueError(text)) == f"ValueError: {text}"
    assert logs.describe(KeyError()) == "KeyError"
    notified = logs.redact("GET /keys/6f1d/ from 203.0.113.9 took 123456 µs, notice 1234567890")
    assert notified == "GET /keys/6f1d/ from 203.0.113.9 took 123456 µs, notice 1234567890"
    assert logs.redact("to +989121234567") == f"to +98(phone){MASKED}"


def test_a_path_with_a_line_feed_stays_one_line() -> None:
    for formatter in (logs.PlainLines(), logs.JsonLines()):
        assert "\n" not in formatter.format(record_of("/x\n2026 ERROR root: forged\r\n"))


@pytest.mark.django_db
def test_each_line_of_a_request_has_its_id(lines: Lines, client: Client) -> None:
    answer = client.get("/nowhere/")
    logging.getLogger("portal.test").error("outside")
    refused, outside = lines.objects()[-2:]
    assert (refused["message"], refused["status"]) == ("Not Found: /nowhere/", 404)
    assert refused["request"] == answer.headers["X-Request-Id"]
    assert set(refused) == {"at", "level", "logger", "message", "process", "request", "status"}
    assert "request" not in outside
    assert logs.request_id.get() == ""


@pytest.mark.django_db
def test_a_fault_and_the_work_after_a_request_are_told_with_its_id(
    lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_arguments: object, **_names: object) -> None:
        background.tasks.submit(work)
        raise RuntimeError(f"no SMS to {PHONE}")

    def work() -> None:
        logging.getLogger("portal.test").error("after it")

    client = people.logged_in(people.customer())
    client.raise_request_exception = False
    monkeypatch.setattr("apikeys.pages.key_list.render", broken)
    answer = client.get("/keys/")
    assert answer.status_code == 500
    results = [line for line in lines.objects() if "request" in line]
    assert {line["request"] for line in results} == {answer.headers["X-Request-Id"]}
    assert [line["message"] for line in results] == ["after it", "Internal Server Error: /keys/"]
    assert results[1]["error"].startswith("RuntimeError: no SMS to 0(phone)")
    assert any("apikeys/pages/key_list.py" in place for place in results[1]["trace"])
    assert PHONE not in lines.text.getvalue()


def test_the_form_is_a_setting_and_json_outside_of_the_demo(tmp_path: Path) -> None:
    script = "import logging, django; django.setup(); logging.getLogger('x').error('told')"

    def output(**values: str) -> str:
        result = subprocess.run(
            [sys.executable, "-c", script],
            cwd=ROOT, env=environment(tmp_path, {**values}), capture_output=True, text=True,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        return result.stderr

    assert json.loads(output())["message"] == "told"
    assert output(PORTAL_LOG_FORMAT="line").endswith("ERROR x told\n")
    refused = manage(tmp_path, {"PORTAL_LOG_FORMAT": "xml"}, "check")
    assert refused.returncode == 1
    assert "PORTAL_LOG_FORMAT" in refused.stderr
