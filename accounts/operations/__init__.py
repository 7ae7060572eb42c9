"""Operations: checks of `portal_doctor`, chores, retention, metrics, and the demo account."""

__all__ = ["chores", "demo_account", "doctor", "metrics", "retention"]
