"""Languages: Jalali dates, form fields that accept Persian digits, the rule for free text, and message catalogues."""

__all__ = ["bidi", "fields", "free_text", "jalali"]
