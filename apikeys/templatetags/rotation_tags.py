"""The fingerprint of a credential."""

from django import template

from apikeys.models import Credential
from apikeys.policy import public_keys

register = template.Library()


@register.filter
def fingerprint(credential: Credential) -> str:
    """``SHA256:…`` of a public key; "" of a secret."""
    return public_keys.fingerprint(credential.public_key) if credential.public_key else ""
