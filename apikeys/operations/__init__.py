"""For operators: the doctor's checks, metrics, re-encryption under a new master key, retention, sample data."""

__all__ = ["doctor", "metrics", "reencrypt", "retention", "sample_data"]
