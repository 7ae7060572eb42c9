"""Searches for a sequence of customer actions that ends with more power than both codes approved.

``python -m tests.support.power`` first plants a defect and has to find it within a minute (``--every-hole``: eight of
them); then it runs 10,000 random sequences through the view functions, on SQLite in memory, and some hundred as whole
requests. ``tests/apikeys/policy/test_power.py`` runs a few fixed ones with the suite, and one through each defect.

The model has no rule of the product. It reads the rows of a key as `Facts` before and after each action, and splits
them into cells (permission, address, credential), each with the ends that limit it. No cell may appear, and no end may
move to a later time, unless the action had valid codes for exactly that. What a code approves is recorded when it is
sent. Stops (pause, freeze, quarantine) are kept apart from the cells, so that power that grows behind a stop is
noticed. What is allowed in the end is asked from `decision.decide`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from tests.support import production

if __name__ == "__main__":  # pytest has read the settings already
    directory = tempfile.mkdtemp(prefix="portal-power-")
    os.environ.update(
        production.settings(Path(directory)),
        PORTAL_SMS_BACKENDS="tests.support.sms_collector",
        PORTAL_LOG_LEVEL="ERROR",
    )
    import django

    django.setup()

import hypothesis
import pytest
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.core.cache import cache
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.test import Client, RequestFactory
from django.urls import resolve
from hypothesis import Phase, Verbosity, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from accounts.access import logins, sessions
from accounts.actions import freeze
from accounts.models import LoginSession, User
from apikeys.actions import key_loader, rotation
from apikeys.models import AllowedNetwork, ApiKey, Credential, RescueRequest
from apikeys.policy import power
from apikeys.usage import recorder
from apikeys.verification import decision as verification_decision
from apikeys.verification.outcomes import Outcome
from apikeys.verification.records import KeyRecord
from hitobit_portal.security import crypto
from tests.support import sms_collector
from tests.support.background_tasks import run_at_once
from tests.support.binance_client import BinanceClient
from tests.support.people import ADDRESS, Person, customer, logged_in

if TYPE_CHECKING:
    from apikeys.policy.power import Codes, Power

HOUR, DAY = 3600, 86_400
START = 1_800_000_000.0
SEED = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
NEVER = float("inf")
PERMISSIONS = ("read", "trade", "withdraw")
NETWORKS = ("192.0.2.7", "192.0.2.0/24", "198.51.100.9", "2001:db8::/32")
#: Each network of the list has one of these that no other one has, and one is in none.
ADDRESSES = ("192.0.2.7", "192.0.2.200", "198.51.100.9", "2001:db8::1", "203.0.113.5")
PROBES = [(permission, address) for permission in PERMISSIONS for address in ADDRESSES]
CODE_SECONDS = 120
IDLE_SECONDS = 25 * 60
STEPS = 15
ROUND = 40
MOST_KEYS = 2

Cell = tuple[str, str, int]
Ends = tuple[float, float, float]


# --- the model -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Facts:
    """The rows of a key. Ends are seconds since 1970, NEVER for none; ``networks``: None for all addresses."""

    permissions: frozenset[str]
    networks: tuple[str, ...] | None
    expires: float
    trade_ends: float
    credentials: tuple[float, ...]
    paused: bool = False
    over: bool = False

    def cells(self) -> dict[Cell, Ends]:
        """Return the ends of key, trading and credential for each allowed (permission, address, credential)."""
        return {
            (permission, address, number): (
                self.expires + (7 * DAY if permission == "read" else 0),
                self.trade_ends if permission == "trade" else NEVER,
                end,
            )
            for permission in self.permissions
            for address in ADDRESSES
            if self.admits(address)
            for number, end in enumerate(self.credentials)
        }

    def admits(self, address: str) -> bool:
        if self.networks is None:
            return True
        return any(ip_address(address) in ip_network(network) for network in self.networks)

    def ends(self) -> set[float]:
        return {end for ends in self.cells().values() for end in ends if end != NEVER}

    def with_settings(
        self, permissions: frozenset[str], networks: tuple[str, ...] | None, expires: float, now: float
    ) -> Facts:
        """Return the facts after a change at ``now``: trading from any address keeps the rest of its 90 days."""
        trades = "trade" in permissions and networks is None
        went_on = "trade" in self.permissions and self.networks is None
        ends = (self.trade_ends if went_on else now + 90 * DAY) if trades else NEVER
        return replace(self, permissions=permissions, networks=networks, expires=expires, trade_ends=ends)


@dataclass(frozen=True)
class World:
    """Everything that decides which requests are allowed."""

    keys: dict[uuid.UUID, Facts]
    frozen: bool
    quarantined_until: float


@dataclass
class CodeRequest:
    """A request for codes: what they approve, the SMS that was sent, and the page on which they are entered.

    ``target``: the key as it may be after the codes were entered at a time; ``lifts``: the stop that they end.
    """

    path: str
    browser: int
    what: tuple[object, ...]
    key: uuid.UUID | None = None
    target: Callable[[float], Facts] | None = None
    lifts: tuple[str, uuid.UUID | None] | None = None
    code: str = ""
    sent_at: float = 0.0


def exceeds(after: Facts, within: Iterable[Facts]) -> dict[Cell, Ends]:
    """Return the cells of ``after`` that are larger than in each of ``within``."""
    limits = [facts.cells() for facts in within]
    return {
        cell: ends
        for cell, ends in after.cells().items()
        if not any(
            cell in limit and all(one <= most for one, most in zip(ends, limit[cell], strict=True))
            for limit in limits
        )
    }


# --- browsers -------------------------------------------------------------------------------------------------------


class Browser(Protocol):
    def __init__(self, person: Person) -> None: ...

    def post(self, path: str, data: dict[str, Any]) -> HttpResponse: ...


class Pages:
    """Whole requests: middleware, sessions, templates."""

    def __init__(self, person: Person) -> None:
        self.client: Client = logged_in(person)

    def post(self, path: str, data: dict[str, Any]) -> HttpResponse:
        response: Any = self.client.post(path, data)
        assert response.status_code < 500
        return response  # type: ignore[no-any-return]


class _Session(dict[str, Any]):
    session_key = "of a view"

    def flush(self) -> None:
        self.clear()

    def cycle_key(self) -> None:
        pass


class _NoMessages:
    def add(self, *_arguments: object) -> None:
        pass


class Views:
    """Only the view functions, without middleware and rendering: five times as fast."""

    def __init__(self, person: Person) -> None:
        self.person = person
        user = person.reload()
        login = LoginSession.objects.create(user=user, method="of a walk")
        self.session = _Session(
            {
                SESSION_KEY: str(user.pk),
                HASH_SESSION_KEY: user.get_session_auth_hash(),
                logins.LOGIN_SESSION: str(login.pk),
            }
        )

    def post(self, path: str, data: dict[str, Any]) -> HttpResponse:
        request: Any = RequestFactory().post(path, data)
        request.user = self.person.reload()
        request.session, request._messages = self.session, _NoMessages()
        request.client_address = ADDRESS
        view = resolve(path)
        response: HttpResponse = view.func(request, *view.args, **view.kwargs)
        return response


def _render(request: HttpRequest, *_arguments: object, **_options: object) -> HttpResponse:
    return HttpResponse()


def without_rendering(patch: pytest.MonkeyPatch) -> None:
    for name, module in list(sys.modules.items()):
        if name.startswith(("accounts.", "apikeys.")) and getattr(module, "render", None) is render:
            patch.setattr(module, "render", _render)


# --- the walk -------------------------------------------------------------------------------------------------------


def _clock(now: float) -> type[datetime]:
    """Return a replacement of ``datetime`` with a fixed current time; every ``datetime`` is an instance of it."""

    class Kind(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, datetime)

    class Clock(datetime, metaclass=Kind):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.fromtimestamp(now, tz)

    return Clock


which = st.integers(0, 3)
of_browser = st.integers(0, 1)
#: Codes that are typed after the question: "none" leaves it open, "stale" types the SMS of another question.
HOW = st.sampled_from(["both", "both", "both", "both", "none", "none", "totp", "sms", "stale"])
SETS = st.sampled_from(
    [*["read trade"] * 4, "read", "trade", "read trade withdraw", "read trade withdraw", "withdraw", ""]
).map(lambda words: frozenset(words.split()))
LISTS = st.sampled_from([None] * 6 + [NETWORKS[:n] for n in range(5)] + [NETWORKS[2:], NETWORKS[:1]])
EXPIRIES = st.sampled_from([*["keep"] * 6, "never", "30", "365"])
QUESTIONS = [
    "resume",
    "resume",
    "rotate",
    "rotate",
    "approve_address",
    "approve_address",
    "grant",
    "add",
    "create",
]
REDUCTIONS = [
    "pause",
    "pause",
    "end",
    "end",
    "rename",
    "toggle",
    "dismiss",
    "delete",
    *(f"drop {p}" for p in PERMISSIONS),
]
OF_ACCOUNT = ["freeze", "thaw", "thaw", "lift", "lift", "replace a factor"]
SPANS = [1, 31, 61, 119, 121, 599, 1800, DAY, 7 * DAY, 30 * DAY, 60 * DAY, 90 * DAY]
codes = {"how": HOW, "other": which}
#: What is done in a step: a method of `Walk`, how often in a hundred steps, and its arguments. One rule chooses among
#: them, since rules of a machine are chosen in turns that leave the seldom ones out.
ACTIONS: dict[str, tuple[int, dict[str, st.SearchStrategy[Any]]]] = {
    "edit": (
        15,
        {
            "number": which,
            "browser": of_browser,
            "permissions": SETS,
            "networks": LISTS,
            "expiry": EXPIRIES,
            **codes,
        },
    ),
    "trade_from_anywhere": (7, {"number": which, "browser": of_browser, "how": HOW}),
    "renew": (
        12,
        {"number": which, "browser": of_browser, "how": st.sampled_from(["totp", "totp", "both", "none"])},
    ),
    "question": (18, {"number": which, "browser": of_browser, "kind": st.sampled_from(QUESTIONS), **codes}),
    "answer_later": (7, {"number": st.integers(0, 5), **codes}),
    "reduce": (11, {"number": which, "browser": of_browser, "kind": st.sampled_from(REDUCTIONS)}),
    "account": (5, {"browser": of_browser, "kind": st.sampled_from(OF_ACCOUNT), **codes}),
    "wait": (6, {"span": st.sampled_from(SPANS)}),
    "wait_for_an_end": (8, {"number": which, "early": st.booleans()}),
    "lapse": (5, {"number": which}),
    "call": (
        10,
        {
            "number": which,
            "newest": st.booleans(),
            "permission": st.sampled_from(PERMISSIONS),
            "address": st.sampled_from(ADDRESSES),
        },
    ),
}
STEP = st.sampled_from(
    [name for name, (weight, _arguments) in ACTIONS.items() for _n in range(weight)]
).flatmap(lambda name: st.tuples(st.just(name), st.fixed_dictionaries(ACTIONS[name][1])))


class Walk(RuleBasedStateMachine):
    """One customer, two browsers, up to two keys, and a clock that moves forwards only."""

    browser: ClassVar[type[Browser]] = Views
    count: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.count["sequences"] += 1
        self.now = START
        self.typed_step = 0
        self.sent = 0
        self.code_requests: list[CodeRequest] = []
        self.first: dict[uuid.UUID, tuple[int, float]] = {}
        self.secrets: dict[int, str] = {}
        sms_collector.reset()
        self.atomic = transaction.atomic()
        self.atomic._from_testcase = True  # type: ignore[attr-defined]  # as Django's TestCase: durable blocks are fine
        self.atomic.__enter__()
        with self.clock():
            self.sara = customer()
            self.browsers = [self.browser(self.sara) for _n in range(2)]
        self.last_post = self.now
        self.seen = self.look()

    def teardown(self) -> None:
        try:
            self.compare(self.seen.keys)
        finally:
            transaction.set_rollback(True)
            self.atomic.__exit__(None, None, None)
            cache.clear()

    @contextmanager
    def clock(self) -> Iterator[None]:
        """Time stands at ``self.now``, and what is random in an authenticator and an SMS is not."""
        with pytest.MonkeyPatch.context() as patch:
            # Not the function itself: fields have it for their default.
            patch.setattr("django.utils.timezone.datetime", _clock(self.now))
            patch.setattr("time.time", lambda: self.now)
            patch.setattr("pyotp.random_base32", lambda: SEED)
            patch.setattr("accounts.factors.sms_codes.secrets.randbelow", self._next_code)
            # Another thread would not see a database in memory.
            run_at_once(patch)
            if self.browser is Views:
                without_rendering(patch)
            yield

    def _next_code(self, _below: int) -> int:
        self.sent += 1
        return 100_000 + self.sent

    # --- reading ----------------------------------------------------------------------------------------------------

    def look(self) -> World:
        """Return the rows, read with plain SQL and not with the product's code."""
        user = self.sara.user.pk
        networks, credentials = defaultdict(list), defaultdict(list)
        for key, value in rows(f"SELECT n.key_id, n.value FROM {NETWORK} n {OF_CUSTOMER}", user):
            networks[key].append(value)
        for key, end in rows(
            f"SELECT n.key_id, n.retires_at FROM {CREDENTIAL} n {OF_CUSTOMER} ORDER BY n.id", user
        ):
            credentials[key].append(seconds(end, NEVER))
        keys = {
            uuid.UUID(str(pk)): Facts(
                frozenset(name for name, has in zip(PERMISSIONS, can, strict=True) if has),
                None if policy == "unrestricted" else tuple(sorted(networks[pk])),
                seconds(expires, NEVER),
                seconds(trades, NEVER),
                tuple(credentials[pk]),
                paused=state == "frozen",
                over=state == "revoked",
            )
            for pk, *can, policy, expires, trades, state in rows(KEYS, user)
        }
        ((frozen_at, quarantined_until),) = rows(STOPS, user)
        return World(keys, frozen_at is not None, seconds(quarantined_until, 0.0))

    def judge(
        self,
        allowed: dict[uuid.UUID | None, list[Facts]] | None = None,
        lifts: tuple[str, uuid.UUID | None] | None = None,
        browser: int = 0,
    ) -> None:
        """Compare everything with the state before; ``allowed`` and ``lifts`` are what valid codes approved."""
        before, after, allowed = self.seen, self.look(), allowed or {}
        self.seen = after
        made = [pk for pk in after.keys if pk not in before.keys]
        assert len(made) <= len(allowed.get(None, [])), "a key was made"
        for pk, facts in after.keys.items():
            old = before.keys.get(pk)
            limits = [*([] if old is None else [old]), *allowed.get(pk if old else None, [])]
            assert not facts.over or old is not None
            if not facts.over:
                assert old is None or not old.over, "a deleted key came back"
                larger = exceeds(facts, limits)
                assert not larger, f"power that no codes approved: {larger}, was {old}, is {facts}"
            resumed = old is not None and old.paused and not facts.paused and not facts.over
            assert not resumed or lifts == ("resume", pk), "a paused key was resumed"
            self._note_change(pk, old, facts, browser)
        assert not before.frozen or after.frozen or lifts == ("thaw", None), "the account was thawed"
        lifted = after.quarantined_until < before.quarantined_until and before.quarantined_until > self.now
        assert not lifted or lifts == ("lift", None), "the quarantine was ended"
        self.compare(pk for pk, facts in after.keys.items() if facts != before.keys.get(pk))

    def _note_change(self, pk: uuid.UUID, old: Facts | None, facts: Facts, browser: int) -> None:
        if old is None:
            self.first[pk] = browser, self.now + 600
        elif facts != old:
            self.first.pop(pk, None)
            if not facts.over and exceeds(facts, [old]):
                self.count["approved growth"] += 1

    def compare(self, which_keys: Iterable[uuid.UUID]) -> None:
        """Compare what is allowed now, and at every later end, with the cells."""
        for pk in which_keys:
            facts, row = self.seen.keys[pk], ApiKey.objects.get(pk=pk)
            record, cells = key_loader.load(row.key_id), facts.cells()
            stopped = facts.paused or facts.over or self.seen.frozen
            moments = {self.now, *(end for end in facts.ends() if end > self.now)}
            for number, credential in enumerate(row.credentials.order_by("pk")):
                for moment in moments:
                    query = self.signed(row, credential, moment)
                    for permission, address in PROBES:
                        waits = permission != "read" and moment < self.seen.quarantined_until
                        may = moment < min(cells.get((permission, address, number), (0.0,)))
                        if may and not stopped and not waits:
                            continue
                        passed = decided(record, row.key_id, query, address, permission, moment).allowed
                        assert not passed, f"{permission} from {address} passes: {facts}, {self.seen}"

    def signed(self, row: ApiKey, credential: Credential, moment: float) -> bytes:
        client = BinanceClient(row.key_id, self.secret_of(credential))
        return client.call("GET", "/", [("timestamp", str(int(moment * 1000)))]).query

    def secret_of(self, credential: Credential) -> str:
        if credential.pk not in self.secrets:
            self.secrets[credential.pk] = crypto.unseal(credential.sealed, credential.seal_owner).decode()
        return self.secrets[credential.pk]

    # --- acting -----------------------------------------------------------------------------------------------------

    def post(self, browser: int, path: str, **data: Any) -> None:
        self.count["posts"] += 1
        if self.now - self.last_post > IDLE_SECONDS:
            self.log_in_again()
        with self.clock():
            self.browsers[browser].post(path, data)
        self.last_post = self.now

    def log_in_again(self) -> None:
        with self.clock():
            self.browsers = [self.browser(self.sara) for _n in range(2)]
        self.first.clear()
        self.last_post = self.now

    def ask(self, request: CodeRequest, **data: Any) -> CodeRequest | None:
        """Post the request; return None if no codes were requested."""
        before = len(sms_collector.messages)
        self.post(request.browser, request.path if "path" not in data else data.pop("path"), **data)
        return self.codes_sent(request, before)

    def codes_sent(self, request: CodeRequest, before: int) -> CodeRequest | None:
        new = sms_collector.messages[before:]
        if new:
            request.code, request.sent_at = new[-1].code, self.now
        else:
            # The same request twice within a minute: the first code stays valid.
            same = [other for other in self.code_requests if other.what == request.what]
            if not same:
                return None
            request.code, request.sent_at = same[-1].code, same[-1].sent_at
        self.count["questions"] += 1
        self.code_requests.append(request)
        return request

    def totp(self) -> str:
        """Return a valid, unused code; waits for the next one if necessary."""
        if int(self.now) // 30 <= self.typed_step:
            self.now = (self.typed_step + 1) * 30.0
        self.typed_step = int(self.now) // 30
        return self.sara.totp_at(self.now)

    def answer(self, page: CodeRequest, how: str, other: int = 0) -> None:
        """Enter codes on the page of a request. They may do what the entered SMS code was sent for."""
        if how == "none":
            return None
        sms = self.code_requests[other % len(self.code_requests)] if how == "stale" else page
        data = {"sms_code": sms.code if how != "totp" else "000000", "totp_code": "000000"}
        if how != "sms":
            data["totp_code"] = self.totp()
        right = how in ("both", "stale") and self.now < sms.sent_at + CODE_SECONDS
        self.count["both codes" if right else "not both codes"] += 1
        self.post(page.browser, page.path, **data)
        if not right:
            return self.judge(browser=page.browser)
        target = [sms.target(self.now)] if sms.target else []
        self.judge({sms.key: target}, sms.lifts, page.browser)
        return None

    # --- rules ------------------------------------------------------------------------------------------------------

    @rule(step=STEP)
    def act(self, step: tuple[str, dict[str, Any]]) -> None:
        name, arguments = step
        self.count[name] += 1
        getattr(self, name)(**arguments)

    def key(self, number: int) -> tuple[uuid.UUID, Facts]:
        """Return one of the keys; rarely a deleted one."""
        alive = [item for item in self.seen.keys.items() if not item[1].over]
        among = alive if alive and number else list(self.seen.keys.items())
        return among[number % len(among)]

    @initialize(permissions=SETS, networks=LISTS, expiry=EXPIRIES)
    def begin(self, permissions: frozenset[str], networks: tuple[str, ...] | None, expiry: str) -> None:
        """Create a key, mostly with first settings; few defects show in a key that only reads."""
        self.question(number=0, browser=0, kind="create", how="both", other=0)
        if permissions != {"read"}:
            self.edit(0, 0, permissions, networks, expiry, "none", 0)

    def edit(
        self,
        number: int,
        browser: int,
        permissions: frozenset[str],
        networks: tuple[str, ...] | None,
        expiry: str,
        how: str,
        other: int,
    ) -> None:
        pk, facts = self.key(number)
        expires = {"keep": facts.expires, "never": NEVER}.get(expiry, 0.0) or self.now + int(expiry) * DAY
        request = self._change(pk, facts, browser, permissions, networks, expires)
        owner, until = self.first.get(pk, (-1, 0.0))
        free = owner == browser and self.now < until and not facts.paused and not facts.over
        assert request.target is not None
        before = len(sms_collector.messages)
        data = {
            "permissions": sorted(permissions),
            "ip_policy": "unrestricted" if networks is None else "trusted",
            "networks": list(networks or ()),
            "network": "",
            "expiry": expiry,
            "expiry_date": "",
            "save": "1",
        }
        self.post(browser, f"/keys/{pk}/", **data)
        self.judge({pk: [request.target(self.now)]} if free else None, browser=browser)
        if self.codes_sent(request, before):
            self.answer(request, how, other)

    def _change(
        self,
        pk: uuid.UUID,
        facts: Facts,
        browser: int,
        permissions: frozenset[str],
        networks: tuple[str, ...] | None,
        expires: float,
    ) -> CodeRequest:
        what = ("change", pk, facts, permissions, networks, expires)
        path = f"/keys/{pk}/verify/"
        return CodeRequest(
            path, browser, what, pk, lambda now: facts.with_settings(permissions, networks, expires, now)
        )

    def trade_from_anywhere(self, number: int, browser: int, how: str) -> None:
        self.edit(number, browser, frozenset({"read", "trade"}), None, "keep", how, 0)

    def question(self, number: int, browser: int, kind: str, how: str, other: int) -> None:
        """Request codes, and enter some."""
        request = getattr(self, f"ask_{kind}")(number, browser, how)
        if request is not None:
            self.answer(request, how, other)
        else:
            self.judge(browser=browser)

    def renew(self, number: int, browser: int, how: str) -> None:
        """Renew trading from any address: with one code if only that one is entered, else with both."""
        self.question(number, browser, "renew", how, 0)

    def ask_create(self, _number: int, browser: int, _how: str) -> CodeRequest | None:
        if sum(not facts.over for facts in self.seen.keys.values()) >= MOST_KEYS:
            return None
        name = f"key {len(self.seen.keys)}"
        facts = Facts(frozenset({"read"}), None, NEVER, NEVER, (NEVER,))
        request = CodeRequest("/keys/new/verify/", browser, ("create", name), None, lambda _now: facts)
        return self.ask(request, path="/keys/", name=name)

    def ask_renew(self, number: int, browser: int, how: str) -> CodeRequest | None:
        pk, facts = self._trading(number)
        path = f"/keys/{pk}/renew/"
        renewed = self._renewed(facts)
        if how != "totp":
            request = CodeRequest(path, browser, ("renew", pk, facts), pk, renewed)
            return self.ask(request, resend="1")
        code = self.totp()
        runs = facts.trade_ends != NEVER and self.now < facts.trade_ends
        self.count["one code, trading" if runs else "one code, not trading"] += 1
        self.post(browser, path, code=code)
        self.judge({pk: [renewed(self.now)]} if runs else None, browser=browser)
        return None

    def _renewed(self, facts: Facts) -> Callable[[float], Facts]:
        if facts.trade_ends == NEVER:
            return lambda _now: facts
        return lambda now: replace(facts, trade_ends=now + 90 * DAY)

    def ask_resume(self, number: int, browser: int, _how: str) -> CodeRequest | None:
        pk, facts = self.key(number)
        request = CodeRequest(f"/keys/{pk}/resume/", browser, ("resume", pk, facts), pk, lifts=("resume", pk))
        return self.ask(request, resend="1")

    def ask_rotate(self, number: int, browser: int, _how: str) -> CodeRequest | None:
        pk, facts = self.key(number)
        grace = rotation.GRACE_PERIODS[number % len(rotation.GRACE_PERIODS)]
        after = replace(facts, credentials=(*facts.credentials, NEVER))
        request = CodeRequest(
            f"/keys/{pk}/rotate/verify/", browser, ("rotate", pk, facts, grace), pk, lambda _now: after
        )
        return self.ask(request, path=f"/keys/{pk}/rotate/", kind="hmac", grace=str(grace))

    def ask_approve_address(self, number: int, browser: int, _how: str) -> CodeRequest | None:
        pk, facts = self.key(number)
        row = RescueRequest.objects.filter(key=pk, closed_at=None).order_by("pk").first()
        if row is None:
            return None
        after = replace(facts, networks=(*(facts.networks or ()), row.address))
        request = CodeRequest(
            f"/keys/{pk}/rescue/{row.pk}/",
            browser,
            ("approve_address", pk, facts, row.pk),
            pk,
            lambda _now: after,
        )
        return self.ask(request, resend="1")

    def ask_grant(self, number: int, browser: int, _how: str) -> CodeRequest | None:
        pk, facts = self.key(number)
        row = ApiKey.objects.get(pk=pk).refusals.filter(outcome=Outcome.PERMISSION.value).first()
        if row is None:
            return None
        wanted = facts.permissions | {row.permission}
        request = self._change(pk, facts, browser, wanted, facts.networks, facts.expires)
        return self.ask(request, path=f"/keys/{pk}/refusals/{row.pk}/grant/")

    def ask_add(self, number: int, browser: int, _how: str) -> CodeRequest | None:
        pk, facts = self.key(number)
        row = ApiKey.objects.get(pk=pk).refusals.filter(outcome=Outcome.ADDRESS_REFUSED.value).first()
        if row is None:
            return None
        wanted = (*(facts.networks or ()), row.address)
        request = self._change(pk, facts, browser, facts.permissions, wanted, facts.expires)
        return self.ask(request, path=f"/keys/{pk}/refusals/{row.pk}/add/")

    def answer_later(self, number: int, how: str, other: int) -> None:
        """Enter codes on a page that was left open, the newest first."""
        if self.code_requests:
            self.answer(self.code_requests[-1 - number % len(self.code_requests)], how, other)

    def reduce(self, number: int, browser: int, kind: str) -> None:
        """Run an action that needs no codes, and so may not add power."""
        pk, facts = self.key(number)
        row = ApiKey.objects.get(pk=pk)
        credentials = list(row.credentials.order_by("-pk"))
        waiting = RescueRequest.objects.filter(key=pk, closed_at=None).first()
        path, data = {
            "pause": ("pause/", {}),
            "drop": ("permissions/drop/", {"permissions": kind.removeprefix("drop ")}),
            "end": (f"credentials/{credentials[number % len(credentials)].serial}/end/", {}),
            "rename": ("", {**_unchanged(facts), "name": f"name {number}"}),
            "toggle": ("rescue/", {"asks": "off" if number % 2 else "on"}),
            "dismiss": (f"rescue/{waiting.pk if waiting else 0}/dismiss/", {}),
            "delete": ("delete/", {"name": row.label}),
        }[kind.partition(" ")[0]]
        if kind == "dismiss" and waiting is None:
            return
        self.post(browser, f"/keys/{pk}/{path}", **data)
        self.judge(browser=browser)

    def account(self, browser: int, kind: str, how: str, other: int) -> None:
        if kind == "freeze":
            self.post(browser, "/freeze/")
            self.log_in_again()
        elif kind == "replace a factor":
            with self.clock():
                freeze.quarantine(self.sara.user)
                sessions.end_all(self.sara.user)
            self.log_in_again()
        else:
            path = "/thaw/" if kind == "thaw" else "/quarantine/"
            request = self.ask(CodeRequest(path, browser, (kind,), lifts=(kind, None)), resend="1")
            if request is not None:
                return self.answer(request, how, other)
        return self.judge(browser=browser)

    def wait(self, span: int) -> None:
        self.now += span

    def wait_for_an_end(self, number: int, early: bool) -> None:
        """Wait until a later end, the second before it, or the time at which a renewal is offered."""
        ends = {
            self.seen.quarantined_until,
            *(end for facts in self.seen.keys.values() for end in facts.ends()),
        }
        ends |= {
            facts.trade_ends - 29 * DAY for facts in self.seen.keys.values() if facts.trade_ends != NEVER
        }
        ahead = sorted({end - early for end in ends if end - early > self.now})
        if ahead:
            self.now = ahead[number % len(ahead)]

    def lapse(self, number: int) -> None:
        """Wait until trading from any address has ended, which other actions rarely reach."""
        _pk, facts = self._trading(number)
        if facts.trade_ends != NEVER:
            self.now = max(self.now, facts.trade_ends)

    def _trading(self, number: int) -> tuple[uuid.UUID, Facts]:
        """Return a key that trades from any address, or did; if there is none, another key."""
        unrestricted = [
            item for item in self.seen.keys.items() if item[1].trade_ends != NEVER and not item[1].over
        ]
        return unrestricted[number % len(unrestricted)] if unrestricted else self.key(number)

    def call(self, number: int, newest: bool, permission: str, address: str) -> None:
        """Send a program's request, which may record a first use, a rejection, or a request for a new address."""
        pk, _facts = self.key(number)
        row = ApiKey.objects.get(pk=pk)
        credential = row.credentials.order_by("-pk" if newest else "pk")[0]
        query = self.signed(row, credential, self.now)
        with self.clock():
            decision = decided(key_loader.load(row.key_id), row.key_id, query, address, permission, self.now)
            recorder.record(row.key_id, decision, address, permission)
        self.judge()


