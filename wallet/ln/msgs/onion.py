"""The onion message of BOLT 4."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from wallet.ln.msgs._base import check_extension, fixed, point, prefix_u16, u16_prefixed

__all__ = ["OnionMessage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OnionMessage:
    """Carries a message along a blinded path.

    Attributes:
        path_key: the point that unblinds the receiver's part.
        onion_routing_packet: as in BOLT 4; its length varies.
    """

    MESSAGE_TYPE: ClassVar[int] = 513

    path_key: bytes
    onion_routing_packet: bytes

    def encode_payload(self) -> bytes:
        return fixed(self.path_key, 33, "path_key") + prefix_u16(self.onion_routing_packet)

    @classmethod
    def decode_payload(cls, payload: bytes) -> OnionMessage:
        packet, offset = u16_prefixed(payload, 33, "onion_message")
        check_extension(payload, offset)
        return cls(path_key=point(payload[:33]), onion_routing_packet=packet)
