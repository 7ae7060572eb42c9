"""What stands around every request: middleware, error pages, client addresses, health, the commit barrier."""

__all__ = [
    "client_ip",
    "commit_barrier",
    "context",
    "display_preferences",
    "error_pages",
    "health",
    "middleware",
    "staticfiles",
]
