"""The page that takes both codes for a new key."""

from django.test import Client

from apikeys.models import ApiKey
from tests.support import people
from tests.support.people import Person

VERIFY = "/keys/new/verify/"
NAME = "night bot"
MEGABYTE = 2**20


def opened(person: Person) -> Client:
    """Return the person's browser at the page, after the SMS was sent."""
    browser = people.logged_in(person)
    assert browser.post("/keys/", {"name": NAME}).headers["Location"] == VERIFY
    return browser


def works(browser: Client, person: Person, name: str = NAME) -> bool:
    """Return whether valid codes still create the key."""
    response = browser.post(VERIFY, people.both_codes(person))
    return response.status_code == 302 and ApiKey.objects.filter(label=name).count() == 1
