"""What one paste into the request debugger costs: CPU time of the page, for a customer with as many keys as may be.

``python -m bench.debugger`` measures the worst pastes that are known. ``--search SECONDS`` looks for worse ones by
changing them at random and keeping what costs more; it prints those, so that they can be added to the table.

In this process: `time.process_time` counts its CPU and not the wait for others. Ratios are to the page of a right
request. ``--command`` measures the diagnosis as ``manage.py explain_request`` makes it instead.
"""

import argparse
import base64
import contextlib
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.support import production

#: What one paste may cost at most (ms of CPU), with LIVE_KEYS keys.
MOST_MS = 150.0
LONGEST = 16_384
ROUNDS = 3
NOW = 1_795_342_131_800
KEY = "{KEY}"  # stands for the public id of one of the customer's keys
SECRET = "{SECRET}"  # nosec B105

Fields = dict[str, str]


def http(
    query: str = "", body: str = "", headers: str = f"X-MBX-APIKEY: {KEY}", method: str = "POST"
) -> Fields:
    return {"request": f"{method} /a?{query} HTTP/1.1\n{headers}\n\n{body}"}


def filled(start: str, piece: str, end: str = "", most: int = LONGEST) -> str:
    """``piece`` as often as it fits between ``start`` and ``end``."""
    room = most - len(start) - len(end)
    return start + (piece * (room // len(piece) + 1))[:room] + end


def b64(size: int) -> str:
    return base64.b64encode(bytes(size)).decode().replace("=", "%3D").replace("+", "%2B").replace("/", "%2F")


HEX, STAMP = "0" * 64, f"&timestamp={NOW}"
TAIL = f"{STAMP}&signature={HEX}"
HEAD = f"POST /a HTTP/1.1\nX-MBX-APIKEY: {KEY}\n\n"


def parameters(count: int, value: str = "1") -> str:
    return "&".join(f"p{number:04d}={value}" for number in range(count))


def worst() -> dict[str, Fields]:
    """The pastes; the first two are those of the review that pastes this."""
    pastes: dict[str, Fields] = {
        "windows of the alphabet, twice": {
            "request": f"GET /a?x={'A' * 7000}{'%41' * 100}&timestamp=1&signature=0\nX-MBX-APIKEY: {KEY}",
            "body": "A" * 8000,
        },
        "spaces in the first line": {"request": "GET /a" + " " * 16_000 + "x"},
        "nothing": {"request": "x"},
        "letters": {"request": filled(HEAD, "A", TAIL)},
        "letters, cased and not": {"request": filled(HEAD, "aA0", TAIL)},
        "percent-encoded letters": {"request": filled(HEAD + "a=", "%41", TAIL)},
        "percent signs, encoded again and again": {"request": filled(HEAD + "a=", "%25", TAIL)},
        "escapes of JSON": {"request": filled(HEAD + "a=", "\\u0041", TAIL)},
        "entities": {"request": filled(HEAD + "a=", "&#65;", TAIL)},
        "hex-escaped words of bash": {
            "request": filled("curl $'/a?", "\\x41", f"' -H 'X-MBX-APIKEY: {KEY}'")
        },
        "letters with marks between": {"request": filled(HEAD + "a=", "A'", TAIL)},
        "lines of one letter": {"request": filled(HEAD, "A\n", TAIL)},
        "empty lines": {"request": filled("POST /a", "\n", "x")},
        "headers": {"request": filled("POST /a\n", "a:\n", f"X-MBX-APIKEY: {KEY}\n\na=1{TAIL}")},
        "headers, then nothing": {"request": filled("POST /a\n", "a:\n")},
        "a header's name without an end": {"request": filled("POST /a\n", "a")},
        "tabs in a header": {"request": filled("POST /a\nX-MBX-APIKEY", "\t", ": x")},
        "carets": {"request": filled('curl ^"', "^ ", '^"')},
        "carets and lines": {"request": filled("curl ", "^ \n")},
        "backslashes and spaces": {"request": filled("curl ", "\\    ", "x")},
        "backticks and lines": {"request": filled("curl ", "` \n")},
        "one word of curl": {"request": filled("curl ", "\U0001f600")},
        "words of curl": {"request": filled("curl ", "a ")},
        "headers of curl": {"request": filled("curl /a?b=1 ", "-Ha:b ")},
        "data of curl": {"request": filled("curl /a?b=1 ", "-da ", f"-d '{TAIL}' -H 'X-MBX-APIKEY: {KEY}'")},
        "data of curl, to be encoded": {
            "request": filled("curl /a --data-urlencode '", "é", f"' -d '{TAIL}' -H 'X-MBX-APIKEY: {KEY}'")
        },
        "zeros after a point": {"request": filled(HEAD + "a=1.", "0", "1" + TAIL)},
        "zeros after points": {"request": filled(HEAD, "&a=1.00000000000001", TAIL)},
        "verbose": {"request": filled("> GET /a\n", "< date: \n")},
        "a date": {"request": filled("GET /a\nDate: ", "1 ", "\n")},
        "a date of parentheses": {"request": filled("GET /a\nDate: ", "(", "\n")},
        "a signature of hex digits": {"request": filled(f"{HEAD}a=1{STAMP}&signature=", "ab")},
        "a signature of spaces": {"request": filled(f"{HEAD}a=1{STAMP}&signature=", "+")},
        "a signature of escapes": {"request": filled(f"{HEAD}a=1{STAMP}&signature=", "%2541")},
        "names of one letter": {"request": filled(HEAD, "a&", TAIL)},
        "equals signs": {"request": filled(HEAD, "=", TAIL)},
        "runs of signs": {
            "request": f"curl /a -H 'X-MBX-APIKEY: {KEY}'",
            "body": filled("", " ^", TAIL, 16_000),
        },
        "quotes": {"request": filled(HEAD, '"', TAIL)},
        "bytes outside of ASCII": {"request": filled(HEAD, "é ", TAIL)},
        "spaces and letters": {"request": filled(HEAD, " a", TAIL)},
        "digits as a timestamp": {"request": filled(f"{HEAD}a=1&timestamp=", "9", f"&signature={HEX}")},
        "long fields": {
            "request": "x",
            **dict.fromkeys(("key", "permission", "sent", "address"), "A" * LONGEST),
        },
        "fields longer than all": {
            **dict.fromkeys(("request", "body", "key", "permission", "sent", "address"), "A" * 400000),
        },
        "the key header, long": {"request": filled("POST /a?a=1" + TAIL + "\nX-MBX-APIKEY: ", "A\u200e")},
        "a path": {"request": filled("POST /", "a/", f"?a=1{TAIL}\nX-MBX-APIKEY: {KEY}")},
        "secrets": {"request": filled(HEAD + "a=", f"{SECRET},", TAIL)},
    }
    signatures = {
        "HMAC's": HEX,
        "SHA-512's": "0" * 128,
        "MD5's": "0" * 32,
        "base64": b64(32),
        "hex of hex": "30" * 64,
        "Ed25519's": b64(64),
        "RSA's": b64(384),
        "RSA's of 4096": b64(512),
    }
    for name, signature in signatures.items():
        end = f"{STAMP}&signature={signature}"
        for count in (1, 5, 30, 90, 120, 400, 499):
            pastes[f"{count} parameters, {name}"] = http(parameters(count) + end)
        for size in (1_900, 2_040, 6_000, 15_500):
            query, body = f"a={'b' * (size // 2)}{end}", f"c={'d' * (size // 2 - 700)}"
            pastes[f"{size} bytes, {name}"] = http(query, body)
        both = http(parameters(40, "%2Fa+b") + end, "&".join(f"q{n}=a%20b.10" for n in range(40)))
        pastes[f"parameters in both places, {name}"] = both
    return pastes


@contextlib.contextmanager
def portal() -> Iterator[None]:
    """Django in this process, on a database of its own."""
    with tempfile.TemporaryDirectory(prefix="portal-bench-") as directory:
        for name in set(os.environ) - set(production.without_settings(dict(os.environ))):
            del os.environ[name]
        os.environ.update({**production.settings(Path(directory)), "PORTAL_LOG_LEVEL": "CRITICAL"})
        for command in ("collectstatic", "migrate"):
            arguments = [sys.executable, "manage.py", command, "--noinput", "--verbosity=0"]
            subprocess.run(arguments, cwd=production.ROOT, check=True)
        import django

        django.setup()
        yield


class Customer:
    """With all the keys that one may have, the newest deleted ones, and each key rotated once."""

    def __init__(self, kinds: list[str], by_command: bool = False) -> None:
        from apikeys.actions import rotation
        from apikeys.models import ApiKey
        from apikeys.policy import public_keys
        from apikeys.policy.choices import LIVE_KEYS, KeyState
        from tests.support import people
        from tests.support.key_pairs import new_ed25519, public_pem, rsa_of

        rsa = public_keys.parse(public_pem(rsa_of(4096)))

        def public(kind: str) -> public_keys.PublicKey | None:
            if kind == "rsa":
                return rsa
            return public_keys.parse(public_pem(new_ed25519())) if kind == "ed25519" else None

        self.by_command = by_command
        self.person = people.customer()
        made = []
        for number in range(LIVE_KEYS + 10):
            kind = kinds[number % len(kinds)]
            key = ApiKey.objects.create_with_secret(
                self.person.user, f"k{number}", uuid.uuid4(), public(kind)
            )
            for _ in range(3):
                rotation.rotate(key, public(kind), 0, uuid.uuid4())
                rotation.end(key, rotation.live_credentials(key)[0])
            if number >= 10:
                made.append(key)
                rotation.rotate(key, public(kind), 0, uuid.uuid4())
            else:
                key.set_state(KeyState.REVOKED)
        self.key_id, self.pk = made[0].key_id, str(made[0].pk)
        self.secret = ""
        from apikeys.actions import key_loader

        for key in made:
            record = key_loader.load(key.key_id)
            assert record is not None
            if record.credentials[0].kind.value == "hmac":
                self.secret = record.credentials[0].material.decode()
        self.client = people.logged_in(self.person)

    def look(self, fields: Fields) -> float:
        """Seconds of CPU for one paste."""
        from django.core.cache import cache

        from apikeys.debugger import cli_report

        cache.clear()  # the rate of the page is not what is measured
        data = {
            name: value.replace(KEY, self.key_id).replace(SECRET, self.secret or "s" * 64)
            for name, value in ({"key": self.pk} | fields).items()
        }
        began = time.process_time()
        if self.by_command:
            with contextlib.suppress(cli_report.ExplainError):
                request = cli_report.ExplainRequest(data["request"], data.get("body", ""), self.key_id)
                cli_report.as_lines(cli_report.as_document(cli_report.explain(request)))
            return time.process_time() - began
        page = self.client.post("/debugger/", data)
        took = time.process_time() - began
        assert page.status_code == 200, page.status_code
        return took

    def right(self) -> Fields:
        from tests.support.binance_client import BinanceClient

        call = BinanceClient(self.key_id, self.secret or "s" * 64).call(
            "GET", "/api/v3/account", [("symbol", "BTCIRT"), ("timestamp", str(time.time_ns() // 1_000_000))]
        )
        return http(call.query.decode(), method="GET")


def medians(customer: Customer, pastes: dict[str, Fields], rounds: int = ROUNDS) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in pastes}
    for _ in range(rounds):
        for name, fields in pastes.items():
            times[name].append(customer.look(fields))
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def mutated(fields: Fields, others: list[Fields]) -> Fields:
    """``fields`` with one change: a piece repeated, cut, moved, swapped with another paste's, or put in its place."""
    one = dict(fields)
    name = random.choice([name for name in one if one[name]] or list(one))  # nosec B311
    text = one[name]
    at, end = sorted(random.randrange(len(text) + 1) for _ in range(2))  # nosec B311
    piece = text[at:end]
    other = random.choice(list(random.choice(others).values()))  # nosec B311
    there = random.randrange(len(other) + 1)  # nosec B311
    tokens = (
        "%41",
        "%25",
        " ",
        "\n",
        "&",
        "=",
        "'",
        '"',
        "\\",
        "\\x41",
        "^",
        "`",
        "&#65;",
        "A",
        "a=",
        ":",
        "curl ",
    )
    changes: tuple[Callable[[], str], ...] = (
        lambda: text[:at] + piece[:40] * random.randrange(1, 300) + text[end:],  # nosec B311
        lambda: text[:at] + text[end:],
        lambda: text[:at] + other[there : there + random.randrange(400)] + text[end:],  # nosec B311
        lambda: text[:at] + random.choice(tokens) * random.randrange(1, 4000) + text[at:],  # nosec B311
        lambda: text[:at] + random.choice(tokens) + text[at:],  # nosec B311
        lambda: text.replace(piece[:8] or "a", random.choice(tokens)),  # nosec B311
    )
    one[name] = random.choice(changes)()[:LONGEST]  # nosec B311
    if name == "request" and random.random() < 0.2:  # nosec B311
        cut = random.randrange(len(one[name]) + 1)  # nosec B311
        one = {**one, "request": one[name][:cut], "body": one[name][cut:]}
    over = len(one.get("request", "")) + len(one.get("body", "")) - LONGEST
    if over > 0:
        one["request"] = one["request"][: max(0, len(one["request"]) - over)]
    return one


def search(customer: Customer, pastes: dict[str, Fields], seconds: float) -> dict[str, Fields]:
    """The worst pastes that a climber finds from those that are known."""
    tried = ((customer.look(fields), number, fields) for number, fields in enumerate(pastes.values()))
    pool = sorted(tried, key=lambda row: -row[0])[:24]
    known = list(pastes.values())
    end, number = time.monotonic() + seconds, len(pastes)
    while time.monotonic() < end:
        number += 1
        _took, _number, fields = random.choice(pool)  # nosec B311
        for _ in range(random.randrange(1, 4)):  # nosec B311
            fields = mutated(fields, known)
        took = min(customer.look(fields) for _ in range(2))
        if took > pool[-1][0]:
            pool = sorted([*pool[:-1], (took, number, fields)], key=lambda row: -row[0])
    return {f"found {rank}": fields for rank, (_took, _number, fields) in enumerate(pool[:5], start=1)}


def measure(seconds: float, by_command: bool) -> bool:
    fine = True
    for name, kinds in (
        ("HMAC", ["hmac"]),
        ("RSA of 4096 bits", ["rsa"]),
        ("all kinds", ["hmac", "ed25519", "rsa"]),
    ):
        customer = Customer(kinds, by_command)
        pastes = worst()
        if seconds:
            pastes |= search(customer, pastes, seconds)
        customer.look(customer.right())  # templates are read and compiled once
        reference = medians(customer, {"right": customer.right()})["right"]
        medians_by_paste = medians(customer, pastes)
        sys.stdout.write(f"keys: {name}; the page of a right request takes {reference * 1e3:.0f} ms of CPU\n")
        for paste, took in sorted(medians_by_paste.items(), key=lambda item: -item[1])[:20]:
            sys.stdout.write(f"  {paste:50} {took * 1e3:8.1f} ms   x {took / reference:6.2f}\n")
            if paste.startswith("medians_by_paste"):
                for field, text in pastes[paste].items():
                    sys.stdout.write(f"      {field}: {text[:300]!r} ({len(text)})\n")
        fine = fine and max(medians_by_paste.values()) * 1e3 <= MOST_MS
    sys.stdout.write(f"at most {MOST_MS:.0f} ms: {'yes' if fine else 'NO'}\n")
    return fine


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--command", action="store_true")
    parser.add_argument("--search", type=float, default=0, metavar="SECONDS", help="for each kind of keys")
    with portal():
        arguments = parser.parse_args()
        return 0 if measure(arguments.search, arguments.command) else 1


if __name__ == "__main__":
    sys.exit(main())
