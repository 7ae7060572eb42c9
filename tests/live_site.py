"""A live portal with customers in it, made and looked at past its pages: their codes, their messages, its rows."""

import json
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pyotp

from tests.live import LivePortal

PERIOD = 30
LEFT_IN_STEP = 5  # s; a step older than the last one is refused, so none is used that is about to become it
CUSTOMERS = 40  # of each kind, a customer a test; made by one process, with one (slow) password hash

#: Runs in the portal's own environment; prints phone, password and seed of newcomers and of customers.
PEOPLE = """
import json
from django.contrib.auth.hashers import make_password
from tests import people
word = "a password of the tests"
made = {{"newcomers": [people.newcomer() for n in range({count})], "customers": [people.customer() for n in range({count})]}}
type(made["customers"][0].user).objects.exclude(phone="+989121234567").update(password=make_password(word))
print(json.dumps({{kind: [[p.user.phone, word, p.seed] for p in persons] for kind, persons in made.items()}}))
"""  # noqa: E501


@dataclass
class Customer:
    """Somebody with an account in the live portal. ``seed`` is base32, "" before an authenticator exists."""

    phone: str
    password: str
    seed: str
    last_step: int = 0

    def totp(self) -> str:
        """A code that is right now and was not used: steps t-1, t and t+1 are three within one moment."""
        while True:
            now = time.time()
            late = now % PERIOD > PERIOD - LEFT_IN_STEP
            current = int(now) // PERIOD
            step = max(self.last_step + 1, current - (0 if late else 1))
            if step <= current + 1:
                self.last_step = step
                return pyotp.TOTP(self.seed).generate_otp(step)
            time.sleep(0.5)


class LiveSite:
    """A running portal with its customers. Every browser of it comes from an address of its own."""

    def __init__(self, live: LivePortal) -> None:
        self.live = live
        self.url = live.url
        made = json.loads(live.manage("shell", "--no-imports", "-c", PEOPLE.format(count=CUSTOMERS)))
        self._people = {kind: [Customer(*fields) for fields in rows] for kind, rows in made.items()}
        self._addresses = (f"203.0.113.{number}" for number in range(1, 255))

    def customer(self) -> Customer:
        """Somebody with both factors, whom no other test knows."""
        return self._people["customers"].pop()

    def newcomer(self) -> Customer:
        """Somebody with an account and no factor."""
        return self._people["newcomers"].pop()

    def address(self) -> str:
        return next(self._addresses)

    def messages(self, phone: str) -> list[dict[str, Any]]:
        """All SMS to ``phone``, oldest first."""
        paths = sorted((self.live.data_dir / "sms").glob("[!.]*.json"))
        found = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
        return [message for message in found if message["to"] == phone]

    def sql(self, statement: str, *values: object) -> list[Any]:
        """Rows of the portal's database, written and read past the portal."""
        database = self.live.data_dir / "portal.sqlite3"
        with closing(sqlite3.connect(database, timeout=10)) as connection, connection:
            return connection.execute(statement, values).fetchall()
