"""The customers' help: the Markdown of docs/help, and which page of it explains which page of the portal."""

from hitobit_portal.help.topics import place_of

__all__ = ["place_of", "views"]
