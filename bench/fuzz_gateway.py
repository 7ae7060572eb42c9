"""Fuzz the gateway: ``python -m bench.fuzz_gateway --minutes 10``. Fails at the first wrong response.

Query strings, bodies, headers, JSON documents and byte streams are generated. Nothing may raise; the three forms of a
request must be parsed alike; the fast path and its entries may allow only what the decision allows; and the position
at which a stream is split must not matter.
"""

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apikeys.gateway import requests
from apikeys.verification.decision import decide
from apikeys.verification.records import KeyRecord
from tests.apikeys.gateway import test_fast_path as fast_path
from tests.apikeys.gateway import test_repeated_requests as repeats
from tests.apikeys.gateway import test_split_streams as pieces

EXAMPLES = 20_000
often = settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
text = st.text(max_size=40)
documents = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), text),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(text, inner, max_size=3)),
    max_leaves=12,
)
questions = st.dictionaries(
    st.sampled_from(
        ["api_key", "query", "body", "client_ip", "permission", "security", "method", "path", "requests", "x"]
    ),
    documents,
)


class SingleHeaders(dict[str, str]):
    """Headers of a request, each occurring once."""

    def get_all(self, key: str, /) -> list[str]:
        return [self[key]] if key in self else []


@often
@given(st.one_of(documents, questions))
def malformed_documents(document: Any) -> None:
    try:
        parsed, _batch = requests.from_json(document)
    except requests.AuthorizationRequestError:
        return
    for request in parsed:
        check(fast_path.RECORD, request)


@often
@given(
    st.one_of(fast_path.good, fast_path.records),
    fast_path.queries,
    fast_path.addresses,
    fast_path.permissions,
    st.sampled_from(["signed", "key", "none", "", "Key", "signed,none"]),
    st.text(max_size=8),
)
def three_forms(
    record: KeyRecord, query: str, address: str, permission: str, security: str, path: str
) -> None:
    headers = SingleHeaders(
        {
            "x-mbx-apikey": record.key,
            "x-client-ip": address,
            "x-required-permission": permission,
            "x-required-security": security,
        }
    )
    document = {"api_key": record.key, "query": query, "client_ip": address, "permission": permission}
    document["security"] = security
    by_json = parsed(lambda: requests.from_json(json.loads(json.dumps(document)))[0][0])
    plain = "/" + path.replace("?", "")
    # Bytes as received: one character each.
    target, received = (text.encode().decode("latin-1") for text in (f"{plain}?{query}", query))
    by_auth = parsed(
        lambda: requests.from_auth(SingleHeaders(headers, **{"x-original-uri": target}), "", b"")
    )
    by_check = parsed(lambda: requests.from_check(headers, plain.encode().decode("latin-1"), received, b""))
    assert by_auth == by_check
    # A route without a permission names none in a header, and null in JSON.
    if plain.isascii() and "#" not in plain and permission:
        assert by_json == by_auth
    if by_auth is not None:
        check(record, by_auth)


def parsed(parse: Callable[[], requests.AuthorizationRequest]) -> requests.AuthorizationRequest | None:
    try:
        return parse()
    except requests.AuthorizationRequestError:
        return None


def check(record: KeyRecord, request: requests.AuthorizationRequest) -> None:
    requested = dataclasses.asdict(request)
    del requested["security"]
    decision = decide(record, **requested, now_ms=fast_path.NOW)
    # The fast path is for signed requests alone.
    if (
        request.security is not requests.Security.SIGNED
        or request.body
        or not request.query.isascii()
        or request.client_ip is None
    ):
        return
    quick = fast_path.fast_path_result(record, request.query.decode(), request.client_ip, request.permission)
    assert not quick or (decision.allowed and decision.credential_id == quick), request.query


PROPERTIES = (
    malformed_documents,
    three_forms,
    often(repeats.test_earlier_requests_never_allow_a_request),
    often(repeats.test_stored_pattern_parses_requests_as_the_decision_does),
    often(pieces.test_responses_do_not_depend_on_where_a_stream_is_split),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    end = time.monotonic() + parser.parse_args().minutes * 60
    done = 0
    while time.monotonic() < end:
        for holds in PROPERTIES:
            holds()
            done += EXAMPLES
    sys.stdout.write(f"{done} requests and streams, no wrong response\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
