#!/usr/bin/env python
"""Runs the portal's commands: ``python manage.py help``."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hitobit_portal.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        # One sentence that names the setting; a traceback would bury it.
        sys.exit(f"Configuration error: {error}")


if __name__ == "__main__":
    main()
