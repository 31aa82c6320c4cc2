"""Onions that were tampered with, hop payloads good and bad, and what an incoming HTLC is held against."""

from __future__ import annotations

import contextlib
import json
from functools import partial
from hashlib import sha256
from hmac import digest
from pathlib import Path as FilePath

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from hypothesis import given
from hypothesis import strategies as st

from wallet.bitcoin.curve import ecdh, pubkey_from_secret
from wallet.ln.onion_failure import Failure, FailureCode, failure_sentence
from wallet.ln.onion_payload import (
    KEYSEND_TLV,
    BlindedForwardPayload,
    BlindedReceivePayload,
    ForwardPayload,
    HopPayload,
    InvalidPayload,
    PaymentConstraints,
    PaymentRelay,
    ReceivePayload,
    RecipientData,
    RecipientOnion,
    build_onion_payloads,
    decode_payload,
    encode_payload,
    open_recipient_data,
    seal_recipient_data,
)
from wallet.ln.onion_payment import (
    ForwardingPolicy,
    IncomingForward,
    IncomingReceive,
    Rejected,
    check_forward,
    check_receive,
    create_payment_onion,
    decode_incoming_htlc,
)
from wallet.ln.onion_utils import (
    ATTRIBUTION_DATA_LEN,
    FailurePacket,
    Forward,
    Malformed,
    Unreadable,
    build_failure_packet,
    build_fulfill_attribution,
    construct_onion_keys,
    construct_onion_packet,
    decode_failure,
    decode_fulfill_attribution,
    peel_payment_onion,
    wrap_failure_packet,
)
from wallet.ln.route import BlindedHop, BlindedTail, Path, RouteHop
from wallet.ln.types import (
    APIError,
    DecodeError,
    NodeId,
    PaymentHash,
    PaymentPreimage,
    PaymentSecret,
    ShortChannelId,
)
from wallet.ln.wire import decode_tlv_stream, encode_tlv_stream

DATA = FilePath(__file__).parents[2] / "vectors" / "data"
SESSION_KEY = b"\x41" * 32
HASH = PaymentHash(b"\x42" * 32)
SECRETS = [sha256(bytes([i])).digest() for i in range(30)]
NODES = [NodeId(pubkey_from_secret(secret)) for secret in SECRETS]
RECEIVED = ReceivePayload(
    amount_msat=1000, cltv_expiry_height=500, total_msat=3000, payment_secret=PaymentSecret(b"s" * 32)
)


def packet_for(count: int, payload: bytes = b"\x02\x01\x07") -> bytes:
    return construct_onion_packet(
        [payload] * count,
        construct_onion_keys(NODES[:count], SESSION_KEY),
        prng_seed=SESSION_KEY,
        associated_data=HASH,
    )


def peel(packet: bytes, secret: bytes = SECRETS[0]) -> object:
    return peel_payment_onion(packet, HASH, partial(ecdh, secret))


