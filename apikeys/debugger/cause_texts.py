"""Texts of all causes: what is wrong, and how to fix it."""

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from apikeys.debugger.causes import Cause

TitleAndFix = tuple[str | Promise, str | Promise]

_TEXT: dict[Cause, TitleAndFix] = {
    Cause.AMPERSAND_CUT: (
        _("The shell cut the URL at an &"),
        _("Put the whole URL in quotes: outside quotes, & ends the command and the rest is never sent."),
    ),
    Cause.FRAGMENT: (
        _("The URL contains a #"),
        _("Everything after # is never sent. Write it as %%23 if it is part of a value."),
    ),
    Cause.HTML_ENTITY: (
        _("HTML changed the text"),
        _("“&timestamp” became “×tamp”, or & became “&amp;”. Build the text in code, not in a web page."),
    ),
    Cause.BODY_FILE: (
        _("The body is in a file"),
        _("The portal cannot see the file. Paste its content into the field “Body”."),
    ),
    Cause.MULTIPART: (
        _("The parameters are sent as multipart"),
        _("Send them as application/x-www-form-urlencoded (curl: -d instead of -F)."),
    ),
    Cause.JSON_BODY: (
        _("The body is JSON"),
        _("Parameters in JSON are not read. Send name=value pairs joined by & as a form body."),
    ),
    Cause.METHOD_UNKNOWN: (
        _("The method %(method)s is unknown"),
        _("The API accepts GET, POST, PUT and DELETE."),
    ),
    Cause.GET_BODY: (
        _("A GET request has a body"),
        _(
            "Put the parameters of a GET request into the query string. Some servers on the way drop "
            "the body."
        ),
    ),
    Cause.NOT_ENCODED: (
        _("The request contains a character that is not percent-encoded"),
        _(
            "The first one has to be sent as %(byte)s. Encode every value (UTF-8) before you sign and send it."
        ),
    ),
    Cause.STRAY_PERCENT: (
        _("There is a percent sign that encodes nothing"),
        _("Write a percent sign in a value as %%25 before you sign."),
    ),
}

_KEY: dict[Cause, TitleAndFix] = {
    Cause.KEY_MISSING: (
        _("The header X-MBX-APIKEY is missing"),
        _("Send the API key, not the secret, in the header X-MBX-APIKEY."),
    ),
    Cause.KEY_HEADER_NAME: (
        _("The API key is sent in the wrong place"),
        _("It is in “%(name)s”. The header must be called X-MBX-APIKEY."),
    ),
    Cause.KEY_DECORATED: (
        _("The API key has extra characters around it"),
        _("Send only its 64 letters and digits, without quotes, brackets or spaces."),
    ),
    Cause.KEY_INVISIBLE: (
        _("The API key contains an invisible character"),
        _("It was copied together with the key. Copy the key again with the button on its page."),
    ),
    Cause.KEY_LENGTH: (
        _("The API key is incomplete"),
        _("It has %(n)s characters instead of 64 letters and digits. Copy it again from its page."),
    ),
    Cause.KEY_IS_SECRET: (
        _("The secret was sent instead of the API key"),
        _(
            "The key and the secret are swapped. The secret must never be sent: replace it, then "
            "swap them back."
        ),
    ),
    Cause.KEY_CASE: (
        _("The case of the API key's letters was changed"),
        _("Upper and lower case matter. Look for code that changes the case of header values."),
    ),
    Cause.KEY_UNKNOWN: (
        _("This API key is not the one you chose, nor any of your other keys"),
        _("Compare the header X-MBX-APIKEY with the key on its page."),
    ),
    Cause.KEY_REVOKED: (_("The key is deleted"), _("A deleted key cannot be restored. Create a new one.")),
    Cause.KEY_FROZEN: (_("The key is paused"), _("Resume it on its page.")),
    Cause.KEY_EXPIRED: (
        _("The key has expired"),
        _("Choose a later expiry on its page, or create a new key."),
    ),
    Cause.OWNER_INACTIVE: (_("The account is not active"), _("Contact Hitobit support.")),
    Cause.OWNER_FROZEN: (_("Your account is frozen"), _("Unfreeze it, and its keys work again.")),
    Cause.ADDRESS: (
        _("The IP is not one of the key's trusted IPs"),
        _("%(address)s is refused. If the program really runs there, add the IP on the key's page."),
    ),
    Cause.ADDRESS_HERE: (
        _("Requests from this browser's IP would be refused"),
        _("%(address)s is not trusted. If the program runs elsewhere, enter its IP below the request."),
    ),
    Cause.PERMISSION: (
        _("The key does not have the permission"),
        _("This request needs “%(permission)s”. Give it to the key on its page."),
    ),
    Cause.KEY_DEGRADED: (
        _("The key has expired and is read-only"),
        _("Choose a later expiry on its page to trade or withdraw again."),
    ),
    Cause.TRADE_LAPSED: (
        _("The key's permission to trade has ended"),
        _(
            "It lasts 90 days for keys that work from any IP. Renew it on the key's page, or "
            "restrict the key to trusted IPs."
        ),
    ),
    Cause.QUARANTINE: (
        _("Your keys are in quarantine"),
        _("The password, phone or authenticator was just replaced, so keys are read-only for a while."),
    ),
}

