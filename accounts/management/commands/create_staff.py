"""``manage.py create_staff``: creates a staff account; its owner sets up both factors at the first login."""

import sys
from getpass import getpass
from typing import Any

from django.contrib.auth.models import Group
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser
from django.db import IntegrityError, transaction
from django.utils import translation

from accounts import audit
from accounts.access.passwords import MAX_LENGTH
from accounts.actions import pending_accounts
from accounts.choices.events import Event
from accounts.choices.roles import ROLES
from accounts.management import reporting
from accounts.models import User
from hitobit_portal.i18n.jalali import masked_phone


class Command(reporting.ReportingCommand):
    help = (
        "Creates a staff account. The password is asked for on the terminal, twice, or read from the first line of "
        "the standard input. At the first login the person confirms the mobile number, sets up an authenticator and "
        "replaces the password; admin opens after that. A number that has an account is refused: a customer does not "
        "become staff. " + reporting.EXIT_CODES
    )
    json_shape = '{"phone", "role", "superuser"}'

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("phone", type=reporting.mobile, help="mobile number in any usual spelling")
        rights = parser.add_mutually_exclusive_group(required=True)
        rights.add_argument("--role", choices=sorted(ROLES), help="what the person may do")
        rights.add_argument("--superuser", action="store_true", help="everything that any role may do")
        parser.add_argument("--name", default="", help="who it is, for other staff")
        parser.add_argument(
            "--password-stdin", action="store_true", help="read the password from the standard input"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        number, role = options["phone"], options["role"]
        name = options["name"].strip()
        if len(name) > 80:
            raise CommandError("--name has up to 80 characters.", returncode=2)
        if wrong := reporting.free_text_problem(name):
            raise CommandError(f"--name {wrong}.", returncode=2)
        if User.objects.filter(phone=number).exclude(joined_at=None).exists():
            raise CommandError("This number has an account already.")
        password = self._password(number, options["password_stdin"])
        try:
            self._create(number, password, name, role)
        except Group.DoesNotExist:
            raise CommandError("The roles are missing; run manage.py migrate.") from None
        except IntegrityError:
            raise CommandError("Somebody signs up with this number right now. Try again.") from None
        what = f"role {role}" if role else "superuser"
        self.write_result(
            options,
            {"phone": number, "role": role or "", "superuser": role is None},
            f"{masked_phone(number)} is staff ({what}). At the first login both factors are set up and the password is "
            "replaced.",
        )

    def _create(self, number: str, password: str, name: str, role: str | None) -> None:
        pending_accounts.delete_for_number(number)
        with transaction.atomic():
            group = Group.objects.get(name=role) if role else None
            create = User.objects.create_user if group else User.objects.create_superuser
            user = (
                create(number, password, name=name, is_staff=True, must_replace_password=True)
                if group
                else create(number, password, name=name)
            )
            if group:
                user.groups.add(group)
            audit.record(
                Event.STAFF_MADE, None, customer=user, label=name, role=role or "superuser", via="command",
                operator=audit.operator(),
            )  # fmt: skip

    def _password(self, number: str, from_stdin: bool) -> str:
        """Return the password, typed or from stdin, after validation. Raise `CommandError`."""
        if from_stdin:
            # One character more than allowed, and the line end: enough to detect that it is too long.
            password = sys.stdin.readline(MAX_LENGTH + 3).rstrip("\r\n")
        elif not sys.stdin.isatty():
            raise CommandError(
                "There is no terminal to ask for the password; give --password-stdin.", returncode=2
            )
        else:
            try:
                password = getpass("Password: ")
                again = getpass("Again: ")
            except (EOFError, KeyboardInterrupt):
                raise CommandError("No password; nothing was done.") from None
            if password != again:
                raise CommandError("The passwords differ; nothing was done.")
        try:
            with translation.override("en"):
                validate_password(password, User(phone=number))
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
        return password
