"""Every setting, declared once: name, type, default, check, help, and which process uses it. Pure.

`hitobit_portal.settings` loads them with `env.load`; `hitobit_portal.config.table` writes their documentation. A
computed default may use settings that are declared above it.
"""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from environs import validate

from hitobit_portal.config import demo, parsers
from hitobit_portal.config.env import REQUIRED, Process, Section, Setting, Values, environment, parser
from hitobit_portal.observability import logs

ROOT = Path(__file__).resolve().parents[2]

_provider_url = parser(parsers.provider_url)

# fmt: off
# --- What defaults of others depend on --------------------------------------------------------------------------------

DEMO = Setting(
    "PORTAL_DEMO", environment.bool, False, Section.PORTAL, Process.BOTH,
    help="The demonstration: a demo customer, SMS shown on a page, plain http",
)
PORT = Setting(
    "PORT", environment.int, 8000, Section.PORTAL, Process.PORTAL,
    validate=validate.Range(1, 65_535),
    help="Port of the demo, and default of `run_portal --port`",
)
DATA_DIR = Setting(
    "PORTAL_DATA_DIR", environment.path, ROOT / "var", Section.STORAGE, Process.BOTH,
    help="Directory of the SQLite database, static files and the demo's data", default_help="`var/`",
)

# --- The portal -------------------------------------------------------------------------------------------------------


def _are_strong_passes(passes: int, values: Values) -> str:
    # SECURITY: OWASP's figures of equal strength: 46 MiB with 1 pass, 19 with 2, 12 with 3, 9 with 4, 7 with 5.
    if passes * values[PASSWORD_MEMORY] >= 35:
        return ""
    return "Times PORTAL_PASSWORD_MEMORY it is below 35, which is weaker than the least figures of OWASP."


def _https_outside_the_demo(address: str, values: Values) -> str:
    if urlsplit(address).scheme == "https" or values[DEMO]:
        return ""
    return "It does not begin with https://; plain http is for the demo only."


