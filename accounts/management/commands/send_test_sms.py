"""``manage.py send_test_sms``: tests whether messages are sent, by which provider, and how fast."""

from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from accounts import audit, sms
from accounts.choices.events import Event
from accounts.management import reporting
from accounts.models import SmsDelivery
from hitobit_portal.i18n.jalali import masked_phone

TEXT = "Hitobit API portal: a test message of its operators. There is nothing to do."
PURPOSE = "test"


class Command(reporting.ReportingCommand):
    help = (
        "Sends one test message (it is charged) to a number, by the providers of PORTAL_SMS_BACKENDS in their order, "
        "and prints the result and duration of each attempt. Exit codes: 0 a provider accepted it, 1 none did, "
        "2 wrong usage."
    )
    json_shape = (
        '{"phone", "sent", "tries": [{"provider", "took", "took_ms", "error", "reference", "parts"}]}'
    )

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("phone", type=reporting.mobile, help="mobile number in any usual spelling")

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.SMS_BACKENDS:
            raise CommandError("No provider is configured; set PORTAL_SMS_BACKENDS.")
        number = options["phone"]
        last = SmsDelivery.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
        try:
            sms.send(number, TEXT, code="", purpose=PURPOSE)
            sent = True
        except sms.SmsError:
            sent = False
        audit.record(
            Event.SMS_TESTED, None, customer=None, label=masked_phone(number), succeeded=sent, via="command",
            operator=audit.operator(),
        )  # fmt: skip
        tries = [
            _as_dict(row) for row in SmsDelivery.objects.filter(pk__gt=last, purpose=PURPOSE).order_by("pk")
        ]
        self.write_result(options, {"phone": number, "sent": sent, "tries": tries}, *map(_line, tries))
        if not sent:
            raise CommandError("No provider accepted the message.")


def _as_dict(row: SmsDelivery) -> dict[str, Any]:
    return {
        "provider": row.backend,
        "took": row.succeeded,
        "took_ms": row.took_ms,
        "error": row.error,
        "reference": row.reference,
        "parts": row.parts,
    }


def _line(one: dict[str, Any]) -> str:
    result = f"took it (reference {one['reference'] or 'none'})" if one["took"] else f"failed: {one['error']}"
    return f"{one['provider']} {result}, {one['took_ms']} ms"
