"""Settings: declared once, read from the environment, checked at the start."""

__all__ = ["checks", "declarations", "demo", "env", "parsers", "table"]
