"""Every setting there is, with its meaning and default: what the start accepts, and the table in docs/operating.md.

``python -m hitobit_portal.config.declarations`` prints the table, ``--write`` puts it into the document. Pure.
"""

import re
import sys
from pathlib import Path
from typing import NamedTuple

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "operating.md"
BEGIN, END = "<!-- settings: begin -->", "<!-- settings: end -->"


class Setting(NamedTuple):
    """One variable of the environment. ``default`` is Markdown; what is ``secret`` belongs into a file (NAME_FILE)."""

    name: str
    meaning: str
    default: str
    secret: bool = False


TABLE: tuple[tuple[str, tuple[Setting, ...]], ...] = (
    (
        "The portal",
        (
            Setting("PORTAL_BASE_URL", "the portal's own address, `https://...`", "required"),
            Setting("PORTAL_ALLOWED_HOSTS", "more host names, comma-separated; never `*`", "none"),
            Setting("PORTAL_TRUSTED_PROXIES", "networks of the proxies in front, or `none`", "required"),
            Setting("PORTAL_SECRET_KEY", "signs sessions and forms; 50 characters or more", "required", True),
            Setting(
                "PORTAL_SECRET_KEY_FALLBACKS",
                "old secret keys while they are rotated out, comma-separated",
                "none",
                True,
            ),
            Setting(
                "PORTAL_MASTER_KEYS",
                "`id:base64,id:base64`: 32-byte keys that seal secrets; the first seals, all open",
                "required",
                True,
            ),
            Setting(
                "PORTAL_SIGNUP",
                "who opens accounts at `/signup/`: `open` (everybody), `invite` (with a link of `manage.py "
                "invite`), `closed`",
                "`closed`",
            ),
            Setting("PORTAL_HSTS_SECONDS", "HTTP Strict Transport Security; `0` turns it off", "one year"),
            Setting("PORTAL_DEMO", "the demonstration: demo customer, SMS on a page, plain http", "`false`"),
            Setting("PORT", "where the demo listens", "`8000`"),
        ),
    ),
    (
        "Database, cache, processes",
        (
            Setting(
                "DATABASE_URL",
                "`postgresql://...` or `sqlite:///...`",
                "SQLite in the data directory",
                True,
            ),
            Setting("REDIS_URL", "Redis or Valkey, for counters shared by processes", "in the process", True),
            Setting(
                "PORTAL_PROCESSES",
                "server processes in all, on all machines; more than 1 needs `REDIS_URL` and PostgreSQL",
                "`1`",
            ),
            Setting("PORTAL_DATA_DIR", "SQLite database, static files, demo data", "`var/`"),
        ),
    ),
    (
        "Text messages",
        (
            Setting(
                "PORTAL_SMS_BACKENDS",
                "dotted paths of modules with `send(phone, text, *, code, purpose)`, tried in order",
                "required",
            ),
            Setting(
                "PORTAL_SMS_COUNTRIES",
                "countries to whose mobile numbers messages are sent, as ISO 3166-1 codes, comma-separated; no other "
                "number is accepted, and none that is a landline, premium or satellite number",
                "`IR`",
            ),
            Setting("PORTAL_KAVENEGAR_API_KEY", "for `accounts.sms.kavenegar`", "none", True),
            Setting("PORTAL_KAVENEGAR_SENDER", "its line; without one the account's own line sends", "none"),
            Setting("PORTAL_KAVENEGAR_URL", "another address, e.g. of a relay; `https://`", "Kavenegar's"),
            Setting("PORTAL_SMSIR_API_KEY", "for `accounts.sms.smsir`", "none", True),
            Setting("PORTAL_SMSIR_LINE", "its line", "none"),
            Setting("PORTAL_SMSIR_URL", "another address, e.g. of a relay; `https://`", "SMS.ir's"),
            Setting("PORTAL_SMS_HTTP_URL", "for `accounts.sms.webhook`, a gateway of your own", "none"),
            Setting("PORTAL_SMS_HTTP_TOKEN", "what it gets as `Authorization: Bearer`", "none", True),
            Setting(
                "PORTAL_SMS_PRICE",
                "what one part of an SMS costs, for the sum on the staff's overview",
                "`0`, counts only",
            ),
        ),
    ),
    (
        "E-mail",
        (
            Setting(
                "PORTAL_EMAIL_URL",
                "for security notices: `smtp+tls://user:password@host:587/`; without it nobody can add an address",
                "none",
                True,
            ),
            Setting("PORTAL_EMAIL_FROM", "their sender, `Name <address>`", "`no-reply@` the portal's host"),
        ),
    ),
    (
        "The machine door",
        (
            Setting("PORTAL_GATEWAY_PORT", "where it listens; `0`: not beside the demo", "`8001`"),
            Setting(
                "PORTAL_GATEWAY_LEASE_MS",
                "how long a gateway process believes its memory without word from PostgreSQL, and how long the answer "
                "to a change of a key waits; 60 to 5000",
                "`200`",
            ),
            Setting(
                "PORTAL_GATEWAY_GRACE",
                "seconds for which known keys are answered while the database is gone",
                "`0`",
            ),
            Setting("PORTAL_GATEWAY_CACHE", "keys in the memory of a gateway process", "`100000`"),
            Setting(
                "PORTAL_GATEWAY_LIMITS",
                "who counts requests: `process`, `valkey` (exact over all processes), `off`",
                "`process`",
            ),
            Setting("PORTAL_GATEWAY_KEY_RATE", "requests a minute of one key", "`1200`"),
            Setting("PORTAL_GATEWAY_ADDRESS_RATE", "requests a minute of one address", "`1200`"),
            Setting(
                "PORTAL_REPLAY_GUARD", "a signed request passes once: `off`, `process`, `valkey`", "`off`"
            ),
        ),
    ),
    (
        "Logs and the audit trail",
        (
            Setting("PORTAL_LOG_LEVEL", "`DEBUG` ... `ERROR`", "`INFO`"),
            Setting(
                "PORTAL_LOG_FORMAT",
                "`json` (an object a line) or `line` (for people)",
                "`json`; `line` in the demo",
            ),
            Setting(
                "PORTAL_AUDIT_SINK",
                "security events as JSON lines besides: `stdout`, or the whole path of a file",
                "none",
            ),
        ),
    ),
)

#: Every variable that the portal reads; `env.unknown_names` reports the rest.
NAMES = frozenset(setting.name for _title, settings in TABLE for setting in settings)
#: Those whose value is, or may hold, a secret.
SECRETS = frozenset(setting.name for _title, settings in TABLE for setting in settings if setting.secret)


def markdown() -> str:
    """The table, one section a group."""
    lines: list[str] = []
    for title, settings in TABLE:
        lines += [f"### {title}", "", "| name | meaning | default |", "|---|---|---|"]
        lines += [
            f"| `{name}`{'*' * secret} | {meaning} | {default} |"
            for name, meaning, default, secret in settings
        ]
        lines.append("")
    return "\n".join(lines).rstrip("\n")


def written_into(text: str) -> str:
    """The document ``text`` with the table of now between its marks."""
    return re.sub(
        f"{re.escape(BEGIN)}.*?{re.escape(END)}",
        lambda _found: f"{BEGIN}\n{markdown()}\n{END}",
        text,
        flags=re.DOTALL,
    )


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        DOCUMENT.write_text(written_into(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print(markdown())
