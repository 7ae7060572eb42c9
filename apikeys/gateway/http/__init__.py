"""The gateway's HTTP/1.1 server over httptools and uvloop."""

__all__ = ["connection", "messages", "server"]
