"""The paths of the management API. `RESOURCES` is the list that its document and its tests are compared with."""

from __future__ import annotations

import json
import re
from pathlib import Path

from django.urls import URLPattern, path

from apikeys.management_api import keys, records, requests, users, webhooks
from apikeys.management_api.endpoints import Answer, Call, Operation, resource
from apikeys.management_api.scopes import Scope

PREFIX = "manage/v1"
DOCUMENT = Path(__file__).with_name("openapi.json")
PAGE = ("after", "limit")
STOP = ("reason",)


def openapi(call: Call) -> Answer:
    return 200, json.loads(DOCUMENT.read_text(encoding="utf-8"))


def _get(run: object, scope: Scope | None, *query: str, is_polled: bool = False) -> Operation:
    return Operation("GET", run, scope, query, is_polled=is_polled)  # type: ignore[arg-type]


def _post(run: object, scope: Scope, *fields: str) -> Operation:
    return Operation("POST", run, scope, fields=fields)  # type: ignore[arg-type]


def _delete(run: object, scope: Scope) -> Operation:
    return Operation("DELETE", run, scope)  # type: ignore[arg-type]


RESOURCES: dict[str, tuple[Operation, ...]] = {
    "/openapi.json": (_get(openapi, None),),
    "/users": (
        _get(users.list_users, Scope.USERS_READ, *PAGE, "external_id"),
        _post(users.create_user, Scope.USERS_WRITE, *users.NEW_FIELDS),
    ),
    "/users/{user_id}": (_get(users.get_user, Scope.USERS_READ),),
    "/users/{user_id}/freeze": (_post(users.freeze_user, Scope.USERS_STOP, *STOP),),
    "/users/{user_id}/close": (_post(users.close_user, Scope.USERS_STOP, *STOP),),
    "/users/{user_id}/key-requests": (
        _get(requests.list_key_requests, Scope.KEYS_READ, *PAGE),
        _post(requests.make_key_request, Scope.REQUESTS_WRITE, *requests.KEY_FIELDS),
    ),
    "/users/{user_id}/key-requests/{request_id}": (
        _get(requests.get_key_request, Scope.KEYS_READ),
        _delete(requests.cancel_key_request, Scope.REQUESTS_WRITE),
    ),
    "/users/{user_id}/thaw-requests": (_post(requests.request_thaw, Scope.REQUESTS_WRITE),),
    "/keys": (_get(keys.list_keys, Scope.KEYS_READ, *PAGE, "user"),),
    "/keys/revoke": (_post(keys.revoke_keys, Scope.KEYS_STOP, *STOP, "keys", "user", "dry_run"),),
    "/keys/{key_id}": (_get(keys.get_key, Scope.KEYS_READ),),
    "/keys/{key_id}/usage": (_get(keys.key_usage, Scope.KEYS_READ),),
    "/keys/{key_id}/pause": (_post(keys.pause_key, Scope.KEYS_STOP, *STOP),),
    "/keys/{key_id}/revoke": (_post(keys.revoke_key, Scope.KEYS_STOP, *STOP),),
    "/events": (_get(records.list_events, Scope.EVENTS_READ, *PAGE, is_polled=True),),
    "/sms-deliveries": (_get(records.list_deliveries, Scope.SMS_READ, *PAGE),),
    "/webhooks": (_get(webhooks.list_webhooks, Scope.WEBHOOKS_READ),),
    "/webhooks/{webhook_id}": (_get(webhooks.get_webhook, Scope.WEBHOOKS_READ),),
    "/webhooks/{webhook_id}/deliveries": (_get(webhooks.list_deliveries, Scope.WEBHOOKS_READ, *PAGE),),
    "/webhooks/{webhook_id}/test": (_post(webhooks.send_test, Scope.WEBHOOKS_SEND),),
    "/webhooks/{webhook_id}/resend": (_post(webhooks.resend, Scope.WEBHOOKS_SEND, "numbers"),),
}
_CONVERTERS = {
    "user_id": "<int:user_id>",
    "key_id": "<uuid:key_id>",
    "request_id": "<int:request_id>",
    "webhook_id": "<uuid:webhook_id>",
}


def patterns(resources: dict[str, tuple[Operation, ...]]) -> list[URLPattern]:
    return [
        path(
            PREFIX + re.sub(r"{(\w+)}", lambda name: _CONVERTERS[name[1]], place),
            resource(place, *operations),
        )
        for place, operations in resources.items()
    ]


urlpatterns = patterns(RESOURCES)
