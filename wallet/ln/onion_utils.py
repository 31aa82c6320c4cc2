"""Onions: building and peeling routing packets, and the failures that travel back. BOLT 4.

Theory of operation. The sender makes one ephemeral key; each node blinds it for the next one, so that every
node shares a different secret with the sender and none can link the packets. From that secret come all keys:
rho hides the instructions, mu authenticates them, um authenticates a failure, ammag hides it, and ammagext
hides the attribution data, in which every node on the way back commits to how long it held the payment.

A packet is peeled by `peel_payment_onion`: what was not addressed to us is `Malformed` (told to the peer by
`update_fail_malformed_htlc`, because there is no secret to answer with), what was addressed to us but makes
no sense is `Unreadable` (an ordinary failure), and the rest is `Forward` or `Receive` with the raw
instructions.

All functions are pure. The keys of one packet are never used for a second one, so the nonce is zero
throughout.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from wallet.bitcoin.curve import ecdh as curve_ecdh
from wallet.bitcoin.curve import pubkey_from_secret, pubkey_tweak_mul, secret_tweak_mul
from wallet.ln.onion_failure import Failure, FailureCode
from wallet.ln.types import APIError, DecodeError, NodeId, PaymentHash
from wallet.ln.wire import decode_bigsize, encode_bigsize

__all__ = [
    "ATTRIBUTION_DATA_LEN",
    "HOLD_TIME_UNIT_MS",
    "HOP_PAYLOADS_LEN",
    "DecodedFailure",
    "Failure",
    "FailureCode",
    "FailurePacket",
    "Forward",
    "Malformed",
    "OnionKeys",
    "Peeled",
    "Receive",
    "Unreadable",
    "build_failure_packet",
    "build_fulfill_attribution",
    "construct_onion_keys",
    "construct_onion_packet",
    "decode_failure",
    "decode_fulfill_attribution",
    "next_path_key",
    "path_key_tweak",
    "peel_payment_onion",
    "wrap_failure_packet",
]

# BOLT 4, packet structure.
HOP_PAYLOADS_LEN: Final = 1300
_HEADER_LEN: Final = 1 + 33
_HMAC_LEN: Final = 32

_LAST_HOP_HMAC: Final = bytes(_HMAC_LEN)
_ZERO_NONCE: Final = bytes(16)  # a block counter of 4 bytes, a nonce of 12


def _stream(key: bytes, data: bytes) -> bytes:
    """XOR `data` with the ChaCha20 stream of `key`. BOLT 4, pseudo random byte stream."""
    return Cipher(ChaCha20(key, _ZERO_NONCE), mode=None).encryptor().update(data)


def _key(kind: bytes, secret: bytes) -> bytes:
    # BOLT 4, key generation: the kind of key is the HMAC's key, the shared secret its message.
    return hmac.digest(kind, secret, "sha256")


# --- keys ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OnionKeys:
    """What the sender shares with one hop.

    Attributes:
        ephemeral_pubkey: the key that this hop finds in its packet.
        shared_secret: the hash of the ECDH between that key and the hop's node id.
    """

    ephemeral_pubkey: bytes
    shared_secret: bytes


def construct_onion_keys(node_ids: Sequence[NodeId | bytes], session_key: bytes) -> tuple[OnionKeys, ...]:
    """The keys of each hop, first hop first. BOLT 4, packet construction."""
    if not node_ids:
        raise APIError("An onion needs at least one hop.")
    keys: list[OnionKeys] = []
    ephemeral_secret = session_key
    last = len(node_ids) - 1
    for index, node_id in enumerate(node_ids):
        ephemeral_pubkey = pubkey_from_secret(ephemeral_secret)
        shared_secret = curve_ecdh(ephemeral_secret, node_id)
        keys.append(OnionKeys(ephemeral_pubkey, shared_secret))
        if index < last:
            factor = sha256(ephemeral_pubkey + shared_secret).digest()
            ephemeral_secret = secret_tweak_mul(ephemeral_secret, factor)
    return tuple(keys)


def path_key_tweak(blinding_shared_secret: bytes) -> bytes:
    """The factor between a node's id and its blinded id. BOLT 4, route blinding."""
    return _key(b"blinded_node_id", blinding_shared_secret)


def next_path_key(path_key: bytes, blinding_shared_secret: bytes) -> bytes:
    """The path key for the node after us. BOLT 4, route blinding."""
    return pubkey_tweak_mul(path_key, sha256(path_key + blinding_shared_secret).digest())


