"""Two browsers with the password of one account: no order of their steps allows a login without own factors."""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from itertools import combinations
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from hypothesis.strategies import sampled_from

from accounts.choices.events import Event
from accounts.factors import verification
from accounts.models import AuditEvent, FactorGuard, Notice, SmsCode, TotpDevice
from hitobit_portal.security import crypto
from tests.support import people, sms_collector
from tests.support.examples import times
from tests.support.people import Person

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("collected_sms")]
SECOND, SMS, TOTP = "/login/second-factor/", "/enrol/sms/", "/enrol/totp/"
REPLACE, RECOVERY = "/enrol/totp/replace/", "/enrol/recovery-codes/"
CHANGE, CHANGED = "/settings/totp/", "/settings/totp/new/"
STARTS = ["nothing", "phone", "both"]


class Browser:
    """A browser, the codes and seeds that its user has seen, and the factors proved in its login according to the
    test.
    """

    def __init__(self) -> None:
        self.client: Client = people.browser()
        self.seeds: set[str] = set()
        self.recovery: list[str] = []
        self.begin(2)

    def begin(self, needs: int) -> None:
        self.needs = needs
        self.proved: set[str] = set()
        self.requested_codes: set[str] = set()  # SMS codes that this login requested
        self.shown: set[str] = set()  # seeds that this login was shown

    def is_in(self) -> bool:
        return people.clone_browser(self.client).get("/dashboard/").status_code == 200


