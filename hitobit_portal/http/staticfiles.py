"""Hashed and compressed static files, ES modules included, and the middleware that serves them."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.storage import CompressedManifestStaticFilesStorage


class HashedStaticFiles(CompressedManifestStaticFilesStorage):
    """Also rewrite ``import "./x.js"``, so that a module and its imports are always of one release."""

    support_js_module_import_aggregation = True


class StaticFilesMiddleware(WhiteNoiseMiddleware):
    """Send files whole. A server that is stopped cuts a response that is streamed, after its headers were sent."""

    @staticmethod
    def serve(static_file: Any, request: HttpRequest) -> HttpResponse:
        streamed = WhiteNoiseMiddleware.serve(static_file, request)
        try:
            response = HttpResponse(b"".join(streamed), status=streamed.status_code)
        finally:
            streamed.close()
        # Also without a type, as 304 has none.
        response.headers = streamed.headers
        return response
