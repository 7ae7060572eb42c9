"""The customers' help, for everybody, without a login: an index, and one page for each topic."""

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import translation
from django.views.decorators.http import require_safe

from hitobit_portal.help import markdown_pages
from hitobit_portal.help.topics import TOPICS


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    return render(request, "help/index.html", {"pages": _pages()})


@require_safe
def topic(request: HttpRequest, topic: str) -> HttpResponse:
    if topic not in TOPICS:
        raise Http404
    pages = _pages()
    shown = next(page for page in pages if page.topic == topic)
    return render(request, "help/page.html", {"pages": pages, "page": shown})


def _pages() -> list[markdown_pages.Page]:
    return markdown_pages.pages(translation.get_language() or settings.LANGUAGE_CODE, settings.BASE_URL)
