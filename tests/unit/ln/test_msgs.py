"""Messages: each one there and back, cut short anywhere, extended, and made of noise."""

from __future__ import annotations

import contextlib
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wallet.bitcoin import curve
from wallet.bitcoin.errors import APIError, DecodeError
from wallet.bitcoin.tx import Txid
from wallet.ln import msgs
from wallet.ln.features import Feature, Features
from wallet.ln.msgs import (
    AddressKind,
    Message,
    SocketAddress,
    UnknownMessage,
    decode_addresses,
    decode_message,
    encode_addresses,
    encode_message,
)
from wallet.ln.types import ChannelId, NodeId, PaymentHash, PaymentPreimage, ShortChannelId

POINTS = [curve.pubkey_from_secret(bytes(31) + bytes((n,))) for n in range(1, 8)]
CHANNEL_ID = ChannelId(bytes(range(32)))
SCID = ShortChannelId(700_000 << 40 | 21 << 16 | 1)
SIGNATURES = [bytes((n,)) * 64 for n in range(1, 6)]
CHAIN = b"\xcc" * 32

SAMPLES: list[Message] = [
    msgs.Init(
        features=Features([0, 9, 23]), global_features=Features([9]), networks=(CHAIN, bytes(32)),
        remote_addr=b"\x01\x7f\x00\x00\x01\x26\x07",
    ),
    msgs.Error(channel_id=CHANNEL_ID, data=b"no"),
    msgs.Warning_(channel_id=CHANNEL_ID, data=b"hm"),
    msgs.Ping(num_pong_bytes=5, byteslen=7),
    msgs.Pong(byteslen=5),
    msgs.PeerStorage(blob=b"blob"),
    msgs.PeerStorageRetrieval(blob=b"blob"),
    msgs.LspsMessage(data=b"{}"),
    msgs.OpenChannel(
        chain_hash=CHAIN, temporary_channel_id=CHANNEL_ID, funding_sat=1_000_000, push_msat=1,
        dust_limit_sat=354, max_htlc_value_in_flight_msat=990_000_000, channel_reserve_sat=10_000,
        htlc_minimum_msat=1, feerate_sat_per_kw=2_500, to_self_delay_blocks=1_008, max_accepted_htlcs=30,
        funding_pubkey=POINTS[0], revocation_basepoint=POINTS[1], payment_basepoint=POINTS[2],
        delayed_payment_basepoint=POINTS[3], htlc_basepoint=POINTS[4], first_per_commitment_point=POINTS[5],
        channel_flags=1, upfront_shutdown_script=b"", channel_type=b"\x10\x00",
    ),
    msgs.AcceptChannel(
        temporary_channel_id=CHANNEL_ID, dust_limit_sat=354, max_htlc_value_in_flight_msat=1,
        channel_reserve_sat=10_000, htlc_minimum_msat=1, minimum_depth_blocks=3, to_self_delay_blocks=144,
        max_accepted_htlcs=483, funding_pubkey=POINTS[0], revocation_basepoint=POINTS[1],
        payment_basepoint=POINTS[2], delayed_payment_basepoint=POINTS[3], htlc_basepoint=POINTS[4],
        first_per_commitment_point=POINTS[5], upfront_shutdown_script=b"\x00\x14" + bytes(20),
        channel_type=b"\x40\x10\x00",
    ),
    msgs.FundingCreated(
        temporary_channel_id=CHANNEL_ID, funding_txid=Txid(b"\x07" * 32), funding_output_index=2,
        signature=SIGNATURES[0],
    ),
    msgs.FundingSigned(channel_id=CHANNEL_ID, signature=SIGNATURES[0]),
    msgs.ChannelReady(
        channel_id=CHANNEL_ID, second_per_commitment_point=POINTS[0], short_channel_id_alias=SCID
    ),
    msgs.Stfu(channel_id=CHANNEL_ID, initiator=True),
    msgs.Shutdown(channel_id=CHANNEL_ID, script_pubkey=b"\x00\x14" + bytes(20)),
    msgs.ClosingSigned(channel_id=CHANNEL_ID, fee_sat=500, signature=SIGNATURES[0], fee_range=(200, 900)),
    msgs.ClosingComplete(
        channel_id=CHANNEL_ID, closer_script_pubkey=b"\x51\x20", closee_script_pubkey=b"\x00\x14",
        fee_sat=300, lock_time=5, closer_output_only=SIGNATURES[0], closer_and_closee_outputs=SIGNATURES[1],
    ),
    msgs.ClosingSig(
        channel_id=CHANNEL_ID, closer_script_pubkey=b"\x51\x20", closee_script_pubkey=b"\x00\x14",
        fee_sat=300, lock_time=5, closee_output_only=SIGNATURES[0],
    ),
    msgs.TxAbort(channel_id=CHANNEL_ID, data=b"why"),
    msgs.StartBatch(channel_id=CHANNEL_ID, batch_size=2, message_type=132),
    msgs.UpdateAddHtlc(
        channel_id=CHANNEL_ID, htlc_id=3, amount_msat=10**9, payment_hash=PaymentHash(b"\x05" * 32),
        cltv_expiry_height=800_000, onion_routing_packet=b"\x42" * 1366, blinding_point=POINTS[0],
    ),
    msgs.UpdateFulfillHtlc(
        channel_id=CHANNEL_ID, htlc_id=3, payment_preimage=PaymentPreimage(b"\x06" * 32),
        attribution_data=b"\x01" * 920,
    ),
    msgs.UpdateFailHtlc(channel_id=CHANNEL_ID, htlc_id=3, reason=b"onion", attribution_data=b"\x01" * 920),
    msgs.UpdateFailMalformedHtlc(
        channel_id=CHANNEL_ID, htlc_id=3, sha256_of_onion=b"\x08" * 32, failure_code=0x8005
    ),
    msgs.CommitmentSigned(
        channel_id=CHANNEL_ID, signature=SIGNATURES[0], htlc_signatures=tuple(SIGNATURES[1:]),
        funding_txid=Txid(b"\x07" * 32), unknown_tlvs=((65_537, b"kept"),),
    ),
    msgs.RevokeAndAck(
        channel_id=CHANNEL_ID, per_commitment_secret=b"\x09" * 32, next_per_commitment_point=POINTS[0]
    ),
    msgs.UpdateFee(channel_id=CHANNEL_ID, feerate_sat_per_kw=253),
    msgs.ChannelReestablish(
        channel_id=CHANNEL_ID, next_commitment_number=2, next_revocation_number=1,
        your_last_per_commitment_secret=bytes(32), my_current_per_commitment_point=POINTS[0],
        next_funding=(Txid(b"\x07" * 32), 1), my_current_funding_locked=(Txid(b"\x08" * 32), 0),
    ),
    msgs.AnnouncementSignatures(
        channel_id=CHANNEL_ID, short_channel_id=SCID, node_signature=SIGNATURES[0],
        bitcoin_signature=SIGNATURES[1],
    ),
    msgs.ChannelAnnouncement(
        node_signature_1=SIGNATURES[0], node_signature_2=SIGNATURES[1], bitcoin_signature_1=SIGNATURES[2],
        bitcoin_signature_2=SIGNATURES[3], features=b"\x00\x01", chain_hash=CHAIN, short_channel_id=SCID,
        node_id_1=NodeId(POINTS[0]), node_id_2=NodeId(POINTS[1]), bitcoin_key_1=POINTS[2],
        bitcoin_key_2=POINTS[3], excess_data=b"what comes later",
    ),
    msgs.NodeAnnouncement(
        signature=SIGNATURES[0], features=Features([1]), features_raw=b"\x00\x02", timestamp_at=1_700_000_000,
        node_id=NodeId(POINTS[0]), rgb_color=b"\x01\x02\x03", alias=b"Leyden jar".ljust(32, b"\x00"),
        address_data=b"\x01\x7f\x00\x00\x01\x26\x07\xff what comes later", excess_data=b"more",
    ),
    msgs.ChannelUpdate(
        signature=SIGNATURES[0], chain_hash=CHAIN, short_channel_id=SCID, timestamp_at=1_700_000_000,
        channel_flags=3, cltv_expiry_delta=80, htlc_minimum_msat=1, fee_base_msat=1_000,
        fee_proportional_millionths=10, htlc_maximum_msat=10**9, excess_data=b"more",
    ),
    msgs.QueryShortChannelIds(chain_hash=CHAIN, short_channel_ids=(SCID,), query_flags=(0x1F,)),
    msgs.ReplyShortChannelIdsEnd(chain_hash=CHAIN, full_information=True),
    msgs.QueryChannelRange(
        chain_hash=CHAIN, first_block_height=0, number_of_blocks=0xFFFFFFFF, query_option_flags=3
    ),
    msgs.ReplyChannelRange(
        chain_hash=CHAIN, first_block_height=0, number_of_blocks=10, sync_complete=True,
        short_channel_ids=(SCID, ShortChannelId(SCID + 1)), timestamps=((1, 2), (3, 0)),
        checksums=((5, 6), (7, 8)),
    ),
    msgs.GossipTimestampFilter(chain_hash=CHAIN, first_timestamp_at=1, timestamp_range_seconds=2),
    msgs.OnionMessage(path_key=POINTS[0], onion_routing_packet=b"\x00" * 66),
]  # fmt: skip

