"""``manage.py erase_customer``: erases a customer who leaves, in two steps by two persons."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from accounts import audit
from accounts.actions import erasure
from accounts.actions.erasure import Decider
from accounts.management import reporting
from accounts.models import Erasure, User
from hitobit_portal.i18n.jalali import masked_phone


class Command(reporting.ReportingCommand):
    help = (
        "Erases a customer for good: account, keys, messages, and the personal fields of security events. Without "
        "--confirm and --cancel it requests that: the account is closed at once, and the customer is notified. Another "
        "person confirms it (--confirm, or the staff's page); it is applied 7 days after the request, by send_notices. "
        "Until then --cancel opens the account again. The event names the user who runs the command. "
        + reporting.EXIT_CODES
    )
    json_shape = '{"phone", "state", "due_at", "changed", "dry_run", "erases": {name: count}}'

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("phone", type=reporting.phone, help="the account's mobile number in any spelling")
        parser.add_argument("--reason", type=reporting.reason, help="why; the customer reads it")
        step = parser.add_mutually_exclusive_group()
        step.add_argument("--confirm", action="store_true", help="confirm what another person requested")
        step.add_argument("--cancel", action="store_true", help="cancel it and open the account again")
        step.add_argument(
            "--dry-run", action="store_true", help="only say how it stands and what would be erased"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not options["reason"] and not options["dry_run"]:
            raise CommandError("--reason is needed.", returncode=2)
        user = reporting.get_account(options["phone"])
        try:
            changed = False if options["dry_run"] else self._act(user, options)
        except erasure.ErasureRefused as refused:
            raise CommandError(f"Refused: {refused}.") from None
        if options["cancel"] and not changed:
            raise CommandError("No erasure waits for this account.")
        waiting = erasure.waiting(user)
        if options["confirm"] and waiting is None:
            raise CommandError("No erasure was requested for this account.")
        state = _state(waiting)
        due = waiting.due_at.isoformat(timespec="seconds") if waiting else None
        counts = erasure.preview(user)
        document = {
            "phone": user.phone,
            "state": state,
            "due_at": due,
            "changed": changed,
            "dry_run": options["dry_run"],
            "erases": counts,
        }
        lines = (f"  {name}: {count}" for name, count in counts.items())
        self.write_result(options, document, _sentence(user, state, due), *lines)

    def _act(self, user: User, options: dict[str, Any]) -> bool:
        by = Decider(operator=audit.operator())
        if options["confirm"]:
            return erasure.confirm(user, options["reason"], by)
        if options["cancel"]:
            return erasure.cancel(user, options["reason"], by)
        return erasure.request_erasure(user, options["reason"], by) is not None


def _state(waiting: Erasure | None) -> str:
    if waiting is None:
        return "none"
    return "requested" if waiting.confirmed_at is None else "confirmed"


def _sentence(user: User, state: str, due: str | None) -> str:
    number = masked_phone(user.phone)
    return {
        "none": f"No erasure waits for the account of {number}. It would erase the account and:",
        "requested": f"The account of {number} is closed. If another person confirms it, this is erased at {due}:",
        "confirmed": f"The account of {number} is closed. This is erased at {due}:",
    }[state]