def _unchanged(facts: Facts) -> dict[str, Any]:
    return {
        "permissions": sorted(facts.permissions),
        "ip_policy": "unrestricted" if facts.networks is None else "trusted",
        "networks": list(facts.networks or ()),
        "network": "",
        "expiry": "keep",
        "expiry_date": "",
        "save": "1",
    }


KEY, NETWORK, CREDENTIAL, CUSTOMER = (
    model._meta.db_table for model in (ApiKey, AllowedNetwork, Credential, User)
)
OF_CUSTOMER = f"JOIN {KEY} k ON k.id = n.key_id WHERE k.owner_id = %s"
KEYS = (
    "SELECT id, can_read, can_trade, can_withdraw, ip_policy, expires_at, trade_until, state "
    f"FROM {KEY} WHERE owner_id = %s ORDER BY created_at, id"
)
STOPS = f"SELECT frozen_at, quarantined_until FROM {CUSTOMER} WHERE id = %s"


def rows(statement: str, *parameters: int) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        result: list[tuple[Any, ...]] = cursor.fetchall()
        return result


def seconds(moment: datetime | None, otherwise: float) -> float:
    """Return seconds since 1970; SQLite omits the time zone (UTC)."""
    if moment is None:
        return otherwise
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def decided(
    record: KeyRecord | None,
    name: str,
    query: bytes,
    address: str,
    permission: str,
    moment: float,
) -> verification_decision.Decision:
    return verification_decision.decide(
        record,
        api_key=name,
        query=query,
        body=b"",
        client_ip=address,
        permission=permission,
        now_ms=int(moment * 1000),
    )


