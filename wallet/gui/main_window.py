"""The one window: first run, unlocking, and the shell with navigation, pages, strip and status bar.

Pages are imported and made when they are first shown, so the start pays for one of them. A change-set
refreshes the page that is shown; the others are marked stale and refreshed when they are shown again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from PyQt6.QtCore import Qt, QTimer
from PyQt6.QtGui import QCloseEvent, QGuiApplication, QKeySequence, QResizeEvent, QShortcut, QShowEvent
from PyQt6.QtWidgets import QHBoxLayout, QMainWindow, QStackedWidget, QWidget

from wallet.gui import format as fmt
from wallet.gui.bridge import Bridge
from wallet.gui.context import Context
from wallet.gui.icons import app_icon
from wallet.gui.idle import IdleLock
from wallet.gui.keeping import Kept, keep, put_back
from wallet.gui.notify import Notifier, Send, send_over_dbus
from wallet.gui.pages.base import Page
from wallet.gui.pages.contacts import read_node_names
from wallet.gui.pages.restored_banner import RestoredBanner
from wallet.gui.pages.wallet_choice import ResetsPractice, all_wallets
from wallet.gui.preferences import Preferences
from wallet.gui.shortcuts import actions
from wallet.gui.theme import theme
from wallet.gui.tokens import NARROW_BELOW, STRIP
from wallet.gui.widgets.basic import AmountLabel, Button, Label, add_action, discard, hbox, menu, vbox
from wallet.gui.widgets.fields import AmountField
from wallet.gui.widgets.focus import focus_watcher, step_on
from wallet.gui.widgets.navigation import Navigation, Place
from wallet.gui.widgets.statusbar import StatusBar
from wallet.i18n import _, current_language
from wallet.node.api import ChangeSet, NodeApi, ProblemKind, WalletHost, WalletInfo
from wallet.node.map_api import RouteAttempt

if TYPE_CHECKING:
    from wallet.gui.pages.unlock import UnlockPage

__all__ = ["MainWindow", "NetworkStrip", "Shell"]


def places() -> list[Place]:
    """The pages of the navigation, Settings last."""
    return [
        Place("overview", _("Overview"), "overview"),
        Place("send", _("Send"), "send"),
        Place("receive", _("Receive"), "receive"),
        Place("activity", _("Activity"), "activity"),
        Place("channels", _("Channels"), "channels"),
        Place("network", _("Network"), "network"),
        Place("settings", _("Settings"), "settings"),
    ]


def make_page(key: str, context: Context) -> Page:
    """Imports and makes a page."""
    match key:
        case "send":
            from wallet.gui.pages.send import SendPage

            return SendPage(context)
        case "receive":
            from wallet.gui.pages.receive import ReceivePage

            return ReceivePage(context)
        case "activity":
            from wallet.gui.pages.activity import ActivityPageView

            return ActivityPageView(context)
        case "channels":
            from wallet.gui.pages.channels import ChannelsPage

            return ChannelsPage(context)
        case "network":
            from wallet.gui.pages.network import NetworkPage

            return NetworkPage(context)
        case "recovery":
            from wallet.gui.pages.recovery import RecoveryPage

            return RecoveryPage(context)
        case "settings":
            from wallet.gui.pages.settings import SettingsPage

            return SettingsPage(context)
        case _:
            from wallet.gui.pages.overview import OverviewPage

            return OverviewPage(context)


class NetworkStrip(QWidget):
    """Across the top on any network but mainnet: what this money is not."""

    def __init__(self, network: str) -> None:
        super().__init__()
        self.setProperty("ground", "play")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.setFixedHeight(theme().px(STRIP))
        self.label = Label(fmt.network_word(network), "caption", "on_play")
        self.tools = Button(_("Practice tools"), "on-play", "chevron-down")
        self.tools.setFont(theme().font("caption"))
        self.tools.setVisible(False)
        self.tools.setLayoutDirection(Qt.LayoutDirection.RightToLeft)
        self.setLayout(hbox("stretch", self.label, "stretch", spacing=0))
        self.tools.setParent(self)

    def offer_tools(self, fill: Callable[[QWidget], None]) -> None:
        self.tools.setVisible(True)
        self.tools.clicked.connect(lambda _checked=False: fill(self.tools))
        self._place_tools()

    def _place_tools(self) -> None:
        width = self.tools.sizeHint().width()
        self.tools.setGeometry(self.width() - width, 0, width, self.height())

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        super().resizeEvent(event)
        self._place_tools()


class Shell(QWidget):
    """An open wallet: navigation at the left, the page, the status bar at the foot."""

    def __init__(
        self, bridge: Bridge, preferences: Preferences, window: MainWindow, first: str = "overview"
    ) -> None:
        """`first`: the page that is shown."""
        super().__init__()
        self.bridge = bridge
        self._window = window
        self.context = Context(
            bridge=bridge,
            preferences=preferences,
            go=self.go,
            pay=self.pay,
            open_channel=self.open_channel,
            show_channel=self.show_channel,
            show_item=self.show_item,
            show_attempts=self.show_attempts,
        )
        self.navigation = Navigation(places())
        self.navigation.chosen.connect(self.go)
        self.navigation.wallet.set_wallet(bridge.snapshot.status.wallet_name)
        self.navigation.wallet.clicked.connect(lambda _checked=False: self._open_menu())
        self.pages = QStackedWidget()
        self.pages.setProperty("ground", "canvas")
        self.pages.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.status_bar = StatusBar()
        self.by_key: dict[str, Page] = {}
        self.current_key = ""
        self._asked_about: set[str] = set()
        self._kept: dict[str, list[Kept]] = {}
        self._channel_soon = ""
        self._put_back_soon = QTimer(self)
        self._put_back_soon.timeout.connect(self._put_back_next)
        self._narrow = False
        self.restored = RestoredBanner(self.context)
        column = vbox(self.restored, spacing=0)
        column.addWidget(self.pages, 1)
        self._row: QHBoxLayout = hbox(self.navigation, column, spacing=0)
        self._row.setStretch(1, 1)
        outer = vbox(self._row, self.status_bar, spacing=0)
        outer.setStretch(0, 1)
        self.setLayout(outer)
        self.status_bar.show_snapshot(bridge.snapshot)
        bridge.changed.connect(self._changed)
        self.go(first)
        if bridge.snapshot.status.problem:
            self._ask_about_requests()

    # --- pages ----------------------------------------------------------------

    def page(self, key: str) -> Page:
        made = self.by_key.get(key)
        if made is None:
            made = make_page(key, self.context)
            made.set_narrow(self._narrow)
            self.by_key[key] = made
            self.pages.addWidget(made)
        return made

    def go(self, key: str) -> None:
        if key == "practise":
            self._window.explain_practice(self.bridge.network)
            return
        if key == "shortcuts":
            self._window.show_shortcuts()
            return
        if key == "quit":
            self._window.quit()
            return
        if key == "requests":
            self._asked_about.clear()
            self._ask_about_requests()
            return
        key, _slash, part = key.partition("/")
        page = self.page(key)
        self.current_key = key
        self.navigation.set_current("settings" if key == "recovery" else key)
        self.pages.setCurrentWidget(page)
        self.restored.set_page(key)
        if part:
            page.show_part(part)
        else:
            page.set_first_focus()

    def kept(self) -> dict[str, list[Kept]]:
        """What is typed on the pages, for those that take their place."""
        return {key: keep(page) for key, page in self.by_key.items() if key != "settings"}

    def put_back(self, kept: dict[str, list[Kept]]) -> None:
        """A page a turn of the event loop: all at once would be felt."""
        self._kept = {key: what for key, what in kept.items() if what}
        self._put_back_soon.start(0)

    def _put_back_next(self) -> None:
        if self._kept:
            key = next(iter(self._kept))
            put_back(self.page(key), self._kept.pop(key))
        else:
            self._put_back_soon.stop()

    def search(self) -> None:
        """Puts the keyboard into the page's search field, or into that of Activity."""
        page = self.page(self.current_key)
        field = getattr(page, "search", None)
        if not (isinstance(field, QWidget) and field.isVisible() and field.isEnabled()):
            self.go("activity")
            field = getattr(self.page("activity"), "search", None)
        if isinstance(field, QWidget):
            field.setFocus(Qt.FocusReason.ShortcutFocusReason)

    def show_console(self) -> None:
        from wallet.gui.pages.console import ConsoleDialog

        ConsoleDialog(self, self.context).open()

    def pay(self, text: str) -> None:
        from wallet.gui.pages.send import SendPage

        self.go("send")
        page = self.page("send")
        if isinstance(page, SendPage):
            page.take(text)

    def paste(self) -> None:
        """Send, with what the clipboard holds: a text, a file, or a picture with a code."""
        from wallet.gui.pages.send import SendPage

        self.go("send")
        page = self.page("send")
        if isinstance(page, SendPage):
            page.paste_clipboard()

    def open_channel(self, peer: str = "") -> None:
        from wallet.gui.pages.open_channel import OpenChannelDialog

        # In the practice round the Overview leads on.
        stays = self.current_key == "overview" and self.bridge.api.sandbox() is not None
        OpenChannelDialog(self, self.context, peer, stays=stays).open()

    def show_recovery(self) -> None:
        """After a restore: how far it has come, and what it ends with."""
        from wallet.gui.pages.recovery import RecoveryPage

        page = self.page("recovery")
        if isinstance(page, RecoveryPage):
            page.begin()
        self.go("recovery")

    def show_channel(self, channel_id: str) -> None:
        from wallet.gui.pages.channels import ChannelsPage

        if "channels" not in self.by_key:
            # The page and the channel in one turn of the event loop would be felt.
            self.page("channels")
            self._channel_soon = channel_id
            QTimer.singleShot(0, self._show_channel_soon)
            return
        # First the channel, then its page: the list, which nobody sees then, need not be laid out.
        page = self.page("channels")
        if isinstance(page, ChannelsPage):
            page.show_channel(channel_id)
        self.go("channels")

    def _show_channel_soon(self) -> None:
        self.show_channel(self._channel_soon)

    def show_attempts(self, attempts: Sequence[RouteAttempt]) -> None:
        """The ways that a payment tried, on the map."""
        from wallet.gui.pages.network import NetworkPage

        page = self.page("network")
        if isinstance(page, NetworkPage):
            page.show_attempts(attempts)
        self.go("network")

    def show_item(self, item_id: str) -> None:
        from wallet.gui.pages.item_dialog import open_item

        open_item(self, self.context, item_id)

    def _ask_about_requests(self) -> None:
        """Openings that wait for the user's word; each is asked about once."""

        def done(answer: Any) -> None:
            from wallet.gui.pages.channel_request import ChannelRequestDialog

            for request in answer if isinstance(answer, Sequence) else ():
                key = str(request.get("temporary_channel_id"))
                if key not in self._asked_about:
                    self._asked_about.add(key)
                    ChannelRequestDialog(self, self.context, request).open()

        self.bridge.call("list_channel_requests", done, owner=self)

    def _changed(self, changes: ChangeSet) -> None:
        fiat, fmt.style.fiat = fmt.style.fiat, changes.snapshot.status.fiat
        if fiat != fmt.style.fiat:
            self.context.preferences.amounts_changed.emit()
        self.status_bar.show_snapshot(changes.snapshot)
        self.restored.show_status(changes.snapshot.status)
        if changes.status and changes.snapshot.status.problem:
            self._ask_about_requests()
        for key, page in self.by_key.items():
            if key == self.current_key and page.isVisible():
                page.changed(changes)
            else:
                page.mark_stale()

    def _open_menu(self) -> None:
        made = menu(self)
        for number, place in enumerate(places(), 1):
            add_action(made, place.word, partial(self.go, place.key), place.icon, f"Ctrl+{number}")
        made.addSeparator()
        for action in actions():
            add_action(
                made,
                action.words,
                partial(self._window.act, action.act),
                _ACTION_ICONS[action.act],
                action.keys,
            )
        button = self.navigation.wallet
        made.popup(button.mapToGlobal(button.rect().bottomLeft()))

    def set_narrow(self, narrow: bool) -> None:
        if narrow == self._narrow:
            return
        self._narrow = narrow
        self.navigation.set_narrow(narrow)
        self.restored.set_narrow(narrow)
        for page in self.by_key.values():
            page.set_narrow(narrow)


