"""The exchange's own ids of customers (`User.external_id`). Pure."""

from __future__ import annotations

import re
from typing import Final

MAX_LENGTH: Final = 64
#: Also of the database's constraint. SECURITY: the id is sent as a header of every allowed request: no line end, and
#: ``\Z`` because ``$`` matches before one.
PATTERN: Final = rf"\A[A-Za-z0-9._:@-]{{1,{MAX_LENGTH}}}\Z"
_PATTERN: Final = re.compile(PATTERN)
#: What it is, for error messages.
DESCRIPTION: Final = "1 to 64 characters out of A-Z a-z 0-9 . _ : @ -"


def is_external_id(text: str) -> bool:
    return _PATTERN.search(text) is not None
