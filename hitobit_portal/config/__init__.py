"""Settings: read from the environment, declared once, checked at the start."""

__all__ = ["checks", "declarations", "demo", "env", "parsers", "table"]
