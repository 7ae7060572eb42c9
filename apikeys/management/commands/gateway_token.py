"""``manage.py gateway_token create|list|revoke``: tokens of gateways for the authorization API."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts import audit
from apikeys.models import GatewayToken
from apikeys.policy.events import KeyEvent


class Command(BaseCommand):
    help = (
        "create NAME prints a new token, which is not shown again; list shows names and times; revoke NAME revokes a "
        "token at once. Several tokens are valid at a time: create a new one, configure it in the gateways, wait until "
        "'last used' of the old one no longer changes, and revoke the old one. "
        "Exit codes: 0 done, 1 rejected, 2 wrong usage."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print JSON for scripts")
        actions = parser.add_subparsers(dest="action", required=True, metavar="create|list|revoke")
        for name in ("create", "revoke"):
            action = actions.add_parser(name)
            action.add_argument("name", help="name of the gateway, such as gateway-tehran-1")
            action.add_argument("--json", action="store_true", default=None)
        actions.add_parser("list").add_argument("--json", action="store_true", default=None)

    def handle(self, *args: Any, **options: Any) -> None:
        if options["action"] == "create":
            self._create(options["name"].strip(), bool(options["json"]))
        elif options["action"] == "revoke":
            self._revoke(options["name"].strip(), bool(options["json"]))
        else:
            self._list(bool(options["json"]))

    def _create(self, name: str, as_json: bool) -> None:
        if not 1 <= len(name) <= 64:
            raise CommandError("A name has 1 to 64 characters.")
        token, text = GatewayToken.new(name)
        try:
            with transaction.atomic():
                token.save()
                audit.record(
                    KeyEvent.GATEWAY_TOKEN_MADE, None, customer=None, target=str(token.pk), label=name
                )
        except IntegrityError:
            raise CommandError(
                "There is a token with this name, perhaps a revoked one. Use another name."
            ) from None
        self.stdout.write(json.dumps({"name": name, "token": text}) if as_json else text)

    def _revoke(self, name: str, as_json: bool) -> None:
        with transaction.atomic():
            active = GatewayToken.objects.filter(name=name, revoked_at=None)
            token = active.first()
            if token is None or not active.update(revoked_at=timezone.now()):
                raise CommandError(
                    "There is no such token, or it is revoked already. See 'gateway_token list'."
                )
            audit.record(
                KeyEvent.GATEWAY_TOKEN_REVOKED, None, customer=None, target=str(token.pk), label=name
            )
        self.stdout.write(json.dumps({"name": name, "revoked": True}) if as_json else f"{name}: revoked.")

    def _list(self, as_json: bool) -> None:
        rows = [
            {
                "name": token.name,
                "created_at": token.created_at.isoformat(),
                "last_used_at": token.last_used_at.isoformat() if token.last_used_at else None,
                "revoked_at": token.revoked_at.isoformat() if token.revoked_at else None,
            }
            for token in GatewayToken.objects.all()
        ]
        if as_json:
            self.stdout.write(json.dumps(rows))
            return
        for row in rows:
            ended, used = row["revoked_at"], row["last_used_at"] or "never"
            state = f"revoked {ended}" if ended else f"last used {used}"
            self.stdout.write(f"{row['name']}  created {row['created_at']}  {state}")
