"""The fast path: allow the usual form of a request with a prepared key. All others go to `verification.decide`."""

__all__ = ["lru", "prepared_key", "query", "rate_limits", "replay_guard", "usage_counters", "verifiers"]
