"""Filters for figures of a key's use."""

from datetime import date

from django import template

from hitobit_portal.i18n.jalali import day_local, digits

register = template.Library()


@register.filter
def number(value: int) -> str:
    """Format ``24618`` as ``24,618``, in Persian ``۲۴٬۶۱۸``."""
    shown = digits(f"{value:,}")
    return shown if shown.isascii() else shown.replace(",", "٬")


@register.filter
def day_month(value: date) -> str:
    """Format a day of the last months without its year: ``1 آذر`` or ``22 Nov``."""
    return day_local(value).rpartition(" ")[0]


@register.filter
def permille(value: int) -> str:
    """Format ``12`` as percent: ``1.2``, in Persian ``۱٫۲``."""
    shown = digits(f"{value / 10:,.1f}")
    return shown if shown.isascii() else shown.replace(",", "٬").replace(".", "٫")


@register.filter
def seconds(skew_ms: int) -> str:
    """Format the absolute value in ms as seconds: ``7400`` as ``7.4``, in Persian ``۷٫۴``."""
    shown = digits(f"{abs(skew_ms) / 1000:,.1f}")
    return shown if shown.isascii() else shown.replace(",", "٬").replace(".", "٫")
