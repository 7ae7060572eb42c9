"""The reason of a stop, which its customer reads."""

from __future__ import annotations

from apikeys.management_api.endpoints import Call
from apikeys.management_api.problems import invalid
from hitobit_portal.i18n import free_text

MAX_LENGTH = 200


def reason_of(call: Call) -> str:
    """Return the required ``reason`` of a call's body. Raise `ApiProblem`."""
    reason = call.body.get("reason")
    if not isinstance(reason, str) or not 0 < len(reason.strip()) <= MAX_LENGTH:
        raise invalid("reason", f"a text of 1 to {MAX_LENGTH} characters, which the customer reads")
    if free_text.problem(reason.strip()) is not None:
        raise invalid(
            "reason", "without links, addresses, phone numbers, and control or invisible characters"
        )
    return reason.strip()
