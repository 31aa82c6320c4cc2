"""From a path to the onion of an HTLC, and from an HTLC's onion to what is to be done with it.

`create_payment_onion` is the sender's side. `decode_incoming_htlc` is everybody else's: it peels, reads the
instructions, and says in one of four records what follows. `check_forward` and `check_receive` then hold the
HTLC against the instructions and against our own policy. Amounts and heights only; what the channels can
carry is the manager's business.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from wallet.ln.onion_failure import Failure, FailureCode
from wallet.ln.onion_payload import (
    BlindedForwardPayload,
    BlindedReceivePayload,
    ForwardPayload,
    InvalidPayload,
    ReceivePayload,
    RecipientOnion,
    build_onion_payloads,
    decode_payload,
)
from wallet.ln.onion_utils import (
    Forward,
    Malformed,
    OnionKeys,
    Receive,
    Unreadable,
    construct_onion_keys,
    construct_onion_packet,
    peel_payment_onion,
)
from wallet.ln.route import Path
from wallet.ln.types import InvariantError, NodeId, PaymentHash, PaymentPreimage

__all__ = [
    "MAX_HTLC_CLTV_BLOCKS",
    "ForwardingPolicy",
    "Incoming",
    "IncomingForward",
    "IncomingReceive",
    "PaymentOnion",
    "Rejected",
    "check_forward",
    "check_receive",
    "create_payment_onion",
    "decode_incoming_htlc",
    "path_keys",
]

MAX_HTLC_CLTV_BLOCKS: Final = 2016
"""BOLT 4, max_htlc_cltv selection: two weeks are the longest that an HTLC may lock coins."""


# --- sending ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PaymentOnion:
    """What the first HTLC of a path has to carry.

    Attributes:
        keys: of its hops, for what comes back.
    """

    packet: bytes
    amount_msat: int
    cltv_expiry_height: int
    keys: tuple[OnionKeys, ...]


def path_keys(path: Path, session_key: bytes) -> tuple[OnionKeys, ...]:
    """The keys of a path's hops, blinded ones included; the same session key gives the same keys."""
    node_ids: list[NodeId] = [hop.node_id for hop in path.hops]
    if path.blinded_tail is not None:
        # BOLT 4, route blinding, reader: the first blinded hop is met by its own name.
        node_ids += [hop.blinded_node_id for hop in path.blinded_tail.hops[1:]]
    return construct_onion_keys(node_ids, session_key)


def create_payment_onion(
    path: Path,
    session_key: bytes,
    recipient: RecipientOnion,
    payment_hash: PaymentHash,
    starting_height: int,
    *,
    prng_seed: bytes | None = None,
    keysend_preimage: PaymentPreimage | None = None,
) -> PaymentOnion:
    """The onion for one part. `starting_height` is the next block's. APIError if the path is too long."""
    payloads, amount_msat, cltv_height = build_onion_payloads(
        path, recipient, starting_height, keysend_preimage
    )
    keys = path_keys(path, session_key)
    packet = construct_onion_packet(
        payloads,
        keys,
        prng_seed=session_key if prng_seed is None else prng_seed,
        associated_data=payment_hash,
    )
    return PaymentOnion(packet, amount_msat, cltv_height, keys)


# --- receiving and forwarding -------------------------------------------------


@dataclass(frozen=True, slots=True)
class IncomingForward:
    """The HTLC wants to go on."""

    shared_secret: bytes
    payload: ForwardPayload
    next_packet: bytes


@dataclass(frozen=True, slots=True)
class IncomingReceive:
    """The HTLC is for us."""

    shared_secret: bytes
    payload: ReceivePayload


@dataclass(frozen=True, slots=True)
class Rejected:
    """Fail it by `update_fail_htlc`, with `build_failure_packet(shared_secret, failure)`."""

    shared_secret: bytes
    failure: Failure


Incoming = IncomingForward | IncomingReceive | Rejected | Malformed


