"""What a person does about losing everything, through the real widgets: restoring, restored mode, the backup."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PyQt6.QtWidgets import QLabel
from pytestqt.qtbot import QtBot

from tests.gui import scenes
from tests.gui.conftest import Desk, made_window
from tests.gui.fake_host import FakeHost
from tests.gui.fake_node import FakeNode
from tests.gui.fake_recovery import WORDS
from tests.gui.hands import PATIENCE_MS, click, type_text
from wallet.gui import format as fmt
from wallet.gui.main_window import MainWindow
from wallet.gui.pages.channel import ChannelDetail
from wallet.gui.pages.channels import ChannelsPage
from wallet.gui.pages.overview import OverviewPage
from wallet.gui.pages.recovery import OldInstallationDialog, PublishHeldDialog, RecoveryPage
from wallet.gui.pages.restored_banner import RestoredBanner
from wallet.gui.pages.settings import SettingsPage
from wallet.gui.pages.settings_backup import PasswordDialog, WordsDialog
from wallet.gui.pages.unlock import UnlockPage
from wallet.gui.pages.wizard import Wizard
from wallet.gui.pages.wizard_restore import BackupChoice, OldInstallationChoice
from wallet.gui.pages.wizard_words import RestoreGrid, WordGrid
from wallet.gui.widgets import files
from wallet.gui.widgets.basic import Button
from wallet.gui.widgets.fields import PasswordEdit
from wallet.gui.widgets.notices import Banner, Toast
from wallet.gui.widgets.stepper import Step
from wallet.node.api import HELD_CHANNEL_PHRASE, WalletInfo

Make = Callable[[FakeNode], Desk]
BACKUP = Path("/media/anna/STICK/leyden-mainnet-0badc0de.backup")
PASSWORD = "correct horse"


@pytest.fixture
def host() -> Iterator[FakeHost]:
    made = FakeHost(make=lambda _info: scenes.restored(asks=True, waiting=3))
    yield made
    made.stop()


class Chooser:
    """Stands for the desktop's dialogs: what the person picks there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pick = BACKUP
        self.asked: list[str] = []
        for name in ("ask_file", "ask_folder"):
            monkeypatch.setattr(files, name, self._ask)
        monkeypatch.setattr(files, "ask_new_file", self._ask_new)

    def _ask(self, _parent: object, title: str, on_chosen: Callable[[Path], object]) -> None:
        self.asked.append(title)
        on_chosen(self.pick)

    def _ask_new(self, _parent: object, title: str, name: str, on_chosen: Callable[[Path], object]) -> None:
        self.asked.append(name)
        on_chosen(self.pick)


@pytest.fixture
def chooser(monkeypatch: pytest.MonkeyPatch) -> Chooser:
    return Chooser(monkeypatch)


def button(where: Wizard, kind: str) -> Button:
    return next(b for b in where.step.findChildren(Button) if b.kind == kind)


def named(where: Wizard, text: str) -> Button:
    return next(b for b in where.step.findChildren(Button) if b.text() == text)


def restoring(qtbot: QtBot, host: FakeHost) -> tuple[MainWindow, Wizard]:
    """The wizard, once the words are typed in."""
    window = made_window(host, "mainnet", qtbot)
    window.start()
    window.show()
    wizard = window.findChild(Wizard)
    assert wizard is not None
    click(wizard.real)
    wizard._restore()
    grid = wizard.step.findChild(RestoreGrid)
    assert grid is not None
    grid.fill(WORDS[:12])
    click(button(wizard, "filled"))
    return window, wizard


def chosen_password(wizard: Wizard) -> None:
    for field in wizard.step.findChildren(PasswordEdit):
        type_text(field, PASSWORD)
    create = button(wizard, "filled")
    assert create.text() == "Restore wallet"
    click(create)


def choice_of(wizard: Wizard) -> BackupChoice:
    found = wizard.step.findChild(BackupChoice)
    assert found is not None
    return found