BASE_URL = Setting(
    "PORTAL_BASE_URL", parser(parsers.base_url), REQUIRED, Section.PORTAL, Process.PORTAL,
    demo=lambda values: f"http://127.0.0.1:{values[PORT]}",
    check=_https_outside_the_demo,
    help="The portal's own address, `https://...`",
)
ALLOWED_HOSTS = Setting(
    "PORTAL_ALLOWED_HOSTS", environment.list, [], Section.PORTAL, Process.PORTAL,
    demo=["localhost", "127.0.0.1", "[::1]"],
    validate=parsers.are_named,
    help="More host names, comma-separated; never `*`",
)
API_DOCS_URL = Setting(
    "PORTAL_API_DOCS_URL", environment.str, "", Section.PORTAL, Process.PORTAL,
    validate=parsers.is_https,
    help="Address of the exchange's API reference, `https://...`; pages about keys and the help link to it",
)
# SECURITY: a wrong guess lets callers choose their own address, so there is no default. To WSGI the header
# `X_Forwarded_For` is the same as `X-Forwarded-For`, and the later one counts: the proxy must drop underscored names.
TRUSTED_PROXIES = Setting(
    "PORTAL_TRUSTED_PROXIES", parser(parsers.trusted_proxies), REQUIRED, Section.PORTAL, Process.PORTAL,
    demo="none",
    help="Networks of the proxies in front, comma-separated, or `none`",
)
SECRET_KEY = Setting(
    "PORTAL_SECRET_KEY", environment.str, REQUIRED, Section.PORTAL, Process.PORTAL,
    demo=lambda values: demo.secret_key(values[DATA_DIR].resolve()),
    validate=validate.Length(
        min=parsers.LEAST_SECRET_KEY,
        error="It is shorter than {min} characters; make one with 'openssl rand -base64 48'.",
    ),
    help="Signs sessions and forms; 50 characters or more", secret=True,
)
SECRET_KEY_FALLBACKS: Setting[list[str]] = Setting(
    "PORTAL_SECRET_KEY_FALLBACKS", environment.list, [], Section.PORTAL, Process.PORTAL,
    validate=parsers.are_long,
    help="Previous secret keys while they are rotated out, comma-separated", secret=True,
)
MASTER_KEYS = Setting(
    "PORTAL_MASTER_KEYS", parser(parsers.master_keys), REQUIRED, Section.PORTAL, Process.BOTH,
    demo=lambda values: demo.master_keys(values[DATA_DIR].resolve()),
    help="`id:base64,id:base64`: 32-byte keys that encrypt secrets; the first encrypts, all decrypt",
    secret=True,
)
SIGNUP = Setting(
    "PORTAL_SIGNUP", environment.str, "closed", Section.PORTAL, Process.PORTAL,
    demo="open",
    validate=validate.OneOf(("open", "invite", "closed")),
    help="Who may open an account at `/signup/`: `open` (everybody), `invite` (with a link of `manage.py invite`), "
    "`closed` (nobody)",
)
PASSWORD_MEMORY = Setting(
    "PORTAL_PASSWORD_MEMORY", environment.int, 19, Section.PORTAL, Process.PORTAL,
    validate=validate.Range(7, 1024),
    help="MiB of memory for one hash of a password (Argon2id). Other figures apply from each person's next login",
)
PASSWORD_PASSES = Setting(
    "PORTAL_PASSWORD_PASSES", environment.int, 2, Section.PORTAL, Process.PORTAL,
    validate=validate.Range(1, 20), check=_are_strong_passes,
    help="Passes of one hash of a password over its memory; the less memory, the more of them",
)
PASSWORD_LANES = Setting(
    "PORTAL_PASSWORD_LANES", environment.int, 1, Section.PORTAL, Process.PORTAL,
    validate=validate.Range(1, 16),
    help="Threads of one hash of a password",
)
PASSWORD_HASHES = Setting(
    "PORTAL_PASSWORD_HASHES", environment.int, 4, Section.PORTAL, Process.PORTAL,
    validate=validate.Range(1, 64),
    help="Hashes of passwords that a server process makes at once; others wait",
)
HSTS_SECONDS = Setting(
    "PORTAL_HSTS_SECONDS", environment.int, 31_536_000, Section.PORTAL, Process.PORTAL,
    validate=validate.Range(0, 63_072_000),
    help="Duration of HTTP Strict Transport Security in seconds; `0` turns it off", default_help="one year",
)

# --- Login with the exchange's account (OpenID Connect) ---------------------------------------------------------------


def _needed_by_an_issuer(value: str, values: Values) -> str:
    return "It is not set, and PORTAL_OIDC_ISSUER is." if values[OIDC_ISSUER] and not value else ""


def _not_without_an_issuer(value: bool, values: Values) -> str:
    return "It is on, and PORTAL_OIDC_ISSUER is not set." if value and not values[OIDC_ISSUER] else ""


def _without_sign_up(required: bool, values: Values) -> str:
    if required and values[SIGNUP] != "closed":
        return "It is on, and PORTAL_SIGNUP is not closed: sign-up makes accounts that log in by password."
    return _not_without_an_issuer(required, values)


OIDC_ISSUER = Setting(
    "PORTAL_OIDC_ISSUER", parser(parsers.issuer), "", Section.OIDC, Process.PORTAL,
    help="Issuer of the exchange's OpenID provider, `https://...`, exactly as it is in its tokens; without it there is "
    "no login with the exchange's account",
)
OIDC_CLIENT_ID = Setting(
    "PORTAL_OIDC_CLIENT_ID", environment.str, "", Section.OIDC, Process.PORTAL,
    check=_needed_by_an_issuer,
    help="The portal's client id at the provider",
)
OIDC_CLIENT_SECRET = Setting(
    "PORTAL_OIDC_CLIENT_SECRET", environment.str, "", Section.OIDC, Process.PORTAL,
    check=_needed_by_an_issuer,
    help="Its client secret", secret=True,
)
OIDC_REQUIRED = Setting(
    "PORTAL_OIDC_REQUIRED", environment.bool, False, Section.OIDC, Process.PORTAL,
    check=_without_sign_up,
    help="Customers log in with the exchange's account only; staff keep the password form at `/login/staff/`",
)
# SECURITY: off, so that nobody gets an account that the operator did not import.
OIDC_PROVISION = Setting(
    "PORTAL_OIDC_PROVISION", environment.bool, False, Section.OIDC, Process.PORTAL,
    check=_not_without_an_issuer,
    help="Whether the first login of a customer who is not known opens an account, with the provider's verified "
    "mobile number; otherwise it is refused",
)

