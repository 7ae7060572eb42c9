"""Pending accounts: they count as accounts nowhere and are deleted after a day."""

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.actions import pending_accounts
from accounts.choices import approvals
from accounts.models import User
from tests.support import people
from tests.support.anonymous import GOOD_PASSWORD as GOOD
from tests.support.people import Person

pytestmark = pytest.mark.django_db


def test_it_cannot_log_in_and_staff_do_not_see_it() -> None:
    row = pending_accounts.get_or_create_row(people.next_phone())
    assert not row.is_active
    assert not row.has_usable_password()
    staff = people.logged_in(people.customer(is_staff=True, is_superuser=True))
    assert row.phone not in staff.get("/admin/accounts/user/").content.decode()
    assert people.browser().post("/login/", {"phone": row.phone, "password": GOOD}).status_code == 200


def test_old_ones_are_removed_and_accounts_stay() -> None:
    old, new, waiting = (pending_accounts.get_or_create_row(people.next_phone()) for _n in range(3))
    sara = people.customer()
    yesterday = timezone.now() - timedelta(days=1, seconds=1)
    User.objects.exclude(pk=new.pk).update(created_at=yesterday)
    people.live_sms_code(Person(waiting, ""), approvals.SIGN_UP)
    assert pending_accounts.delete_expired() == 1
    assert set(User.objects.all()) == {new, waiting, sara.user}
    assert old not in User.objects.all()


def test_its_number_can_be_released_and_an_accounts_cannot() -> None:
    row, sara = pending_accounts.get_or_create_row(people.next_phone()), people.customer()
    pending_accounts.delete_for_number(row.phone)
    pending_accounts.delete_for_number(sara.user.phone)
    assert list(User.objects.all()) == [sara.user]
