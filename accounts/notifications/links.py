"""The one-time link in every notice: what its owner can do without a login when they are being robbed.

The link names its notice and proves itself by a keyed digest, so that nothing secret is stored: whoever reads the
database can make none.
"""

import re
from datetime import timedelta

from django.utils import timezone

from accounts.models import DelayedChange, Notice, User
from hitobit_portal.security import crypto

LIFETIME = timedelta(days=30)
USE = "notice-link"
#: The notice's id in hexadecimal, and a tag of 22 characters.
TOKEN = re.compile(r"([1-9a-f][0-9a-f]{0,8})-([A-Za-z0-9_-]{22})")


def token_of(notice: Notice) -> str:
    """At most 32 characters, good for an address: ``"1f4-`` and 22 more. The same one for the same notice."""
    return f"{notice.pk:x}-{crypto.tag(USE, *_parts(notice))}"


def find(token: str) -> Notice | None:
    """The notice whose link this is; None when it is forged, expired or used up."""
    parts = TOKEN.fullmatch(token)
    if parts is None:
        return None
    waiting = Notice.objects.filter(link_used_at=None, created_at__gt=timezone.now() - LIFETIME)
    notice = waiting.select_related("user", "event").filter(pk=int(parts[1], 16)).first()
    if notice is None or not crypto.tag_matches(parts[2], USE, *_parts(notice)):
        return None
    return notice


def use_up(notice: Notice) -> bool:
    """Takes the link out of use; whether this call did it. One conditional write: of many at once one wins."""
    return Notice.objects.filter(pk=notice.pk, link_used_at=None).update(link_used_at=timezone.now()) == 1


def _parts(notice: Notice) -> tuple[str, str, str]:
    # SECURITY: ids come again after a database was restored; an old link must not freeze somebody else's account.
    return str(notice.pk), str(notice.user_id), str(notice.event_id)


def link_may_stop(user: User) -> bool:
    """Whether a link in a notice can stop changes of the person: it did not since the last one that took force.

    SECURITY: links go to the number that is to be replaced. Whoever holds the stolen phone would stop each recovery.
    """
    changes = DelayedChange.objects.filter(user=user)
    last = changes.filter(done_at__isnull=False).order_by("-done_at").first()
    stops = changes.filter(stopped_by_link=True)
    return not (stops.filter(stopped_at__gt=last.done_at) if last else stops).exists()
