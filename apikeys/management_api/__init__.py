"""The management API for the exchange's back office. None of its endpoints gives power to anybody."""

__all__ = ["endpoints", "scopes", "urls"]
