"""Decide whether a signed request may pass: bytes in, a named outcome out. Pure: no models, no settings, no I/O."""

__all__ = ["decision", "networks", "outcomes", "records", "signature_check", "signing"]
