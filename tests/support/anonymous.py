"""Helpers for account enumeration tests: visible responses and executed statements of anonymous visitors."""

import re
from collections.abc import Callable
from typing import Any

from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.actions import pending_accounts
from tests.support import people

#: Parts that differ between any two responses: the form's token, the entered number, the seconds of a countdown.
VARYING = (r'name="csrfmiddlewaretoken" value="\w+"', r"0912•••\d{4}", r'data-(countdown|now)="\d+"')
VisibleResponse = tuple[int, dict[str, str], list[str], str]
#: A sufficiently strong password with non-ASCII letters.
GOOD_PASSWORD = "چهار اسب آرام در برف"  # nosec B105


def numbers() -> dict[str, str]:
    """Return a number of each kind that must not be distinguishable."""
    typed_before = people.next_phone()
    pending_accounts.get_or_create_row(typed_before)
    return {
        "free": people.next_phone(),
        "typed before": typed_before,
        "customer": people.with_password(people.customer()).user.phone,
        "unusable password": people.customer().user.phone,
        "inactive": people.with_password(people.customer(is_active=False)).user.phone,
        "no factor": people.newcomer(password="irrelevant").user.phone,
    }


def visible_response(response: Any) -> VisibleResponse:
    """Return status, headers, cookies and body of a response, without the parts in `VARYING`."""
    text = response.content.decode()
    for pattern in VARYING:
        text = re.sub(pattern, "", text)
    headers = {k: v for k, v in response.headers.items() if k not in ("X-Request-Id", "Expires")}
    cookies = sorted(f"{name} {len(morsel.value)}" for name, morsel in response.cookies.items())
    return response.status_code, headers, cookies, text


def executed_statements(action: Callable[[], Any]) -> list[str]:
    """Return the statements that ``action`` sends to the database, without their values."""
    with CaptureQueriesContext(connection) as queries:
        action()
    statements = (re.sub(r'"s\d+_x\d+"', "", query["sql"]) for query in queries.captured_queries)
    return [re.split(r" (?:WHERE|VALUES|SET) ", statement)[0] for statement in statements]
