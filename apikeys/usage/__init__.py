"""Record, query and present a key's requests: counts, clock skew, health checks, rejections, exports."""

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
    "request_line",
]