# --- building -----------------------------------------------------------------


def _frame(payload: bytes) -> bytes:
    if len(payload) < 2:
        # BOLT 4, packet structure: lengths 0 and 1 are reserved.
        raise APIError("A hop payload has at least two bytes.")
    return encode_bigsize(len(payload)) + payload


def _filler(keys: Sequence[OnionKeys], frames: Sequence[bytes], hop_payloads_len: int) -> bytes:
    """What the forwarding hops will have appended, by the time that the last one checks its HMAC."""
    filler = b""
    for hop_keys, frame in zip(keys[:-1], frames[:-1], strict=True):
        encryptor = Cipher(ChaCha20(_key(b"rho", hop_keys.shared_secret), _ZERO_NONCE), mode=None).encryptor()
        encryptor.update(bytes(hop_payloads_len - len(filler)))
        filler = encryptor.update(filler + bytes(len(frame) + _HMAC_LEN))
    return filler


def construct_onion_packet(
    payloads: Sequence[bytes],
    keys: Sequence[OnionKeys],
    *,
    prng_seed: bytes,
    associated_data: bytes,
    hop_payloads_len: int = HOP_PAYLOADS_LEN,
) -> bytes:
    """Wrap the payloads (without their lengths) into one packet. BOLT 4, packet construction.

    `prng_seed` fills what the payloads leave free; for the specification's own choice pass the session key.
    """
    if len(payloads) != len(keys):
        raise APIError(f"There are {len(payloads)} payloads for {len(keys)} hops.")
    frames = [_frame(payload) for payload in payloads]
    needed = sum(map(len, frames)) + _HMAC_LEN * len(frames)
    if needed > hop_payloads_len:
        raise APIError(f"The path's instructions take {needed} bytes; a packet holds {hop_payloads_len}.")
    filler = _filler(keys, frames, hop_payloads_len)
    body = _stream(_key(b"pad", prng_seed), bytes(hop_payloads_len))
    mac = _LAST_HOP_HMAC
    for index in range(len(frames) - 1, -1, -1):
        secret = keys[index].shared_secret
        body = _stream(_key(b"rho", secret), (frames[index] + mac + body)[:hop_payloads_len])
        if filler and index == len(frames) - 1:
            body = body[: -len(filler)] + filler
        mac = hmac.digest(_key(b"mu", secret), body + associated_data, "sha256")
    return b"\x00" + keys[0].ephemeral_pubkey + body + mac


# --- peeling ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Forward:
    """The packet goes on.

    Attributes:
        payload: our instructions, a TLV stream.
        next_packet: for the next node.
    """

    payload: bytes
    shared_secret: bytes
    next_packet: bytes


@dataclass(frozen=True, slots=True)
class Receive:
    """We are the last hop."""

    payload: bytes
    shared_secret: bytes