def decode_incoming_htlc(
    packet: bytes,
    payment_hash: PaymentHash,
    ecdh: Callable[[bytes], bytes],
    path_key: bytes | None = None,
) -> Incoming:
    """Say what an incoming HTLC's onion asks for. Raises nothing, whatever the packet holds.

    We offer no route blinding, so that sealed instructions are refused as BOLT 4 demands: by
    `invalid_onion_blinding`, which tells a prober nothing.
    """
    peeled = peel_payment_onion(packet, payment_hash, ecdh, path_key=path_key)
    if isinstance(peeled, Malformed):
        return peeled
    if isinstance(peeled, Unreadable):
        return Rejected(peeled.shared_secret, peeled.failure)
    secret = peeled.shared_secret
    # BOLT 4, failure messages, forwarding node: with a path key in the HTLC, nothing else may be answered.
    onion_hash = sha256(packet).digest()
    if path_key is not None:
        return Malformed(FailureCode.INVALID_ONION_BLINDING, onion_hash)
    try:
        payload = decode_payload(peeled.payload, is_final=isinstance(peeled, Receive))
    except InvalidPayload as error:
        return Rejected(secret, Failure.invalid_onion_payload(error.tlv_type))
    if isinstance(payload, BlindedForwardPayload | BlindedReceivePayload):
        return Rejected(secret, Failure.bad_onion(FailureCode.INVALID_ONION_BLINDING, onion_hash))
    if isinstance(peeled, Forward) and isinstance(payload, ForwardPayload):
        return IncomingForward(secret, payload, peeled.next_packet)
    if isinstance(peeled, Receive) and isinstance(payload, ReceivePayload):
        return IncomingReceive(secret, payload)
    raise InvariantError("A payload was read as another kind than its onion says.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardingPolicy:
    """What we ask of those who want us to forward over one of our channels. BOLT 7, channel_update."""

    fee_base_msat: int
    fee_proportional_millionths: int
    cltv_expiry_delta: int
    htlc_minimum_msat: int

    def fee_for_msat(self, amount_to_forward_msat: int) -> int:
        return self.fee_base_msat + amount_to_forward_msat * self.fee_proportional_millionths // 1_000_000


def check_forward(
    payload: ForwardPayload,
    policy: ForwardingPolicy,
    *,
    incoming_msat: int,
    incoming_cltv_height: int,
    best_height: int,
    expiry_buffer_blocks: int,
    channel_update: bytes = b"",
) -> Failure | None:
    """Hold an HTLC to be forwarded against the outgoing channel's policy; None: go on.

    `expiry_buffer_blocks` is what we need before the incoming expiry to be safe on chain.
    """
    outgoing_msat = payload.amt_to_forward_msat
    # BOLT 4, failure messages, forwarding node: the first that applies, in the order of the list.
    if outgoing_msat < policy.htlc_minimum_msat:
        return Failure.amount_below_minimum(outgoing_msat, channel_update)
    if incoming_msat < outgoing_msat + policy.fee_for_msat(outgoing_msat):
        return Failure.fee_insufficient(incoming_msat, channel_update)
    if incoming_cltv_height < payload.outgoing_cltv_height + policy.cltv_expiry_delta:
        return Failure.incorrect_cltv_expiry(incoming_cltv_height, channel_update)
    if incoming_cltv_height <= best_height + expiry_buffer_blocks:
        return Failure.expiry_too_soon(channel_update)
    # The outgoing HTLC must not be dead on arrival either.
    if payload.outgoing_cltv_height <= best_height + 1:
        return Failure.expiry_too_soon(channel_update)
    if incoming_cltv_height > best_height + MAX_HTLC_CLTV_BLOCKS:
        return Failure.expiry_too_far()
    return None


def check_receive(
    payload: ReceivePayload,
    *,
    incoming_msat: int,
    incoming_cltv_height: int,
    best_height: int,
    min_final_cltv_delta: int,
) -> Failure | None:
    """Hold an HTLC for us against its instructions; None: go on to the payment secret."""
    # BOLT 4, payload, reader, final node: the previous node must not have shortened the time or the amount.
    if incoming_cltv_height < payload.cltv_expiry_height:
        return Failure.final_incorrect_cltv_expiry(incoming_cltv_height)
    if incoming_msat < payload.amount_msat:
        return Failure.final_incorrect_htlc_amount(incoming_msat)
    # BOLT 4, failure messages, final node: too close to the present looks like any other wrong detail.
    if incoming_cltv_height < best_height + min_final_cltv_delta:
        return Failure.incorrect_or_unknown_payment_details(incoming_msat, best_height)
    return None
