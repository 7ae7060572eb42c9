"""The tables of `apikeys`."""

from apikeys.models.credentials import ALPHABET, KEY_LENGTH, AllowedNetwork, Credential, random_text
from apikeys.models.gateway import GatewayToken
from apikeys.models.keys import ApiKey, ApiKeyManager, KeyLimitReached
from apikeys.models.management import IdempotentAnswer, ManagementToken
from apikeys.models.requests import KeyRequest
from apikeys.models.use import AddressUse, DailyUse, NetworkUse, Refusal, RescueRequest

__all__ = [
    "ALPHABET",
    "KEY_LENGTH",
    "AddressUse",
    "AllowedNetwork",
    "ApiKey",
    "ApiKeyManager",
    "Credential",
    "DailyUse",
    "GatewayToken",
    "IdempotentAnswer",
    "KeyLimitReached",
    "KeyRequest",
    "ManagementToken",
    "NetworkUse",
    "Refusal",
    "RescueRequest",
    "random_text",
    "tokens",
]
