"""The last use of a gateway's token, by which operators rotate tokens."""

import time
from collections.abc import Callable, Iterator
from datetime import datetime

import pytest
from django.core.management import call_command

from apikeys.models import ApiKey, GatewayToken
from tests.apikeys.gateway.test_spelling import signed
from tests.support import people
from tests.support.gateways import GatewayProcess, token

pytestmark = [pytest.mark.postgres, pytest.mark.usefixtures("kept_db")]
WRITES = 3


@pytest.fixture(scope="module")
def process(kept_db: None) -> Iterator[GatewayProcess]:
    with GatewayProcess("") as process:
        yield process


@pytest.fixture
def key() -> ApiKey:
    return people.key_of(people.customer())


def last_used(name: str) -> datetime | None:
    return GatewayToken.objects.get(name=name).last_used_at


def until(use: Callable[[], object], name: str, after: datetime | None) -> datetime:
    """Use a token until a use of ``name`` later than ``after`` is written."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        use()
        used_at = last_used(name)
        if used_at is not None and used_at != after:
            return used_at
        time.sleep(0.05)
    raise AssertionError(f"no later use of {name} was written")


def test_last_use_of_an_unused_token_does_not_change(process: GatewayProcess, key: ApiKey) -> None:
    bearers = {name: token(name) for name in ("old", "new")}

    def ask(name: str) -> None:
        process.bearer = bearers[name]
        assert process.auth(signed(key)).status == 204

    def ask_both() -> None:
        for name in ("old", "new"):
            ask(name)

    until(ask_both, "old", None)
    written = until(ask_both, "old", last_used("old"))  # on the fast path, too
    # Earlier uses may still be written with the next batch.
    latest = until(lambda: ask("new"), "new", last_used("new"))
    latest = until(lambda: ask("new"), "new", latest)
    still = last_used("old")
    assert still is not None
    assert still >= written
    for _ in range(WRITES):
        latest = until(lambda: ask("new"), "new", latest)
    assert last_used("old") == still
    assert latest > still
    assert until(lambda: ask("old"), "old", still) > latest


@pytest.mark.parametrize("path", ["/metrics", "/gateway/v1/openapi.json", "/gateway/v1/nothing"])
def test_every_request_counts_as_a_use(process: GatewayProcess, path: str) -> None:
    name = f"scraper of {path}"
    process.bearer = token(name)
    first = until(lambda: process.ask("GET", path), name, None)
    assert until(lambda: process.ask("GET", path), name, first) > first


def test_request_for_an_unknown_key_counts_as_a_use(process: GatewayProcess, key: ApiKey) -> None:
    process.bearer = token("tehran")
    unknown = signed(key)
    unknown.headers["X-MBX-APIKEY"] = "u" * 64
    assert until(lambda: process.auth(unknown), "tehran", None)


def test_request_for_portal_metrics_counts_as_a_use(capsys: pytest.CaptureFixture[str]) -> None:
    text = token("prometheus")
    call_command("gateway_token", "list")
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "prometheus" in line]
    assert "never" in line
    assert people.browser().get("/metrics", headers={"Authorization": "Bearer wrong"}).status_code == 403
    assert last_used("prometheus") is None
    assert people.browser().get("/metrics", headers={"Authorization": f"Bearer {text}"}).status_code == 200
    assert last_used("prometheus") is not None


def test_use_just_before_shutdown_is_written() -> None:
    with GatewayProcess(token("last")) as process:
        assert process.ask("GET", "/metrics").status == 200
    assert last_used("last") is not None
