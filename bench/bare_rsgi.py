"""granian's RSGI with an application that does nothing: every request gets a 204 response."""

from typing import Any


async def app(_scope: Any, proto: Any) -> None:
    proto.response_empty(204, [])
