"""Argon2id with the figures of the settings: upgraded at login, and no more at once than is allowed."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth.hashers import (
    Argon2PasswordHasher,
    PBKDF2PasswordHasher,
    PBKDF2SHA1PasswordHasher,
    ScryptPasswordHasher,
    check_password,
    get_hashers,
    identify_hasher,
    make_password,
)

from accounts.access.imported_hashes import AspNetIdentityHasher
from accounts.models import User
from hitobit_portal import settings as production_settings
from hitobit_portal.security import passwords
from tests.support import people
from tests.support.people import browser, customer

HASHER = "hitobit_portal.security.passwords.PortalPasswordHasher"


@pytest.fixture(autouse=True)
def _hasher(settings: Any) -> None:
    settings.PASSWORD_HASHERS = [HASHER]
    settings.PASSWORD_MEMORY, settings.PASSWORD_PASSES, settings.PASSWORD_LANES = 7, 1, 1


def figures(encoded: str) -> str:
    return encoded.split("$")[3]


@pytest.mark.django_db
def test_password_gets_the_figures_of_the_settings_at_the_next_login(settings: Any) -> None:
    sara = people.with_password(customer())
    assert figures(sara.user.password) == "m=7168,t=1,p=1"
    settings.PASSWORD_MEMORY, settings.PASSWORD_PASSES, settings.PASSWORD_LANES = 8, 2, 2
    wrong = browser().post("/login/", {"phone": sara.user.phone, "password": "wrong"})
    assert wrong.status_code == 200
    assert figures(User.objects.get(pk=sara.user.pk).password) == "m=7168,t=1,p=1"
    right = browser().post("/login/", {"phone": sara.user.phone, "password": sara.password})
    assert right.status_code == 302
    assert figures(User.objects.get(pk=sara.user.pk).password) == "m=8192,t=2,p=2"


def test_no_more_hashes_at_once_than_the_setting_allows(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.PASSWORD_HASHES = 2
    passwords.slots.cache_clear()
    encoded, lock, most, now = make_password("x"), threading.Lock(), 0, 0
    both = threading.Barrier(2)

    def verify(*_arguments: object) -> bool:
        nonlocal most, now
        with lock:
            now += 1
            most = max(most, now)
        both.wait(60)  # passes only if two are here at once
        with lock:
            now -= 1
        return True

    monkeypatch.setattr(Argon2PasswordHasher, "verify", verify)
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda _n: check_password("x", encoded), range(8)))
    assert most == 2
    passwords.slots.cache_clear()


BROUGHT = (
    PBKDF2PasswordHasher().encode("x", "salt", 1),
    PBKDF2SHA1PasswordHasher().encode("x", "salt", 1),
    ScryptPasswordHasher().encode("x", "salt", 2, 8, 1),
    AspNetIdentityHasher().encode("x", "s" * 16, 2, 1),
    "bcrypt$$2b$04$aaaaaaaaaaaaaaaaaaaaaO4aHmhEZdbAbpvXYwWT8OnDnYaWpDp3m",
    "bcrypt_sha256$$2b$04$aaaaaaaaaaaaaaaaaaaaaO4aHmhEZdbAbpvXYwWT8OnDnYaWpDp3m",
)


def test_imported_hashes_count_as_well(settings: Any) -> None:
    """They may take a hundred times the work of the portal's own, and a failed login verifies one of each kind."""
    settings.PASSWORD_HASHERS, settings.PASSWORD_HASHES = production_settings.PASSWORD_HASHERS, 1
    passwords.slots.cache_clear()
    only = passwords.slots()
    hashes = [make_password("x"), *BROUGHT]
    assert {identify_hasher(each).algorithm for each in hashes} == {each.algorithm for each in get_hashers()}
    for encoded in hashes:
        with ThreadPoolExecutor(1) as pool:
            only.acquire()
            verified = pool.submit(check_password, "x", encoded)
            try:
                with pytest.raises(TimeoutError):
                    verified.result(0.1)
            finally:
                only.release()
            verified.result(60)
    passwords.slots.cache_clear()
