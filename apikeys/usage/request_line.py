"""Clean what is stored of a rejected request: its method, its path, and the name of one parameter. Pure.

SECURITY: all three are text of whoever sent the request. No value of a parameter is stored, and nothing that may be
one: a path ends where it has a character that servers do not use in paths, and long parts of it are left out; a name
is short and looks like a name. A secret or a signature, sent in the wrong place, is neither.
"""

from __future__ import annotations

import re
from typing import NamedTuple

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})
MAX_PATH_LENGTH = 80
#: A listen key has 60 characters, an HMAC in hexadecimal 64.
MAX_SEGMENT_LENGTH = 32
MAX_PARAMETER_LENGTH = 32
#: What was left out of a path.
CUT = "…"
#: Names of the contract, which are stored as they are spelt there.
CONTRACT_PARAMETERS = ("timestamp", "recvWindow", "signature")
_PATH = re.compile(rf"[A-Za-z0-9/._~{CUT}-]*")
_PARAMETER = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


class RequestLine(NamedTuple):
    """The method and the path of a request as received, without the query string."""

    method: str = ""
    path: str = ""

    def cleaned(self) -> RequestLine:
        """Return what may be stored; "" for a method that does not exist and for a path that is not one."""
        method = self.method if self.method in METHODS else ""
        return RequestLine(method, _clean_path(self.path))


#: Nothing is known of the request.
NO_LINE = RequestLine()


def _clean_path(path: str) -> str:
    if not path.startswith("/"):
        return ""
    match = _PATH.match(path[:MAX_PATH_LENGTH])
    plain = match[0] if match else ""
    if len(plain) < len(path):
        plain = plain.rpartition("/")[0] + "/" + CUT  # the last part may be a piece of a long one
    return "/".join(part if len(part) <= MAX_SEGMENT_LENGTH else CUT for part in plain.split("/"))


def clean_parameter(name: str) -> str:
    """Return the name of a parameter; "" if it may be something else than a name."""
    if name in CONTRACT_PARAMETERS:
        return name
    is_name = len(name) <= MAX_PARAMETER_LENGTH and _PARAMETER.fullmatch(name) is not None
    return name if is_name else ""
