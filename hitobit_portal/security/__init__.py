"""Encryption at rest, keyed digests, and rate limits."""

__all__ = ["crypto", "ratelimits"]
