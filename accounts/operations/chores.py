"""What has to be done from time to time beside sending notices; ``manage.py send_notices`` does it."""

from collections.abc import Callable

from django.core.management import call_command

from accounts.access import sessions
from accounts.actions import erasure, pending_accounts, scheduled_changes
from accounts.audit import chain
from accounts.choices.registry import Registry
from accounts.models import LastRun

#: The work, and the seconds between two rounds of it in a loop. Work that returns `MORE` goes on in the next round:
#: what takes long is done in batches, and notices are sent between them.
Chore = tuple[Callable[[], object], int]
MORE = object()


def _clear_sessions() -> None:
    call_command("clearsessions")


def _note_run() -> None:
    """For `portal_doctor`: an empty outbox does not tell whether somebody looks into it."""
    LastRun.note("send_notices")


#: Name → chore. Filled by apps in `AppConfig.ready()`: ``CHORES.register({...})``.
CHORES: Registry[str, Chore] = Registry(
    {
        "waiting changes of factors": (scheduled_changes.apply_due, 30),
        "erasures of customers": (erasure.apply_due, 60),
        "events outside of the audit chain": (chain.seal_pending, 30),
        "ended logins": (sessions.delete_expired, 600),
        "expired sessions": (_clear_sessions, 600),
        "numbers without an account": (pending_accounts.delete_expired, 600),
        "time of this run": (_note_run, 60),
    }
)
