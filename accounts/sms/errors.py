"""Exceptions of SMS back-ends."""


class SmsError(Exception):
    """The message was not accepted. The text must not contain the message or the whole number."""


class NotServedError(SmsError):
    """No provider was called: no messages are sent to this number (`fields.is_served`)."""


class ProviderError(SmsError):
    """A provider refused, or could not be reached. ``reason``: a class or a status, never the request or response.

    ``is_message_fault``: the provider works and refuses this one message (its number or text).
    """

    def __init__(self, reason: str, *, is_message_fault: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_message_fault = is_message_fault
