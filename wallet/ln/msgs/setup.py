"""The messages of BOLT 1: setup, control, peer storage."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import ClassVar, Final

from wallet.bitcoin.errors import DecodeError
from wallet.ln.features import NO_FEATURES, Features
from wallet.ln.msgs._base import check_extension, fixed, prefix_u16, record, short, u16_prefixed
from wallet.ln.types import ChannelId
from wallet.ln.wire import decode_tlv_stream

__all__ = ["ALL_CHANNELS", "Error", "Init", "PeerStorage", "PeerStorageRetrieval", "Ping", "Pong", "Warning_"]

ALL_CHANNELS: Final = ChannelId(bytes(32))
"""As the channel id of `error` or `warning`: every channel with the peer. BOLT 1."""

_INIT_TLVS: Final = frozenset((1, 3))
_LONGEST_SHOWN_TEXT: Final = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Init:
    """The first message of a connection.

    Attributes:
        global_features: historical; receivers OR it into `features`.
        networks: chain hashes; empty when the peer named none.
        remote_addr: our address as the peer sees it, an address descriptor of BOLT 7.
    """

    MESSAGE_TYPE: ClassVar[int] = 16

    features: Features
    global_features: Features = NO_FEATURES
    networks: tuple[bytes, ...] = ()
    remote_addr: bytes | None = None

    @property
    def all_features(self) -> Features:
        """Both bitmaps as one. BOLT 1, init, receiver."""
        return self.features | self.global_features

    def encode_payload(self) -> bytes:
        parts = [prefix_u16(self.global_features.to_bytes()), prefix_u16(self.features.to_bytes())]
        if self.networks:
            parts.append(record(1, b"".join(fixed(chain, 32, "chain_hash") for chain in self.networks)))
        if self.remote_addr is not None:
            parts.append(record(3, self.remote_addr))
        return b"".join(parts)

    @classmethod
    def decode_payload(cls, payload: bytes) -> Init:
        global_features, offset = u16_prefixed(payload, 0, "init")
        features, offset = u16_prefixed(payload, offset, "init")
        stream = decode_tlv_stream(payload[offset:], _INIT_TLVS)
        chains = stream.get(1, b"")
        if len(chains) % 32:
            raise DecodeError("The networks of init are not a whole number of chain hashes.")
        return cls(
            global_features=Features.from_bytes(global_features),
            features=Features.from_bytes(features),
            networks=tuple(chains[start : start + 32] for start in range(0, len(chains), 32)),
            remote_addr=stream.get(3),
        )


def _printable(data: bytes) -> str:
    # BOLT 1, error, receiver: only printable ASCII is shown as it came.
    shown = "".join(chr(byte) if 32 <= byte <= 126 else "." for byte in data[:_LONGEST_SHOWN_TEXT])
    return shown + "…" if len(data) > _LONGEST_SHOWN_TEXT else shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Error:
    """The peer fails a channel, or all of them (`channel_id` all zero).

    Attributes:
        data: the peer's words, untrusted; `text` is safe to log and to show.
    """

    MESSAGE_TYPE: ClassVar[int] = 17

    channel_id: ChannelId
    data: bytes = b""

    @property
    def text(self) -> str:
        return _printable(self.data)

    def encode_payload(self) -> bytes:
        return fixed(self.channel_id, 32, "channel_id") + prefix_u16(self.data)

    @classmethod
    def decode_payload(cls, payload: bytes) -> Error:
        data, offset = u16_prefixed(payload, 32, "error")
        check_extension(payload, offset)
        return cls(channel_id=ChannelId(payload[:32]), data=data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Warning_:
    """The peer complains, and no channel fails."""

    MESSAGE_TYPE: ClassVar[int] = 1

    channel_id: ChannelId = ALL_CHANNELS
    data: bytes = b""

    @property
    def text(self) -> str:
        return _printable(self.data)

    def encode_payload(self) -> bytes:
        return fixed(self.channel_id, 32, "channel_id") + prefix_u16(self.data)

    @classmethod
    def decode_payload(cls, payload: bytes) -> Warning_:
        data, offset = u16_prefixed(payload, 32, "warning")
        check_extension(payload, offset)
        return cls(channel_id=ChannelId(payload[:32]), data=data)


_TWO_U16: Final = struct.Struct(">HH")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """Asks for a `Pong` of `num_pong_bytes`; carries `byteslen` bytes that mean nothing."""

    MESSAGE_TYPE: ClassVar[int] = 18

    num_pong_bytes: int
    byteslen: int = 0

    def encode_payload(self) -> bytes:
        return _TWO_U16.pack(self.num_pong_bytes, self.byteslen) + bytes(self.byteslen)

    @classmethod
    def decode_payload(cls, payload: bytes) -> Ping:
        if len(payload) < 4:
            raise short("ping", payload, 4)
        num_pong_bytes, byteslen = _TWO_U16.unpack_from(payload)
        if len(payload) < 4 + byteslen:
            raise short("ping", payload, 4 + byteslen)
        check_extension(payload, 4 + byteslen)
        return cls(num_pong_bytes=num_pong_bytes, byteslen=byteslen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pong:
    """Answers a `Ping`."""

    MESSAGE_TYPE: ClassVar[int] = 19

    byteslen: int = 0

    def encode_payload(self) -> bytes:
        return prefix_u16(bytes(self.byteslen))

    @classmethod
    def decode_payload(cls, payload: bytes) -> Pong:
        ignored, offset = u16_prefixed(payload, 0, "pong")
        check_extension(payload, offset)
        return cls(byteslen=len(ignored))


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerStorage:
    """Asks the peer to keep an encrypted blob for us."""

    MESSAGE_TYPE: ClassVar[int] = 7

    blob: bytes

    def encode_payload(self) -> bytes:
        return prefix_u16(self.blob)

    @classmethod
    def decode_payload(cls, payload: bytes) -> PeerStorage:
        blob, offset = u16_prefixed(payload, 0, "peer_storage")
        check_extension(payload, offset)
        return cls(blob=blob)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerStorageRetrieval:
    """Gives the blob back."""

    MESSAGE_TYPE: ClassVar[int] = 9

    blob: bytes

    def encode_payload(self) -> bytes:
        return prefix_u16(self.blob)

    @classmethod
    def decode_payload(cls, payload: bytes) -> PeerStorageRetrieval:
        blob, offset = u16_prefixed(payload, 0, "peer_storage_retrieval")
        check_extension(payload, offset)
        return cls(blob=blob)
