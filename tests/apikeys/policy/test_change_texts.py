"""The parts of a change of settings: sentences in an SMS and in a list, a table from three parts on."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from django.utils import translation

from accounts.choices.approvals import Change, ChangeRow
from apikeys.policy.detail_texts import change_text, removes_protection
from apikeys.policy.settings_change import Settings, SettingsChange
from hitobit_portal.i18n.bidi import FSI, PDI

ANY = Settings(frozenset({"read"}), "unrestricted", ())
OFFICE = Settings(frozenset({"read"}), "trusted", ("203.0.113.24",), "2026-12-01T08:30:00+00:00")
CODES = [
    "+trade", "-withdraw", "ip:trusted", "ip:unrestricted", "trade:lasting", "rescue:on", "rescue:off",
    "+203.0.113.24", "-2001:db8::/48", "expires:>2026-12-01T08:30:00+00:00",
    "expires:2026-12-01T08:30:00+00:00>", "expires:2026-12-01T08:30:00+00:00>2027-01-01T08:30:00+00:00",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _english() -> Iterator[None]:
    with translation.override("en"):
        yield


@pytest.mark.parametrize("language", ["fa", "en"])
@pytest.mark.parametrize("code", CODES)
def test_a_change_is_words_and_no_signs(code: str, language: str) -> None:
    with translation.override(language):
        text = change_text(code)
    assert not set(text) & set("→←+")
    assert not text.startswith("-")


def test_an_address_stays_on_the_line_of_its_word() -> None:
    with translation.override("fa"):
        assert change_text("+203.0.113.24") == f"افزودن IP\u00a0{FSI}203.0.113.24{PDI}"
        assert change_text("-2001:db8::/48") == f"حذف IP\u00a0{FSI}2001:db8::/48{PDI}"


@pytest.mark.parametrize(
    ("code", "removes"),
    [
        *[(code, False) for code in CODES[:3] + CODES[4:10]],
        ("ip:unrestricted", True),
        ("expires:2026-12-01T08:30:00+00:00>", True),
        ("expires:2026-12-01T08:30:00+00:00>2027-01-01T08:30:00+00:00", True),
        ("expires:2027-01-01T08:30:00+00:00>2026-12-01T08:30:00+00:00", False),
    ],
)
def test_what_takes_a_protection_away_is_a_warning(code: str, removes: bool) -> None:
    assert removes_protection(code) is removes


def test_two_parts_are_a_list() -> None:
    change = SettingsChange(OFFICE, replace(OFFICE, networks=("203.0.113.7",)))
    assert change.parts() == [Change("Add IP\u00a0203.0.113.7"), Change("Remove IP\u00a0203.0.113.24")]
    assert change.rows() == []


def test_a_removed_restriction_does_not_list_its_ips() -> None:
    change = SettingsChange(replace(OFFICE, networks=("203.0.113.7", "203.0.113.24")), ANY)
    assert change.codes() == [
        "ip:unrestricted", "-203.0.113.7", "-203.0.113.24", f"expires:{OFFICE.expires_at}>",
    ]  # fmt: skip
    assert change.parts() == [
        Change("Remove the IP restriction: the key works from any IP", "warn"),
        Change("Remove the expiry, which was 1 Dec 2026, 12:00", "warn"),
    ]
    assert change.lines() == [part.text for part in change.parts()]
    assert change.rows() == []


def test_three_parts_are_a_table_of_before_and_after() -> None:
    after = Settings(frozenset({"read", "trade"}), "trusted", ("198.51.100.2", "203.0.113.24"))
    rows = SettingsChange(OFFICE, after).rows()
    assert rows == [
        ChangeRow("Permissions", ["Read"], ["Read", "Trade"]),
        ChangeRow("Trusted IPs", ["203.0.113.24"], ["198.51.100.2", "203.0.113.24"]),
        ChangeRow("Expiry", ["1 Dec 2026, 12:00"], ["Never"], "warn"),
    ]


def test_the_table_shows_from_where_a_new_permission_works_although_no_ip_changes() -> None:
    """SECURITY: an address that a thief added before, without codes, must be seen when the permission is given back."""
    after = replace(OFFICE, permissions=frozenset({"trade", "withdraw"}), expires_at="")
    assert (
        ChangeRow("Trusted IPs", ["203.0.113.24"], ["203.0.113.24"]) in SettingsChange(OFFICE, after).rows()
    )


def test_the_table_warns_of_a_lifted_restriction() -> None:
    after = Settings(frozenset({"trade", "withdraw"}), "unrestricted", (), OFFICE.expires_at)
    tones = {row.name: row.tone for row in SettingsChange(OFFICE, after).rows()}
    assert tones == {"Permissions": "", "Trusted IPs": "warn"}


def test_a_restriction_shows_that_trading_has_no_end_any_more() -> None:
    trading = frozenset({"read", "trade"})
    change = SettingsChange(
        replace(ANY, permissions=trading), replace(OFFICE, permissions=trading, expires_at="")
    )
    assert ChangeRow("Trading", ["90 days at a time"], ["without an end"]) in change.rows()
