"""How a payment ends: a whole page, of the same size for success and for failure."""

from __future__ import annotations

from collections.abc import Callable

from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QWidget

from wallet.gui import format as fmt
from wallet.gui.pages.base import scroller
from wallet.gui.theme import theme
from wallet.gui.tokens import S2, S4, S6
from wallet.gui.widgets.basic import AmountLabel, Button, Flow, IconLabel, Label, Pill, prose, vbox
from wallet.i18n import _

__all__ = ["ResultPage"]


class ResultPage(QWidget):
    """The sign, the amount, whom and what, and what can be done next. The first button is the filled one."""

    def __init__(
        self,
        *,
        good: bool,
        title: str,
        amount_msat: int,
        lines: list[str],
        buttons: list[tuple[str, Callable[[], object]]],
        network: str,
        advice: str = "",
        icon: str | None = None,
    ) -> None:
        super().__init__()
        self.title = title
        centre = Qt.AlignmentFlag.AlignHCenter
        box = vbox("stretch", spacing=S2)
        word = fmt.network_word(network)
        if word:
            box.addWidget(Pill(word, "play", "sandbox"), 0, centre)
            box.addSpacing(theme().px(S4))
        sign = icon or ("check-circle" if good else "cross-circle")
        box.addWidget(IconLabel(sign, "brass" if icon else "success" if good else "danger", 72), 0, centre)
        box.addSpacing(theme().px(S2))
        box.addWidget(Label(title, "title", align=centre), 0, centre)
        self.amount = AmountLabel("display", align=centre)
        self.amount.set_msat(amount_msat)
        box.addWidget(self.amount, 0, centre)
        for line in lines:
            box.addWidget(prose(line, 480, tone="text2", align=centre), 0, centre)
        if advice:
            box.addSpacing(theme().px(S2))
            box.addWidget(prose(advice, 480, align=centre), 0, centre)
        box.addSpacing(theme().px(S6))
        row = Flow(centred=True)
        self.buttons: list[Button] = []
        for number, (text, act) in enumerate(buttons):
            button = Button(text, "filled" if number == 0 else "outlined", main=True, on_click=act)
            self.buttons.append(button)
            row.addWidget(button)
        box.addLayout(row)
        box.addStretch(1)
        inside = QWidget()
        inside.setLayout(box)
        self.setLayout(vbox(scroller(inside), spacing=0))
        self.setAccessibleName(
            f"{title}. {_('Amount')} {self.amount.text()}. {' '.join(lines)} {advice}".strip()
        )
