"""The WSGI entry point: ``granian --interface wsgi hitobit_portal.wsgi:application``."""

import os
from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.wsgi import get_wsgi_application
from django.utils.http import parse_header_parameters

from hitobit_portal.database import limit_statements
from hitobit_portal.observability import traces

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hitobit_portal.settings")

portal = get_wsgi_application()
limit_statements(through_pooler=True)
# A server does not run `manage.py check`, so serious problems must stop it here.
if wrong := [message for message in run_checks() if message.is_serious()]:
    raise ImproperlyConfigured(" ".join(f"{message.msg} ({message.id})" for message in wrong))
if settings.OTEL_EXPORTER_OTLP_ENDPOINT:
    traces.start(settings.OTEL_EXPORTER_OTLP_ENDPOINT, settings.OTEL_EXPORTER_OTLP_HEADERS)


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """The portal, for requests in UTF-8, which all of its forms use; 415 for any other charset.

    SECURITY: Django decodes with any codec that a caller names, before any middleware runs: "base64" raises an
    exception there, and "unicode_escape" makes text that cannot be encoded again.
    """
    try:
        charset = parse_header_parameters(environ.get("CONTENT_TYPE", ""))[1].get("charset", "utf-8")
    except (LookupError, ValueError):
        charset = ""
    if charset.lower() not in ("utf-8", "utf8"):
        start_response("415 Unsupported Media Type", [("Content-Length", "0")])
        return []
    return portal(environ, start_response)
