"""Every BOLT message as a typed record, and the two functions that turn records into bytes and back.

`setup` holds BOLT 1, `channel` BOLT 2, `gossip` BOLT 7, `onion` the onion message of BOLT 4. A record has the
number of its type as `MESSAGE_TYPE`; its payload is what follows the two bytes of the type on the wire.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from wallet.bitcoin.errors import APIError, DecodeError
from wallet.ln.msgs._base import MAX_MESSAGE_LENGTH
from wallet.ln.msgs.addresses import AddressKind, SocketAddress, decode_addresses, encode_addresses
from wallet.ln.msgs.channel import (
    ATTRIBUTION_DATA_LENGTH,
    ONION_PACKET_LENGTH,
    AcceptChannel,
    ChannelReady,
    ChannelReestablish,
    ClosingComplete,
    ClosingSig,
    ClosingSigned,
    CommitmentSigned,
    FundingCreated,
    FundingSigned,
    OpenChannel,
    RevokeAndAck,
    Shutdown,
    StartBatch,
    Stfu,
    TxAbort,
    UpdateAddHtlc,
    UpdateFailHtlc,
    UpdateFailMalformedHtlc,
    UpdateFee,
    UpdateFulfillHtlc,
)
from wallet.ln.msgs.gossip import (
    AnnouncementSignatures,
    ChannelAnnouncement,
    ChannelUpdate,
    GossipTimestampFilter,
    NodeAnnouncement,
    QueryChannelRange,
    QueryShortChannelIds,
    ReplyChannelRange,
    ReplyShortChannelIdsEnd,
    decode_short_ids,
    encode_short_ids,
    update_checksum,
)
from wallet.ln.msgs.lsps import LspsMessage
from wallet.ln.msgs.onion import OnionMessage
from wallet.ln.msgs.setup import (
    ALL_CHANNELS,
    Error,
    Init,
    PeerStorage,
    PeerStorageRetrieval,
    Ping,
    Pong,
    Warning_,
)

__all__ = [
    "ALL_CHANNELS",
    "ATTRIBUTION_DATA_LENGTH",
    "MAX_MESSAGE_LENGTH",
    "ONION_PACKET_LENGTH",
    "AcceptChannel",
    "AddressKind",
    "AnnouncementSignatures",
    "ChannelAnnouncement",
    "ChannelReady",
    "ChannelReestablish",
    "ChannelUpdate",
    "ClosingComplete",
    "ClosingSig",
    "ClosingSigned",
    "CommitmentSigned",
    "Error",
    "FundingCreated",
    "FundingSigned",
    "GossipTimestampFilter",
    "Init",
    "LspsMessage",
    "Message",
    "NodeAnnouncement",
    "OnionMessage",
    "OpenChannel",
    "PeerStorage",
    "PeerStorageRetrieval",
    "Ping",
    "Pong",
    "QueryChannelRange",
    "QueryShortChannelIds",
    "ReplyChannelRange",
    "ReplyShortChannelIdsEnd",
    "RevokeAndAck",
    "Shutdown",
    "SocketAddress",
    "StartBatch",
    "Stfu",
    "TxAbort",
    "UnknownMessage",
    "UpdateAddHtlc",
    "UpdateFailHtlc",
    "UpdateFailMalformedHtlc",
    "UpdateFee",
    "UpdateFulfillHtlc",
    "Warning_",
    "decode_addresses",
    "decode_message",
    "decode_short_ids",
    "encode_addresses",
    "encode_message",
    "encode_short_ids",
    "update_checksum",
]

Message: TypeAlias = (
    Init
    | Error
    | Warning_
    | Ping
    | Pong
    | PeerStorage
    | PeerStorageRetrieval
    | OpenChannel
    | AcceptChannel
    | FundingCreated
    | FundingSigned
    | ChannelReady
    | Stfu
    | Shutdown
    | ClosingSigned
    | ClosingComplete
    | ClosingSig
    | TxAbort
    | StartBatch
    | UpdateAddHtlc
    | UpdateFulfillHtlc
    | UpdateFailHtlc
    | UpdateFailMalformedHtlc
    | CommitmentSigned
    | RevokeAndAck
    | UpdateFee
    | ChannelReestablish
    | AnnouncementSignatures
    | ChannelAnnouncement
    | NodeAnnouncement
    | ChannelUpdate
    | QueryShortChannelIds
    | ReplyShortChannelIdsEnd
    | QueryChannelRange
    | ReplyChannelRange
    | GossipTimestampFilter
    | OnionMessage
    | LspsMessage
)


@dataclass(frozen=True, slots=True)
class UnknownMessage:
    """A message of a type we do not know; an even one ends the connection. BOLT 1."""

    type_number: int
    payload: bytes


_CLASSES: Final[tuple[type[Message], ...]] = (
    Init,
    Error,
    Warning_,
    Ping,
    Pong,
    PeerStorage,
    PeerStorageRetrieval,
    OpenChannel,
    AcceptChannel,
    FundingCreated,
    FundingSigned,
    ChannelReady,
    Stfu,
    Shutdown,
    ClosingSigned,
    ClosingComplete,
    ClosingSig,
    TxAbort,
    StartBatch,
    UpdateAddHtlc,
    UpdateFulfillHtlc,
    UpdateFailHtlc,
    UpdateFailMalformedHtlc,
    CommitmentSigned,
    RevokeAndAck,
    UpdateFee,
    ChannelReestablish,
    AnnouncementSignatures,
    ChannelAnnouncement,
    NodeAnnouncement,
    ChannelUpdate,
    QueryShortChannelIds,
    ReplyShortChannelIdsEnd,
    QueryChannelRange,
    ReplyChannelRange,
    GossipTimestampFilter,
    OnionMessage,
    LspsMessage,
)
_DECODERS: Final[dict[int, Callable[[bytes], Message]]] = {
    message_class.MESSAGE_TYPE: message_class.decode_payload for message_class in _CLASSES
}


def encode_message(message: Message) -> bytes:
    """Encode a message with its type in front, ready to be encrypted."""
    encoded = message.MESSAGE_TYPE.to_bytes(2, "big") + message.encode_payload()
    if len(encoded) > MAX_MESSAGE_LENGTH:
        raise APIError(f"A message of {len(encoded)} bytes is too long for the transport.")
    return encoded


def decode_message(raw: bytes) -> Message | UnknownMessage:
    """Decode a decrypted message; raises `DecodeError` and nothing else."""
    if len(raw) < 2:
        raise DecodeError("A message is too short to have a type.")
    type_number = int.from_bytes(raw[:2], "big")
    decode = _DECODERS.get(type_number)
    return UnknownMessage(type_number, raw[2:]) if decode is None else decode(raw[2:])
