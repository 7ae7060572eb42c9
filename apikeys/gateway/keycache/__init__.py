"""Keys in the memory of a gateway process, and the invalidation listeners that keep them from being stale."""

__all__ = ["cache", "database", "postgresql_invalidation", "sqlite_invalidation"]
