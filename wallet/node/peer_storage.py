"""Peer storage (BOLT 1, option_provide_storage), both roles: blobs kept for peers, and our channel backup kept by them.

Ours. Every peer that offers storage, and with which we have a channel, gets the channel backup, sealed with a key from
the seed and padded to the same length always; again at each connection, and when channels change, once a minute at
most. What a peer gives back at a connection is taken over like any channel backup: so the words, and the address of one
such peer, are enough. A restored wallet sends nothing before it knows that it is the only one.

Theirs. One blob for each peer with which we have a channel, the latest, written once a minute at most; it goes back at
each connection, before `channel_reestablish`. It is forgotten some time after the last channel's monitor is (four weeks
after everything is settled; BOLT 1 asks for two).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from wallet.bitcoin.errors import DecodeError
from wallet.bitcoin.hashes import hkdf_sha256
from wallet.bitcoin.records import decode, encode
from wallet.chain.interfaces import LogLevel, Row
from wallet.ln.channel_backup import ChannelBackups
from wallet.ln.features import Feature, Features
from wallet.ln.msgs import Message, PeerStorage, PeerStorageRetrieval
from wallet.ln.types import ChannelId, NodeId

if TYPE_CHECKING:
    from wallet.node.node import Node

__all__ = ["PeerStorageKeeper", "open_blob", "seal_blob"]

BLOB_SPACE = "peer_storage"
"""Peers' blobs: key, node id."""
SENT_SPACE = "peer_storage_sent"
"""Which channels the blob names that a peer keeps for us: key, node id; the ids in a row."""
BLOB_LENGTH = 65_531
"""BOLT 1, peer_storage: the most it may hold, and the length that it should always have."""
NONCE_LENGTH = 12
TAG_LENGTH = 16
SIZE_LENGTH = 4
PLAIN_LENGTH = BLOB_LENGTH - NONCE_LENGTH - TAG_LENGTH
ID_LENGTH = 32
INTERVAL_MS = 60_000
PURPOSE = b"leyden peer storage 1"

Rows = Callable[[str], Iterable[tuple[bytes, bytes]]]


def _aead(bip39_seed: bytes) -> ChaCha20Poly1305:
    return ChaCha20Poly1305(hkdf_sha256(PURPOSE, bip39_seed, b"sealing", 32))


