"""Amounts are typed in the unit that a person chose, and what can be read in two ways is asked about."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytestqt.qtbot import QtBot

from tests.gui.conftest import Desk
from tests.gui.hands import click, type_text
from wallet.gui import format as fmt
from wallet.gui.pages.receive import ReceivePage
from wallet.gui.typed_amount import MAX_SAT, as_typed, read_amount
from wallet.gui.widgets.fields import AmountField, Field
from wallet.node.api import FiatView


@pytest.mark.parametrize(
    ("unit", "text", "amount_sat"),
    [
        ("sat", "1 000", 1_000),
        ("sat", "1'000_000", 1_000_000),
        ("sat", "1.000.000", 1_000_000),
        ("sat", "1,000,000", 1_000_000),
        ("bits", "12", 1_200),
        ("bits", "12.5", 1_250),
        ("bits", "12,34", 1_234),
        ("bits", "1,234.5", 123_450),
        ("bits", "1.234,50", 123_450),
        ("BTC", "1", 100_000_000),
        ("BTC", "0.001", 100_000),
        ("BTC", "0,001", 100_000),
        ("BTC", ".5", 50_000_000),
        ("BTC", "1.2345", 123_450_000),
        ("BTC", "0.00 000 001", 1),
        ("BTC", "1,234.00000001", 123_400_000_001),
        ("BTC", "21000000", MAX_SAT),
    ],
)
def test_what_has_one_reading_is_taken(unit: str, text: str, amount_sat: int) -> None:
    read = read_amount(text, unit)
    assert (read.amount_sat, read.problem, read.readings_sat) == (amount_sat, "", ())


@pytest.mark.parametrize(
    ("unit", "text", "readings_sat"),
    [
        ("sat", "1.000", (1_000, 1)),
        ("sat", "1,000", (1_000, 1)),
        ("sat", "1.500", (1_500,)),
        ("sat", "12.0", (12,)),
        ("bits", "1.000", (100_000, 100)),
        ("bits", "1,500", (150_000, 150)),
        ("BTC", "1.000", (100_000_000_000, 100_000_000)),
        ("BTC", "1,234", (123_400_000_000, 123_400_000)),
    ],
)
def test_what_has_two_is_asked_about(unit: str, text: str, readings_sat: tuple[int, ...]) -> None:
    read = read_amount(text, unit)
    assert read.amount_sat is None
    assert "two ways" in read.problem
    assert read.readings_sat == readings_sat


@pytest.mark.parametrize(
    ("unit", "text", "word"),
    [
        ("sat", "0.5", "whole satoshis"),
        ("sat", "1.2.3", "whole satoshis"),
        ("sat", "12a", "digits"),
        ("bits", "1.234.5", "no amount"),
        ("bits", "0.001", "no amount"),
        ("BTC", "0.000000001", "no amount"),
        ("BTC", ".", "no amount"),
        ("BTC", "1.0.0", "no amount"),
        ("BTC", "١", "digits"),
        ("BTC", "21000001", "21 million"),
        ("sat", "9" * 60, "21 million"),
    ],
)
def test_what_has_none_is_a_sentence(unit: str, text: str, word: str) -> None:
    read = read_amount(text, unit)
    assert read.amount_sat is None
    assert word in read.problem
    assert read.readings_sat == ()


@given(st.integers(min_value=0, max_value=MAX_SAT), st.sampled_from(fmt.UNITS))
def test_what_a_field_shows_is_read_as_itself(value_sat: int, unit: str) -> None:
    assert read_amount(as_typed(value_sat, unit), unit).amount_sat == value_sat


def test_both_readings_are_buttons(qtbot: QtBot) -> None:
    field = AmountField("Amount")
    row = Field("Amount", field, "Help")
    qtbot.addWidget(row)
    field.amount_changed.connect(lambda _sat: row.set_problem(field.problem))
    row.show()
    type_text(field, "1.000")
    assert [button.text() for button in row.readings] == [fmt.amount_sat(1_000), fmt.amount_sat(1)]
    assert field.amount_sat() is None
    click(row.readings[0])
    assert field.amount_sat() == 1_000
    assert row.problem() == ""
    assert row.readings == []


def test_a_mistake_that_was_taken_out_is_no_longer_shown(qtbot: QtBot) -> None:
    field = AmountField("Amount")
    row = Field("Amount", field, "Help")
    qtbot.addWidget(row)
    field.amount_changed.connect(lambda _sat: row.set_problem(field.problem))
    row.show()
    type_text(field, "x")
    assert row.problem() != ""
    field.clear()
    assert row.problem() == ""


def test_what_it_is_worth_stands_beside_what_is_typed(qtbot: QtBot) -> None:
    field = AmountField("Amount")
    qtbot.addWidget(field)
    fmt.style.fiat = FiatView(
        currency="EUR", rate_hundredths=6_000_000, source="a page", at=1, problem="", days={}
    )
    type_text(field, "50000")
    assert field._tail() == f"sat  {fmt.in_fiat(50_000_000)}"
    assert "30.00" in field._tail()
    assert field.textMargins().right() > field._unit_width()


def test_a_request_is_typed_in_the_unit_that_was_chosen_and_follows_it(typical: Desk) -> None:
    preferences = typical.window.preferences
    preferences.choose_unit("BTC")
    typical.go("receive")
    page = typical.page(ReceivePage)
    type_text(page.amount_field, "0.00015")
    assert page.amount_field.amount_sat() == 15_000
    assert page.amount_field.accessibleDescription().startswith("In BTC. ")
    preferences.choose_unit("bits")
    assert page.amount_field.text() == "150"
    preferences.choose_unit("sat")
    assert page.amount_field.text() == fmt.group(15_000)
    assert page.amount_field.amount_sat() == 15_000
    click(page.create_button)
    typical.until(lambda: any(name == "add_request" for name, _arguments in typical.node.calls))
    asked = next(arguments for name, arguments in typical.node.calls if name == "add_request")
    assert asked["amount_msat"] == 15_000_000