def answers_of(wizard: Wizard) -> OldInstallationChoice:
    found = wizard.step.findChild(OldInstallationChoice)
    assert found is not None
    return found


def texts(where: MainWindow | RecoveryPage) -> str:
    return " ".join(label.text() for label in where.findChildren(QLabel) if label.isVisible())


# --- restoring ------------------------------------------------------------------------------


def test_restoring_takes_a_backup_and_asks_before_anybody_is_called(
    qtbot: QtBot, host: FakeHost, chooser: Chooser
) -> None:
    window, wizard = restoring(qtbot, host)
    go = button(wizard, "filled")
    assert not go.isEnabled()

    # What is no backup is refused in a sentence, and another file can be chosen.
    chooser.pick = Path("/home/anna/holiday.jpg")
    click(choice_of(wizard).choose)
    qtbot.waitUntil(lambda: "not a channel backup" in choice_of(wizard).told.text(), timeout=PATIENCE_MS)
    assert not go.isEnabled()
    chooser.pick = BACKUP
    click(choice_of(wizard).choose)
    qtbot.waitUntil(go.isEnabled, timeout=PATIENCE_MS)
    told = choice_of(wizard).told.text()
    assert "3 channels" in told
    assert fmt.amount_sat(5_550_000) in told
    assert re.search(r"\d{4}-\d\d-\d\d", told)
    click(go)

    # The question stands before the wallet is made.
    assert host.created == []
    click(answers_of(wizard).runs)
    chosen_password(wizard)
    qtbot.waitUntil(lambda: window.shell is not None, timeout=PATIENCE_MS)
    made = host.created[0]
    assert made["restored"] is True
    assert made["channel_backup"] == BACKUP
    assert made["old_installation_stopped"] is False

    # It goes on with what it has found, and asks again.
    assert window.shell is not None
    assert window.shell.current_key == "recovery"
    page = window.shell.page("recovery")
    assert isinstance(page, RecoveryPage)
    qtbot.waitUntil(lambda: len(page.channels) == 3, timeout=PATIENCE_MS)
    assert "3 channels wait for their peers" in texts(page)
    banner = window.shell.restored.banner
    assert banner is not None
    assert banner.button is not None
    node = host.node
    assert node is not None
    assert not [call for call in node.calls if call[0] == "old_installation_stopped"]
    click(banner.button)
    dialog = window.findChild(OldInstallationDialog)
    assert dialog is not None
    click(dialog.runs)
    assert not [call for call in node.calls if call[0] == "old_installation_stopped"]
    window.close()


def test_the_answer_that_it_does_not_run_goes_with_the_wallet(
    qtbot: QtBot, host: FakeHost, chooser: Chooser
) -> None:
    window, wizard = restoring(qtbot, host)
    click(named(wizard, "I have none"))
    # Back and forth keeps what was typed.
    click(named(wizard, "Back"))
    click(named(wizard, "Back"))
    grid = wizard.step.findChild(RestoreGrid)
    assert grid is not None
    assert grid.words() == WORDS[:12]
    click(button(wizard, "filled"))
    click(named(wizard, "I have none"))
    click(answers_of(wizard).stopped)
    chosen_password(wizard)
    qtbot.waitUntil(lambda: window.shell is not None, timeout=PATIENCE_MS)
    made = host.created[0]
    assert made["channel_backup"] is None
    assert made["old_installation_stopped"] is True
    window.close()


def test_a_new_wallet_is_asked_nothing_of_the_kind(qtbot: QtBot, host: FakeHost, chooser: Chooser) -> None:
    window, wizard = restoring(qtbot, host)
    wizard._backup, wizard._old_one_stopped = BACKUP, True
    wizard._new_words()
    wizard._password(wizard._start)
    for field in wizard.step.findChildren(PasswordEdit):
        type_text(field, PASSWORD)
    create = button(wizard, "filled")
    assert create.text() == "Create wallet"
    click(create)
    qtbot.waitUntil(lambda: window.shell is not None, timeout=PATIENCE_MS)
    made = host.created[0]
    assert (made["restored"], made["channel_backup"], made["old_installation_stopped"]) == (
        False,
        None,
        False,
    )
    assert window.shell is not None
    assert window.shell.current_key == "overview"
    window.close()


