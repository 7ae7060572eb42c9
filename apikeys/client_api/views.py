"""Endpoints that the portal serves to clients itself."""

import re
import time

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET

from accounts.access.decorators import public
from apikeys.actions import key_loader
from apikeys.models import ApiKey
from apikeys.policy.choices import IpPolicy
from apikeys.usage import recorder
from apikeys.usage.request_line import RequestLine
from apikeys.verification import decision as verification_decision
from apikeys.verification.outcomes import Outcome
from hitobit_portal import background
from hitobit_portal.http.context import address_of

MAX_BODY = 65_536  # a megabyte of "&" takes 1.5 s to parse


@public
@csrf_exempt
@require_GET
def ping(request: HttpRequest) -> HttpResponse:
    return JsonResponse({})


@public
@csrf_exempt
@require_GET
def server_time(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"serverTime": now_ms()})


@public
@csrf_exempt
@require_GET
def api_restrictions(request: HttpRequest) -> HttpResponse:
    """``GET /sapi/v1/account/apiRestrictions``: return the permissions of the calling key."""
    length = request.META.get("CONTENT_LENGTH") or "0"
    if not re.fullmatch("[0-9]{1,5}", length) or int(length) > MAX_BODY:
        return JsonResponse({"code": -1000, "msg": "The request body is too large."}, status=413)
    decision = decide(request, "read")
    if not decision.allowed:
        return JsonResponse({"code": decision.code, "msg": decision.msg}, status=decision.status)
    key = ApiKey.objects.select_related("owner").get(key_id=request.headers["X-MBX-APIKEY"])
    # Report the permissions that are effective now.
    reads_only = key.owner.in_quarantine or key.shown_state == "degraded"
    never = ("InternalTransfer", "Margin", "Futures", "VanillaOptions", "PortfolioMarginTrading")
    ends = [end for end in (key.expires_at, key.trade_until) if end is not None and key.can_trade]
    return JsonResponse(
        {
            "ipRestrict": key.ip_policy != IpPolicy.UNRESTRICTED,
            "createTime": int(key.created_at.timestamp() * 1000),
            "enableReading": key.can_read,
            "enableSpotAndMarginTrading": key.can_trade and not (reads_only or key.trade_has_ended),
            "enableWithdrawals": key.can_withdraw and not reads_only,
            "permitsUniversalTransfer": False,
            **{f"enable{name}": False for name in never},
            **({"tradingAuthorityExpirationTime": int(min(ends).timestamp() * 1000)} if ends else {}),
        }
    )


def decide(request: HttpRequest, permission: str) -> verification_decision.Decision:
    """Decide about a request to the portal itself, using its bytes as received."""
    api_key = request.headers.get("X-MBX-APIKEY")
    address = address_of(request)
    decision = verification_decision.decide(
        key_loader.load(api_key) if api_key and verification_decision.is_key_id(api_key) else None,
        api_key=api_key,
        # WSGI (PEP 3333) passes bytes as latin-1 text.
        query=request.META.get("QUERY_STRING", "").encode("latin-1", "replace"),
        body=request.body,
        client_ip=address,
        permission=permission,
        now_ms=now_ms(),
    )
    if api_key is not None and decision.outcome is not Outcome.KEY_MALFORMED:
        # SECURITY: recorded after the response; otherwise the time of the write would show which keys exist.
        line = RequestLine(request.method or "", request.path)
        background.statistics.submit(recorder.record, api_key, decision, address, permission, line)
    return decision


def now_ms() -> int:
    return time.time_ns() // 1_000_000