_PARAMETERS: dict[Cause, TitleAndFix] = {
    Cause.TIMESTAMP_MISSING: (
        _("The parameter timestamp is missing"),
        _("Add the time in milliseconds since 1970 to the signed parameters."),
    ),
    Cause.TIMESTAMP_NAME: (
        _("The parameter timestamp has a different name"),
        _("Here it is called “%(name)s”. The name must be timestamp, in lower case."),
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
        _("The parameter signature has a different name"),
        _("Here it is called “%(name)s”. The name must be signature, in lower case."),
    ),
    Cause.SIGNATURE_HEADER: (
        _("The signature is sent as a header"),
        _("It is in “%(name)s”. Send it as the parameter signature."),
    ),
    Cause.RECV_WINDOW_MALFORMED: (
        _("recvWindow is not a number"),
        _("Send milliseconds, with at most three decimals, for example 5000."),
    ),
    Cause.RECV_WINDOW_LARGE: (
        _("recvWindow is too large"),
        _("At most 60000 milliseconds are allowed. 5000 is a good value."),
    ),
    Cause.DUPLICATE: (
        _("A parameter occurs twice"),
        _("“%(name)s” occurs more than once. Send each parameter once."),
    ),
    Cause.TWO_SIGNATURES: (
        _("There are two signatures"),
        _("One is in the query string and one in the body. Send only one."),
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
        _("It is off by a time zone. Milliseconds since 1970 are counted in UTC everywhere."),
    ),
    Cause.TIMESTAMP_PAST: (
        _("The timestamp is too old"),
        _("It was %(ms)s ms behind the server. Set the clock by NTP (chrony), and sign just before sending."),
    ),
    Cause.TIMESTAMP_FUTURE: (
        _("The timestamp is in the future"),
        _("It is %(ms)s ms ahead of the server. Less than 1000 is accepted. Set the clock by NTP (chrony)."),
    ),
    Cause.TIMESTAMP_AGED: (
        _("The request is too old by now"),
        _("Any request pasted later is. To check the clock, enter the time when it was sent."),
    ),
}

