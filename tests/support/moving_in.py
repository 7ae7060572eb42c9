"""A portal that an exchange moves into: a demo in processes of its own, with an OpenID provider for its customers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.live_portal import LivePortal
from tests.support.openid_provider import OpenIdProvider
from tests.support.servers import free_port

#: Where the tests' receivers of webhooks are.
LOOPBACK = "127.0.0.0/8"


@contextmanager
def portal_with_provider(data_dir: Path, environ: dict[str, str]) -> Iterator[LivePortal]:
    """Run both, with a sender and a gateway beside the portal's server. ``environ`` overrides everything but ports.

    Raise `tests.support.servers.Missing` without a provider.
    """
    live = LivePortal(data_dir)
    with OpenIdProvider(live.url) as openid:
        live.environ |= {
            "PORTAL_OIDC_CLIENT_ID": openid.client_id,
            "PORTAL_OIDC_CLIENT_SECRET": openid.client_secret,
            "PORTAL_WEBHOOK_NETWORKS": LOOPBACK,
            **environ,
            "PORTAL_OIDC_ISSUER": openid.issuer,
            "PORTAL_GATEWAY_PORT": str(free_port()),
        }
        try:
            yield live.start()
        finally:
            live.stop()
