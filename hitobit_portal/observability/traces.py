"""OpenTelemetry traces of the portal's requests, sent over OTLP/HTTP if `OTEL_EXPORTER_OTLP_ENDPOINT` is set.

The packages are optional (requirements-otel.txt).

SECURITY: a span says only what is written here. The usual instrumentations record addresses of pages (one-time links,
queries), statements, headers and texts of exceptions, where secrets, codes and phone numbers are.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.db import connection
from django.http import HttpRequest, HttpResponse

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"}
#: First words of statements; any other is not shown.
OPERATIONS = {"SELECT", "INSERT", "UPDATE", "DELETE", "COPY", "SAVEPOINT", "RELEASE", "ROLLBACK", "WITH"}
OTHER = "_OTHER"
_tracer: Tracer | None = None


def has_packages() -> bool:
    """Return whether the packages in requirements-otel.txt are installed."""
    try:
        return all(
            importlib.util.find_spec(name) is not None
            for name in ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http.trace_exporter")
        )
    except ModuleNotFoundError:  # opentelemetry
        return False


def start(endpoint: str, headers: str) -> None:
    """Send traces of this process to the collector at ``endpoint``. ``headers``: ``name=value,...``, URL-encoded.

    The SDK reads its other variables itself: OTEL_TRACES_SAMPLER, OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, ...
    """
    global _tracer
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.util.re import parse_env_headers

    named = Resource({"service.name": "hitobit-portal"})
    provider = TracerProvider(resource=named.merge(OTELResourceDetector().detect()))
    exporter = OTLPSpanExporter(
        endpoint=f"{endpoint.rstrip('/')}/v1/traces", headers=dict(parse_env_headers(headers, liberal=True))
    )
    provider.add_span_processor(BatchSpanProcessor(exporter))
    _tracer = provider.get_tracer("hitobit_portal")


def middleware(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Record a span for each request, and one for each of its statements, with the id that the log has.

    After `hitobit_portal.http.middleware.request_context`. SECURITY: a ``traceparent`` from outside is not continued:
    callers would choose which of their requests are sampled, and write into other people's traces.
    """

    def traced(request: HttpRequest) -> HttpResponse:
        if _tracer is None:
            return get_response(request)
        from opentelemetry.context import Context
        from opentelemetry.trace import SpanKind, Status, StatusCode

        method = request.method if request.method in METHODS else OTHER
        with (
            _tracer.start_as_current_span(
                str(method), Context(), SpanKind.SERVER, record_exception=False, set_status_on_exception=False
            ) as span,
            connection.execute_wrapper(_statement),
        ):
            span.set_attribute("http.request.method", str(method))
            span.set_attribute("portal.request_id", request.request_id)  # type: ignore[attr-defined]
            response = get_response(request)
            if request.resolver_match is not None:
                # The pattern, such as keys/<uuid:pk>/, and not the path.
                route = f"/{request.resolver_match.route}"
                span.update_name(f"{method} {route}")
                span.set_attribute("http.route", route)
            span.set_attribute("http.response.status_code", response.status_code)
            if response.status_code >= 500:
                span.set_status(Status(StatusCode.ERROR))
            return response

    return traced


def _statement(
    execute: Callable[[str, Any, bool, dict[str, Any]], Any],
    sql: str,
    params: Any,
    many: bool,
    context: dict[str, Any],
) -> Any:
    """Django's hook around each statement."""
    if _tracer is None:
        return execute(sql, params, many, context)
    from opentelemetry.trace import SpanKind

    word = str(sql).lstrip(" (\n").partition(" ")[0].upper()
    operation = word if word in OPERATIONS else OTHER
    with _tracer.start_as_current_span(
        operation, kind=SpanKind.CLIENT, record_exception=False, set_status_on_exception=False
    ) as span:
        span.set_attribute("db.system.name", connection.vendor)
        span.set_attribute("db.operation.name", operation)
        return execute(sql, params, many, context)
