"""A live portal with customers in it, made and looked at past its pages: their codes, their messages, its rows."""

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pyotp

from tests.support.live_portal import LivePortal

PERIOD = 30
LEFT_IN_STEP = 5  # s; a step older than the last one is refused, so none is used that is about to become it
CUSTOMERS = 25  # made at a time by one process, with one (slow) password hash

#: Runs in the portal's own environment; prints phone, password and seed of newcomers or of customers.
PEOPLE = """
import json
from django.contrib.auth.hashers import make_password
from accounts.models import User
from tests.support import people
word = "a password of the tests"
for n in range({made}):
    people.next_phone()
made = [people.{kind}() for n in range({count})]
User.objects.filter(pk__in=[p.user.pk for p in made]).update(password=make_password(word))
print(json.dumps([[p.user.phone, word, p.seed] for p in made]))
"""


@dataclass
class Customer:
    """Somebody with an account in the live portal. ``seed`` is base32, "" before an authenticator exists."""

    phone: str
    password: str
    seed: str
    #: Makes the portal forget which code was used last: what has passed after thirty seconds of waiting.
    rest: Callable[[str], None] = lambda _phone: None
    last_step: int = 0

    def totp(self) -> str:
        """A code that is right now and was not used: steps t-1, t and t+1 are three within one moment."""
        now = time.time()
        late = now % PERIOD > PERIOD - LEFT_IN_STEP
        current = int(now) // PERIOD
        if self.last_step > current:
            self.rest(self.phone)
            self.last_step = 0
        self.last_step = max(self.last_step + 1, current - (0 if late else 1))
        return pyotp.TOTP(self.seed).generate_otp(self.last_step)


class LiveSite:
    """A running portal with its customers. Every browser of it comes from an address of its own."""

    def __init__(self, live: LivePortal) -> None:
        self.live = live
        self.url = live.url
        self._people: dict[str, list[Customer]] = {"newcomers": [], "customers": []}
        self._made = 0
        networks = (
            *(f"203.0.113.{n}" for n in range(1, 255)),
            *(f"198.18.{n // 250}.{n % 250 + 1}" for n in range(9_000)),
        )
        self._addresses = iter(networks)

    def customer(self) -> Customer:
        """Somebody with both factors, whom no other test knows."""
        return self._somebody("customers")

    def newcomer(self) -> Customer:
        """Somebody with an account and no factor."""
        return self._somebody("newcomers")

    def _somebody(self, kind: str) -> Customer:
        if not self._people[kind]:
            program = PEOPLE.format(kind=kind[:-1], count=CUSTOMERS, made=self._made)
            self._made += CUSTOMERS
            made = json.loads(self.live.manage("shell", "--no-imports", "-c", program))
            self._people[kind] = [Customer(phone, word, seed, self._rest) for phone, word, seed in made]
        return self._people[kind].pop()

    def _rest(self, phone: str) -> None:
        of_phone = "user_id = (SELECT id FROM accounts_user WHERE phone = ?)"
        self.sql(f"UPDATE accounts_totpdevice SET last_step = -1 WHERE {of_phone}", phone)

    def address(self) -> str:
        return next(self._addresses)

    def messages(self, phone: str) -> list[dict[str, Any]]:
        """All SMS to ``phone``, oldest first."""
        return list(reversed(list(self._newest_first(phone))))

    def newest_code(self, phone: str) -> str:
        """Of the newest message that has one: notices come when their sender likes."""
        return next(str(message["code"]) for message in self._newest_first(phone) if message["code"])

    def _newest_first(self, phone: str) -> Iterator[dict[str, Any]]:
        for path in sorted((self.live.data_dir / "sms").glob("[!.]*.json"), reverse=True):
            message: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if message["to"] == phone:
                yield message

    def sql(self, statement: str, *values: object) -> list[Any]:
        """Rows of the portal's database, written and read past the portal."""
        database = self.live.data_dir / "portal.sqlite3"
        with closing(sqlite3.connect(database, timeout=10)) as connection, connection:
            return connection.execute(statement, values).fetchall()
