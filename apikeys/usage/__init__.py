"""What is known of a key's requests: counters, clock skew, health, rejections and their texts, exports."""

__all__ = [
    "batch",
    "batch_writer",
    "chart",
    "clock_skew",
    "export",
    "key_health",
    "presenters",
    "queries",
    "recorder",
    "rejection_texts",
]