@dataclass(frozen=True, slots=True)
class Malformed:
    """Not readable as addressed to us: fail by `update_fail_malformed_htlc`."""

    failure_code: FailureCode
    sha256_of_onion: bytes


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Authentic, but its framing is wrong: fail by `update_fail_htlc`."""

    shared_secret: bytes
    failure: Failure


Peeled = Forward | Receive | Malformed | Unreadable


def peel_payment_onion(
    packet: bytes,
    payment_hash: PaymentHash | bytes,
    ecdh: Callable[[bytes], bytes],
    *,
    path_key: bytes | None = None,
) -> Peeled:
    """Take our layer off a packet. BOLT 4, onion decryption.

    `ecdh` shares a secret between our node id and a point. With `path_key` (from `update_add_htlc`), the
    sender knew us by a blinded id only. Raises nothing for whatever the packet holds.
    """

    def malformed(code: FailureCode) -> Malformed:
        # BOLT 4, requirements of the erring node: inside a blinded path all failures look the same.
        code = code if path_key is None else FailureCode.INVALID_ONION_BLINDING
        return Malformed(code, sha256(packet).digest())

    if len(packet) <= _HEADER_LEN + _HMAC_LEN:
        return malformed(FailureCode.INVALID_ONION_HMAC)
    if packet[0] != 0:
        return malformed(FailureCode.INVALID_ONION_VERSION)
    public_key = packet[1:_HEADER_LEN]
    body, mac = packet[_HEADER_LEN:-_HMAC_LEN], packet[-_HMAC_LEN:]
    try:
        if path_key is None:
            shared_secret = ecdh(public_key)
        else:
            shared_secret = ecdh(pubkey_tweak_mul(public_key, path_key_tweak(ecdh(path_key))))
    except DecodeError:
        return malformed(FailureCode.INVALID_ONION_KEY)
    expected_mac = hmac.digest(_key(b"mu", shared_secret), body + payment_hash, "sha256")
    if not hmac.compare_digest(expected_mac, mac):
        return malformed(FailureCode.INVALID_ONION_HMAC)

    length = len(body)
    plain = _stream(_key(b"rho", shared_secret), body + bytes(length))
    try:
        payload_len, start = decode_bigsize(plain)
    except DecodeError:
        payload_len = start = 0
    stop = start + payload_len
    # BOLT 4, onion decryption: at least two bytes, and room for the HMAC within the incoming payloads.
    if payload_len < 2 or stop + _HMAC_LEN > length:
        if path_key is not None:
            return malformed(FailureCode.INVALID_ONION_BLINDING)
        return Unreadable(shared_secret, Failure.invalid_onion_payload())
    payload = plain[start:stop]
    next_mac = plain[stop : stop + _HMAC_LEN]
    if next_mac == _LAST_HOP_HMAC:
        return Receive(payload, shared_secret)
    try:
        next_key = pubkey_tweak_mul(public_key, sha256(public_key + shared_secret).digest())
    except DecodeError:
        return malformed(FailureCode.INVALID_ONION_KEY)
    rest = stop + _HMAC_LEN
    return Forward(payload, shared_secret, b"\x00" + next_key + plain[rest : rest + length] + next_mac)


# --- attribution --------------------------------------------------------------

_MAX_ATTRIBUTABLE_HOPS: Final = 20
_HOLD_TIME_LEN: Final = 4
_SHORT_MAC_LEN: Final = 4
_HOLD_TIMES_LEN: Final = _MAX_ATTRIBUTABLE_HOPS * _HOLD_TIME_LEN
ATTRIBUTION_DATA_LEN: Final = (
    _HOLD_TIMES_LEN + _MAX_ATTRIBUTABLE_HOPS * (_MAX_ATTRIBUTABLE_HOPS + 1) // 2 * _SHORT_MAC_LEN
)
"""20 hold times, then 20 + 19 + ... + 1 truncated HMACs. BOLT 4, initialization of attribution_data."""

HOLD_TIME_UNIT_MS: Final = 100

# Where the HMACs of node x start, counted in HMACs; node 0 is the one that holds the data now.
_BLOCK_STARTS: Final = tuple(
    sum(_MAX_ATTRIBUTABLE_HOPS - earlier for earlier in range(x)) for x in range(_MAX_ATTRIBUTABLE_HOPS)
)
# By position y (hops down to the erring node): the byte offsets of the downstream HMACs that are covered.
# Node x keeps its HMACs from its farthest position down to 0, so that of position y - x stands at start + 19
# - y.
_COVERED: Final = tuple(
    tuple((_BLOCK_STARTS[x] + _MAX_ATTRIBUTABLE_HOPS - 1 - y) * _SHORT_MAC_LEN for x in range(1, y + 1))
    for y in range(_MAX_ATTRIBUTABLE_HOPS)
)
_OWN_MACS_LEN: Final = _MAX_ATTRIBUTABLE_HOPS * _SHORT_MAC_LEN
_EMPTY_ATTRIBUTION: Final = bytes(ATTRIBUTION_DATA_LEN)


def _short_mac(base: hmac.HMAC, hold_times: bytes, macs: bytes, position: int) -> bytes:
    engine = base.copy()
    engine.update(hold_times[: (position + 1) * _HOLD_TIME_LEN])
    engine.update(b"".join([macs[at : at + _SHORT_MAC_LEN] for at in _COVERED[position]]))
    return engine.digest()[:_SHORT_MAC_LEN]


def _shift_right(data: bytes) -> bytes:
    """Make room for one more node in front, and drop each node's HMAC for the farthest position."""
    hold_times, macs = data[:_HOLD_TIMES_LEN], data[_HOLD_TIMES_LEN:]
    parts = [bytes(_HOLD_TIME_LEN), hold_times[:-_HOLD_TIME_LEN], bytes(_OWN_MACS_LEN)]
    for x, start in enumerate(_BLOCK_STARTS[:-1]):
        stop = start + _MAX_ATTRIBUTABLE_HOPS - x
        parts.append(macs[(start + 1) * _SHORT_MAC_LEN : stop * _SHORT_MAC_LEN])
    return b"".join(parts)


