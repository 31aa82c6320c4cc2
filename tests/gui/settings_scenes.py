"""Scenes of Settings and help, for `tests.gui.shots` and the audit."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from PyQt6.QtWidgets import QScrollArea, QWidget

from tests.gui import scenes
from wallet.gui.closing import CloseQuestion
from wallet.gui.pages.about import AboutDialog
from wallet.gui.pages.channel_request import ChannelRequestDialog
from wallet.gui.pages.console import ConsoleDialog
from wallet.gui.pages.contacts import ContactDialog, NameDialog
from wallet.gui.pages.logs import LogDialog
from wallet.gui.pages.settings import SettingsPage
from wallet.gui.pages.settings_backup import WordsDialog
from wallet.gui.support import support_log
from wallet.gui.widgets.dialog import confirm
from wallet.i18n import _

if TYPE_CHECKING:
    from tests.gui.fake_node import FakeNode
    from tests.gui.shots import Stage

__all__ = ["SCENES"]


def _settings(stage: Stage) -> SettingsPage:
    from tests.gui.shots import wait_for

    assert stage.window is not None
    assert stage.window.shell is not None
    page = stage.window.shell.page("settings")
    assert isinstance(page, SettingsPage)
    wait_for(lambda: page.servers.reset_button.parent() is not None and bool(page.servers._answer), "servers")
    return page


def _at(stage: Stage, pick: Callable[[SettingsPage], QWidget], node: FakeNode | None = None) -> None:
    stage.on(node or scenes.typical("mainnet"), "settings")
    page = _settings(stage)
    area = page.findChild(QScrollArea)
    assert area is not None
    bar, inside = area.verticalScrollBar(), area.widget()
    assert bar is not None
    assert inside is not None
    bar.setValue(pick(page).mapTo(inside, pick(page).rect().topLeft()).y())


def servers(stage: Stage) -> None:
    _at(stage, lambda page: page.servers)


def certificate(stage: Stage) -> None:
    """A server was renewed, or somebody listens in between."""
    node = scenes.typical("mainnet")
    node.servers[2].update(
        problem="The server shows another certificate than before. Somebody may be listening in between: use another "
        "server, or forget this one's certificate if you know that it was renewed.",
        other_certificate=True,
    )
    _at(stage, lambda page: page.servers, node)


def safety(stage: Stage) -> None:
    _at(stage, lambda page: page.lock)


def start_and_end(stage: Stage) -> None:
    _at(stage, lambda page: page.login)


def help_section(stage: Stage) -> None:
    _at(stage, lambda page: page.about_button)


def _window(stage: Stage) -> Any:
    return stage.on(scenes.typical("mainnet"), "settings")


def console(stage: Stage) -> None:
    from tests.gui.shots import wait_for

    window = _window(stage)
    dialog = ConsoleDialog(window, window.shell.context)
    dialog.open()
    wait_for(lambda: bool(dialog.line.commands), "the commands")
    dialog.line.setText("getinfo")
    dialog.run()
    wait_for(lambda: "synchronized" in dialog.output.toPlainText(), "the answer")


def log(stage: Stage) -> None:
    window = _window(stage)
    record = logging.LogRecord(
        "wallet.node",
        logging.WARNING,
        "node.py",
        1,
        "peer %s at 192.0.2.7:9735 is gone",
        ("02" + "ab" * 32,),
        None,
    )
    support_log().emit(record)
    LogDialog(window).open()


def about(stage: Stage) -> None:
    window = _window(stage)
    AboutDialog(window, window.shell.context).open()


def shortcuts(stage: Stage) -> None:
    _window(stage).show_shortcuts()


def closing(stage: Stage) -> None:
    window = _window(stage)
    CloseQuestion(window, window.bridge.snapshot, lambda _choice, _always: None).open()


def words_shown(stage: Stage) -> None:
    from tests.gui.shots import wait_for

    window = _window(stage)
    assert stage.node is not None
    dialog = WordsDialog(window, window.shell.context)
    dialog.open()
    dialog.password.setText(stage.node.password)
    dialog.show_button.click()
    wait_for(dialog.show_button.isHidden, "the words")


def words_refused(stage: Stage) -> None:
    from tests.gui.shots import wait_for

    window = _window(stage)
    dialog = WordsDialog(window, window.shell.context)
    dialog.open()
    dialog.password.setText("wrong")
    dialog.show_button.click()
    wait_for(lambda: bool(dialog._row.problem()), "the refusal")


def own_name(stage: Stage) -> None:
    window = stage.on(scenes.typical(), "channels")
    assert window.shell is not None
    node_id = next(iter(window.shell.context.snapshot.channels)).peer_id
    NameDialog(window, window.shell.context, node_id, "Sandbox hub", lambda: None).open()


def contact(stage: Stage) -> None:
    window = stage.on(scenes.typical(), "send")
    assert window.shell is not None
    ContactDialog(
        window,
        window.shell.context,
        lambda: None,
        name="Grandmother",
        destination="granny@wallet.example",
        known=True,
    ).open()


def wallet_reset(stage: Stage) -> None:
    confirm(
        _window(stage),
        title=_("Reset the practice wallet"),
        sentence=_(
            "The practice network, its play money and its wallets are thrown away, for a fresh start. Your other "
            "wallets are not touched."
        ),
        action=_("Reset practice"),
        on_yes=lambda: None,
        network="sandbox",
        danger=True,
    )


def channel_request(stage: Stage) -> None:
    window = stage.on(scenes.typical("mainnet"), "channels")
    assert window.shell is not None
    request = {
        "temporary_channel_id": "ab" * 32,
        "peer": "02" + "cd" * 32,
        "amount_sat": 2_500_000,
        "risk": "The peer asks to use the channel before its opening is confirmed. Until it is, the peer alone could "
        "take back what it sends you over it.",
    }
    ChannelRequestDialog(window, window.shell.context, request).open()


SCENES: dict[str, Callable[[Stage], object]] = {
    "settings-servers": servers,
    "settings-certificate": certificate,
    "settings-safety": safety,
    "settings-start": start_and_end,
    "settings-help": help_section,
    "long-shortcuts": shortcuts,
    "dialog-console": console,
    "dialog-log": log,
    "long-about": about,
    "dialog-closing": closing,
    "dialog-words": words_shown,
    "dialog-words-refused": words_refused,
    "dialog-name": own_name,
    "dialog-contact": contact,
    "dialog-confirm": wallet_reset,
    "dialog-channel-request": channel_request,
}
