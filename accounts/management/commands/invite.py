"""``manage.py invite``: prints a sign-up link for one phone number."""

import json
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.actions import invitations
from accounts.management.reporting import NOT_SERVED
from accounts.models import User
from hitobit_portal.i18n.fields import is_served, parse_phone


class Command(BaseCommand):
    help = (
        "Prints a link with which the given mobile number can sign up: once, within 72 hours. Give it to that person "
        "only. Exit codes: 0 the link is printed, 1 refused (sign-up is closed, no mobile number, or it has an "
        "account), 2 wrong usage."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("phone", help="mobile number in any usual spelling, such as 09121234567")
        parser.add_argument(
            "--json", action="store_true", help='print {"phone", "link", "expires_at"} for scripts'
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.SIGNUP == "closed":
            raise CommandError("Sign-up is closed. Set PORTAL_SIGNUP to invite or open.")
        phone = parse_phone(options["phone"])
        if phone is None:
            raise CommandError("Not a mobile number; example: 09121234567.")
        if not is_served(phone):
            raise CommandError(f"{NOT_SERVED[0].upper()}{NOT_SERVED[1:]}.")
        if User.objects.filter(phone=phone).exclude(joined_at=None).exists():
            raise CommandError("This number has an account already.")
        invitation, link = invitations.invite(phone)
        if options["json"]:
            made = {"phone": phone, "link": link, "expires_at": invitation.expires_at.isoformat()}
            self.stdout.write(json.dumps(made))
            return
        self.stdout.write(link)
