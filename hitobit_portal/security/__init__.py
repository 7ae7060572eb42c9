"""Encryption at rest, keyed digests, hashes of passwords, and rate limits."""

__all__ = ["crypto", "passwords", "ratelimits"]