class World:
    """The account and both browsers. Both read every SMS; each step may be taken at any time."""

    def __init__(self, start: str) -> None:
        sms_collector.reset()
        person = people.newcomer() if start == "nothing" else people.half_enrolled()
        self.person = people.with_authenticator(person) if start == "both" else person
        self.browsers = {"owner": Browser(), "thief": Browser()}
        if start == "both":
            self.browsers["owner"].seeds.add(self.person.seed)
            self.browsers["owner"].recovery = people.recovery_codes(self.person)

    def a_while_passes(self) -> None:
        """Remove resend delays, rate limits and used steps, which would hide the property under test."""
        cache.clear()
        before = timezone.now() - timedelta(seconds=61)
        SmsCode.objects.filter(user=self.person.user).update(sent_at=before)
        FactorGuard.objects.filter(user=self.person.user).update(failures=[], in_a_row=0)
        TotpDevice.objects.filter(user=self.person.user).update(last_step=-1)

    def post(self, who: str, path: str, **fields: str) -> Any:
        self.a_while_passes()
        return self.browsers[who].client.post(path, fields)

    def seed_of_the_account(self) -> str:
        device = TotpDevice.objects.filter(user=self.person.user, confirmed=True).first()
        return (
            crypto.unseal(device.seed_sealed, verification.seal_owner(self.person.user)).decode()
            if device
            else ""
        )

    def log_in(self, who: str) -> None:
        """With the password."""
        self.browsers[who].client = people.half_logged_in(self.person)
        self.browsers[who].begin(1 if self.person.reload().has_both_factors else 2)

    def ask_sms(self, who: str, path: str) -> None:
        count = len(sms_collector.messages)
        self.post(who, path, **({"switch": "sms"} if path == SECOND else {"resend": "1"}))
        self.browsers[who].requested_codes |= {message.code for message in sms_collector.messages[count:]}

    def type_sms(self, who: str, path: str) -> None:
        """Enter the newest SMS code, whichever login requested it."""
        if sms_collector.messages:
            code = sms_collector.newest().code
            self.browsers[who].proved |= {"sms"} if code in self.browsers[who].requested_codes else set()
            self.post(who, f"{path}?method=sms", code=code)

    def look_at_seed(self, who: str, path: str) -> None:
        response: Any = self.browsers[who].client.get(path)
        if response.status_code == 200:
            self.browsers[who].shown.add(response.context["secret"])
            self.browsers[who].seeds.add(response.context["secret"])

    def type_totp(self, who: str, path: str) -> None:
        """Enter a code of each authenticator that this user has."""
        browser = self.browsers[who]
        for seed in sorted(browser.seeds):
            browser.proved |= {"totp"} if seed in {self.seed_of_the_account(), *browser.shown} else set()
            self.post(who, f"{path}?method=totp", code=Person(self.person.user, "", seed).totp())

    def type_recovery(self, who: str, *, lost: bool) -> None:
        browser = self.browsers[who]
        if browser.recovery:
            browser.proved.add("recovery")
            fields = {"code": browser.recovery.pop(), **({"lost": "1"} if lost else {})}
            self.post(who, f"{SECOND}?method=recovery", **fields)

    def approve_another_authenticator(self, who: str) -> None:
        """In the settings, by both codes."""
        self.ask_sms(who, CHANGE)
        for seed in sorted(self.browsers[who].seeds):
            if sms_collector.messages:
                totp = Person(self.person.user, "", seed).totp()
                self.post(who, CHANGE, sms_code=sms_collector.newest().code, totp_code=totp)

    def get_recovery_codes(self, who: str, *, renew: bool) -> None:
        browser = self.browsers[who]
        response: Any = self.post(who, RECOVERY, renew="1") if renew else browser.client.get(RECOVERY)
        if response.status_code == 200:
            assert len(browser.proved) >= 2, "recovery codes are for who has proved both in this login"
            browser.recovery = list(response.context["codes"]) or browser.recovery

    def finish(self, who: str) -> None:
        self.post(who, RECOVERY, finish="1")

    def go_on(self, who: str) -> None:
        """Perform the step of the page to which the portal redirects this browser."""
        where = (
            people.clone_browser(self.browsers[who].client).get("/dashboard/").headers.get("Location", "/")
        )
        if where.startswith("/login/?"):
            self.log_in(who)
        elif where in (SECOND, SMS):
            self.ask_sms(who, where)
            self.type_sms(who, where)
        elif where in (TOTP, REPLACE):
            self.look_at_seed(who, where)
            self.type_totp(who, where)
        elif where == RECOVERY:
            self.get_recovery_codes(who, renew=True)
            self.finish(who)

    def check(self) -> None:
        for who, browser in self.browsers.items():
            if browser.is_in():
                assert len(browser.proved) >= browser.needs, f"the {who} is in by {browser.proved}"
        seen = [browser.seeds for browser in self.browsers.values()]
        assert self.seed_of_the_account() not in seen[0] & seen[1], "both know the account's authenticator"
        renewed = AuditEvent.objects.filter(customer=self.person.user, event=Event.RECOVERY_RENEWED.value)
        assert Notice.objects.filter(event__in=renewed).count() >= renewed.count()


WHO = sampled_from(["owner", "thief"])


class TwoBrowsers(RuleBasedStateMachine):
    @initialize(start=sampled_from(STARTS))
    def account(self, start: str) -> None:
        self.world = World(start)

    @rule(who=WHO)
    def goes_on(self, who: str) -> None:
        self.world.go_on(who)

    @rule(who=WHO)
    def goes_on_again(self, who: str) -> None:
        self.world.go_on(who)

    @rule(who=WHO)
    def logs_in(self, who: str) -> None:
        self.world.log_in(who)

    @rule(who=WHO, path=sampled_from([SMS, SECOND, CHANGE]))
    def asks_for_an_sms(self, who: str, path: str) -> None:
        self.world.ask_sms(who, path)

    @rule(who=WHO, path=sampled_from([SMS, SECOND]))
    def types_an_sms(self, who: str, path: str) -> None:
        self.world.type_sms(who, path)

    @rule(who=WHO, path=sampled_from([TOTP, REPLACE, CHANGED]))
    def looks_at_a_seed(self, who: str, path: str) -> None:
        self.world.look_at_seed(who, path)

    @rule(who=WHO, path=sampled_from([TOTP, REPLACE, CHANGED, SECOND]))
    def types_codes_of_authenticators(self, who: str, path: str) -> None:
        self.world.type_totp(who, path)

    @rule(who=WHO, lost=sampled_from([True, False]))
    def types_a_recovery_code(self, who: str, lost: bool) -> None:
        self.world.type_recovery(who, lost=lost)

    @rule(who=WHO)
    def approves_another_authenticator(self, who: str) -> None:
        self.world.approve_another_authenticator(who)

    @rule(who=WHO, renew=sampled_from([True, False]))
    def gets_recovery_codes(self, who: str, renew: bool) -> None:
        self.world.get_recovery_codes(who, renew=renew)

    @rule(who=WHO)
    def finishes(self, who: str) -> None:
        self.world.finish(who)

    @invariant()
    def nobody_is_in_without_factors_of_their_own(self) -> None:
        if hasattr(self, "world"):
            self.world.check()


