"""Send: one field that takes anything, a card that says what will happen, the payment under way, how it
ended.

What is typed, pasted, dropped or scanned goes to the node's `recognise`; only the answer to the newest text counts.
Pictures are read in a thread. The page is one of four views: asking, under way, done, failed.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PyQt6.QtCore import QElapsedTimer, QMimeData, Qt, QTimer, pyqtSignal
from PyQt6.QtGui import QDragEnterEvent, QDropEvent, QGuiApplication, QImage, QKeyEvent, QKeySequence
from PyQt6.QtWidgets import QStackedWidget, QWidget

from wallet.gui import format as fmt
from wallet.gui.context import Context
from wallet.gui.pages.base import Page, column, left_column, scroller
from wallet.gui.pages.contacts import ContactsBox
from wallet.gui.pages.link_cards import LinkCard, NodeCard
from wallet.gui.pages.pay_cards import InvoiceCard, OnchainCard
from wallet.gui.pages.psbt_card import PsbtCard
from wallet.gui.pages.results import ResultPage
from wallet.gui.scan import screen as screens
from wallet.gui.scan.reader import Reader, load_picture
from wallet.gui.theme import theme
from wallet.gui.tokens import FORM_WIDTH, S2, S4, S6
from wallet.gui.widgets.basic import (
    WIDEST_PROSE,
    AmountLabel,
    Button,
    Label,
    Pill,
    add_action,
    discard,
    hbox,
    menu,
    vbox,
)
from wallet.gui.widgets.beside import Beside
from wallet.gui.widgets.fields import LineEdit
from wallet.gui.widgets.files import ask_file
from wallet.gui.widgets.ids import copy_text
from wallet.gui.widgets.notices import Banner, toast
from wallet.gui.widgets.stepper import RouteLine
from wallet.i18n import _, ngettext
from wallet.node.api import ActivityStatus, AttemptView, ChangeSet

__all__ = ["SendPage"]

RECOGNISE_AFTER_MS = 120
SLOW_AFTER_MS = 10_000
LOOK_EVERY_MS = 250
"""How often a payment under way is asked where it is: it begins and tries anew without a word."""
MAX_TEXT = 200_000
"""A transaction to be signed is the longest thing that is pasted here."""
MAX_FILE_BYTES = 1_000_000


class _AnyField(LineEdit):
    """The one field. What is pasted into it when it is empty may be a picture as well."""

    def __init__(self, name: str, on_paste: Callable[[], object]) -> None:
        super().__init__(name, "", main=True)
        self._on_paste = on_paste
        # The page takes what is dropped: a file's name would be no help in here.
        self.setAcceptDrops(False)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        whole = not self.text() or self.selectedText() == self.text()
        if event is not None and whole and event.matches(QKeySequence.StandardKey.Paste):
            self._on_paste()
            return
        super().keyPressEvent(event)


class _Progress(QWidget):
    """A payment under way: the amount, its way as dots, what is being tried, and that one need not stay.

    Signals: `slow()`, once a node on the way has not answered for long.
    """

    slow = pyqtSignal()

    def __init__(self, network: str) -> None:
        super().__init__()
        centre = Qt.AlignmentFlag.AlignHCenter
        self.amount = AmountLabel("display", align=centre)
        self.payee = Label("", "body", "text2", align=centre)
        self.route = RouteLine()
        self.route.setFixedWidth(min(theme().px(480), WIDEST_PROSE))
        self.sentence = Label("", "strong", align=centre)
        self.note = Label("", "caption", "text2", wrap=True, align=centre)
        self.note.setFixedWidth(min(theme().px(440), WIDEST_PROSE))
        box = vbox("stretch", spacing=S2)
        word = fmt.network_word(network)
        if word:
            box.addWidget(Pill(word, "play", "sandbox"), 0, centre)
            box.addSpacing(theme().px(S4))
        for widget in (Label(_("Paying"), "title"), self.amount, self.payee):
            box.addWidget(widget, 0, centre)
        box.addSpacing(theme().px(S6))
        box.addWidget(self.route, 0, centre)
        box.addWidget(self.sentence, 0, centre)
        box.addWidget(self.note, 0, centre)
        box.addStretch(1)
        inside = QWidget()
        inside.setLayout(box)
        self.setLayout(vbox(scroller(inside), spacing=0))
        self._told = False
        self.looking = QTimer(self)
        self.looking.setInterval(LOOK_EVERY_MS)
        self._slow = QTimer(self)
        self._slow.setSingleShot(True)
        self._slow.setInterval(SLOW_AFTER_MS)
        self._slow.timeout.connect(self._say_slow)

    def begin(self, amount_msat: int, payee: str) -> None:
        self.amount.set_msat(amount_msat)
        self.payee.setText(_("to {payee}").format(payee=payee))
        self.route.show_route([_("You"), payee])
        self.say(_("Looking for a route"))
        self._told = False
        self.note.setText(_("This takes a second or two. You can go to another page meanwhile."))
        self._slow.start()
        self.looking.start()

    def say(self, sentence: str) -> None:
        """The node's words."""
        self._told = True
        self.sentence.setText(fmt.plain(sentence, 90))

    def draw(self, attempts: Sequence[AttemptView]) -> None:
        """The way that is being tried now; of a payment in parts, that of the last part. It is said in words as well,
        while the node has said nothing."""
        under_way = [a for a in attempts if a.status is ActivityStatus.PENDING and a.hops]
        if not under_way:
            return
        hops = under_way[-1].hops
        between = [fmt.node_name(hop.alias, hop.node_id) for hop in hops[:-1]]
        self.route.show_route([self.route.names[0], *between, self.route.names[-1]])
        if not self._told:
            if len(under_way) > 1:
                words = ngettext("On its way by {n} route", "On its way by {n} routes", len(under_way))
                self.sentence.setText(words.format(n=len(under_way)))
            else:
                words = ngettext("On its way over {n} channel", "On its way over {n} channels", len(hops))
                self.sentence.setText(words.format(n=len(hops)))

    def end(self) -> None:
        self._slow.stop()
        self.looking.stop()

    def _say_slow(self) -> None:
        self.note.setText(
            _(
                "A node on the way has not answered yet. The payment either arrives or comes back to you by itself; "
                "it is never made twice."
            )
        )
        self.slow.emit()

    def say_deadline(self, blocks: int) -> None:
        """When its time limit ends. That is not yet the money: what hangs beyond has to be fetched on chain."""
        if blocks <= 0:
            self.note.setText(
                _(
                    "A node on the way has not answered within the payment's time limit. Leyden closes the channel, "
                    "and takes the amount back on chain unless it still arrives; it is never paid twice."
                )
            )
            return
        self.note.setText(
            _(
                "A node on the way has not answered yet. The payment either arrives or comes back to you by itself; it "
                "is never made twice. Its time limit ends in {time}: should it hang even then, Leyden closes the "
                "channel and takes the amount back on chain, which takes longer. You can go to another page meanwhile."
            ).format(time=fmt.blocks_long(blocks))
        )


