"""Django settings, all from the environment (`hitobit_portal.config.env`). No insecure default outside the demo."""

from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dj_database_url
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _
from environs import validate

from hitobit_portal.config import demo
from hitobit_portal.config.env import environment as env
from hitobit_portal.config.env import parse_email_url, parse_master_keys, provider_url, read
from hitobit_portal.config.gateway import (  # noqa: F401
    GATEWAY_ADDRESS_RATE,
    GATEWAY_CACHE,
    GATEWAY_GRACE,
    GATEWAY_KEY_RATE,
    GATEWAY_LEASE_MS,
    GATEWAY_LIMITS,
    GATEWAY_LOADERS,
    GATEWAY_PORT,
    REPLAY_GUARD,
)
from hitobit_portal.http.client_ip import parse_trusted
from hitobit_portal.i18n.fields import parse_countries
from hitobit_portal.observability import logs

BASE_DIR = Path(__file__).resolve().parent.parent

DEMO = read("PORTAL_DEMO", env.bool, default=False)
DATA_DIR = Path(read("PORTAL_DATA_DIR", env.str, default=str(BASE_DIR / "var"))).resolve()
PORT = read("PORT", env.int, default=8000, validate=validate.Range(1, 65_535))
PROCESSES = read("PORTAL_PROCESSES", env.int, default=1)


def required(name: str, in_demo: str) -> str:
    value = read(name, env.str, default=in_demo if DEMO else "")
    if not value:
        raise ImproperlyConfigured(f"{name} is not set. It is required unless PORTAL_DEMO=true.")
    return value


DEBUG = False
SECRET_KEY = required("PORTAL_SECRET_KEY", demo.secret_key(DATA_DIR) if DEMO else "")
if len(SECRET_KEY) < 50:
    raise ImproperlyConfigured(
        "PORTAL_SECRET_KEY is shorter than 50 characters; make one with 'openssl rand -base64 48'."
    )
SECRET_KEY_FALLBACKS = read("PORTAL_SECRET_KEY_FALLBACKS", env.list, default=[])
if any(len(key) < 50 for key in SECRET_KEY_FALLBACKS):
    raise ImproperlyConfigured("PORTAL_SECRET_KEY_FALLBACKS has a key that is shorter than 50 characters.")
MASTER_KEYS = parse_master_keys(required("PORTAL_MASTER_KEYS", demo.master_keys(DATA_DIR) if DEMO else ""))

BASE_URL = required("PORTAL_BASE_URL", f"http://127.0.0.1:{PORT}").rstrip("/")
try:
    _address = urlsplit(BASE_URL)
    _port = _address.port
except ValueError:
    raise ImproperlyConfigured(
        "PORTAL_BASE_URL is not an address such as https://keys.example.com."
    ) from None
if _address.scheme not in ("http", "https") or not _address.hostname or _address.path:
    raise ImproperlyConfigured("PORTAL_BASE_URL is not an address such as https://keys.example.com.")
if _address.scheme != "https" and not DEMO:
    raise ImproperlyConfigured(
        "PORTAL_BASE_URL does not begin with https://; plain http is for the demo only."
    )
SECURE = _address.scheme == "https"
ALLOWED_HOSTS = [
    _address.hostname,
    *read("PORTAL_ALLOWED_HOSTS", env.list, default=["localhost", "127.0.0.1", "[::1]"] if DEMO else []),
]
if any(host.strip() in ("*", ".") for host in ALLOWED_HOSTS):
    raise ImproperlyConfigured(
        "PORTAL_ALLOWED_HOSTS contains '*' or '.', which admits forged Host headers; name the hosts."
    )

# SECURITY: a wrong guess here lets callers choose their own address, so the operator has to say it. To WSGI the header
# `X_Forwarded_For` is the same as `X-Forwarded-For`, and the later one counts: the proxy must drop underscored names.
_proxies = required("PORTAL_TRUSTED_PROXIES", "none")
try:
    TRUSTED_PROXIES = parse_trusted(
        [] if _proxies == "none" else [part.strip() for part in _proxies.split(",")]
    )
except ValueError:
    raise ImproperlyConfigured(
        "PORTAL_TRUSTED_PROXIES is not 'none' or networks such as 10.0.0.0/8; /0 would trust everybody."
    ) from None

