"""Odd requests without end: ``python -m bench.fuzz_gateway --minutes 10``. Fails at the first that is answered wrongly.

Query, body, headers, JSON documents and streams of bytes are generated; nothing may raise, the three forms of a
question must be read as the same one, the quick way and what it remembers may say yes only where the decision does,
and where a stream is cut into pieces must not matter.
"""

import argparse
import dataclasses
import json
import sys
import time
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apikeys.gateway import requests
from apikeys.verification.decision import KeyRecord, decide
from tests.apikeys.gateway import test_fast_path as shapes
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
        ["api_key", "query", "body", "client_ip", "permission", "method", "path", "requests", "x"]
    ),
    documents,
)


class Said(dict[str, str]):
    """Headers of a request, each once."""

    def get_all(self, key: str, /) -> list[str]:
        return [self[key]] if key in self else []


@often
@given(st.one_of(documents, questions))
def odd_documents(document: Any) -> None:
    try:
        read, _batch = requests.from_json(document)
    except requests.AuthorizationRequestError:
        return
    for ask in read:
        judge(shapes.RECORD, ask)


@often
@given(
    st.one_of(shapes.good, shapes.records),
    shapes.queries,
    shapes.addresses,
    shapes.permissions,
    st.text(max_size=8),
)
def three_forms(record: KeyRecord, query: str, address: str, permission: str, path: str) -> None:
    said = Said({"x-mbx-apikey": record.key, "x-client-ip": address, "x-required-permission": permission})
    document = {"api_key": record.key, "query": query, "client_ip": address, "permission": permission}
    [by_json], _batch = requests.from_json(json.loads(json.dumps(document)))
    plain = "/" + path.replace("?", "")
    # As bytes come from the wire: one character each.
    target, wire = (text.encode().decode("latin-1") for text in (f"{plain}?{query}", query))
    by_auth = requests.from_auth(Said(said, **{"x-original-uri": target}), "", b"")
    by_envoy = requests.from_envoy(said, plain.encode().decode("latin-1"), wire, b"")
    assert by_auth == by_envoy
    if plain.isascii() and "#" not in plain:
        assert by_json == by_auth
    judge(record, by_auth)


def judge(record: KeyRecord, ask: requests.AuthorizationRequest) -> None:
    decision = decide(record, **dataclasses.asdict(ask), now_ms=shapes.NOW)
    if ask.body or not ask.query.isascii() or ask.client_ip is None:
        return
    quick = shapes.quick(record, ask.query.decode(), ask.client_ip, ask.permission)
    assert not quick or (decision.allowed and decision.credential_id == quick), ask.query


PROPERTIES = (
    odd_documents,
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
    sys.stdout.write(f"{done} requests and streams, none answered wrongly\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