# --- Database, cache, processes ---------------------------------------------------------------------------------------

DATABASE_URL = Setting(
    "DATABASE_URL", parser(parsers.database_url),
    lambda values: f"sqlite:///{values[DATA_DIR].resolve() / 'portal.sqlite3'}",
    Section.STORAGE, Process.BOTH,
    help="`postgresql://...` or `sqlite:///...`", default_help="SQLite in the data directory", secret=True,
)
DATABASE_POOLER_URL = Setting(
    "PORTAL_DATABASE_POOLER_URL", parser(parsers.pooler_url), "", Section.STORAGE, Process.PORTAL,
    check=lambda pooler, values: (
        "It needs DATABASE_URL to be PostgreSQL."
        if pooler and values[DATABASE_URL]["ENGINE"].endswith("sqlite3")
        else ""
    ),
    help="The same database through PgBouncer in transaction mode, `postgresql://...`, for pages. Gateways, which "
    "listen, and commands use `DATABASE_URL`, which is PostgreSQL itself",
    default_help="none: pages use `DATABASE_URL`", secret=True,
)
# Each step has a limit, because a fail-over or a firewall may leave connections that never answer and are never closed.
DATABASE_CONNECT_TIMEOUT = Setting(
    "PORTAL_DATABASE_CONNECT_TIMEOUT", environment.int, 2, Section.STORAGE, Process.BOTH,
    validate=validate.Range(2, 60),
    help="Seconds in which PostgreSQL has to accept a connection",
)
DATABASE_PAGE_TIMEOUT = Setting(
    "PORTAL_DATABASE_PAGE_TIMEOUT", environment.int, 5, Section.STORAGE, Process.BOTH,
    validate=validate.Range(1, 600),
    help="Seconds a statement of a page or of the gateway may take; commands have no such limit",
)
DATABASE_SEARCH_TIMEOUT = Setting(
    "PORTAL_DATABASE_SEARCH_TIMEOUT", environment.int, 10, Section.STORAGE, Process.PORTAL,
    validate=validate.Range(1, 600),
    help="Seconds a statement of a search of staff may take",
)
DATABASE_LOCK_TIMEOUT = Setting(
    "PORTAL_DATABASE_LOCK_TIMEOUT", environment.int, 5, Section.STORAGE, Process.BOTH,
    validate=validate.Range(1, 600),
    help="Seconds a statement of a page or of the gateway may wait for a lock",
)
DATABASE_IDLE_TIMEOUT = Setting(
    "PORTAL_DATABASE_IDLE_TIMEOUT", environment.int, 30, Section.STORAGE, Process.BOTH,
    validate=validate.Range(5, 600),
    help="Seconds after which PostgreSQL ends a transaction of a page or of the gateway in which nothing happens",
)
DATABASE_TCP_TIMEOUT = Setting(
    "PORTAL_DATABASE_TCP_TIMEOUT", environment.int, 6, Section.STORAGE, Process.BOTH,
    validate=validate.Range(2, 600),
    help="Seconds after which a connection is closed whose other end does not acknowledge what was sent "
    "(TCP_USER_TIMEOUT), and after which an idle connection is probed (keepalives); at both ends",
)
DATABASE_PROBE_MS = Setting(
    "PORTAL_DATABASE_PROBE_MS", environment.int, 1_000, Section.STORAGE, Process.BOTH,
    validate=validate.Range(200, 60_000),
    help="Milliseconds in which PostgreSQL has to answer a new connection while statements wait; otherwise it counts "
    "as down: waiting statements fail, and pages answer 503 at once",
)
REDIS_URL = Setting(
    "REDIS_URL", environment.str, "", Section.STORAGE, Process.BOTH,
    validate=parsers.is_redis_address,
    help="Redis or Valkey, for counters that processes share: `redis://...`, or with Sentinels "
    "`redis+sentinel://:password@host:26379,host:26379/service/0`, where the password is that of the master and of the "
    "Sentinels", default_help="counters in each process", secret=True,
)
REDIS_TIMEOUT = Setting(
    "PORTAL_REDIS_TIMEOUT", environment.float, 1.0, Section.STORAGE, Process.PORTAL,
    validate=validate.Range(0.1, 60),
    help="Seconds in which Redis or Valkey has to answer",
)
PROCESSES = Setting(
    "PORTAL_PROCESSES", environment.int, 1, Section.STORAGE, Process.PORTAL,
    validate=validate.Range(1),
    help="Number of the portal's server processes, on all machines together; more than 1 needs `REDIS_URL` and "
    "PostgreSQL",
)

