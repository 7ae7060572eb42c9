"""The fast path: answers the usual form of a request from a prepared key; every other one goes to the decision."""

__all__ = ["lru", "prepared_key", "query", "rate_limits", "replay_guard", "usage_counters", "verifiers"]
