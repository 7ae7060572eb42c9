"""People of the exchange."""

import uuid
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.support.people import Person


@pytest.fixture
def sara(settings: Any) -> "Person":
    """A customer with both factors, a password, and an id at the exchange."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    from tests.support.people import customer

    return with_id(customer(password="a rather long password"))


def with_id(person: "Person") -> "Person":
    """Give the user an id at the exchange."""
    person.user.external_id = f"user:{uuid.uuid4()}"
    person.user.save(update_fields=["external_id"])
    return person