# What is signed keeps whatever stands behind it, unread.
UNREAD_EXTENSION = (msgs.LspsMessage, msgs.ChannelAnnouncement, msgs.NodeAnnouncement, msgs.ChannelUpdate)
each_message = pytest.mark.parametrize("message", SAMPLES, ids=lambda message: type(message).__name__)


def test_there_is_a_sample_of_every_message() -> None:
    assert {type(message) for message in SAMPLES} == set(get_args(Message))
    assert len({message.MESSAGE_TYPE for message in SAMPLES}) == len(SAMPLES)


@each_message
def test_there_and_back(message: Message) -> None:
    raw = encode_message(message)
    assert decode_message(raw) == message
    assert encode_message(message) == raw


@each_message
def test_cut_short_anywhere(message: Message) -> None:
    raw = encode_message(message)
    for length in range(len(raw)):
        try:
            decoded = decode_message(raw[:length])
        except DecodeError:
            continue
        # A cut between two TLV records, or in what nobody reads, leaves a shorter but whole message.
        assert not isinstance(decoded, UnknownMessage)
        assert encode_message(decoded) == raw[:length]


@each_message
def test_extension_follows_the_odd_even_rule(message: Message) -> None:
    raw = encode_message(message)
    odd, even = b"\xfe\x00\x01\x00\x03\x01\x2a", b"\xfe\x00\x01\x00\x02\x01\x2a"
    if isinstance(message, UNREAD_EXTENSION):
        for extension in (odd, even, b"\x01"):
            decoded = decode_message(raw + extension)
            assert isinstance(decoded, UNREAD_EXTENSION)
            assert encode_message(decoded) == raw + extension
        return
    decode_message(raw + odd)
    for extension in (even, odd + odd, b"\xfe\x00\x01\x00\x03\x02\x2a"):
        with pytest.raises(DecodeError):
            decode_message(raw + extension)


