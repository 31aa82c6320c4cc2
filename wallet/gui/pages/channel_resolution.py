"""Where the money of a closed channel is: each output that is ours, the steps of its way home, and a countdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from PyQt6.QtWidgets import QVBoxLayout, QWidget

from wallet.gui import format as fmt
from wallet.gui.context import Context
from wallet.gui.tokens import S2, S3
from wallet.gui.widgets.basic import AmountLabel, Button, Card, Label, Pill, Rule, clear, hbox, vbox
from wallet.gui.widgets.ids import CopyId
from wallet.gui.widgets.notices import Banner, toast
from wallet.gui.widgets.stepper import Step, Stepper
from wallet.gui.widgets.why import tell_why
from wallet.i18n import _, ngettext

__all__ = ["Resolution", "summary_of"]

_STEPS = {"done": Step.DONE, "current": Step.CURRENT, "waiting": Step.WAITING}


UNLESS_TAKEN, IF_PROVEN = "unless taken", "if proven"


def _count(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _together(outputs: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Outputs that one transaction of ours brings home stand together: what hurries one of them hurries all."""
    groups: list[list[Mapping[str, Any]]] = []
    of_sweep: dict[str, list[Mapping[str, Any]]] = {}
    for output in outputs:
        txid = str(output.get("txid") or "")
        if output.get("can_speed_up") and txid in of_sweep:
            of_sweep[txid].append(output)
            continue
        groups.append([output])
        if output.get("can_speed_up"):
            of_sweep[txid] = groups[-1]
    return groups


def summary_of(report: Mapping[str, Any]) -> list[str]:
    """What comes home, what may, and what goes to the peer, a sentence each."""
    outputs: Sequence[Mapping[str, Any]] = report.get("outputs") or ()
    sums_sat = {"home": 0, UNLESS_TAKEN: 0, IF_PROVEN: 0}
    home_sat = 0
    for output in outputs:
        amount_sat = _count(output.get("amount_sat"))
        if output.get("state") == "home":
            home_sat += amount_sat
        else:
            sums_sat[str(output.get("goes") or "home")] += amount_sat
    sentences = []
    for amount_sat, words in (
        (sums_sat["home"], _("{amount} is still on its way; Leyden brings it home by itself.")),
        (sums_sat[UNLESS_TAKEN], _("{amount} comes home unless its payee takes it.")),
        (
            sums_sat[IF_PROVEN],
            _("{amount} comes home only if its proof arrives in time; else it goes to the peer."),
        ),
    ):
        if amount_sat:
            sentences.append(words.format(amount=fmt.amount_sat(amount_sat)))
    if not sentences and outputs:
        sentences.append(_("All of it is home: {amount}.").format(amount=fmt.amount_sat(home_sat)))
    elif not sentences and report.get("closing_confirmations"):
        sentences.append(_("Nothing of yours is left to take from this channel."))
    elif not sentences:
        sentences.append(_("The closing transaction is waited for. Leyden goes on by itself."))
    peer_sat = _count(report.get("peer_sat"))
    if peer_sat:
        sentences.append(
            _("{amount} goes to the peer: its own part.").format(amount=fmt.amount_sat(peer_sat))
        )
    return sentences


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
        best_height = _count(report.get("best_height"))
        for group in _together(outputs):
            self._outputs.addWidget(self._card(group, best_height))
        self.summary.setText(" ".join(summary_of(report)))

    def _card(self, outputs: Sequence[Mapping[str, Any]], best_height: int) -> QWidget:
        """One output, or those that go home by one transaction, with the one button that hurries it."""
        box = vbox(spacing=S3)
        for place, output in enumerate(outputs):
            if place:
                box.addWidget(Rule())
            box.addLayout(self._output(output, best_height))
        txid = str(outputs[0].get("txid") or "")
        if len(outputs) > 1:
            box.addWidget(Rule())
            words = ngettext(
                "{n} output goes home by one transaction.",
                "{n} outputs go home by one transaction.",
                len(outputs),
            )
            box.addWidget(Label(words.format(n=len(outputs)), "body", "text2", wrap=True))
        foot = hbox(spacing=S2)
        if txid:
            foot.addWidget(CopyId(_("Transaction id"), txid))
        foot.addStretch(1)
        if any(output.get("can_speed_up") for output in outputs):
            button = Button(_("Speed up"), "outlined", small=True, on_click=self._hurry)
            button.setAccessibleDescription(_("Pays a higher fee, so that it confirms sooner"))
            self.speed_up[txid] = button
            foot.addWidget(button)
        box.addLayout(foot)
        return Card(box)

    @staticmethod
    def _output(output: Mapping[str, Any], best_height: int) -> QVBoxLayout:
        amount = AmountLabel("amount")
        amount.set_sat(_count(output.get("amount_sat")))
        is_home = output.get("state") == "home"
        goes = str(output.get("goes") or "home")
        pill = Pill(_("On its way"), "accent", "hourglass")
        if is_home:
            pill = Pill(_("Home"), "success", "check")
        elif goes == IF_PROVEN:
            pill = Pill(_("If the proof arrives"), "warning", "hourglass")
        elif goes == UNLESS_TAKEN:
            pill = Pill(_("Unless it is taken"), "neutral", "hourglass")
        box = vbox(hbox(amount, "stretch", pill), spacing=S2)
        box.addWidget(Label(fmt.plain(str(output.get("text") or ""), 240), "body", "text", wrap=True))
        until_height = output.get("until_height")
        if isinstance(until_height, int) and until_height > best_height:
            blocks = until_height - best_height
            free_at = fmt.now() + blocks * fmt.SECONDS_PER_BLOCK
            words = _("Free {when}, around {date}, from block {height}.")
            if goes == IF_PROVEN:
                words = _("The peer may take it {when}, around {date}, from block {height}.")
            countdown = words.format(
                when=fmt.blocks_ahead(blocks), date=fmt.date(free_at), height=fmt.group(until_height)
            )
            box.addWidget(Label(countdown, "strong", wrap=True))
        left = output.get("confirming_blocks")
        time = fmt.seconds_long(left * fmt.SECONDS_PER_BLOCK) if isinstance(left, int) and left > 0 else ""
        steps = []
        for words, state, extra in output.get("steps") or ():
            step = _STEPS.get(str(state), Step.WAITING)
            steps.append((str(words), step, str(extra) or (time if step is Step.CURRENT else "")))
        stepper = Stepper()
        stepper.show_steps(steps)
        box.addWidget(stepper)
        return box

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
