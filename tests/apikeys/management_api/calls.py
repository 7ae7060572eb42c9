"""Tokens of the management API, and calls with them."""

import json
from datetime import timedelta
from typing import Any

from django.test import Client
from django.utils import timezone

from apikeys.management_api.scopes import Scope
from apikeys.models import ManagementToken
from tests.support import people

PREFIX = "/manage/v1"


def token(*scopes: Scope, name: str = "back-office", networks: tuple[str, ...] = (people.ADDRESS,)) -> str:
    """Return the text of a new token; with all scopes if none is given."""
    values = [scope.value for scope in scopes or Scope]
    row, text = ManagementToken.new(
        name, scopes=values, networks=list(networks), expires_at=timezone.now() + timedelta(days=1)
    )
    row.save()
    return text


class Office:
    """A program of the back office."""

    def __init__(self, text: str, address: str = people.ADDRESS) -> None:
        self.client: Client = people.browser(address)
        self.headers = {"authorization": f"Bearer {text}"}

    def get(self, path: str, **headers: str) -> Any:
        return self.client.get(PREFIX + path, headers=self._headers(headers))

    def post(self, path: str, body: Any, **headers: str) -> Any:
        text = body if isinstance(body, bytes) else json.dumps(body)
        return self.client.post(
            PREFIX + path, text, content_type="application/json", headers=self._headers(headers)
        )

    def delete(self, path: str, **headers: str) -> Any:
        return self.client.delete(PREFIX + path, headers=self._headers(headers))

    def _headers(self, more: dict[str, str]) -> dict[str, str]:
        return self.headers | {name.replace("_", "-"): value for name, value in more.items()}


def problem(response: Any) -> str:
    """Return the code of a problem document."""
    assert response["Content-Type"] == "application/problem+json"
    document = json.loads(response.content)
    assert document["status"] == response.status_code
    return str(document["type"]).rpartition(":")[2]
