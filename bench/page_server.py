"""The portal's WSGI application with a bare Django view beside it, which `bench.pages` compares its pages with."""

from collections.abc import Iterable
from typing import Any

from django.core.handlers.exception import convert_exception_to_response
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse

from bench.pages import BARE_PATH
from hitobit_portal.wsgi import application as portal


class BareHandler(WSGIHandler):
    """Django without middleware: each request gets two bytes."""

    def load_middleware(self, is_async: bool = False) -> None:
        self._middleware_chain = convert_exception_to_response(answer)


def answer(_request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok")


bare = BareHandler()


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    return (bare if environ["PATH_INFO"] == BARE_PATH else portal)(environ, start_response)
