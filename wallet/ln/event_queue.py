"""Events that survive a crash: each is a row until the wallet has acted on it.

An event's row is written in the batch of the entry that caused it, and deleted in the batch of the entry that
handled it; so what the handler does, and that it was done, become durable together. `ChannelManager` and
`ChainMonitor` each have a queue; the first byte of an id keeps theirs apart.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final

from wallet.bitcoin.records import decode, encode, register, tagged
from wallet.chain.interfaces import Persist, Row
from wallet.ln import events
from wallet.ln.events import Event
from wallet.ln.features import Features
from wallet.ln.types import DecodeError

__all__ = ["CHAIN_MONITOR_EVENTS", "CHANNEL_MANAGER_EVENTS", "EventQueue", "decode_event", "encode_event"]

SPACE: Final = "event"
CHANNEL_MANAGER_EVENTS: Final = 0
CHAIN_MONITOR_EVENTS: Final = 1

_COUNTER_BITS: Final = 56

# The numbers below are in wallet files: they never change, and are never used again.
register(Features, Features.to_bytes, Features.from_bytes)
tagged(0)(events.StaticOutput)
tagged(1)(events.DelayedPaymentOutput)
tagged(2)(events.StaticPaymentOutput)

_NUMBERS: Final[Mapping[type[Event], int]] = MappingProxyType(
    {
        events.FundingGenerationReady: 0,
        events.OpenChannelRequest: 1,
        events.ChannelPending: 2,
        events.ChannelReadyEvent: 3,
        events.ChannelClosed: 4,
        events.DiscardFunding: 5,
        events.PaymentClaimable: 6,
        events.PaymentClaimed: 7,
        events.PaymentSent: 8,
        events.PaymentFailed: 9,
        events.PaymentPathSuccessful: 10,
        events.PaymentPathFailed: 11,
        events.PaymentForwarded: 12,
        events.HTLCHandlingFailed: 13,
        events.SpendableOutputs: 14,
        events.BumpCommitment: 15,
        events.BumpHtlcs: 16,
    }
)
_CLASSES: Final[Mapping[int, type[Event]]] = MappingProxyType({n: cls for cls, n in _NUMBERS.items()})


def encode_event(event: Event) -> bytes:
    """Two bytes that name the kind, then the record."""
    return _NUMBERS[type(event)].to_bytes(2, "big") + encode(event)


def decode_event(data: bytes) -> Event:
    cls = _CLASSES.get(int.from_bytes(data[:2], "big"))
    if cls is None or len(data) < 2:
        raise DecodeError("an event is of a kind that this release does not know")
    return decode(cls, data[2:])


class EventQueue:
    """Events in the order in which they came, each with a durable id.

    An id is a prefix byte and a counter of seven bytes; as a row's key, it is written big-endian.
    """

    def __init__(self, persist: Persist, prefix: int) -> None:
        self._persist = persist
        self._prefix = prefix
        self._next = 0
        self._pending: deque[tuple[int, Event]] = deque()
        self._processing = False

    def __len__(self) -> int:
        return len(self._pending)

    def pending(self) -> tuple[Event, ...]:
        """What waits, for tests and status lines."""
        return tuple(event for _, event in self._pending)

    def push(self, event: Event) -> int:
        """Queues an event; it is durable with the batch of the current entry. Answers with its id."""
        event_id = self._prefix << _COUNTER_BITS | self._next
        self._persist.write((Row(SPACE, event_id.to_bytes(8, "big"), encode_event(event)),))
        self._next += 1
        self._pending.append((event_id, event))
        return event_id

    def process(self, handler: Callable[[int, Event], None]) -> None:
        """Hands out events until none is left, those that the handler causes included.

        An exception of the handler leaves its event, and those behind it, in the queue, and is passed on. A call
        from within the handler does nothing: the outer one will come to the new events.
        """
        if self._processing:
            return
        self._processing = True
        try:
            while self._pending:
                event_id, event = self._pending[0]
                handler(event_id, event)
                self._pending.popleft()
                self._persist.write((Row(SPACE, event_id.to_bytes(8, "big"), None),))
        finally:
            self._processing = False

    def read(self, rows: Callable[[str], Iterable[tuple[bytes, bytes]]]) -> None:
        """Takes up what an earlier run left. Ids go on above the highest that is still there.

        Whoever keeps ids beyond an event's life has to know that a number can come again after a restart.
        """
        for key, value in rows(SPACE):
            if len(key) != 8 or key[0] != self._prefix:
                continue
            event_id = int.from_bytes(key, "big")
            self._pending.append((event_id, decode_event(value)))
            self._next = (event_id & ((1 << _COUNTER_BITS) - 1)) + 1
