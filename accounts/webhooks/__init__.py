"""Webhooks: events of the audit trail to other systems (Standard Webhooks, CloudEvents)."""

__all__ = ["documents", "endpoints", "filters", "outbox", "sender", "transport"]
