"""What every page of an open wallet is given: the bridge to the node, the user's choices, and ways to other
pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from wallet.gui.bridge import Bridge
from wallet.gui.preferences import Preferences
from wallet.node.api import ChannelView, WalletSnapshot
from wallet.node.map_api import RouteAttempt

__all__ = ["Context"]


@dataclass(frozen=True, slots=True)
class Context:
    """Attributes: `go(key)` shows a page, `pay(text)` opens Send with a text, `open_channel(peer)` the
    dialog, `show_channel(channel_id)` a channel's page, `show_item(item_id)` a payment's details."""

    bridge: Bridge
    preferences: Preferences
    go: Callable[[str], None]
    pay: Callable[[str], None]
    open_channel: Callable[[str], None]
    show_channel: Callable[[str], None]
    show_item: Callable[[str], None]
    show_attempts: Callable[[Sequence[RouteAttempt]], None]

    @property
    def snapshot(self) -> WalletSnapshot:
        return self.bridge.snapshot

    @property
    def network(self) -> str:
        return self.bridge.network

    def channel(self, channel_id: str) -> ChannelView | None:
        return next((c for c in self.snapshot.channels if c.channel_id == channel_id), None)
