"""Settings: how it looks and speaks, amounts, servers, safety, backup, what happens at login and at closing, help."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from PyQt6.QtCore import QTimer
from PyQt6.QtGui import QHideEvent, QShowEvent
from PyQt6.QtWidgets import QScrollArea, QWidget

from wallet.gui import autostart, languages
from wallet.gui import format as fmt
from wallet.gui.context import Context
from wallet.gui.idle import CHOICES_MINUTES
from wallet.gui.pages.base import Page, left_column
from wallet.gui.pages.settings_backup import BackupSection, PasswordDialog
from wallet.gui.pages.settings_graph import GraphSection
from wallet.gui.pages.settings_rows import row, section
from wallet.gui.pages.settings_servers import ServersSection
from wallet.gui.theme import SCALES, theme
from wallet.gui.tokens import SETTINGS_WIDTH
from wallet.gui.widgets.basic import Button, Flow, Label, add_action, menu, vbox
from wallet.gui.widgets.checks import CheckBox
from wallet.gui.widgets.fields import Segments
from wallet.gui.widgets.ids import CopyId
from wallet.gui.widgets.notices import Banner, Facts
from wallet.gui.widgets.why import tell_why
from wallet.i18n import _

__all__ = ["SettingsPage"]


def _tick(name: str, on: bool) -> CheckBox:
    box = CheckBox(_("On"))
    box.setAccessibleName(name)
    box.setChecked(on)
    return box


class SettingsPage(Page):
    """Attributes: `scheme`, `text_size`, `language`, `motion`, `unit`, `hidden`, `lock`, `closing`, `login`,
    `notifies`: the controls; `servers`, `graph`, `backup`: the sections of these names, all there when `is_whole`;
    `jumps`: the buttons that lead to sections."""

    def __init__(self, context: Context) -> None:
        super().__init__(context, _("Settings"))
        self._facts_key: tuple[str, ...] = ()
        self._failed = Banner("", "danger")
        parts: list[tuple[str, Callable[[], QWidget]]] = [
            (_("Look"), self._look),
            (_("Amounts"), self._amounts),
            (_("Servers and Tor"), self._servers),
            (_("The public network"), self._public_network),
            (_("Safety"), self._safety),
            (_("Backup"), self._backup),
            (_("Start and end"), self._start_and_end),
            (_("Wallet"), self._this_wallet),
            (_("Help"), self._help),
        ]
        makes = [make for _title, make in parts]
        self._places = {"servers": makes.index(self._servers), "backup": makes.index(self._backup)}
        self.jumps = [
            Button(
                title,
                "chip",
                name=_("To the section {name}").format(name=title),
                on_click=partial(self._jump, i),
            )
            for i, (title, _make) in enumerate(parts)
        ]
        holder = QWidget()
        holder.setMaximumWidth(theme().px(SETTINGS_WIDTH))
        jumps = QWidget()
        jumps.setLayout(Flow(*self.jumps))
        self._sections = vbox(jumps, self._failed, spacing=24)
        holder.setLayout(self._sections)
        self.body.addLayout(left_column(holder))
        self.body.addStretch(1)
        # A section a turn of the event loop, while it is shown: all at once would be felt.
        self._parts: list[QWidget] = []
        self._drawn: list[Callable[[], None]] = []
        self._to_make = deque(makes)
        self._wanted_place: int | None = None
        self._turn = QTimer(self)
        self._turn.timeout.connect(self._make_next)
        self._make_next()

    def showEvent(self, event: QShowEvent | None) -> None:
        super().showEvent(event)
        self._turn.start(0)

    def hideEvent(self, event: QHideEvent | None) -> None:
        super().hideEvent(event)
        self._turn.stop()

    def _make_next(self) -> None:
        if self.is_whole:
            self._turn.stop()
            if self._wanted_place is not None:
                self._jump(self._wanted_place)
            return
        drawn = len(self._drawn)
        part = self._to_make.popleft()()
        self._parts.append(part)
        self._sections.addWidget(part)
        for draw in self._drawn[drawn:]:
            draw()

    @property
    def is_whole(self) -> bool:
        return not self._to_make

    # --- sections ------------------------------------------------------------------------

    def _look(self) -> QWidget:
        preferences, look = self.context.preferences, theme()
        self.scheme = Segments(
            _("Colours"), [("system", _("System")), ("light", _("Light")), ("dark", _("Dark"))], look.choice
        )
        self.scheme.chosen.connect(preferences.choose_theme)
        self.text_size = Segments(
            _("Text size"), [(str(n), f"{n} %") for n in SCALES], str(look.scale_percent)
        )
        self.text_size.chosen.connect(lambda key: preferences.choose_text_size(int(key)))
        known = [(languages.SYSTEM, _("System")), *languages.choices()]
        self.language = Segments(_("Language"), known, preferences.language)
        self.language.chosen.connect(preferences.choose_language)
        self.motion = _tick(_("Motion"), look.motion)
        self.motion.toggled.connect(preferences.choose_motion)
        return section(
            _("Look"),
            row(_("Colours"), _("As your desktop says, or always the same."), self.scheme),
            row(_("Text size"), _("Everything grows with it."), self.text_size),
            row(_("Language"), _("What you have typed stays."), self.language),
            row(_("Motion"), _("Short movements that show what changed."), self.motion),
        )

    def _amounts(self) -> QWidget:
        preferences = self.context.preferences
        self.unit = Segments(_("Unit"), [(unit, unit) for unit in fmt.UNITS], fmt.style.unit)
        self.unit.chosen.connect(preferences.choose_unit)
        self.hidden = _tick(_("Hide amounts"), fmt.style.hidden)
        self.hidden.setText(_("Hidden"))
        self.hidden.toggled.connect(preferences.choose_hidden)
        preferences.amounts_changed.connect(self._amounts_changed)
        self._drawn.append(self._draw_fiat)
        self.fiat = Button(_("Off"), "outlined", "chevron-down", on_click=self._open_currencies)
        self._fiat_text = Label("", "caption", "text2", wrap=True)
        one = _("One bitcoin is {sat} sat, and one bit is 100 sat.").format(sat=fmt.group(100_000_000))
        dots = _("Hidden ones show six dots. Ctrl+H hides and shows them on every page.")
        return section(
            _("Amounts"),
            row(_("Unit"), one, self.unit),
            row(_("Amounts on the screen"), dots, self.hidden),
            row(_("Your money beside amounts"), self._fiat_text, self.fiat),
        )

    def _servers(self) -> QWidget:
        self.servers = ServersSection(self.context)
        self._drawn.append(self.servers.refresh)
        return self.servers

    def _public_network(self) -> QWidget:
        self.graph = GraphSection(self.context)
        self._drawn.append(self.graph.refresh)
        return self.graph

    def _backup(self) -> QWidget:
        self.backup = BackupSection(self.context)
        self._drawn.append(self.backup.refresh)
        return self.backup

    def _this_wallet(self) -> QWidget:
        self._wallet = Facts(label_width=132)
        self._drawn.append(self._draw_wallet)
        return section(_("Wallet"), self._wallet)

    def _safety(self) -> QWidget:
        preferences = self.context.preferences
        choices = [(str(n), _("{n} min").format(n=n) if n else _("Never")) for n in CHOICES_MINUTES]
        minutes = preferences.lock_minutes
        current = minutes if minutes in CHOICES_MINUTES else 0
        self.lock = Segments(_("Lock by itself"), choices, str(current))
        self.lock.chosen.connect(lambda key: preferences.choose_lock_minutes(int(key)))
        self.password_button = Button(
            _("Change the password"), "outlined", "key", on_click=self._change_password
        )
        after = _(
            "After this long without a key or a movement. Channels are watched behind the lock as well."
        )
        password = _("It opens the wallet on this computer. Copies that you made earlier keep the old one.")
        return section(
            _("Safety"),
            row(_("Lock by itself"), after, self.lock),
            row(_("Password"), password, self.password_button),
        )

    def _start_and_end(self) -> QWidget:
        preferences = self.context.preferences
        self.closing = Segments(
            _("Closing the window"),
            [("ask", _("Asks")), ("quit", _("Quits")), ("stay", _("Lets it run"))],
            preferences.closing,
        )
        self.closing.chosen.connect(preferences.choose_closing)
        self.login = _tick(_("Start at login"), autostart.is_possible() and autostart.is_on())
        self.login.toggled.connect(self._set_login)
        self.notifies = _tick(_("Notifications"), preferences.notifies)
        self.notifies.toggled.connect(preferences.choose_notifies)
        at_login = (
            _("Leyden watches your channels from the moment you log in.")
            if autostart.is_possible()
            else _("This desktop has its own settings for what starts at login: add Leyden there.")
        )
        tell_why(self.login, "" if autostart.is_possible() else at_login)
        news = _("Of payments that come in and channels that close, while the window is not in front.")
        return section(
            _("Start and end"),
            row(_("Start at login"), at_login, self.login),
            row(_("Closing the window"), _("It says until when it is safe to be away."), self.closing),
            row(_("Notifications"), news, self.notifies),
        )

    def _help(self) -> QWidget:
        self.console_button = Button(_("Open the console"), "outlined", on_click=self._open_console)
        self.log_button = Button(_("Show the log"), "outlined", on_click=self._open_log)
        self.keys_button = Button(_("Show them"), "outlined", on_click=self._open_shortcuts)
        self.about_button = Button(_("About and licences"), "outlined", on_click=self._open_about)
        return section(
            _("Help"),
            row(_("Shortcuts"), _("F1 lists them on every page."), self.keys_button),
            row(_("Log for support"), _("Without keys, addresses or amounts."), self.log_button),
            row(_("Console"), _("The commands of the command line, typed here."), self.console_button),
            row(_("Leyden"), _("Free software, and what it is made of."), self.about_button),
        )

    # --- what stands ---------------------------------------------------------------------

    def refresh(self) -> None:
        for draw in self._drawn:
            draw()

    def _draw_wallet(self) -> None:
        status = self.context.snapshot.status
        facts: list[tuple[str, QWidget | str]] = [
            (_("Name"), fmt.foreign(status.wallet_name, 60)),
            (_("Network"), fmt.network_word(status.network) or _("Bitcoin, real money")),
        ]
        if status.node_id:
            facts.append((_("Node id"), CopyId(_("Node id"), status.node_id)))
        if status.backup_text:
            facts.append((_("Backup"), fmt.plain(status.backup_text, 200)))
        if (key := facts_key(facts)) != self._facts_key:
            self._facts_key = key
            self._wallet.show_facts(facts)

    def _draw_fiat(self) -> None:
        view = self.context.snapshot.status.fiat
        self.fiat.setText(_("Off") if view is None else view.currency)
        name = _("Your money beside amounts")
        self.fiat.setAccessibleName(f"{name}: {self.fiat.text()}")
        play = "" if self.context.network == "mainnet" else _("Play money has no price.")
        tell_why(self.fiat, play)
        if play:
            text = play
        elif view is None:
            text = _("Off until you choose a currency: the rate is asked for on the web, through the proxy.")
        elif view.at:
            text = _("1 BTC is {worth}, says {source}, {ago}.").format(
                worth=fmt.worth(view.rate_hundredths, view.currency), source=view.source, ago=fmt.ago(view.at)
            )
        else:
            text = _("Asking {source} for the rate…").format(source=view.source)
        if view is not None and view.problem:
            text = f"{text} {fmt.plain(view.problem, 200)}"
        self._fiat_text.setText(text)
        self.fiat.setAccessibleDescription(text)

    def _open_currencies(self) -> None:
        self.context.bridge.call("fiat_rates", self._offer_currencies, self._failed.say, owner=self)

    def _offer_currencies(self, answer: Any) -> None:
        known = answer.get("known") if isinstance(answer, Mapping) else None
        made = menu(self.fiat)
        add_action(made, _("Off"), partial(self.choose_fiat, ""))
        for currency in known if isinstance(known, Sequence) else ():
            add_action(made, str(currency), partial(self.choose_fiat, str(currency)))
        made.popup(self.fiat.mapToGlobal(self.fiat.rect().bottomLeft()))

    def choose_fiat(self, currency: str) -> None:
        """Shows what amounts are worth in this currency; in none, when it is empty."""
        self._failed.say("")
        self.context.bridge.call(
            "set_fiat", lambda _answer: None, self._failed.say, owner=self, currency=currency
        )

    def _amounts_changed(self) -> None:
        self.hidden.setChecked(fmt.style.hidden)
        self.unit.choose(fmt.style.unit)

    # --- what can be done ----------------------------------------------------------------

    def _change_password(self) -> None:
        PasswordDialog(self, self.context).open()

    def show_part(self, name: str) -> None:
        """`name`: "servers" or "backup"."""
        self._jump(self._places[name])

    def _jump(self, place: int) -> None:
        """To a section; once all of them are there, where they are not yet."""
        if not self.is_whole:
            self._wanted_place = place
            return
        self._wanted_place = None
        part = self._parts[place]
        for area in self.findChildren(QScrollArea)[:1]:
            bar, inside = area.verticalScrollBar(), area.widget()
            if bar is not None and inside is not None:
                if (lines := inside.layout()) is not None:
                    lines.activate()
                bar.setValue(part.mapTo(inside, part.rect().topLeft()).y())
        first = next(
            (w for w in part.findChildren(QWidget) if w.isVisible() and w.focusPolicy().value & 1), None
        )
        if first is not None:
            first.setFocus()

    def _set_login(self, on: bool) -> None:
        self._failed.say("")
        try:
            autostart.set_on(on, self.context.network)
        except OSError as error:
            self._failed.say(
                _("{path} cannot be written: {why}.").format(
                    path=fmt.plain(str(autostart.entry_file()), 200), why=error.strerror or error
                )
            )

    def _open_console(self) -> None:
        from wallet.gui.pages.console import ConsoleDialog

        ConsoleDialog(self, self.context).open()

    def _open_log(self) -> None:
        from wallet.gui.pages.logs import LogDialog

        LogDialog(self).open()

    def _open_shortcuts(self) -> None:
        self.context.go("shortcuts")

    def _open_about(self) -> None:
        from wallet.gui.pages.about import AboutDialog

        AboutDialog(self, self.context).open()


def facts_key(facts: list[tuple[str, QWidget | str]]) -> tuple[str, ...]:
    """What the facts say, so that they are drawn anew only when that changed."""
    return tuple(
        f"{name}: {value if isinstance(value, str) else value.accessibleName()}" for name, value in facts
    )
