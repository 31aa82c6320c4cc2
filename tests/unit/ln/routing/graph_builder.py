"""A small network with real keys and signatures: nodes are named by letters, channels by their two ends."""

from __future__ import annotations

from dataclasses import dataclass, replace

from wallet.bitcoin import curve
from wallet.bitcoin.address import REGTEST
from wallet.bitcoin.hashes import sha256
from wallet.ln.features import Features
from wallet.ln.msgs import ChannelAnnouncement, ChannelUpdate, NodeAnnouncement
from wallet.ln.routing.graph import NetworkGraph
from wallet.ln.types import NodeId, Now, ShortChannelId

NOW = Now(at=1_800_000_000, mono_ms=0)


def secret(name: str) -> bytes:
    return sha256(b"node " + name.encode())


def node_id(name: str) -> NodeId:
    return NodeId(curve.pubkey_from_secret(secret(name)))


def scid(block_height: int, index: int = 1) -> ShortChannelId:
    return ShortChannelId(block_height << 40 | index << 16)


def funding_secrets(a: str, b: str) -> tuple[bytes, bytes]:
    return sha256(f"funding {a} {b}".encode()), sha256(f"funding {b} {a}".encode())


def announce_channel(a: str, b: str, short_channel_id: ShortChannelId) -> ChannelAnnouncement:
    """A channel announcement that all four keys have signed."""
    first, second = sorted((a, b), key=node_id)
    bitcoin_1, bitcoin_2 = funding_secrets(first, second)
    unsigned = ChannelAnnouncement(
        node_signature_1=bytes(64),
        node_signature_2=bytes(64),
        bitcoin_signature_1=bytes(64),
        bitcoin_signature_2=bytes(64),
        features=b"",
        chain_hash=REGTEST.chain_hash,
        short_channel_id=short_channel_id,
        node_id_1=node_id(first),
        node_id_2=node_id(second),
        bitcoin_key_1=curve.pubkey_from_secret(bitcoin_1),
        bitcoin_key_2=curve.pubkey_from_secret(bitcoin_2),
    )
    digest = unsigned.digest()
    return replace(
        unsigned,
        node_signature_1=curve.sign_ecdsa(digest, secret(first)),
        node_signature_2=curve.sign_ecdsa(digest, secret(second)),
        bitcoin_signature_1=curve.sign_ecdsa(digest, bitcoin_1),
        bitcoin_signature_2=curve.sign_ecdsa(digest, bitcoin_2),
    )


def sign_update(update: ChannelUpdate, name: str) -> ChannelUpdate:
    return replace(update, signature=curve.sign_ecdsa(update.digest(), secret(name)))


def announce_terms(
    source: str,
    target: str,
    short_channel_id: ShortChannelId,
    *,
    timestamp_at: int = NOW.at - 100,
    fee_base_msat: int = 0,
    fee_proportional_millionths: int = 0,
    cltv_expiry_delta: int = 40,
    htlc_minimum_msat: int = 1,
    htlc_maximum_msat: int = 10**12,
    disabled: bool = False,
) -> ChannelUpdate:
    """What `source` asks for forwarding to `target`."""
    direction = 0 if node_id(source) < node_id(target) else 1
    update = ChannelUpdate(
        signature=bytes(64),
        chain_hash=REGTEST.chain_hash,
        short_channel_id=short_channel_id,
        timestamp_at=timestamp_at,
        channel_flags=direction | (2 if disabled else 0),
        cltv_expiry_delta=cltv_expiry_delta,
        htlc_minimum_msat=htlc_minimum_msat,
        fee_base_msat=fee_base_msat,
        fee_proportional_millionths=fee_proportional_millionths,
        htlc_maximum_msat=htlc_maximum_msat,
    )
    return sign_update(update, source)


def announce_node(
    name: str, timestamp_at: int = NOW.at - 50, features: Features | None = None, address_data: bytes = b""
) -> NodeAnnouncement:
    unsigned = NodeAnnouncement(
        signature=bytes(64),
        features=features or Features([1]),
        timestamp_at=timestamp_at,
        node_id=node_id(name),
        rgb_color=b"\x10\x20\x30",
        alias=f"node {name}".encode().ljust(32, b"\x00"),
        address_data=address_data,
    )
    return replace(unsigned, signature=curve.sign_ecdsa(unsigned.digest(), secret(name)))


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnChannel:
    """A `FirstHop`."""

    counterparty_node_id: NodeId
    outbound_payment_scid: ShortChannelId | None
    next_outbound_htlc_limit_msat: int
    next_outbound_htlc_minimum_msat: int = 1


class Net:
    """A graph that is built by sentences; block heights count up with each channel."""

    def __init__(self) -> None:
        self.graph = NetworkGraph(REGTEST)
        self.height = 100

    def channel(self, a: str, b: str, capacity_sat: int | None = 1_000_000) -> ShortChannelId:
        self.height += 1
        announcement = replace(_unsigned(a, b), short_channel_id=scid(self.height))
        assert self.graph.add_channel(announcement, capacity_sat, NOW.at)
        return scid(self.height)

    def terms(self, source: str, target: str, channel: ShortChannelId, **terms: int) -> None:
        timestamp_at = max(self.graph.update_times(channel)) + 1
        update = _terms(source, target, channel, timestamp_at, **terms)
        assert self.graph.apply_update(update)

    def open(self, a: str, b: str, capacity_sat: int | None = 1_000_000, **terms: int) -> ShortChannelId:
        """A channel with the same terms in both directions."""
        channel = self.channel(a, b, capacity_sat)
        self.terms(a, b, channel, **terms)
        self.terms(b, a, channel, **terms)
        return channel


def _unsigned(a: str, b: str) -> ChannelAnnouncement:
    first, second = sorted((node_id(a), node_id(b)))
    return ChannelAnnouncement(
        node_signature_1=bytes(64),
        node_signature_2=bytes(64),
        bitcoin_signature_1=bytes(64),
        bitcoin_signature_2=bytes(64),
        features=b"",
        chain_hash=REGTEST.chain_hash,
        short_channel_id=scid(0),
        node_id_1=first,
        node_id_2=second,
        bitcoin_key_1=first,
        bitcoin_key_2=second,
    )


def _terms(
    source: str,
    target: str,
    channel: ShortChannelId,
    timestamp_at: int,
    *,
    base: int = 0,
    ppm: int = 0,
    cltv: int = 40,
    minimum: int = 1,
    maximum: int = 10**12,
    disabled: int = 0,
) -> ChannelUpdate:
    return ChannelUpdate(
        signature=bytes(64),
        chain_hash=REGTEST.chain_hash,
        short_channel_id=channel,
        timestamp_at=timestamp_at,
        channel_flags=(0 if node_id(source) < node_id(target) else 1) | 2 * disabled,
        cltv_expiry_delta=cltv,
        htlc_minimum_msat=minimum,
        fee_base_msat=base,
        fee_proportional_millionths=ppm,
        htlc_maximum_msat=maximum,
    )


def own_channel(peer: str, limit_msat: int, number: int = 1, minimum_msat: int = 1) -> OwnChannel:
    return OwnChannel(
        counterparty_node_id=node_id(peer),
        outbound_payment_scid=scid(1, number),
        next_outbound_htlc_limit_msat=limit_msat,
        next_outbound_htlc_minimum_msat=minimum_msat,
    )
