"""The OpenAPI document (3.1) of the machine door."""

import functools
import json
from typing import Any

from apikeys.gateway.requests import MAX_BATCH_SIZE

_STRING = {"type": "string"}
_REQUEST = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "api_key": {"type": ["string", "null"], "description": "The header X-MBX-APIKEY as received."},
        "method": {"type": ["string", "null"]},
        "path": {
            "type": ["string", "null"],
            "pattern": "^[^?#]*$",
            "description": "Without the query string.",
        },
        "query": {"type": ["string", "null"], "description": "The raw query string, without '?'."},
        "body": {"type": ["string", "null"], "description": "The raw body."},
        "client_ip": {
            "type": ["string", "null"],
            "description": "The source address; without it nothing passes.",
        },
        "permission": {"type": ["string", "null"], "description": "read (default), trade or withdraw."},
    },
}
_DECISION = {
    "oneOf": [
        {
            "type": "object",
            "additionalProperties": False,
            "required": ["allowed", "user", "key", "permissions"],
            "properties": {
                "allowed": {"const": True},
                "user": _STRING,
                "key": _STRING,
                "permissions": {"type": "array", "items": {"enum": ["read", "trade", "withdraw"]}},
            },
        },
        {
            "type": "object",
            "additionalProperties": False,
            "required": ["allowed", "status", "code", "msg"],
            "properties": {
                "allowed": {"const": False},
                "status": {"type": "integer", "description": "The HTTP status for the client."},
                "code": {"type": "integer"},
                "msg": _STRING,
                "retry_after": {"type": "integer", "description": "Seconds, with code -1003."},
            },
        },
    ]
}
_CLIENT_BODY = {
    "type": "object",
    "required": ["code", "msg"],
    "properties": {"code": {"type": "integer"}, "msg": _STRING},
}


def _header(name: str, required: bool = False, description: str = "") -> dict[str, Any]:
    return {"name": name, "in": "header", "required": required, "schema": _STRING, "description": description}


_SOURCE = [
    _header("X-MBX-APIKEY"),
    _header("X-Client-IP", description="The source address; else the last X-Forwarded-For."),
    _header("X-Required-Permission", description="read (default), trade or withdraw."),
]
_NOBODY = {"403": {"description": "Without a gateway token: empty."}}
_AWAY = {"503": {"description": "The database can't be asked; nothing passes. Retry-After: 1."}}


def _json(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _envoy(method: str) -> dict[str, Any]:
    answers = {code: _json(f"Refused: {code}.", _CLIENT_BODY) for code in ("400", "401", "413", "429")}
    return {
        "operationId": f"envoy_{method}",
        "summary": "Envoy's ext_authz over HTTP: the original method, query, headers and body.",
        "parameters": [
            {"name": "path", "in": "path", "required": True, "schema": _STRING},
            *_SOURCE,
        ],
        "responses": {
            "200": {"description": "It may pass."},
            **answers,
            **_NOBODY,
            **_AWAY,
            "408": {"description": "Too slow."},
        },
    }


def _auth(method: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": f"auth_{method}",
        "summary": "As a sub-request of a proxy: 204, or 401/403 with X-Portal-* headers.",
        "parameters": [*_SOURCE, _header("X-Original-URI"), _header("X-Forwarded-Uri")],
        "responses": {
            "204": {"description": "It may pass: X-Portal-User, -Key, -Permissions."},
            "401": {"description": "Refused: X-Portal-Code, -Status, -Message."},
            "403": {"description": "Refused likewise; empty and without these: no gateway token."},
            **_AWAY,
        },
    }
    if method == "post":
        found["requestBody"] = {
            "description": "The original request's body, which is part of what is signed. Others may have one, too.",
            "content": {"application/x-www-form-urlencoded": {"schema": {"type": "object"}}},
        }
        found["responses"] |= {
            "408": {"description": "Too slow."},
            "413": {"description": "Too large."},
        }
    return found


def document() -> dict[str, Any]:
    """As Python values."""
    batch = {
        "type": "object",
        "additionalProperties": False,
        "required": ["requests"],
        "properties": {
            "requests": {"type": "array", "minItems": 1, "maxItems": MAX_BATCH_SIZE, "items": _REQUEST}
        },
    }
    decisions = {
        "type": "object",
        "required": ["decisions"],
        "properties": {"decisions": {"type": "array", "items": _DECISION}},
    }
    error = {"type": "object", "required": ["error"], "properties": {"error": _STRING}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Hitobit API portal: gateways", "version": "1"},
        "security": [{"gateway": []}],
        "components": {"securitySchemes": {"gateway": {"type": "http", "scheme": "bearer"}}},
        "paths": {
            "/gateway/v1/auth": {method: _auth(method) for method in ("get", "head", "post")},
            "/gateway/v1/authorize": {
                "post": {
                    "operationId": "authorize",
                    "requestBody": {
                        "required": True,
                        "content": {"application/json": {"schema": {"anyOf": [_REQUEST, batch]}}},
                    },
                    "responses": {
                        "200": _json("Decided.", {"anyOf": [_DECISION, decisions]}),
                        "400": _json("The question is not as documented.", error),
                        "408": {"description": "Too slow."},
                        "413": {"description": "Too large."},
                        **_NOBODY,
                        **_AWAY,
                    },
                }
            },
            "/gateway/v1/envoy/{path}": {
                method: _envoy(method) for method in ("get", "post", "put", "delete", "patch")
            },
            "/gateway/v1/openapi.json": {
                "get": {
                    "operationId": "openapi",
                    "responses": {"200": _json("This document.", {"type": "object"}), **_NOBODY},
                },
                "head": {
                    "operationId": "openapi_head",
                    "responses": {"200": {"description": "As for GET, without the document."}, **_NOBODY},
                },
            },
        },
    }


@functools.cache
def text() -> str:
    return json.dumps(document())
