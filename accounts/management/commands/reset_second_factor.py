"""``manage.py reset_second_factor``: schedules a reset for a customer who lost phone and authenticator (24 hours)."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.actions import scheduled_changes
from accounts.management.reporting import free_text_problem
from accounts.models import DelayedChange, User
from hitobit_portal.i18n.fields import parse_phone
from hitobit_portal.i18n.jalali import masked_phone

LONGEST_REASON = 200


class Command(BaseCommand):
    help = (
        "Resets both second factors and the recovery codes of a customer in 24 hours. The customer is notified at once "
        "by every channel and can stop it; afterwards they log in by password and an SMS to the number of the account, "
        "and set up an authenticator. Exit codes: 0 it waits (or was stopped), 1 refused (no such account, it waits "
        "already, nothing to stop, not confirmed), 2 wrong usage."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("phone", help="the account's mobile number in any usual spelling")
        parser.add_argument("--reason", default="", help="how the customer proved who they are; they read it")
        parser.add_argument("--stop", action="store_true", help="stop the reset that waits")
        parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")
        parser.add_argument(
            "--json", action="store_true", help='print {"phone", "state", "due_at"} for scripts'
        )

    def handle(self, *args: Any, **options: Any) -> None:
        reason = options["reason"].strip()
        if not options["stop"] and not (0 < len(reason) <= LONGEST_REASON):
            raise CommandError(f"--reason is needed: 1 to {LONGEST_REASON} characters.", returncode=2)
        if wrong := free_text_problem(reason):
            raise CommandError(f"The reason {wrong}.", returncode=2)
        number = parse_phone(options["phone"])
        user = User.objects.select_related("sms").filter(phone=number, joined_at__isnull=False).first()
        if number is None or user is None:
            raise CommandError("There is no account with this number.")
        if options["stop"]:
            if not scheduled_changes.stop_all(user, None, DelayedChange.Kind.FACTORS):
                raise CommandError("No reset waits for this account.")
            return self._tell(options["json"], number, "stopped", None)
        if not options["yes"]:
            self._confirm(number)
        change = scheduled_changes.schedule_factor_reset(user, reason)
        if change is None:
            raise CommandError("A reset waits for this account already.")
        return self._tell(options["json"], number, "waiting", change)

    def _confirm(self, number: str) -> None:
        try:
            answer = input(f"Reset both second factors of {masked_phone(number)} in 24 hours? Type yes: ")
        except EOFError:
            answer = ""
        if answer.strip().lower() != "yes":
            raise CommandError("Not confirmed; nothing was done.")

    def _tell(self, as_json: bool, number: str, state: str, change: DelayedChange | None) -> None:
        due = change.due_at.isoformat(timespec="seconds") if change else None
        if as_json:
            self.stdout.write(json.dumps({"phone": number, "state": state, "due_at": due}))
        elif change:
            self.stdout.write(
                f"The factors of {masked_phone(number)} are reset at {due}, unless it is stopped."
            )
        else:
            self.stdout.write(f"Stopped: the factors of {masked_phone(number)} stay as they are.")
