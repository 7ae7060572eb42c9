"""Opaque ids: encrypted row ids in URLs of staff pages, so that rows cannot be enumerated.

Importing this module registers the path converters ``account``, ``notice`` and ``event``: ``reverse()`` takes the
primary key, a view gets the primary key, and the URL contains 26 letters. Any other text matches no URL, so a wrong
id gets the 404 of an unknown URL. The ids are encrypted with the master key; after a rotation, old links work as long
as the old key is listed.
"""

from typing import ClassVar

from django.urls import register_converter

from hitobit_portal.security import crypto


class OpaqueId:
    """Path converter between a primary key and its opaque id. Each kind of row has its own key."""

    regex = "[a-z2-7]{26}"
    use: ClassVar[str]

    def to_python(self, value: str) -> int:
        """Return the primary key. Raise `ValueError` if ``value`` is no id of this kind."""
        number = self.reveal(value)
        if number is None:
            raise ValueError("no id of this kind")
        return number

    def to_url(self, value: int) -> str:
        return self.hide(value)

    @classmethod
    def hide(cls, pk: int) -> str:
        return crypto.hide_number(cls.use, pk)

    @classmethod
    def reveal(cls, text: str) -> int | None:
        """Return the primary key; None if ``text`` is no id of this kind."""
        return crypto.reveal_number(cls.use, text)


class AccountId(OpaqueId):
    use = "staff-id-account"


class NoticeId(OpaqueId):
    use = "staff-id-notice"


class EventId(OpaqueId):
    use = "staff-id-event"


class TargetId(OpaqueId):
    """The id of a row that is the target of an event, in the URL of a filtered list."""

    use = "staff-id-target"


class SmsDeliveryId(OpaqueId):
    """The row next to a page of the list of SMS, in the URL of that page."""

    use = "staff-id-sms"


#: Names of the path converters.
ACCOUNT, NOTICE, EVENT = "account", "notice", "event"
for _name, _converter in ((ACCOUNT, AccountId), (NOTICE, NoticeId), (EVENT, EventId)):
    register_converter(_converter, _name)
