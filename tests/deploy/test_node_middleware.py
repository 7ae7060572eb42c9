"""What deploy/middleware/portal.js does beside real frameworks; what it does with a real gateway is in recipes/."""

import http.client
import socket
import time
from pathlib import Path

import pytest

from tests.support import recipes
from tests.support.middleware import AllowingPortal

BODY = b"symbol=BTCUSDT&side=BUY"
#: From the close of a connection until Node has seen it: one turn of its event loop.
CLOSE_SECONDS = 0.5
WAIT_SECONDS = 20.0


@pytest.mark.parametrize("framework", ["express", "fastify"])
def test_a_request_whose_client_is_gone_does_not_reach_the_application(
    tmp_path: Path, framework: str
) -> None:
    """express skips its body: forwarded by its Content-Length, it would take the next request for that body."""
    recipe = recipes.RECIPES[framework]
    recipes.require(recipe)
    with AllowingPortal() as portal, AllowingPortal() as exchange:
        setting = recipes.setting_for(
            tmp_path,
            gateway_port=portal.server_address[1],
            exchange_port=exchange.server_address[1],
            token="t",
        )
        with recipes.running(recipe, setting):
            portal.lines.clear()
            exchange.lines.clear()
            portal.may_answer.clear()
            with socket.create_connection(("127.0.0.1", setting.port)) as client:
                head = f"POST /api/v3/order HTTP/1.1\r\nHost: a\r\nContent-Length: {len(BODY)}\r\n\r\n"
                client.sendall(head.encode("ascii") + BODY)
                deadline = time.monotonic() + WAIT_SECONDS
                while not portal.lines:
                    assert time.monotonic() < deadline
                    time.sleep(0.01)
            time.sleep(CLOSE_SECONDS)
            portal.may_answer.set()

            connection = http.client.HTTPConnection("127.0.0.1", setting.port, timeout=WAIT_SECONDS)
            connection.request("POST", "/api/v3/order/test", BODY)
            response = connection.getresponse()
            response.read()
            connection.close()

    assert response.status == 200
    assert exchange.lines == ["POST /api/v3/order/test HTTP/1.1"]