_PAYLOAD: dict[Cause, TitleAndFix] = {
    Cause.SORTED: (
        _("The parameters were sorted before signing"),
        _("Sign them in the order in which they are sent. They do not need to be sorted."),
    ),
    Cause.OTHER_ORDER: (
        _("The parameters were signed in a different order"),
        _("Build the text once, sign it, and send exactly that text."),
    ),
    Cause.PARAMETER_LEFT_OUT: (
        _("A parameter is sent but was not signed"),
        _("“%(name)s” is missing from the signed text. Add it before you sign."),
    ),
    Cause.EMPTY_DROPPED: (
        _("Empty parameters were left out of the signed text"),
        _("Leave them out of the request too, or sign them."),
    ),
    Cause.AFTER_SIGNATURE: (
        _("Parameters were added after signing"),
        _("What follows signature is part of the signed text. Add everything before you sign."),
    ),
    Cause.BEFORE_ENCODING: (
        _("The values were signed before they were percent-encoded"),
        _("Encode first, then sign the encoded text exactly as it is sent."),
    ),
    Cause.ENCODED_ONLY_SIGNED: (
        _("The signed text is percent-encoded, the sent text is not"),
        _("Send exactly the text that you signed. Do not let a library build it again."),
    ),
    Cause.ENCODED_TWICE: (
        _("The sent values are percent-encoded twice"),
        _("Your HTTP library encodes once more (%%2F became %%252F). Pass it the finished URL."),
    ),
    Cause.SIGNED_ENCODED_TWICE: (
        _("The signed values are percent-encoded twice"),
        _("Encode once, and sign that."),
    ),
    Cause.SPACE_SPELLING: (
        _("A space is written in two ways"),
        _("It is sent as %(sent)s but was signed as %(signed)s. Either is fine if both are the same."),
    ),
    Cause.ENCODING_CASE: (
        _("The percent-encoding differs in upper and lower case"),
        _("It was signed as in %(signed)s. Sign the text exactly as it is sent."),
    ),
    Cause.LETTER_CASE: (
        _("Letters were changed between upper and lower case"),
        _("The signed text has different letters than the sent text. Change the case before you sign."),
    ),
    Cause.NUMBER_FORMAT: (
        _("A number is written in two ways"),
        _("For example 0.5 and 0.50. Convert numbers to text once, and use that text both times."),
    ),
    Cause.TIMESTAMP_UNIT: (
        _("The signed timestamp has a different unit"),
        _("Seconds and milliseconds are mixed up. Read the clock once, and use the value both times."),
    ),
    Cause.TIMESTAMP_TWICE: (
        _("The clock was read twice"),
        _("The signed timestamp differs by %(ms)s ms from the sent one. Read the clock once."),
    ),
    Cause.LINE_ENDS: (
        _("The line breaks of the body differ"),
        _("The signed body has different line endings than the sent body. Send the bytes that you signed."),
    ),
    Cause.BODY_LEFT_OUT: (
        _("The body was not signed"),
        _("Sign the query string, directly followed by the body."),
    ),
    Cause.QUERY_LEFT_OUT: (
        _("The query string was not signed"),
        _("Sign the query string, directly followed by the body."),
    ),
    Cause.JOINED_AMPERSAND: (
        _("Query string and body were joined by &"),
        _("There is nothing between the two: the body directly follows the query string."),
    ),
    Cause.BODY_FIRST: (
        _("The body was signed before the query string"),
        _("The query string comes first, directly followed by the body."),
    ),
    Cause.QUESTION_MARK: (
        _("The question mark was signed"),
        _("Sign what follows the ?, not the ? itself."),
    ),
    Cause.PATH_SIGNED: (
        _("The path was signed"),
        _("Sign the parameters only, without the path."),
    ),
    Cause.ADDRESS_SIGNED: (
        _("The whole URL was signed"),
        _("Sign the parameters only: what follows the ?, and the body."),
    ),
    Cause.OTHER_SCHEME: (
        _("The method, the time or the key was signed too"),
        _("Other exchanges do that. Here only the query string and the body are signed."),
    ),
    Cause.NEWLINE: (
        _("A line break at the end was signed"),
        _("Remove it; in a shell use printf '%%s' or echo -n instead of echo."),
    ),
    Cause.CRLF: (
        _("A Windows line break (CRLF) at the end was signed"),
        _("Remove it before you sign. Files and consoles on Windows add it."),
    ),
    Cause.SPACE_AROUND: (_("A space around the text was signed"), _("Trim the text before you sign.")),
    Cause.BOM: (
        _("A byte order mark was signed"),
        _("Write the text as UTF-8 without a byte order mark."),
    ),
    Cause.STRAY_AMPERSAND: (
        _("An extra & was signed"),
        _("The & before signature= is not part of the signed text."),
    ),
    Cause.SIGNATURE_SIGNED: (
        _("The parameter signature itself was signed"),
        _("Sign without it, then add it together with its &."),
    ),
    Cause.NOTHING_SIGNED: (
        _("An empty text was signed"),
        _("The parameters were missing when the signature was created. Check the order of your code."),
    ),
    Cause.JSON_SIGNED: (
        _("The parameters were signed as JSON"),
        _("Sign name=value pairs joined by &, exactly as they are sent."),
    ),
    Cause.QUOTES_SIGNED: (
        _("The quotes around the text were signed"),
        _("They belong to the shell or to JSON. Sign the text inside them."),
    ),
    Cause.HTML_SIGNED: (
        _("HTML changed the signed text"),
        _("& became “&amp;”. Do not escape the text for HTML before you sign."),
    ),
    Cause.UTF16: (
        _("The text was signed as UTF-16"),
        _("Convert it to bytes as UTF-8 (or ASCII) before you sign."),
    ),
    Cause.NO_SEPARATOR: (
        _("The signed text has no & or ="),
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
        _("Send recvWindow=%(value)s too, or leave it out of the signed text."),
    ),
}

