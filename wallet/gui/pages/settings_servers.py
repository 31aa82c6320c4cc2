"""Settings, Servers and Tor: which servers are asked, how each stands, and the way to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from PyQt6.QtWidgets import QWidget

from wallet.gui import format as fmt
from wallet.gui.context import Context
from wallet.gui.tokens import S1, S2, S3
from wallet.gui.widgets.basic import Button, Card, Flow, IconLabel, Label, Rule, clear, hbox, vbox
from wallet.gui.widgets.dialog import confirm
from wallet.gui.widgets.fields import Field, LineEdit
from wallet.gui.widgets.notices import toast
from wallet.i18n import _, ngettext

__all__ = ["ServersSection", "server_state"]

TOR = "127.0.0.1:9050"


def server_state(server: Mapping[str, Any]) -> tuple[str, str, str]:
    """A server's state in words, with its icon and tone."""
    problem = fmt.plain(str(server.get("problem") or ""), 200)
    height = server.get("height")
    if server.get("connected"):
        block = _("block {height}").format(height=fmt.group(height)) if isinstance(height, int) else ""
        if problem:
            return problem, "warning", "warning"
        if server.get("primary"):
            return (
                _("Connected, {block}. It alone is told your addresses.").format(block=block),
                "check",
                "success",
            )
        return _("Connected, {block}").format(block=block), "check", "success"
    seconds = server.get("retry_seconds")
    if problem:
        if isinstance(seconds, int) and seconds > 0:
            again = _("Tried again {time}.").format(time=fmt.until(fmt.now() + seconds))
            return f"{problem} {again}", "offline", "warning"
        return problem, "offline", "warning"
    return _("Not connected: in reserve"), "clock", "text2"


