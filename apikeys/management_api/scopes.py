"""What a management token may do. Pure."""

import enum


class Scope(enum.Enum):
    """SECURITY: no scope creates a key that works, adds a permission, a network or a factor, or ends a stop; none says
    where events are sent.
    """

    USERS_READ = "users:read"
    USERS_WRITE = "users:write"
    USERS_STOP = "users:stop"
    KEYS_READ = "keys:read"
    KEYS_STOP = "keys:stop"
    REQUESTS_WRITE = "requests:write"
    EVENTS_READ = "events:read"
    SMS_READ = "sms:read"
    WEBHOOKS_READ = "webhooks:read"
    WEBHOOKS_SEND = "webhooks:send"
