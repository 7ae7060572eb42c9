"""Tokens of the exchange's back office for the management API, and the answers that it may ask for again."""

from datetime import datetime

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from apikeys.models.tokens import BearerToken


class ManagementToken(BearerToken):
    """A bearer token of the management API, with what it may do, from where, and until when."""

    PREFIX = "hbmg_"

    #: Values of `apikeys.management_api.scopes.Scope`.
    scopes = models.JSONField(default=list, editable=False)
    #: Addresses and networks, normalised by `networks.parse_network`. None of them: the token works nowhere.
    networks = models.JSONField(default=list, editable=False)
    expires_at = models.DateTimeField(_("expires"), editable=False)

    class Meta(BearerToken.Meta):
        verbose_name = _("management token")
        verbose_name_plural = _("management tokens")

    def is_live(self, now: datetime) -> bool:
        return self.revoked_at is None and now < self.expires_at


class IdempotentAnswer(models.Model):
    """The answer to a request with an ``Idempotency-Key``: the same request gets it again within 24 hours.

    ``request_digest``: of method, path and body.
    """

    token = models.ForeignKey(ManagementToken, models.CASCADE, related_name="answers")
    key = models.CharField(max_length=64)
    request_digest = models.CharField(max_length=64)
    created_at = models.DateTimeField(default=timezone.now, db_index=True)
    status = models.PositiveSmallIntegerField(default=0)
    body = models.TextField(blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["token", "key"], name="one_answer_a_key")]
