"""Django settings. What an installation may choose is declared in `hitobit_portal.config.declarations`.

There is no insecure default outside the demo.
"""

from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.utils.translation import gettext_lazy as _

from hitobit_portal.config import declarations as declared
from hitobit_portal.config import env
from hitobit_portal.config.parsers import sentinel_address
from hitobit_portal.observability import logs

BASE_DIR = Path(__file__).resolve().parent.parent

values = env.load(declared.SETTINGS, declared.DEMO)

DEMO = values[declared.DEMO]
DATA_DIR = values[declared.DATA_DIR].resolve()
PORT = values[declared.PORT]
PROCESSES = values[declared.PROCESSES]

DEBUG = False
SECRET_KEY = values[declared.SECRET_KEY]
SECRET_KEY_FALLBACKS = values[declared.SECRET_KEY_FALLBACKS]
MASTER_KEYS = values[declared.MASTER_KEYS]
BASE_URL = values[declared.BASE_URL]
_address = urlsplit(BASE_URL)
SECURE = _address.scheme == "https"
ALLOWED_HOSTS = [_address.hostname, *values[declared.ALLOWED_HOSTS]]
TRUSTED_PROXIES = values[declared.TRUSTED_PROXIES]
SIGNUP = values[declared.SIGNUP]
OIDC_ISSUER = values[declared.OIDC_ISSUER]
OIDC_CLIENT_ID = values[declared.OIDC_CLIENT_ID]
OIDC_CLIENT_SECRET = values[declared.OIDC_CLIENT_SECRET]
OIDC_REQUIRED = values[declared.OIDC_REQUIRED]
OIDC_PROVISION = values[declared.OIDC_PROVISION]
SECURITY_CONTACT = values[declared.SECURITY_CONTACT]
API_DOCS_URL = values[declared.API_DOCS_URL]
SECURITY_POLICY = values[declared.SECURITY_POLICY]
SECURITY_LANGUAGES = values[declared.SECURITY_LANGUAGES]

SMS_BACKENDS = values[declared.SMS_BACKENDS]
SMS_COUNTRIES = values[declared.SMS_COUNTRIES]
SMS_PRICE = values[declared.SMS_PRICE]
SMS_DAY = values[declared.SMS_DAY]
SMS_PREFIX_HOUR = values[declared.SMS_PREFIX_HOUR]
# The system check E008 reports what a configured provider still needs.
KAVENEGAR_API_KEY = values[declared.KAVENEGAR_API_KEY]
KAVENEGAR_SENDER = values[declared.KAVENEGAR_SENDER]
KAVENEGAR_URL = values[declared.KAVENEGAR_URL]
SMSIR_API_KEY = values[declared.SMSIR_API_KEY]
SMSIR_LINE = values[declared.SMSIR_LINE]
SMSIR_URL = values[declared.SMSIR_URL]
SMS_HTTP_URL = values[declared.SMS_HTTP_URL]
SMS_HTTP_TOKEN = values[declared.SMS_HTTP_TOKEN]

# For notices only. Without PORTAL_EMAIL_URL nobody can add an e-mail address; the demo writes messages to var/mail.
_email = values[declared.EMAIL_URL]
EMAIL = DEMO or bool(_email)
EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
EMAIL_FILE_PATH = str(DATA_DIR / "mail")
EMAIL_TIMEOUT = 10
globals().update(_email)
DEFAULT_FROM_EMAIL = SERVER_EMAIL = values[declared.EMAIL_FROM]

GATEWAY_PORT = values[declared.GATEWAY_PORT]
GATEWAY_LEASE_MS = values[declared.GATEWAY_LEASE_MS]
GATEWAY_GRACE = values[declared.GATEWAY_GRACE]
GATEWAY_CACHE = values[declared.GATEWAY_CACHE]
GATEWAY_LIMITS = values[declared.GATEWAY_LIMITS]
GATEWAY_SECURITY_TYPES = values[declared.GATEWAY_SECURITY_TYPES]
GATEWAY_KEY_RATE = values[declared.GATEWAY_KEY_RATE]
GATEWAY_ADDRESS_RATE = values[declared.GATEWAY_ADDRESS_RATE]
REPLAY_GUARD = values[declared.REPLAY_GUARD]
GATEWAY_LOADERS = 4  # threads of a gateway process that load keys which are not in the key cache

OTEL_EXPORTER_OTLP_ENDPOINT = values[declared.OTEL_EXPORTER_OTLP_ENDPOINT]
OTEL_EXPORTER_OTLP_HEADERS = values[declared.OTEL_EXPORTER_OTLP_HEADERS]
AUDIT_SINK = values[declared.AUDIT_SINK]
WEBHOOK_NETWORKS = values[declared.WEBHOOK_NETWORKS]

INSTALLED_APPS = [
    "accounts.apps.AdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_otp",
    "accounts.apps.AccountsConfig",
    "apikeys.apps.ApiKeysConfig",
]