def test_a_login_needs_its_own_factors() -> None:
    run_state_machine_as_test(
        TwoBrowsers,
        settings=settings(
            max_examples=times(12),
            stateful_step_count=18,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


#: Steps that are done without the other browser in between.
Step = Sequence[Callable[[World], None]]


def enrolling(who: str) -> list[Step]:
    return [
        [lambda w: w.log_in(who), lambda w: w.ask_sms(who, SECOND), lambda w: w.type_sms(who, SECOND)],
        [lambda w: w.look_at_seed(who, TOTP), lambda w: w.type_totp(who, TOTP)],
        [lambda w: w.get_recovery_codes(who, renew=False), lambda w: w.finish(who)],
    ]


def stealing(who: str) -> list[Step]:
    """Do everything that `enrolling` does, except entering a code of an authenticator."""
    return [
        [*enrolling(who)[0], lambda w: w.look_at_seed(who, TOTP)],
        [lambda w: w.get_recovery_codes(who, renew=True)],
        [lambda w: w.finish(who)],
    ]


def replacing(who: str) -> list[Step]:
    """Use a found recovery code, as if the authenticator were lost."""
    return [
        [lambda w: w.log_in(who), lambda w: w.type_recovery(who, lost=True)],
        [lambda w: w.look_at_seed(who, REPLACE)],
        [lambda w: w.type_totp(who, REPLACE)],
    ]


def changing(who: str) -> list[Step]:
    return [
        [lambda w: w.log_in(who), lambda w: w.type_totp(who, SECOND)],
        [lambda w: w.approve_another_authenticator(who)],
        [lambda w: w.look_at_seed(who, CHANGED), lambda w: w.type_totp(who, CHANGED)],
    ]


def interleavings(one: Sequence[Step], other: Sequence[Step]) -> Iterator[list[Step]]:
    """Return every interleaving of both sequences."""
    count = len(one) + len(other)
    for places in combinations(range(count), len(one)):
        first, second = iter(one), iter(other)
        yield [next(first) if n in places else next(second) for n in range(count)]


# Hundreds of logins each.
@pytest.mark.verify
@pytest.mark.parametrize(
    ("start", "owner", "thief"),
    [("phone", enrolling, stealing), ("phone", enrolling, enrolling), ("both", changing, replacing)],
    ids=["enrols beside a thief", "both enrol", "changes beside a replacement"],
)
def test_every_interleaving(start: str, owner: Any, thief: Any) -> None:
    ends = set()
    for steps in interleavings(owner("owner"), thief("thief")):
        world = World(start)
        if start == "both":
            world.browsers["thief"].recovery = [world.browsers["owner"].recovery.pop()]
        for step in steps:
            for act in step:
                act(world)
            world.check()
        ends.add(tuple(who for who, browser in world.browsers.items() if browser.is_in()))
    assert ("owner",) in ends, "the steps do lead in"
