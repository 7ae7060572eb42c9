"""Base classes and argument types of commands: ``--json``, the account, the reason."""

import json
from argparse import ArgumentTypeError
from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, InterfaceError

from accounts.models import User
from hitobit_portal.i18n import free_text
from hitobit_portal.i18n.fields import is_served, parse_phone
from hitobit_portal.i18n.jalali import masked_phone

MAX_REASON_LENGTH = 200
NOT_SERVED = "no SMS is sent to this number; PORTAL_SMS_COUNTRIES lists the countries that are served"
EXIT_CODES = "Exit codes: 0 done, 1 refused or failed, 2 wrong usage."


class ReportingCommand(BaseCommand):
    """A command with ``--json``. Subclasses define ``json_shape``, `arguments` and `handle`."""

    json_shape = "{}"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help=f"print {self.json_shape} for scripts")
        self.arguments(parser)

    def arguments(self, parser: CommandParser) -> None:
        """Add the arguments other than ``--json``."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run the command. An unreachable database is reported as one sentence, without a traceback."""
        try:
            return super().execute(*args, **options)
        except (DatabaseError, InterfaceError) as error:
            # SECURITY: the class only: messages of databases contain values and addresses.
            raise CommandError(f"The database failed: {type(error).__name__}. See portal_doctor.") from None

    def write_result(self, options: dict[str, Any], document: Any, *lines: str) -> None:
        """Write the document with ``--json``, else the lines."""
        if options["json"]:
            self.stdout.write(json.dumps(document, ensure_ascii=False))
        else:
            for line in lines:
                self.stdout.write(line)


class AccountCommand(ReportingCommand):
    """A command that puts an account into a ``state``, for a reason that its customer reads.

    ``act`` does it and returns whether anything changed; ``changed`` and ``unchanged`` are the texts for the
    operator.
    """

    state, changed, unchanged = "", "", ""
    act: Callable[..., bool]

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("phone", type=phone, help="the account's mobile number in any spelling")
        parser.add_argument("--reason", type=reason, required=True, help="why; the customer reads it")

    def handle(self, *args: Any, **options: Any) -> None:
        user = get_account(options["phone"])
        changed = self.act(None, user, via="command", reason=options["reason"])
        sentence = f"The account of {masked_phone(user.phone)} {self.changed if changed else self.unchanged}"
        self.write_result(options, {"phone": user.phone, "state": self.state, "changed": changed}, sentence)


def phone(text: str) -> str:
    """Argument type: a mobile number in any usual spelling. Return it as E.164."""
    number = parse_phone(text)
    if number is None:
        # SECURITY: the value is not repeated: it may be a password that was typed here by mistake.
        raise ArgumentTypeError("not a mobile number; example: 09121234567")
    return number


def mobile(text: str) -> str:
    """Argument type: a number to which messages can be sent (`is_served`)."""
    number = phone(text)
    if not is_served(number):
        raise ArgumentTypeError(NOT_SERVED)
    return number


def reason(text: str) -> str:
    """Argument type: a reason, which is shown to the customer and stored in the audit trail."""
    stripped = text.strip()
    if not 0 < len(stripped) <= MAX_REASON_LENGTH:
        raise ArgumentTypeError(f"a reason is one line of 1 to {MAX_REASON_LENGTH} characters")
    wrong = free_text_problem(stripped)
    if wrong:
        raise ArgumentTypeError(f"the reason {wrong}")
    return stripped


def free_text_problem(text: str) -> str:
    """Return why a text may not leave the portal (`hitobit_portal.i18n.free_text`), "" if it may."""
    return {
        None: "",
        free_text.Problem.HIDDEN: "has control or invisible characters; write it in one line",
        free_text.Problem.LINK: "has a link, a web, e-mail or IP address, or a phone number; write it without",
    }[free_text.problem(text)]


def get_account(number: str) -> User:
    """Return the account with this number (E.164). Raise `CommandError` if there is none."""
    user = User.objects.select_related("sms").filter(phone=number, joined_at__isnull=False).first()
    if user is None:
        raise CommandError("There is no account with this number.")
    return user
