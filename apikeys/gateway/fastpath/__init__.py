"""The fast path: answers the usual form of a request from a prepared key, and leaves every other one to the decision."""

__all__ = ["lru", "prepared_key", "query", "rate_limits", "usage_counters", "verifiers"]