_METHOD: dict[Cause, TitleAndFix] = {
    Cause.SECRET_NEWLINE: (
        _("The secret has a line break at the end"),
        _("It comes from the file that contains the secret. Trim the secret after reading it."),
    ),
    Cause.SECRET_SPACE: (_("The secret has a space around it"), _("Trim the secret after reading it.")),
    Cause.SECRET_QUOTED: (
        _("The secret has quotes around it"),
        _("They come from the configuration. Use the 64 characters inside them."),
    ),
    Cause.SECRET_DECODED: (
        _("The secret was decoded"),
        _("Use its 64 characters as they are: no Base64, no hex."),
    ),
    Cause.SECRET_ENCODED: (
        _("The secret was encoded or hashed"),
        _("Use its 64 characters as they are, as ASCII bytes."),
    ),
    Cause.SECRET_CASE: (_("The case of the secret's letters was changed"), _("Upper and lower case matter.")),
    Cause.SECRET_CUT: (
        _("The secret is incomplete"),
        _("Characters were lost when it was copied. It has 64. If you no longer have it, replace it."),
    ),
    Cause.SECRET_EMPTY: (
        _("The secret is empty"),
        _("Your program did not find it. Check the name of the variable or file that contains it."),
    ),
    Cause.KEY_AS_SECRET: (
        _("The API key was used as the secret"),
        _("Sign with the secret that was shown once when the key was created."),
    ),
    Cause.OTHER_KEY: (
        _("It was signed with the secret of another key"),
        _("The secret belongs to your key “%(name)s”. Use the key and the secret of one pair."),
    ),
    Cause.CREDENTIAL_ENDED: (
        _("It was signed with the old secret"),
        _("The credential of the key was replaced, and this one has ended. Use the new one."),
    ),
    Cause.ALGORITHM: (
        _("It was signed with a different hash function"),
        _("%(name)s was used instead of SHA-256."),
    ),
    Cause.PLAIN_HASH: (
        _("It is a plain hash, not an HMAC"),
        _("Use HMAC-SHA256 with the secret as the key, not a hash of the secret and the text."),
    ),
    Cause.RSA_PSS: (
        _("RSA was used with PSS"),
        _("Sign with RSASSA-PKCS1-v1_5 and SHA-256."),
    ),
    Cause.SIGNATURE_BASE64: (
        _("The signature is in Base64"),
        _("With HMAC it is 64 hex digits."),
    ),
    Cause.SIGNATURE_HEX: (_("The signature is in hex"), _("With this kind of key it must be Base64.")),
    Cause.SIGNATURE_BASE64URL: (
        _("The signature is in URL-safe Base64"),
        _("HMAC: send 64 hex digits. Ed25519 and RSA: use + and / and percent-encode them."),
    ),
    Cause.SIGNATURE_PADDING: (
        _("The signature has no = at the end"),
        _("Send Base64 with its padding, percent-encoded as %%3D."),
    ),
    Cause.SIGNATURE_WRAPPED: (
        _("The signature contains line breaks"),
        _("Write the Base64 text on one line (openssl base64 -A)."),
    ),
    Cause.SIGNATURE_DECORATED: (
        _("The signature has extra characters around it"),
        _("Send only its 64 hex digits, without 0x, quotes or spaces."),
    ),
    Cause.SIGNATURE_TWICE: (
        _("The signature was encoded twice"),
        _("Encode the bytes of the signature once: HMAC as hex, Ed25519 and RSA as Base64."),
    ),
    Cause.SIGNATURE_SHAPE: (
        _("This cannot be a signature of this key"),
        _(
            "It has %(n)s characters. HMAC: 64 hex digits. Ed25519: 88 characters of Base64. RSA: 512 or more."
        ),
    ),
    Cause.KIND_MISMATCH: (
        _("The signature is of a different kind than the key"),
        _("Sign with the algorithm of the key. Its page says HMAC, Ed25519 or RSA."),
    ),
    Cause.SIGNATURE_UNKNOWN: (
        _("The signature does not match, and none of the usual mistakes explains it"),
        _("The secret is probably a different one. Compare your text byte by byte with the one below."),
    ),
}

CAUSE_TEXTS: dict[Cause, TitleAndFix] = {**_TEXT, **_KEY, **_PARAMETERS, **_PAYLOAD, **_METHOD}
