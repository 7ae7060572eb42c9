"""The key of a page: the customer's own, or 404."""

from typing import Any

from django.http import Http404, HttpRequest

from accounts.access.decorators import customer
from apikeys.models import ApiKey


def own_key(request: HttpRequest, pk: Any) -> ApiKey:
    """Return the customer's own key; raise 404 for keys of other customers as for unknown ones."""
    try:
        key: ApiKey = customer(request).api_keys.get(pk=pk)
    except ApiKey.DoesNotExist:
        raise Http404 from None
    return key
