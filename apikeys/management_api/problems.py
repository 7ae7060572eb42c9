"""Errors as problem documents (RFC 9457)."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse, JsonResponse

CONTENT_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:hitobit-portal:problem:"


class ApiProblem(Exception):
    """A request that is refused. ``code`` names the kind of problem; ``more``: further members of the document."""

    def __init__(
        self, status: int, code: str, title: str, headers: dict[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(title)
        self.status = status
        self.code = code
        self.title = title
        self.headers = headers or {}
        self.more = more

    def response(self) -> HttpResponse:
        document = {"type": TYPE_PREFIX + self.code, "title": self.title, "status": self.status, **self.more}
        response = JsonResponse(document, status=self.status, content_type=CONTENT_TYPE)
        for name, value in self.headers.items():
            response[name] = value
        return response


def invalid(field: str, message: str) -> ApiProblem:
    """Return the problem of one wrong field of a body, a query string or a header."""
    # SECURITY: the value is not repeated: what is in the wrong field may be a secret.
    errors = [{"field": field[:64], "message": message}]
    return ApiProblem(400, "invalid-request", "The request is not as documented.", errors=errors)


def not_found() -> ApiProblem:
    return ApiProblem(404, "not-found", "There is no such object.")