# --- defects that have to be found --------------------------------------------------------------------------------


def _one_code_renews_what_ended(before: Power, after: Power, now: datetime) -> Codes:
    needed = _codes_for(before, after, now)
    same_else = replace(after, trades_until=before.trades_until) == before
    renews = after.trades_until is not None and same_else
    return power.Codes.AUTHENTICATOR if needed is power.Codes.BOTH and renews else needed


def _only_everywhere_is_more(before: tuple[str, ...] | None, after: tuple[str, ...] | None) -> bool:
    return before is not None and after is None


_codes_for = power.codes_for
#: Replacements of the product's functions while a defect is searched.
PLANTED: dict[str, list[tuple[str, Any]]] = {
    "one code renews trading that has ended": [("apikeys.policy.power.codes_for", _one_code_renews_what_ended)],
    "restricting a key ends the end of its trading": [("apikeys.policy.power.trades_longer", lambda *_a: False)],
    "an expiry is moved without codes": [("apikeys.policy.power._is_later", lambda *_a: False)],
    "an address is added without codes": [("apikeys.policy.power._opens_addresses", _only_everywhere_is_more)],
    "first settings are given again and again": [
        ("apikeys.models.ApiKey.end_first_settings", lambda _key: True),
        (
            "apikeys.pages.session_state.is_fresh",
            lambda request, key: str(key.pk) == request.session.get("made_key", {}).get("key"),
        ),
    ],
    "a code holds for the key as it becomes": [("apikeys.actions.consent.state_of", lambda key: {"name": key.label})],
    "a code approves anything of its kind": [
        ("accounts.choices.approvals.Approval.binding", property(lambda approval: f"{approval.purpose.value:0>64}"))
    ],
    "an SMS code is good for ever": [("accounts.factors.verification.SMS_LIFETIME", timedelta(days=400))],
}  # fmt: skip