def test_it_ends_with_amounts_channels_and_dates(desk: Make) -> None:
    one = desk(scenes.restored(asks=True, waiting=3))
    one.shell.show_recovery()
    page = one.page(RecoveryPage)
    one.until(lambda: len(page.channels) == 3)
    assert page.steps._shown[1][:2] == ("Your word that no other copy of this wallet runs", Step.CURRENT)
    # Of what waits, it is not said that it were nothing.
    one.until(lambda: texts(page).count(f"Part of {fmt.amount_sat(1_000_000)}") == 3)

    one.node.submit(one.node.do_old_installation_stopped)
    one.until(lambda: page.steps._shown[2][1] is Step.CURRENT)
    banner = one.shell.restored.banner
    assert banner is not None
    assert banner.button is not None
    assert not banner.button.isVisible(), "it would lead here"
    one.go("overview")
    click(banner.button)
    assert one.shell.current_key == "recovery"
    done = scenes.restored(waiting=0)
    one.node.lost = done.lost
    one.node.submit(lambda: one.node.recovery(lost=0))
    done.stop()
    one.until(lambda: page.coming.text() == fmt.amount_sat(412_000 + 1_301_400 + 88_250))
    assert page.home.text() == fmt.amount_sat(1_834_220)
    dates = [
        label.text() for row in page.channels for label in row.findChildren(QLabel) if "about" in label.text()
    ]
    assert len(dates) == 3
    assert all(re.fullmatch(r"about \d{4}-\d\d-\d\d", date) for date in dates)
    assert not one.page(RestoredBanner).isVisible()

    for row in one.node.lost:
        row |= {"home_sat": row["amount_sat"], "amount_sat": 0, "when_at": None, "text": "Home."}
    one.node.confirmed_sat = 3_635_870
    one.node.submit(one.node.tell)
    one.until(lambda: page.steps._shown[-1][:2] == ("All that was found is home", Step.DONE))
    assert page.coming.text() == fmt.amount_sat(0)
    # What each of them brought back stays to be read.
    assert [row.accessibleName() for row in page.channels] == [
        f"{name}, Home, {fmt.amount_sat(amount_sat)}. Home."
        for name, amount_sat in (("ACINQ", 412_000), ("Unnamed 02324af9", 1_301_400), ("Café Åland", 88_250))
    ]
    one.go("overview")
    one.go("recovery")
    assert not page._progress.isVisible(), "what is over is not shown for ever"


def test_while_the_chain_is_searched_it_says_so(desk: Make) -> None:
    from dataclasses import replace

    one = desk(scenes.restored(waiting=3))
    one.node.status = replace(one.node.status, synced=False, height=700_000)
    one.node.submit(one.node.tell)
    one.go("recovery")
    page = one.page(RecoveryPage)
    one.until(lambda: bool(page.steps._shown) and page.steps._shown[0][1] is Step.CURRENT)
    assert fmt.group(700_000) in page.steps._shown[0][0]


def test_a_damaged_file_leads_to_restoring_and_is_left_alone(qtbot: QtBot) -> None:
    info = WalletInfo(name="Savings", network="signet", path=Path("/nowhere"), encrypted=True)
    host = FakeHost(existing=[info])
    host.damage = (
        "The wallet file wallet.leyden cannot be read: it is damaged. Keep it, and restore from your words."
    )
    window = made_window(host, "signet", qtbot)
    window.start()
    window.show()
    page = window.findChild(UnlockPage)
    assert page is not None
    type_text(page.password, "correct")
    click(page.unlock)
    qtbot.waitUntil(lambda: "restore from your words" in page._banner.text(), timeout=PATIENCE_MS)
    assert page.other.text() == "Create or restore another"
    click(page.other)
    wizard = window.findChild(Wizard)
    assert wizard is not None
    assert wizard._free_name() != "Savings"
    window.close()
    host.stop()


