"""The exchange's OpenID provider: discovery, keys, and the requests to its endpoints.

Authlib builds the requests and checks the discovery document; `hitobit_portal.http.outgoing` sends them. Document and
keys are kept in memory for LIFETIME.

SECURITY: not in the shared cache: whoever could write to it would choose the keys, and so log in as everybody.
"""

import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus

from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.discovery import OpenIDProviderMetadata, get_well_known_url
from django.conf import settings
from django.urls import reverse
from django.utils import translation
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from hitobit_portal.config import parsers
from hitobit_portal.http import outgoing

#: A key that the provider withdraws is accepted for this long.
LIFETIME = 600.0
#: A browser is not sent to a provider that has not answered for this long: the portal's own page says that it is down.
REACHABLE_SECONDS = 15.0
#: After a failure, requests fail at once for this long.
DOWN_SECONDS = 5.0
#: SECURITY: a provider that hangs must not hold all threads of a process: other logins and pages have to go on.
MOST_AT_ONCE = 4
SLOT_SECONDS = 2.0
#: SECURITY: what cannot be a code (RFC 6749, A.11) is not sent: a zero byte, for example, is an error of many servers.
CODE = re.compile(r"[ -~]{1,4096}")
AUTHENTICATION_METHODS = ("client_secret_basic", "client_secret_post")
FORM = {"Content-Type": "application/x-www-form-urlencoded"}

_slots = threading.BoundedSemaphore(MOST_AT_ONCE)
_documents: dict[str, tuple[float, dict[str, Any]]] = {}
_down_until: dict[str, float] = {}


class ProviderDownError(Exception):
    """The provider cannot be used: it does not answer, or what it publishes cannot be used. The text has no secret."""


class CodeRefusedError(Exception):
    """The provider does not give tokens for this code."""


@dataclass(frozen=True)
class Metadata:
    """What the portal uses of the discovery document. ``names_itself``: answers have the parameter ``iss``."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str
    authentication_method: str
    names_itself: bool


def is_configured() -> bool:
    return bool(settings.OIDC_ISSUER)


def redirect_uri() -> str:
    return f"{settings.BASE_URL}{reverse('oidc_callback')}"


def metadata(*, is_beginning: bool = False) -> Metadata:
    """Return the discovery document. Raise `ProviderDownError` if it is not there, or not valid for the issuer.

    ``is_beginning``: a browser is about to be sent to the provider, so it should have answered in REACHABLE_SECONDS.
    """
    url = get_well_known_url(settings.OIDC_ISSUER, external=True)
    document = OpenIDProviderMetadata(
        _document(url, lifetime=REACHABLE_SECONDS if is_beginning else LIFETIME)
    )
    # SECURITY: the issuer is compared with the setting, or a provider could speak for another one.
    if document.get("issuer") != settings.OIDC_ISSUER:
        raise ProviderDownError("discovery: another issuer")
    try:
        document.validate()
    except (ValueError, TypeError, AttributeError):
        raise ProviderDownError("discovery: not valid") from None
    names = ("authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint")
    addresses = {name: document.get(name) for name in names}
    addresses["userinfo_endpoint"] = addresses["userinfo_endpoint"] or ""
    for name, address in addresses.items():
        # Authlib's own check of https can be switched off by a variable of the environment.
        is_absent = name == "userinfo_endpoint" and address == ""
        if not isinstance(address, str) or not (is_absent or parsers.is_protected(address)):
            raise ProviderDownError(f"discovery: {name}")
    offered = document.get("token_endpoint_auth_methods_supported") or AUTHENTICATION_METHODS
    method = next((name for name in AUTHENTICATION_METHODS if name in offered), "")
    if not method:
        raise ProviderDownError("discovery: token_endpoint_auth_methods_supported")
    return Metadata(
        **{name: str(address) for name, address in addresses.items()},
        authentication_method=method,
        names_itself=document.get("authorization_response_iss_parameter_supported") is True,
    )


def key_set(*, fresh: bool = False) -> KeySet:
    """Return the provider's public keys. ``fresh``: ask for them again, because they do not fit a token."""
    document = _document(metadata().jwks_uri, lifetime=0.0 if fresh else LIFETIME)
    try:
        return KeySet.import_key_set(document)  # type: ignore[arg-type]
    except (JoseError, ValueError, TypeError, KeyError, AttributeError):
        raise ProviderDownError("key set: not valid") from None


