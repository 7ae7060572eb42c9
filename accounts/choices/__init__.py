"""Enumerations and pure rules: approvals, events, roles, and the MACs of the audit trail. No models, no settings."""

__all__ = ["approvals", "audit_mac", "clock_drift", "events", "roles"]
