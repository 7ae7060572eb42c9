"""Enumerations and pure rules: approvals, events, roles, the registries that apps add to, and the MACs of the audit trail. No models, no settings."""

__all__ = ["approvals", "audit_mac", "clock_drift", "events", "registry", "roles"]