def authorization_url(*, state: str, nonce: str, verifier: str, prompt: str = "") -> str:
    """Return the provider's page on which the customer logs in. ``prompt``: "login" asks for a new login there."""
    url: str = prepare_grant_uri(
        metadata().authorization_endpoint,
        client_id=settings.OIDC_CLIENT_ID,
        response_type="code",
        redirect_uri=redirect_uri(),
        # Personal data is asked for only if an account may be opened with it.
        scope="openid phone profile" if settings.OIDC_PROVISION else "openid",
        state=state,
        nonce=nonce,
        code_challenge=create_s256_code_challenge(verifier),
        code_challenge_method="S256",
        ui_locales=translation.get_language(),
        **({"prompt": prompt} if prompt else {}),
    )
    return url


def exchange(code: str, verifier: str) -> dict[str, Any]:
    """Return the answer of the token endpoint for ``code``. Raise `CodeRefusedError` or `ProviderDownError`."""
    if not CODE.fullmatch(code):
        raise CodeRefusedError
    known = metadata()
    client = (settings.OIDC_CLIENT_ID, settings.OIDC_CLIENT_SECRET)
    if known.authentication_method == "client_secret_basic":
        client = (
            quote_plus(client[0]),
            quote_plus(client[1]),
        )  # RFC 6749, 2.3.1; Authlib does not encode them
    body = prepare_token_request(
        "authorization_code", redirect_uri=redirect_uri(), code=code, code_verifier=verifier
    )
    url, headers, body = ClientAuth(*client, known.authentication_method).prepare(
        "POST", known.token_endpoint, dict(FORM), body
    )
    answer = _request("POST", url, headers, is_personal=True, content=body)
    if answer.status == 200 and isinstance(answer.content, dict):
        return answer.content
    if answer.status in (400, 401, 403):
        error = answer.content.get("error") if isinstance(answer.content, dict) else None
        # The code was wrong, used or late; everything else is a fault of the configuration or of the provider.
        if error == "invalid_grant":
            raise CodeRefusedError
        raise ProviderDownError(
            "token endpoint: client refused" if error == "invalid_client" else "token endpoint"
        )
    raise ProviderDownError(f"token endpoint: HTTP {answer.status}")


def userinfo(access_token: str) -> dict[str, Any]:
    """Return the claims about the customer that the ID token does not have; {} if the provider gives none."""
    url = metadata().userinfo_endpoint
    if not url:
        return {}
    answer = _request("GET", url, {"Authorization": f"Bearer {access_token}"}, is_personal=True)
    return answer.content if answer.status == 200 and isinstance(answer.content, dict) else {}


def _document(url: str, *, lifetime: float) -> dict[str, Any]:
    at, known = _documents.get(url, (0.0, {}))
    if known and time.monotonic() - at < lifetime:
        return known
    answer = _request("GET", url, {})
    if answer.status != 200 or not isinstance(answer.content, dict):
        raise ProviderDownError(f"document: HTTP {answer.status}")
    _documents[url] = (time.monotonic(), answer.content)
    return answer.content


def _request(
    method: str, url: str, headers: Mapping[str, str], *, is_personal: bool = False, **body: Any
) -> outgoing.JsonAnswer:
    """Send a request, unless the provider is down. ``is_personal``: with a code or a token of one login."""
    if time.monotonic() < _down_until.get(settings.OIDC_ISSUER, 0.0):
        raise ProviderDownError("it did not answer a moment ago")
    with _slot():
        try:
            return outgoing.request(method, url, headers=headers, **body)
        except outgoing.OutgoingError as error:
            reason, has_answered = error.reason, error.has_answered
    # SECURITY: an error as the answer to one login's code does not stop the others: anybody can make a code up.
    if not (is_personal and has_answered):
        _down_until[settings.OIDC_ISSUER] = time.monotonic() + DOWN_SECONDS
    # SECURITY: raised here, so that no traceback has the request with its code and secret as the context.
    raise ProviderDownError(reason)


@contextmanager
def _slot() -> Iterator[None]:
    if not _slots.acquire(timeout=SLOT_SECONDS):
        raise ProviderDownError("too many requests wait for it")
    try:
        yield
    finally:
        _slots.release()
