"""For operators: the doctor's checks, metrics, re-encryption, retention, sample data, members of webhooks."""

__all__ = ["doctor", "metrics", "reencrypt", "retention", "sample_data", "webhooks"]