@given(
    message_type=st.sampled_from([message.MESSAGE_TYPE for message in SAMPLES]),
    noise=st.binary(max_size=600),
)
def test_noise_raises_only_decode_error(message_type: int, noise: bytes) -> None:
    with contextlib.suppress(DecodeError):
        decode_message(message_type.to_bytes(2, "big") + noise)


@given(st.sampled_from(SAMPLES), st.data())
def test_a_changed_byte_raises_only_decode_error(message: Message, data: st.DataObject) -> None:
    raw = bytearray(encode_message(message))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(2, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        decoded = decode_message(bytes(raw))
    except DecodeError:
        return
    assert not isinstance(decoded, UnknownMessage)
    encode_message(decoded)


@pytest.mark.parametrize("raw", [b"", b"\x00"])
def test_a_message_has_a_type(raw: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_message(raw)


def test_unknown_types_are_passed_on() -> None:
    assert decode_message(b"\x80\x01abc") == UnknownMessage(0x8001, b"abc")


def test_fields_of_a_wrong_size_are_not_sent() -> None:
    with pytest.raises(APIError):
        encode_message(msgs.FundingSigned(channel_id=CHANNEL_ID, signature=b"short"))
    with pytest.raises(APIError):
        encode_message(msgs.PeerStorage(blob=bytes(65_534)))


def test_a_point_off_the_curve_is_refused() -> None:
    raw = bytearray(encode_message(msgs.OnionMessage(path_key=POINTS[0], onion_routing_packet=b"")))
    raw[2] = 4
    with pytest.raises(DecodeError):
        decode_message(bytes(raw))


def test_empty_zlib_and_odd_lengths_are_refused_in_queries() -> None:
    for encoded in (b"", b"\x01", b"\x00" + bytes(7)):
        raw = b"\x01\x05" + CHAIN + len(encoded).to_bytes(2, "big") + encoded
        with pytest.raises(DecodeError):
            decode_message(raw)


def test_what_peers_say_is_made_printable() -> None:
    assert msgs.Error(channel_id=CHANNEL_ID, data=b"a\x1b[31m\xff\n").text == "a.[31m.."
    assert len(msgs.Warning_(data=b"x" * 5_000).text) < 1_000
    announcement = next(m for m in SAMPLES if isinstance(m, msgs.NodeAnnouncement))
    assert announcement.alias_text == "Leyden jar"


ADDRESSES = [
    SocketAddress(AddressKind.IPV4, "203.0.113.7", 9735),
    SocketAddress(AddressKind.IPV6, "2001:db8::1", 9735),
    SocketAddress(AddressKind.TOR_V3, "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion", 9735),
    SocketAddress(AddressKind.HOSTNAME, "node.example.org", 9736),
]


def test_addresses_there_and_back() -> None:
    assert decode_addresses(encode_addresses(reversed(ADDRESSES))) == tuple(ADDRESSES)
    for address in ADDRESSES:
        assert SocketAddress.parse(str(address)) == address


def test_addresses_of_others() -> None:
    known = ADDRESSES[0].encode()
    # Tor v2, port 0 and a second host name are passed over; what follows an unknown type is not read.
    tor_v2 = b"\x03" + bytes(12)
    no_port = SocketAddress(AddressKind.IPV4, "203.0.113.7", 0).encode()
    assert decode_addresses(no_port + tor_v2 + known + b"\x63whatever") == (ADDRESSES[0],)
    assert decode_addresses(ADDRESSES[3].encode() * 2) == (ADDRESSES[3],)
    for cut in (known[:-1], b"\x05", b"\x05\x03ab", b"\x05\x02\xff\xff\x00\x01"):
        with pytest.raises(DecodeError):
            decode_addresses(cut)


@pytest.mark.parametrize(
    "text", ["", "host:0", "host:65536", "host:x", "[::1", "[::1]x", "a b", "short.onion"]
)
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(DecodeError):
        SocketAddress.parse(text)


def test_init_features_are_one_set() -> None:
    init = msgs.Init(features=Features([3]), global_features=Features([9]))
    assert init.all_features.supports(Feature.VAR_ONION_OPTIN)
