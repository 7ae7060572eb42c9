"""``manage.py export_users``: the accounts of customers, in the form that `import_users` reads."""

from typing import IO, Any

from django.core.management.base import CommandError, CommandParser

from accounts import audit
from accounts.choices.events import Event
from accounts.management import reporting
from accounts.management.output_files import add_output, private_file
from accounts.transfer import export_rows


class Command(reporting.ReportingCommand):
    help = (
        "Writes the accounts of customers that have an external id, as import_users reads them, to the standard "
        "output or a new file that only its owner can read. Password hashes and seeds of authenticators are not "
        "exported. An event records who exported. Exit codes: 0 done, 1 refused (the file exists or can't be "
        "written, --with-secrets), 2 wrong usage."
    )
    json_shape = '{"rows", "output"} (needs --output)'

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--format", choices=["csv", "jsonl"], required=True)
        add_output(parser)
        parser.add_argument(
            "--with-secrets", action="store_true", help="refused: secrets do not leave the portal"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        # SECURITY: hashes can be guessed offline, and seeds make codes. They would have to be sealed to a key of the
        # receiver, which the portal cannot do.
        if options["with_secrets"]:
            raise CommandError(
                "Secrets are not exported: there is no way to seal them to a key of the receiver. Customers set a new "
                "password and authenticator where they go."
            )
        if options["json"] and not options["output"]:
            raise CommandError("--json needs --output.", returncode=2)
        if not options["output"]:
            self._record(options["format"])
            for line in export_rows(options["format"]):
                self.stdout.write(line, ending="")
            return
        with private_file(options["output"], force=options["force"]) as file:
            self._record(options["format"])
            count = self._write(file, options["format"])
        self.write_result(
            options, {"rows": count, "output": options["output"]}, f"{count} accounts exported."
        )

    def _record(self, form: str) -> None:
        """Before the first line: whoever ends the command in between has seen a part."""
        audit.record(
            Event.USERS_EXPORTED, None, customer=None, via="command", operator=audit.operator(), format=form
        )

    def _write(self, file: IO[str], form: str) -> int:
        """Write all lines and return the number of accounts."""
        count = -1 if form == "csv" else 0
        for line in export_rows(form):
            file.write(line)
            count += 1
        return count
