"""The endpoints that the portal serves to clients itself (`/api/v3/...`, `/sapi/v1/...`)."""

__all__ = ["views"]