def _shift_left(data: bytes) -> bytes:
    """Undo `_shift_right`; the HMACs that it dropped stay lost, and are not needed any more."""
    hold_times, macs = data[:_HOLD_TIMES_LEN], data[_HOLD_TIMES_LEN:]
    parts = [hold_times[_HOLD_TIME_LEN:], bytes(_HOLD_TIME_LEN)]
    for x in range(1, _MAX_ATTRIBUTABLE_HOPS):
        stop = _BLOCK_STARTS[x] + _MAX_ATTRIBUTABLE_HOPS - x
        parts += (bytes(_SHORT_MAC_LEN), macs[_BLOCK_STARTS[x] * _SHORT_MAC_LEN : stop * _SHORT_MAC_LEN])
    parts.append(bytes(_SHORT_MAC_LEN))
    return b"".join(parts)


def _attribute(downstream: bytes | None, shared_secret: bytes, message: bytes, hold_time_ms: int) -> bytes:
    """Put our hold time and HMACs in front, and encrypt. BOLT 4, update of attribution_data."""
    if downstream is None or len(downstream) != ATTRIBUTION_DATA_LEN:
        data = _EMPTY_ATTRIBUTION
    else:
        data = _shift_right(downstream)
    hold_time = min(max(hold_time_ms, 0) // HOLD_TIME_UNIT_MS, 0xFFFF_FFFF)
    hold_times = hold_time.to_bytes(_HOLD_TIME_LEN, "big") + data[_HOLD_TIME_LEN:_HOLD_TIMES_LEN]
    macs = data[_HOLD_TIMES_LEN:]
    base = hmac.new(_key(b"um", shared_secret), message, "sha256")
    own = [_short_mac(base, hold_times, macs, y) for y in range(_MAX_ATTRIBUTABLE_HOPS - 1, -1, -1)]
    return _stream(_key(b"ammagext", shared_secret), hold_times + b"".join(own) + macs[_OWN_MACS_LEN:])


def _verify_attribution(data: bytes, shared_secret: bytes, message: bytes, position: int) -> int | None:
    """The hold time in ms that the node in front commits to; None when its HMAC is wrong."""
    hold_times, macs = data[:_HOLD_TIMES_LEN], data[_HOLD_TIMES_LEN:]
    base = hmac.new(_key(b"um", shared_secret), message, "sha256")
    at = (_MAX_ATTRIBUTABLE_HOPS - 1 - position) * _SHORT_MAC_LEN
    if not hmac.compare_digest(_short_mac(base, hold_times, macs, position), macs[at : at + _SHORT_MAC_LEN]):
        return None
    return int.from_bytes(hold_times[:_HOLD_TIME_LEN], "big") * HOLD_TIME_UNIT_MS


def build_fulfill_attribution(shared_secret: bytes, downstream: bytes | None, hold_time_ms: int) -> bytes:
    """Attribution data for `update_fulfill_htlc`: ours in front of the next node's, where it sent any."""
    # BOLT 4, hold times for successful payments: as for failures, with no message to cover.
    return _attribute(downstream, shared_secret, b"", hold_time_ms)


def decode_fulfill_attribution(keys: Sequence[OnionKeys], data: bytes) -> tuple[int, ...]:
    """The hold times in ms that the hops vouch for, first hop first, up to the first that does not."""
    hold_times_ms: list[int] = []
    if len(data) != ATTRIBUTION_DATA_LEN:
        return ()
    count = min(len(keys), _MAX_ATTRIBUTABLE_HOPS)
    for index in range(count):
        secret = keys[index].shared_secret
        data = _stream(_key(b"ammagext", secret), data)
        hold_time_ms = _verify_attribution(data, secret, b"", count - index - 1)
        if hold_time_ms is None:
            break
        hold_times_ms.append(hold_time_ms)
        if index < count - 1:
            data = _shift_left(data)
    return tuple(hold_times_ms)


# --- failures -----------------------------------------------------------------

_MIN_FAILURE_AND_PAD_LEN: Final = 256
_MAX_UNATTRIBUTED_LEN: Final = 65_535 - 2 - 32 - 8 - 2 - (1 + 3 + ATTRIBUTION_DATA_LEN)
"""BOLT 8: a message has 65,535 bytes. Around the packet stand its type, channel id, HTLC id and length."""
_DECODE_ROUNDS: Final = 27
_DUMMY_SECRET: Final = sha256(b"a hop that is not there").digest()


@dataclass(frozen=True, slots=True)
class FailurePacket:
    """What `update_fail_htlc` carries.

    Attributes:
        data: the field `reason`, encrypted.
        attribution_data: its TLV, encrypted; None where a node on the way does not know it.
    """

    data: bytes
    attribution_data: bytes | None = None


def build_failure_packet(
    shared_secret: bytes,
    failure: Failure,
    hold_time_ms: int = 0,
    *,
    failure_and_pad_len: int = _MIN_FAILURE_AND_PAD_LEN,
) -> FailurePacket:
    """The packet that an erring node sends back. BOLT 4, erring node."""
    message = failure.encode()
    pad_len = max(0, failure_and_pad_len - len(message))
    body = len(message).to_bytes(2, "big") + message + pad_len.to_bytes(2, "big") + bytes(pad_len)
    data = hmac.digest(_key(b"um", shared_secret), body, "sha256") + body
    return _obfuscate(shared_secret, data, None, hold_time_ms)


def wrap_failure_packet(shared_secret: bytes, packet: FailurePacket, hold_time_ms: int = 0) -> FailurePacket:
    """Pass a failure on, one node further back. BOLT 4, intermediate nodes."""
    return _obfuscate(shared_secret, packet.data, packet.attribution_data, hold_time_ms)


def _obfuscate(
    shared_secret: bytes, data: bytes, attribution_data: bytes | None, hold_time_ms: int
) -> FailurePacket:
    attribution: bytes | None = None
    if len(data) <= _MAX_UNATTRIBUTED_LEN:
        attribution = _attribute(attribution_data, shared_secret, data, hold_time_ms)
    return FailurePacket(_stream(_key(b"ammag", shared_secret), data), attribution)


@dataclass(frozen=True, slots=True)
class DecodedFailure:
    """A failure that came back to us, the sender.

    Attributes:
        hop_index: who made it; 0 is our peer, None when no hop's key fits.
        failure: what it says; None when it cannot be read (by whoever made it).
        hold_times_ms: how long each hop held the payment, as far as hops vouch for it, first hop first.
        attribution_failed_at: the first hop whose attribution is wrong; the channel before it, or what lies
            behind it, is to blame when `hop_index` is None.
    """

    hop_index: int | None
    failure: Failure | None
    hold_times_ms: tuple[int, ...] = ()
    attribution_failed_at: int | None = None


def decode_failure(keys: Sequence[OnionKeys], packet: FailurePacket) -> DecodedFailure:
    """Find who failed the payment, and why. BOLT 4, origin node. Raises nothing for whatever came back."""
    data, attribution = packet.data, packet.attribution_data
    if attribution is not None and len(attribution) != ATTRIBUTION_DATA_LEN:
        attribution = None
    count = min(len(keys), _MAX_ATTRIBUTABLE_HOPS)
    hold_times_ms: list[int] = []
    hop_index: int | None = None
    found = b""
    attribution_failed_at = None if attribution is not None else 0
    # BOLT 4, origin node: go on to the longest route's end, so that the time taken does not tell the route.
    for index in range(max(_DECODE_ROUNDS, len(keys))):
        secret = keys[index].shared_secret if index < len(keys) else _DUMMY_SECRET
        data = _stream(_key(b"ammag", secret), data)
        if hop_index is None and index < count and attribution is not None and attribution_failed_at is None:
            attribution = _stream(_key(b"ammagext", secret), attribution)
            hold_time_ms = _verify_attribution(attribution, secret, data, count - index - 1)
            if hold_time_ms is None:
                attribution_failed_at = index
            else:
                hold_times_ms.append(hold_time_ms)
                attribution = _shift_left(attribution)
        matches = hmac.compare_digest(
            hmac.digest(_key(b"um", secret), data[_HMAC_LEN:], "sha256"), data[:_HMAC_LEN]
        )
        if matches and hop_index is None and index < len(keys):
            hop_index, found = index, data[_HMAC_LEN:]
    failure: Failure | None = None
    if hop_index is not None:
        length = int.from_bytes(found[:2], "big")
        try:
            failure = Failure.decode(found[2 : 2 + length]) if len(found) >= 2 + length else None
        except DecodeError:
            failure = None
    return DecodedFailure(hop_index, failure, tuple(hold_times_ms), attribution_failed_at)