SMS_BACKENDS = read(
    "PORTAL_SMS_BACKENDS", env.list, default=["accounts.sms.console", "accounts.sms.file"] if DEMO else []
)

# SECURITY: a list of countries, so that no message goes to premium and satellite numbers (`fields.is_served`).
try:
    SMS_COUNTRIES = parse_countries(read("PORTAL_SMS_COUNTRIES", env.list, default=["IR"]))
except ValueError:
    raise ImproperlyConfigured(
        "PORTAL_SMS_COUNTRIES is not a list of country codes (ISO 3166-1) such as IR or IR,DE."
    ) from None

# What one part of an SMS costs, in the operator's currency; 0: the staff's overview shows counts only.
SMS_PRICE = read("PORTAL_SMS_PRICE", env.float, default=0.0, validate=validate.Range(0, 1_000_000))

# Each security event as a line of JSON besides: "stdout" (of the server's processes) or the path of a file.
AUDIT_SINK = read("PORTAL_AUDIT_SINK", env.str, default="")

# Of the SMS providers; the system check E008 says what one that is configured still needs.
KAVENEGAR_API_KEY = read("PORTAL_KAVENEGAR_API_KEY", env.str, default="")
KAVENEGAR_SENDER = read("PORTAL_KAVENEGAR_SENDER", env.str, default="")
KAVENEGAR_URL = provider_url("PORTAL_KAVENEGAR_URL", "https://api.kavenegar.com")
SMSIR_API_KEY = read("PORTAL_SMSIR_API_KEY", env.str, default="")
SMSIR_LINE = read("PORTAL_SMSIR_LINE", env.int, default=0)
SMSIR_URL = provider_url("PORTAL_SMSIR_URL", "https://api.sms.ir")
SMS_HTTP_URL = provider_url("PORTAL_SMS_HTTP_URL", "")
SMS_HTTP_TOKEN = read("PORTAL_SMS_HTTP_TOKEN", env.str, default="")

SIGNUP = read("PORTAL_SIGNUP", env.str, default="open" if DEMO else "closed")
if SIGNUP not in ("open", "invite", "closed"):
    raise ImproperlyConfigured("PORTAL_SIGNUP is not 'open', 'invite' or 'closed'.")

# Notices only. Without PORTAL_EMAIL_URL nobody can add an e-mail address; in the demo messages are files in var/mail.
_email_url = read("PORTAL_EMAIL_URL", env.str, default="")
EMAIL = DEMO or bool(_email_url)
EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
EMAIL_FILE_PATH = str(DATA_DIR / "mail")
EMAIL_TIMEOUT = 10
if _email_url:
    globals().update(parse_email_url(_email_url))
DEFAULT_FROM_EMAIL = SERVER_EMAIL = read(
    "PORTAL_EMAIL_FROM", env.str, default=f"Hitobit <no-reply@{_address.hostname}>"
)

INSTALLED_APPS = [
    "accounts.apps.AdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "hitobit_portal.apps.PortalStaticFilesConfig",
    "django_otp",
    "django_htmx",
    "accounts.apps.AccountsConfig",
    "apikeys.apps.ApiKeysConfig",
]

MIDDLEWARE = [
    "hitobit_portal.http.health.middleware",
    "apikeys.operations.metrics.middleware",
    "hitobit_portal.http.commit_barrier.middleware",
    "hitobit_portal.http.error_pages.for_programs",
    "hitobit_portal.http.middleware.request_context",
    "hitobit_portal.http.middleware.security_headers",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "hitobit_portal.http.middleware.FaultMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "hitobit_portal.http.middleware.language",
    "hitobit_portal.http.middleware.theme_and_digits",
    "accounts.access.known_browsers.middleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_otp.middleware.OTPMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "accounts.access.middleware.DefaultDenyMiddleware",
]

ROOT_URLCONF = "hitobit_portal.urls"
WSGI_APPLICATION = "hitobit_portal.wsgi.application"
APPEND_SLASH = True

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "django.template.context_processors.i18n",
                "hitobit_portal.http.context.portal",
            ],
            "libraries": {"jalali": "hitobit_portal.i18n.jalali"},
        },
    },
]

_database = read("DATABASE_URL", env.str, default=f"sqlite:///{DATA_DIR / 'portal.sqlite3'}")
try:
    DATABASES: dict[str, dict[str, Any]] = {"default": dict(dj_database_url.parse(_database, conn_max_age=0))}
