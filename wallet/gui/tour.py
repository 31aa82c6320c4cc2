"""The tour: the window walks through a practice round by itself, one line a step, each page as a picture.

It drives the real window by its real widgets. A step is a generator that yields what it waits for; the driver looks
again whenever a change-set or an answer has arrived, and gives up at a time-out. Nothing sleeps. The last line adds
up what came and what went, to the thousandth of a satoshi, against what the wallet says it holds.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from PyQt6.QtCore import QObject, Qt, QTimer, pyqtSlot
from PyQt6.QtWidgets import QWidget

from wallet.gui import format as fmt
from wallet.gui.app import CLOSE_SECONDS, make_application, make_window
from wallet.gui.bridge import Bridge, returner, run
from wallet.gui.describe import CLOSED
from wallet.gui.grab import grab
from wallet.gui.main_window import MainWindow, Shell
from wallet.gui.preferences import Preferences
from wallet.gui.widgets.basic import Button
from wallet.i18n import _
from wallet.node.api import ActivityItem, ChannelView, RequestStatus, SandboxControl

if TYPE_CHECKING:
    from wallet.node.api import WalletHost

__all__ = ["run_tour"]

T = TypeVar("T")
W = TypeVar("W", bound=QWidget)

STEP_SECONDS = 90
NEWS_SECONDS = 10
PASSWORD = "play money only"
CHANNEL_SAT = 500_000
REQUEST_SAT = 10_000
MOST_BLOCKS = 60


class TourError(Exception):
    """A step did not come to its end; the text is a sentence."""


@dataclass(frozen=True, slots=True)
class Until:
    """What a step waits for: a condition, its name, and for how long at most."""

    condition: Callable[[], bool]
    what: str
    seconds: int = STEP_SECONDS


Steps = Generator[Until, None, None]


class Driver(QObject):
    """Runs the steps on Qt's event loop; `ended` is called with the exit code."""

    def __init__(self, steps: Steps, ended: Callable[[int, str], None]) -> None:
        super().__init__()
        self._steps = steps
        self._ended = ended
        self._waiting: Until | None = None
        self._over = False
        self._again = QTimer(self)
        self._again.setSingleShot(True)
        self._again.setInterval(0)
        self._again.timeout.connect(self._look)
        # What a page of the window does by a timer of its own comes without a signal.
        self._now_and_then = QTimer(self)
        self._now_and_then.setInterval(200)
        self._now_and_then.timeout.connect(self._look)
        self._limit = QTimer(self)
        self._limit.setSingleShot(True)
        self._limit.timeout.connect(self._timed_out)
        returner().settled.connect(self._poke, Qt.ConnectionType.QueuedConnection)  # type: ignore[call-arg]  # stub

    def follow(self, bridge: Bridge) -> None:
        bridge.changed.connect(self._poke)

    def begin(self) -> None:
        self._again.start()
        self._now_and_then.start()

    @pyqtSlot(object)
    def _poke(self, _what: object) -> None:
        if not self._over:
            self._again.start()

    def _look(self) -> None:
        if self._over or (self._waiting is not None and not self._waiting.condition()):
            return
        self._limit.stop()
        try:
            self._waiting = next(self._steps)
        except StopIteration:
            self._end(0, "")
            return
        except TourError as error:
            self._end(1, str(error))
            return
        self._limit.start(self._waiting.seconds * 1000)
        # What is waited for may be there already.
        self._again.start()

    def _timed_out(self) -> None:
        if self._waiting is not None and self._waiting.condition():
            self._look()
            return
        what = self._waiting.what if self._waiting is not None else ""
        self._end(1, _("Waited in vain for: {what}").format(what=what))

    def _end(self, code: int, sentence: str) -> None:
        self._over = True
        self._limit.stop()
        self._now_and_then.stop()
        self._ended(code, sentence)


