"""Rotation: two credentials, the end of the old one, and at least one is always left."""

import time
import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from apikeys.actions import key_loader, rotation
from apikeys.models import ApiKey, Credential
from apikeys.policy.choices import KeyState
from apikeys.usage import recorder
from apikeys.verification import decision as verification_decision
from apikeys.verification.outcomes import Outcome
from hitobit_portal.security import crypto
from tests.support.binance_client import BinanceClient
from tests.support.people import ADDRESS, customer, key_of, secret_of

pytestmark = pytest.mark.django_db
HOUR, DAY = 3600, 86_400


@pytest.fixture
def key() -> ApiKey:
    return key_of(customer())


def secret(credential: Credential) -> str:
    return crypto.unseal(credential.sealed, credential.seal_owner).decode()


def use(key: ApiKey, signed_with: str, after: float = 0) -> Outcome:
    """Send a request ``after`` seconds from now, and record it."""
    now_ms = int((time.time() + after) * 1000)
    query = BinanceClient(key.key_id, signed_with).call("GET", "/", [("timestamp", str(now_ms))]).query
    decision = verification_decision.decide(
        key_loader.load(key.key_id), api_key=key.key_id, query=query, body=b"", client_ip=ADDRESS,
        permission="read", now_ms=now_ms,
    )  # fmt: skip
    recorder.record(key.key_id, decision, ADDRESS, "read")
    return decision.outcome


def rotated(key: ApiKey, grace: int) -> tuple[str, str]:
    """Return the old and the new secret."""
    old = secret_of(key)
    return old, secret(rotation.rotate(key, None, grace, uuid.uuid4()))


def test_both_secrets_sign_until_the_new_one_was_used(key: ApiKey) -> None:
    old, new = rotated(key, HOUR)
    assert old != new
    assert use(key, old) is Outcome.ALLOWED
    assert use(key, old, after=30 * DAY) is Outcome.ALLOWED
    assert use(key, new) is Outcome.ALLOWED


@pytest.mark.parametrize("grace", rotation.GRACE_PERIODS)
def test_the_old_secret_lives_so_long_after_the_first_use_of_the_new_one(key: ApiKey, grace: int) -> None:
    old, new = rotated(key, grace)
    assert use(key, new) is Outcome.ALLOWED
    if grace:
        assert use(key, old, after=grace - 5) is Outcome.ALLOWED
    assert use(key, old, after=grace + 5) is Outcome.SIGNATURE
    assert use(key, new, after=grace + 5) is Outcome.ALLOWED


def test_later_uses_of_the_new_secret_move_nothing(key: ApiKey) -> None:
    _old, new = rotated(key, DAY)
    use(key, new)
    ends = Credential.objects.filter(key=key).order_by("pk")[0].retires_at
    use(key, new, after=HOUR)
    assert Credential.objects.filter(key=key).order_by("pk")[0].retires_at == ends


def test_two_credentials_at_most(key: ApiKey) -> None:
    rotated(key, DAY)
    with pytest.raises(rotation.CannotRotate):
        rotation.rotate(key, None, 0, uuid.uuid4())
    assert key.credentials.count() == 2


def test_a_third_one_when_the_first_has_ended(key: ApiKey) -> None:
    _old, new = rotated(key, 0)
    use(key, new)
    assert rotation.rotate(key, None, 0, uuid.uuid4())
    assert len(rotation.live_credentials(key)) == 2


@pytest.mark.parametrize("state", [KeyState.FROZEN, KeyState.REVOKED])
def test_a_key_that_is_not_active_is_not_rotated(key: ApiKey, state: KeyState) -> None:
    key.set_state(state)
    with pytest.raises(rotation.CannotRotate):
        rotation.rotate(key, None, 0, uuid.uuid4())


def test_the_old_one_is_ended_by_hand_at_once_and_the_only_one_never(key: ApiKey) -> None:
    old, new = rotated(key, DAY)
    first, second = rotation.live_credentials(key)
    assert rotation.end(key, first)
    assert use(key, old) is Outcome.SIGNATURE
    assert use(key, new) is Outcome.ALLOWED
    assert not rotation.end(key, second)
    assert not rotation.end(key, first)
    assert use(key, new) is Outcome.ALLOWED


def test_ending_the_new_one_leaves_the_old_one_the_end_it_has(key: ApiKey) -> None:
    old, new = rotated(key, HOUR)
    use(key, new)
    assert rotation.end(key, rotation.live_credentials(key)[1])
    assert use(key, old) is Outcome.ALLOWED
    assert use(key, old, after=HOUR + 5) is Outcome.SIGNATURE


def test_another_keys_credential_is_not_ended(key: ApiKey) -> None:
    other = key_of(customer())
    rotated(key, DAY)
    assert not rotation.end(key, other.credentials.get())
    assert other.credentials.get().retires_at is None


def test_no_other_grace_than_those_offered(key: ApiKey) -> None:
    with pytest.raises(ValueError, match="grace"):
        rotation.rotate(key, None, 5, uuid.uuid4())


def test_a_credential_that_ended_long_ago_does_not_sign(key: ApiKey) -> None:
    old = secret_of(key)
    Credential.objects.filter(key=key).update(retires_at=timezone.now() - timedelta(seconds=1))
    assert use(key, old) is Outcome.SIGNATURE


def test_what_has_ended_is_no_work_for_anybody_any_more(key: ApiKey) -> None:
    """SECURITY: otherwise a key that was rotated often delays the gateway, and its time shows that it exists."""
    for _n in range(5):
        made = rotation.rotate(key, None, 0, uuid.uuid4())
        rotation.end(key, rotation.live_credentials(key)[0])
    record, explained = key_loader.load(key.key_id), key_loader.load_for_debugger([key])[key.key_id]
    assert record is not None
    assert key.credentials.count() == 6
    newest = key.credentials.order_by("-pk")[: key_loader.MAX_EXPLAINED_CREDENTIALS]
    assert [one.id for one in explained.credentials] == sorted(one.pk for one in newest)
    assert [one.id for one in record.credentials] == [rotation.live_credentials(key)[0].pk]
    assert use(key, secret(made)) is Outcome.ALLOWED
    rotation.rotate(key, None, DAY, uuid.uuid4())
    record = key_loader.load(key.key_id)
    assert record is not None
    assert len(record.credentials) == 2


def test_a_key_without_a_live_credential_is_a_key_still(key: ApiKey) -> None:
    Credential.objects.filter(key=key).update(retires_at=timezone.now())
    record = key_loader.load(key.key_id)
    assert record is not None
    assert record.credentials == ()