# --- Text messages ----------------------------------------------------------------------------------------------------

SMS_BACKENDS: Setting[list[str]] = Setting(
    "PORTAL_SMS_BACKENDS", environment.list, [], Section.SMS, Process.PORTAL,
    demo=["accounts.sms.console", "accounts.sms.file"],
    help="Dotted paths of modules with `send(phone, text, *, code, purpose)`, comma-separated, tried in order",
    default_help="required; `check --deploy` reports it",
)
# SECURITY: a list of countries, so that no message goes to premium and satellite numbers (`fields.is_served`).
SMS_COUNTRIES = Setting(
    "PORTAL_SMS_COUNTRIES", parser(parsers.countries), "IR", Section.SMS, Process.PORTAL,
    help="Countries to whose mobile numbers messages are sent, as ISO 3166-1 codes, comma-separated; no other number "
    "is accepted, and no landline, premium or satellite number",
)
KAVENEGAR_API_KEY = Setting(
    "PORTAL_KAVENEGAR_API_KEY", environment.str, "", Section.SMS, Process.PORTAL,
    help="For `accounts.sms.kavenegar`", secret=True,
)
KAVENEGAR_SENDER = Setting(
    "PORTAL_KAVENEGAR_SENDER", environment.str, "", Section.SMS, Process.PORTAL,
    help="The line that sends", default_help="the account's own line",
)
KAVENEGAR_URL = Setting(
    "PORTAL_KAVENEGAR_URL", _provider_url, "https://api.kavenegar.com", Section.SMS, Process.PORTAL,
    help="Another address, for example of a relay; `https://`", default_help="Kavenegar's",
)
SMSIR_API_KEY = Setting(
    "PORTAL_SMSIR_API_KEY", environment.str, "", Section.SMS, Process.PORTAL,
    help="For `accounts.sms.smsir`", secret=True,
)
SMSIR_LINE = Setting(
    "PORTAL_SMSIR_LINE", environment.int, 0, Section.SMS, Process.PORTAL,
    help="The line that sends", default_help="none",
)
SMSIR_URL = Setting(
    "PORTAL_SMSIR_URL", _provider_url, "https://api.sms.ir", Section.SMS, Process.PORTAL,
    help="Another address, for example of a relay; `https://`", default_help="SMS.ir's",
)
SMS_HTTP_URL = Setting(
    "PORTAL_SMS_HTTP_URL", _provider_url, "", Section.SMS, Process.PORTAL,
    help="For `accounts.sms.webhook`: the address of your own SMS gateway",
)
SMS_HTTP_TOKEN = Setting(
    "PORTAL_SMS_HTTP_TOKEN", environment.str, "", Section.SMS, Process.PORTAL,
    help="Sent to it as `Authorization: Bearer`", secret=True,
)
SMS_DAY: Setting[int | None] = Setting(
    "PORTAL_SMS_DAY", environment.int, None, Section.SMS, Process.PORTAL,
    validate=validate.Range(100, 100_000_000),
    help="Codes that are sent in a day to all customers together",
    default_help="50,000",
)
SMS_PREFIX_HOUR: Setting[int | None] = Setting(
    "PORTAL_SMS_PREFIX_HOUR", environment.int, None, Section.SMS, Process.PORTAL,
    validate=validate.Range(10, 10_000_000),
    help="Codes that are sent in an hour to the numbers that share their first seven characters (`+989121`)",
    default_help="1,000",
)
SMS_PRICE = Setting(
    "PORTAL_SMS_PRICE", environment.float, 0.0, Section.SMS, Process.PORTAL,
    validate=validate.Range(0, 1_000_000),
    help="Price of one part of an SMS in your currency, for the sum on the staff's overview",
    default_help="`0`: counts only",
)

