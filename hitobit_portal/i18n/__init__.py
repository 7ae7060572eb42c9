"""Languages: Jalali dates, fields that take Persian digits, and the message catalogues."""

__all__ = ["fields", "free_text", "jalali"]
