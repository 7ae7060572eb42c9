"""Verification of the provider's tokens: ID tokens (OpenID Connect Core 1.0, 3.1.3.7) and logout tokens
(Back-Channel Logout 1.0, 2.6).

joserfc verifies signatures, Authlib the claims; what must be in them, and their values, is said here.
"""

from typing import Any

from authlib.oauth2.claims import JWTClaims
from authlib.oidc.core import CodeIDToken
from django.conf import settings
from joserfc import jwt
from joserfc.errors import BadSignatureError, InvalidKeyIdError, JoseError
from joserfc.jws import JWSRegistry
from joserfc.jwt import Token

from accounts.oidc import provider

#: SECURITY: not what the token or the provider names: with "none" or an HMAC, anybody could sign. EdDSA is left out
#: because its names are in transition (RFC 9864).
ALGORITHMS = tuple(f"{kind}{bits}" for kind in ("RS", "PS", "ES") for bits in (256, 384, 512))
#: How far the clocks of portal and provider may differ.
LEEWAY = 60
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
LOGOUT_TYPES = ("logout+jwt", "application/logout+jwt", "jwt")


class TokenError(Exception):
    """The token is not valid for the portal. ``reason``: the class of the error and a claim's name, for the log."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def verify_id_token(answer: dict[str, Any], nonce: str) -> dict[str, Any]:
    """Return the claims of the ID token in the answer of the token endpoint. Raise `TokenError`."""
    token = _decode(answer.get("id_token"), may_ask=True)
    claims = CodeIDToken(
        token.claims,
        token.header,
        _expected("iss", "aud", "sub"),
        {"nonce": nonce, "client_id": settings.OIDC_CLIENT_ID, "access_token": answer.get("access_token")},
    )
    _validate(claims)
    # SECURITY: Authlib compares the nonce only if one is expected.
    if not nonce or token.claims.get("nonce") != nonce:
        raise TokenError("nonce")
    return dict(token.claims)


def verify_logout_token(text: str, *, may_ask: bool) -> dict[str, Any]:
    """Return the claims of a logout token. Raise `TokenError`.

    ``may_ask``: whether the keys may be fetched again if they do not fit. Anybody can send such a token.
    """
    token = _decode(text, may_ask=may_ask)
    claims = JWTClaims(token.claims, token.header, _expected("iss", "aud", "iat", "exp", "jti", "sub"))
    _validate(claims)
    if str(token.header.get("typ", "jwt")).lower() not in LOGOUT_TYPES:
        raise TokenError("typ")
    # SECURITY: an ID token, which a browser or another client may have seen, is not a logout token.
    if "nonce" in token.claims:
        raise TokenError("nonce")
    events = token.claims.get("events")
    if not isinstance(events, dict) or not isinstance(events.get(LOGOUT_EVENT), dict):
        raise TokenError("events")
    return dict(token.claims)


def _expected(*names: str) -> dict[str, Any]:
    values = {"iss": settings.OIDC_ISSUER, "aud": settings.OIDC_CLIENT_ID}
    return {
        name: {"essential": True, **({"value": values[name]} if name in values else {})} for name in names
    }


def _validate(claims: JWTClaims) -> None:
    reason = ""
    try:
        claims.validate(leeway=LEEWAY)
    except JoseError as error:
        reason = f"{type(error).__name__} {getattr(error, 'claim', '') or ''}".strip()
    except (ValueError, TypeError, KeyError, AttributeError) as error:  # claims of odd types
        reason = type(error).__name__
    if reason:
        # SECURITY: raised here, so that no traceback has the claims in the frames of its context.
        raise TokenError(reason)


def _decode(text: object, *, may_ask: bool) -> Token:
    if not isinstance(text, str) or not text:
        raise TokenError("no token")
    registry = JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
    reason = ""
    for fresh in (False, True):
        try:
            return jwt.decode(text, key=provider.key_set(fresh=fresh), registry=registry)
        except (InvalidKeyIdError, BadSignatureError) as error:
            # The key may have been replaced, also under the same id.
            reason = type(error).__name__
            if not may_ask:
                break
        except (JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
            reason = type(error).__name__
            break
    raise TokenError(reason)
