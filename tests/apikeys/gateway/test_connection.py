"""The HTTP server over real sockets, with a request handler of the test."""

import asyncio
import gc

import pytest

from apikeys.gateway.http.connection import (
    MAX_DISCARDED_BYTES,
    MAX_HEAD_BYTES,
    MAX_REQUESTS_PER_READ,
    Connection,
)
from apikeys.gateway.http.messages import BODY_BUFFER_BYTES
from apikeys.gateway.http.server import IDLE_TIMEOUT_SECONDS
from tests.support.gateway_connections import (
    CHUNKED,
    FAST,
    LARGE,
    LAST,
    SLOW,
    RunningServer,
    read_to_end,
    settle,
    statuses,
    with_server,
)


@with_server
async def test_trailer_fields_are_not_headers_of_the_next_request(running: RunningServer) -> None:
    ends = [b"0\r\nX-T: v\r\n\r\n", b"0\r\nX-T:\r\nX-U: v\r\n\r\n"]
    for path in (b"/echo", b"/unread"):
        for end in ends:
            await running.talk(CHUNKED % path + b"1\r\na\r\n" + end + FAST + LAST)
            await running.talk(CHUNKED % path + b"1\r\na\r\n" + end[:-3], end[-3:] + FAST + LAST)
    assert running.endpoints.paths.count("/last") == 6
    assert not running.endpoints.trailers
    await running.talk(CHUNKED % b"/echo" + b"1\r\na\r\n" + ends[0], FAST, LAST)
    assert running.endpoints.fast_header_names == [[]]


@with_server
async def test_endless_trailer_is_rejected(running: RunningServer) -> None:
    endless = b"\r\n0\r\nX-T: "
    endless += b"a" * (MAX_HEAD_BYTES + 1 - len(endless))
    assert statuses(await running.talk(CHUNKED % b"/echo" + b"1\r\na", endless)) == [400]
    assert statuses(await running.talk(CHUNKED % b"/unread" + b"1\r\na", endless)) == [200]


@with_server
async def test_responses_come_in_the_order_of_the_requests(running: RunningServer) -> None:
    reader, writer = await running.open(SLOW + FAST + b"GET /a HTTP/1.1\r\n\r\n" + FAST)
    writer.write(FAST + LAST)
    await settle()
    assert running.endpoints.paths == ["/slow"]
    running.endpoints.gate.set()
    answers = await read_to_end(reader, writer)
    bodies = [answer.rpartition(b"\r\n\r\n")[2] for answer in answers.split(b"HTTP/1.1 ")[1:]]
    assert bodies == [b"/slow", b"/fast", b"/a", b"/fast", b"/fast", b"/last"]
    assert statuses(await running.talk(FAST + b"GET /a HTTP/1.1\r\n\r\n" + LAST)) == [204, 200, 200]


