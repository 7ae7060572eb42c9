"""Notices for unrestricted keys: a correctly signed request came from a network that the key was not used from before.

A network is an IPv4 /16 or an IPv6 /48 (`networks.wide_network`). The networks that a key begins with are learnt
without a notice. Requests without a signature neither cause a notice nor make a network known: ids of keys are public.
"""

import uuid
from collections.abc import Mapping
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from accounts import audit
from accounts.models import AuditEvent, User
from apikeys.actions.address_approval import locked_key
from apikeys.models import ApiKey, NetworkUse
from apikeys.policy.choices import IpPolicy
from apikeys.policy.events import KeyEvent
from apikeys.verification import networks

#: Networks of a key that are known, the last used ones. A notice about the rest is better than a table without an end.
KEPT_NETWORKS = 30
#: A program that roams, or a thief who does, is a few notices a day. A network above these is not made known: if it is
#: used again on the next day, that day has its notice.
KEY_NOTICES, OWNER_NOTICES, PERIOD = 3, 5, timedelta(hours=24)
#: Minimum interval between two writes of "last used" for one network.
LAST_USED_INTERVAL = timedelta(days=1)


def record_use(pk: uuid.UUID, address: str) -> None:
    """Record one allowed request that was signed."""
    network = networks.wide_network(address)
    if not network or not ApiKey.objects.filter(pk=pk, ip_policy=IpPolicy.UNRESTRICTED).exists():
        return
    now = timezone.now()
    known = NetworkUse.objects.filter(key=pk, network=network).first()
    if known is not None:
        if known.last_at < now - LAST_USED_INTERVAL:
            NetworkUse.objects.filter(pk=known.pk).update(last_at=now)
    elif NetworkUse.objects.filter(key=pk).exists():
        notify(pk, {network: address})
    else:
        NetworkUse.objects.bulk_create(
            [NetworkUse(key_id=pk, network=network, last_at=now)], ignore_conflicts=True
        )


def notify(pk: uuid.UUID, used: Mapping[str, str]) -> None:
    """Make the networks ``used`` known and notify the owner of each; the values are addresses in them."""
    owner = ApiKey.objects.values_list("owner", flat=True).get(pk=pk)
    with transaction.atomic():
        # The rows are the locks: of two processes one notifies, and keys of one owner share a limit. The owner's first,
        # as in `lifecycle.delete_all`.
        User.objects.select_for_update(no_key=True).get(pk=owner)
        key = locked_key(pk)
        known = set(NetworkUse.objects.filter(key=key).values_list("network", flat=True))
        for network, address in used.items():
            if network in known:
                continue
            if not _may_notify(key):
                break
            NetworkUse.objects.create(key=key, network=network, last_at=timezone.now())
            audit.record(
                KeyEvent.NEW_NETWORK,
                None,
                customer=key.owner,
                target=str(key.pk),
                label=key.label,
                address=address,
                network=network,
            )
        kept = NetworkUse.objects.filter(key=key).values_list("pk", flat=True)[:KEPT_NETWORKS]
        NetworkUse.objects.filter(key=key).exclude(pk__in=list(kept)).delete()


def _may_notify(key: ApiKey) -> bool:
    since = timezone.now() - PERIOD
    sent = AuditEvent.objects.filter(
        customer=key.owner_id, event=KeyEvent.NEW_NETWORK.value, at__gt=since
    ).values_list("target", flat=True)
    targets = list(sent[:OWNER_NOTICES])
    return len(targets) < OWNER_NOTICES and targets.count(str(key.pk)) < KEY_NOTICES
