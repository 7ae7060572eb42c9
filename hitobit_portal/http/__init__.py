"""Middleware, error pages, client addresses, health, the commit barrier, and well-known addresses."""

__all__ = [
    "client_ip",
    "commit_barrier",
    "context",
    "display_preferences",
    "error_pages",
    "health",
    "middleware",
    "staticfiles",
    "well_known",
]
