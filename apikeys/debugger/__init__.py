"""The request debugger: parses a pasted request, finds why its signature fails, and says how to fix it."""

__all__ = ["cli_report", "request_parser", "urls"]
