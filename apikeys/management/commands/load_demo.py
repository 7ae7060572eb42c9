"""``manage.py load_demo N``: create N sample customers with keys, networks and usage, for demos and measurements."""

import secrets
import time
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from accounts import audit
from accounts.choices.events import Event
from accounts.management import reporting
from accounts.management.arguments import progress
from apikeys.operations import sample_data

MAX_CUSTOMERS = 1_000_000


class Command(reporting.ReportingCommand):
    help = (
        "Create N sample customers with both factors, one to three keys each, trusted networks and some usage. They "
        "share one random password, which is printed once; their phone numbers begin with 0970, which no operator "
        "uses. Running it again adds more. Requires PORTAL_DEMO=true or --yes-this-is-no-production. "
        + reporting.EXIT_CODES
    )
    json_shape = '{"customers", "keys", "seconds", "password"}'

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("count", type=int, metavar="N", help=f"number of customers, 1 to {MAX_CUSTOMERS}")
        parser.add_argument(
            "--yes-this-is-no-production", action="store_true", help="run outside of the demo"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        count = options["count"]
        if not 1 <= count <= MAX_CUSTOMERS:
            raise CommandError(f"N must be 1 to {MAX_CUSTOMERS}.", returncode=2)
        # SECURITY: in production these would be thousands of accounts with the same password.
        if not (settings.DEMO or options["yes_this_is_no_production"]):
            raise CommandError("This is not the demo. Use --yes-this-is-no-production if you are sure.")
        password = secrets.token_urlsafe(12)
        started = time.monotonic()
        audit.record(
            Event.TRIAL_LOADED, None, customer=None, count=count, via="command", operator=audit.operator()
        )
        try:
            made = sample_data.load(count, password, progress)
        except ValueError as error:
            raise CommandError(f"Nothing was created: {error}.") from None
        seconds = round(time.monotonic() - started, 1)
        self.write_result(
            options,
            {**made, "seconds": seconds, "password": password},
            f"{made['customers']} customers with {made['keys']} keys in {seconds} s. Their password: {password}",
        )
