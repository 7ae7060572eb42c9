"""``manage.py record_backup``: record that a back-up was made, for `/metrics` and the alert about missing ones."""

from typing import Any

from accounts.management import reporting
from accounts.models import LastRun


class Command(reporting.ReportingCommand):
    help = (
        "Records that a back-up of the database ended now, so that an alert can tell when none was made. Run it after "
        "a back-up that succeeded. " + reporting.EXIT_CODES
    )
    json_shape = '{"recorded"}'

    def handle(self, *args: Any, **options: Any) -> None:
        LastRun.note("backup")
        self.write_result(options, {"recorded": True}, "The back-up is recorded.")
