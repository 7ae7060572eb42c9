"""The words for what a client signed instead of what counts."""

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from apikeys.debugger.causes import Cause

PAYLOAD: dict[Cause, tuple[str | Promise, str | Promise]] = {
    Cause.SORTED: (
        _("The parameters were sorted before signing"),
        _("Sign them in the order in which they are sent; they need not be sorted."),
    ),
    Cause.OTHER_ORDER: (
        _("The parameters were signed in another order"),
        _("Build the text one time, sign it, and send exactly that text."),
    ),
    Cause.PARAMETER_LEFT_OUT: (
        _("A parameter is sent but was not signed"),
        _("“%(name)s” is missing from the signed text. Add it before you sign."),
    ),
    Cause.EMPTY_DROPPED: (
        _("Empty parameters were left out of the signed text"),
        _("Leave them out of the request as well, or sign them too."),
    ),
    Cause.AFTER_SIGNATURE: (
        _("Parameters were added after signing"),
        _("What stands after signature is part of the signed text. Add everything before you sign."),
    ),
    Cause.BEFORE_ENCODING: (
        _("The values were signed before they were percent-encoded"),
        _("Encode first, then sign the encoded text exactly as it is sent."),
    ),
    Cause.ENCODED_ONLY_SIGNED: (
        _("The signed text is percent-encoded, the sent one is not"),
        _("Send exactly the text that you signed; let no library build it again."),
    ),
    Cause.ENCODED_TWICE: (
        _("The sent values are percent-encoded twice"),
        _("Your HTTP library encodes once more (%%2F became %%252F). Give it the finished URL."),
    ),
    Cause.SIGNED_ENCODED_TWICE: (
        _("The signed values are percent-encoded twice"),
        _("Encode one time only, and sign that."),
    ),
    Cause.SPACE_SPELLING: (
        _("A space is written in two ways"),
        _("It is sent as %(sent)s but was signed as %(signed)s. Both are right, if they are the same."),
    ),
    Cause.ENCODING_CASE: (
        _("The percent-encoding differs in upper and lower case"),
        _("It was signed as in %(signed)s. Sign the text exactly as it is sent."),
    ),
    Cause.LETTER_CASE: (
        _("Letters changed between upper and lower case"),
        _("The signed text has other letters than the sent one. Change the case before you sign."),
    ),
    Cause.NUMBER_FORMAT: (
        _("A number is written in two ways"),
        _("For example 0.5 and 0.50. Turn numbers into text one time, and use that text twice."),
    ),
    Cause.TIMESTAMP_UNIT: (
        _("The signed timestamp has another unit"),
        _("Seconds and milliseconds are mixed. Take the time one time, and use it twice."),
    ),
    Cause.TIMESTAMP_TWICE: (
        _("The clock was read twice"),
        _("The signed timestamp differs by %(ms)s ms from the sent one. Read the clock one time."),
    ),
    Cause.LINE_ENDS: (
        _("The line breaks of the body differ"),
        _("The signed body has other line ends than the sent one. Send the bytes that you signed."),
    ),
    Cause.BODY_LEFT_OUT: (
        _("The body was not signed"),
        _("Sign the query string followed directly by the body."),
    ),
    Cause.QUERY_LEFT_OUT: (
        _("The query string was not signed"),
        _("Sign the query string followed directly by the body."),
    ),
    Cause.JOINED_AMPERSAND: (
        _("Query string and body were joined by &"),
        _("Nothing stands between the two: the body follows the query string directly."),
    ),
    Cause.BODY_FIRST: (
        _("The body was signed before the query string"),
        _("The query string comes first, and the body follows it directly."),
    ),
    Cause.QUESTION_MARK: (
        _("The question mark was signed"),
        _("Sign what follows the ? and not the ? itself."),
    ),
    Cause.PATH_SIGNED: (
        _("The path was signed"),
        _("Sign the parameters only, without the path."),
    ),
    Cause.ADDRESS_SIGNED: (
        _("The whole address was signed"),
        _("Sign the parameters only: what follows the ?, and the body."),
    ),
    Cause.OTHER_SCHEME: (
        _("Method, time or key were signed as well"),
        _("Other exchanges do that. Here only the query string and the body are signed."),
    ),
    Cause.NEWLINE: (
        _("A line break at the end was signed"),
        _("Remove it; in a shell use printf '%%s' or echo -n instead of echo."),
    ),
    Cause.CRLF: (
        _("A Windows line break (CRLF) at the end was signed"),
        _("Remove it before you sign; files and consoles of Windows add it."),
    ),
    Cause.SPACE_AROUND: (_("A space beside the text was signed"), _("Trim the text before you sign.")),
    Cause.BOM: (
        _("A byte order mark was signed"),
        _("Write the text as UTF-8 without a byte order mark."),
    ),
    Cause.STRAY_AMPERSAND: (
        _("An & too many was signed"),
        _("The & before signature= is not part of the signed text."),
    ),
    Cause.SIGNATURE_SIGNED: (
        _("The parameter signature was signed itself"),
        _("Sign without it, then add it together with its &."),
    ),
    Cause.NOTHING_SIGNED: (
        _("An empty text was signed"),
        _("The parameters had not arrived when the signature was made. Look at the order of your code."),
    ),
    Cause.JSON_SIGNED: (
        _("The parameters were signed as JSON"),
        _("Sign name=value pairs joined by &, exactly as they are sent."),
    ),
    Cause.QUOTES_SIGNED: (
        _("The quotes around the text were signed"),
        _("They belong to the shell or to JSON. Sign the text within them."),
    ),
    Cause.HTML_SIGNED: (
        _("HTML changed the signed text"),
        _("& became “&amp;”. Don't escape the text for HTML before you sign."),
    ),
    Cause.UTF16: (
        _("The text was signed as UTF-16"),
        _("Turn it into bytes as UTF-8 (or ASCII) before you sign."),
    ),
    Cause.NO_SEPARATOR: (
        _("The signed text lacks & or ="),
        _("Sign name=value pairs joined by &, exactly as they are sent."),
    ),
    Cause.HASHED_FIRST: (
        _("A hash of the text was signed"),
        _("Sign the text itself; the algorithm does the hashing."),
    ),
    Cause.PAYLOAD_ENCODED: (
        _("The text was signed in hex or Base64"),
        _("Sign the text itself, as it is sent."),
    ),
    Cause.WINDOW_NOT_SENT: (
        _("recvWindow was signed but is not sent"),
        _("Send recvWindow=%(value)s as well, or leave it out of the signed text."),
    ),
}
