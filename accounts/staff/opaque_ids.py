"""Row ids in the addresses of the staff's pages, enciphered, so that nobody walks through rows by counting.

Importing this module registers the path converters ``account``, ``notice`` and ``event``: ``reverse()`` takes the
primary key, a view gets the primary key, and the address shows 26 letters. Any other text matches no address, so that a
wrong id gets the 404 of an address that does not exist. The ids are made with the master key; after a rotation, old
links work for as long as the old key is listed.
"""

from typing import ClassVar

from django.urls import register_converter

from hitobit_portal.security import crypto


class OpaqueId:
    """A path converter between a primary key and its enciphered form. Each kind of row has its own key."""

    regex = "[a-z2-7]{26}"
    use: ClassVar[str]

    def to_python(self, value: str) -> int:
        """Raises `ValueError` when ``value`` is no id of this kind."""
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
        """The primary key; None when ``text`` is no id of this kind."""
        return crypto.reveal_number(cls.use, text)


class AccountId(OpaqueId):
    use = "staff-id-account"


class NoticeId(OpaqueId):
    use = "staff-id-notice"


class EventId(OpaqueId):
    use = "staff-id-event"


class TargetId(OpaqueId):
    """The number of a row that an event names as its target, in the address of a filtered list."""

    use = "staff-id-target"


#: Names of the path converters.
ACCOUNT, NOTICE, EVENT = "account", "notice", "event"
for _name, _converter in ((ACCOUNT, AccountId), (NOTICE, NoticeId), (EVENT, EventId)):
    register_converter(_converter, _name)
