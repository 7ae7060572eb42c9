"""The words for each cause: what is wrong, and what mends it."""

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from apikeys.debugger.cause_texts_method import METHOD
from apikeys.debugger.cause_texts_payload import PAYLOAD
from apikeys.debugger.causes import Cause

Words = tuple[str | Promise, str | Promise]

_TEXT: dict[Cause, Words] = {
    Cause.AMPERSAND_CUT: (
        _("The shell cut the address at an &"),
        _("Put the whole URL in quotes: outside of quotes & ends a command, and the rest is never sent."),
    ),
    Cause.FRAGMENT: (
        _("A # stands in the address"),
        _("What follows # is never sent. Write it as %%23 when it belongs to a value."),
    ),
    Cause.HTML_ENTITY: (
        _("HTML changed the text"),
        _("“&timestamp” became “×tamp”, or & became “&amp;”. Build the text in code, not in a web page."),
    ),
    Cause.BODY_FILE: (
        _("The body stands in a file"),
        _("The portal can't see the file. Paste its content into the field “Body”."),
    ),
    Cause.MULTIPART: (
        _("The parameters are sent as multipart"),
        _("Send them as application/x-www-form-urlencoded (curl: -d instead of -F)."),
    ),
    Cause.JSON_BODY: (
        _("The body is JSON"),
        _("Parameters in JSON are not read. Send name=value pairs, joined by &, as a form body."),
    ),
    Cause.METHOD_UNKNOWN: (
        _("The method %(method)s is unknown"),
        _("The API knows GET, POST, PUT and DELETE."),
    ),
    Cause.GET_BODY: (
        _("A GET request has a body"),
        _(
            "Put the parameters of a GET request into the query string. Some servers on the way drop its body."
        ),
    ),
    Cause.NOT_ENCODED: (
        _("The request holds a character that is not percent-encoded"),
        _(
            "The first one has to be sent as %(byte)s. Encode every value (UTF-8) before you sign and send it."
        ),
    ),
    Cause.STRAY_PERCENT: (
        _("A percent sign stands alone"),
        _("Write a percent sign within a value as %%25, before you sign."),
    ),
}

_KEY: dict[Cause, Words] = {
    Cause.KEY_MISSING: (
        _("The header X-MBX-APIKEY is missing"),
        _("Send the API key, not the secret, in the header X-MBX-APIKEY."),
    ),
    Cause.KEY_HEADER_NAME: (
        _("The API key is sent in the wrong place"),
        _("It stands in “%(name)s”. The header has to be called X-MBX-APIKEY."),
    ),
    Cause.KEY_DECORATED: (
        _("The API key has other characters around it"),
        _("Send its 64 letters and digits alone, without quotes, brackets or spaces."),
    ),
    Cause.KEY_INVISIBLE: (
        _("The API key holds an invisible character"),
        _("It came along when the key was copied. Copy the key again with the button of its page."),
    ),
    Cause.KEY_LENGTH: (
        _("The API key is not whole"),
        _("It has %(n)s characters instead of 64 letters and digits. Copy it again from its page."),
    ),
    Cause.KEY_IS_SECRET: (
        _("The secret is sent in place of the API key"),
        _("Key and secret are swapped. The secret must never be sent: replace it, then swap them back."),
    ),
    Cause.KEY_CASE: (
        _("The API key's letters are changed"),
        _("Upper and lower case count. Look for code that changes the case of header values."),
    ),
    Cause.KEY_UNKNOWN: (
        _("This API key is not the one you chose, and none of yours"),
        _("Compare the header X-MBX-APIKEY with the key on its page."),
    ),
    Cause.KEY_REVOKED: (_("The key is deleted"), _("A deleted key does not come back. Make a new one.")),
    Cause.KEY_FROZEN: (_("The key is paused"), _("Resume it on its page.")),
    Cause.KEY_EXPIRED: (_("The key has expired"), _("Choose a later expiry on its page, or make a new key.")),
    Cause.OWNER_INACTIVE: (_("The account is not active"), _("Please ask Hitobit's support.")),
    Cause.OWNER_FROZEN: (_("Your account is frozen"), _("Thaw it, and its keys work again.")),
    Cause.ADDRESS: (
        _("The IP is not among the key's trusted IPs"),
        _("%(address)s is refused. Add it on the key's page if the program really runs there."),
    ),
    Cause.ADDRESS_HERE: (
        _("Requests from this browser's IP would be refused"),
        _("%(address)s is not trusted. If the program runs elsewhere, give its IP below the request."),
    ),
    Cause.PERMISSION: (
        _("The key lacks the permission"),
        _("This request needs “%(permission)s”. Give it to the key on its page."),
    ),
    Cause.KEY_DEGRADED: (
        _("The key has expired and only reads"),
        _("Choose a later expiry on its page to trade or withdraw again."),
    ),
    Cause.TRADE_LAPSED: (
        _("The key's permission to trade has ended"),
        _("From any IP it lasts 90 days. Renew it on the key's page, or restrict the key to trusted IPs."),
    ),
    Cause.QUARANTINE: (
        _("Your keys are in quarantine"),
        _("Password, phone or authenticator was just replaced, so keys only read for a while."),
    ),
}