def seal_blob(bip39_seed: bytes, backups: ChannelBackups) -> tuple[bytes, ChannelBackups]:
    """A blob, and what of the backups is in it: should it not hold all, the channels with the least in them are left
    out."""
    held = backups
    while len(plain := encode(held)) > PLAIN_LENGTH - SIZE_LENGTH:
        by_value = sorted(held.channels, key=lambda channel: channel.channel_value_sat, reverse=True)
        held = replace(held, channels=tuple(by_value[: len(by_value) * 9 // 10]))
    padded = (len(plain).to_bytes(SIZE_LENGTH, "big") + plain).ljust(PLAIN_LENGTH, b"\0")
    nonce = os.urandom(NONCE_LENGTH)
    return nonce + _aead(bip39_seed).encrypt(nonce, padded, PURPOSE), held


def open_blob(bip39_seed: bytes, blob: bytes) -> ChannelBackups:
    """What a blob of ours holds; raises `DecodeError` for any other."""
    if len(blob) < NONCE_LENGTH + TAG_LENGTH:
        raise DecodeError("a stored blob is too short")
    try:
        padded = _aead(bip39_seed).decrypt(blob[:NONCE_LENGTH], blob[NONCE_LENGTH:], PURPOSE)
    except InvalidTag:
        raise DecodeError("a stored blob is not ours") from None
    size = int.from_bytes(padded[:SIZE_LENGTH], "big")
    return decode(ChannelBackups, padded[SIZE_LENGTH : SIZE_LENGTH + size])


class PeerStorageKeeper:
    """Implements `PeerStorageHandler`. All calls are within an entry."""

    def __init__(self, node: Node, bip39_seed: bytes) -> None:
        self._node = node
        self._seed = bip39_seed
        self._kept: dict[NodeId, bytes] = {}
        self._kept_at_ms: dict[NodeId, int] = {}
        self._waiting: dict[NodeId, bytes] = {}
        self._sent: dict[NodeId, frozenset[ChannelId]] = {}
        self._sent_at_ms: dict[NodeId, int] = {}
        self._due: set[NodeId] = set()
        self._offering: set[NodeId] = set()
        self._blob: tuple[ChannelBackups, bytes, ChannelBackups] | None = None

    def read(self, rows: Rows) -> None:
        self._kept = {NodeId(key): value for key, value in rows(BLOB_SPACE)}
        self._sent = {
            NodeId(key): frozenset(
                ChannelId(value[at : at + ID_LENGTH]) for at in range(0, len(value), ID_LENGTH)
            )
            for key, value in rows(SENT_SPACE)
        }

    # --- theirs -------------------------------------------------------------------------

    def greetings(self, their_node_id: NodeId, features: Features) -> Sequence[Message]:
        """What goes to a peer before any `channel_reestablish`."""
        found: list[Message] = []
        blob = self._waiting.get(their_node_id, self._kept.get(their_node_id))
        if blob is not None:
            # BOLT 1: again after each reconnection, after `init`.
            found.append(PeerStorageRetrieval(blob=blob))
        self._offering.discard(their_node_id)
        if features.supports(Feature.PROVIDE_STORAGE):
            self._offering.add(their_node_id)
            if self._has_channel(their_node_id) and (ours := self._own_blob()) is not None:
                found.append(self._sending(their_node_id, *ours))
        return found

    def handle_peer_storage(self, their_node_id: NodeId, msg: PeerStorage) -> None:
        # BOLT 1: for those with whom we have a channel, the latest blob.
        if not self._has_channel(their_node_id) or len(msg.blob) > BLOB_LENGTH:
            return
        now_ms = self._node.core.now.mono_ms
        since_ms = now_ms - self._kept_at_ms.get(their_node_id, now_ms - INTERVAL_MS)
        self._waiting[their_node_id] = msg.blob
        if since_ms >= INTERVAL_MS:
            self._write(their_node_id, now_ms)

    def _write(self, node_id: NodeId, now_ms: int) -> None:
        blob = self._waiting.pop(node_id)
        self._kept_at_ms[node_id] = now_ms
        if self._kept.get(node_id) != blob:
            self._kept[node_id] = blob
            self._node.core.write((Row(BLOB_SPACE, node_id, blob),))

    def _has_channel(self, node_id: NodeId) -> bool:
        return any(
            item.counterparty_node_id == node_id and item.funding_outpoint is not None
            for item in self._node.manager.list_channels()
        )

    def forget_strangers(self) -> None:
        """Now and then: blobs of peers with whom nothing is left at all, written or not, and ours with them."""
        chain_monitor = self._node.chain_monitor
        monitors = (chain_monitor.get_monitor(channel_id) for channel_id in chain_monitor.list_monitors())
        peers = {monitor.counterparty_node_id for monitor in monitors if monitor is not None}
        for node_id in self._waiting.keys() - peers:
            del self._waiting[node_id]
        for node_id in self._kept_at_ms.keys() - peers:
            del self._kept_at_ms[node_id]
        for node_id in self._kept.keys() - peers:
            del self._kept[node_id]
            self._node.core.write((Row(BLOB_SPACE, node_id, None),))
        for node_id in self._sent.keys() - peers:
            del self._sent[node_id]
            self._node.core.write((Row(SENT_SPACE, node_id, None),))

    # --- ours ---------------------------------------------------------------------------

    def covered(self) -> frozenset[ChannelId]:
        """Channels that the blob of at least one such peer names."""
        return frozenset().union(*(self._sent[node_id] for node_id in self.keepers()))

    def keepers(self) -> tuple[NodeId, ...]:
        """Peers that keep a blob for us, as far as one can rely on it: BOLT 1 lets a peer forget it some time after the
        last channel is gone."""
        return tuple(
            node_id
            for node_id, channel_ids in self._sent.items()
            if channel_ids and self._has_channel(node_id)
        )

    def channels_changed(self) -> None:
        """The backup is another one: peers are to get it."""
        self._due.update(self._offering)
        self._send_due()

    def tick(self) -> None:
        """Once a minute."""
        now_ms = self._node.core.now.mono_ms
        for node_id in list(self._waiting):
            if now_ms - self._kept_at_ms.get(node_id, 0) >= INTERVAL_MS:
                self._write(node_id, now_ms)
        self._send_due()

    def _send_due(self) -> None:
        now_ms = self._node.core.now.mono_ms
        connected = set(self._node.manager.list_connected_peers())
        for node_id in list(self._due):
            if node_id not in connected:
                # With the next connection it gets the newest.
                self._due.discard(node_id)
                continue
            if now_ms - self._sent_at_ms.get(node_id, now_ms - INTERVAL_MS) < INTERVAL_MS:
                continue
            if not self._has_channel(node_id) or (ours := self._own_blob()) is None:
                continue
            self._node.manager.send_beside(node_id, self._sending(node_id, *ours))

    def _own_blob(self) -> tuple[bytes, ChannelBackups] | None:
        """The newest blob, and what it holds; None while another copy of this wallet may know better."""
        recovery = self._node.recovery
        if recovery.held or (not recovery.may_ask and recovery.to_be_closed()):
            return None
        contents = recovery.contents()
        if self._blob is None or self._blob[0].channels != contents.channels:
            blob, held = seal_blob(self._seed, contents)
            self._blob = (contents, blob, held)
        return self._blob[1], self._blob[2]

    def _sending(self, node_id: NodeId, blob: bytes, held: ChannelBackups) -> PeerStorage:
        self._due.discard(node_id)
        self._sent_at_ms[node_id] = self._node.core.now.mono_ms
        self._note_sent(node_id, frozenset(channel.channel_id for channel in held.channels))
        return PeerStorage(blob=blob)

    def _note_sent(self, node_id: NodeId, channel_ids: frozenset[ChannelId]) -> None:
        if self._sent.get(node_id) != channel_ids:
            self._sent[node_id] = channel_ids
            self._node.core.write((Row(SENT_SPACE, node_id, b"".join(sorted(channel_ids))),))

    def handle_peer_storage_retrieval(self, their_node_id: NodeId, msg: PeerStorageRetrieval) -> None:
        node = self._node
        try:
            backups = open_blob(self._seed, msg.blob)
        except DecodeError as error:
            # It keeps nothing for us, whatever it was given.
            node.log(LogLevel.INFO, "peer %s gave back: %s", their_node_id.hex()[:12], error)
            if their_node_id not in self._sent_at_ms:
                self._note_sent(their_node_id, frozenset())
            return
        if backups.network != node.options.network_name:
            return
        count = node.recovery.take_over(backups)
        if count:
            node.log(LogLevel.WARN, "peer %s kept %d channels for us", their_node_id.hex()[:12], count)