except ValueError as error:
    raise ImproperlyConfigured(f"DATABASE_URL is not understood ({type(error).__name__}).") from None
_engine = DATABASES["default"]["ENGINE"]
if _engine == "django.db.backends.sqlite3":
    # IMMEDIATE takes the write lock first, so that "read, compare, write" cannot interleave; it is SQLite's row lock.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 10,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;",
    }
elif _engine == "django.db.backends.postgresql":
    DATABASES["default"].setdefault("OPTIONS", {})["pool"] = {"min_size": 1, "max_size": 16, "timeout": 10}
else:
    raise ImproperlyConfigured("DATABASE_URL is neither sqlite:/// nor postgresql://.")
ATOMIC_REQUESTS = False  # SECURITY: a failure that raises would roll its own count back.

REDIS_URL = read("REDIS_URL", env.str, default="")
if REDIS_URL and not REDIS_URL.startswith(("redis://", "rediss://", "unix://")):
    raise ImproperlyConfigured("REDIS_URL does not begin with redis://, rediss:// or unix://.")
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}
    if REDIS_URL
    else {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "OPTIONS": {"MAX_ENTRIES": 100_000}}
}
RATELIMIT_FAIL_OPEN = False
# django-ratelimit's checks E003 and W001 know no single process; `hitobit_portal.config.checks` has our rule instead.
SILENCED_SYSTEM_CHECKS = ["django_ratelimit.E003", "django_ratelimit.W001"]

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["accounts.backends.PhoneBackend"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [{"NAME": "accounts.access.passwords.PasswordValidator"}]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "dashboard"
OTP_LOGIN_URL = "login"
OTP_ADMIN_HIDE_SENSITIVE_DATA = True

SESSION_ENGINE = "django.contrib.sessions.backends.db"
SESSION_COOKIE_AGE = int(timedelta(hours=12).total_seconds())
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_HTTPONLY = True
# SECURITY: not in a cookie, Django's default: it outlives the session, and the next person in the browser reads it.
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"
CSRF_COOKIE_SAMESITE = "Lax"
CSRF_FAILURE_VIEW = "hitobit_portal.http.error_pages.csrf_failure"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE
# The prefix __Host- ties a cookie to this host, path / and https; browsers refuse it on plain http.
SESSION_COOKIE_NAME = "__Host-session" if SECURE else "session"
CSRF_COOKIE_NAME = "__Host-csrf" if SECURE else "csrf"
LANGUAGE_COOKIE_NAME = "__Host-language" if SECURE else "language"  # as `looks` names its cookies
LANGUAGE_COOKIE_SECURE = SECURE
LANGUAGE_COOKIE_SAMESITE = "Lax"
LANGUAGE_COOKIE_AGE = int(timedelta(days=365).total_seconds())

# TLS ends at the proxy; it redirects http to https itself, and says so in this header, which it must overwrite.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if SECURE else None
SECURE_SSL_REDIRECT = SECURE
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
SECURE_HSTS_SECONDS = (
    read("PORTAL_HSTS_SECONDS", env.int, default=31_536_000, validate=validate.Range(0, 63_072_000))
    if SECURE
    else 0
)
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE
SECURE_HSTS_PRELOAD = SECURE
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

DATA_UPLOAD_MAX_MEMORY_SIZE = 2_621_440
DATA_UPLOAD_MAX_NUMBER_FIELDS = 200

LANGUAGE_CODE = "fa"
LANGUAGES = [("fa", _("Persian")), ("en", _("English"))]
LOCALE_PATHS = [BASE_DIR / "locale"]
USE_I18N = True
USE_TZ = True
TIME_ZONE = "Asia/Tehran"

STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {"staticfiles": {"BACKEND": "hitobit_portal.http.staticfiles.HashedStaticFiles"}}
WHITENOISE_KEEP_ONLY_HASHED_FILES = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

LOG_FORMAT = read("PORTAL_LOG_FORMAT", env.str, default="line" if DEMO else "json")
if LOG_FORMAT not in logs.FORMATTERS:
    raise ImproperlyConfigured("PORTAL_LOG_FORMAT is not 'json' or 'line'.")
LOGGING = logs.configuration(LOG_FORMAT, read("PORTAL_LOG_LEVEL", env.log_level, default="INFO"))
