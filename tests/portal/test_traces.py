"""OpenTelemetry traces: a real collector's end of OTLP/HTTP receives them, and nothing secret is in them."""

import json
import os
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.portal.test_settings import manage
from tests.support.live_portal import LivePortal

SECONDS = 60.0
#: What a span has, and nothing else.
OF_REQUESTS = {"http.request.method", "http.route", "http.response.status_code", "portal.request_id"}
OF_STATEMENTS = {"db.system.name", "db.operation.name"}
PHONE, PASSWORD, LINK, QUERY, AGENT = (
    "09129876543",
    "Pa55w0rdCanary",
    "L1nkCanary",
    "Qu3ryCanary",
    "Ag3ntCanary",
)
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class Receiver(BaseHTTPRequestHandler):
    """OTLP/HTTP with protobuf, as a collector takes it."""

    bodies: list[bytes]
    headers_seen: list[dict[str, str]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.path == "/v1/traces"
        assert self.headers["Content-Type"] == "application/x-protobuf"
        self.bodies.append(body)
        self.headers_seen.append({name.lower(): value for name, value in self.headers.items()})
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_arguments: Any) -> None:
        pass


class Traced:
    """A portal that sends its traces, and what arrived of them."""

    def __init__(self, directory: Path) -> None:
        self.receiver = Receiver
        Receiver.bodies, Receiver.headers_seen = [], []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self.receiver)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        environ = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.server.server_port}/",
            "OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Bearer%20of-the-collector",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "PORTAL_LOG_FORMAT": "json",
            "PORTAL_LOG_LEVEL": "INFO",
        }
        self.portal = LivePortal(directory, environ)
        self.answers: dict[str, httpx.Response] = {}

    def spans(self) -> list[Span]:
        return [
            span
            for body in self.receiver.bodies
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def of_request(self, request_id: str) -> Span:
        """The span of a request; waits for it."""
        deadline = time.monotonic() + SECONDS
        while True:
            for span in self.spans():
                if attributes(span).get("portal.request_id") == request_id:
                    return span
            assert time.monotonic() < deadline, [span.name for span in self.spans()]
            time.sleep(0.1)


def attributes(span: Span) -> dict[str, str | int]:
    return {
        each.key: each.value.string_value if each.value.HasField("string_value") else each.value.int_value
        for each in span.attributes
    }


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    traced = Traced(tmp_path_factory.mktemp("traced"))
    traced.portal.start()
    with httpx.Client(base_url=traced.portal.url, timeout=60, trust_env=False) as client:
        client.headers.update({"User-Agent": AGENT, "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"})
        page = client.get("/login/", params={"next": f"/{QUERY}/"})
        token = page.text.split('name="csrfmiddlewaretoken" value="')[1].split('"')[0]
        form = {"csrfmiddlewaretoken": token, "phone": PHONE, "password": PASSWORD}
        login = client.post("/login/", data=form, headers={"Referer": f"{traced.portal.url}/login/"})
        link = client.get(f"/n/{LINK}/")
        nowhere = client.get(f"/nowhere/{LINK}/?a={QUERY}")
        ready = client.get("/readyz")
    traced.answers = {"page": page, "login": login, "link": link, "nowhere": nowhere, "ready": ready}
    yield traced
    traced.portal.stop()
    traced.server.shutdown()
    traced.server.server_close()


def test_a_request_is_a_span_with_the_id_of_the_log_and_its_statements_are_its_children(
    traced: Traced,
) -> None:
    answers = traced.answers
    login = traced.of_request(answers["login"].headers["X-Request-Id"])
    assert (login.name, attributes(login)["http.route"]) == ("POST /login/", "/login/")
    assert attributes(login)["http.response.status_code"] == answers["login"].status_code == 200
    children = [span for span in traced.spans() if span.parent_span_id == login.span_id]
    assert (
        {"SELECT"}
        <= {span.name for span in children}
        <= {"SELECT", "INSERT", "UPDATE", "SAVEPOINT", "RELEASE", "_OTHER"}
    )
    link = traced.of_request(answers["link"].headers["X-Request-Id"])
    assert link.name.startswith("GET /n/<")
    nowhere = traced.of_request(answers["nowhere"].headers["X-Request-Id"])
    assert (nowhere.name, attributes(nowhere)["http.response.status_code"]) == ("GET", 404)
    logged = [
        json.loads(line) for line in traced.portal.log.read_text("utf-8").splitlines() if line[:1] == "{"
    ]
    ids = {line["request"] for line in logged if line["message"].startswith("Not Found")}
    assert attributes(nowhere)["portal.request_id"] in ids
    assert not [span for span in traced.spans() if "readyz" in span.name], "probes are not traced"


def test_nothing_but_what_is_listed_is_in_a_span(traced: Traced) -> None:
    for response in traced.answers.values():
        if "X-Request-Id" in response.headers:
            traced.of_request(response.headers["X-Request-Id"])
    for span in traced.spans():
        assert set(attributes(span)) in (OF_REQUESTS, OF_REQUESTS - {"http.route"}, OF_STATEMENTS), span.name
        assert not span.events
        assert not span.links
        assert span.trace_id.hex() != TRACE, "callers do not write into other people's traces"
    everything = b"".join(traced.receiver.bodies)
    for canary in (
        PHONE,
        PHONE[1:],
        PASSWORD,
        LINK,
        QUERY,
        AGENT,
        "of-the-collector",
        "accounts_user",
        "127.0.0.1",
    ):
        assert canary.encode() not in everything, canary


def test_the_collector_gets_the_headers_and_the_name_of_the_service(traced: Traced) -> None:
    traced.of_request(traced.answers["page"].headers["X-Request-Id"])
    assert {seen["authorization"] for seen in traced.receiver.headers_seen} == {"Bearer of-the-collector"}
    resource = ExportTraceServiceRequest.FromString(traced.receiver.bodies[0]).resource_spans[0].resource
    values = {each.key: each.value.string_value for each in resource.attributes}
    assert values["service.name"] == "hitobit-portal"
    assert not [name for name in values if name.startswith(("process.", "host."))]


def test_without_the_packages_the_portal_does_not_start_with_the_setting(tmp_path: Path) -> None:
    (tmp_path / "opentelemetry").mkdir()
    (tmp_path / "opentelemetry/__init__.py").touch()
    values: dict[str, str | None] = {"PYTHONPATH": str(tmp_path), "PYTHONSAFEPATH": None}
    assert "opentelemetry" not in os.environ.get("PYTHONPATH", "")
    result = manage(tmp_path, {**values, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, "check")
    assert "portal.E011" in result.stderr
    assert "requirements-otel.txt" in result.stderr
    assert manage(tmp_path, values, "check").returncode == 0


def test_a_password_in_the_address_is_refused(tmp_path: Path) -> None:
    result = manage(tmp_path, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://me:secret@127.0.0.1:4318"}, "check")
    assert "OTEL_EXPORTER_OTLP_ENDPOINT: It is not" in result.stderr
    assert "secret" not in result.stderr.replace("secret-key", "")