# --- E-mail -----------------------------------------------------------------------------------------------------------

EMAIL_URL = Setting(
    "PORTAL_EMAIL_URL", parser(parsers.email_url), "", Section.EMAIL, Process.PORTAL,
    help="For security notices: `smtp+tls://user:password@host:587/`; without it nobody can add an address",
    secret=True,
)
EMAIL_FROM = Setting(
    "PORTAL_EMAIL_FROM", environment.str, lambda values: f"Hitobit <no-reply@{urlsplit(values[BASE_URL]).hostname}>",
    Section.EMAIL, Process.PORTAL,
    help="Sender of notices, `Name <address>`", default_help="`no-reply@` the portal's host",
)

# --- The authorization API --------------------------------------------------------------------------------------------

# A port of its own: customers' browsers have no access to the authorization API.
GATEWAY_PORT = Setting(
    "PORTAL_GATEWAY_PORT", environment.int, 8001, Section.GATEWAY, Process.GATEWAY,
    validate=validate.Range(0, 65_535),
    help="Port of the authorization API; `0`: the demo runs without it",
)
# Shorter makes the response to a change of a key faster; longer tolerates a busier machine.
GATEWAY_LEASE_MS = Setting(
    "PORTAL_GATEWAY_LEASE_MS", environment.int, 200, Section.GATEWAY, Process.BOTH,
    validate=validate.Range(60, 5_000),
    help="Milliseconds for which a gateway process trusts its key cache without word from PostgreSQL, and for which "
    "the response to a change of a key is delayed; 60 to 5000",
)
# 0: a revocation can never be missed.
GATEWAY_GRACE = Setting(
    "PORTAL_GATEWAY_GRACE", environment.int, 0, Section.GATEWAY, Process.GATEWAY,
    validate=validate.Range(0, 3_600),
    help="Seconds for which requests of known keys are decided while the database is down",
)
# At most 2 KB for each key.
GATEWAY_CACHE = Setting(
    "PORTAL_GATEWAY_CACHE", environment.int, 100_000, Section.GATEWAY, Process.GATEWAY,
    validate=validate.Range(2, 10_000_000),
    help="Maximum number of keys in the key cache of a gateway process",
)
GATEWAY_LIMITS = Setting(
    "PORTAL_GATEWAY_LIMITS", environment.str, "process", Section.GATEWAY, Process.GATEWAY,
    validate=validate.OneOf(("off", "process", "valkey")),
    help="Where requests are counted against the limits: `process`, `valkey` (exact over all processes), `off`",
)
# As Binance's.
GATEWAY_KEY_RATE = Setting(
    "PORTAL_GATEWAY_KEY_RATE", environment.int, 1_200, Section.GATEWAY, Process.GATEWAY,
    validate=validate.Range(1, 10**9),
    help="Maximum number of requests a minute of one key",
)
GATEWAY_ADDRESS_RATE = Setting(
    "PORTAL_GATEWAY_ADDRESS_RATE", environment.int, 1_200, Section.GATEWAY, Process.GATEWAY,
    validate=validate.Range(1, 10**9),
    help="Maximum number of requests a minute of one address",
)
# SECURITY: off until the proxy sets the header itself: one that passes the client's on would let it choose.
GATEWAY_SECURITY_TYPES = Setting(
    "PORTAL_GATEWAY_SECURITY_TYPES", parser(parsers.security_types), "signed", Section.GATEWAY, Process.GATEWAY,
    help="Security types that `X-Required-Security` may ask for: `signed`, or `signed,key,none` once the proxy sets "
    "the header itself on every request",
)
REPLAY_GUARD = Setting(
    "PORTAL_REPLAY_GUARD", environment.str, "off", Section.GATEWAY, Process.GATEWAY,
    validate=validate.OneOf(("off", "process", "valkey")),
    help="Whether a signed request passes only once, and where that is remembered: `off`, `process`, `valkey`",
)

