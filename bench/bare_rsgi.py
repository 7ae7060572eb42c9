"""The least that granian's RSGI can be asked: every request is answered 204 with nothing to do."""

from typing import Any


async def app(_scope: Any, proto: Any) -> None:
    proto.response_empty(204, [])
