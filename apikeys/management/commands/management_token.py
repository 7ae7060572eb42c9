"""``manage.py management_token create|list|revoke``: tokens of the back office for the management API."""

import json
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts import audit
from apikeys.management_api.scopes import Scope
from apikeys.models import ManagementToken
from apikeys.policy.events import KeyEvent
from apikeys.verification.networks import NetworkError, parse_network

SCOPES = [scope.value for scope in Scope]
MAX_DAYS = 366


class Command(BaseCommand):
    help = (
        "create NAME prints a new token, which is not shown again; list shows names, scopes, networks, times; revoke "
        "NAME ends a token at once. Exit codes: 0 done, 1 rejected, 2 wrong usage."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print JSON for scripts")
        actions = parser.add_subparsers(dest="action", required=True, metavar="create|list|revoke")
        create, revoke = (actions.add_parser(name) for name in ("create", "revoke"))
        for action in (create, revoke, actions.add_parser("list")):
            action.add_argument("--json", action="store_true", default=None)
        for action in (create, revoke):
            action.add_argument("name", help="name of the program that has it, such as back-office")
        create.add_argument(
            "--scope", required=True, metavar="SCOPE,…", help=f"what it may do: {', '.join(SCOPES)}"
        )
        create.add_argument(
            "--networks", required=True, metavar="CIDR,…", help="addresses and networks from which it works"
        )
        create.add_argument("--days", type=int, required=True, help=f"days until it expires, 1 to {MAX_DAYS}")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["action"] == "create":
            self._create(options)
        elif options["action"] == "revoke":
            self._revoke(options["name"].strip(), bool(options["json"]))
        else:
            self._list(bool(options["json"]))

    def _create(self, options: dict[str, Any]) -> None:
        name = options["name"].strip()
        if not 1 <= len(name) <= 64:
            raise CommandError("A name has 1 to 64 characters.", returncode=2)
        if not 1 <= options["days"] <= MAX_DAYS:
            raise CommandError(f"--days is 1 to {MAX_DAYS}.", returncode=2)
        scopes = sorted({text.strip() for text in options["scope"].split(",")})
        if unknown := [scope for scope in scopes if scope not in SCOPES]:
            known = ", ".join(SCOPES)
            raise CommandError(f"--scope: {', '.join(unknown)!r} is none of {known}.", returncode=2)
        try:
            listed = sorted({parse_network(text.strip()).value for text in options["networks"].split(",")})
        except NetworkError:
            raise CommandError(
                "--networks has something that is no address or network.", returncode=2
            ) from None
        token, text = ManagementToken.new(
            name, scopes=scopes, networks=listed, expires_at=timezone.now() + timedelta(days=options["days"])
        )
        try:
            with transaction.atomic():
                token.save()
                audit.record(
                    KeyEvent.MANAGEMENT_TOKEN_MADE, None, customer=None, target=str(token.pk), label=name,
                    via="command", operator=audit.operator(), scopes=scopes, networks=listed,
                    expires_at=token.expires_at.isoformat(),
                )  # fmt: skip
        except IntegrityError:
            raise CommandError(
                "There is a token with this name, perhaps a revoked one. Use another name."
            ) from None
        self.stdout.write(json.dumps({"name": name, "token": text}) if options["json"] else text)

    def _revoke(self, name: str, as_json: bool) -> None:
        with transaction.atomic():
            live = ManagementToken.objects.filter(name=name, revoked_at=None)
            token = live.first()
            if token is None or not live.update(revoked_at=timezone.now()):
                raise CommandError(
                    "There is no such token, or it is revoked already. See 'management_token list'."
                )
            audit.record(
                KeyEvent.MANAGEMENT_TOKEN_REVOKED, None, customer=None, target=str(token.pk), label=name,
                via="command", operator=audit.operator(),
            )  # fmt: skip
        self.stdout.write(json.dumps({"name": name, "revoked": True}) if as_json else f"{name}: revoked.")

    def _list(self, as_json: bool) -> None:
        rows = [
            {
                "name": token.name,
                "scopes": token.scopes,
                "networks": token.networks,
                "created_at": token.created_at.isoformat(),
                "expires_at": token.expires_at.isoformat(),
                "last_used_at": token.last_used_at.isoformat() if token.last_used_at else None,
                "revoked_at": token.revoked_at.isoformat() if token.revoked_at else None,
            }
            for token in ManagementToken.objects.all()
        ]
        if as_json:
            self.stdout.write(json.dumps(rows))
            return
        for row in rows:
            ended = f"revoked {row['revoked_at']}" if row["revoked_at"] else f"expires {row['expires_at']}"
            used = f"last used {row['last_used_at'] or 'never'}"
            self.stdout.write(
                f"{row['name']}  {','.join(row['scopes'])}  {','.join(row['networks'])}  {ended}  {used}"
            )
