"""Checks of `portal_doctor`: master keys and gateway tokens."""

from collections import Counter
from collections.abc import Iterator

from django.conf import settings
from django.db.models import Count, F, Value
from django.db.models.functions import StrIndex, Substr
from django.utils import timezone

from accounts.choices import audit_mac
from accounts.models import AuditLink, RecoveryCode, TotpDevice, WebhookEndpoint
from accounts.operations import doctor
from accounts.operations.doctor import CheckResult, CheckStatus
from apikeys.models import Credential, GatewayToken
from hitobit_portal.security import crypto

#: All columns whose values contain the id of a master key: (manager, column, number of characters before the id).
SEALED = (
    (Credential.objects, "sealed", len(crypto.VERSION) + 1),
    (TotpDevice.objects, "seed_sealed", len(crypto.VERSION) + 1),
    (TotpDevice.objects, "next_seed_sealed", len(crypto.VERSION) + 1),
    (WebhookEndpoint.objects, "secret_sealed", len(crypto.VERSION) + 1),
    (WebhookEndpoint.objects, "old_secret_sealed", len(crypto.VERSION) + 1),
    (RecoveryCode.objects, "digest", 0),
)


def master_keys() -> Iterator[CheckResult]:
    """Count the values of each master key, with one SQL statement per column, and report missing and old keys."""
    used: Counter[str] = Counter()
    for rows, column, before in SEALED:
        rest = Substr(F(column), before + 1)
        name = Substr(rest, 1, StrIndex(rest, Value(":")) - 1)
        values = rows.exclude(**{column: ""}).order_by().annotate(named=name).values_list("named")
        used.update(dict(values.annotate(Count("pk"))))
    # The oldest link of the audit chain is sufficient: the keys of the MACs change in chronological order.
    oldest = AuditLink.objects.order_by("sequence").values_list("mac", flat=True).first()
    if oldest and audit_mac.is_key_missing(oldest):
        used[oldest.partition(":")[0]] += 1
    missing = {name: count for name, count in used.items() if name not in settings.MASTER_KEYS}
    old = {
        name: count for name, count in used.items() if name not in missing and name != crypto.current_key_id()
    }
    if missing:
        advice = "Restore the key in PORTAL_MASTER_KEYS from your backup of secrets; without it the values are lost."
        yield CheckResult("master keys", CheckStatus.FAIL, f"not in the ring: {_listed(missing)}", advice)
    elif old:
        advice = "Run manage.py rotate_master_key; the old key can be removed when nothing uses it."
        yield CheckResult(
            "master keys", CheckStatus.WARN, f"encrypted with an older key: {_listed(old)}", advice
        )
    else:
        yield CheckResult(
            "master keys", CheckStatus.OK, f"all {used.total()} encrypted values use the newest key"
        )


def gateways() -> Iterator[CheckResult]:
    tokens = list(GatewayToken.objects.filter(revoked_at=None))
    used = [token.last_used_at for token in tokens if token.last_used_at is not None]
    if not tokens:
        advice = "Create one: manage.py gateway_token create NAME. Without a token gateways are rejected."
        yield CheckResult("gateways", CheckStatus.WARN, "no token", advice)
        return
    idle = f"last used {timezone.localtime(max(used)):%Y-%m-%d %H:%M}" if used else "never used"
    yield CheckResult("gateways", CheckStatus.OK, f"{len(tokens)} token(s), {idle}")


def _listed(used: dict[str, int]) -> str:
    # Only short ASCII names are shown: a damaged value must not be printed.
    return ", ".join(
        f"{name if name.isascii() and len(name) <= 16 else '?'} ({n})" for name, n in sorted(used.items())
    )


def register() -> None:
    """Register the checks with ``manage.py portal_doctor``. Called by `ApiKeysConfig.ready()`."""
    doctor.CHECKS.register({"master keys": (True, master_keys), "gateways": (True, gateways)})
