"""A key of Sara's that one address may use."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from apikeys.models import ApiKey
    from tests.support.people import Person


@pytest.fixture
def key(sara: "Person") -> "ApiKey":
    # Imported here: this file is loaded before Django's settings when its directory is named in the command.
    from tests.support.people import ADDRESS, key_of

    key = key_of(sara, "bot")
    key.apply(["read"], "trusted", [ADDRESS])
    return key
