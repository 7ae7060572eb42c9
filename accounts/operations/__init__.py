"""For operators: the doctor's checks, chores, retention, metrics, and the demo's account."""

__all__ = ["chores", "demo_account", "doctor", "metrics", "retention"]