# --- Logs and the audit trail -----------------------------------------------------------------------------------------

LOG_LEVEL = Setting(
    "PORTAL_LOG_LEVEL", environment.log_level, "INFO", Section.LOGS, Process.BOTH,
    help="`DEBUG`, `INFO`, `WARNING`, `ERROR` or `CRITICAL`",
)
LOG_FORMAT = Setting(
    "PORTAL_LOG_FORMAT", environment.str, "json", Section.LOGS, Process.BOTH,
    demo="line",
    validate=validate.OneOf(tuple(logs.FORMATTERS)),
    help="`json` (one object a line) or `line` (for people)",
)
AUDIT_SINK = Setting(
    "PORTAL_AUDIT_SINK", environment.str, "", Section.LOGS, Process.PORTAL,
    help="Where security events are also written, as JSON lines: `stdout` of the server processes, or the absolute "
    "path of a file",
)
# SECURITY: without it a webhook could be pointed at the database, a metadata service or another server of our network.
WEBHOOK_NETWORKS = Setting(
    "PORTAL_WEBHOOK_NETWORKS", parser(parsers.webhook_networks), "", Section.LOGS, Process.PORTAL,
    help="Networks that are not public and to which webhooks may be sent all the same, also by `http://`, "
    "comma-separated", default_help="none",
)

# Names of OpenTelemetry, which reads its other variables itself.
OTEL_EXPORTER_OTLP_ENDPOINT = Setting(
    "OTEL_EXPORTER_OTLP_ENDPOINT", environment.str, "", Section.LOGS, Process.PORTAL,
    validate=validate.Regexp(
        r"\Z|https?://[^\s/@?#]+(/[^\s?#]*)?\Z", error="It is not http:// or https://, or it has a password."
    ),
    help="OpenTelemetry's collector, to which traces of pages are sent over HTTP, such as `http://127.0.0.1:4318`; "
    "needs requirements-otel.txt", default_help="none: no traces",
)
OTEL_EXPORTER_OTLP_HEADERS = Setting(
    "OTEL_EXPORTER_OTLP_HEADERS", environment.str, "", Section.LOGS, Process.PORTAL,
    help="Headers for it, `name=value`, comma-separated, URL-encoded", secret=True,
)

# --- /.well-known/security.txt ----------------------------------------------------------------------------------------

SECURITY_CONTACT = Setting(
    "PORTAL_SECURITY_CONTACT", parser(parsers.contacts), "", Section.SECURITY_TXT, Process.PORTAL,
    help="Where to report vulnerabilities: `mailto:`, `https://` or `tel:` addresses, comma-separated, the preferred "
    "one first; without it there is no `security.txt`",
)
SECURITY_POLICY = Setting(
    "PORTAL_SECURITY_POLICY", environment.str, "", Section.SECURITY_TXT, Process.PORTAL,
    validate=parsers.is_https,
    help="Address of your policy for such reports, `https://...`",
)
SECURITY_LANGUAGES: Setting[list[str]] = Setting(
    "PORTAL_SECURITY_LANGUAGES", environment.list, ["fa", "en"], Section.SECURITY_TXT, Process.PORTAL,
    validate=parsers.are_language_tags,
    help="Languages in which reports are read, comma-separated",
)

#: All of them, in the order in which they are read.
SETTINGS: tuple[Setting[Any], ...] = tuple(value for value in globals().values() if isinstance(value, Setting))
#: Every variable that the portal reads; `env.unknown_names` reports the rest.
NAMES = frozenset(setting.name for setting in SETTINGS)
#: Variables whose value is or may contain a secret.
SECRETS = frozenset(setting.name for setting in SETTINGS if setting.secret)
