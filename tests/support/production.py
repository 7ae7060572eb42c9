"""An environment as complete and as strict as production's, with secrets made at run time.

``python -m tests.support.production COMMAND...`` runs a command in it; the tests start from it too.
"""

import base64
import os
import secrets
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOST = "portal.test"
#: A busy machine is not a database that is down.
PATIENT = {
    "PORTAL_DATABASE_PAGE_TIMEOUT": "60",
    "PORTAL_DATABASE_LOCK_TIMEOUT": "60",
    "PORTAL_DATABASE_PROBE_MS": "20000",
    "PORTAL_DATABASE_CONNECT_TIMEOUT": "30",
    "PORTAL_REDIS_TIMEOUT": "30",
}
PREFIXES = ("PORTAL_", "DATABASE_URL", "REDIS_URL", "GRANIAN_", "DJANGO_")


def without_settings(environ: dict[str, str]) -> dict[str, str]:
    """``environ`` less everything that could configure a portal; ``PORTAL_TEST_*`` stays."""
    return {
        name: value
        for name, value in environ.items()
        if name.startswith("PORTAL_TEST_") or not name.startswith(PREFIXES)
    }


def settings(data_dir: Path) -> dict[str, str]:
    """Every setting that production has to give, on SQLite in ``data_dir`` and one process."""
    return {
        "PORTAL_DEMO": "false",
        "PORTAL_DATA_DIR": str(data_dir),
        "PORTAL_SECRET_KEY": secrets.token_urlsafe(64),
        "PORTAL_MASTER_KEYS": f"test:{base64.b64encode(secrets.token_bytes(32)).decode()}",
        "PORTAL_BASE_URL": f"https://{HOST}",
        "PORTAL_TRUSTED_PROXIES": "none",
        "PORTAL_PROCESSES": "1",
        "PORTAL_SMS_BACKENDS": "accounts.sms.file",
        "PORTAL_SIGNUP": "open",
        "PORTAL_GATEWAY_LEASE_MS": "60",  # the shortest: every change of a key waits for it
        "PORTAL_EMAIL_URL": "smtp://127.0.0.1:9/",  # nobody listens; pytest-django keeps what would be sent
        "PORTAL_LOG_LEVEL": "WARNING",
        **PATIENT,
        "DATABASE_URL": f"sqlite:///{data_dir / 'portal.sqlite3'}",
        "DJANGO_SETTINGS_MODULE": "hitobit_portal.settings",
    }


def main(command: list[str]) -> int:
    """Runs ``command`` and returns its exit code; the data directory is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="portal-") as directory:
        environ = {**without_settings(dict(os.environ)), **settings(Path(directory))}
        # The deployment check refuses the demo's own back-ends, rightly.
        environ["PORTAL_SMS_BACKENDS"] = "tests.support.sms_collector"
        return os.spawnvpe(os.P_WAIT, command[0], command, environ)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
