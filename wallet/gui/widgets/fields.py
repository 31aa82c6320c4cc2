"""Fields: a label above, help or a mistake below; and the amount field, whose value is a Python int.

A `QSpinBox` holds 32 bits and wraps silently, so amounts are typed here, in the unit that the person chose: digits
are grouped while one types, and the unit is drawn at the right. What can be read in two ways is asked about.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial

from PyQt6.QtCore import QRect, QSize, QStringListModel, Qt, pyqtSignal
from PyQt6.QtGui import QFocusEvent, QFontMetrics, QPainter, QPaintEvent, QResizeEvent
from PyQt6.QtWidgets import QCompleter, QFrame, QLineEdit, QListView, QPlainTextEdit, QWidget

from wallet.gui import format as fmt
from wallet.gui.theme import theme
from wallet.gui.tips import plain_tip
from wallet.gui.tokens import S1, S2, S3
from wallet.gui.typed_amount import as_typed, read_amount
from wallet.gui.widgets.basic import Button, Flow, IconLabel, Label, clear, hbox, restyle, vbox
from wallet.i18n import _

__all__ = [
    "LEAST_PASSWORD",
    "AmountField",
    "Field",
    "LineEdit",
    "PasswordEdit",
    "Segments",
    "TextArea",
    "WordEdit",
]

LEAST_PASSWORD = 8
"""Characters of a new password."""


class LineEdit(QLineEdit):
    """A one-line field in our fonts. Signal: `left()`, when the focus goes away."""

    left = pyqtSignal()

    def __init__(self, name: str, placeholder: str = "", *, main: bool = False, mono: bool = False) -> None:
        super().__init__()
        self._own_tip = ""
        self.setAccessibleName(name)
        self.setAccessibleDescription(placeholder or _("One line to type"))
        self.setPlaceholderText(placeholder)
        self.setFont(theme().font("mono" if mono else "body"))
        if main:
            self.setProperty("metric", "main")

    def set_wrong(self, wrong: bool) -> None:
        value = "true" if wrong else "false"
        if self.property("wrong") != value:
            self.setProperty("wrong", value)
            restyle(self)

    def focusOutEvent(self, event: QFocusEvent | None) -> None:
        super().focusOutEvent(event)
        self.left.emit()

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        super().resizeEvent(event)
        if self._own_tip == self.toolTip():
            # Qt shortens what does not fit; all of it is said here then.
            needs = self.fontMetrics().horizontalAdvance(self.placeholderText()) + theme().px(2 * S3)
            self._own_tip = plain_tip(self.placeholderText()) if needs > self.width() else ""
            self.setToolTip(self._own_tip)


class PasswordEdit(LineEdit):
    """A hidden field with a button that shows what was typed."""

    def __init__(self, name: str, placeholder: str = "") -> None:
        super().__init__(name, placeholder)
        self.setAccessibleDescription(_("Hidden while you type; the button at its end shows it"))
        self.setEchoMode(QLineEdit.EchoMode.Password)
        self._eye = Button("", "quiet", "eye", small=True, name=_("Show the password"), on_click=self._toggle)
        self._eye.setParent(self)
        self._eye.setCheckable(True)
        self._eye.setAccessibleDescription(_("Space shows and hides it"))
        self._eye.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setTextMargins(0, 0, theme().px(36), 0)

    def _toggle(self) -> None:
        shown = self._eye.isChecked()
        self.setEchoMode(QLineEdit.EchoMode.Normal if shown else QLineEdit.EchoMode.Password)
        self._eye.set_icon("eye-off" if shown else "eye")
        self._eye.setToolTip(_("Hide the password") if shown else _("Show the password"))

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        super().resizeEvent(event)
        side = theme().px(28)
        self._eye.setGeometry(self.width() - side - 6, (self.height() - side) // 2, side, side)


class TextArea(QPlainTextEdit):
    """A few lines of text; Tab leaves it.

    Attributes: `whole_height`, with all its lines; `least_height`, where it may give way to what else a dialog holds.
    """

    def __init__(
        self, name: str, placeholder: str = "", *, lines: int = 3, least_lines: int = 0, mono: bool = False
    ) -> None:
        super().__init__()
        self.setAccessibleName(name)
        self.setAccessibleDescription(placeholder or _("Lines of text; Tab leaves them"))
        self.setPlaceholderText(placeholder)
        self.setFont(theme().font("mono" if mono else "body"))
        self.setTabChangesFocus(True)
        self.setLineWrapMode(QPlainTextEdit.LineWrapMode.WidgetWidth)
        line, frame = theme().line_height("body"), theme().px(24)
        self.whole_height = line * lines + frame
        self.least_height = line * (least_lines or lines) + frame
        self.setFixedHeight(self.whole_height)

    def set_wrong(self, wrong: bool) -> None:
        value = "true" if wrong else "false"
        if self.property("wrong") != value:
            self.setProperty("wrong", value)
            restyle(self)


class AmountField(QLineEdit):
    """An amount, typed in the person's unit, whose value is in satoshis. Signals: `amount_changed(object)` with an int
    or None, `left()`. Attributes: `problem`, what is wrong with the text; `readings_sat`, what it may mean, where that
    has to be asked."""

    amount_changed = pyqtSignal(object)
    left = pyqtSignal()

    def __init__(self, name: str, *, large: bool = True) -> None:
        super().__init__()
        self._large = large
        self._quiet = False
        self._unit = fmt.unit()
        self._amount_sat: int | None = None
        self.problem = ""
        self.readings_sat: tuple[int, ...] = ()
        self.setAccessibleName(name)
        self._told = ""
        self.describe("")
        self.setPlaceholderText("0")
        self.setFont(theme().font("amount" if large else "body"))
        if large:
            self.setProperty("metric", "amount")
        self.setInputMethodHints(Qt.InputMethodHint.ImhFormattedNumbersOnly)
        self.setMaxLength(64)
        self._reserve_unit()
        self.textEdited.connect(self._edited)
        self.textChanged.connect(lambda _text: self._parse())

    def _tail(self) -> str:
        """What is painted at the right: the unit, and where there is room what it is worth."""
        fiat = fmt.in_fiat(self._amount_sat * 1000) if self._large and self._amount_sat else ""
        return f"{self._unit}  {fiat}".rstrip()

    def _unit_width(self) -> int:
        return QFontMetrics(theme().font("body")).horizontalAdvance(self._tail())

    def _reserve_unit(self) -> None:
        self.setTextMargins(0, 0, self._unit_width() + theme().px(S3), 0)

    def describe(self, sentence: str) -> None:
        """For screen readers: the unit, which is painted only, and then the sentence."""
        self._told = sentence
        unit = _("In {unit}.").format(unit=self._unit)
        self.setAccessibleDescription(f"{unit} {sentence}".rstrip())

    def amount_sat(self) -> int | None:
        """What is typed, None where it is nothing or a mistake (then `problem` says which)."""
        return self._amount_sat

    def amount_msat(self) -> int | None:
        return None if self._amount_sat is None else self._amount_sat * 1000

    def set_amount_sat(self, amount_sat: int | None, *, quietly: bool = False) -> None:
        """`quietly` tells nobody: for an amount that was computed, not typed."""
        self._quiet = quietly
        try:
            self.setText("" if amount_sat is None else as_typed(amount_sat, self._unit))
        finally:
            self._quiet = False

    def follow_unit(self) -> None:
        """Another unit was chosen: the amount stays, and is written in it. A text that is no amount is read anew."""
        if self._unit == fmt.unit():
            return
        self._unit = fmt.unit()
        self.describe(self._told)
        self._reserve_unit()
        if self._amount_sat is None:
            self._parse()
        else:
            self.set_amount_sat(self._amount_sat, quietly=True)
        self.update()

    def _edited(self, text: str) -> None:
        digits = re.sub(r"[\s_']", "", text)
        if not (digits.isascii() and digits.isdigit()):
            return
        grouped = fmt.group(int(digits[:20]))
        if grouped == text:
            return
        # The cursor stays behind the digit it was behind.
        before = sum(c.isdigit() for c in text[: self.cursorPosition()])
        before -= len(digits) - len(digits.lstrip("0")) if int(digits) else 0
        self.setText(grouped)
        place = 0
        while before > 0 and place < len(grouped):
            before -= grouped[place].isdigit()
            place += 1
        self.setCursorPosition(place)

    def _parse(self) -> None:
        was_wrong = bool(self.problem)
        read = read_amount(self.text(), self._unit)
        amount_sat, self.problem, self.readings_sat = read.amount_sat, read.problem, read.readings_sat
        if amount_sat != self._amount_sat or self.problem or was_wrong:
            self._amount_sat = amount_sat
            self._reserve_unit()
            if not self._quiet:
                self.amount_changed.emit(amount_sat)

    def set_wrong(self, wrong: bool) -> None:
        value = "true" if wrong else "false"
        if self.property("wrong") != value:
            self.setProperty("wrong", value)
            restyle(self)

    def focusOutEvent(self, event: QFocusEvent | None) -> None:
        super().focusOutEvent(event)
        self.left.emit()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        super().paintEvent(event)
        painter = QPainter(self)
        painter.setFont(theme().font("body"))
        painter.setPen(theme().colour("text2"))
        width = self._unit_width()
        where = QRect(self.width() - width - theme().px(S3), 0, width, self.height())
        painter.drawText(where, Qt.AlignmentFlag.AlignCenter, self._tail())


class WordEdit(LineEdit):
    """One word of a list, completed while it is typed. Signal: `pasted(object)`, a list of several words."""

    pasted = pyqtSignal(object)

    def __init__(self, number: int, complete: Callable[[str], Sequence[str]]) -> None:
        super().__init__(_("Word {n}").format(n=number))
        self.setAccessibleDescription(_("Words that fit are offered while you type"))
        self._complete = complete
        self._model = QStringListModel(self)
        completer = QCompleter(self._model, self)
        completer.setCompletionMode(QCompleter.CompletionMode.PopupCompletion)
        completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        completer.setMaxVisibleItems(6)
        popup = QListView()
        popup.setProperty("popup", "true")
        popup.setFont(theme().font("body"))
        popup.setAccessibleName(_("Words that fit"))
        completer.setPopup(popup)
        self.setCompleter(completer)
        self.textEdited.connect(self._typed)
        margin = theme().px(22)
        self.setTextMargins(margin, 0, 0, 0)
        self._number = str(number)

    def word(self) -> str:
        return self.text().strip().lower()

    def _typed(self, text: str) -> None:
        words = text.lower().split()
        if len(words) > 1:
            self.pasted.emit(words)
            return
        prefix = words[0] if words else ""
        self._model.setStringList(list(self._complete(prefix))[:12] if prefix else [])

    def paintEvent(self, event: QPaintEvent | None) -> None:
        super().paintEvent(event)
        painter = QPainter(self)
        painter.setFont(theme().font("caption"))
        painter.setPen(theme().colour("text3"))
        where = QRect(theme().px(10), 0, theme().px(20), self.height())
        painter.drawText(where, int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft), self._number)


class Field(QWidget):
    """A control with its label above and help below; a mistake takes the place of the help. Below an amount that can be
    read in two ways stand both, to choose from (`readings`)."""

    def __init__(
        self, label: str, control: QWidget, help_text: str = "", *, beside: QWidget | None = None
    ) -> None:
        super().__init__()
        self.control = control
        self._own_description = control.accessibleDescription()
        self._help_text = help_text
        self._label = Label(label, "button")
        self._label.setBuddy(control)
        self._icon = IconLabel("warning", "danger", 16)
        self._help = Label(help_text, "caption", "text2", wrap=True)
        self._help_row = QWidget()
        self._help_row.setLayout(hbox(self._icon, self._help, spacing=6))
        row = self._help_row.layout()
        if row is not None:
            row.setAlignment(self._icon, Qt.AlignmentFlag.AlignTop)
        line = control if beside is None else None
        box = vbox(self._label, spacing=S1 + 2)
        if line is not None:
            box.addWidget(line)
        elif beside is not None:
            box.addLayout(hbox(control, beside))
        box.addWidget(self._help_row)
        self.readings: list[Button] = []
        self._readings_sat: tuple[int, ...] = ()
        self._readings_flow = Flow(spacing=S2, line_spacing=S1)
        self._readings_holder = QWidget()
        self._readings_holder.setLayout(self._readings_flow)
        box.addWidget(self._readings_holder)
        self.setLayout(box)
        self.set_problem("")

    def set_help(self, text: str) -> None:
        self._help_text = text
        self.set_problem("")

    def problem(self) -> str:
        return self._help.text() if self._icon.isVisibleTo(self) else ""

    def set_problem(self, sentence: str) -> None:
        """A sentence marks the control as wrong, an empty one brings the help back."""
        self._icon.setVisible(bool(sentence))
        self._help.setText(sentence or self._help_text)
        self._help.set_tone("danger" if sentence else "text2")
        self._help_row.setVisible(bool(sentence or self._help_text))
        if isinstance(self.control, LineEdit | AmountField | TextArea):
            self.control.set_wrong(bool(sentence))
        if isinstance(self.control, AmountField):
            self.control.describe(sentence or self._help_text)
            self._ask_which(self.control, self.control.readings_sat if sentence else ())
        else:
            self.control.setAccessibleDescription(sentence or self._help_text or self._own_description)
            self._readings_holder.hide()

    def _ask_which(self, field: AmountField, readings_sat: tuple[int, ...]) -> None:
        self._readings_holder.setVisible(bool(readings_sat))
        if readings_sat == self._readings_sat:
            return
        self._readings_sat = readings_sat
        clear(self._readings_flow)
        self.readings = []
        for value_sat in readings_sat:
            words = f"{as_typed(value_sat, fmt.unit())}\u00a0{fmt.unit()}"
            button = Button(words, "chip", on_click=partial(self._take_reading, field, value_sat))
            button.setAccessibleName(_("Take {amount}").format(amount=words))
            self.readings.append(button)
            self._readings_flow.addWidget(button)

    @staticmethod
    def _take_reading(field: AmountField, value_sat: int) -> None:
        field.setFocus(Qt.FocusReason.OtherFocusReason)
        field.set_amount_sat(value_sat)


class Segments(QFrame):
    """A few choices side by side; arrows move within. Signal: `chosen(str)`, the key."""

    chosen = pyqtSignal(str)

    def __init__(self, name: str, choices: Sequence[tuple[str, str]], current: str) -> None:
        super().__init__()
        from PyQt6.QtWidgets import QButtonGroup, QSizePolicy

        self.setProperty("segments", "true")
        self.setAccessibleName(name)
        words = ", ".join(text for _key, text in choices)
        self.setAccessibleDescription(
            _("One of {choices}; arrow keys move between them").format(choices=words)
        )
        policy = QSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self._group = QButtonGroup(self)
        self._buttons: dict[str, Button] = {}
        box = Flow(spacing=2, line_spacing=2)
        box.setContentsMargins(2, 2, 2, 2)
        for key, text in choices:
            button = Button(text, "segment", name=f"{name}: {text}")
            button.setCheckable(True)
            button.setChecked(key == current)
            button.clicked.connect(lambda _checked=False, key=key: self.chosen.emit(key))
            self._group.addButton(button)
            self._buttons[key] = button
            box.addWidget(button)
        self.setLayout(box)

    def current(self) -> str:
        return next((key for key, button in self._buttons.items() if button.isChecked()), "")

    def choose(self, key: str) -> None:
        self._buttons[key].setChecked(True)

    def button(self, key: str) -> Button:
        return self._buttons[key]

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        super().resizeEvent(event)
        layout = self.layout()
        if layout is not None:
            # Two lines where one has no room; no higher than that beside something tall.
            self.setFixedHeight(layout.heightForWidth(self.width()))

    def sizeHint(self) -> QSize:
        layout = self.layout()
        return super().sizeHint() if layout is None else layout.sizeHint()
