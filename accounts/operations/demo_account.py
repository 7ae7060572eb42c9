"""The demo customer: created once, with both factors confirmed; the login is stored in ``demo.json`` (mode 0600)."""

import json
import secrets
from pathlib import Path
from typing import TypedDict

import pyotp
from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.factors import recovery_codes, verification
from accounts.models import SmsDevice, TotpDevice, User
from hitobit_portal.config.demo import keep, prepare
from hitobit_portal.security import crypto

PHONE = "+989121234567"


class DemoLogin(TypedDict):
    phone: str
    password: str
    totp_secret: str


def ensure() -> DemoLogin:
    """Return the demo customer's login, created on the first call. Raise `RuntimeError` outside the demo."""
    # SECURITY: an account whose password and seed are printed must not exist in production.
    if not settings.DEMO:
        raise RuntimeError("the demo customer exists with PORTAL_DEMO=true only")
    path = prepare(Path(settings.DATA_DIR)) / "demo.json"
    fresh: DemoLogin = {
        "phone": PHONE,
        "password": secrets.token_urlsafe(12),
        "totp_secret": pyotp.random_base32(),
    }
    login: DemoLogin = json.loads(keep(path, json.dumps(fresh)))
    with transaction.atomic():
        missing = not User.objects.filter(phone=login["phone"]).exists()
        user = _create(login) if missing else None
    if user is not None:
        codes = recovery_codes.generate(None, user, renew=False)
        keep(path.with_name("recovery-codes.txt"), "\n".join(codes))
    return login


def _create(login: DemoLogin) -> User:
    user = User.objects.create_user(login["phone"], login["password"], name=_("Sara Rezaei"))
    now = timezone.now()
    sealed = crypto.seal(login["totp_secret"].encode(), verification.seal_owner(user))
    TotpDevice.objects.create(user=user, name="totp", confirmed=True, confirmed_at=now, seed_sealed=sealed)
    SmsDevice.objects.create(user=user, name="sms", confirmed=True, confirmed_at=now, number=user.phone)
    return user
