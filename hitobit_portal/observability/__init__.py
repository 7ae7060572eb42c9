"""Structured logs, and traces."""

__all__ = ["logs", "traces"]
