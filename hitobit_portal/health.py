"""Is the process alive, and can it work? For load balancers and the demo's start."""

from django.core.cache import cache
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe


@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """200 while the process answers; asks nobody else."""
    return HttpResponse("ok\n", content_type="text/plain")


@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """200 when database and cache answer, else 503; which one it is stands in the log only."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.fetchone()
    cache.set("readyz", 1, 5)
    return JsonResponse({"ready": True})


healthz.access = readyz.access = "public"  # type: ignore[attr-defined]