# --- restored mode -----------------------------------------------------------------------------


def test_restored_mode_is_on_every_page_and_in_each_channel(desk: Make) -> None:
    one = desk(scenes.held(asks=True))
    for key in ("overview", "send", "receive", "activity", "channels", "settings"):
        one.go(key)
        banner = one.shell.restored.banner
        assert banner is not None
        assert banner.isVisible()
        assert "left alone until you say" in banner.text()
    assert "leyden old_installation_stopped" not in texts(one.window), "that is the command line's"
    one.go("channels")
    page = one.page(ChannelsPage)
    card = next(iter(page.cards.values()))
    assert card._pill.text() == "Held back"
    assert "not closed from here" in card._sentence.text()
    one.go("overview")
    overview = one.page(OverviewPage)
    assert any("not closed from here" in banner.text() for banner in overview.findChildren(Banner))

    banner = one.shell.restored.banner
    assert banner is not None
    assert banner.button is not None
    click(banner.button)
    dialog = one.dialog(OldInstallationDialog)
    one.node.fail("old_installation_stopped", "Leyden cannot listen for peers.")
    click(dialog.stopped)
    one.until(lambda: any("cannot listen" in b.text() for b in dialog.findChildren(Banner)))
    click(dialog.stopped)
    one.until(lambda: not one.node.status.recovery.asks)

    def now_held() -> bool:
        shown = one.shell.restored.banner
        return shown is not None and "may be an old copy" in shown.text()

    one.until(now_held)


def test_a_held_channel_is_closed_only_after_the_phrase_is_typed(desk: Make) -> None:
    one = desk(scenes.held(asks=False))
    key = next(iter(one.node.channels))
    one.show_channel(key)
    detail = one.page(ChannelDetail)
    assert not detail.force_button.isVisible()
    assert not detail.close_button.isVisible()
    click(detail.publish_button)
    dialog = one.dialog(PublishHeldDialog)
    assert dialog.publish.kind == "danger"
    assert fmt.amount_sat(one.node.channels[key].capacity_sat) in " ".join(
        banner.text() for banner in dialog.findChildren(Banner)
    )
    for typed in ("", "yes", HELD_CHANNEL_PHRASE.lower(), HELD_CHANNEL_PHRASE[:-1]):
        dialog.phrase.clear()
        type_text(dialog.phrase, typed)
        assert not dialog.publish.isEnabled()
        dialog._publish()
    assert not [call for call in one.node.calls if call[0] == "publish_held_channel"]
    dialog.phrase.clear()
    type_text(dialog.phrase, HELD_CHANNEL_PHRASE)
    click(dialog.publish)
    one.until(lambda: not one.node.channels[key].held)
    one.until(lambda: not detail.publish_button.isVisible())
    assert one.shell.restored.banner is None


# --- settings, backup ------------------------------------------------------------------------------


def test_the_recovery_report_says_what_each_way_brings_back(typical: Desk) -> None:
    typical.go("settings")
    section = typical.page(SettingsPage).backup
    one_way, other = fmt.amount_sat(1_879_220), fmt.amount_sat(4_213_720)
    typical.until(lambda: other in section._report_text.text())
    assert one_way in section._report_text.text()
    click(section.report_button)
    page = typical.page(RecoveryPage)
    typical.until(lambda: page.total.text() == other)
    assert fmt.amount_sat(252_000) in page._in_flight.text()
    click(page.way.button("words"))
    assert page.total.text() == one_way
    typical.until(lambda: texts(page).count("Nothing, until the peer closes") == 3)
    click(page.way.button("words_and_peer_storage"))
    assert "Kept by" in page._keepers.text()
    typical.node.fail("recovery_report", "The wallet file cannot be read.")
    typical.node.submit(typical.node.tell)
    typical.until(lambda: "cannot be read" in page.banner.text())
    typical.node.submit(typical.node.tell)
    typical.until(lambda: not page.banner.text())
    click(page.back)
    assert typical.shell.current_key == "settings"


