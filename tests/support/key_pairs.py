"""Pairs of keys as customers make them, and a client that signs with them: `cryptography` alone."""

import base64
import time
import urllib.parse
from functools import cache

from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

Private = ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


def new_ed25519() -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.generate()


@cache
def rsa_of(bits: int) -> rsa.RSAPrivateKey:
    """Made once a process: 4096 bits take seconds."""
    return rsa.generate_private_key(65_537, bits)


def public_pem(private: Private) -> str:
    return private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def private_pem(private: Private, form: PrivateFormat = PrivateFormat.PKCS8) -> str:
    return private.private_bytes(Encoding.PEM, form, NoEncryption()).decode()


def signed_query(private: Private) -> str:
    """``timestamp`` of now and its ``signature``, percent-encoded."""
    query = f"timestamp={time.time_ns() // 1_000_000}"
    if isinstance(private, rsa.RSAPrivateKey):
        signature = private.sign(query.encode(), PKCS1v15(), SHA256())
    else:
        signature = private.sign(query.encode())
    return f"{query}&signature={urllib.parse.quote_plus(base64.b64encode(signature))}"
