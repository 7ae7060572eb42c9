"""The exchange's own id of a customer: its form, that it is unique, and that it never changes."""

import pytest
from django.core.exceptions import ValidationError
from django.db import DatabaseError, IntegrityError, transaction

from accounts.choices.external_ids import MAX_LENGTH, is_external_id
from accounts.models import User
from tests.support.people import newcomer

pytestmark = pytest.mark.django_db
WELL_FORMED = ("7", "a" * MAX_LENGTH, "9f1c-4e", "ir:customer_7@hitobit.com")
MALFORMED = ("", "a" * (MAX_LENGTH + 1), "7\n", "\n7", "7\r\nX-Portal-User: 1", "۷", "a b", "a/b", "ä", "7\0")


@pytest.mark.parametrize("text", WELL_FORMED)
def test_well_formed_id_is_stored(text: str) -> None:
    user = newcomer().user
    user.external_id = text
    user.save()
    assert is_external_id(text)
    assert User.objects.get(external_id=text) == user


@pytest.mark.parametrize("text", MALFORMED)
def test_malformed_id_is_refused_by_the_database_too(text: str) -> None:
    assert not is_external_id(text)
    user = newcomer().user
    # A line too long is a DataError on PostgreSQL, and so is a zero byte (ValueError in psycopg).
    with pytest.raises((DatabaseError, ValueError)), transaction.atomic():
        User.objects.filter(pk=user.pk).update(external_id=text)
    user.refresh_from_db()
    assert user.external_id is None


def test_id_is_unique_and_many_accounts_have_none() -> None:
    one, other = newcomer().user, newcomer().user
    one.external_id = "7"
    one.save()
    other.external_id = "7"
    with pytest.raises(IntegrityError), transaction.atomic():
        other.save()
    other.external_id = ""
    other.save()
    other.refresh_from_db()
    assert other.external_id is None


@pytest.mark.parametrize("later", ["8", "", None])
def test_id_never_changes(later: str | None) -> None:
    user = newcomer().user
    user.external_id = "7"
    user.save()
    user.external_id = later
    with pytest.raises(ValidationError):
        user.save()
    with pytest.raises(ValidationError):
        user.save(update_fields=["external_id"])
    with pytest.raises(IntegrityError), transaction.atomic():
        User.objects.filter(pk=user.pk).update(external_id=later or None)
    user.refresh_from_db()
    assert user.external_id == "7"
    user.name = "Sara"
    user.save()  # everything else still changes
    User.objects.filter(pk=user.pk).update(name="Mina", external_id="7")