def test_words_are_shown_after_the_password(typical: Desk) -> None:
    typical.go("settings")
    click(typical.page(SettingsPage).backup.words_button)
    dialog = typical.dialog(WordsDialog)
    type_text(dialog.password, "wrong")
    click(dialog.show_button)
    typical.until(lambda: "wrong" in dialog._row.problem())
    assert dialog.findChild(WordGrid) is None
    dialog.password.setText("correct")
    click(dialog.show_button)
    typical.until(lambda: dialog.findChild(WordGrid) is not None)
    dialog.reject()


def test_a_second_folder_is_named_and_its_trouble_told(typical: Desk, chooser: Chooser) -> None:
    typical.go("settings")
    section = typical.page(SettingsPage).backup
    typical.until(lambda: "None." in section._folder_text.text())
    assert not section.no_folder_button.isVisible()
    chooser.pick = Path("/media/anna/STICK")
    typical.node.fail("set_backup_folder", "/media/anna/STICK cannot be used: Read-only file system.")
    click(section.folder_button)
    typical.until(lambda: "Read-only" in section._failed.text())
    click(section.folder_button)
    typical.until(lambda: "STICK" in section._folder_text.text())
    assert "Last written 2 hours ago." in section._folder_text.text()
    assert not section._failed.text()
    assert not section.warning.isVisible()

    sentence = "The channel backup could not be written to /media/anna/STICK (No such file or directory)."
    typical.node.submit(lambda: typical.node.recovery(backup_problem=sentence))
    typical.until(section.warning.isVisible)
    assert section.warning.text() == sentence
    typical.until(lambda: "The last write failed." in section._folder_text.text())
    assert "Last written 2 hours ago" in section._file_text.text()
    typical.go("overview")
    assert any(sentence in banner.text() for banner in typical.page(OverviewPage).findChildren(Banner)), (
        "it is told where nobody looks for it"
    )
    typical.go("settings")
    click(section.no_folder_button)
    typical.until(lambda: typical.node.second_folder == "")
    typical.until(lambda: "None." in section._folder_text.text())


def test_a_copy_of_the_channel_backup_is_saved(typical: Desk, chooser: Chooser) -> None:
    typical.go("settings")
    section = typical.page(SettingsPage).backup
    click(section.copy_button)
    typical.until(lambda: typical.window.findChild(Toast) is not None)
    assert chooser.asked[0].startswith("leyden-channels-")
    assert ("export_channel_backup", {"file": str(BACKUP)}) in typical.node.calls
    typical.node.fail("export_channel_backup", "There is a file of this name already.")
    click(section.copy_button)
    typical.until(lambda: "already" in section._failed.text())


def test_the_password_is_changed(typical: Desk) -> None:
    typical.go("settings")
    click(typical.page(SettingsPage).password_button)
    dialog = typical.dialog(PasswordDialog)
    type_text(dialog.old, "wrong")
    type_text(dialog.new, "short")
    assert not dialog.change.isEnabled()
    dialog.new.clear()
    type_text(dialog.new, "long enough")
    type_text(dialog.again, "long enougH")
    dialog._compare()
    assert "not the same" in dialog._again_row.problem()
    assert not dialog.change.isEnabled()
    dialog.again.clear()
    type_text(dialog.again, "long enough")
    click(dialog.change)
    typical.until(lambda: "does not open" in dialog._old_row.problem())
    assert typical.node.password == "correct"
    dialog.old.clear()
    type_text(dialog.old, "correct")
    click(dialog.change)
    typical.until(lambda: typical.node.password == "long enough")
    typical.until(lambda: not typical.window.findChildren(PasswordDialog))


def test_what_must_not_be_put_back_is_said(typical: Desk) -> None:
    """Leyden cannot find out that its whole folder was put back: the user has to know."""
    typical.go("settings")
    section = typical.page(SettingsPage).backup
    told = " ".join(banner.text() for banner in section.findChildren(Banner))
    assert "whole folder" in told
    assert "cannot notice" in told
