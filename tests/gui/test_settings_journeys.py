"""What a person changes in Settings, through the real widgets: each change is seen at once and costs nothing typed."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PyQt6.QtCore import QStandardPaths, Qt
from PyQt6.QtWidgets import QApplication, QLabel, QLineEdit
from pytestqt.qtbot import QtBot

from tests.gui import scenes
from tests.gui.conftest import Desk
from tests.gui.fake_node import FakeNode
from tests.gui.hands import click, press, type_text
from wallet.gui import format as fmt
from wallet.gui import support
from wallet.gui.closing import CloseQuestion, away_sentence, is_due
from wallet.gui.notify import Notifier
from wallet.gui.pages.about import AboutDialog, parts
from wallet.gui.pages.console import ConsoleDialog, ConsoleLine
from wallet.gui.pages.item_dialog import ItemDialog
from wallet.gui.pages.logs import LogDialog
from wallet.gui.pages.receive import ReceivePage
from wallet.gui.pages.settings import SettingsPage
from wallet.gui.pages.unlock import UnlockPage
from wallet.gui.preferences import Preferences
from wallet.gui.shortcuts import ShortcutsDialog, actions
from wallet.gui.support import SupportLog, cleaned
from wallet.gui.theme import theme
from wallet.gui.widgets.basic import Button
from wallet.gui.widgets.dialog import Dialog
from wallet.gui.widgets.focus import focus_watcher
from wallet.node.api import ActivityItem, ActivityKind, ActivityStatus, ChannelPhase
from wallet.node.version import VERSION

Make = Callable[[FakeNode], Desk]
CTRL = Qt.KeyboardModifier.ControlModifier


def settings(desk: Desk) -> SettingsPage:
    desk.go("settings")
    page = desk.shell.page("settings")
    assert isinstance(page, SettingsPage)
    desk.until(lambda: bool(page.servers._answer))
    return page


def shown_texts(desk: Desk) -> set[str]:
    labels = [label for label in desk.window.findChildren(QLabel) if label.isVisible()]
    return {label.text() for label in labels}


# --- look and amounts ----------------------------------------------------------------------


def test_sections_are_made_while_the_page_is_shown(typical: Desk) -> None:
    """A page that was left asks the node nothing more; it goes on where it was when it is shown again."""
    typical.shell.go("settings")
    page = typical.page(SettingsPage)
    typical.shell.go("overview")
    for _turn in range(20):
        QApplication.processEvents()
    assert not page.is_whole
    assert settings(typical).is_whole


def test_colours_change_without_a_restart(typical: Desk) -> None:
    page = settings(typical)
    click(page.scheme.button("dark"))
    assert theme().scheme == "dark"
    assert typical.window.preferences.text("look/theme", "") == "dark"
    click(page.scheme.button("light"))
    assert theme().scheme == "light"


def test_a_larger_text_keeps_what_was_typed(typical: Desk) -> None:
    typical.go("receive")
    receive = typical.page(ReceivePage)
    fields = [f for f in receive.findChildren(QLineEdit) if f.isVisible() and not f.isReadOnly()]
    assert fields
    for number, field in enumerate(fields):
        field.setText(str(number + 3))
    typed = [field.text() for field in fields]
    before = typical.shell
    click(settings(typical).text_size.button("130"))
    assert theme().scale_percent == 130
    typical.until(lambda: typical.shell is not before)
    typical.go("receive")
    anew = typical.shell.page("receive")
    assert anew is not receive

    def again() -> list[str]:
        return [f.text() for f in anew.findChildren(QLineEdit) if f.isVisible() and not f.isReadOnly()]

    typical.until(lambda: again() == typed)


def test_a_unit_is_used_on_every_page_at_once(typical: Desk) -> None:
    page = settings(typical)
    for unit, shown in (("bits", "18"), ("BTC", "0.0"), ("sat", "1")):
        click(page.unit.button(unit))
        assert fmt.unit() == unit
        assert fmt.amount_sat(1_834).endswith(unit)
        assert fmt.amount_sat(1_834).startswith(shown)


def test_one_shortcut_hides_amounts_and_shows_them_again(typical: Desk) -> None:
    typical.go("overview")
    press(typical.window, Qt.Key.Key_H, CTRL)
    assert fmt.style.hidden
    assert any(fmt.HIDDEN in text for text in shown_texts(typical))
    press(typical.window, Qt.Key.Key_H, CTRL)
    typical.until(lambda: not fmt.style.hidden)
    assert not any(fmt.HIDDEN in text for text in shown_texts(typical))


def test_what_it_is_worth_follows_an_amount_once_that_was_chosen(desk: Make) -> None:
    open_desk = desk(scenes.typical("mainnet"))
    page = settings(open_desk)
    assert fmt.in_fiat(100_000_000_000) == ""
    assert not any("≈" in text for text in shown_texts(open_desk))
    page.choose_fiat("EUR")
    open_desk.until(lambda: page.fiat.text() == "EUR")
    assert fmt.in_fiat(100_000_000_000) == "≈\u00a061\u202f234.56\u00a0EUR"
    assert fmt.in_fiat(1_000_000) == "≈\u00a00.61\u00a0EUR"
    assert any(re.search(r"coinbase\.com, \d+ minutes ago", text) for text in shown_texts(open_desk))
    open_desk.go("overview")
    open_desk.until(lambda: any("≈" in text and "EUR" in text for text in shown_texts(open_desk)))
    page.choose_fiat("")
    open_desk.until(lambda: fmt.in_fiat(1_000_000) == "")


def test_a_payment_says_what_it_was_worth_on_its_day(desk: Make) -> None:
    open_desk = desk(scenes.typical("mainnet"))
    settings(open_desk).choose_fiat("EUR")
    open_desk.until(lambda: fmt.style.fiat is not None)
    item = open_desk.node.activity[0]
    open_desk.shell.show_item(item.item_id)
    dialog = open_desk.dialog(ItemDialog)
    then = fmt.in_fiat(item.amount_msat, rate_hundredths=5_000_000)
    assert then
    assert then in {label.text() for label in dialog.findChildren(QLabel)}


def test_play_money_has_no_price(typical: Desk) -> None:
    page = settings(typical)
    assert not page.fiat.isEnabled()
    assert "Play money has no price." in shown_texts(typical)


# --- servers -------------------------------------------------------------------------------


def test_a_server_is_added_and_removed_while_it_runs(typical: Desk) -> None:
    page = settings(typical)
    type_text(page.servers.address, "mine.example.org:50002:s")
    click(page.servers.add_button)
    typical.until(lambda: typical.node.servers[0]["address"] == "mine.example.org:50002:s")
    remove = "Remove mine.example.org:50002:s"

    def button() -> Button | None:
        found = [
            b for b in page.servers.findChildren(Button) if b.accessibleName() == remove and b.isVisible()
        ]
        return found[0] if found else None

    typical.until(lambda: button() is not None)
    found = button()
    assert found is not None
    assert page.servers.address.text() == ""
    found.click()
    typical.until(lambda: all(s["address"] != "mine.example.org:50002:s" for s in typical.node.servers))
    typical.until(lambda: button() is None)


def test_an_address_that_is_none_is_said_under_its_field(typical: Desk) -> None:
    page = settings(typical)
    type_text(page.servers.address, "nonsense")
    click(page.servers.add_button)
    typical.until(lambda: "is no server" in page.servers._address_row.problem())
    assert page.servers.address.text() == "nonsense"


def test_one_server_alone_is_trusted_only_after_a_question(typical: Desk) -> None:
    typical.node.servers = typical.node.servers[:2]
    page = settings(typical)
    typical.until(lambda: len(page.servers._servers()) == 2)
    address = typical.node.servers[1]["address"]
    button = next(b for b in page.servers.findChildren(Button) if b.property("address") == address)
    button.click()
    dialog = typical.dialog(Dialog)
    assert len(typical.node.servers) == 2
    next(b for b in dialog.findChildren(Button) if b.kind == "danger").click()
    typical.until(lambda: len(typical.node.servers) == 1)
    assert ("remove_server", {"address": address, "trust_one": True}) in typical.node.calls


def test_tor_is_one_click(typical: Desk) -> None:
    page = settings(typical)
    click(page.servers.tor_button)
    typical.until(lambda: typical.node.proxy == "127.0.0.1:9050")
    typical.until(page.servers.direct_button.isVisible)
    assert page.servers.proxy.text() == "127.0.0.1:9050"
    click(page.servers.direct_button)
    typical.until(lambda: typical.node.proxy == "")


def test_what_is_being_typed_is_not_overwritten_by_news(typical: Desk) -> None:
    page = settings(typical)
    type_text(page.servers.proxy, "127.0.0.1:9")
    typical.node.servers[2]["connected"] = True
    typical.node.tell()
    typical.until(lambda: sum(bool(s["connected"]) for s in page.servers._servers()) == 3)
    assert page.servers.proxy.text() == "127.0.0.1:9"


# --- safety --------------------------------------------------------------------------------


def test_the_wallet_locks_itself_after_the_minutes_that_were_chosen(typical: Desk) -> None:
    click(settings(typical).lock.button("5"))
    idle, started_at = typical.window.idle, focus_watcher().acted_at
    idle.clock = lambda: started_at + 299
    idle.look()
    assert typical.page(SettingsPage).isVisible()
    idle.clock = lambda: started_at + 301
    idle.look()
    typical.until(lambda: typical.page(UnlockPage).isVisible())


def test_a_key_puts_the_lock_off(typical: Desk) -> None:
    click(settings(typical).lock.button("1"))
    before = focus_watcher().acted_at = 1_000.0
    handle = typical.window.windowHandle()
    assert handle is not None
    press(handle, Qt.Key.Key_Shift)
    assert focus_watcher().acted_at > before


def test_without_a_choice_it_never_locks_itself(typical: Desk) -> None:
    typical.window.idle.clock = lambda: focus_watcher().acted_at + 10_000_000
    typical.window.idle.look()
    assert typical.window.shell is not None


# --- shortcuts -----------------------------------------------------------------------------


def test_f1_lists_every_shortcut(typical: Desk) -> None:
    press(typical.window, Qt.Key.Key_F1)
    dialog = typical.dialog(ShortcutsDialog)
    listed = {keys for keys, _words in dialog.lines}
    assert {one.keys for one in actions()} <= listed
    assert {"Ctrl+1", "Ctrl+2", "Ctrl+3", "Ctrl+4", "Ctrl+5", "Ctrl+6"} <= listed


def test_ctrl_f_leads_to_a_search_field_from_any_page(typical: Desk) -> None:
    typical.go("overview")
    press(typical.window, Qt.Key.Key_F, CTRL)

    def is_focused() -> bool:
        focused = QApplication.focusWidget()
        return isinstance(focused, QLineEdit) and focused.isVisible()

    typical.until(is_focused)


def test_no_two_shortcuts_are_the_same() -> None:
    keys = [one.keys for one in actions()]
    assert len(set(keys)) == len(keys)


# --- the console ---------------------------------------------------------------------------


def open_console(desk: Desk) -> ConsoleDialog:
    ConsoleLine.history.clear()
    press(desk.window, Qt.Key.Key_C, CTRL | Qt.KeyboardModifier.ShiftModifier)
    dialog = desk.dialog(ConsoleDialog)
    desk.until(lambda: bool(dialog.line.commands))
    return dialog


def run_line(desk: Desk, dialog: ConsoleDialog, line: str) -> None:
    dialog.line.setText(line)
    dialog.run()
    desk.until(dialog.run_button.isEnabled)


def test_the_console_runs_commands_and_says_what_is_wrong(typical: Desk) -> None:
    dialog = open_console(typical)
    run_line(typical, dialog, "getinfo")
    assert '"synchronized": true' in dialog.output.toPlainText()
    run_line(typical, dialog, "nonsense")
    assert "There is no command" in dialog.output.toPlainText()


def test_in_a_small_window_the_line_of_the_console_is_seen_whole(typical: Desk) -> None:
    typical.window.resize(800, 600)
    dialog = open_console(typical)

    def is_whole() -> bool:
        shown = dialog.line.visibleRegion().boundingRect()
        return shown == dialog.line.rect() and dialog.output.height() > dialog.output.least_height

    typical.until(is_whole)


def test_the_console_offers_the_commands_that_fit(typical: Desk) -> None:
    dialog = open_console(typical)
    completer = dialog.line.completer()
    assert completer is not None
    completer.setCompletionPrefix("getb")
    assert completer.currentCompletion() == "getbalance"


def test_earlier_lines_come_back_and_passwords_do_not(typical: Desk) -> None:
    dialog = open_console(typical)
    run_line(typical, dialog, "getinfo")
    run_line(typical, dialog, "help --password hunter2")
    run_line(typical, dialog, "getbalance")
    assert "hunter2" not in dialog.output.toPlainText()
    dialog.line.setText("half a li")
    seen = []
    for _step in range(3):
        press(dialog.line, Qt.Key.Key_Up)
        seen.append(dialog.line.text())
    assert seen == ["getbalance", "getinfo", "getinfo"]
    press(dialog.line, Qt.Key.Key_Down)
    press(dialog.line, Qt.Key.Key_Down)
    assert dialog.line.text() == "half a li"


# --- the log -------------------------------------------------------------------------------


SECRETS = {
    "a node": "02" + "ab" * 32,
    "its start": "02ab12cd",
    "an invoice": "lnbc210u1p3xyzqpp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqf",
    "an address": "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080",
    "an old address": "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
    "an amount": "21 000 sat",
    "a thin amount": "21\u202f000 sat",
    "a small amount": "amount=500",
    "bitcoin": "0.01 BTC",
    "a host": "electrum.example.org:50002:s",
    "a number": "192.0.2.7:9735",
    "six": "[2001:db8::1]:9735",
    "an onion": "abcdefghijklmnop.onion:9735",
    "a page": "https://example.org/pay?k=1",
    "a person": "anna@example.org",
    "a folder": "/home/anna/.local/share/leyden",
    "a channel": "912345x12x1",
    "an alias": "“Anna's node”",
    "an extended key": "xpub661MyMwAqRbcFtXgS5sYJABqqG9YLmC4Q1Rdap9gSE8NqtwybGhePY2gZ29ESFjq"
    "JoCu1Rupje8YtGqsefD265TMg7usUDFdp6W1EGMcet8",
}


@pytest.mark.parametrize("name", list(SECRETS))
def test_the_log_for_support_tells_nobodys_business(name: str) -> None:
    secret = SECRETS[name]
    line = cleaned(f"peers: {secret} went away after 12 s")
    assert secret not in line
    assert not any(
        part in line for part in secret.replace("=", " ").split() if len(part) > 3 and part != "amount"
    )
    assert line.startswith("peers: ")
    assert line.endswith("went away after 12 s")


def test_the_log_keeps_what_helps() -> None:
    assert cleaned("the computer woke up: reconnecting") == "the computer woke up: reconnecting"
    assert cleaned("3 of 4 servers answered within 12.5 s") == "3 of 4 servers answered within 12.5 s"


def test_a_mistake_is_logged_with_its_places_and_without_its_values() -> None:
    log = SupportLog()
    try:
        raise ValueError("lnbc210u1p3xyzqpp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqf of 21000 sat")
    except ValueError as error:
        record = logging.LogRecord("wallet.node", logging.ERROR, "f", 1, "a tick failed", (), None)
        record.exc_info = (ValueError, error, error.__traceback__)
        log.emit(record)
    text = log.text()
    assert "error node: a tick failed" in text
    assert "ValueError: [address] of [amount]" in text
    assert "test_settings_journeys.py, line" in text
    assert str(Path(__file__).parent) not in text


def test_the_log_is_shown_before_it_is_saved(typical: Desk, tmp_path: Path) -> None:
    record = logging.LogRecord("leyden", logging.WARNING, "f", 1, "paid 21 000 sat", (), None)
    support.support_log().emit(record)
    click(settings(typical).log_button)
    dialog = typical.dialog(LogDialog)
    shown = dialog.text.toPlainText()
    assert "paid [amount]" in shown
    path = tmp_path / "log.txt"
    dialog.save(path)
    assert path.read_text(encoding="utf-8") == shown + "\n"
    dialog.save(path)
    assert "cannot be written" in dialog._failed.text()


# --- about, login, closing, notifications --------------------------------------------------


def test_about_shows_the_licence_of_each_part(typical: Desk) -> None:
    click(settings(typical).about_button)
    dialog = typical.dialog(AboutDialog)
    typical.until(lambda: VERSION in dialog._version.text())
    assert "GNU GENERAL PUBLIC LICENSE" in dialog.text.toPlainText()
    model = dialog.list.model()
    assert model is not None
    names = [model.index(row, 0).data() for row in range(model.rowCount())]
    assert any(name.startswith("PyQt6") for name in names)
    dialog.list.setCurrentRow(names.index("Inter"))
    assert "SIL OPEN FONT LICENSE" in dialog.text.toPlainText().upper()


def test_every_part_names_its_licence() -> None:
    assert [part.name for part in parts("1") if not part.licence] == []


def test_starting_at_login_is_an_entry_that_comes_and_goes(
    typical: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        QStandardPaths,
        "writableLocation",
        staticmethod(
            lambda place: (
                str(tmp_path) if place == QStandardPaths.StandardLocation.GenericConfigLocation else ""
            )
        ),
    )
    page = settings(typical)
    click(page.login)
    entry = (tmp_path / "autostart" / "leyden.desktop").read_text(encoding="utf-8")
    assert "Type=Application" in entry
    assert any(line.startswith("Exec=") and "--sandbox" in line for line in entry.splitlines())
    click(page.login)
    assert not (tmp_path / "autostart" / "leyden.desktop").exists()


def test_closing_asks_once_and_says_until_when_it_is_safe(typical: Desk) -> None:
    window = typical.window
    window.asks_before_closing = True
    before_at = fmt.now()
    window.close()
    dialog = typical.dialog(CloseQuestion)
    assert window.isVisible()
    # It may be asked at midnight.
    dates = {fmt.date(at + 940 * 600) for at in (before_at, fmt.now())}
    assert any(until in label.text() for label in dialog.findChildren(QLabel) for until in dates)
    click(dialog.stay_button)
    typical.until(lambda: window.isMinimized())
    assert window.preferences.closing == "stay"
    window.close()
    assert window.shell is not None
    assert window.findChildren(CloseQuestion) == [] or not any(
        d.isVisible() for d in window.findChildren(CloseQuestion)
    )
    window.quit()
    assert not window.isVisible()


def test_a_quit_that_was_chosen_for_good_is_not_asked_about(typical: Desk) -> None:
    window = typical.window
    window.asks_before_closing = True
    window.close()
    click(typical.dialog(CloseQuestion).quit_button)
    typical.until(lambda: not window.isVisible())
    assert window.preferences.closing == "quit"


def test_a_quit_that_was_chosen_for_good_is_asked_about_while_something_is_due(typical: Desk) -> None:
    node, window = typical.node, typical.window
    window.asks_before_closing = True
    node.status = replace(node.status, safe_until_height=node.status.height)
    node.tell()
    typical.until(lambda: is_due(typical.shell.bridge.snapshot))
    window.preferences.choose_closing("quit")
    window.close()
    dialog = typical.dialog(CloseQuestion)
    assert any("due now" in label.text() for label in dialog.findChildren(QLabel))
    dialog.reject()
    typical.until(lambda: not window.findChildren(CloseQuestion))
    window.preferences.choose_closing("stay")
    window.quit()
    click(typical.dialog(CloseQuestion).quit_button)
    typical.until(lambda: not window.isVisible())


def test_nothing_at_risk_is_said_as_well() -> None:
    node = scenes.new("mainnet")
    assert "Nothing is at risk" in away_sentence(node.snapshot(), now_at=0)
    node.status = replace(node.status, safe_until_height=node.status.height)
    assert "due now" in away_sentence(node.snapshot(), now_at=0)
    node.stop()


@pytest.fixture
def told(typical: Desk) -> list[tuple[str, str]]:
    """What the desktop would show: the window is not in front."""
    seen: list[tuple[str, str]] = []
    assert typical.window.bridge is not None
    Notifier(
        typical.window.bridge,
        typical.window.preferences,
        lambda: False,
        lambda title, text: seen.append((title, text)),
    )
    return seen


def receive(desk: Desk, key: str) -> None:
    item = ActivityItem(
        item_id=f"ln:{key}", kind=ActivityKind.LIGHTNING, amount_msat=21_000_000, fee_msat=0, at=fmt.now(),
        status=ActivityStatus.DONE, status_text="Received", label="",
    )  # fmt: skip
    desk.node.activity.insert(0, item)
    desk.node.tell(activity=[item.item_id])
    desk.until(lambda: any(i.item_id == item.item_id for i in desk.shell.bridge.snapshot.recent))


def test_a_payment_that_comes_in_is_told_once(typical: Desk, told: list[tuple[str, str]]) -> None:
    receive(typical, "aa")
    typical.until(lambda: len(told) == 1)
    assert told[0][0] == "Payment received"
    assert "21\u202f000" in told[0][1]
    receive(typical, "bb")
    typical.until(lambda: len(told) == 2)


def test_hidden_amounts_are_hidden_there_too(typical: Desk, told: list[tuple[str, str]]) -> None:
    typical.window.preferences.choose_hidden(True)
    receive(typical, "aa")
    typical.until(lambda: len(told) == 1)
    assert "21" not in told[0][1]


def test_a_channel_that_closes_is_told(typical: Desk, told: list[tuple[str, str]]) -> None:
    key = next(iter(typical.node.channels))
    typical.node.channels[key] = replace(typical.node.channels[key], phase=ChannelPhase.FORCE_CLOSING)
    typical.node.tell(channels=[key])
    typical.until(lambda: len(told) == 1)
    assert told[0][0] == "A channel is closing"


def test_nothing_is_told_where_it_is_not_wanted(typical: Desk, told: list[tuple[str, str]]) -> None:
    click(settings(typical).notifies)
    receive(typical, "aa")
    assert told == []


def test_choices_outlast_the_program(tmp_path: Path, qtbot: QtBot) -> None:
    first = Preferences(tmp_path / "window.ini")
    first.choose_unit("bits")
    first.choose_lock_minutes(15)
    first.choose_closing("stay")
    first.choose_notifies(False)
    second = Preferences(tmp_path / "window.ini")
    second.apply()
    assert fmt.style.unit == "bits"
    assert (second.lock_minutes, second.closing, second.notifies) == (15, "stay", False)
