"""Identities of the Lightning core, and the errors that its rooms share.

Identities are `NewType`s over `bytes` or `int`; amounts are plain integers whose names carry the unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType

from wallet.bitcoin.errors import APIError, DecodeError, InvariantError

__all__ = [
    "APIError",
    "ChannelError",
    "ChannelId",
    "DecodeError",
    "InvariantError",
    "NodeId",
    "Now",
    "PaymentHash",
    "PaymentId",
    "PaymentPreimage",
    "PaymentSecret",
    "PeerError",
    "ShortChannelId",
]

NodeId = NewType("NodeId", bytes)
"""A compressed public key, 33 bytes."""
ChannelId = NewType("ChannelId", bytes)
"""32 bytes: temporary until the funding is known, then derived from it. BOLT 2, channel_id."""
PaymentHash = NewType("PaymentHash", bytes)
PaymentPreimage = NewType("PaymentPreimage", bytes)
PaymentSecret = NewType("PaymentSecret", bytes)
PaymentId = NewType("PaymentId", bytes)
"""32 bytes chosen by the payer; the same id is never paid twice."""
ShortChannelId = NewType("ShortChannelId", int)
"""block height << 40 | index in the block << 16 | output index. BOLT 7."""


@dataclass(frozen=True, slots=True)
class Now:
    """The two clocks of the person's computer, handed in by whoever calls the core.

    Attributes:
        at: unix time in seconds; for invoices, graph age, and what is shown. Never decides over coins.
        mono_ms: milliseconds of a clock that never goes back; for retries and hold times.
    """

    at: int
    mono_ms: int


class PeerError(Exception):
    """A peer broke the protocol: it is told (`warning`, or `error` with an all-zero channel id) and disconnected.

    Attributes:
        message: a sentence for the peer and the log.
        warn_only: send `warning` rather than `error`.
        disconnect: hang up after telling.
    """

    def __init__(self, message: str, *, warn_only: bool = True, disconnect: bool = True) -> None:
        super().__init__(message)
        self.message = message
        self.warn_only = warn_only
        self.disconnect = disconnect


class ChannelError(Exception):
    """A peer broke the rules of one channel: the channel is closed, and the peer is told.

    Attributes:
        channel_id: of which channel (temporary or final).
        message: a sentence for the peer, the log and the person.
    """

    def __init__(self, message: str, *, channel_id: ChannelId | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.channel_id = channel_id