class SendPage(Page):
    """Attributes: `field`, `card` once something was recognised, `result` once a payment has ended; `reader`, which
    looks for codes; `contacts`, under the empty field."""

    def __init__(self, context: Context) -> None:
        super().__init__(context, _("Send"), scrolls=False, inset=4)
        self.views = QStackedWidget()
        self.body.addWidget(self.views)
        self.card: InvoiceCard | OnchainCard | LinkCard | NodeCard | PsbtCard | None = None
        self.result: ResultPage | None = None
        self._asked = 0
        self._paying: dict[str, Any] | None = None
        self._next = ""  # what came meanwhile
        # What was still under way when its command ended, and the order; until it is known how it went.
        self._left_open: tuple[str, dict[str, Any]] | None = None
        self._clock = QElapsedTimer()

        asking = QWidget()
        holder, box = column(FORM_WIDTH, spacing=S4)
        self.field = _AnyField(_("Invoice, address or payment link"), self.paste_clipboard)
        self.field.setPlaceholderText(_("Invoice, address, name@host or link"))
        self.field.setMaxLength(MAX_TEXT)
        self.field.setClearButtonEnabled(False)
        self.paste = Button(_("Paste"), "outlined", "paste", main=True, on_click=self.paste_clipboard)
        self.scan = Button(_("Scan"), "outlined", "scan", main=True, on_click=self._open_scan_menu)
        box.addLayout(Beside(self.field, hbox(self.paste, self.scan, spacing=S2), least=260, spacing=S2))
        self.hint = Label("", "body", "text2", wrap=True)
        box.addWidget(self.hint)
        self.ways_in = Label(
            _("Files and pictures with a code can be dropped here, and pasted on any page."),
            "caption",
            "text2",
            wrap=True,
        )
        box.addWidget(self.ways_in)
        self.banner = Banner("", "warning", _("Clear"), self.reset)
        box.addWidget(self.banner)
        self._card_place = vbox()
        box.addLayout(self._card_place)
        self.contacts = ContactsBox(context)
        self.contacts.chosen.connect(self.take)
        box.addSpacing(theme().px(S4))
        box.addWidget(self.contacts)
        box.addStretch(1)
        asking.setLayout(left_column(holder, margin=4))
        self._asking = scroller(asking)
        self.progress = _Progress(context.network)
        self.progress.looking.timeout.connect(self._look)
        self.progress.slow.connect(self._ask_deadline)
        self.views.addWidget(self._asking)
        self.views.addWidget(self.progress)

        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(RECOGNISE_AFTER_MS)
        self._timer.timeout.connect(self._recognise)
        self.field.textChanged.connect(self._text_changed)
        context.preferences.amounts_changed.connect(self.mark_stale)
        self.setAcceptDrops(True)
        self.reader = Reader(self)
        self.reader.answered.connect(self._picture_read)
        self._unread = ""
        self._screen: screens.ScreenSource | None = None
        self.contacts.read()

    # --- asking -----------------------------------------------------------------

    def set_first_focus(self) -> None:
        if self.views.currentWidget() is self._asking and self.card is None:
            self.field.setFocus(Qt.FocusReason.OtherFocusReason)

    def take(self, text: str) -> None:
        """A text that comes from elsewhere: recognised at once, or once the payment under way has ended."""
        if self._paying is not None:
            self._next = text
            toast(self, _("It is shown once this payment has ended"), "hourglass")
            return
        self._next = ""
        self.reset()
        self.field.setText(text.strip())
        self.field.setCursorPosition(0)
        self._recognise()

    # --- pictures, files, the clipboard --------------------------------------------

    def paste_clipboard(self) -> None:
        """What is on the clipboard: a text, a file, or a picture with a code."""
        clipboard = QGuiApplication.clipboard()
        mime = None if clipboard is None else clipboard.mimeData()
        if mime is None or not self._take_mime(mime):
            self._say(_("There is no text on the clipboard, and no picture with a code."), "info")

    def _take_mime(self, mime: QMimeData) -> bool:
        """Whether there was anything to be looked at."""
        text = mime.text().strip()[:MAX_TEXT]
        if self._paying is not None:
            if text:
                self.take(text)
            return True
        files = [url.toLocalFile() for url in mime.urls() if url.isLocalFile()]
        if files:
            self.take_file(Path(files[0]))
            return True
        if mime.hasImage():
            image = mime.imageData()
            if isinstance(image, QImage) and not image.isNull():
                self.take_picture(image)
                return True
        if text:
            self.take(text)
        return bool(text)

    def take_file(self, path: Path) -> None:
        """A picture with a code, a text, or a transaction to be signed."""
        image = load_picture(str(path))
        if image is not None:
            self.take_picture(image)
            return
        name = fmt.plain(path.name, 60)
        try:
            if not path.is_file():
                raise OSError("a pipe or a device may have no end, or no beginning")
            with path.open("rb") as file:
                raw = file.read(MAX_FILE_BYTES + 1)
        except OSError:
            self._say(_("The file {name} cannot be read.").format(name=name))
            return
        text = ""
        if raw.startswith(b"psbt\xff"):
            text = base64.b64encode(raw).decode()
        elif b"\0" not in raw:
            text = raw.decode("utf-8", "replace").strip()
        if not text or len(raw) > MAX_FILE_BYTES or len(text) > MAX_TEXT or "\ufffd" in text:
            self._say(_("The file {name} holds neither a picture with a code nor a text.").format(name=name))
            return
        self.take(text)

    def take_picture(self, image: QImage, unread: str = "") -> None:
        """Looks for a code; `unread` is what is said where there is none."""
        if self._paying is not None:
            return
        self.reset()
        self._unread = unread or _(
            "There is no QR code in this picture that can be read. Try a larger or a sharper one."
        )
        self._say(_("Looking for a code in the picture"), "info")
        self.reader.submit(image)

    def _picture_read(self, text: object) -> None:
        if self._paying is not None or self.field.text() or self.reader.is_busy:
            return  # something newer is in the field
        if isinstance(text, str):
            self.take(text)
        else:
            self._say(self._unread)

    def _say(self, sentence: str, tone: str = "warning") -> None:
        self.views.setCurrentWidget(self._asking)
        self.banner.say(sentence, tone)

    def dragEnterEvent(self, event: QDragEnterEvent | None) -> None:
        mime = None if event is None else event.mimeData()
        if event is not None and mime is not None and (mime.hasText() or mime.hasUrls() or mime.hasImage()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent | None) -> None:
        mime = None if event is None else event.mimeData()
        if event is not None and mime is not None and self._take_mime(mime):
            event.acceptProposedAction()

    # --- scanning -------------------------------------------------------------------

    def _open_scan_menu(self) -> None:
        made = menu(self.scan)
        add_action(made, _("With the camera"), self.scan_camera, "scan")
        add_action(made, _("From a part of the screen"), self.scan_screen, "screen")
        add_action(made, _("From an image file"), self.scan_file, "qr")
        made.popup(self.scan.mapToGlobal(self.scan.rect().bottomLeft()))

    def scan_camera(self) -> None:
        from wallet.gui.scan.dialog import CameraDialog

        CameraDialog(self, self.take, network=self.context.network).begin()

    def scan_screen(self) -> None:
        source = screens.open_screen()
        self._screen = source  # kept until it has answered

        def chosen(image: QImage) -> None:
            self._screen = None
            self.take_picture(
                image, _("There is no QR code in this part of the screen that can be read. Try again.")
            )

        def failed(sentence: str) -> None:
            self._screen = None
            if sentence:
                self._say(sentence)

        source.chosen.connect(chosen)
        source.failed.connect(failed)
        source.begin(self.window() or self)

    def scan_file(self) -> None:
        ask_file(self, _("Choose a picture with a code"), self.take_file)

    # --- recognising ------------------------------------------------------------------

    def _text_changed(self, text: str) -> None:
        self._asked += 1
        self._drop_card()
        self.banner.say("")
        self.hint.setVisible(not text.strip())
        self.ways_in.setVisible(not text.strip())
        self.contacts.setVisible(not text.strip())
        if text.strip():
            self._timer.start()
        else:
            self._timer.stop()

    def _drop_card(self) -> None:
        if self.card is not None:
            self._card_place.removeWidget(self.card)
            discard(self.card)
            self.card = None

    def _recognise(self) -> None:
        self._timer.stop()
        text = self.field.text().strip()
        if not text:
            return
        self._asked += 1
        number = self._asked

        def done(answer: Any) -> None:
            if number == self._asked and self._paying is None and isinstance(answer, Mapping):
                self._show_answer(text, answer)

        def failed(sentence: str) -> None:
            if number == self._asked:
                self.banner.say(sentence, "warning")

        self.context.bridge.call("recognise", done, failed, owner=self, text=text)

    def _show_answer(self, text: str, answer: Mapping[str, Any]) -> None:
        self._drop_card()
        message = fmt.plain(str(answer.get("message") or ""), 300)
        kind = answer.get("kind")
        if answer.get("network_ok") is False:
            self.banner.say(message or _("This belongs to another network."), "danger")
            return
        if kind == "node_uri":
            self.reset()
            self.context.open_channel(str(answer.get("uri") or text))
            return
        card: InvoiceCard | OnchainCard | LinkCard | NodeCard | PsbtCard
        if kind == "invoice":
            card = InvoiceCard(self.context, str(answer.get("invoice") or text), answer)
            card.pay.connect(self._pay_invoice)
        elif kind == "lnurlp":
            card = LinkCard(self.context, answer)
            card.pay.connect(self._pay_link)
        elif kind == "psbt":
            card = PsbtCard(self.context, answer)
            card.pay.connect(self._pay_onchain)
        elif kind == "transaction":
            self.banner.say(
                _(
                    "This is a transaction, not somebody to be paid. The console sends it: broadcast, and its text."
                ),
                "info",
            )
            return
        elif kind == "node":
            card = NodeCard(self.context, answer)
            card.pay.connect(self._pay_invoice)
        elif kind == "address":
            card = OnchainCard(self.context, answer)
            card.pay.connect(self._pay_onchain)
            why_not = fmt.plain(str(answer.get("instead_of_lightning") or ""), 300)
            if why_not:
                self.banner.say(
                    _("Over Lightning it does not work: {why} It can be paid on chain.").format(
                        why=_sentence(why_not)
                    ),
                    "info",
                )
        else:
            self.banner.say(message or _("This is not something that can be paid."), "warning")
            return
        self.card = card
        self.card.instead.connect(lambda found: self._show_answer(text, found))
        self.card.cancelled.connect(self.reset)
        self._card_place.addWidget(self.card)
        self.card.set_first_focus()

    def reset(self) -> None:
        """Back to the empty field."""
        self._paying = None
        self._left_open = None
        self.progress.end()
        if self.result is not None:
            self.views.removeWidget(self.result)
            discard(self.result)
            self.result = None
        self.views.setCurrentWidget(self._asking)
        self.field.clear()
        self.banner.say("")
        self._drop_card()
        self.hint.show()
        self.ways_in.show()
        self.refresh()
        self.field.setFocus(Qt.FocusReason.OtherFocusReason)

    # --- paying -----------------------------------------------------------------

    def _pay_invoice(self, order: dict[str, Any]) -> None:
        """`order`: invoice, amount_msat (what is paid), arguments, payee, payment_hash or None."""
        self._paying = order
        self._clock.start()
        self.progress.begin(order["amount_msat"], order["payee"])
        self.views.setCurrentWidget(self.progress)

        def done(answer: Any) -> None:
            if self._paying is order:
                self._lightning_ended(order, answer)

        def failed(sentence: str) -> None:
            if self._paying is order:
                self._broke_off(order, sentence)

        command = "keysend" if order.get("kind") == "keysend" else "lnpay"
        self.context.bridge.call(command, done, failed, owner=self, **order["arguments"])

    def _pay_link(self, order: dict[str, Any]) -> None:
        """`order` as for an invoice, which its server is asked for first (`ask`)."""
        self._paying = order
        self.progress.begin(order["amount_msat"], order["payee"])
        self.progress.say(_("Asking {host} for the invoice").format(host=fmt.plain(order["host"], 60)))
        self.views.setCurrentWidget(self.progress)

        def done(answer: Any) -> None:
            if self._paying is order and isinstance(answer, Mapping):
                self._pay_invoice(
                    order
                    | {
                        "arguments": order["arguments"] | {"invoice": str(answer["invoice"])},
                        "payment_hash": answer.get("payment_hash"),
                    }
                )

        def failed(sentence: str) -> None:
            if self._paying is order:
                self._failed(order, _nothing_spent(sentence))

        self.context.bridge.call("lnurlp_invoice", done, failed, owner=self, **order["ask"])

    def _lightning_ended(self, order: dict[str, Any], answer: Mapping[str, Any]) -> None:
        if answer.get("pending"):
            self._still_under_way(order, answer)
            return
        if not answer.get("success"):
            self._failed(
                order,
                # The node's own words, which say that nothing was paid.
                fmt.plain(str(answer.get("reason") or _("No reason was given. Nothing was spent.")), 600),
                tried=f"ln:{answer.get('payment_hash') or order.get('payment_hash')}",
            )
            return
        fee_msat = int(answer.get("fee_msat") or 0)
        tenths = max(1, self._clock.elapsed() // 100)
        took = _("{seconds} seconds").format(seconds=f"{tenths // 10}.{tenths % 10}")
        lines = [
            _("to {payee}").format(payee=order["payee"]),
            _("Fee {fee}, in {time}").format(
                fee=fmt.fee_with_share(fee_msat, order["amount_msat"]), time=took
            ),
        ]
        payment_hash = str(answer.get("payment_hash") or "")
        if order.get("kind") != "lnurlp":
            self._paid(order, lines, payment_hash, {})
            return

        def said(words: Any) -> None:
            if self._paying is order:
                self._paid(order, lines, payment_hash, words if isinstance(words, Mapping) else {})

        def silent(_sentence: str) -> None:
            said({})

        self.context.bridge.call("payee_message", said, silent, owner=self, payment_hash=payment_hash)

    def _paid(
        self, order: dict[str, Any], lines: list[str], payment_hash: str, words: Mapping[str, Any]
    ) -> None:
        """The end of a payment that arrived; `words` are the payee's, and shown as they are."""
        buttons: list[tuple[str, Callable[[], object]]] = [
            (_("Done"), self._done),
            (_("Details"), lambda: self.context.show_item(f"ln:{payment_hash}")),
        ]
        message = fmt.foreign(str(words.get("payee_says") or ""), 200)
        if message:
            lines.append(_("The payee says: {words}").format(words=message))
        secret = fmt.plain(str(words.get("payee_secret") or ""), 1000)
        if secret:
            lines.append(secret)
            buttons.append((_("Copy the payee's message"), lambda: copy_text(self, secret, _("Message"))))
        link = fmt.plain(str(words.get("payee_link") or ""), 1000)
        if link:
            lines.append(link)
            buttons.append((_("Copy the link"), lambda: copy_text(self, link, _("Link"))))
        destination = order.get("contact")
        if destination:
            buttons.append((_("Keep as a contact"), lambda: self._keep(order["payee"], str(destination))))
        self._end(
            ResultPage(
                good=True,
                title=_("Paid"),
                amount_msat=order["amount_msat"],
                lines=lines,
                buttons=buttons,
                network=self.context.network,
            )
        )

    def _keep(self, name: str, destination: str) -> None:
        self.contacts.ask_new(name, destination)

    def _broke_off(self, order: dict[str, Any], sentence: str) -> None:
        """The command ended without an answer. That nothing was spent is said only where nothing is under way."""
        payment_hash = order.get("payment_hash")
        attempts = self.context.bridge.api.payment_attempts(f"ln:{payment_hash}") if payment_hash else ()
        if any(attempt.status is ActivityStatus.PENDING for attempt in attempts):
            self._still_under_way(order, {"payment_hash": payment_hash, "reason": sentence})
        else:
            self._failed(order, _nothing_spent(sentence))

    def _still_under_way(self, order: dict[str, Any], answer: Mapping[str, Any]) -> None:
        """The command gave up waiting; the payment itself either arrives or comes back."""
        item_id = f"ln:{answer.get('payment_hash')}"
        self._left_open = item_id, order
        self._end(
            ResultPage(
                good=True,
                icon="hourglass",
                title=_("Still under way"),
                amount_msat=order["amount_msat"],
                lines=[_("to {payee}").format(payee=order["payee"])],
                advice=fmt.plain(str(answer.get("reason") or ""), 300),
                buttons=[(_("Done"), self._done), (_("Details"), lambda: self.context.show_item(item_id))],
                network=self.context.network,
            )
        )

    def _pay_onchain(self, order: dict[str, Any]) -> None:
        """`order`: arguments of payto, amount_sat, fee_sat, address, payee, wait."""
        self._paying = order

        def done(answer: Any) -> None:
            if self._paying is not order:
                return
            txid = str(answer.get("txid", "")) if isinstance(answer, Mapping) else str(answer or "")
            fee = fmt.fee_with_share(order["fee_sat"] * 1000, order["amount_sat"] * 1000)
            # Without a server it is written down, and has reached nobody. A PSBT is broadcast before it is answered.
            left = order.get("kind") == "psbt" or any(
                server.connected for server in self.context.snapshot.status.servers
            )
            lines = [
                _("to {payee}").format(payee=order["payee"]),
                _("Fee {fee}. It confirms in {time}; you can close Leyden now.").format(
                    fee=fee, time=order["wait"]
                )
                if left
                else _(
                    "Fee {fee}. It is signed and kept, but no server is connected: Leyden sends it as soon as one is, "
                    "by itself. Leave Leyden open until then."
                ).format(fee=fee),
            ]
            self._end(
                ResultPage(
                    good=True,
                    icon=None if left else "hourglass",
                    title=_("Sent") if left else _("Waiting for a server"),
                    amount_msat=order["amount_sat"] * 1000,
                    lines=lines,
                    buttons=[
                        (_("Done"), self._done),
                        (_("Details"), lambda: self.context.show_item(f"tx:{txid}")),
                    ],
                    network=self.context.network,
                )
            )

        def failed(sentence: str) -> None:
            if self._paying is order:
                # Of a transaction that others may send as well, nobody here knows.
                said = _sentence(sentence) if order.get("kind") == "psbt" else _nothing_spent(sentence)
                self._failed(order | {"amount_msat": order["amount_sat"] * 1000}, said)

        command = "broadcast_psbt" if order.get("kind") == "psbt" else "payto"
        self.context.bridge.call(command, done, failed, owner=self, **order["arguments"])

    def _failed(self, order: dict[str, Any], reason: str, *, tried: str = "") -> None:
        """`tried`: the payment's item, where its attempts can be looked at."""
        text = self.field.text()
        buttons: list[tuple[str, Callable[[], object]]] = [(_("Try again"), lambda: self._again(text))]
        fallback = order.get("fallback")
        if isinstance(fallback, Mapping):
            buttons.append((_("Pay on chain instead"), lambda: self._pay_instead(text, fallback)))
        if tried:
            buttons.append((_("What was tried"), lambda: self.context.show_item(tried)))
        buttons.append((_("Back"), self._done))
        self._end(
            ResultPage(
                good=False,
                title=_("Not paid"),
                amount_msat=order["amount_msat"],
                lines=[_("to {payee}").format(payee=order["payee"])],
                advice=_sentence(reason),
                buttons=buttons,
                network=self.context.network,
            )
        )

    def _again(self, text: str) -> None:
        waits = self._next
        self.take(text)
        self._next = waits

    def _pay_instead(self, text: str, found: Mapping[str, Any]) -> None:
        """Nothing is under way over Lightning: the same request, on the other layer."""
        self.reset()
        self.field.setText(text)
        self.field.setCursorPosition(0)
        self._timer.stop()
        self._show_answer(text, found)

    def _look_how_it_went(self) -> None:
        """A payment that was left under way may have arrived or come back since."""
        if self._left_open is None:
            return
        item_id, order = self._left_open
        [item] = self.context.bridge.api.activity_items([item_id])
        if item is None or item.status is ActivityStatus.PENDING:
            return
        self._left_open = None
        if item.status is ActivityStatus.DONE:
            fee = fmt.fee_with_share(item.fee_msat, order["amount_msat"])
            lines = [_("to {payee}").format(payee=order["payee"]), _("Fee {fee}").format(fee=fee)]
            self._paid(order, lines, item_id.removeprefix("ln:"), {})
        else:
            self._failed(order, fmt.plain(item.status_text, 600), tried=item_id)

    def _end(self, result: ResultPage) -> None:
        self._paying = None
        self.progress.end()
        if self.result is not None:
            self.views.removeWidget(self.result)
            discard(self.result)
        self.result = result
        self.views.addWidget(result)
        self.views.setCurrentWidget(result)
        if self.isVisible():
            result.buttons[0].setFocus(Qt.FocusReason.OtherFocusReason)

    def _done(self) -> None:
        waits, self._next = self._next, ""
        self.reset()
        if waits:
            self.take(waits)
        else:
            self.context.go("overview")

    # --- live -------------------------------------------------------------------

    def changed(self, changes: ChangeSet) -> None:
        if self._paying is not None and changes.payment_progress:
            item_id = f"ln:{self._paying.get('payment_hash')}"
            sentence = changes.payment_progress.get(item_id)
            if sentence:
                self.progress.say(sentence)
        self.refresh()

    def _ask_deadline(self) -> None:
        """Of a payment that takes long: until when at most."""
        order = self._paying
        payment_hash = None if order is None else order.get("payment_hash")
        if not payment_hash:
            return

        def told(answer: Any) -> None:
            if self._paying is order and isinstance(answer, Mapping) and "blocks" in answer:
                self.progress.say_deadline(int(answer["blocks"]))

        self.context.bridge.call(
            "payment_deadline", told, lambda _sentence: None, owner=self, payment_hash=str(payment_hash)
        )

    def _look(self) -> None:
        """Where the payment under way is."""
        payment_hash = self._paying.get("payment_hash") if self._paying is not None else None
        if payment_hash and self.isVisible():
            self.progress.draw(self.context.bridge.api.payment_attempts(f"ln:{payment_hash}"))

    def refresh(self) -> None:
        self._look_how_it_went()
        balance = self.context.snapshot.balance
        if balance.can_send_msat > 0:
            text = _("You can send up to {lightning} over Lightning, and {onchain} on chain.").format(
                lightning=fmt.with_fiat(balance.can_send_msat // 1000 * 1000),
                onchain=fmt.with_fiat(balance.onchain_spendable_sat * 1000),
            )
        elif balance.onchain_spendable_sat > 0:
            text = _("You can send up to {onchain} on chain. To pay over Lightning, open a channel.").format(
                onchain=fmt.with_fiat(balance.onchain_spendable_sat * 1000)
            )
        else:
            text = _("There is nothing to send yet. Receive some coins first.")
        self.hint.setText(text)
        if isinstance(self.card, InvoiceCard) and self.card.is_to_be_asked_again():
            self._recognise()
        elif self.card is not None:
            self.card.refresh()


def _nothing_spent(reason: str) -> str:
    """A refusal, and that it cost nothing, unless it says so itself."""
    reason = _sentence(reason)
    return (
        reason if _("Nothing was paid.") in reason else _("{reason} Nothing was spent.").format(reason=reason)
    )


def _sentence(text: str) -> str:
    """Ends with a full stop, whatever it ended with."""
    return text if text.endswith((".", "!", "?")) else f"{text}."
