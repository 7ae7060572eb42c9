"""What the staff see of the exchange's requests to a customer."""

import re

import pytest
from django.conf import settings as portal
from django.urls import reverse

from apikeys.actions import key_requests
from apikeys.policy.settings_change import Settings
from tests.support.people import customer
from tests.support.staff import staff_browser

pytestmark = pytest.mark.django_db


def test_page_of_a_customer_shows_requests_with_their_state_and_origin() -> None:
    sara = customer()
    page = reverse("admin:accounts_user_change", args=[sara.user.pk])
    assert "back-office" not in staff_browser("support").get(page).content.decode()
    settings = Settings(frozenset({"withdraw"}), "trusted", ("203.0.113.24",))
    open_one, other = (
        key_requests.make(sara.user, name, settings, "back-office") for name in ("bot one", "bot two")
    )
    key_requests.cancel(other, "back-office")
    browser = staff_browser("support")
    browser.cookies[portal.LANGUAGE_COOKIE_NAME] = "en"
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", browser.get(page).content.decode()))
    for part in ("bot one", "bot two", "back-office", "203.0.113.24", "Withdraw"):
        assert part in text, part
    assert open_one.is_waiting
