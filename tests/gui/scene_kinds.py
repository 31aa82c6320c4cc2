"""Which scene shows which page, dialog, step of the wizard or other window of the program."""

from __future__ import annotations

__all__ = ["SHOWN", "unseen"]

from PyQt6.QtWidgets import QWidget

SHOWN = {
    "closing.CloseQuestion": "dialog-closing",
    "excepthook._report": "dialog-mistake",
    "main_window.MainWindow": "overview-typical",
    "main_window.MainWindow.explain_practice": "dialog-practise",
    "pages.about.AboutDialog": "long-about",
    "pages.activity.ActivityPageView": "activity",
    "pages.buy_channel.BuyChannelDialog": "dialog-buy-channel",
    "pages.channel.ChannelDetail": "channel-page",
    "pages.channel_request.ChannelRequestDialog": "dialog-channel-request",
    "pages.channels.ChannelsPage": "channels-cards",
    "pages.close_channel.CloseChannelDialog": "dialog-force",
    "pages.console.ConsoleDialog": "dialog-console",
    "pages.contacts.ContactDialog": "dialog-contact",
    "pages.contacts.NameDialog": "dialog-name",
    "pages.item_dialog.ItemDialog": "dialog-item",
    "pages.logs.LogDialog": "dialog-log",
    "pages.network.NetworkPage": "network",
    "pages.open_channel.OpenChannelDialog": "dialog-open",
    "pages.overview.OverviewPage": "overview-new",
    "pages.receive.ReceivePage": "receive-empty",
    "pages.receive_more.AskForChannelDialog": "dialog-ask-for-channel",
    "pages.recovery.OldInstallationDialog": "dialog-old-installation",
    "pages.recovery.PublishHeldDialog": "dialog-publish",
    "pages.recovery.RecoveryPage": "recovery-report",
    "pages.results.ResultPage": "send-failure",
    "pages.send.SendPage": "send-empty",
    "pages.settings.SettingsPage": "settings",
    "pages.settings_backup.PasswordDialog": "dialog-password",
    "pages.settings_backup.WordsDialog": "dialog-words",
    "pages.unlock.UnlockPage": "unlock",
    "pages.wallet_choice.WalletChoice": "wallets",
    "pages.wizard.Wizard": "wizard-welcome",
    "pages.wizard.Wizard._ask_backup": "wizard-backup",
    "pages.wizard.Wizard._ask_old_one": "wizard-old-one",
    "pages.wizard.Wizard._check_words": "wizard-check",
    "pages.wizard.Wizard._password": "wizard-password",
    "pages.wizard.Wizard._restore": "wizard-restore",
    "pages.wizard.Wizard._show_words": "wizard-words",
    "pages.wizard.Wizard._start": "wizard-start",
    "scan.dialog.CameraDialog": "send-camera",
    "scan.screen.RegionOverlay": "window-region",
    "shortcuts.ShortcutsDialog": "long-shortcuts",
    "widgets.dialog.confirm": "dialog-confirm",
    "widgets.qr.QrWindow": "window-code",
    "widgets.statusbar.Popover": "window-status",
}
"""Where it is made: the scene that shows it."""


def unseen(scene: str, window: QWidget) -> list[str]:
    """The classes that a scene is there for, and that one does not see in it."""
    seen = {type(w).__name__ for w in [window, *window.findChildren(QWidget)] if w.isVisible()}
    wanted = {place.rpartition(".")[2] for place, name in SHOWN.items() if name == scene}
    return [f"not shown: {kind}" for kind in sorted(wanted - seen) if kind[0].isupper()]
