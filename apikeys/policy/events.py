"""The security events of keys and gateway tokens, with their titles, icons and colours. Pure: no ORM."""

from django.utils.translation import gettext_lazy as _

from accounts.choices import events
from accounts.choices.events import Look, SecurityEvent


class KeyEvent(SecurityEvent):
    """The events of keys and gateway tokens. The value is the tag that is stored."""

    APPROVED = "key.approved"
    CREATED = "key.created"
    REVEALED = "key.revealed"
    CHANGED = "key.changed"
    FROZEN = "key.frozen"
    THAWED = "key.thawed"
    REVOKED = "key.revoked"
    EXPIRES_SOON = "key.expires_soon"
    TRADE_ENDS_SOON = "key.trade_ends_soon"
    RENAMED = "key.renamed"
    RENEWED = "key.trade_renewed"
    ROTATED = "key.rotated"
    CREDENTIAL_ENDED = "key.credential_ended"
    NEW_NETWORK = "key.new_network"
    ADDRESS_REQUESTED = "key.rescue_asked"
    ADDRESS_REQUEST_CLOSED = "key.rescue_closed"
    REQUESTED = "key_request.made"
    REQUEST_CONFIRMED = "key_request.confirmed"
    REQUEST_DECLINED = "key_request.declined"
    REQUEST_CANCELLED = "key_request.cancelled"
    REQUEST_EXPIRED = "key_request.expired"
    THAW_REQUESTED = "thaw_request.made"
    EXPORTED = "key.exported"
    GATEWAY_TOKEN_MADE = "gateway.token_made"  # nosec B105
    GATEWAY_TOKEN_REVOKED = "gateway.token_revoked"  # nosec B105
    MANAGEMENT_TOKEN_MADE = "management.token_made"  # nosec B105
    MANAGEMENT_TOKEN_REVOKED = "management.token_revoked"  # nosec B105
    MANAGEMENT_CALLED = "management.called"


LOOKS: dict[SecurityEvent, Look] = {
    KeyEvent.APPROVED: Look(_("Both codes confirmed"), "shield", "ok"),
    KeyEvent.CREATED: Look(_("API key created"), "key", "brand"),
    KeyEvent.REVEALED: Look(_("Secret key shown"), "eye", "info"),
    KeyEvent.CHANGED: Look(_("API key settings changed"), "sliders", "info"),
    KeyEvent.FROZEN: Look(_("API key paused"), "pause", "info"),
    KeyEvent.THAWED: Look(_("API key resumed"), "play", "info"),
    KeyEvent.REVOKED: Look(_("API key deleted"), "trash", "danger"),
    KeyEvent.RENAMED: Look(_("API key renamed"), "edit", ""),
    KeyEvent.RENEWED: Look(_("Permission to trade renewed"), "rotate", "info"),
    KeyEvent.ROTATED: Look(_("New credential created for an API key"), "rotate", "warn"),
    KeyEvent.CREDENTIAL_ENDED: Look(_("Credential of an API key ended manually"), "x", "info"),
    KeyEvent.NEW_NETWORK: Look(_("Unrestricted API key used from a new network"), "alert", "warn"),
    KeyEvent.ADDRESS_REQUESTED: Look(_("A new IP asks to use an API key"), "alert", "warn"),
    KeyEvent.ADDRESS_REQUEST_CLOSED: Look(_("Request from a new IP address answered"), "check", "info"),
    KeyEvent.EXPORTED: Look(_("Keys and events exported"), "download", "info"),
    KeyEvent.EXPIRES_SOON: Look(_("API key expires soon"), "clock", "warn"),
    KeyEvent.TRADE_ENDS_SOON: Look(_("Trading with an API key ends soon"), "clock", "warn"),
    KeyEvent.GATEWAY_TOKEN_MADE: Look(_("Gateway token created"), "key", "warn"),
    KeyEvent.GATEWAY_TOKEN_REVOKED: Look(_("Gateway token revoked"), "trash", "warn"),
}
#: Requests of the exchange to a customer. They change nothing that a key can do; the customer's answer is an event of
#: its own.
REQUEST_LOOKS: dict[SecurityEvent, Look] = {
    KeyEvent.REQUESTED: Look(_("Request for an API key"), "key", "warn"),
    KeyEvent.REQUEST_CONFIRMED: Look(_("Hitobit's request for an API key confirmed"), "check", "brand"),
    KeyEvent.REQUEST_DECLINED: Look(_("Hitobit's request for an API key refused"), "x", "info"),
    KeyEvent.REQUEST_CANCELLED: Look(_("Hitobit withdrew its request for an API key"), "x", ""),
    KeyEvent.REQUEST_EXPIRED: Look(_("Hitobit's request for an API key expired"), "clock", ""),
    KeyEvent.THAW_REQUESTED: Look(_("Hitobit asks you to unfreeze your account"), "play", "warn"),
}
#: Events of the management API itself. Its effects are events of keys and accounts.
MANAGEMENT_LOOKS: dict[SecurityEvent, Look] = {
    KeyEvent.MANAGEMENT_TOKEN_MADE: Look(_("Management token created"), "key", "warn"),
    KeyEvent.MANAGEMENT_TOKEN_REVOKED: Look(_("Management token revoked"), "trash", "warn"),
    KeyEvent.MANAGEMENT_CALLED: Look(_("Call of the management API"), "code", ""),
}


def register() -> None:
    """Register the events with `accounts.choices.events`. Called by `ApiKeysConfig.ready()`."""
    events.register(LOOKS, awaited=True)
    events.register(REQUEST_LOOKS, awaited=False)
    events.register(MANAGEMENT_LOOKS, awaited=False)
