"""What a code may approve, and how the approval is bound to it. Pure."""

import enum
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext_lazy as _


class Purpose(enum.Enum):
    """One member a kind of approval; the value is stored beside the SMS code."""

    LOGIN = "login"
    ENROL_SMS = "enrol.sms"
    ENROL_TOTP = "enrol.totp"
    CREATE_KEY = "key.create"
    CHANGE_KEY = "key.change"


#: What the SMS and the page say that a code is for.
SENTENCES = {
    Purpose.LOGIN: _("login to the API portal"),
    Purpose.ENROL_SMS: _("confirming this mobile number"),
    Purpose.ENROL_TOTP: _("turning the authenticator on"),
    Purpose.CREATE_KEY: _("creating the API “%(name)s”"),
    Purpose.CHANGE_KEY: _("changing the API “%(name)s”: %(changes)s"),
}


@dataclass(frozen=True)
class Approval:
    """One thing to approve: its purpose, the exact content, and the words that name it.

    ``content`` holds JSON values; two approvals are the same only if purpose and content are equal.
    ``words`` fill the purpose's sentence, for the SMS and the page.
    """

    purpose: Purpose
    content: dict[str, Any]
    words: dict[str, str]

    @property
    def binding(self) -> str:
        """64 hex digits that stand for purpose and content.

        SECURITY: a code obtained for a harmless change must not approve a dangerous one.
        """
        text = json.dumps(
            [self.purpose.value, self.content], sort_keys=True, ensure_ascii=True, separators=(",", ":")
        )
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def sentence(self) -> str:
        return str(SENTENCES[self.purpose]) % self.words


LOGIN = Approval(Purpose.LOGIN, {}, {})
ENROL_SMS = Approval(Purpose.ENROL_SMS, {}, {})
ENROL_TOTP = Approval(Purpose.ENROL_TOTP, {}, {})
