"""The message that services for channels are asked by. bLIP 50."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

__all__ = ["LspsMessage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LspsMessage:
    """One JSON-RPC object; the whole payload is its text."""

    MESSAGE_TYPE: ClassVar[int] = 37_913

    data: bytes

    def encode_payload(self) -> bytes:
        return self.data

    @classmethod
    def decode_payload(cls, payload: bytes) -> LspsMessage:
        return cls(data=payload)
