"""Notifications on the desktop: a payment that came in, a channel that closed. They go over D-Bus.

Only while the window is not in front, only where they are wanted, and without an amount where amounts are hidden.
What was so when the wallet opened is no news.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from PyQt6.QtCore import QObject

from wallet.gui import format as fmt
from wallet.gui.bridge import Bridge
from wallet.gui.describe import CLOSED
from wallet.gui.preferences import Preferences
from wallet.i18n import _
from wallet.node.api import ActivityStatus, ChangeSet, WalletSnapshot

__all__ = ["Notifier", "Send", "send_over_dbus"]

_log = logging.getLogger(__name__)
Send = Callable[[str, str], None]
SERVICE = "org.freedesktop.Notifications"
PATH = "/org/freedesktop/Notifications"
EXPIRES_MS = 10_000
UINT, STRING_LIST = 3, 11
"""Qt's numbers of these types: D-Bus wants exactly them, and a plain int or list would go as another."""


def send_over_dbus(title: str, text: str) -> None:
    """Hands a notification to the desktop; where there is none, nothing happens."""
    from PyQt6.QtDBus import QDBusArgument, QDBusConnection, QDBusMessage

    bus = QDBusConnection.sessionBus()
    if not bus.isConnected():
        return
    replaces = QDBusArgument()
    replaces.add(0, UINT)
    actions = QDBusArgument([], STRING_LIST)
    message = QDBusMessage.createMethodCall(SERVICE, PATH, SERVICE, "Notify")
    # Plain text is markup to some desktops.
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    message.setArguments(["Leyden", replaces, "leyden", title, escaped, actions, {}, EXPIRES_MS])
    if not bus.send(message):
        _log.info("the desktop takes no notification")


class Notifier(QObject):
    """Watches the change-sets of one wallet. `in_front` says whether the person looks at the window."""

    def __init__(
        self,
        bridge: Bridge,
        preferences: Preferences,
        in_front: Callable[[], bool],
        send: Send,
        *,
        locked: bool = False,
    ) -> None:
        """`locked`: whoever sits there does not know the password, and is told neither amounts nor names."""
        super().__init__(bridge)
        self._locked = locked
        self._preferences = preferences
        self._in_front = in_front
        self._send = send
        self._received: set[str] = set()
        self._closed: set[str] = set()
        self._take(bridge.snapshot)
        bridge.changed.connect(self._changed)

    def _take(self, snapshot: WalletSnapshot) -> list[tuple[str, str]]:
        """What is new in a snapshot, as titles and texts."""
        news: list[tuple[str, str]] = []
        for item in snapshot.recent:
            came = item.amount_msat > 0 and item.status is not ActivityStatus.FAILED
            if not came or item.item_id in self._received:
                continue
            self._received.add(item.item_id)
            amount = fmt.amount(item.amount_msat)
            text = _("You received {amount}.").format(amount=amount)
            if item.status is ActivityStatus.PENDING:
                text = _("{amount} is on its way to you.").format(amount=amount)
            news.append((_("Payment received"), text))
        for channel in snapshot.channels:
            if channel.phase not in CLOSED or channel.channel_id in self._closed:
                continue
            self._closed.add(channel.channel_id)
            name = fmt.node_name(channel.peer_alias, channel.peer_id)
            why = fmt.retold(fmt.plain(channel.closure_text or channel.phase_text, 200))
            news.append((_("A channel is closing"), _("With {name}. {why}").format(name=name, why=why)))
        return news

    def _changed(self, changes: ChangeSet) -> None:
        news = self._take(changes.snapshot)
        if not self._preferences.notifies or self._in_front():
            return
        for title, text in news:
            self._send(title, _("Unlock Leyden to see it.") if self._locked else text)
