"""Settings: how it looks, how amounts are written, what this wallet is, and what Leyden is made of."""

from __future__ import annotations

from PyQt6.QtWidgets import QWidget

from wallet.gui import format as fmt
from wallet.gui.assets import asset
from wallet.gui.context import Context
from wallet.gui.pages.base import Page, left_column
from wallet.gui.pages.settings_backup import BackupSection
from wallet.gui.theme import SCALES, theme
from wallet.gui.tokens import S3, S4, SETTINGS_WIDTH
from wallet.gui.widgets.basic import Button, Card, Label, Rule, hbox, vbox
from wallet.gui.widgets.checks import CheckBox
from wallet.gui.widgets.dialog import Dialog
from wallet.gui.widgets.fields import Segments, TextArea
from wallet.gui.widgets.ids import CopyId
from wallet.gui.widgets.notices import Facts
from wallet.i18n import _

__all__ = ["SettingsPage"]


def _row(title: str, sentence: str, control: QWidget) -> QWidget:
    row = QWidget()
    words = vbox(Label(title, "button"), spacing=0)
    if sentence:
        words.addWidget(Label(sentence, "caption", "text2", wrap=True))
    line = hbox(spacing=S4)
    line.addLayout(words, 1)
    line.addWidget(control)
    row.setLayout(line)
    return row


def _section(title: str, *rows: QWidget) -> QWidget:
    box = vbox(spacing=S3)
    for number, row in enumerate(rows):
        if number:
            box.addWidget(Rule())
        box.addWidget(row)
    holder = QWidget()
    holder.setLayout(vbox(Label(title, "section"), Card(box), spacing=S3))
    return holder


class SettingsPage(Page):
    """Attributes: `scheme`, `size`, `unit`, `hidden`, `motion`: the controls; `backup`: the section of that name."""

    def __init__(self, context: Context) -> None:
        super().__init__(context, _("Settings"))
        preferences = context.preferences
        look = theme()
        self.scheme = Segments(
            _("Colours"), [("system", _("System")), ("light", _("Light")), ("dark", _("Dark"))], look.choice
        )
        self.scheme.chosen.connect(preferences.choose_theme)
        self.text_size = Segments(
            _("Text size"), [(str(n), f"{n} %") for n in SCALES], str(look.scale_percent)
        )
        self.text_size.chosen.connect(lambda key: preferences.choose_text_size(int(key)))
        self.motion = CheckBox(_("On"))
        self.motion.setAccessibleName(_("Motion"))
        self.motion.setChecked(look.motion)
        self.motion.toggled.connect(preferences.choose_motion)
        self.unit = Segments(_("Unit"), [("sat", "sat"), ("BTC", "BTC")], fmt.style.unit)
        self.unit.chosen.connect(preferences.choose_unit)
        self.hidden = CheckBox(_("Hidden"))
        self.hidden.setAccessibleName(_("Hide amounts"))
        self.hidden.setChecked(fmt.style.hidden)
        self.hidden.toggled.connect(preferences.choose_hidden)
        preferences.amounts_changed.connect(lambda: self.hidden.setChecked(fmt.style.hidden))

        self._wallet = Facts(label_width=132)
        self.backup = BackupSection(context)
        licences = Button(_("Licences"), "outlined", on_click=self._show_licences)
        about = _(
            "Leyden, a Lightning wallet for the desktop. Free software under the GNU GPL, version 3 or later."
        )

        holder = QWidget()
        holder.setMaximumWidth(theme().px(SETTINGS_WIDTH))
        holder.setLayout(
            vbox(
                _section(
                    _("Look"),
                    _row(_("Colours"), _("As your desktop says, or always the same."), self.scheme),
                    _row(_("Text size"), "", self.text_size),
                    _row(_("Motion"), _("Short movements that show what changed."), self.motion),
                ),
                _section(
                    _("Amounts"),
                    _row(_("Unit"), _("One bitcoin is 100 000 000 sat."), self.unit),
                    _row(_("Amounts on the screen"), _("Hidden ones show six dots."), self.hidden),
                ),
                _section(_("Wallet"), self._wallet),
                self.backup,
                _section(_("About"), _row(_("Leyden"), about, licences)),
                spacing=24,
            )
        )
        self.body.addLayout(left_column(holder))
        self.body.addStretch(1)

    def refresh(self) -> None:
        status = self.context.snapshot.status
        facts: list[tuple[str, QWidget | str]] = [
            (_("Name"), fmt.plain(status.wallet_name, 60)),
            (_("Network"), fmt.network_word(status.network) or _("Bitcoin, real money")),
        ]
        if status.node_id:
            facts.append((_("Node id"), CopyId(_("Node id"), status.node_id)))
        if status.backup_text:
            facts.append((_("Backup"), fmt.plain(status.backup_text, 200)))
        self._wallet.show_facts(facts)
        self.backup.refresh()

    def _show_licences(self) -> None:
        dialog = Dialog(self, _("Licences"))
        text = TextArea(_("Licence of the typeface Inter"), lines=14, mono=True)
        text.setReadOnly(True)
        path = asset("licences", "Inter-OFL.txt")
        text.setPlainText(path.read_text(encoding="utf-8") if path.is_file() else "")
        dialog.body.addWidget(
            Label(
                _("Leyden is free software (GPL 3 or later). It shows its text in Inter:"), "body", wrap=True
            )
        )
        dialog.body.addWidget(text)
        dialog.add_button(_("Close"), "outlined", dialog.reject)
        dialog.open()
