"""An HTTP/1.1 server for the authorization API, on httptools (Node's llhttp) and uvloop.

Why it exists
-------------
A decision takes microseconds, so the server in front of it determines how many requests a process can authorize. With
10,000 keys in turn a request takes 14 µs, of which this server takes 8: sockets, event loop, HTTP parsing. granian, the
fastest packaged server for Python, needs 12 µs for an empty response (20 with its defaults), mostly to pass a request
between its threads and Python's. `make bench` compares them and writes bench/results.md: the gateway with all of its
decisions reached 63,000 requests a second on one core, granian's RSGI with uvloop 79,000 with nothing to do (44,000
with its defaults), and this server 104,000 with nothing to do. docs/gateway.md discusses the figures.

Two things account for the difference. `RequestHandler.handle_fast` is a plain function call out of the parser's
callback, without a task or a request object. And responses that are ready together are sent together
(`HttpServer.schedule_flush`), so a proxy on the same machine is woken once for all of them.

A proxy is always in front of it: it speaks HTTP/1.1 without TLS, belongs on a network that only gateways reach, and
implements nothing that a proxy's sub-request does not need (no HTTP/2, no WebSocket, no compression, no ranges, no
files).

Interface
---------
- `server.RequestHandler`: the protocol that the server calls. `handle_fast` gets method, target, header names and
  values as bytes, and returns the header lines of a 204 response or None; `handle` gets an `messages.HttpRequest`.
  `apikeys.gateway.endpoints.Endpoints` implements it.
- `messages.HttpRequest`: method, path, query string, headers and the body as an asynchronous iterator; one call of
  `respond_empty` or `respond_text`. It knows nothing of sockets, so handlers are tested without them.
- `server.HttpServer`: what the connections of a process share. ``HttpServer(handler, max_connections)``; `tick` once a
  second; `shut_down` at the end.
- `connection.Connection`: the protocol for `asyncio.loop.create_server`: ``lambda: Connection(server)``.

It imports neither Django nor anything else of the gateway, except the outcome whose text goes with a malformed target.

What it must never do
---------------------
- Let a part of one request count for another (request smuggling): bytes of a body or fields of a trailer never become a
  request or headers of the next one. Contradictory lengths are rejected, and a body behind an offer of another protocol
  is parsed as a body.
- Call `handle_fast` for a request before its headers are complete, or send a 204 response to one that has a body.
- Send responses in another order than the requests, or a response after one that said "connection: close".
- Hide a header: `Headers.get_all` returns every occurrence, since two of a kind mean that a client sent one of them.
- Send a header value with a line feed (response splitting).
- Hold unbounded memory for a client: heads, queued requests, buffered bodies, unsent responses and connections all have
  a maximum, and idle connections are closed (constants of `connection`, `messages` and `server`).
- Depend on where the network splits a stream.

How it is tested
----------------
tests/apikeys/gateway/test_connection.py and test_attacks.py hold the rules above, one by one. A property test
(test_split_streams.py) generates streams of well-formed and malformed requests and cuts them at random positions: the
responses must be those of the uncut stream. ``python -m bench.fuzz_gateway --minutes 10`` runs it with 20,000 examples
a round, together with generated queries, headers, bodies and JSON documents that the forms of a request must
parse alike.
"""

__all__ = ["connection", "messages", "server"]
