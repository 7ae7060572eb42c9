"""``manage.py load_demo N``: N customers with keys, networks and usage, for trials and measurements."""

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

MOST_AT_ONCE = 1_000_000


class Command(reporting.ReportingCommand):
    help = (
        "Makes N customers with both factors, one to three keys each, trusted networks and some usage, for trials. "
        "They share one random password, which is printed once; their numbers begin with 0970, which is nobody's. "
        "Running it again adds more. Refused without PORTAL_DEMO=true unless --yes-this-is-no-production is given. "
        + reporting.EXIT_CODES
    )
    json_shape = '{"customers", "keys", "seconds", "password"}'

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("count", type=int, metavar="N", help=f"how many customers, 1 to {MOST_AT_ONCE}")
        parser.add_argument(
            "--yes-this-is-no-production", action="store_true", help="go on outside of the demo"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        count = options["count"]
        if not 1 <= count <= MOST_AT_ONCE:
            raise CommandError(f"N is 1 to {MOST_AT_ONCE}.", returncode=2)
        # SECURITY: in production these would be thousands of accounts behind one password.
        if not (settings.DEMO or options["yes_this_is_no_production"]):
            raise CommandError("This is not the demo. Give --yes-this-is-no-production if you are sure.")
        password = secrets.token_urlsafe(12)
        started = time.monotonic()
        audit.record(
            Event.TRIAL_LOADED, None, customer=None, count=count, via="command", operator=audit.operator()
        )
        try:
            made = sample_data.load(count, password, progress)
        except ValueError as error:
            raise CommandError(f"Nothing was made: {error}.") from None
        seconds = round(time.monotonic() - started, 1)
        self.write_result(
            options,
            {**made, "seconds": seconds, "password": password},
            f"{made['customers']} customers with {made['keys']} keys in {seconds} s. Their password: {password}",
        )
