"""Where the money of a closed channel is: each output that is ours, the steps of its way home, and a countdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from PyQt6.QtWidgets import QWidget

from wallet.gui import format as fmt
from wallet.gui.context import Context
from wallet.gui.tokens import S2, S3
from wallet.gui.widgets.basic import AmountLabel, Button, Card, Label, Pill, clear, hbox, vbox
from wallet.gui.widgets.ids import CopyId
from wallet.gui.widgets.notices import Banner, toast
from wallet.gui.widgets.stepper import Step, Stepper
from wallet.gui.widgets.why import tell_why
from wallet.i18n import _

__all__ = ["Resolution"]

_STEPS = {"done": Step.DONE, "current": Step.CURRENT, "waiting": Step.WAITING}


def _count(value: Any) -> int:
    return value if isinstance(value, int) else 0


class Resolution(QWidget):
    """Attributes: `report` once there is one, `speed_up` buttons by the transaction that they hurry."""

    def __init__(self, context: Context, channel_id: str) -> None:
        super().__init__()
        self._context = context
        self._channel_id = channel_id
        self._asked = 0
        self.report: Mapping[str, Any] | None = None
        self.speed_up: dict[str, Button] = {}
        self.summary = Label("", "body", "text2", wrap=True)
        self._outputs = vbox(spacing=S3)
        self._problem = Banner("", "warning")
        box = vbox(Label(_("Where the money is"), "section"), self.summary, spacing=S3)
        box.addLayout(self._outputs)
        box.addWidget(self._problem)
        self.setLayout(box)

    def load(self) -> None:
        self._asked += 1
        number = self._asked

        def done(answer: Any) -> None:
            if number == self._asked and isinstance(answer, Mapping):
                self._show(answer)

        self._context.bridge.call(
            "closing_report", done, self._failed, owner=self, channel_id=self._channel_id
        )

    def _failed(self, sentence: str) -> None:
        self._problem.say(sentence, "warning")

    def _show(self, report: Mapping[str, Any]) -> None:
        if report == self.report:
            return
        self.report = report
        self._problem.say("")
        outputs: Sequence[Mapping[str, Any]] = report.get("outputs") or ()
        self.speed_up = {}
        clear(self._outputs)
        for output in outputs:
            self._outputs.addWidget(self._output(output, _count(report.get("best_height"))))
        home_sat = sum(_count(o.get("amount_sat")) for o in outputs if o.get("state") == "home")
        waits_sat = sum(_count(o.get("amount_sat")) for o in outputs if o.get("state") != "home")
        if waits_sat:
            text = _("{amount} is still on its way; Leyden brings it home by itself.").format(
                amount=fmt.amount_sat(waits_sat)
            )
        elif outputs:
            text = _("All of it is home: {amount}.").format(amount=fmt.amount_sat(home_sat))
        elif report.get("closing_confirmations"):
            text = _("Nothing of yours is left to take from this channel.")
        else:
            text = _("The closing transaction is waited for. Leyden goes on by itself.")
        self.summary.setText(text)

    def _output(self, output: Mapping[str, Any], best_height: int) -> QWidget:
        amount = AmountLabel("amount")
        amount.set_sat(_count(output.get("amount_sat")))
        is_home = output.get("state") == "home"
        pill = Pill(_("Home") if is_home else _("On its way"), "success" if is_home else "accent",
                    "check" if is_home else "hourglass")  # fmt: skip
        box = vbox(hbox(amount, "stretch", pill), spacing=S2)
        box.addWidget(Label(fmt.plain(str(output.get("text") or ""), 240), "body", "text", wrap=True))
        until_height = output.get("until_height")
        if isinstance(until_height, int) and until_height > best_height:
            blocks = until_height - best_height
            free_at = fmt.now() + blocks * fmt.SECONDS_PER_BLOCK
            countdown = _("Free {when}, around {date}, from block {height}.").format(
                when=fmt.blocks_ahead(blocks), date=fmt.date(free_at), height=fmt.group(until_height)
            )
            box.addWidget(Label(countdown, "strong", wrap=True))
        stepper = Stepper()
        stepper.show_steps(
            [(str(words), _STEPS.get(str(state), Step.WAITING), str(extra))
             for words, state, extra in output.get("steps") or ()]
        )  # fmt: skip
        box.addWidget(stepper)
        txid = str(output.get("txid") or "")
        foot = hbox(spacing=S2)
        if txid:
            foot.addWidget(CopyId(_("Transaction id"), txid))
        foot.addStretch(1)
        if output.get("can_speed_up"):
            button = Button(_("Speed up"), "outlined", small=True, on_click=self._hurry)
            button.setAccessibleDescription(_("Pays a higher fee, so that it confirms sooner"))
            self.speed_up[txid] = button
            foot.addWidget(button)
        box.addLayout(foot)
        return Card(box)

    def _hurry(self) -> None:
        for button in self.speed_up.values():
            tell_why(button, _("Sending it again with a higher fee."))

        def done(_answer: Any) -> None:
            toast(self, _("Sent again with a higher fee"), "check")
            self.load()

        def failed(sentence: str) -> None:
            for button in self.speed_up.values():
                tell_why(button, "")
            self._failed(sentence)

        self._context.bridge.call("speed_up_closing", done, failed, owner=self, channel_id=self._channel_id)
