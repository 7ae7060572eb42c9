"""A phone number as providers want it, and as much of it as a record may keep."""

IRAN = "+98"


def national(phone: str) -> str:
    """``+989121234567`` as ``09121234567``, any other country's as ``0049...``: Iranian providers know no plus."""
    if phone.startswith(IRAN):
        return f"0{phone.removeprefix(IRAN)}"
    return f"00{phone.removeprefix('+')}"


def masked(phone: str) -> str:
    """``+989121234567`` as ``+98912•••4567``; at least three digits of a short number are hidden too."""
    shown = max(0, min(10, len(phone) - 3))
    end = shown * 4 // 10
    return f"{phone[: shown - end]}•••{phone[len(phone) - end :]}"
