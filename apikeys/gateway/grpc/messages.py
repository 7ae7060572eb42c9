"""The messages of ``envoy.service.auth.v3.Authorization/Check``: those fields that the gateway reads and writes.

Field numbers: external_auth.proto, attribute_context.proto and base.proto of Envoy's API, version 3, in which they
never change. Other fields of a message are skipped. Why the messages are declared here:
docs/decisions/0026-grpc-ext-authz.md.
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from apikeys.gateway import requests as gateway_requests
from apikeys.gateway import responses
from apikeys.gateway.authorizer import AuthorizationResult
from apikeys.gateway.http.messages import Headers
from apikeys.gateway.requests import AuthorizationRequest, AuthorizationRequestError

_PACKAGE: Final = "portal.ext_authz"
#: Message → its fields: name, number, type. ``*``: repeated. A map is a repeated message of key and value.
_MESSAGES: Final = {
    "Entry": [("key", 1, "string"), ("value", 2, "string")],
    "HeaderValue": [("key", 1, "string"), ("value", 2, "string"), ("raw_value", 3, "bytes")],
    "HeaderMap": [("headers", 1, "*HeaderValue")],
    "HttpRequest": [
        ("method", 2, "string"),
        ("headers", 3, "*Entry"),
        ("path", 4, "string"),
        ("body", 11, "string"),
        ("raw_body", 12, "bytes"),
        ("header_map", 13, "HeaderMap"),
    ],
    "Request": [("http", 2, "HttpRequest")],
    "AttributeContext": [("request", 4, "Request"), ("context_extensions", 10, "*Entry")],
    "CheckRequest": [("attributes", 1, "AttributeContext")],
    "Status": [("code", 1, "int32")],
    "HeaderValueOption": [("header", 1, "HeaderValue"), ("append_action", 3, "int32")],
    "DeniedHttpResponse": [
        ("status", 1, "Status"),
        ("headers", 2, "*HeaderValueOption"),
        ("body", 3, "string"),
    ],
    "OkHttpResponse": [("headers", 2, "*HeaderValueOption"), ("headers_to_remove", 5, "*string")],
    "CheckResponse": [
        ("status", 1, "Status"),
        ("denied_response", 2, "DeniedHttpResponse"),
        ("ok_response", 3, "OkHttpResponse"),
    ],
}
_TYPES: Final = {"string": 9, "bytes": 12, "int32": 5}
_MESSAGE_TYPE: Final = 11
_OPTIONAL, _REPEATED = 1, 3
#: ``google.rpc.Code``.
_OK, _PERMISSION_DENIED = 0, 7
#: ``HeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD``. SECURITY: by default a value is appended to what the client sent.
_OVERWRITE: Final = 2
#: Headers that only the portal may set on the way to the exchange.
_PORTAL_HEADERS: Final = (
    *("x-portal-user", "x-portal-subject", "x-portal-key", "x-portal-permissions", "x-portal-security"),
)


def _message_classes() -> dict[str, Any]:
    # A pool of our own: another package may declare messages of the same names.
    pool = descriptor_pool.DescriptorPool()
    file = descriptor_pb2.FileDescriptorProto(name="ext_authz.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, text in fields:
            kind = text.removeprefix("*")
            added = message.field.add(
                name=field,
                number=number,
                type=_TYPES.get(kind, _MESSAGE_TYPE),
                label=_REPEATED if text.startswith("*") else _OPTIONAL,
            )
            if kind not in _TYPES:
                added.type_name = f".{_PACKAGE}.{kind}"
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
        for name in _MESSAGES
    }


#: The classes of the messages, by name.
MESSAGE_CLASSES: Final = _message_classes()


def decode_request(data: bytes) -> AuthorizationRequest:
    """Parse a ``CheckRequest``. Raise `AuthorizationRequestError`."""
    try:
        attributes = MESSAGE_CLASSES["CheckRequest"].FromString(data).attributes
    except DecodeError:
        raise AuthorizationRequestError("the message is not a CheckRequest") from None
    if attributes.context_extensions:
        # Their author would expect that they say what the route needs.
        raise AuthorizationRequestError("context_extensions are not read: set X-Required-Permission")
    http = attributes.request.http
    # Headers are in ``headers``, or with ``encode_raw_headers`` in ``header_map``. SECURITY: all of both, as they came:
    # one that occurs twice is refused.
    pairs = [(header.key, header.value.encode()) for header in http.headers]
    pairs += [(header.key, header.raw_value or header.value.encode()) for header in http.header_map.headers]
    headers = Headers([name.encode() for name, _value in pairs], [value for _name, value in pairs])
    if http.body and http.raw_body:
        raise AuthorizationRequestError("there are two bodies")
    body = http.raw_body or http.body.encode()
    target = http.path.encode().decode("latin-1")
    return gateway_requests.from_check_message(headers, target, body, method=http.method)


def encode_response(result: AuthorizationResult) -> bytes:
    """Return a ``CheckResponse``.

    SECURITY: the code 0 means that the request is allowed, and is also the value of a field that is absent. An empty
    message would allow the request.
    """
    response = MESSAGE_CLASSES["CheckResponse"]()
    if result.decision.allowed:
        response.status.code = _OK
        headers = responses.allowed_headers(result)
        _add(response.ok_response.headers, headers)
        present = {name for name, _value in headers}
        # SECURITY: what the client sent under these names is no statement of the portal.
        response.ok_response.headers_to_remove.extend(name for name in _PORTAL_HEADERS if name not in present)
    else:
        denied = response.denied_response
        response.status.code = _PERMISSION_DENIED
        denied.status.code = result.decision.status
        _add(denied.headers, [responses.JSON, responses.NO_STORE, *responses.retry_after_headers(result)])
        denied.body = responses.client_body(result)
    encoded: bytes = response.SerializeToString()
    return encoded


def _add(options: Any, headers: list[responses.Header]) -> None:
    for name, value in headers:
        option = options.add(append_action=_OVERWRITE)
        option.header.key, option.header.value = name, value
