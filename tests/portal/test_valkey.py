"""Addresses of Sentinels: what is understood, and that the master is found anew after it changed."""

import pytest
from environs import ValidationError

from hitobit_portal.config.parsers import SentinelAddress, sentinel_address


def test_address_of_sentinels_has_each_of_them() -> None:
    address = sentinel_address("redis+sentinel://:p%40ss@10.0.0.11:26379,db2,[2001:db8::1]:26380/portal/3")
    assert address == SentinelAddress(
        [("10.0.0.11", 26379), ("db2", 26379), ("2001:db8::1", 26380)], "portal", 3, "p@ss"
    )
    assert sentinel_address("redis+sentinel://db1/portal") == SentinelAddress(
        [("db1", 26379)], "portal", 0, ""
    )


@pytest.mark.parametrize("text", ["", "redis://cache:6379/0", "rediss://cache", "unix:///run/valkey"])
def test_other_addresses_have_no_sentinels(text: str) -> None:
    assert sentinel_address(text) is None


@pytest.mark.parametrize(
    "text",
    [
        *("h:1,h:2", "h:1/", "h:1/portal/x", "user:secret@h:1/portal"),
        *(":secret@/portal", "h:1,,h:2/portal/0", "h:x/p/0"),
    ],
)
def test_other_texts_are_not_understood_and_not_repeated(text: str) -> None:
    with pytest.raises(ValidationError) as error:
        sentinel_address(f"redis+sentinel://{text}")
    assert "secret" not in str(error.value)
