"""What a voice call says: the code, digit by digit and twice."""

from django.utils import translation
from django.utils.translation import gettext as _


def sentence(code: str, language: str) -> str:
    """The sentence in ``language``; commas make a pause between the digits, which would be one large number else."""
    with translation.override(language):
        return _("Your Hitobit code is: %(digits)s. Once more: %(digits)s.") % {"digits": ", ".join(code)}
