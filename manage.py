#!/usr/bin/env python
"""Runs the portal's commands: ``python manage.py help``."""

import os
import sys

REAL = {"PORTAL_SECRET_KEY", "PORTAL_MASTER_KEYS", "PORTAL_BASE_URL", "DATABASE_URL"}


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hitobit_portal.settings")
    # The demo's own commands mean the demo, but never where anything of a real installation is configured.
    configured = any(name.removesuffix("_FILE") in REAL for name in os.environ)
    if sys.argv[1:2] in (["create_demo"], ["run_demo"]) and not configured:
        os.environ.setdefault("PORTAL_DEMO", "true")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        # One sentence that names the setting; a traceback would bury it.
        sys.exit(f"Configuration error: {error}")


if __name__ == "__main__":
    main()