@contextmanager
def planted(name: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for target, replacement in PLANTED[name]:
            patch.setattr(target, replacement)
        yield


def hunt(sequences: int, browser: type[Browser] = Views, **options: Any) -> None:
    """Run ``sequences``; raise `AssertionError` for one that ends with too much power."""
    machine = type("Walk", (Walk,), {"browser": browser})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=sequences,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
            **options,
        ),
    )


def seconds_to_find(name: str, sequences: int) -> float | None:
    """Return the CPU seconds until the planted defect was found; None if it was not found."""
    began = time.process_time()
    with planted(name):
        # In rounds: hypothesis varies what it has tried, and a round that began far from the defect stays there.
        for _n in range(0, sequences, ROUND):
            try:
                hunt(ROUND, phases=[Phase.generate], verbosity=Verbosity.quiet)
            except AssertionError:
                return time.process_time() - began
    return None


# --- the command ----------------------------------------------------------------------------------------------------

#: The defect that has to be found within a minute of CPU time; the others within a number of sequences.
RENEWAL, LONGEST_SECONDS = "one code renews trading that has ended", 60
MOST_FOR_A_HOLE = 5000


def find_holes(names: list[str]) -> bool:
    """Return whether each defect was found, and RENEWAL in time."""
    all_found = True
    for name in names:
        spent = seconds_to_find(name, MOST_FOR_A_HOLE)
        all_found = all_found and spent is not None and (name != RENEWAL or spent <= LONGEST_SECONDS)
        result = "not found" if spent is None else f"found in {spent:.1f} s of a processor"
        print(f"planted: {name}: {result}", flush=True)
    return all_found