_ACTION_ICONS = {
    "search": "search",
    "open_channel": "plus",
    "hide": "eye-off",
    "lock": "lock",
    "wallets": "wallet",
    "console": "chevron-right",
    "quit": "close",
    "help": "help",
}


class MainWindow(QMainWindow):
    """Attributes: `shell` while a wallet is open, `bridge` likewise; `asks_before_closing`, on a person's desktop;
    `notify`, what shows a notification; `idle`, what locks the wallet by itself."""

    def __init__(self, host: WalletHost, network: str, preferences: Preferences) -> None:
        super().__init__()
        self.host = host
        self.network = network
        self.preferences = preferences
        self.shell: Shell | None = None
        self.bridge: Bridge | None = None
        self._info: WalletInfo | None = None
        self._behind: Bridge | None = None  # to the wallet that runs behind its lock
        self._strip: NetworkStrip | None = None
        self._coming: tuple[Shell, Shell] | None = None
        self.asks_before_closing = False
        self._may_close = False
        self._link = ""  # waits for a wallet to be open
        self.notify: Send = send_over_dbus
        self.setWindowTitle("Leyden")
        self.setWindowIcon(app_icon())
        self.setMinimumSize(640, 480)
        self.resize(1160, 760)
        geometry = preferences.geometry()
        if not geometry.isEmpty():
            self.restoreGeometry(geometry)
        self._holder = QWidget()
        self._holder.setProperty("ground", "canvas")
        self._holder.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._column = vbox(spacing=0)
        self._holder.setLayout(self._column)
        self.setCentralWidget(self._holder)
        self._content: QWidget | None = None
        theme().changed.connect(self._theme_changed)
        preferences.language_changed.connect(self._language_changed)
        preferences.amounts_changed.connect(self._amounts_changed)
        self.idle = IdleLock(self, preferences, self.lock)
        self._scale = theme().scale_percent
        self._add_shortcuts()

    def _amounts_changed(self) -> None:
        """At once on all that is open: who hides amounts has somebody behind him."""
        for field in self.findChildren(AmountField):
            field.follow_unit()
        for words in self.findChildren(Label):
            words.retell()
        for amount in self.findChildren(AmountLabel):
            amount.retell()

    # --- what is shown ----------------------------------------------------------

    def start(self) -> None:
        """The wizard where there is no wallet, else the unlock page; an only wallet without a password opens
        itself."""
        wallets = list(self.host.wallets(self.network))
        if len(wallets) > 1:
            self.show_wallets()
        elif wallets:
            page = self.show_unlock(wallets[0])
            if len(wallets) == 1 and not wallets[0].encrypted:
                QTimer.singleShot(0, page.open_now)
        else:
            self.show_wizard()

    def _show(self, content: QWidget, network: str) -> None:
        old, strip = self._content, self._strip
        for widget in (old, strip):
            if widget is not None:
                self._column.removeWidget(widget)
                discard(widget)
        self._strip = None
        if fmt.network_word(network):
            self._strip = NetworkStrip(network)
            self._column.addWidget(self._strip)
        self._content = content
        self._column.addWidget(content, 1)
        self._fit()

    def show_wizard(self) -> None:
        from wallet.gui.pages.wizard import Wizard

        wizard = Wizard(self.host, self.network)
        wizard.finished.connect(lambda made: self._created(made, restored=wizard.restored))
        wizard.network_chosen.connect(lambda network: self._retitle(wizard, network))
        self._show(wizard, self.network)
        wizard.set_first_focus()

    def _retitle(self, content: QWidget, network: str) -> None:
        """The wizard has settled on a network: its strip appears or goes."""
        if self._strip is not None:
            self._column.removeWidget(self._strip)
            discard(self._strip)
            self._strip = None
        if fmt.network_word(network):
            self._strip = NetworkStrip(network)
            self._column.insertWidget(0, self._strip)

    def _created(self, made: tuple[WalletInfo, NodeApi], *, restored: bool) -> None:
        info, api = made
        self.show_wallet(info, api)
        if restored and self.shell is not None:
            self.shell.show_recovery()

    def show_unlock(self, info: WalletInfo) -> UnlockPage:
        from wallet.gui.pages.unlock import UnlockPage

        page = UnlockPage(self.host, info, watching=self.host.is_running(info))
        page.tell_of_link(bool(self._link))
        page.unlocked.connect(lambda api: self.show_wallet(info, api))
        if len(all_wallets(self.host)) > 1:
            page.other.setText(_("Other wallets"))
            page.wants_new.connect(self.show_wallets)
        else:
            page.wants_new.connect(self.show_wizard)
        self.setWindowTitle("Leyden")
        self._show(page, info.network)
        page.set_first_focus()
        return page

    def show_wallets(self) -> None:
        """Which wallet: the one that is open runs on until another one is opened."""
        from wallet.gui.pages.wallet_choice import WalletChoice

        self._leave_running()
        reset = self.host.reset_practice if isinstance(self.host, ResetsPractice) else None
        page = WalletChoice(self.host, reset=reset)
        page.chosen.connect(self._open_chosen)
        page.wants_new.connect(self.show_wizard)
        self.setWindowTitle("Leyden")
        self._show(page, "mainnet")
        page.set_first_focus()

    def _open_chosen(self, info: WalletInfo) -> None:
        page = self.show_unlock(info)
        if not info.encrypted:
            page.open_now()

    def take_link(self, link: str) -> None:
        """A `lightning:` or `bitcoin:` link, or a later start's wish to see the window. It is shown on Send once a
        wallet is open, and never paid by itself."""
        if self.isMinimized():
            # As it was before: a window that filled the screen does again.
            self.setWindowState(self.windowState() & ~Qt.WindowState.WindowMinimized)
        self.raise_()
        self.activateWindow()
        if not link:
            return
        self._link = link
        self._show_link()

    def _show_link(self) -> None:
        link, shell = self._link, self.shell
        if link and shell is not None:
            self._link = ""
            shell.pay(link)
        elif (page := self._unlock_page()) is not None:
            page.tell_of_link(bool(link))

    def _unlock_page(self) -> UnlockPage | None:
        from wallet.gui.pages.unlock import UnlockPage

        return self._content if isinstance(self._content, UnlockPage) else None

    def show_wallet(self, info: WalletInfo, api: NodeApi) -> None:
        self._forget_wallet()
        self._info = info
        self.network = info.network
        self.bridge = Bridge(api)
        fmt.style.fiat = self.bridge.snapshot.status.fiat
        fmt.own_names.clear()
        sandbox = api.sandbox()
        if sandbox is not None:
            fmt.own_names[sandbox.hub_uri().split("@", 1)[0]] = _("Friendly hub")
        self.shell = Shell(self.bridge, self.preferences, self)
        read_node_names(self.shell.context)
        self._notify_of(self.bridge)
        self._show(self.shell, info.network)
        self._offer_practice()
        self.setWindowTitle(fmt.window_title(f"{info.name}, Leyden"))
        self._show_link()

    def _notify_of(self, bridge: Bridge, *, locked: bool = False) -> None:
        def send(title: str, text: str) -> None:
            self.notify(title, text)

        Notifier(bridge, self.preferences, self._in_front, send, locked=locked)

    def _in_front(self) -> bool:
        return self.isActiveWindow() and not self.isMinimized()

    def _offer_practice(self) -> None:
        shell = self.shell
        if self._strip is None or shell is None or shell.bridge.api.sandbox() is None:
            return

        def fill(button: QWidget) -> None:
            from wallet.gui.pages.practice import fill_menu

            made = menu(button)
            fill_menu(made, shell.context, shell)
            made.popup(button.mapToGlobal(button.rect().bottomLeft()))

        self._strip.offer_tools(fill)

    def lock(self) -> None:
        """Hides the wallet behind its password; the node behind it goes on watching the chain."""
        info = self._info
        if info is None or self.shell is None:
            return
        self._leave_running()
        # It may have been given a password since it was opened.
        known = (one for one in self.host.wallets(info.network) if one.name == info.name)
        self.show_unlock(next(known, info))

    def _leave_running(self) -> None:
        """The wallet is shown no more, and goes on behind the lock: its news are told, and closing asks as ever."""
        bridge = self.bridge
        if bridge is None:
            return
        self._forget_wallet()
        self._behind = Bridge(bridge.api)
        self._notify_of(self._behind, locked=True)

    def _forget_wallet(self) -> None:
        for bridge in (self.bridge, self._behind):
            if bridge is not None:
                bridge.stop()
        self.bridge = self._behind = None
        self.shell = None

    def explain_practice(self, network: str) -> None:
        from wallet.gui.widgets.dialog import Dialog

        dialog = Dialog(self, _("Practise with play money"), network=network, width=460)
        sentence = _(
            "The practice wallet is kept apart from this one, with a network of its own inside Leyden. While you "
            "practise, this wallet is closed: nothing is lost, and its channels are watched again when you come back."
        )
        dialog.body.addWidget(Label(sentence, "body", wrap=True))
        dialog.add_cancel(_("Stay here"))

        def practise() -> None:
            dialog.accept()
            self.practise()

        dialog.add_button(_("Practise"), "filled", practise, "sandbox")
        dialog.open()

    def practise(self) -> None:
        """The practice wallet that is there, or a new one."""
        from wallet.gui.pages.wizard import Wizard

        self._leave_running()
        self.network = "mainnet"
        self.show_wizard()
        wizard = self._content
        if isinstance(wizard, Wizard):
            wizard.choose("sandbox")

    # --- the window -------------------------------------------------------------

    def _add_shortcuts(self) -> None:
        for number, place in enumerate(places(), 1):
            self._bind(f"Ctrl+{number}", partial(self._go, place.key))
        # A field that has the keyboard takes what is pasted itself; elsewhere it goes to Send.
        self._bind("Ctrl+V", self._paste)
        for action in actions():
            self._bind(action.keys, partial(self.act, action.act))

    def _bind(self, keys: str, act: Callable[[], object]) -> None:
        shortcut = QShortcut(QKeySequence(keys), self)
        shortcut.activated.connect(act)

    def _paste(self) -> None:
        if self.shell is not None:
            self.shell.paste()

    def _go(self, key: str) -> None:
        if self.shell is not None:
            self.shell.go(key)

    def act(self, name: str) -> None:
        """What a shortcut of `wallet.gui.shortcuts`, or its line in the menu, stands for."""
        match name:
            case "help":
                self.show_shortcuts()
            case "hide":
                self.preferences.choose_hidden(not fmt.style.hidden)
            case "lock":
                self.lock()
            case "wallets":
                self.show_wallets()
            case "quit":
                self.quit()
            case _ if self.shell is None:
                pass
            case "search":
                self.shell.search()
            case "open_channel":
                self.shell.open_channel("")
            case "console":
                self.shell.show_console()

    def show_shortcuts(self) -> None:
        from wallet.gui.shortcuts import ShortcutsDialog

        pages = [(f"Ctrl+{number}", place.word) for number, place in enumerate(places(), 1)]
        ShortcutsDialog(self, pages).open()

    def quit(self) -> None:
        """The person wants to quit: the question comes only where it was not answered for good."""
        from wallet.gui.closing import CloseQuestion, is_due

        bridge = self._running()
        if self.preferences.closing == "stay":
            if self.asks_before_closing and bridge is not None and is_due(bridge.snapshot):
                CloseQuestion(self, bridge.snapshot, self._chosen).open()
                return
            self._may_close = True
        self.close()

    def _theme_changed(self) -> None:
        # Text size changes every layout: the pages are made anew; colours alone repaint by themselves.
        if theme().scale_percent == self._scale:
            return
        self._scale = theme().scale_percent
        self._make_anew()

    def _language_changed(self) -> None:
        # At the loop's next turn: finding the words took a while already.
        QTimer.singleShot(0, self._make_anew)
        if self.bridge is not None:
            # What the node says is in its snapshot, in the words of before.
            code = current_language()
            self.bridge.call("set_language", lambda _answer: None, lambda _sentence: None, language=code)

    def _make_anew(self) -> None:
        """The pages in the language and size that are on now, with what was typed on them."""
        if self.bridge is None or self._info is None or self.shell is None:
            return
        old = self.shell
        made = Shell(self.bridge, self.preferences, self, old.current_key)
        self._coming = old, made
        # At the loop's next turn: all at once would be felt.
        QTimer.singleShot(0, self._put_in_place)

    def _put_in_place(self) -> None:
        if self._coming is None or self._info is None:
            return
        (old, made), self._coming = self._coming, None
        if self.shell is not old:
            # The wallet was closed, or locked, meanwhile.
            discard(made)
            return
        kept = old.kept()
        self.shell = made
        self._show(made, self._info.network)
        self._offer_practice()
        made.put_back(kept)

    def _fit(self) -> None:
        if self.shell is not None:
            self.shell.set_narrow(self.width() < theme().px(NARROW_BELOW))

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        super().resizeEvent(event)
        self._fit()

    def focusNextPrevChild(self, next: bool) -> bool:
        return step_on(self, forward=next) or super().focusNextPrevChild(next)

    def showEvent(self, event: QShowEvent | None) -> None:
        super().showEvent(event)
        focus_watcher().watch(self)

    def _stays_open(self) -> bool:
        """Whether closing the window is not yet, or not at all, the end."""
        from wallet.gui.closing import CloseQuestion, is_due

        app = QGuiApplication.instance()
        ending = isinstance(app, QGuiApplication) and app.isSavingSession()
        bridge = self._running()
        if not self.asks_before_closing or self._may_close or ending or bridge is None:
            return False
        match self.preferences.closing:
            case "quit" if not is_due(bridge.snapshot):
                return False
            case "stay":
                self.showMinimized()
            case _:
                CloseQuestion(self, bridge.snapshot, self._chosen).open()
        return True

    def _running(self) -> Bridge | None:
        """To the wallet that runs, be it behind its lock; one whose file cannot be written watches nothing any more."""
        bridge = self.bridge
        if bridge is None and self._info is not None and self.host.is_running(self._info):
            bridge = self._behind
        if bridge is None or any(one.kind is ProblemKind.FILE for one in bridge.snapshot.status.problems):
            return None
        return bridge

    def _chosen(self, choice: str, always: bool) -> None:
        if always:
            self.preferences.choose_closing(choice)
        if choice == "stay":
            self.showMinimized()
        else:
            self._may_close = True
            self.close()

    def closeEvent(self, event: QCloseEvent | None) -> None:
        if event is not None and self._stays_open():
            event.ignore()
            return
        self.preferences.set_geometry(self.saveGeometry())
        self._forget_wallet()
        super().closeEvent(event)