class TestPeeling:
    def test_version(self) -> None:
        packet = b"\x01" + packet_for(2)[1:]
        assert peel(packet) == Malformed(FailureCode.INVALID_ONION_VERSION, sha256(packet).digest())

    def test_key(self) -> None:
        packet = packet_for(2)
        packet = packet[:1] + b"\x02" + b"\xff" * 32 + packet[34:]
        assert peel(packet) == Malformed(FailureCode.INVALID_ONION_KEY, sha256(packet).digest())

    @given(st.integers(34, 1365), st.integers(1, 255))
    def test_any_changed_byte_is_found(self, position: int, change: int) -> None:
        packet = bytearray(packet_for(2))
        packet[position] ^= change
        assert peel(bytes(packet)) == Malformed(FailureCode.INVALID_ONION_HMAC, sha256(packet).digest())

    def test_another_payment_hash(self) -> None:
        peeled = peel_payment_onion(packet_for(2), b"\x43" * 32, partial(ecdh, SECRETS[0]))
        assert isinstance(peeled, Malformed)

    @given(st.binary(max_size=1400))
    def test_garbage(self, packet: bytes) -> None:
        assert isinstance(peel(packet), Malformed)

    def test_with_a_path_key_all_failures_look_the_same(self) -> None:
        packet = b"\x01" + packet_for(2)[1:]
        peeled = peel_payment_onion(packet, HASH, partial(ecdh, SECRETS[0]), path_key=NODES[3])
        assert peeled == Malformed(FailureCode.INVALID_ONION_BLINDING, sha256(packet).digest())

    @pytest.mark.parametrize(
        "frame", [b"\x00", b"\x01\x00", b"\xfd\x00\x05", b"\xfd\x05\x15", b"\xfd\x04\xf5"]
    )
    def test_bad_lengths(self, frame: bytes) -> None:
        # Authentic, but framed by a sender who does not know how.
        secret = construct_onion_keys(NODES[:1], SESSION_KEY)[0].shared_secret
        rho = digest(b"rho", secret, "sha256")
        body = Cipher(ChaCha20(rho, bytes(16)), mode=None).encryptor().update(frame.ljust(1300, b"\x01"))
        mac = digest(digest(b"mu", secret, "sha256"), body + HASH, "sha256")
        packet = b"\x00" + pubkey_from_secret(SESSION_KEY) + body + mac
        assert isinstance(peel(packet), Unreadable)

    def test_the_longest_route_fits_and_a_longer_one_does_not(self) -> None:
        payload = bytes(1300 // 27 - 33)
        packet = packet_for(27, payload)
        for index in range(26):
            peeled = peel(packet, SECRETS[index])
            assert isinstance(peeled, Forward)
            packet = peeled.next_packet
        assert not isinstance(peel(packet, SECRETS[26]), Malformed)
        with pytest.raises(APIError, match="1300"):
            packet_for(29, payload)


class TestFailures:
    keys = construct_onion_keys(NODES[:4], SESSION_KEY)

    def returned(self, index: int, failure: Failure) -> FailurePacket:
        packet = build_failure_packet(self.keys[index].shared_secret, failure, 1_234)
        for hop in range(index - 1, -1, -1):
            packet = wrap_failure_packet(self.keys[hop].shared_secret, packet, 5_678)
        return packet

    @pytest.mark.parametrize("index", range(4))
    def test_each_hop_is_found(self, index: int) -> None:
        decoded = decode_failure(self.keys, self.returned(index, Failure.temporary_node_failure()))
        assert decoded.hop_index == index
        assert decoded.failure == Failure.temporary_node_failure()
        assert decoded.hold_times_ms == (5_600,) * index + (1_200,)
        assert decoded.attribution_failed_at is None

    @given(st.binary(max_size=400), st.binary(max_size=1000) | st.none())
    def test_garbage(self, data: bytes, attribution: bytes | None) -> None:
        decoded = decode_failure(self.keys, FailurePacket(data, attribution))
        assert decoded.hop_index is None
        assert decoded.failure is None
        assert decoded.attribution_failed_at == 0

    def test_a_failure_of_no_length_is_authentic_but_unreadable(self) -> None:
        decoded = decode_failure(self.keys, self.returned(1, Failure(0x4008)))
        assert decoded.failure == Failure(0x4008)
        raw = build_failure_packet(self.keys[0].shared_secret, Failure(0))
        assert decode_failure(self.keys, raw).failure == Failure(0)

    def test_a_node_that_drops_attribution_does_not_hide_the_failure(self) -> None:
        packet = build_failure_packet(self.keys[3].shared_secret, Failure.permanent_channel_failure())
        packet = wrap_failure_packet(self.keys[2].shared_secret, packet)
        packet = FailurePacket(packet.data)
        for hop in (1, 0):
            packet = wrap_failure_packet(self.keys[hop].shared_secret, packet, 100)
        decoded = decode_failure(self.keys, packet)
        assert decoded.hop_index == 3
        assert decoded.hold_times_ms == (100, 100)
        assert decoded.attribution_failed_at == 2

    def test_fulfilled_attribution_of_a_long_path(self) -> None:
        keys = construct_onion_keys(NODES[:25], SESSION_KEY)
        data: bytes | None = None
        for index in range(24, -1, -1):
            data = build_fulfill_attribution(keys[index].shared_secret, data, index * 100)
        assert data is not None
        assert len(data) == ATTRIBUTION_DATA_LEN == 920
        assert decode_fulfill_attribution(keys, data) == tuple(index * 100 for index in range(20))
        assert decode_fulfill_attribution(keys, data[1:]) == ()
        assert decode_fulfill_attribution(keys, bytes(920)) == ()

    def test_the_largest_failure_leaves_room_in_its_message(self) -> None:
        big = wrap_failure_packet(b"1" * 32, FailurePacket(bytes(65_000)))
        assert big.attribution_data is None

    def test_every_code_has_a_sentence(self) -> None:
        assert all(failure_sentence(code).endswith(".") for code in FailureCode)
        assert "0x1234" in failure_sentence(0x1234)

    def test_channel_update_inside(self) -> None:
        assert Failure.fee_insufficient(7, b"update").channel_update == b"update"
        assert Failure.channel_disabled(b"update").channel_update == b"update"
        assert Failure.temporary_channel_failure().channel_update == b""
        assert Failure(FailureCode.TEMPORARY_CHANNEL_FAILURE, b"\x00\x09x").channel_update is None
        assert Failure.mpp_timeout().channel_update is None


PAYLOADS: list[tuple[HopPayload, bool]] = [
    (
        ForwardPayload(
            short_channel_id=ShortChannelId(5), amt_to_forward_msat=0, outgoing_cltv_height=2**32 - 1
        ),
        False,
    ),
    (RECEIVED, True),
    (
        ReceivePayload(
            amount_msat=1,
            cltv_expiry_height=2,
            total_msat=1,
            payment_metadata=b"",
            keysend_preimage=PaymentPreimage(b"p" * 32),
            custom_tlvs=((65_537, b"x"), (2**63 + 1, b"")),
        ),
        True,
    ),
    (BlindedForwardPayload(encrypted_recipient_data=b"abc", current_path_key=NODES[0]), False),
    (
        BlindedReceivePayload(
            encrypted_recipient_data=b"abc", amount_msat=1, cltv_expiry_height=2, total_msat=3
        ),
        True,
    ),
]


class TestPayloads:
    @pytest.mark.parametrize(("payload", "is_final"), PAYLOADS)
    def test_round_trip(self, payload: HopPayload, is_final: bool) -> None:
        assert decode_payload(encode_payload(payload), is_final=is_final) == payload

    @pytest.mark.parametrize(
        ("records", "is_final", "tlv_type"),
        [
            ({4: b"\x01", 6: bytes(8)}, False, 2),
            ({2: b"\x01", 6: bytes(8)}, False, 4),
            ({2: b"\x01", 4: b"\x01"}, False, 6),
            ({2: b"\x01", 4: b"\x01", 6: bytes(7)}, False, 6),
            ({2: b"\x00\x01", 4: b"\x01", 6: bytes(8)}, False, 2),
            ({2: b"\xff" * 8, 4: b"\x01"}, True, 2),
            ({2: b"\x01", 4: b"\x01\x00\x00\x00\x00"}, True, 4),
            ({2: b"\x01", 4: b"\x01", 8: bytes(31)}, True, 8),
            ({2: b"\x01", 4: b"\x01", 8: bytes(33)}, True, 8),
            ({2: b"\x01", 4: b"\x01", 12: bytes(33)}, True, 12),
            ({2: b"\x01", 4: b"\x01", KEYSEND_TLV: bytes(31)}, True, KEYSEND_TLV),
            ({2: b"\x01", 10: b"x"}, False, 2),
            ({2: b"\x01", 4: b"\x01", 10: b"x", 12: bytes(33)}, True, 18),
            ({2: b"\x01", 4: b"\x01", 10: b"x", 16: b"", 18: b"\x01"}, True, 16),
            ({2: b"\x01", 4: b"\x01", 70_000: b""}, True, 0),
            ({2: b"\x01", 4: b"\x01", 20: b""}, True, 0),
        ],
    )
    def test_refused(self, records: dict[int, bytes], is_final: bool, tlv_type: int) -> None:
        with pytest.raises(InvalidPayload) as caught:
            decode_payload(encode_tlv_stream(records), is_final=is_final)
        assert caught.value.tlv_type == tlv_type

    @given(st.binary(max_size=200), st.booleans())
    def test_garbage_is_refused_and_nothing_else(self, raw: bytes, is_final: bool) -> None:
        with contextlib.suppress(InvalidPayload):
            decode_payload(raw, is_final=is_final)

    def test_the_specifications_blinded_payment(self) -> None:
        generate = json.loads((DATA / "bolt04-blinded-payment-onion-test.json").read_text())["generate"]
        route, (alice, bob, *_) = generate["blinded_route"], generate["full_route"]["hops"]
        path = Path(
            hops=(
                RouteHop(
                    node_id=NodeId(bytes.fromhex(alice["pubkey"])),
                    short_channel_id=ShortChannelId(1),
                    fee_msat=0,
                    cltv_expiry_delta=0,
                ),
                RouteHop(
                    node_id=NodeId(bytes.fromhex(bob["pubkey"])),
                    short_channel_id=ShortChannelId(10),
                    fee_msat=10_125,
                    cltv_expiry_delta=150,
                ),
            ),
            blinded_tail=BlindedTail(
                hops=tuple(
                    BlindedHop(
                        blinded_node_id=NodeId(bytes.fromhex(hop["blinded_node_id"])),
                        encrypted_recipient_data=bytes.fromhex(hop["encrypted_data"]),
                    )
                    for hop in route["hops"]
                ),
                blinding_point=bytes.fromhex(route["first_path_key"]),
                excess_final_cltv_delta=0,
                final_value_msat=100_000,
            ),
        )
        recipient = RecipientOnion(total_msat=150_000)
        payloads, amount_msat, height = build_onion_payloads(path, recipient, 749_000)
        assert (amount_msat, height) == (110_125, 749_150)
        wanted = [bytes.fromhex(hop["payload"])[1:] for hop in generate["full_route"]["hops"]]
        # The vector's last payload carries some fields of its own; the rest is ours byte for byte.
        assert list(payloads[:-1]) == wanted[:-1]
        last = decode_tlv_stream(wanted[-1], None)
        assert decode_tlv_stream(payloads[-1], None) == {t: last[t] for t in last if t <= 18}
        onion = create_payment_onion(path, bytes.fromhex(generate["session_key"]), recipient, HASH, 749_000)
        incoming = decode_incoming_htlc(onion.packet, HASH, partial(ecdh, b"\x41" * 32))
        assert isinstance(incoming, IncomingForward)

    def test_private_fields_need_private_types(self) -> None:
        for custom in (((1, b""),), ((70_001, b""), (70_001, b"")), ((KEYSEND_TLV, b""),)):
            with pytest.raises(APIError):
                RecipientOnion(total_msat=1, custom_tlvs=custom)


class TestSealedData:
    data = RecipientData(
        short_channel_id=ShortChannelId(1729),
        payment_relay=PaymentRelay(
            cltv_expiry_delta=36, fee_proportional_millionths=150, fee_base_msat=10_000
        ),
        payment_constraints=PaymentConstraints(max_cltv_expiry_height=748_005, htlc_minimum_msat=1_500),
        path_id=b"id",
        next_path_key_override=NODES[1],
        padding=bytes(3),
    )

    def test_round_trip(self) -> None:
        assert open_recipient_data(b"1" * 32, seal_recipient_data(b"1" * 32, self.data)) == self.data

    def test_for_another(self) -> None:
        with pytest.raises(DecodeError, match="not for us"):
            open_recipient_data(b"2" * 32, seal_recipient_data(b"1" * 32, self.data))

    def test_relay_rounds_as_the_specification(self) -> None:
        relay = PaymentRelay(cltv_expiry_delta=36, fee_proportional_millionths=150, fee_base_msat=10_000)
        assert relay.amount_to_forward_msat(110_125) == 100_110
        assert relay.amount_to_forward_msat(9_999) is None


class TestIncoming:
    policy = ForwardingPolicy(
        fee_base_msat=1_000, fee_proportional_millionths=100, cltv_expiry_delta=40, htlc_minimum_msat=500
    )
    payload = ForwardPayload(
        short_channel_id=ShortChannelId(1), amt_to_forward_msat=1_000_000, outgoing_cltv_height=200
    )

    def checked(self, incoming_msat: int = 1_001_100, height: int = 240, best: int = 100) -> Failure | None:
        return check_forward(
            self.payload,
            self.policy,
            incoming_msat=incoming_msat,
            incoming_cltv_height=height,
            best_height=best,
            expiry_buffer_blocks=39,
        )

    def test_forward_rules(self) -> None:
        assert self.checked() is None
        assert self.checked(incoming_msat=1_001_099) == Failure.fee_insufficient(1_001_099)
        assert self.checked(height=239) == Failure.incorrect_cltv_expiry(239)
        assert self.checked(best=200) == Failure.expiry_too_soon()
        assert self.checked(best=201) == Failure.expiry_too_soon()
        assert self.checked(height=100 + 2017) == Failure.expiry_too_far()
        small = ForwardPayload(
            short_channel_id=ShortChannelId(1), amt_to_forward_msat=499, outgoing_cltv_height=200
        )
        assert check_forward(
            small,
            self.policy,
            incoming_msat=10_000,
            incoming_cltv_height=240,
            best_height=100,
            expiry_buffer_blocks=39,
        ) == Failure.amount_below_minimum(499)

    def test_receive_rules(self) -> None:
        def received(msat: int = 1_000, height: int = 500, best: int = 458) -> Failure | None:
            return check_receive(
                RECEIVED,
                incoming_msat=msat,
                incoming_cltv_height=height,
                best_height=best,
                min_final_cltv_delta=42,
            )

        assert received() is None
        assert received(height=499) == Failure.final_incorrect_cltv_expiry(499)
        assert received(msat=999) == Failure.final_incorrect_htlc_amount(999)
        assert received(best=459) == Failure.incorrect_or_unknown_payment_details(1_000, 459)

    def onion(self, *payloads: bytes) -> bytes:
        keys = construct_onion_keys(NODES[: len(payloads)], SESSION_KEY)
        return construct_onion_packet(payloads, keys, prng_seed=SESSION_KEY, associated_data=HASH)

    def decoded(self, *payloads: bytes, path_key: bytes | None = None) -> object:
        return decode_incoming_htlc(self.onion(*payloads), HASH, partial(ecdh, SECRETS[0]), path_key)

    def test_what_an_onion_asks_for(self) -> None:
        forward, receive = encode_payload(self.payload), encode_payload(RECEIVED)
        incoming = self.decoded(forward, receive)
        assert isinstance(incoming, IncomingForward)
        assert incoming.payload == self.payload
        incoming = self.decoded(receive)
        assert isinstance(incoming, IncomingReceive)
        assert incoming.payload == RECEIVED
        rejected = self.decoded(receive, receive)
        assert isinstance(rejected, Rejected)
        assert rejected.failure == Failure.invalid_onion_payload(6)

    def test_sealed_instructions_are_refused_without_a_hint_of_why(self) -> None:
        sealed = encode_payload(
            BlindedForwardPayload(encrypted_recipient_data=b"x", current_path_key=NODES[5])
        )
        rejected = self.decoded(sealed, sealed)
        assert isinstance(rejected, Rejected)
        assert rejected.failure.code == FailureCode.INVALID_ONION_BLINDING
        malformed = self.decoded(sealed, path_key=NODES[5])
        assert isinstance(malformed, Malformed)
        assert malformed.failure_code == FailureCode.INVALID_ONION_BLINDING
