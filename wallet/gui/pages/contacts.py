"""Contacts, and names of one's own for nodes: kept in the wallet's file, shown where one pays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from PyQt6.QtCore import Qt, pyqtSignal
from PyQt6.QtWidgets import QWidget

from wallet.gui import format as fmt
from wallet.gui.context import Context
from wallet.gui.theme import theme
from wallet.gui.tips import plain_tip
from wallet.gui.tokens import S2, S4
from wallet.gui.widgets.basic import Button, ElidedLabel, Label, clear, hbox, vbox
from wallet.gui.widgets.dialog import Dialog
from wallet.gui.widgets.fields import Field, LineEdit
from wallet.gui.widgets.notices import Banner
from wallet.gui.widgets.why import tell_why
from wallet.i18n import _

__all__ = ["ContactDialog", "ContactsBox", "NameDialog", "NodeName", "read_node_names"]

MAX_NAME = 60
SHOWN_NAME = 30


def read_node_names(context: Context) -> None:
    """Takes the names that the person gave to nodes into `fmt.own_names`, which every page reads."""

    def done(answer: Any) -> None:
        if isinstance(answer, Mapping):
            fmt.own_names.update({str(key): fmt.foreign(str(name), MAX_NAME) for key, name in answer.items()})

    context.bridge.call("node_names", done, lambda _sentence: None)


class NameDialog(Dialog):
    """A name of one's own for a node."""

    def __init__(
        self, parent: QWidget, context: Context, node_id: str, alias: str, on_named: Callable[[], object]
    ) -> None:
        super().__init__(parent, _("A name of your own"), network=context.network, width=460)
        self._context, self._node_id, self._on_named = context, node_id, on_named
        self.field = LineEdit(_("Name"), fmt.plain(alias, 40))
        self.field.setMaxLength(MAX_NAME)
        self.field.setText(fmt.own_names.get(node_id, ""))
        self.body.addWidget(
            Field(
                _("Name"),
                self.field,
                _(
                    "Shown in place of what the node calls itself. Nobody else sees it. Leave it empty to take it away."
                ),
            )
        )
        self.banner = Banner("", "warning")
        self.body.addWidget(self.banner)
        self.add_cancel()
        self.save = self.add_button(_("Save name"), "filled", self._save)

    def _save(self) -> None:
        name = fmt.plain(self.field.text(), MAX_NAME)

        def done(_answer: Any) -> None:
            if name:
                fmt.own_names[self._node_id] = name
            else:
                fmt.own_names.pop(self._node_id, None)
            self.accept()
            self._on_named()

        self._context.bridge.call(
            "name_node",
            done,
            lambda sentence: self.banner.say(sentence, "warning"),
            owner=self,
            node_id=self._node_id,
            name=name,
        )


class NodeName(QWidget):
    """Whom one pays, with a pencil to name it. Signal: `renamed()`. Attribute: `edit`, where there is a node."""

    renamed = pyqtSignal()

    def __init__(self, context: Context, node_id: str, alias: str, *, label_width: int = 96) -> None:
        super().__init__()
        self._context, self._node_id, self._alias = context, node_id, alias
        label = Label(_("To"), "body", "text2")
        label.setFixedWidth(theme().px(label_width))
        self._shown = Label("", "body", selectable=True)
        self.edit = Button(
            "", "quiet", "edit", small=True, name=_("Give this node a name of your own"), on_click=self._edit
        )
        self.edit.setVisible(bool(node_id))
        self.setLayout(hbox(label, self._shown, self.edit, "stretch", spacing=S4))
        self._show()

    @property
    def name(self) -> str:
        return fmt.node_name(self._alias, self._node_id)

    def _show(self) -> None:
        self._shown.setText(self.name)

    def _edit(self) -> None:
        def named() -> None:
            self._show()
            self.renamed.emit()

        NameDialog(self.window() or self, self._context, self._node_id, self._alias, named).open()