MIDDLEWARE = [
    "hitobit_portal.http.health.middleware",
    "apikeys.operations.metrics.middleware",
    "hitobit_portal.http.commit_barrier.middleware",
    "hitobit_portal.http.error_pages.for_programs",
    "hitobit_portal.http.middleware.request_context",
    "hitobit_portal.observability.traces.middleware",
    "hitobit_portal.http.middleware.security_headers",
    "django.middleware.security.SecurityMiddleware",
    "hitobit_portal.http.staticfiles.StaticFilesMiddleware",
    "hitobit_portal.http.middleware.FaultMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "hitobit_portal.http.middleware.language",
    "hitobit_portal.http.middleware.theme_and_digits",
    "hitobit_portal.http.middleware.refuse_while_database_is_down",
    "accounts.access.known_browsers.middleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "accounts.access.middleware.ProvedFactorMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
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
            "builtins": ["hitobit_portal.http.icons", "hitobit_portal.http.constant_parts"],
            "libraries": {
                "jalali": "hitobit_portal.i18n.jalali",
                "i18n": "hitobit_portal.i18n.blocktranslate",  # isolates what stands in a sentence
            },
        },
    },
]

DATABASES: dict[str, dict[str, Any]] = {"default": values[declared.DATABASE_URL]}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # IMMEDIATE takes the write lock first, so that "read, compare, write" cannot interleave: SQLite has no row locks.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 10,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;",
    }
else:
    DATABASES["default"]["ENGINE"] = "hitobit_portal.database"
    # psycopg's pauses between attempts to connect double; after 2 seconds they begin again with 1.
    _pool = {"min_size": 1, "max_size": 16, "timeout": 10, "reconnect_timeout": 2}
    DATABASES["default"].setdefault("OPTIONS", {})["pool"] = _pool
DATABASE_POOLER: dict[str, Any] = values[declared.DATABASE_POOLER_URL]
DATABASE_CONNECT_TIMEOUT = values[declared.DATABASE_CONNECT_TIMEOUT]
DATABASE_PAGE_TIMEOUT = values[declared.DATABASE_PAGE_TIMEOUT]
DATABASE_SEARCH_TIMEOUT = values[declared.DATABASE_SEARCH_TIMEOUT]
DATABASE_LOCK_TIMEOUT = values[declared.DATABASE_LOCK_TIMEOUT]
DATABASE_IDLE_TIMEOUT = values[declared.DATABASE_IDLE_TIMEOUT]
DATABASE_TCP_TIMEOUT = values[declared.DATABASE_TCP_TIMEOUT]
DATABASE_PROBE_MS = values[declared.DATABASE_PROBE_MS]
ATOMIC_REQUESTS = False  # SECURITY: an exception would roll back the failure count of a wrong code.

REDIS_URL = values[declared.REDIS_URL]
CACHES = {
    "default": {
        "BACKEND": (
            "hitobit_portal.valkey.SentinelCache"
            if sentinel_address(REDIS_URL)
            else "django.core.cache.backends.redis.RedisCache"
        ),
        "LOCATION": [REDIS_URL],  # as text it would be split at commas
        "OPTIONS": {
            "socket_timeout": values[declared.REDIS_TIMEOUT],
            "socket_connect_timeout": values[declared.REDIS_TIMEOUT],
        },
    }
    if REDIS_URL
    else {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "OPTIONS": {"MAX_ENTRIES": 100_000}}
}
RATELIMIT_FAIL_OPEN = False
# django-ratelimit's checks E003 and W001 do not know of a single process; `hitobit_portal.config.checks` has our rule.
# The last one: a library of our own has the name of Django's `i18n` on purpose (`hitobit_portal.i18n.blocktranslate`).
SILENCED_SYSTEM_CHECKS = ["django_ratelimit.E003", "django_ratelimit.W001", "templates.W003"]

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["accounts.backends.PhoneBackend"]
PASSWORD_HASHERS = [
    "hitobit_portal.security.passwords.PortalPasswordHasher",
    # Only of imported accounts (`manage.py import_users`), until their next login.
    "accounts.access.imported_hashes.Pbkdf2Hasher",
    "accounts.access.imported_hashes.Pbkdf2Sha1Hasher",
    "accounts.access.imported_hashes.ScryptHasher",
    "accounts.access.imported_hashes.BCryptSha256Hasher",
    "accounts.access.imported_hashes.BCryptHasher",
    "accounts.access.imported_hashes.AspNetIdentityHasher",
]
PASSWORD_MEMORY = values[declared.PASSWORD_MEMORY]
PASSWORD_PASSES = values[declared.PASSWORD_PASSES]
PASSWORD_LANES = values[declared.PASSWORD_LANES]
PASSWORD_HASHES = values[declared.PASSWORD_HASHES]
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
# SECURITY: not in a cookie, Django's default: it outlives the session, and the next user of the browser could read it.
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"
CSRF_COOKIE_SAMESITE = "Lax"
CSRF_FAILURE_VIEW = "hitobit_portal.http.error_pages.csrf_failure"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE
# The prefix __Host- binds a cookie to this host, path / and https; browsers refuse it on plain http.
SESSION_COOKIE_NAME = "__Host-session" if SECURE else "session"
CSRF_COOKIE_NAME = "__Host-csrf" if SECURE else "csrf"
LANGUAGE_COOKIE_NAME = "__Host-language" if SECURE else "language"  # the names of `display_preferences`
LANGUAGE_COOKIE_SECURE = SECURE
LANGUAGE_COOKIE_SAMESITE = "Lax"
LANGUAGE_COOKIE_AGE = int(timedelta(days=365).total_seconds())

# TLS ends at the proxy. It redirects http to https, and must overwrite this header.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if SECURE else None
SECURE_SSL_REDIRECT = SECURE
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
SECURE_HSTS_SECONDS = values[declared.HSTS_SECONDS] if SECURE else 0
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

LOG_FORMAT = values[declared.LOG_FORMAT]
LOGGING = logs.configuration(LOG_FORMAT, values[declared.LOG_LEVEL])
