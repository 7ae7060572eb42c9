"""``manage.py rotate_master_key``: re-encrypt all secrets with the first key of PORTAL_MASTER_KEYS."""

from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from accounts import audit
from accounts.choices.events import Event
from accounts.management import reporting
from apikeys.operations import reencrypt
from hitobit_portal.security import crypto

MAX_BATCH = 5_000
SHOWN = 20


class Command(reporting.ReportingCommand):
    help = (
        "Re-encrypt all secrets and authenticators with the first key of PORTAL_MASTER_KEYS, in batches, while the "
        "portal runs. Before, add the new key as the first one and restart all processes. If it is interrupted, run it "
        "again. " + reporting.EXIT_CODES
    )
    json_shape = '{"sealed", "left", "digests", "dry_run"}'

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--batch", type=int, default=500, help=f"values per transaction, 1 to {MAX_BATCH} (500)"
        )
        parser.add_argument("--dry-run", action="store_true", help="only count the values of each master key")

    def handle(self, *args: Any, **options: Any) -> None:
        if not 1 <= options["batch"] <= MAX_BATCH:
            raise CommandError(f"--batch must be 1 to {MAX_BATCH}.")
        done, damaged = 0, list[str]()
        if not options["dry_run"]:
            # Recorded first, so that there is an event even if the process is killed.
            audit.record(
                Event.MASTER_KEY_ROTATED,
                None,
                customer=None,
                operator=audit.operator(),
                key=crypto.current_key_id(),
            )
            for count in reencrypt.reencrypt_batches(options["batch"], damaged):
                done += count
                if self.stderr.isatty():
                    self.stderr.write(f"\r{done} values re-encrypted", ending="")
        left, digests = reencrypt.count_values(), reencrypt.count_digests()
        document = {"sealed": done, "left": left, "digests": digests, "dry_run": options["dry_run"]}
        self.write_result(options, document, f"{done} values re-encrypted.", *_lines(left, digests))
        if damaged:
            raise CommandError(
                "\n".join(["These values cannot be decrypted and were not changed:", *damaged[:SHOWN]])
            )


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
    unused = [
        name
        for name in settings.MASTER_KEYS
        if name != current and not left.get(name) and not digests.get(name)
    ]
    if unused:
        lines.append(
            f"Only events still need {', '.join(unused)}: keep these keys until prune_audit has deleted those events, "
            "and no backup is older than now."
        )
    return lines