class ContactDialog(Dialog):
    """A new contact, or one that is there. Attributes: `name_field`, `destination_field`, `save`, `remove`."""

    def __init__(
        self,
        parent: QWidget,
        context: Context,
        on_changed: Callable[[], object],
        *,
        name: str = "",
        destination: str = "",
        known: bool = False,
    ) -> None:
        super().__init__(
            parent, _("Contact") if known else _("New contact"), network=context.network, width=500
        )
        self._context, self._on_changed, self._before = context, on_changed, name if known else ""
        self.name_field = LineEdit(_("Name"), _("Whom you pay"))
        self.name_field.setMaxLength(MAX_NAME)
        self.name_field.setText(name)
        self.destination_field = LineEdit(_("Destination"), _("name@host, payment link, address or node id"))
        self.destination_field.setText(destination)
        self.body.addWidget(Field(_("Name"), self.name_field))
        self.body.addWidget(
            Field(
                _("Destination"),
                self.destination_field,
                _(
                    "Something that can be paid again. An address that is used twice tells the world who is paid."
                ),
            )
        )
        self.banner = Banner("", "warning")
        self.body.addWidget(self.banner)
        self.remove: Button | None = None
        if known:
            self.remove = self.add_button(_("Remove"), "danger-text", self._remove)
        self.add_cancel()
        self.save = self.add_button(_("Save contact"), "filled", self._save)
        for field in (self.name_field, self.destination_field):
            field.textChanged.connect(lambda _text: self._check())
        self._check()

    def _check(self) -> None:
        missing = not self.name_field.text().strip() or not self.destination_field.text().strip()
        tell_why(self.save, _("Type a name and a destination first.") if missing else "", self.reason)

    def _save(self) -> None:
        name = fmt.plain(self.name_field.text(), MAX_NAME)

        def done(_answer: Any) -> None:
            if self._before and self._before.casefold() != name.casefold():
                self._call("removecontact", self._finish, name=self._before)
            else:
                self._finish()

        self._call("addcontact", done, name=name, destination=self.destination_field.text().strip())

    def _remove(self) -> None:
        self._call("removecontact", self._finish, name=self._before)

    def _call(self, command: str, done: Callable[[Any], object], **arguments: str) -> None:
        self._context.bridge.call(
            command, done, lambda sentence: self.banner.say(sentence, "warning"), owner=self, **arguments
        )

    def _finish(self, _answer: object = None) -> None:
        self.accept()
        self._on_changed()


class ContactsBox(QWidget):
    """The contacts under the empty field. Signal: `chosen(str)`, the name. Attributes: `rows`: the buttons that pay;
    `add`."""

    chosen = pyqtSignal(str)

    def __init__(self, context: Context) -> None:
        super().__init__()
        self._context = context
        self.rows: list[Button] = []
        self.edits: list[Button] = []
        self._shown: object = None
        self.add = Button(_("Add a contact"), "text", "plus", small=True, on_click=self.ask_new)
        self._list = vbox(spacing=S2)
        head = hbox(Label(_("Contacts"), "section"), "stretch", self.add)
        self.setLayout(vbox(head, self._list, spacing=S2))

    def ask_new(self, name: str = "", destination: str = "") -> None:
        ContactDialog(
            self.window() or self, self._context, self.read, name=name, destination=destination
        ).open()

    def read(self) -> None:
        def done(answer: Any) -> None:
            found = [item for item in answer if isinstance(item, Mapping)] if _is_list(answer) else []
            pairs = [(str(item.get("name") or ""), str(item.get("destination") or "")) for item in found]
            if pairs != self._shown:
                self._shown = pairs
                self._show(pairs)

        self._context.bridge.call("listcontacts", done, lambda _sentence: None, owner=self)

    def _show(self, pairs: list[tuple[str, str]]) -> None:
        clear(self._list)
        self.rows, self.edits = [], []
        for name, destination in pairs:
            pay = Button(
                fmt.plain(name, SHOWN_NAME),
                "outlined",
                "peer",
                name=_("Pay {name}").format(name=fmt.plain(name, MAX_NAME)),
                on_click=partial(self.chosen.emit, name),
            )
            if len(name) > SHOWN_NAME:
                pay.setToolTip(plain_tip(fmt.plain(name, MAX_NAME)))
            edit = Button(
                "",
                "quiet",
                "edit",
                name=_("Change {name}").format(name=fmt.plain(name, MAX_NAME)),
                on_click=partial(self._edit, name, destination),
            )
            self.rows.append(pay)
            self.edits.append(edit)
            row = hbox(pay, spacing=S4)
            row.addWidget(ElidedLabel(fmt.plain(destination, 200), "caption", "text2"), 1)
            row.addWidget(edit, 0, Qt.AlignmentFlag.AlignRight)
            self._list.addLayout(row)
        if not pairs:
            self._list.addWidget(
                Label(
                    _("Nobody yet. Whom you pay again and again is kept here, on this computer."),
                    "body",
                    "text2",
                    wrap=True,
                )
            )

    def _edit(self, name: str, destination: str) -> None:
        ContactDialog(
            self.window() or self, self._context, self.read, name=name, destination=destination, known=True
        ).open()


def _is_list(answer: object) -> bool:
    return isinstance(answer, Sequence) and not isinstance(answer, str)
