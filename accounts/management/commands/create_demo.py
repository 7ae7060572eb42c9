"""``manage.py create_demo``: creates the demo customer once, and prints the login."""

import io
import json
from typing import Any

import qrcode
from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.factors.totp import provisioning_uri
from accounts.models import User
from accounts.operations import demo_account


class Command(BaseCommand):
    help = "Creates the demo customer (PORTAL_DEMO=true only) and prints phone, password and authenticator secret."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--json", action="store_true", help='print {"phone", "password", "totp_secret"} for scripts'
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            login = demo_account.ensure()
        except RuntimeError as error:
            raise CommandError(str(error)) from None
        if options["json"]:
            self.stdout.write(json.dumps(login))
            return
        code = qrcode.QRCode(border=2)
        code.add_data(provisioning_uri(User.objects.get(phone=login["phone"]), login["totp_secret"]))
        picture = io.StringIO()  # Django's stdout ends every write with a line feed
        code.print_ascii(out=picture, invert=True)
        self.stdout.write(picture.getvalue())
        self.stdout.write(f"  phone                 0{login['phone'][3:]}")
        self.stdout.write(f"  password              {login['password']}")
        self.stdout.write(
            f"  authenticator secret  {login['totp_secret']}   (scan the code above, or type it)"
        )
