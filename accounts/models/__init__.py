"""The models of `accounts`."""

from accounts.models.access import DelayedChange, ImportedHashKind, Invitation, LoginSession, TrustedDevice
from accounts.models.erasures import Erasure
from accounts.models.factors import (
    FactorGuard,
    PortalDevice,
    RecoveryCode,
    RecoveryDevice,
    SmsCode,
    SmsDevice,
    TotpDevice,
)
from accounts.models.messages import Notice, SmsDelivery
from accounts.models.people import User, UserManager
from accounts.models.trail import AuditEvent, AuditEventQuerySet, AuditHead, AuditLink
from accounts.models.upkeep import LastRun
from accounts.models.webhooks import WebhookDelivery, WebhookEndpoint

__all__ = [
    "AuditEvent",
    "AuditEventQuerySet",
    "AuditHead",
    "AuditLink",
    "DelayedChange",
    "Erasure",
    "FactorGuard",
    "ImportedHashKind",
    "Invitation",
    "LastRun",
    "LoginSession",
    "Notice",
    "PortalDevice",
    "RecoveryCode",
    "RecoveryDevice",
    "SmsCode",
    "SmsDelivery",
    "SmsDevice",
    "TotpDevice",
    "TrustedDevice",
    "User",
    "UserManager",
    "WebhookDelivery",
    "WebhookEndpoint",
]
