"""Signed requests of a key as the portal decides and notes them, without HTTP: for tests of what is told about them."""

import time

from apikeys.actions import key_loader
from apikeys.models import ApiKey
from apikeys.usage import recorder
from apikeys.verification import decision as verification_decision
from apikeys.verification.outcomes import Outcome
from tests.support.binance_client import BinanceClient
from tests.support.people import ADDRESS, secret_of

WRONG = "a wrong secret"


def decided(
    key: ApiKey, address: str = ADDRESS, permission: str = "read", *, secret: str = "", skew_ms: int = 0
) -> verification_decision.Decision:
    """The decision about a request that is signed with ``secret`` (the key's own) by a clock off by ``skew_ms``."""
    now_ms = int(time.time() * 1000)
    client = BinanceClient(key.key_id, secret or secret_of(key))
    query = client.call("GET", "/", [("timestamp", str(now_ms + skew_ms))]).query
    return verification_decision.decide(
        key_loader.load(key.key_id), api_key=key.key_id, query=query, body=b"", client_ip=address,
        permission=permission, now_ms=now_ms,
    )  # fmt: skip


def send(
    key: ApiKey, address: str = ADDRESS, permission: str = "read", *, secret: str = "", skew_ms: int = 0
) -> Outcome:
    """The same, noted for the key's owner."""
    decision = decided(key, address, permission, secret=secret, skew_ms=skew_ms)
    recorder.record(key.key_id, decision, address, permission)
    return decision.outcome
