"""The least that the gateway's server can be asked: every request is answered 204 with nothing to do."""

from typing import Any


class Bare:
    async def __rsgi__(self, _scope: Any, proto: Any) -> None:
        proto.response_empty(204, [])


app = Bare()
