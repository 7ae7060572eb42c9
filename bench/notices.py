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
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from bench.world import World
from tests.support.production import ROOT
from tests.support.servers import die_with_parent

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


def fill() -> int:
    """Create a customer and the announcements. Return the customer's id."""
    from django.utils import timezone

    from accounts import audit
    from accounts.choices.events import Event
    from accounts.models import AuditEvent, Notice, User
    from apikeys.policy.events import KeyEvent
    from tests.support import people

    owner = people.customer().user
    audit.record(Event.LOGIN, None, customer=owner)
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
    return owner.pk


def measure(owner: int) -> list[float]:
    from accounts import audit
    from accounts.choices.events import Event
    from accounts.models import Notice, User

    user, seconds = User.objects.get(pk=owner), []
    for _n in range(URGENT):
        began = time.monotonic()
        audit.record(Event.ACCOUNT_FROZEN, None, customer=user)
        notice = Notice.objects.filter(priority=Notice.Priority.URGENT).latest("pk")
        while not Notice.objects.filter(pk=notice.pk, sent_at__isnull=False).exists():
            time.sleep(0.02)
            if time.monotonic() - began > 60:
                raise SystemExit("the urgent notice was not sent within a minute")
        seconds.append(time.monotonic() - began)
        time.sleep(1)
    return seconds


def main() -> int:
    provider = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    provider.daemon_threads = True
    threading.Thread(target=provider.serve_forever, daemon=True).start()
    with World() as world:
        os.environ |= {
            "PORTAL_SMS_BACKENDS": "accounts.sms.http",
            "PORTAL_SMS_HTTP_URL": f"http://127.0.0.1:{provider.server_port}",
            "PORTAL_SMS_HTTP_TOKEN": "token-of-the-bench",
        }
        owner = fill()
        command = [sys.executable, "manage.py", "send_notices", "--loop"]
        sender = subprocess.Popen(command, cwd=ROOT, env={**os.environ}, preexec_fn=die_with_parent)
        try:
            from accounts.models import Notice

            while not Notice.objects.filter(sent_at__isnull=False).exists():
                time.sleep(0.1)
            began, before = time.monotonic(), Notice.objects.filter(sent_at=None).count()
            seconds = measure(owner)
            left = Notice.objects.filter(sent_at=None).count()
            rate = (before - left + URGENT) / (time.monotonic() - began)
        finally:
            sender.terminate()
            sender.wait(60)
        assert world.directory.exists()
    provider.shutdown()
    sys.stdout.write(
        f"urgent notice with {left:,} announcements waiting: median {statistics.median(seconds):.2f} s, "
        f"longest {max(seconds):.2f} s (must be < {LIMIT:.0f}); {rate:.0f} notices a second in all\n"
    )
    return 0 if max(seconds) < LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