@with_server
async def test_body_is_received_completely(running: RunningServer) -> None:
    large = bytes(range(256)) * (BODY_BUFFER_BYTES * 8 // 256)
    for body in (b"", b"abc", large):
        length = b"POST /echo HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body)
        await running.talk(length + body + LAST)
        await running.talk(length, body[:1], body[1:-1], body[-1:] + LAST)
        pieces = [body[at : at + 50_000] for at in range(0, len(body), 50_000)]
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        await running.talk(CHUNKED % b"/echo" + chunks + b"0\r\n\r\n" + LAST)
        assert running.endpoints.bodies == [body] * 3
        running.endpoints.bodies.clear()


@with_server
async def test_body_behind_a_slow_request_is_buffered_and_received_completely(running: RunningServer) -> None:
    body = b"b" * 8_000_000
    reader, writer = await running.open(
        SLOW + b"POST /echo HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body)
    )
    writer.write(body + LAST)
    await settle()
    (connection,) = running.server.connections
    assert connection._receiving is not None
    assert BODY_BUFFER_BYTES <= connection._receiving._buffered < BODY_BUFFER_BYTES + 500_000
    running.endpoints.gate.set()
    assert statuses(await read_to_end(reader, writer)) == [200, 200, 200]
    assert running.endpoints.bodies == [body]


@with_server
async def test_unread_body_does_not_delay_the_response_and_closes_the_connection(
    running: RunningServer,
) -> None:
    body = b"b" * (MAX_DISCARDED_BYTES - 1)
    length = b"POST /unread HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body)
    for pieces in ((length, body), (length + body,)):
        answer = await running.talk(*pieces[:-1], pieces[-1] + FAST + LAST)
        assert statuses(answer) == [200]
        assert b"connection: close" in answer
    assert not running.endpoints.fast_header_names
    assert "/last" not in running.endpoints.paths


@with_server
async def test_no_response_follows_one_with_connection_close(running: RunningServer) -> None:
    assert statuses(await running.talk(CHUNKED % b"/unread" + b"1\r\na", b"no chunk\r\n")) == [200]


@with_server
async def test_continue_is_sent_only_when_the_body_is_read(running: RunningServer) -> None:
    head = b" HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    assert statuses(await running.talk(b"POST /echo" + head, b"abc" + LAST)) == [100, 200, 200]
    assert statuses(await running.talk(b"POST /unread" + head, b"abc")) == [200]
    assert statuses(await running.talk(b"POST /echo" + head.replace(b"1.1", b"1.0"), b"abc")) == [200]


@with_server
async def test_body_behind_an_upgrade_is_not_parsed_as_a_request(running: RunningServer) -> None:
    for framing in (b"Content-Length: %d\r\n\r\n" % len(FAST), b"Transfer-Encoding: chunked\r\n\r\n17\r\n"):
        assert statuses(await running.talk(b"CONNECT a:1 HTTP/1.1\r\n" + framing + FAST)) == [400]
    assert not running.endpoints.fast_header_names
    assert not running.endpoints.paths


@with_server
async def test_upgrade_offer_is_ignored_and_its_body_is_read(running: RunningServer) -> None:
    upgrade = b"POST /echo HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUPGRADE: h2c\r\nHTTP2-Settings: AA\r\n"
    sized = upgrade + b"Content-Length: %d\r\n\r\n" % len(FAST)
    chunked = upgrade + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(FAST)
    stream = sized + FAST + chunked + FAST + b"\r\n0\r\n\r\n" + sized + FAST + LAST
    for pieces in ((stream,), (sized, FAST, stream[len(sized + FAST) :])):
        assert statuses(await running.talk(*pieces)) == [200] * 4
    assert running.endpoints.bodies == [FAST] * 6
    assert not running.endpoints.fast_header_names
    assert statuses(await running.talk((upgrade + b"\r\n") * 200 + FAST + LAST)) == [200] * 202


@with_server
async def test_request_with_an_upgrade_offer_has_the_same_size_limit(running: RunningServer) -> None:
    head = b"POST /echo HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 1\r\nX: "
    whole = head + b"a" * (MAX_HEAD_BYTES - len(head) - 4) + b"\r\n\r\n"
    assert statuses(await running.talk(whole, b"b" + LAST)) == [200, 200]


@with_server
async def test_head_has_no_body_and_old_clients_are_closed(running: RunningServer) -> None:
    answer = await running.talk(b"HEAD /a HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert b"content-length: 2" in answer
    assert answer.endswith(b"\r\n\r\n")
    assert b"connection: close" in await running.talk(b"GET /a HTTP/1.0\r\n\r\n")
    old = (CHUNKED % b"/echo").replace(b"1.1\r\n", b"1.0\r\nConnection: keep-alive\r\n")
    assert statuses(await running.talk(old + b"0\r\n\r\n" + FAST)) == [200]


@with_server
async def test_oversized_head_is_rejected(running: RunningServer) -> None:
    head = b"GET /a HTTP/1.1\r\nX: "
    assert statuses(await running.talk(head + b"a" * (MAX_HEAD_BYTES + 1 - len(head)))) == [431]


@with_server
async def test_malformed_http_is_rejected_after_the_pending_responses(running: RunningServer) -> None:
    reader, writer = await running.open(SLOW + FAST + b"no HTTP\r\n\r\n")
    running.endpoints.gate.set()
    assert statuses(await read_to_end(reader, writer)) == [200, 200, 400]
    assert statuses(await running.talk(FAST + b"GET / HTTP/1.1\nX: a\n\n")) == [204, 400]


def test_exception_of_the_handler_is_logged_and_closes_one_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    @with_server
    async def check(running: RunningServer) -> None:
        for path in (b"/boom", b"/bad"):
            assert statuses(await running.talk(FAST + b"GET %b HTTP/1.1\r\n\r\n" % path + FAST)) == [204, 500]
        assert statuses(await running.talk(FAST + LAST)) == [204, 200]

    check()
    assert [record.args for record in caplog.records] == [("ValueError",), ("LookupError",)]


@with_server
async def test_line_feed_in_a_value_does_not_begin_a_header(running: RunningServer) -> None:
    answer = await running.talk(b"GET /split HTTP/1.1\r\n\r\n" + LAST)
    assert b"x-good: yes" in answer
    assert b"x-bad" not in answer
    assert b"x-portal-user" not in answer


@with_server
async def test_idle_connection_is_closed_and_a_waiting_one_is_not(running: RunningServer) -> None:
    silent = [await running.open(data) for data in (b"", FAST, b"GET / HTTP/1.1\r\nX", CHUNKED % b"/unread")]
    waiting = await running.open(SLOW)
    for _ in range(IDLE_TIMEOUT_SECONDS + 1):
        running.server.tick()
    assert [statuses(await read_to_end(*peer)) for peer in silent] == [[], [204], [], [200]]
    running.endpoints.gate.set()
    waiting[1].write(LAST)
    assert statuses(await read_to_end(*waiting)) == [200, 200]


@with_server
async def test_connections_above_the_maximum_are_closed_at_once(running: RunningServer) -> None:
    running.server.max_connections = 1
    first = await running.open(FAST)
    assert await running.talk(FAST) == b""
    first[1].write(LAST)
    assert statuses(await read_to_end(*first)) == [204, 200]
    assert statuses(await running.talk(LAST)) == [200]


@with_server
async def test_client_that_never_reads_does_not_grow_buffers(running: RunningServer) -> None:
    _reader, writer = await running.open()
    for _ in range(40):
        writer.write(b"GET /large HTTP/1.1\r\n\r\n" * 100)
        await asyncio.sleep(0.005)
    (connection,) = running.server.connections
    assert len(running.endpoints.paths) < 4_000
    assert connection._transport.get_write_buffer_size() < (MAX_REQUESTS_PER_READ + 50) * len(LARGE)
    writer.close()


@with_server
async def test_requests_of_one_read_are_bounded(running: RunningServer) -> None:
    reader, writer = await running.open(SLOW + b"GET /a HTTP/1.1\r\n\r\n" * 1_000)
    running.endpoints.gate.set()
    assert statuses(await read_to_end(reader, writer)) == [200] * (1 + MAX_REQUESTS_PER_READ) + [429]


@with_server
async def test_shutdown_sends_the_pending_response(running: RunningServer) -> None:
    idle, waiting = await running.open(FAST), await running.open(SLOW)
    running.server.shut_down()
    assert statuses(await read_to_end(*idle)) == [204]
    running.endpoints.gate.set()
    assert statuses(await read_to_end(*waiting)) == [200]
    assert await running.talk(FAST) == b""


@with_server
async def test_lost_connection_leaves_no_objects(running: RunningServer) -> None:
    gc.collect()
    gc.disable()
    try:
        for data in (FAST, CHUNKED % b"/echo", CHUNKED % b"/unread", SLOW + FAST, b"GET", b"no HTTP\r\n"):
            _reader, writer = await running.open(data)
            writer.transport.abort()
        running.endpoints.gate.set()
        await settle()
        assert not any(type(one) is Connection for one in gc.get_objects())
    finally:
        gc.enable()
