"""The watchdog of the database: what it takes for an answer, and for how long it tries."""

import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from hitobit_portal.database import base, watchdog

pytestmark = [pytest.mark.postgres, pytest.mark.django_db]
LIMIT = 5.0


@pytest.fixture(autouse=True)
def _nothing_was_answered_just_now(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(watchdog, "_answered_at", 0.0)
    monkeypatch.setattr(watchdog, "CONNECT_SECONDS", 1)
    yield
    for thread in threading.enumerate():
        if thread.name == "database-watchdog":
            thread.join()


def test_rejections_that_end_before_the_limit_are_no_database_that_is_down(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A server with no connection to spare rejects at once, and takes the next attempt."""
    began = time.monotonic()

    def servers() -> list[dict[str, Any]]:
        if time.monotonic() - began < 1.5 * watchdog.CONNECT_SECONDS:
            raise psycopg.OperationalError("too many clients already")
        return base.probed_servers()

    watchdog.report_stall(servers, LIMIT)
    while watchdog._is_probing:
        time.sleep(0.01)

    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
