"""What must not reach the log by way of an address."""

import logging
import re

#: Addresses whose last part is a secret: one-time links.
LINKS = re.compile(r"(/(?:n|signup/invited|settings/email/confirm)/)[^\s/?\"']+")


class HideLinks(logging.Filter):
    """Django logs the path of every request that it refuses; of a one-time link only where it led is kept."""

    def filter(self, record: logging.LogRecord) -> bool:
        # SECURITY: a link that was answered with 403, 429 or 500 still works for whoever reads the log.
        message = record.getMessage()
        hidden = LINKS.sub(r"\1(hidden)", message)
        if hidden != message:
            record.msg, record.args = hidden, ()
        return True
