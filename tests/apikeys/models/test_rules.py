"""The model of keys, and its rules, which no form, queryset or SQL statement bypasses."""

import re
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.utils import timezone

from apikeys.actions import key_loader
from apikeys.models import AllowedNetwork, ApiKey, Credential, KeyLimitReached
from apikeys.policy.choices import LIVE_KEYS, NETWORKS_A_KEY, KeyState
from apikeys.policy.names import InvalidName
from hitobit_portal.security import crypto
from tests.support.people import Person, customer, key_of, secret_of

pytestmark = pytest.mark.django_db
FREE, TRUSTED = "unrestricted", "trusted"
NETWORK = "203.0.113.0/24"


def by_hand(statement: str, *values: Any) -> None:
    """Run one SQL statement without the ORM, as in a database shell."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            statement,
            [value.hex if isinstance(value, uuid.UUID) and is_sqlite() else value for value in values],
        )
        assert cursor.rowcount == 1


def is_sqlite() -> bool:
    return connection.vendor == "sqlite"


def withdrawing(person: Person, *networks: str, name: str = "bot") -> ApiKey:
    key = key_of(person, name)
    key.apply(["read", "withdraw"], TRUSTED, networks or [NETWORK])
    return key


def reloaded(key: ApiKey) -> ApiKey:
    return ApiKey.objects.get(pk=key.pk)


def test_new_key_is_active_reads_only_and_is_unrestricted(sara: Person) -> None:
    key = reloaded(key_of(sara))
    assert (key.state, key.permissions, key.ip_policy) == ("active", frozenset({"read"}), FREE)
    assert key.last_used_at is None


def test_key_and_secret_are_64_letters_and_digits_and_never_the_same(sara: Person) -> None:
    keys = [key_of(sara, f"bot {n}") for n in range(10)]
    texts = [text for key in keys for text in (key.key_id, secret_of(key))]
    assert all(re.fullmatch("[A-Za-z0-9]{64}", text) for text in texts)
    assert len(set(texts)) == 20


def test_secret_is_sealed_to_its_own_credential(sara: Person) -> None:
    one, other = (Credential.objects.get(key=key_of(sara, name)) for name in ("one", "other"))
    assert one.sealed.startswith("v1:test:")
    Credential.objects.filter(pk=other.pk).update(sealed=one.sealed)  # moved to a row of the attacker's own
    other.refresh_from_db()
    with pytest.raises(crypto.SealError):
        other.reveal()


def test_secret_is_revealed_the_first_time_only(sara: Person) -> None:
    key = key_of(sara)
    secret = secret_of(key)
    credentials = [
        Credential.objects.get(key=key) for _n in range(3)
    ]  # three requests that read the row at once
    assert [credential.reveal() for credential in credentials] == [secret, None, None]
    assert Credential.objects.get(key=key).reveal() is None


def test_public_key_has_no_secret_to_reveal(sara: Person) -> None:
    key = key_of(sara)
    Credential.objects.filter(key=key).delete()
    credential = Credential.objects.create(key=key, kind="ed25519", public_key="AAAA")
    assert credential.reveal() is None


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "hmac", "sealed": "", "public_key": ""},
        {"kind": "hmac", "sealed": "x", "public_key": "x"},
        {"kind": "ed25519", "sealed": "x", "public_key": ""},
        {"kind": "rsa", "sealed": "x", "public_key": "x"},
    ],
)
def test_credential_has_either_a_secret_or_a_public_key(sara: Person, fields: dict[str, str]) -> None:
    key = key_of(sara)
    with pytest.raises(IntegrityError), transaction.atomic():
        Credential.objects.create(key=key, **fields)


COMEBACKS: list[Callable[[ApiKey], Any]] = [
    lambda key: ApiKey.objects.filter(pk=key.pk).update(state="active"),
    lambda key: ApiKey.objects.filter(pk=key.pk).update(state="frozen"),
    lambda key: ApiKey.objects.bulk_update([_changed(key, state="active")], ["state"]),
    lambda key: _changed(key, state="active").save(),
    lambda key: _changed(key, state="active").save(update_fields=["state"]),
    lambda key: _changed(key, state="active").save_base(raw=True),
    lambda key: by_hand("UPDATE apikeys_apikey SET state = 'active' WHERE id = %s", key.pk),
    lambda key: by_hand(
        "UPDATE apikeys_apikey SET state = 'frozen', revoked_at = NULL WHERE id = %s", key.pk
    ),
    lambda key: key.apply(["read", "trade"], FREE, []),
]


def _changed(key: ApiKey, **values: Any) -> ApiKey:
    for name, value in values.items():
        setattr(key, name, value)
    return key


@pytest.mark.parametrize("comeback", COMEBACKS, ids=range(len(COMEBACKS)))
def test_revoked_key_never_comes_back(sara: Person, comeback: Callable[[ApiKey], Any]) -> None:
    key = key_of(sara)
    assert key.set_state(KeyState.REVOKED)
    with pytest.raises((DatabaseError, ValidationError)), transaction.atomic():
        comeback(reloaded(key))
    after = reloaded(key)
    assert (after.state, after.permissions) == ("revoked", frozenset({"read"}))


def test_state_moves_between_active_and_frozen_and_ends_with_revoked(sara: Person) -> None:
    key = key_of(sara)
    moves = [
        KeyState.FROZEN,
        KeyState.FROZEN,
        KeyState.ACTIVE,
        KeyState.ACTIVE,
        KeyState.REVOKED,
        KeyState.REVOKED,
        KeyState.ACTIVE,
        KeyState.FROZEN,
    ]
    assert [key.set_state(state) for state in moves] == [True, False, True, False, True, False, False, False]
    assert reloaded(key).state == "revoked"
    assert reloaded(key).revoked_at is not None


def test_unknown_state_or_policy_is_rejected_by_the_database(sara: Person) -> None:
    key = key_of(sara)
    for values in ({"state": "alive"}, {"ip_policy": "open"}, {"key_id": "x" * 63}, {"key_id": "é" * 64}):
        with pytest.raises(IntegrityError), transaction.atomic():
            ApiKey.objects.filter(pk=key.pk).update(**values)


BARE: list[Callable[[ApiKey], Any]] = [
    lambda key: key.apply(["read", "withdraw"], FREE, []),
    lambda key: key.apply(["withdraw"], TRUSTED, []),
    lambda key: _changed(key, can_withdraw=True).save(),
    lambda key: _changed(key, can_withdraw=True, ip_policy=TRUSTED).save(),
    lambda key: ApiKey.objects.filter(pk=key.pk).update(can_withdraw=True),
    lambda key: ApiKey.objects.filter(pk=key.pk).update(can_withdraw=True, ip_policy=TRUSTED),
    lambda key: by_hand("UPDATE apikeys_apikey SET can_withdraw = %s WHERE id = %s", True, key.pk),
    lambda key: by_hand(
        "UPDATE apikeys_apikey SET can_withdraw = %s, ip_policy = 'trusted' WHERE id = %s", True, key.pk
    ),
    lambda key: ApiKey.objects.create(
        owner=key.owner, label="x", label_folded="x", key_id="x" * 64, can_withdraw=True, ip_policy=TRUSTED
    ),
]


@pytest.mark.parametrize("attempt", BARE, ids=range(len(BARE)))
def test_withdraw_needs_a_trusted_network(sara: Person, attempt: Callable[[ApiKey], Any]) -> None:
    key = key_of(sara)
    with pytest.raises((DatabaseError, ValidationError)), transaction.atomic():
        attempt(key)
    assert not ApiKey.objects.filter(can_withdraw=True).exists()


def test_withdraw_with_a_network_is_allowed(sara: Person) -> None:
    assert reloaded(withdrawing(sara)).permissions == {"read", "withdraw"}


REMOVALS: list[Callable[[ApiKey], Any]] = [
    lambda key: key.networks.all().delete(),
    lambda key: key.networks.get().delete(),
    lambda key: by_hand("DELETE FROM apikeys_allowednetwork WHERE key_id = %s", key.pk),
]


@pytest.mark.parametrize("remove", REMOVALS, ids=range(len(REMOVALS)))
def test_removing_the_last_network_removes_withdraw_and_accepts_no_address(
    sara: Person, remove: Callable[[ApiKey], Any]
) -> None:
    key = withdrawing(sara)
    remove(key)
    after = reloaded(key)
    assert (after.can_withdraw, after.can_read, after.ip_policy) == (False, True, TRUSTED)
    record = key_loader.load(key.key_id)
    assert record is not None
    assert record.restricted
    assert not record.networks.contains("203.0.113.7")


def test_removing_one_network_of_several_keeps_withdraw(sara: Person) -> None:
    key = withdrawing(sara, NETWORK, "198.51.100.7")
    key.networks.get(value=NETWORK).delete()
    assert reloaded(key).can_withdraw


def test_lifting_the_restriction_of_a_withdrawing_key_is_rejected(sara: Person) -> None:
    key = withdrawing(sara)
    with pytest.raises(IntegrityError), transaction.atomic():
        ApiKey.objects.filter(pk=key.pk).update(ip_policy=FREE)


def test_all_networks_may_be_exchanged_at_once(sara: Person) -> None:
    key = withdrawing(sara)
    key.apply(["withdraw"], TRUSTED, ["198.51.100.7", "2001:db8::/48"])
    assert reloaded(key).permissions == {"withdraw"}
    assert reloaded(key).settings.networks == ("198.51.100.7", "2001:db8::/48")


def test_rejected_change_changes_nothing(sara: Person) -> None:
    key = withdrawing(sara)
    before = reloaded(key).settings
    for permissions, policy, networks in (
        ([], FREE, []),
        (["everything"], FREE, []),
        (["read"], "open", []),
        (["read"], TRUSTED, []),
        (["read"], TRUSTED, [f"198.51.100.{n}" for n in range(NETWORKS_A_KEY + 1)]),
        (["read", "withdraw"], FREE, [NETWORK]),
    ):
        with pytest.raises(ValidationError):
            key.apply(permissions, policy, networks)
    assert reloaded(key).settings == before


def test_networks_are_kept_normalised_and_once(sara: Person) -> None:
    key = key_of(sara)
    key.apply(["read"], TRUSTED, ["203.0.113.7/24", NETWORK, "::ffff:198.51.100.7", "198.51.100.7/32"])
    assert reloaded(key).settings.networks == (NETWORK, "198.51.100.7")
    with pytest.raises(IntegrityError), transaction.atomic():
        AllowedNetwork.objects.create(key=key, value="203.0.113.99/24")


def test_thirty_networks_fit(sara: Person) -> None:
    key = key_of(sara)
    key.apply(["read"], TRUSTED, [f"2001:db8:ffff:{n:x}::/64" for n in range(NETWORKS_A_KEY)])
    assert key.networks.count() == 30


@pytest.mark.parametrize("other", ["bot", " BOT ", "Ｂｏｔ", "b\u200fot", "bo\u200ct"])
def test_name_is_taken_once_among_the_live_keys_of_a_customer(sara: Person, other: str) -> None:
    key_of(sara, "bot")
    with pytest.raises(IntegrityError), transaction.atomic():
        key_of(sara, other)


def test_name_is_free_for_others_and_after_deletion(sara: Person) -> None:
    key_of(sara, "bot").set_state(KeyState.REVOKED)
    key_of(sara, "bot")
    key_of(customer(), "bot")
    assert ApiKey.objects.filter(label="bot").count() == 3


def test_bad_name_makes_no_key(sara: Person) -> None:
    for name in ("", " ", "x" * 51, "a\x00b"):
        with pytest.raises(InvalidName):
            key_of(sara, name)
    assert not ApiKey.objects.exists()


def test_longest_name_fits_however_it_folds(sara: Person) -> None:
    """U+FDFA is one character that compatibility folding turns into eighteen."""
    key_of(sara, "\ufdfa" * 50)
    assert ApiKey.objects.get().label == "\ufdfa" * 50


def test_customer_has_at_most_thirty_live_keys_and_deleted_ones_do_not_count(sara: Person) -> None:
    keys = [key_of(sara, f"bot {n}") for n in range(LIVE_KEYS)]
    with pytest.raises(KeyLimitReached):
        key_of(sara, "one more")
    keys[0].set_state(KeyState.FROZEN)
    with pytest.raises(KeyLimitReached):
        key_of(sara, "one more")
    keys[1].set_state(KeyState.REVOKED)
    key_of(sara, "one more")
    key_of(customer(), "of somebody else")


def test_one_attempt_makes_one_key(sara: Person) -> None:
    attempt = uuid.uuid4()
    key_of(sara, "one", attempt)
    with pytest.raises(IntegrityError), transaction.atomic():
        key_of(sara, "two", attempt)


def test_customer_with_keys_is_not_deleted(sara: Person) -> None:
    key_of(sara)
    with pytest.raises(IntegrityError), transaction.atomic():
        sara.user.delete()


def test_expired_key_shows_as_expired(sara: Person) -> None:
    key = key_of(sara)
    key.expires_at = timezone.now() - timedelta(days=7)
    key.save()
    assert reloaded(key).shown_state == "expired"
    key.set_state(KeyState.FROZEN)
    assert reloaded(key).shown_state == "frozen"


def test_key_does_not_print_its_secret(sara: Person) -> None:
    key = key_of(sara)
    secret = secret_of(key)
    record = key_loader.load(key.key_id)
    shown = [repr(key), str(key), repr(key.credentials.get()), repr(key.__dict__), repr(record)]
    assert not any(secret in text for text in shown)
