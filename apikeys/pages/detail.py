"""The pages of one key beside its settings: overview, usage and rejections, signing keys, pause and delete."""

from django.db.models import prefetch_related_objects
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from accounts.access import form_drafts
from apikeys.actions import address_approval, lifecycle
from apikeys.pages import key_settings, presenters, session_state
from apikeys.pages.ownership import own_key
from apikeys.policy.choices import KeyState
from apikeys.usage import presenters as use
from apikeys.usage import queries


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def key_detail(request: HttpRequest, pk: str) -> HttpResponse:
    """Show the overview; of a key that this session just created, its secret and its first settings.

    The form of the settings is accepted here as well: it is the address at which a key's whole story used to be.
    """
    key = own_key(request, pk)
    if request.method == "POST":
        return key_settings.save_posted(request, key)
    if session_state.is_fresh(request, key):
        return key_settings.new_key_page(request, key)
    is_active, is_deleted = key.state == KeyState.ACTIVE, key.state == KeyState.REVOKED
    # A form that was sent here when the session had expired.
    if is_active and form_drafts.move_to(request, reverse("key_settings", args=[key.pk])):
        return redirect("key_settings", key.pk)
    prefetch_related_objects([key], "credentials")
    counts = queries.counts_of([key])[key.pk]
    context = {
        "key": key,
        "kinds": presenters.kinds(key),
        "networks": presenters.shown_networks(key),
        "renewable": lifecycle.is_renewable(key),
        "steps": presenters.first_steps(key) if is_active and not key.last_used_at else {},
        "health": None if is_deleted else presenters.health(key, counts),
        "waiting": address_approval.open_requests_of([key]),
        "counts": counts,
    }
    return render(request, "apikeys/key_detail.html", context)


@require_safe
def key_usage(request: HttpRequest, pk: str) -> HttpResponse:
    """Show the requests of a month, why some were refused, and the program's clock."""
    key = own_key(request, pk)
    context = {"key": key, "usage": use.month(key), "refused": use.rejections(key)}
    return render(request, "apikeys/key_usage.html", context)


@require_safe
def key_signing(request: HttpRequest, pk: str) -> HttpResponse:
    """Show what the key's programs sign with, and offer a rotation."""
    key = own_key(request, pk)
    if key.state != KeyState.ACTIVE:
        return redirect("key_detail", key.pk)
    context = {"key": key, "credentials": presenters.credentials(key)}
    return render(request, "apikeys/key_signing.html", context)


@require_safe
def key_danger(request: HttpRequest, pk: str) -> HttpResponse:
    """Lead to what stops the key: for a while, or for good."""
    key = own_key(request, pk)
    if key.state == KeyState.REVOKED:
        return redirect("key_detail", key.pk)
    return render(request, "apikeys/key_danger.html", {"key": key})
