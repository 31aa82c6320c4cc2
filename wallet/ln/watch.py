"""`chain.Watch`: the seam between `ChannelManager` and whoever watches the chain for its channels."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from wallet.ln.channelmonitor import ChannelMonitor
    from wallet.ln.monitor_update import ChannelMonitorUpdate, MonitorEvent
    from wallet.ln.types import ChannelId, PaymentHash

__all__ = ["ChannelMonitorUpdateStatus", "Watch"]


class ChannelMonitorUpdateStatus(Enum):
    """What became of a monitor or an update; documented by what may leave afterwards."""

    COMPLETED = auto()
    """It is part of this entry's batch: messages that depend on it may be queued behind it."""
    IN_PROGRESS = auto()
    """Taken, but a further copy is not durable yet: hold messages that depend on it until
    `MonitorUpdateCompleted`. Preimages, claims and force-closes still pass."""
    UNRECOVERABLE = auto()
    """Not taken, and never will be: the channel must not go on."""


class Watch(Protocol):
    def watch_channel(self, channel_id: ChannelId, monitor: ChannelMonitor) -> ChannelMonitorUpdateStatus:
        """Starts watching. To be called before the funding transaction is broadcast, or its signature is
        sent."""
        ...

    def update_channel(
        self, channel_id: ChannelId, update: ChannelMonitorUpdate
    ) -> ChannelMonitorUpdateStatus:
        """Applies one update. Each is offered exactly once, in order; after a restart, those that the monitor
        has (`update_id` at or below its latest) may be offered again and are answered with COMPLETED."""
        ...

    def is_preimage_pending(self, payment_hash: PaymentHash, besides: ChannelId) -> bool:
        """Whether the monitor of a channel other than `besides` claims an HTLC by this preimage, and a further copy
        of that monitor may not know it yet. Until it does, no other monitor may forget it."""
        ...

    def release_pending_monitor_events(self) -> list[MonitorEvent]:
        """Takes what the monitors have to tell. Deleting them and what the caller makes of them is one
        commit."""
        ...