class ServersSection(QWidget):
    """Attributes: `address`, `add_button`, `reset_button`, `proxy`, `proxy_button`, `tor_button`, `direct_button`."""

    def __init__(self, context: Context) -> None:
        super().__init__()
        self._context = context
        self._asking = False
        self._answer: Mapping[str, Any] = {}
        self._drawn: object = None
        self._summary = Label("", "caption", "text2", wrap=True)
        self._rows = vbox(spacing=S2)
        self.address = LineEdit(_("Address of a server"), _("host:port:s"), mono=True)
        self.add_button = Button(_("Add"), "outlined", "plus", on_click=self._add)
        self.address.returnPressed.connect(self._add)
        self._address_row = Field(
            _("Add a server"),
            self.address,
            _("End it with :s for TLS, with :t for a plain connection."),
            beside=self.add_button,
        )
        self.reset_button = Button(_("Back to Leyden's own list"), "text", on_click=self._reset)
        self.proxy = LineEdit(_("Proxy"), _("None: connections go out directly"), mono=True)
        self.proxy_button = Button(_("Use it"), "outlined", on_click=self._set_proxy)
        self.proxy.returnPressed.connect(self._set_proxy)
        self._proxy_row = Field(
            _("Tor or another SOCKS5 proxy"),
            self.proxy,
            _("Servers and peers are reached through it, and names are looked up behind it."),
            beside=self.proxy_button,
        )
        self.tor_button = Button(
            _("Use Tor on this computer"), "text", on_click=lambda: self._set_proxy_to(TOR)
        )
        self.direct_button = Button(_("Connect directly"), "text", on_click=lambda: self._set_proxy_to(""))
        box = vbox(self._summary, spacing=S3)
        box.addLayout(self._rows)
        box.addWidget(Rule())
        box.addWidget(self._address_row)
        box.addLayout(Flow(self.reset_button))
        box.addWidget(Rule())
        box.addWidget(self._proxy_row)
        box.addLayout(Flow(self.tor_button, self.direct_button))
        self.setLayout(vbox(Label(_("Servers and Tor"), "section"), Card(box), spacing=S3))

    def refresh(self) -> None:
        """Asks how they stand, unless an answer is on its way."""
        if self._asking:
            return
        self._asking = True
        self._context.bridge.call("list_servers", self._take, self._not_told, owner=self)

    def _not_told(self, sentence: str) -> None:
        self._asking = False
        self._summary.setText(sentence)

    def _take(self, answer: Any) -> None:
        self._asking = False
        if not isinstance(answer, Mapping):
            return
        before = self._answer.get("proxy")
        self._answer = answer
        proxy = str(answer.get("proxy") or "")
        # What is being typed stays.
        if before is None or (proxy != before and self.proxy.text().strip() == before):
            self.proxy.setText(proxy)
        self._draw()

    def _servers(self) -> list[Mapping[str, Any]]:
        found = self._answer.get("servers")
        return [s for s in found if isinstance(s, Mapping)] if isinstance(found, Sequence) else []

    def _draw(self) -> None:
        servers = self._servers()
        connected = sum(bool(server.get("connected")) for server in servers)
        text = ngettext("Connected to {n} server.", "Connected to {n} servers.", connected).format(
            n=connected
        )
        if self._answer.get("required") == 1 and len(servers) == 1:
            text += " " + _("You trust this one alone: nobody checks what it says.")
        else:
            text += " " + _("At least two check each other; proofs and work count, not majorities.")
        if self._answer.get("named_for_this_run"):
            text += " " + _("They were named on the command line, for this run.")
        self._summary.setText(text)
        self.reset_button.setVisible(bool(self._answer.get("chosen")))
        proxied = bool(self._answer.get("proxy"))
        self.tor_button.setVisible(not proxied)
        self.direct_button.setVisible(proxied)
        drawn = [
            (str(server.get("address")), server_state(server), bool(server.get("other_certificate")))
            for server in servers
        ]
        if drawn == self._drawn:
            return
        focused = self._focused_address()
        self._drawn = drawn
        clear(self._rows)
        for address, (words, icon, tone), other_certificate in drawn:
            self._rows.addWidget(
                self._row(address, words, icon, tone, focused == address, other_certificate=other_certificate)
            )

    def _focused_address(self) -> str:
        """The server whose button the keyboard is on: it is to be there after drawing anew."""
        for at in range(self._rows.count()):
            item = self._rows.itemAt(at)
            widget = item.widget() if item is not None else None
            for button in [] if widget is None else widget.findChildren(Button):
                if button.hasFocus():
                    return str(button.property("address"))
        return ""

    def _row(
        self, address: str, words: str, icon: str, tone: str, focus: bool, *, other_certificate: bool
    ) -> QWidget:
        shown = fmt.plain(address, 80)
        remove = Button(
            "",
            "quiet",
            "close",
            small=True,
            name=_("Remove {server}").format(server=shown),
            on_click=lambda: self._remove(address),
        )
        remove.setProperty("address", address)
        title = Label(shown, "mono", wrap=True)
        text = Label(words, "caption", "text2", wrap=True)
        line = hbox(IconLabel(icon, tone, 20), spacing=S3)
        said = vbox(title, text, spacing=S1)
        if other_certificate:
            accept = Button(
                _("Accept its new certificate"),
                "text",
                small=True,
                name=_("Accept the new certificate of {server}").format(server=shown),
                on_click=lambda: self._accept_certificate(address),
            )
            said.addLayout(Flow(accept))
        line.addLayout(said, 1)
        line.addWidget(remove)
        holder = QWidget()
        holder.setLayout(line)
        if focus:
            remove.setFocus()
        return holder

    # --- what can be done ----------------------------------------------------------------

    def _changed(self, words: str) -> None:
        toast(self, words, "server")
        self._asking = False
        self.refresh()

    def _add(self) -> None:
        address = self.address.text().strip()
        if not address:
            self._address_row.set_problem(_("Type the server's address first."))
            return
        self._address_row.set_problem("")

        def added(_answer: Any) -> None:
            self.address.clear()
            self._changed(_("The server is added"))

        self._context.bridge.call(
            "add_server", added, self._address_row.set_problem, owner=self, address=address
        )

    def _remove(self, address: str, *, trust_one: bool = False) -> None:
        left = [s for s in self._servers() if s.get("address") != address]
        if len(left) == 1 and not trust_one:
            confirm(
                self,
                title=_("Trust one server alone?"),
                sentence=_(
                    "Only {server} would be left. It could hide a block or a payment from you, and nobody would "
                    "notice. Do this for a server of your own."
                ).format(server=fmt.plain(str(left[0].get("address")), 80)),
                action=_("Trust it alone"),
                on_yes=lambda: self._remove(address, trust_one=True),
                danger=True,
            )
            return
        self._context.bridge.call(
            "remove_server",
            lambda _answer: self._changed(_("The server is removed")),
            self._address_row.set_problem,
            owner=self,
            address=address,
            trust_one=trust_one,
        )

    def _accept_certificate(self, address: str) -> None:
        confirm(
            self,
            title=_("Accept another certificate?"),
            sentence=_(
                "{server} shows another certificate than before. Accept it if you know that it was renewed. Otherwise "
                "somebody may be listening in between: use another server."
            ).format(server=fmt.plain(address, 80)),
            action=_("Accept it"),
            on_yes=lambda: self._context.bridge.call(
                "forget_certificate",
                lambda _answer: self._changed(_("The server is asked again")),
                self._address_row.set_problem,
                owner=self,
                address=address,
            ),
            danger=True,
        )

    def _reset(self) -> None:
        self._context.bridge.call(
            "reset_servers",
            lambda _answer: self._changed(_("Leyden's own list is used")),
            self._address_row.set_problem,
            owner=self,
        )

    def _set_proxy_to(self, text: str) -> None:
        self.proxy.setText(text)
        self._set_proxy()

    def _set_proxy(self) -> None:
        self._proxy_row.set_problem("")
        text = self.proxy.text().strip()
        said = _("Connections go through the proxy now") if text else _("Connections go out directly now")
        self._context.bridge.call(
            "set_proxy",
            lambda _answer: self._changed(said),
            self._proxy_row.set_problem,
            owner=self,
            address=text,
        )
