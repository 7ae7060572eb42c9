"""The WSGI entry point: ``granian --interface wsgi hitobit_portal.wsgi:application``."""

import os
from collections.abc import Iterable
from typing import Any

from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.wsgi import get_wsgi_application
from django.utils.http import parse_header_parameters

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hitobit_portal.settings")

portal = get_wsgi_application()
# A server asks no `manage.py check`: what is wrong has to stop it, too.
if wrong := [message for message in run_checks() if message.is_serious()]:
    raise ImproperlyConfigured(" ".join(f"{message.msg} ({message.id})" for message in wrong))


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """The portal, for requests in UTF-8, as all of its forms are; any other charset is 415.

    SECURITY: Django decodes by whatever codec a caller names, before any middleware is asked: "base64" raises there,
    and "unicode_escape" makes text that can't be encoded again.
    """
    try:
        charset = parse_header_parameters(environ.get("CONTENT_TYPE", ""))[1].get("charset", "utf-8")
    except (LookupError, ValueError):
        charset = ""
    if charset.lower() not in ("utf-8", "utf8"):
        start_response("415 Unsupported Media Type", [("Content-Length", "0")])
        return []
    return portal(environ, start_response)
