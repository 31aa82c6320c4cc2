"""Numbers, times, ids and other people's text as they are shown."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytestqt.qtbot import QtBot

from wallet import i18n
from wallet.gui import format as fmt
from wallet.gui import languages
from wallet.gui.assets import asset
from wallet.gui.widgets.basic import Label
from wallet.gui.widgets.why import tell_why
from wallet.node.sentences import msat_text, sat_text

T = fmt.THIN


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (999, "999"), (1_000, f"1{T}000"), (1_234_567, f"1{T}234{T}567"), (-21_000, f"−21{T}000")],
)
def test_thousands(value: int, text: str) -> None:
    assert fmt.group(value) == text


def test_btc_always_has_eight_decimals() -> None:
    fmt.style.unit = "BTC"
    assert fmt.amount_sat(1_234_567) == f"0.01{T}234{T}567\u00a0BTC"
    assert fmt.amount_sat(0) == f"0.00{T}000{T}000\u00a0BTC"
    assert fmt.amount_sat(-2_100_000_000_000_000) == f"−21{T}000{T}000.00{T}000{T}000\u00a0BTC"


def test_signs() -> None:
    assert fmt.signed(15_000_000) == f"+15{T}000"
    assert fmt.signed(-15_000_000) == f"−15{T}000"
    assert fmt.signed(0) == "0"


NODES = f"{sat_text(1_234_567)} are due, {msat_text(12_345)} of it fees, and {sat_text(-99)} more."


@pytest.mark.parametrize(
    ("unit", "hidden", "told"),
    [
        (
            "sat",
            False,
            "1\u202f234\u202f567\u00a0sat are due, 12.345\u00a0sat of it fees, and \u221299\u00a0sat more.",
        ),
        (
            "bits",
            False,
            "12\u202f345.67\u00a0bits are due, 12.345\u00a0sat of it fees, and \u22120.99\u00a0bits more.",
        ),
        (
            "sat",
            True,
            f"{fmt.HIDDEN}\u00a0sat are due, {fmt.HIDDEN}\u00a0sat of it fees, and {fmt.HIDDEN}\u00a0sat more.",
        ),
        (
            "BTC",
            True,
            f"{fmt.HIDDEN}\u00a0BTC are due, {fmt.HIDDEN}\u00a0BTC of it fees, and {fmt.HIDDEN}\u00a0BTC more.",
        ),
    ],
)
def test_what_the_node_says_is_told_in_the_chosen_unit(
    unit: str, hidden: bool, told: str, qtbot: QtBot
) -> None:
    fmt.style.unit, fmt.style.hidden = unit, hidden
    assert fmt.retold(NODES) == told
    assert fmt.retold(told) == told
    label = Label(NODES)
    qtbot.addWidget(label)
    assert label.text() == told
    tell_why(label, NODES)
    assert (label.toolTip(), label.accessibleDescription()) == (told, told)
    assert fmt.retold(fmt.plain(NODES)) == told
    assert fmt.plain(f"\u00a0by\u202f \u00a0 {sat_text(1_000)}\u00a0") == f"by {sat_text(1_000)}"
    assert fmt.retold(fmt.public_sat(5_000)) == fmt.public_sat(5_000)


def test_hidden() -> None:
    fmt.style.hidden = True
    assert fmt.amount(15_000_000) == "••••••\u00a0sat"
    assert "15" not in fmt.fee_with_share(15_000, 100_000)


def test_thousandths_only_in_details() -> None:
    assert fmt.amount(12_345) == "12\u00a0sat"
    assert fmt.msat_exact(12_345) == "12.345\u00a0sat"
    assert fmt.msat_exact(12_000) == "12\u00a0sat"
    assert fmt.msat_exact(-1) == "−0.001\u00a0sat"


def test_fees_with_their_share() -> None:
    assert fmt.fee_with_share(12_000, 20_000_000) == "12\u00a0sat (0.06\u00a0%)"
    assert fmt.fee_with_share(1, 10_000_000) == "0.001\u00a0sat (under 0.01 %)"
    assert fmt.fee_with_share(0, 10_000_000) == "0\u00a0sat"
    assert fmt.fee_with_share(210_000, 0) == "210\u00a0sat"


@pytest.mark.parametrize("catalogue", ["leyden.pot", "de/LC_MESSAGES/leyden.po", "es/LC_MESSAGES/leyden.po"])
def test_no_sentence_writes_a_number_another_way(catalogue: str) -> None:
    """A point stands before decimals only, and a comma in no number: 65.536 beside 0.06 would be misread."""
    text = (asset(i18n.CATALOGUES) / catalogue).read_text(encoding="utf-8")
    assert "0.01 %" in text
    assert re.findall(r"\d,\d+|(?<![\d.])[1-9]\d{0,2}(?:\.\d{3})+(?![\d.])", text) == []


@given(st.integers(min_value=-(10**20), max_value=10**20))
def test_no_digit_is_lost(value_msat: int) -> None:
    shown = fmt.msat_exact(value_msat).removesuffix("\u00a0sat").replace(T, "").replace("−", "-")
    whole, _point, tail = shown.partition(".")
    rebuilt = int(whole.removeprefix("-") or "0") * 1000 + int(tail or "0")
    assert rebuilt == abs(value_msat)


def test_times() -> None:
    assert fmt.ago(1_000, now_at=1_010) == "just now"
    assert fmt.ago(1_000, now_at=1_180) == "3 minutes ago"
    assert fmt.ago(1_000, now_at=1_060) == "1 minute ago"
    assert fmt.ago(1_000, now_at=1_000 + 7_300) == "2 hours ago"
    assert fmt.ago(86_400 * 20, now_at=86_400 * 30).startswith("1970-01-2")
    assert fmt.blocks_long(84) == "about 14 hours (84 blocks)"
    assert fmt.blocks_long(1_008) == f"about 7 days (1{T}008 blocks)"
    assert fmt.blocks_long(1) == "about 10 minutes (1 block)"
    assert fmt.seconds_long(3_600) == "about an hour"
    assert fmt.until(2_000, now_at=2_000) == "now"
    assert fmt.until(2_060, now_at=2_000) == "in about a minute"
    assert fmt.blocks_ahead(84) == "in about 14 hours (84 blocks)"


def test_german_says_in_which_days() -> None:
    languages.use("de")
    assert fmt.seconds_long(7 * 86_400) == "etwa 7 Tage"
    assert [fmt.seconds_ahead(s) for s in (60, 600, 3_600, 7_200, 7 * 86_400)] == [
        "in etwa einer Minute",
        "in etwa 10 Minuten",
        "in etwa einer Stunde",
        "in etwa 2 Stunden",
        "in etwa 7 Tagen",
    ]


def test_ids_keep_both_ends() -> None:
    key = "02" + "ab" * 32
    assert fmt.short_id(key) == f"{key[:8]}…{key[-8:]}"
    assert fmt.short_id("short") == "short"


@pytest.mark.parametrize(
    ("given_text", "shown"),
    [
        ("a\u202eb\u2066c", "abc"),
        ("line\nline\ttab", "line line tab"),
        ("\x00\x1b[31mred", "[31mred"),
        ("<b>bold</b>", "<b>bold</b>"),
        ("x" * 50, "x" * 19 + "…"),
    ],
)
def test_other_peoples_text_is_made_plain(given_text: str, shown: str) -> None:
    assert fmt.plain(given_text, 20) == shown


@given(st.text(max_size=400))
def test_plain_never_fails_and_stays_short(text: str) -> None:
    assert len(fmt.plain(text, 40)) <= 40


def test_nodes_without_a_name() -> None:
    assert fmt.node_name("", "02ab12cd" + "0" * 58) == "Unnamed 02ab12cd"
    assert fmt.node_name("\u202e", "02ab12cd" + "0" * 58) == "Unnamed 02ab12cd"


def test_networks_are_named_but_mainnet() -> None:
    assert fmt.network_word("mainnet") == ""
    assert fmt.network_word("sandbox") == "Play money: sandbox"
    assert "elsewhere" in fmt.network_word("elsewhere")


def test_a_language_that_is_not_there_is_english() -> None:
    assert i18n.install("xx", fmt_folder := __import__("pathlib").Path("/nowhere")) is False
    assert str(fmt_folder) == "/nowhere"
    assert i18n._("Pay") == "Pay"
    assert i18n.ngettext("{n} block", "{n} blocks", 2) == "{n} blocks"
    assert i18n.install("en", None) is True
