"""``manage.py rotate_master_key``: everything sealed gets sealed under the first key of PORTAL_MASTER_KEYS."""

from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from accounts import audit
from accounts.choices.events import Event
from accounts.management import reporting
from apikeys.operations import reencrypt
from hitobit_portal.security import crypto

MOST = 5_000
SHOWN = 20


class Command(reporting.ReportingCommand):
    help = (
        "After a new key was put first in PORTAL_MASTER_KEYS and every process was started again: seals all secrets "
        "and authenticators anew under it, in batches, while the portal runs. Interrupted, it is simply run again. "
        + reporting.EXIT_CODES
    )
    json_shape = '{"sealed", "left", "digests", "dry_run"}'

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--batch", type=int, default=500, help=f"values a transaction, 1 to {MOST} (500)")
        parser.add_argument("--dry-run", action="store_true", help="only count what each master key seals")

    def handle(self, *args: Any, **options: Any) -> None:
        if not 1 <= options["batch"] <= MOST:
            raise CommandError(f"--batch takes 1 to {MOST}.")
        sealed, damaged = 0, list[str]()
        if not options["dry_run"]:
            # At the beginning: one that is killed has left its trace all the same.
            audit.record(
                Event.MASTER_KEY_ROTATED,
                None,
                customer=None,
                operator=audit.operator(),
                key=crypto.current_key_id(),
            )
            for count in reencrypt.reencrypt_batches(options["batch"], damaged):
                sealed += count
                if self.stderr.isatty():
                    self.stderr.write(f"\r{sealed} sealed anew", ending="")
        left, digests = reencrypt.count_values(), reencrypt.count_digests()
        document = {"sealed": sealed, "left": left, "digests": digests, "dry_run": options["dry_run"]}
        self.tell(options, document, f"{sealed} sealed anew.", *_lines(left, digests))
        if damaged:
            raise CommandError("\n".join(["These do not open and were left as they are:", *damaged[:SHOWN]]))


def _lines(left: dict[str, int], digests: dict[str, int]) -> list[str]:
    current = crypto.current_key_id()
    lines = [
        f"{name}: {count} values{' (current)' if name == current else ''}"
        for name, count in sorted(left.items())
    ]
    lines += [
        f"{name}: {count} digests of recovery codes and trusted devices; without this key they are lost"
        for name, count in sorted(digests.items())
        if name != current
    ]
    idle = [
        name
        for name in settings.MASTER_KEYS
        if name != current and not left.get(name) and not digests.get(name)
    ]
    if idle:
        lines.append(
            f"Nothing needs {', '.join(idle)} any more but events: keep them listed until prune_audit has passed "
            "those, and no backup is older than now."
        )
    return lines
