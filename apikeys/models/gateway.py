"""Tokens of the exchange's gateways for the authorization API."""

from django.utils.translation import gettext_lazy as _

from apikeys.models.tokens import BearerToken


class GatewayToken(BearerToken):
    """The bearer token of a gateway. Several are valid at a time, so that one can be replaced without interruption."""

    PREFIX = "hbgw_"

    class Meta(BearerToken.Meta):
        verbose_name = _("gateway token")
        verbose_name_plural = _("gateway tokens")
