"""Requests and responses do not depend on where the network splits a stream."""

import asyncio
import itertools

from hypothesis import example, given
from hypothesis import strategies as st

from apikeys.gateway.http.connection import MAX_UNSENT_RESPONSES, Connection
from apikeys.gateway.http.messages import CONTINUE, BodyError, HttpRequest
from apikeys.gateway.http.server import HttpServer
from tests.support.event_loops import run_in_thread

#: Rounds of the event loop: enough for the responses to a whole stream.
ROUNDS = 40


class Echo:
    """Responds with what it received; to ``/fast`` without a body on the fast path."""

    def handle_fast(
        self, method: bytes, target: bytes, names: list[bytes], values: list[bytes]
    ) -> bytes | None:
        framing = (b"content-length", b"transfer-encoding")
        if (method, target) != (b"GET", b"/fast") or any(name.lower() in framing for name in names):
            return None
        pairs = zip(names, values, strict=True)
        values_sent = [value.strip() for name, value in pairs if name.lower() == b"x-a" and value.isascii()]
        return b"values_sent: %d\r\n\r\n" % hash(tuple(values_sent))

    async def handle(self, request: HttpRequest) -> None:
        values_sent = [value for value in request.headers.get_all("x-a") if value.isascii()]
        if request.method == "GET" and request.path == "/fast" and not request.has_body:
            request.respond_empty(
                204, [("values_sent", str(hash(tuple(value.encode() for value in values_sent))))]
            )
            return
        try:
            body = b"".join([piece async for piece in request])
        except BodyError:
            request.respond_empty(400, [("connection", "close")])
            return
        events = (request.method, request.path, request.query_string, values_sent, body)
        request.respond_text(200, [], repr(events))


class FakeTransport:
    """A transport that stores what is written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.written.append(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


async def answers(pieces: list[bytes]) -> bytes:
    transport = FakeTransport()
    server = HttpServer(Echo(), 9)
    server.date, server.no_content_head = b"", b"HTTP/1.1 204 No Content\r\n"
    connection = Connection(server)
    connection.connection_made(transport)
    for piece in pieces:
        if not transport.closed:
            connection.data_received(piece)
        # Until the responses are sent: bytes behind the request that closes the connection are never read.
        for _ in range(ROUNDS):
            await asyncio.sleep(0)
    connection.connection_lost(None)
    await asyncio.sleep(0)
    # No 100 (Continue) after the body was received (RFC 9110, 10.1.1).
    return b"".join(transport.written).replace(CONTINUE, b"")


names = st.sampled_from(
    ["Host", "X-A", "x-a", "Content-Length", "Transfer-Encoding", "Connection", "Expect", "Upgrade"]
)
values = st.sampled_from(
    ["a", "", "0", "3", "03", "chunked", "close", "keep-alive", "upgrade", "100-continue", "\t b ", "\xff"]
)
heads = st.builds(
    lambda method, target, version, values_sent: (
        f"{method} {target} HTTP/{version}\r\n"
        + "".join(f"{name}: {value}\r\n" for name, value in values_sent)
        + "\r\n"
    ),
    st.sampled_from(["GET", "POST", "HEAD", "CONNECT", "get"]),
    st.sampled_from(["/fast", "/a?b=%20c", "http://h/x", "*", '/"', "h:1"]),
    st.sampled_from(["1.1", "1.1", "1.1", "1.0"]),
    st.lists(st.tuples(names, values), max_size=4),
)
bodies = st.sampled_from(["", "abc", "3\r\nabc\r\n0\r\n\r\n", "0\r\nX-A: trailer\r\n\r\n", "zz\r\n", "\r\n"])
streams = st.lists(st.tuples(heads, bodies).map("".join), min_size=1, max_size=4).map("".join)


SIZED = "POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"
CHUNKED = "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-A: b\r\n\r\n"
FAST = "GET /fast HTTP/1.1\r\n\r\n"


@given(streams, st.lists(st.integers(0, 400), max_size=6))
@example(SIZED + FAST, [20, 40, 41, 50])
@example(CHUNKED + FAST, [70, 75, 80])
@example(FAST + FAST + SIZED, [5, 30])
@example("GET /fast HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n" + FAST, [66, 73])
def test_responses_do_not_depend_on_where_a_stream_is_split(stream: str, cuts: list[int]) -> None:
    data = stream.encode("latin-1")
    places = sorted({0, len(data), *(cut % len(data) for cut in cuts)})
    pieces = [data[start:end] for start, end in itertools.pairwise(places)]

    async def both() -> list[bytes]:
        return [await answers([data]), await answers(pieces)]

    whole, cut = run_in_thread(both())
    assert whole == cut


def test_204_responses_are_sent_together_up_to_a_maximum_and_not_to_closed_connections() -> None:
    async def scenario() -> None:
        server, transport = HttpServer(Echo(), 9), FakeTransport()
        connection = Connection(server)
        connection.connection_made(transport)
        connection.data_received(FAST.encode() * 3)
        assert (len(transport.written), len(server.unsent)) == (0, 3)
        connection.data_received(FAST.encode() * 3 * MAX_UNSENT_RESPONSES)
        assert len(server.unsent) < MAX_UNSENT_RESPONSES
        await asyncio.sleep(0)
        assert (len(transport.written), len(server.unsent)) == (3 + 3 * MAX_UNSENT_RESPONSES, 0)
        connection.data_received(FAST.encode())
        transport.close()
        server.flush()
        assert (len(transport.written), len(server.unsent)) == (3 + 3 * MAX_UNSENT_RESPONSES, 0)

    run_in_thread(scenario())
