"""What a back-end raises when a message was not handed over."""


class SmsError(Exception):
    """The message was not handed over. The text must not hold the message or the whole number."""


class NotServedError(SmsError):
    """No provider was asked: the number is not one to which messages are sent (`fields.is_served`)."""


class ProviderError(SmsError):
    """A provider refused, or could not be reached. ``reason`` is a class or a status, never what was sent or answered.

    ``is_message_fault``: the provider works, and this one message (its number, its text) is what it refuses.
    """

    def __init__(self, reason: str, *, is_message_fault: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_message_fault = is_message_fault