class Tour:
    """The walk. Amounts that came and went are noted as they are seen."""

    def __init__(self, window: MainWindow, folder: Path) -> None:
        self._window = window
        self._folder = folder
        self._pictures = 0
        self._steps = 0
        self.follow: Callable[[Bridge], None] = lambda _bridge: None
        self.ledger: list[tuple[str, int]] = []
        """(what, thousandths of a satoshi, negative for what went)."""

    # --- helpers ----------------------------------------------------------------------

    def say(self, sentence: str) -> None:
        self._steps += 1
        print(f"{self._steps}. {sentence}", flush=True)

    def picture(self, name: str) -> None:
        self._pictures += 1
        path = self._folder / f"{self._pictures:02d}-{name}.png"
        if not grab(self._window).save(str(path)):
            raise TourError(_("The picture {path} could not be written.").format(path=path))

    @property
    def shell(self) -> Shell:
        if self._window.shell is None:
            raise TourError(_("The wallet is not open."))
        return self._window.shell

    @property
    def sandbox(self) -> SandboxControl:
        control = self.shell.bridge.api.sandbox()
        if control is None:
            raise TourError(_("The tour needs the sandbox."))
        return control

    def page(self, kind: type[W]) -> W:
        return self.found(self._window.findChild(kind), kind.__name__)

    @staticmethod
    def found(thing: T | None, what: str) -> T:
        if thing is None:
            raise TourError(_("The window has no {what} where it should be.").format(what=what))
        return thing

    def _snapshot_total_sat(self) -> int:
        return self.shell.bridge.snapshot.balance.total_sat

    def _channel(self) -> ChannelView | None:
        channels = self.shell.bridge.snapshot.channels
        return channels[0] if channels else None

    def _item(self, matches: Callable[[ActivityItem], bool], what: str) -> ActivityItem:
        page = self.shell.bridge.api.activity_page(offset=0, limit=50)
        return self.found(next((item for item in page.items if matches(item)), None), what)

    def _mine_until(self, condition: Callable[[], bool], what: str) -> Steps:
        """Block by block, as long as it takes for what waits for them."""
        for _block in range(MOST_BLOCKS):
            if condition():
                return
            before = self.shell.bridge.snapshot.status.height
            run(self.sandbox.mine(1), lambda _height: None, owner=self._window)
            yield Until(partial(self._holds_or_higher, condition, before), what)
        yield Until(condition, what)

    def _holds_or_higher(self, condition: Callable[[], bool], height: int) -> bool:
        return condition() or self._height() > height

    def _height(self) -> int:
        return self.shell.bridge.snapshot.status.height

    # --- the round ----------------------------------------------------------------------

    def walk(self) -> Steps:
        yield from self._create()
        yield from self._receive_coins()
        yield from self._open()
        yield from self._pay()
        yield from self._be_paid()
        yield from self._look_round()
        yield from self._close()
        # An item is read when it is asked for, the balance is as of the last news: these may be a moment older.
        until = time.monotonic() + NEWS_SECONDS
        yield Until(lambda: self._adds_up() or time.monotonic() > until, _("the coins to come home"))
        self._add_up()

    def _create(self) -> Steps:
        from wallet.gui.pages.unlock import UnlockPage
        from wallet.gui.pages.wizard import Wizard
        from wallet.gui.widgets.fields import PasswordEdit

        known = self._window.findChild(UnlockPage)
        if known is not None:
            known.other.click()
        wizard = self.page(Wizard)
        self.picture("first-run")
        yield from self._press_filled(wizard.step, _("the button to create the wallet"))
        for field in wizard.step.findChildren(PasswordEdit):
            field.setText(PASSWORD)
        self.picture("password")
        yield from self._press_filled(wizard.step, _("the button to create the wallet"))
        yield Until(lambda: self._window.shell is not None, _("the wallet to open"))
        self.follow(self.shell.bridge)
        yield Until(
            lambda: self.shell.bridge.snapshot.status.synced, _("the wallet to catch up with the chain")
        )
        self.picture("overview-new")
        name = self.shell.bridge.snapshot.status.wallet_name
        self.say(_("Created the wallet {name}, locked with a password.").format(name=name))

    def _press_filled(self, where: QWidget, what: str) -> Steps:
        """Waits for a page's one filled button and presses it."""
        yield Until(lambda: bool(_filled(where)), what)
        _filled(where)[0].click()

    def _receive_coins(self) -> Steps:
        from wallet.gui.pages.receive import ReceivePage

        self.shell.go("receive")
        receive = self.page(ReceivePage)
        yield Until(lambda: bool(receive.code.text()), _("an address"))
        self.picture("receive-on-chain")
        self.shell.go("overview")
        yield from self._press_filled(self.shell.page("overview"), _("the button that gives coins"))
        yield Until(lambda: self._snapshot_total_sat() > 0, _("the coins to arrive"))
        self.picture("coins-arriving")
        yield from self._mine_until(
            lambda: self.shell.bridge.snapshot.balance.onchain_unconfirmed_sat == 0, _("the coins to confirm")
        )
        item = self._item(lambda i: i.amount_msat > 0, "payment in")
        self.ledger.append((_("received on chain"), item.amount_msat))
        self.picture("coins-confirmed")
        self.say(_("Received {amount} on chain.").format(amount=fmt.amount(item.amount_msat)))

    def _open(self) -> Steps:
        from wallet.gui.pages.open_channel import OpenChannelDialog

        yield from self._press_filled(self.shell.page("overview"), _("the button to open a channel"))
        dialog = self.page(OpenChannelDialog)
        dialog.amount_field.setText(fmt.group(CHANNEL_SAT))
        yield Until(lambda: dialog.quote is not None, _("what a channel costs"))
        yield Until(dialog.open_button.isEnabled, _("the button to open a channel"))
        self.picture("open-channel")
        dialog.open_button.click()
        yield Until(lambda: self._channel() is not None and not _is_open(dialog), _("the hub to agree"))
        self.picture("channel-opening")
        yield from self._mine_until(
            lambda: any(c.is_usable for c in self.shell.bridge.snapshot.channels),
            _("the channel to be ready"),
        )
        channel = self.found(self._channel(), "channel")
        funding = self._item(lambda i: i.txid == channel.funding_txid, "opening transaction")
        self.ledger.append((_("opening fee"), -funding.fee_msat))
        self.picture("channel-ready")
        self.say(
            _("Opened a channel of {amount} to the hub, for {fee}.").format(
                amount=fmt.amount_sat(channel.capacity_sat), fee=fmt.amount(funding.fee_msat)
            )
        )

    def _pay(self) -> Steps:
        from wallet.gui.pages.send import SendPage

        self.shell.go("overview")
        yield from self._press_filled(self.shell.page("overview"), _("the button to buy a coffee"))
        send: list[SendPage] = []

        def recognised() -> bool:
            send[:] = self._window.findChildren(SendPage)
            return bool(send) and send[0].card is not None

        yield Until(recognised, _("the shop's invoice to be recognised"))
        page = send[0]
        self.picture("send")
        button = self.found(page.card.button if page.card is not None else None, "button to pay")
        if not button.isEnabled():
            raise TourError(
                _("The shop's invoice cannot be paid: {why}").format(why=button.accessibleDescription())
            )
        button.click()
        self.picture("paying")
        yield Until(lambda: page.result is not None, _("the payment to arrive"))
        self.picture("paid")
        result = self.found(page.result, "result")
        if not result.buttons or not result.accessibleName().startswith(_("Paid")):
            raise TourError(result.accessibleName())
        yield Until(
            lambda: bool(self._lightning(lambda i: i.amount_msat < 0)), _("the payment in the history")
        )
        item = self._lightning(lambda i: i.amount_msat < 0)[0]
        self.ledger.append((_("paid to the shop"), item.amount_msat))
        self.ledger.append((_("routing fee"), -item.fee_msat))
        self.say(
            _("Paid {amount} to the shop, through the hub, for {fee}.").format(
                amount=fmt.amount(-item.amount_msat), fee=fmt.msat_exact(item.fee_msat)
            )
        )
        result.buttons[0].click()

    def _lightning(self, matches: Callable[[ActivityItem], bool]) -> list[ActivityItem]:
        from wallet.node.api import ActivityKind, ActivityStatus

        page = self.shell.bridge.api.activity_page(offset=0, limit=50, kind=ActivityKind.LIGHTNING)
        return [i for i in page.items if i.status is ActivityStatus.DONE and matches(i)]

    def _be_paid(self) -> Steps:
        from wallet.gui.pages.receive import ReceivePage

        self.shell.go("receive")
        page = self.page(ReceivePage)
        yield Until(lambda: page.layer.button("lightning").isEnabled(), _("room to receive"))
        page.layer.button("lightning").click()
        page.amount_field.setText(fmt.group(REQUEST_SAT))
        page.note.setText(_("Two tickets"))
        page.create_button.click()
        yield Until(lambda: bool(self._requests(RequestStatus.UNPAID)), _("the request"))
        yield Until(lambda: "lightning=" in page.code.text(), _("the code"))
        self.picture("request")
        invoice = self.found(self._requests(RequestStatus.UNPAID)[0], "invoice")
        run(self.sandbox.shop_pay(invoice), lambda _preimage: None, owner=self._window)
        yield Until(lambda: bool(self._requests(RequestStatus.PAID)), _("the shop to pay"))
        yield Until(lambda: page.is_paid(), _("the sign that it is paid"))
        item = self._lightning(lambda i: i.amount_msat > 0)[0]
        self.ledger.append((_("received over Lightning"), item.amount_msat))
        self.picture("been-paid")
        self.say(_("Was paid {amount} by the shop.").format(amount=fmt.amount(item.amount_msat)))

    def _requests(self, status: RequestStatus) -> list[str]:
        return [r.invoice for r in self.shell.bridge.snapshot.requests if r.status is status and r.invoice]

    def _look_round(self) -> Steps:
        for key in ("overview", "activity", "channels", "settings"):
            self.shell.go(key)
            self.picture(key)
        self.shell.go("overview")
        yield Until(lambda: True, "")
        self.say(_("Looked at the overview, the activity, the channels and the settings."))

    def _close(self) -> Steps:
        from wallet.gui.pages.channel import ChannelDetail
        from wallet.gui.pages.close_channel import CloseChannelDialog

        before = self.found(self._channel(), "channel")
        known = {item.item_id for item in self.shell.bridge.api.activity_page(offset=0, limit=50).items}
        self.shell.show_channel(before.channel_id)
        self.page(ChannelDetail).close_button.click()
        dialog = self.page(CloseChannelDialog)
        yield Until(
            lambda: dialog.quote is not None and dialog.close_button.isEnabled(), _("what closing costs")
        )
        self.picture("close-channel")
        dialog.close_button.click()
        yield Until(lambda: not _is_open(dialog), _("the closing to begin"))
        yield Until(
            lambda: (
                all(c.phase in CLOSED for c in self.shell.bridge.snapshot.channels)
                or self.shell.bridge.snapshot.balance.onchain_unconfirmed_sat > 0
            ),
            _("the hub to agree to the closing"),
        )
        self.picture("closing")
        yield from self._mine_until(self._all_home, _("the coins to come home"))
        back = self._item(lambda i: i.item_id not in known and i.moved_msat > 0, "closing transaction")
        self.ledger.append((_("closing fee"), back.moved_msat - before.local_msat))
        self.picture("closed")
        self.shell.go("overview")
        self.picture("overview-end")
        self.say(_("Closed the channel; {amount} came back.").format(amount=fmt.amount(back.moved_msat)))

    def _all_home(self) -> bool:
        balance = self.shell.bridge.snapshot.balance
        return balance.lightning_msat == 0 and not balance.locked and balance.onchain_unconfirmed_sat == 0

    def _adds_up(self) -> bool:
        return sum(part_msat for _what, part_msat in self.ledger) == self._snapshot_total_sat() * 1000

    def _add_up(self) -> None:
        holds_msat = self._snapshot_total_sat() * 1000
        sum_msat = sum(part_msat for _what, part_msat in self.ledger)
        parts: list[str] = []
        for what, part_msat in self.ledger:
            sign = ("+ " if part_msat >= 0 else f"{fmt.MINUS} ") if parts else ""
            parts.append(f"{sign}{fmt.msat_exact(abs(part_msat))} {what}")
        line = f"{' '.join(parts)} = {fmt.msat_exact(sum_msat)}"
        if sum_msat != holds_msat:
            raise TourError(
                _("{sum}, but the wallet says that it holds {holds}.").format(
                    sum=line, holds=fmt.msat_exact(holds_msat)
                )
            )
        self.say(_("{sum}: the wallet holds exactly that.").format(sum=line))