def work(sequences: int, pages: int, holes: list[str]) -> int:
    """Do the work of one process, on SQLite in memory."""
    from django.core.management import call_command
    from django.test.utils import setup_databases

    setup_databases(verbosity=0, interactive=False)
    call_command("collectstatic", interactive=False, verbosity=0)
    all_found = find_holes(holes)
    for number, browser in ((sequences, Views), (pages, Pages)):
        Walk.count.clear()
        began = time.monotonic()
        if number:
            hunt(number, browser)
            figures = ", ".join(f"{name} {count:,}" for name, count in sorted(Walk.count.items()))
            took = time.monotonic() - began
            print(f"{browser.__name__}: no counterexample in {took:.0f} s ({figures})", flush=True)
    return 0 if all_found else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sequences", type=int, default=10_000, help="through the view functions")
    parser.add_argument("--pages", type=int, default=300, help="sequences through whole requests")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--every-hole", action="store_true", help="look for all planted holes, not for one")
    parser.add_argument("--part", type=int, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    of = options.processes
    if options.part is not None or of == 1:
        part = options.part or 0
        sequences, pages = (-(-(n - part) // of) for n in (options.sequences, options.pages))
        return work(sequences, pages, (list(PLANTED) if options.every_hole else [RENEWAL])[part::of])
    command = [sys.executable, "-m", "tests.support.power", *sys.argv[1:]]
    parts = [subprocess.Popen([*command, "--part", str(part)], cwd=production.ROOT) for part in range(of)]
    return max(part.wait() for part in parts)


if __name__ == "__main__":
    try:
        sys.exit(main())
    finally:
        shutil.rmtree(directory, ignore_errors=True)
