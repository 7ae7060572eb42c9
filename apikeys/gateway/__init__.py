"""The machine door: gateways ask over HTTP whether a signed request may pass, and get the decision.

It runs outside Django's request stack, in processes of its own (``make gateway``); `door` is where HTTP comes in."""

__all__ = ["supervisor"]