def _filled(where: QWidget) -> list[Button]:
    return [b for b in where.findChildren(Button) if b.kind == "filled" and b.isVisible() and b.isEnabled()]


def _is_open(widget: QWidget) -> bool:
    from PyQt6 import sip

    return not sip.isdeleted(widget) and widget.isVisible()


def run_tour(host: WalletHost, network: str, out_dir: Path | str) -> int:
    """Walks through the sandbox and writes the pictures; 0 when every step came to its end and the sum is right."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    folder = Path(out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    app = make_application(["leyden"])
    preferences = Preferences()
    preferences.set_text("look/theme", "light")
    preferences.set_text("look/motion", "no")
    window = make_window(host, network, preferences)
    window.resize(1160, 760)
    window.start()
    window.show()
    tour = Tour(window, folder)
    codes: list[int] = []

    def ended(code: int, sentence: str) -> None:
        codes.append(code)
        if sentence:
            print(sentence, file=sys.stderr, flush=True)
            grab(window).save(str(folder / "stopped-here.png"))
        window.close()
        app.exit()

    driver = Driver(tour.walk(), ended)
    tour.follow = driver.follow
    driver.begin()
    # Else closing the window would post a second end, for whatever loop comes next.
    app.setQuitOnLastWindowClosed(False)
    app.exec()
    app.setQuitOnLastWindowClosed(True)
    host.close().result(CLOSE_SECONDS)
    return codes[0] if codes else 1
