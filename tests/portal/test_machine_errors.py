"""Errors below the addresses of machines are JSON, and English whatever language a cookie asks for."""

import json
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
from django.conf import settings
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.utils import translation

from apikeys.client_api import views
from hitobit_portal.http import error_pages
from tests.support.people import browser

PREFIXES = ("/api/", "/sapi/", "/gateway/")
TIME, RESTRICTIONS = "/api/v3/time", "/sapi/v1/account/apiRestrictions"


def in_language(code: str, *, csrf: bool = False) -> Client:
    client = Client(enforce_csrf_checks=csrf, raise_request_exception=False) if csrf else browser()
    client.raise_request_exception = False
    client.cookies[settings.LANGUAGE_COOKIE_NAME] = code
    return client


def same_in_all(ask: Callable[[Client], Any], status: int, code: int = -1000) -> str:
    """The message, which is the same JSON for every language."""
    text = set()
    for language in ("fa", "en", "xx"):
        answer = ask(in_language(language))
        assert answer.status_code == status
        assert answer["Content-Type"] == "application/json"
        assert answer.get("Content-Language", "en") == "en"
        text.add(answer.content)
    (document,) = text
    assert document.isascii()
    assert json.loads(document)["code"] == code
    return str(json.loads(document)["msg"])


@pytest.mark.parametrize(
    "path", [*PREFIXES, "/api/v3/nothing", "/sapi/v1/x", "/gateway/v1/auth", "/api/v3/time/"]
)
def test_address_that_is_none(db: None, path: str) -> None:
    assert same_in_all(lambda client: client.get(path), 404) == "Not found."
    assert same_in_all(lambda client: client.post(path), 404) == "Not found."


@pytest.mark.parametrize("path", [TIME, "/api/v3/ping", RESTRICTIONS])
def test_method_that_is_not_allowed(db: None, path: str) -> None:
    assert same_in_all(lambda client: client.post(path), 405) == "Method not allowed."
    assert in_language("fa").post(path)["Allow"] == "GET"
    # Not asked for a token of a form, which no program has.
    assert in_language("fa", csrf=True).post(path, {"a": "b"}, secure=True).status_code == 405


def test_request_that_django_refuses(db: None) -> None:
    assert same_in_all(lambda client: client.get(TIME, headers={"host": "evil.example"}), 400)
    assert same_in_all(lambda client: client.get(TIME, REMOTE_ADDR="nowhere"), 400)
    assert same_in_all(lambda client: client.get(TIME, headers={"content-length": "x"}), 400)
    assert same_in_all(lambda client: client.get(TIME, headers={"content-length": "9" * 12}), 413)


def test_dependency_that_is_down_and_fault_of_the_portal(db: None) -> None:
    for fault, status in ((OperationalError("secret"), 503), (ValueError("secret"), 500)):
        with mock.patch.object(views, "decide", side_effect=fault):
            msg = same_in_all(lambda client: client.get(RESTRICTIONS), status)
        assert "secret" not in msg


@pytest.mark.parametrize("path", [TIME, RESTRICTIONS, "/gateway/v1/auth"])
@pytest.mark.parametrize("language", ["fa", "en"])
def test_pages_of_errors_are_json_there(path: str, language: str, rf: RequestFactory) -> None:
    """Those that no view of a machine makes today."""
    request = rf.get(path)

    def answered(make: Callable[[HttpRequest], HttpResponse]) -> HttpResponse:
        with translation.override(language):
            return error_pages.for_programs(make)(request)

    refused = answered(error_pages.csrf_failure)
    assert (refused.status_code, json.loads(refused.content)["code"]) == (403, -1000)
    limited = answered(lambda request: error_pages.too_many(request, 30))
    assert (limited.status_code, limited["Retry-After"]) == (429, "30")
    assert json.loads(limited.content) == {"code": -1003, "msg": "Too many requests."}
    away = answered(error_pages.unavailable)
    assert (away.status_code, away["Retry-After"]) == (503, "5")
    for answer in (refused, limited, away):
        assert answer["Content-Type"] == "application/json"
        assert answer.content.isascii()
        assert answer["Content-Length"] == str(len(answer.content))


def test_pages_for_people_stay_pages(db: None) -> None:
    answer = in_language("fa").get("/nothing/")
    assert answer.status_code == 404
    assert answer["Content-Type"].startswith("text/html")
    assert answer["Content-Language"] == "fa"
