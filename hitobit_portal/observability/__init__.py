"""Structured logs."""

__all__ = ["logs"]
