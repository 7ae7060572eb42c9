"""For operators: the doctor's checks, metrics, and the demo's account."""

__all__ = ["demo_account", "doctor", "metrics"]
