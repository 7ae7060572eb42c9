"""The fingerprint of a credential."""

from django import template

from apikeys.models import Credential
from apikeys.policy import public_keys

register = template.Library()


@register.filter
def fingerprint(credential: Credential) -> str:
    """Return the fingerprint of a public key; "" for a secret."""
    return public_keys.fingerprint(credential.public_key) if credential.public_key else ""
