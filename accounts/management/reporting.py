"""What commands share: ``--json``, one document or sentence on stdout, whose account is meant, and a reason."""

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
NOT_SERVED = "no SMS is sent to this number; PORTAL_SMS_COUNTRIES has the countries of the mobile numbers that get them"
EXIT_CODES = "Exit codes: 0 done, 1 refused or failed, 2 wrong usage."


class ReportingCommand(BaseCommand):
    """A command with ``--json``. Subclasses give ``json_shape``, add arguments in `arguments`, work in `handle`."""

    json_shape = "{}"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help=f"print {self.json_shape} for scripts")
        self.arguments(parser)

    def arguments(self, parser: CommandParser) -> None:
        """Arguments beside ``--json``."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Django's; an unreachable database is a sentence, not a trace."""
        try:
            return super().execute(*args, **options)
        except (DatabaseError, InterfaceError) as error:
            # SECURITY: the class only: messages of databases repeat values and addresses.
            raise CommandError(f"The database failed: {type(error).__name__}. See portal_doctor.") from None

    def write_result(self, options: dict[str, Any], document: Any, *lines: str) -> None:
        """The document with ``--json``, else the lines."""
        if options["json"]:
            self.stdout.write(json.dumps(document, ensure_ascii=False))
        else:
            for line in lines:
                self.stdout.write(line)


class AccountCommand(ReportingCommand):
    """One that puts an account into a ``state``, for a reason that its customer reads.

    ``act`` does it and says whether anything changed; ``changed`` and ``unchanged`` say so to the operator.
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
    """An argument's type: a mobile number in any usual spelling, as E.164."""
    number = parse_phone(text)
    if number is None:
        # SECURITY: not repeated: what stands in its place by mistake may be a password.
        raise ArgumentTypeError("this is no mobile number; write one such as 09121234567")
    return number


def mobile(text: str) -> str:
    """An argument's type: a number that is new to the portal, or gets a message now: one that `is_served`."""
    number = phone(text)
    if not is_served(number):
        raise ArgumentTypeError(NOT_SERVED)
    return number


def reason(text: str) -> str:
    """An argument's type: why something is done, which the customer and the trail keep."""
    stripped = text.strip()
    if not 0 < len(stripped) <= MAX_REASON_LENGTH:
        raise ArgumentTypeError(f"a reason is one line of 1 to {MAX_REASON_LENGTH} characters")
    wrong = free_text_problem(stripped)
    if wrong:
        raise ArgumentTypeError(f"the reason {wrong}")
    return stripped


def free_text_problem(text: str) -> str:
    """What an operator reads of a text that can't leave the portal (`hitobit_portal.i18n.free_text`); "" when it can."""
    return {
        None: "",
        free_text.Problem.HIDDEN: "has control or invisible characters; write it in one line",
        free_text.Problem.LINK: "has a link, a web, e-mail or IP address, or a phone number; write it without",
    }[free_text.problem(text)]


def get_account(number: str) -> User:
    """The account with this number (E.164). Raises `CommandError`."""
    user = User.objects.select_related("sms").filter(phone=number, joined_at__isnull=False).first()
    if user is None:
        raise CommandError("There is no account with this number.")
    return user
