"""Middleware, error pages, client addresses, health, the commit barrier, well-known addresses, outgoing requests."""

__all__ = [
    "caller_address",
    "client_ip",
    "commit_barrier",
    "context",
    "destinations",
    "display_preferences",
    "error_pages",
    "health",
    "middleware",
    "outgoing",
    "staticfiles",
    "well_known",
]
