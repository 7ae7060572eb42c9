"""A key of Sara's that one address may use."""

import pytest

from apikeys.models import ApiKey
from tests.support.people import ADDRESS, Person, key_of


@pytest.fixture
def key(sara: Person) -> ApiKey:
    key = key_of(sara, "bot")
    key.apply(["read"], "trusted", [ADDRESS])
    return key
