"""Operations: checks of `portal_doctor`, metrics, and the demo account."""

__all__ = ["demo_account", "doctor", "metrics"]
