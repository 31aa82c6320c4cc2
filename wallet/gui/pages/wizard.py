"""The first run: one question at a time, until a wallet is open.

The way is: play money or real bitcoin; a new wallet or words that exist; the words, shown and then checked
(or typed in, then the channel backup, and whether the old installation still runs); a password. Practising
skips what has no meaning with play money: the words are made and kept, and can be shown later; nothing is
asked but the password.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from PyQt6.QtCore import Qt, pyqtSignal
from PyQt6.QtGui import QResizeEvent
from PyQt6.QtWidgets import QGridLayout, QStackedWidget, QWidget

from wallet.gui import format as fmt
from wallet.gui.bridge import run
from wallet.gui.pages.base import scroller
from wallet.gui.pages.wizard_restore import BackupChoice, OldInstallationChoice
from wallet.gui.pages.wizard_words import RestoreGrid, WordGrid
from wallet.gui.theme import theme
from wallet.gui.tokens import S2, S3, S4, S6, S8
from wallet.gui.widgets.basic import (
    Button,
    Card,
    ClickCard,
    Flow,
    JarLabel,
    Label,
    add_action,
    discard,
    hbox,
    menu,
    prose,
    vbox,
)
from wallet.gui.widgets.beside import Beside
from wallet.gui.widgets.fields import LEAST_PASSWORD, Field, PasswordEdit, Segments, WordEdit
from wallet.gui.widgets.notices import Banner
from wallet.gui.widgets.why import tell_why
from wallet.i18n import _
from wallet.node.api import NodeApi, WalletHost, WalletInfo, WordsReport

__all__ = ["Wizard"]

WIDTH = 560
CHECKED_WORDS = 3
TEST_NETWORKS = ("testnet4", "signet", "regtest")


class Step(QWidget):
    """One question: a title, what it is about, its content, and the buttons: go on at the left, back beside
    it."""

    def __init__(self, title: str, sentence: str = "", *, width: int = WIDTH) -> None:
        super().__init__()
        self.setMaximumWidth(theme().px(width))
        self.body = vbox(spacing=S4)
        self.title = Label(title, "title")
        # In a second line where one is too short for them.
        self.buttons = Flow(spacing=S2)
        self.reason = Label("", "caption", "text2", wrap=True)
        self.banner = Banner("", "danger")
        box = vbox(self.title, spacing=S3)
        if sentence:
            box.addWidget(prose(sentence, width, tone="text2"))
        box.addSpacing(theme().px(S2))
        box.addLayout(self.body)
        box.addWidget(self.banner)
        box.addSpacing(theme().px(S2))
        box.addLayout(Beside(self.buttons, self.reason, least=120, grows=1, spacing=S3))
        self.setLayout(box)

    def add(self, text: str, kind: str, act: Callable[[], object], icon: str | None = None) -> Button:
        button = Button(text, kind, icon, main=True, on_click=act)
        self.buttons.addWidget(button)
        return button


class Wizard(QWidget):
    """Signals: `finished((WalletInfo, NodeApi))`, `network_chosen(str)`. Attribute: `restored`, whether the wallet was
    made of words that existed."""

    finished = pyqtSignal(object)
    network_chosen = pyqtSignal(str)

    def __init__(self, host: WalletHost, network: str) -> None:
        super().__init__()
        self._host = host
        self.network = network
        self._words: list[str] = []
        self.restored = False
        self._backup: Path | None = None
        self._old_one_stopped = False
        self.stack = QStackedWidget()
        inside = QWidget()
        box = vbox(spacing=0, margins=(S6, S8, S6, S8))
        box.addStretch(2)
        # Centred by stretches: an aligned widget is not asked for the height that its width needs.
        box.addLayout(hbox("stretch", self.stack, "stretch", spacing=0))
        box.addStretch(3)
        inside.setLayout(box)
        self.setLayout(vbox(scroller(inside), spacing=0))
        self._fit()
        self._welcomed = network == "mainnet"
        if self._welcomed:
            self._welcome()
        else:
            self._start()

    def _fit(self) -> None:
        """As wide as its questions are, or as the window leaves them."""
        around = theme().px(2 * S6 + S3)
        self.stack.setFixedWidth(max(theme().px(320), min(theme().px(WIDTH), self.width() - around)))

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        super().resizeEvent(event)
        self._fit()

    @property
    def step(self) -> QWidget:
        """The question that is shown."""
        return self.stack.currentWidget() or self.stack

    def set_first_focus(self) -> None:
        first = self.step.findChild(Button)
        if first is not None:
            first.setFocus(Qt.FocusReason.OtherFocusReason)

    def _show(self, step: QWidget, focus: QWidget | None = None) -> None:
        old = self.stack.currentWidget()
        self.stack.addWidget(step)
        self.stack.setCurrentWidget(step)
        if old is not None:
            self.stack.removeWidget(old)
            discard(old)
        if focus is not None:
            focus.setFocus(Qt.FocusReason.OtherFocusReason)

    # --- which money --------------------------------------------------------------

    def _welcome(self) -> None:
        step = QWidget()
        centre = Qt.AlignmentFlag.AlignHCenter
        box = vbox(spacing=S3)
        box.addWidget(JarLabel(72), 0, centre)
        box.addWidget(Label(_("Welcome to Leyden"), "amount", align=centre), 0, centre)
        text = _(
            "Leyden keeps bitcoin on this computer, and pays in a second over Lightning. The keys are yours alone: "
            "twelve words that you write down. No company stands between you and your money."
        )
        box.addWidget(prose(text, 480, "lead", "text2", align=centre), 0, centre)
        box.addSpacing(theme().px(S4))
        self.practise = Button(
            _("Practise with play money"),
            "filled",
            "sandbox",
            main=True,
            on_click=partial(self.choose, "sandbox"),
        )
        self.real = Button(
            _("Use real bitcoin"), "outlined", "wallet", main=True, on_click=partial(self.choose, "mainnet")
        )
        self.more = Button(_("More"), "text", "chevron-down", on_click=self._open_more)
        for button in (self.practise, self.real):
            button.setMinimumWidth(theme().px(280))
            box.addWidget(button, 0, centre)
        box.addWidget(self.more, 0, centre)
        step.setLayout(box)
        self._show(step, self.practise)

    def _open_more(self) -> None:
        made = menu(self)
        for network in TEST_NETWORKS:
            add_action(made, fmt.network_word(network), partial(self.choose, network))
        made.popup(self.more.mapToGlobal(self.more.rect().bottomLeft()))

    def choose(self, network: str) -> None:
        """Settles on a network: its wallet is opened where there is one, else one is made."""
        self.network = network
        self.network_chosen.emit(network)
        existing = list(self._host.wallets(network))
        if existing:
            self._open_existing(existing[0])
        else:
            self._start()

    def _to_welcome(self) -> None:
        self.network = "mainnet"
        self.network_chosen.emit("mainnet")
        self._welcome()

    def _open_existing(self, info: WalletInfo) -> None:
        from wallet.gui.pages.unlock import UnlockPage

        self.restored = False
        page = UnlockPage(self._host, info, watching=False)
        page.unlocked.connect(lambda api: self.finished.emit((info, api)))
        page.wants_new.connect(self._start)
        self._show(page)
        page.set_first_focus()

    # --- new or restored ------------------------------------------------------------

    def _start(self) -> None:
        if self.network == "sandbox":
            sentence = _("A wallet with play money, and a small network inside Leyden to use it in.")
        else:
            sentence = _(
                "A new wallet gets new words. If you have words already, they bring your coins back."
            )
        step = Step(_("Your wallet"), sentence)
        if self.network == "sandbox":
            # Who practises is led by the one filled button from here to the first payment.
            first = step.add(_("Create a new wallet"), "filled", self._new_words, "plus")
            step.add(_("Restore from words"), "outlined", self._restore, "words")
            if self._welcomed:
                step.add(_("Back"), "text", self._to_welcome, "back")
            self._show(step, first)
            return
        step.body.addLayout(
            hbox(
                ClickCard(
                    "plus",
                    _("Create a new wallet"),
                    _("With words of its own, made on this computer."),
                    self._new_words,
                ),
                ClickCard(
                    "words",
                    _("Restore from words"),
                    _("12 or 24 words, of Leyden or of another wallet."),
                    self._restore,
                ),
                spacing=S4,
            )
        )
        if self._welcomed:
            step.add(_("Back"), "outlined", self._to_welcome, "back")
        self._show(step, step.findChild(ClickCard))

    def _new_words(self) -> None:
        self.restored = False
        self._words = list(self._host.new_words(12))
        if self.network == "sandbox":
            self._password(self._start)
        else:
            self._show_words()

    def _show_words(self) -> None:
        step = Step(
            _("Write these words down"),
            _(
                "Whoever has them has the money, and without them it is gone when this computer is. Write them on "
                "paper, in this order. Leyden never asks for them on a website or by mail."
            ),
        )
        step.body.addWidget(Card(vbox(WordGrid(self._words))))
        note = _(
            "These words alone bring back your coins on chain. What you hold in channels needs the channel backup as "
            "well: a file that Leyden writes anew at each change, and of which peers keep a copy where they can. With "
            "both, the peers close those channels, and Leyden tells you by which date the money is back."
        )
        step.body.addWidget(Banner(note, "info"))
        go = step.add(_("I have written them down"), "filled", self._check_words)
        step.add(_("Back"), "outlined", self._start)
        self._show(step, go)

    def _check_words(self) -> None:
        step = Step(_("Check your words"), _("Type these three, from the paper."))
        places = sorted(secrets.SystemRandom().sample(range(len(self._words)), CHECKED_WORDS))
        edits = [WordEdit(place + 1, self._host.complete_word) for place in places]
        grid = QGridLayout()
        grid.setHorizontalSpacing(theme().px(S3))
        for column, (place, edit) in enumerate(zip(places, edits, strict=True)):
            grid.addWidget(Field(_("Word {n}").format(n=place + 1), edit), 0, column)
        step.body.addLayout(grid)

        def check() -> None:
            wrong = [p + 1 for p, e in zip(places, edits, strict=True) if e.word() != self._words[p]]
            if wrong:
                numbers = ", ".join(map(str, wrong))
                step.banner.say(
                    _("Not what you were shown: word {numbers}. Look again.").format(numbers=numbers)
                )
                return
            self._password(self._show_words)

        go = step.add(_("Go on"), "filled", check)
        step.add(_("See the words again"), "outlined", self._show_words)

        def typed() -> None:
            missing = [edit for edit in edits if not edit.word()]
            tell_why(go, _("Type all three first.") if missing else "", step.reason)

        for edit in edits:
            edit.textChanged.connect(lambda _text: typed())
            edit.returnPressed.connect(lambda: check() if go.isEnabled() else None)
        typed()
        self._show(step, edits[0])

    # --- restoring --------------------------------------------------------------------

    def _restore(self, words: Sequence[str] = ()) -> None:
        """`words`: those that were typed before, for who comes back."""
        self.restored = True
        step = Step(
            _("Type your words"), _("In their order. Paste works too: all of them go into their places.")
        )
        count = Segments(_("How many words"), [("12", _("12 words")), ("24", _("24 words"))], "12")
        grid = RestoreGrid(self._host.complete_word)
        told = Banner("", "info")
        step.body.addWidget(count)
        step.body.addWidget(grid)
        step.body.addWidget(told)
        go = step.add(_("Go on"), "filled", lambda: self._take_words(grid.words(), step))
        step.add(_("Back"), "outlined", self._start)

        def check() -> None:
            words = grid.words()
            filled = sum(bool(word) for word in words)
            report: WordsReport | None = None
            if filled == len(words):
                report = self._host.check_words(words)
                grid.mark(report.wrong_words)
                told.say(fmt.plain(report.message, 400), _words_tone(report))
            else:
                grid.mark(())
                told.say("")
            left = len(words) - filled
            missing = _("{n} words are missing.").format(n=left) if left else ""
            unusable = "" if report is None or report.usable else told.text()
            tell_why(go, missing or unusable)
            step.reason.setText(missing)

        count.chosen.connect(lambda key: grid.set_count(int(key)))
        grid.count_changed.connect(lambda n: count.choose(str(n)))
        grid.changed.connect(check)
        if words:
            grid.fill(words)
        check()
        self._show(step, grid.edits[0])

    def _take_words(self, words: Sequence[str], step: Step) -> None:
        report = self._host.check_words(words)
        if not report.usable:
            step.banner.say(fmt.plain(report.message, 400))
            return
        self._words = list(words)
        self._ask_backup()

    def _ask_backup(self) -> None:
        self._backup = None
        step = Step(
            _("The channel backup"),
            _(
                "It brings back the coins of channels that were open. It is called channels.backup beside the old "
                "wallet file; or it lies in the second folder that you had named, or where you saved a copy."
            ),
        )

        def update() -> None:
            missing = "" if choice.file is not None else _("Choose the file first, or go on without.")
            tell_why(go, missing, step.reason)

        def take() -> None:
            self._backup = choice.file
            self._ask_old_one()

        def without() -> None:
            self._backup = None
            self._ask_old_one()

        choice = BackupChoice(self._host, self.network, self._words, update)
        step.body.addWidget(choice)
        note = _(
            "Without it, the words bring back coins on chain, and what peers pay out of channels that they close. A "
            "peer that kept a copy for you gives it back once you connect to it."
        )
        step.body.addWidget(prose(note, WIDTH, "caption", "text2"))
        go = step.add(_("Go on"), "filled", take)
        step.add(_("Back"), "outlined", lambda: self._restore(self._words))
        step.add(_("I have none"), "text", without)
        update()
        self._show(step, choice.choose)

    def _ask_old_one(self) -> None:
        step = Step(
            _("Does the old installation still run?"),
            _(
                "On an old computer, in another folder, or as a copy. Two copies of a wallet that talk to the same "
                "peers get each other's channels closed, and money can be lost."
            ),
        )

        def answered(stopped: bool) -> None:
            self._old_one_stopped = stopped
            self._password(self._ask_old_one)

        choice = OldInstallationChoice(answered)
        step.body.addWidget(choice)
        step.add(_("Back"), "outlined", self._ask_backup)
        self._show(step, choice.stopped)

    # --- the password -----------------------------------------------------------------

    def _password(self, back: Callable[[], None]) -> None:
        play = self.network != "mainnet"
        step = Step(
            _("Choose a password"),
            _(
                "It locks the wallet on this computer. It cannot be recovered; the words can make the wallet anew."
            ),
        )
        first = PasswordEdit(_("Password"))
        second = PasswordEdit(_("Password again"))
        first_row = Field(_("Password"), first, _("At least {n} characters").format(n=LEAST_PASSWORD))
        second_row = Field(_("Password again"), second)
        step.body.addWidget(first_row)
        step.body.addWidget(second_row)

        def create() -> None:
            if go.isEnabled():
                self._create(first.text(), step, go)

        go = step.add(_("Restore wallet") if self.restored else _("Create wallet"), "filled", create)
        step.add(_("Back"), "outlined", back)
        if play:
            step.add(_("Without a password"), "text", lambda: self._create("", step, go))

        def typed() -> None:
            short, differs = len(first.text()) < LEAST_PASSWORD, first.text() != second.text()
            if short:
                missing = _("Type a longer one first.") if first.text() else _("Type a password first.")
            else:
                missing = _("Type it once more.") if differs else ""
            tell_why(go, missing, step.reason)

        def compare() -> None:
            wrong = bool(second.text()) and first.text() != second.text()
            second_row.set_problem(_("The two are not the same.") if wrong else "")

        for edit in (first, second):
            edit.textChanged.connect(lambda _text: typed())
            edit.returnPressed.connect(create)
        second.left.connect(compare)
        typed()
        self._show(step, first)

    def _free_name(self) -> str:
        """The first name that no wallet of this network has."""
        taken = {info.name for info in self._host.wallets(self.network)}
        base = "Practice" if self.network == "sandbox" else "Wallet"
        return next(
            n for n in itertools.chain([base], (f"{base}-{i}" for i in itertools.count(2))) if n not in taken
        )

    def _create(self, password: str, step: Step, button: Button) -> None:
        step.banner.say("")
        tell_why(button, _("Making the wallet. This takes a few seconds."), step.reason)

        def failed(sentence: str) -> None:
            tell_why(button, "", step.reason)
            step.banner.say(sentence)

        def opened(info: WalletInfo, api: NodeApi) -> None:
            self.finished.emit((info, api))

        def created(info: WalletInfo) -> None:
            run(self._host.open(info, password), partial(opened, info), failed, owner=self)

        run(
            self._host.create(
                network=self.network,
                name=self._free_name(),
                words=self._words,
                password=password,
                restored=self.restored,
                channel_backup=self._backup if self.restored else None,
                old_installation_stopped=self.restored and self._old_one_stopped,
            ),
            created,
            failed,
            owner=self,
        )


def _words_tone(report: WordsReport) -> str:
    if not report.usable:
        return "danger"
    return "success" if report.kind == "leyden" else "warning"
