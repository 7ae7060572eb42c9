"""How long an urgent notice waits while 30,000 announcements are sent by a provider that takes 100 ms.

On PostgreSQL, with one process of ``send_notices --loop`` as it is shipped. Prints the seconds from the event to the
end of its delivery; the limit is 5 seconds.
"""

import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from bench.world import World
from tests.support.production import ROOT
from tests.support.servers import die_with_parent

if TYPE_CHECKING:
    from accounts.models import User

WAITING = 30_000
CUSTOMERS = 1_000
PROVIDER_SECONDS = 0.1
URGENT = 10
LIMIT = 5.0


class Provider(BaseHTTPRequestHandler):
    """A provider with the webhook's protocol."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(PROVIDER_SECONDS)
        body = b'{"id": "1"}'
        self.send_response(202)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        pass


def make_owner() -> "User":
    """Create a customer who has logged in."""
    from accounts import audit
    from accounts.choices.events import Event
    from tests.support import people

    owner = people.customer().user
    audit.record(Event.LOGIN, None, customer=owner)
    return owner


def fill(owner: "User") -> None:
    """Create the announcements, with an event of ``owner``."""
    from django.utils import timezone

    from accounts import audit
    from accounts.models import AuditEvent, Notice, User
    from apikeys.policy.events import KeyEvent

    detail: dict[str, Any] = {"days": 7, "date": timezone.now().isoformat()}
    audit.record(KeyEvent.EXPIRES_SOON, None, customer=owner, target="1", label="bot", **detail)
    event = AuditEvent.objects.get(event=KeyEvent.EXPIRES_SOON.value)
    Notice.objects.all().delete()
    # Many customers: one of them gets 60 of these a day at most.
    people_ = User.objects.bulk_create([User(phone=f"+98914{n:07d}") for n in range(CUSTOMERS)])
    rows = (
        Notice(
            user=people_[n % CUSTOMERS],
            event=event,
            channel="sms",
            to=f"+98913{n:07d}",
            priority=Notice.Priority.BULK,
        )
        for n in range(WAITING)
    )
    Notice.objects.bulk_create(rows, batch_size=2_000)


def measure(owner: "User", count: int = URGENT) -> list[float]:
    """Return the seconds from each of ``count`` urgent events to the end of its delivery."""
    from accounts import audit
    from accounts.choices.events import Event
    from accounts.models import Notice

    seconds = []
    for _n in range(count):
        began = time.monotonic()
        audit.record(Event.ACCOUNT_FROZEN, None, customer=owner)
        notice = Notice.objects.filter(priority=Notice.Priority.URGENT).latest("pk")
        while not Notice.objects.filter(pk=notice.pk, sent_at__isnull=False).exists():
            time.sleep(0.02)
            if time.monotonic() - began > 60:
                raise SystemExit("the urgent notice was not sent within a minute")
        seconds.append(time.monotonic() - began)
        time.sleep(1)
    return seconds


@contextmanager
def provider() -> Iterator[None]:
    """Run the provider, and let the processes of this environment use it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    os.environ |= {
        "PORTAL_SMS_BACKENDS": "accounts.sms.http",
        "PORTAL_SMS_HTTP_URL": f"http://127.0.0.1:{server.server_port}",
        "PORTAL_SMS_HTTP_TOKEN": "token-of-the-bench",
    }
    yield
    server.shutdown()


@contextmanager
def sender(*options: str) -> Iterator[None]:
    """Run ``send_notices --loop``."""
    command = [sys.executable, "manage.py", "send_notices", "--loop", *options]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ}, preexec_fn=die_with_parent)
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


def main() -> int:
    with World(), provider():
        owner = make_owner()
        fill(owner)
        with sender():
            from accounts.models import Notice

            while not Notice.objects.filter(sent_at__isnull=False).exists():
                time.sleep(0.1)
            began, before = time.monotonic(), Notice.objects.filter(sent_at=None).count()
            seconds = measure(owner)
            left = Notice.objects.filter(sent_at=None).count()
            rate = (before - left + URGENT) / (time.monotonic() - began)
    sys.stdout.write(
        f"urgent notice with {left:,} announcements waiting: median {statistics.median(seconds):.2f} s, "
        f"longest {max(seconds):.2f} s (must be < {LIMIT:.0f}); {rate:.0f} notices a second in all\n"
    )
    return 0 if max(seconds) < LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
