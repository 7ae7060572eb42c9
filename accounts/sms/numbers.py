"""Phone numbers: the national format for providers, and the masked format for records."""

IRAN = "+98"


def national(phone: str) -> str:
    """Return ``+989121234567`` as ``09121234567``, other countries' numbers as ``0049...``: Iranian providers do not
    accept a plus.
    """
    if phone.startswith(IRAN):
        return f"0{phone.removeprefix(IRAN)}"
    return f"00{phone.removeprefix('+')}"


def masked(phone: str) -> str:
    """Return ``+989121234567`` as ``+98912•••4567``. At least three digits of a short number are hidden too."""
    shown = max(0, min(10, len(phone) - 3))
    end = shown * 4 // 10
    return f"{phone[: shown - end]}•••{phone[len(phone) - end :]}"
