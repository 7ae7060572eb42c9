"""Enumerations and pure rules: approvals, events, roles, registries of apps, MACs of the audit trail. No settings."""

__all__ = ["approvals", "audit_mac", "clock_drift", "events", "external_ids", "registry", "roles"]
