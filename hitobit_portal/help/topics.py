"""Which page of the help explains a page of the portal."""

#: Pages of the help, in the order of the index: files below docs/help, in each language.
TOPICS = ("create", "use", "refused", "rotate", "revoke", "login", "account")
#: The beginning of a URL's name, and the place that explains it: a page, or a section of one. The first match counts.
PLACES = (
    *(("key_rotate", "rotate"), ("key_credential", "rotate"), ("key_rotation", "rotate")),
    *(("key_verify", "create#codes"), ("key_pause", "revoke#pause"), ("key_resume", "revoke#pause")),
    *(("key_delete", "revoke#delete"), ("keys_delete", "revoke#delete"), ("key_danger", "revoke")),
    *(("key_usage", "refused"), ("key_refus", "refused"), ("key_rescue", "refused#new-ip")),
    *(("key_request", "create#request"),),
    *(("key_renew", "create#ips"), ("key_settings", "create#permissions"), ("keys_export", "account#export")),
    *(("key_", "use"), ("key", "create"), ("dashboard", "create"), ("debugger", "refused#debugger")),
    *(
        ("freeze", "revoke#freeze"),
        ("frozen", "revoke#freeze"),
        ("thaw", "revoke#freeze"),
        ("notice", "revoke#freeze"),
    ),
    *(
        ("quarantine", "revoke#quarantine"),
        ("settings_exchange", "account#exchange"),
        ("settings", "account"),
        ("email_confirm", "account#notices"),
    ),
    *(("activity", "account#activity"), ("sessions", "account#sessions"), ("demo_sms", "login#codes")),
    *(("recovery_codes", "login#recovery"), ("replace_totp", "login#lost"), ("forgot", "login#forgotten")),
    *(
        ("login", "login"),
        ("staff_login", "login"),
        ("second_factor", "login#codes"),
        ("enrol", "login#codes"),
        ("signup", "login#sign-up"),
    ),
    *(("invited", "login#sign-up"), ("first_password", "login")),
)


def place_of(view_name: str) -> tuple[str, str]:
    """Return the page of the help and the section (or "") for a URL's name; two empty strings mean the index."""
    for beginning, place in PLACES:
        if view_name.startswith(beginning):
            topic, _hash, section = place.partition("#")
            return topic, section
    return "", ""