_PARAMETERS: dict[Cause, Words] = {
    Cause.TIMESTAMP_MISSING: (
        _("The parameter timestamp is missing"),
        _("Add the time in milliseconds since 1970 to the signed parameters."),
    ),
    Cause.TIMESTAMP_NAME: (
        _("The parameter timestamp has another name"),
        _("It is called “%(name)s” here. Its name is timestamp, in lower case."),
    ),
    Cause.TIMESTAMP_MALFORMED: (
        _("The timestamp is not a whole number"),
        _("Send milliseconds since 1970 in digits 0 to 9, without a decimal point."),
    ),
    Cause.SIGNATURE_MISSING: (
        _("The parameter signature is missing"),
        _("Add signature=… to the query string or the form body."),
    ),
    Cause.SIGNATURE_NAME: (
        _("The parameter signature has another name"),
        _("It is called “%(name)s” here. Its name is signature, in lower case."),
    ),
    Cause.SIGNATURE_HEADER: (
        _("The signature is sent as a header"),
        _("It stands in “%(name)s”. Send it as the parameter signature."),
    ),
    Cause.RECV_WINDOW_MALFORMED: (
        _("recvWindow is not a number"),
        _("Send milliseconds, with at most three decimals, for example 5000."),
    ),
    Cause.RECV_WINDOW_LARGE: (
        _("recvWindow is too large"),
        _("At most 60000 milliseconds are allowed; 5000 is a good value."),
    ),
    Cause.DUPLICATE: (
        _("A parameter occurs twice"),
        _("“%(name)s” stands there more than once. Send each parameter one time."),
    ),
    Cause.TWO_SIGNATURES: (
        _("There are two signatures"),
        _("One stands in the query string and one in the body. Send one."),
    ),
    Cause.TIMESTAMP_SECONDS: (
        _("The timestamp is in seconds"),
        _("Multiply it by 1000: the API counts milliseconds since 1970."),
    ),
    Cause.TIMESTAMP_NANOSECONDS: (
        _("The timestamp is in nanoseconds"),
        _("Divide it: the API counts milliseconds or microseconds since 1970."),
    ),
    Cause.TIMESTAMP_ZONE: (
        _("The timestamp is in local time"),
        _("It is off by a time zone. Milliseconds since 1970 are counted in UTC, the same everywhere."),
    ),
    Cause.TIMESTAMP_PAST: (
        _("The timestamp is too old"),
        _("It lay %(ms)s ms behind the server. Set the clock by NTP (chrony), and sign just before sending."),
    ),
    Cause.TIMESTAMP_FUTURE: (
        _("The timestamp lies in the future"),
        _("It is %(ms)s ms ahead of the server; less than 1000 is accepted. Set the clock by NTP (chrony)."),
    ),
    Cause.TIMESTAMP_AGED: (
        _("The request is old by now"),
        _("A request that is pasted later always is. To check the clock, give the time when it was sent."),
    ),
}

WORDS: dict[Cause, Words] = {**_TEXT, **_KEY, **_PARAMETERS, **PAYLOAD, **METHOD}
