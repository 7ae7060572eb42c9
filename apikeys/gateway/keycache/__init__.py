"""The key cache of a gateway process, and the listeners that invalidate its entries when the database changes."""

__all__ = ["cache", "database", "postgresql_invalidation", "sqlite_invalidation"]
