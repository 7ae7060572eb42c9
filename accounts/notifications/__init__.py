"""Security notices: which event is sent to whom, the outbox, its texts, and the one-time links in them."""

__all__ = ["links", "outbox", "policy", "texts"]
