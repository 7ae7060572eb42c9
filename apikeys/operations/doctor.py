"""The doctor's checks of master keys and gateways."""

from collections import Counter
from collections.abc import Iterator

from django.conf import settings
from django.db.models import Count, F, Value
from django.db.models.functions import StrIndex, Substr
from django.utils import timezone

from accounts.choices import audit_mac
from accounts.models import AuditLink, RecoveryCode, TotpDevice
from accounts.operations import doctor
from accounts.operations.doctor import CheckResult, CheckState
from apikeys.models import Credential, GatewayToken
from hitobit_portal.security import crypto

#: Every column whose text names a master key: (queryset of rows, column, characters before the key's id).
SEALED = (
    (Credential.objects, "sealed", len(crypto.VERSION) + 1),
    (TotpDevice.objects, "seed_sealed", len(crypto.VERSION) + 1),
    (TotpDevice.objects, "next_seed_sealed", len(crypto.VERSION) + 1),
    (RecoveryCode.objects, "digest", 0),
)


def master_keys() -> Iterator[CheckResult]:
    """One statement a column: the ids that stand before the ciphertexts, with their numbers."""
    used: Counter[str] = Counter()
    for rows, column, before in SEALED:
        rest = Substr(F(column), before + 1)
        name = Substr(rest, 1, StrIndex(rest, Value(":")) - 1)
        found = rows.exclude(**{column: ""}).order_by().annotate(named=name).values_list("named")
        used.update(dict(found.annotate(Count("pk"))))
    # The chain's oldest link stands for the trail: the keys of its MACs change in their order.
    oldest = AuditLink.objects.order_by("sequence").values_list("mac", flat=True).first()
    if oldest and audit_mac.is_key_missing(oldest):
        used[oldest.partition(":")[0]] += 1
    lost = {name: count for name, count in used.items() if name not in settings.MASTER_KEYS}
    old = {
        name: count for name, count in used.items() if name not in lost and name != crypto.current_key_id()
    }
    if lost:
        advice = (
            "Put the key back into PORTAL_MASTER_KEYS (from your backup of secrets); nothing else opens them."
        )
        yield CheckResult("master keys", CheckState.FAIL, f"not in the ring: {_listed(lost)}", advice)
    elif old:
        advice = "Run manage.py rotate_master_key; the old key can be removed when nothing uses it."
        yield CheckResult("master keys", CheckState.WARN, f"sealed by an older key: {_listed(old)}", advice)
    else:
        yield CheckResult(
            "master keys", CheckState.OK, f"all {used.total()} sealed values are by the newest key"
        )


def gateways() -> Iterator[CheckResult]:
    tokens = list(GatewayToken.objects.filter(revoked_at=None))
    used = [token.last_used_at for token in tokens if token.last_used_at is not None]
    if not tokens:
        advice = "Make one: manage.py gateway_token create NAME. Without it no gateway is answered."
        yield CheckResult("gateways", CheckState.WARN, "no token", advice)
        return
    idle = f"last used {timezone.localtime(max(used)):%Y-%m-%d %H:%M}" if used else "none was used yet"
    yield CheckResult("gateways", CheckState.OK, f"{len(tokens)} token(s), {idle}")


def _listed(used: dict[str, int]) -> str:
    # Only what looks like a key's name is shown: a damaged value has no name, and must not be printed.
    return ", ".join(
        f"{name if name.isascii() and len(name) <= 16 else '?'} ({n})" for name, n in sorted(used.items())
    )


def register() -> None:
    """Add the checks to those of ``manage.py portal_doctor``. Called by `ApiKeysConfig.ready()`."""
    doctor.CHECKS.register({"master keys": (True, master_keys), "gateways": (True, gateways)})
