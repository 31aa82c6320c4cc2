"""What has to be claimed on chain: one record for each kind of output, and the transactions that claim them.

A claim is derived anew from what is confirmed whenever that changes; nothing of it is stored. It knows what
its input weighs, which lock times it needs, until when only we can spend it, and what its witness is.

- `RevokedOutputClaim`: the cheater's to_local, or the output of its HTLC transaction. Its turn comes after its
  delay.
- `RevokedHtlcClaim`: an HTLC output of a revoked commitment. The cheater can spend it by an HTLC transaction.
- `CounterpartyHtlcClaim`: an HTLC output of the peer's commitment, by preimage or after its expiry. The peer
  can spend it the other way.
- `HolderHtlcClaim`: an HTLC output of our own commitment, by its HTLC transaction. The same holds.
- `HolderCommitmentClaim`: the funding output, by our commitment. The peer has its own.

What shares a transaction shares its fate: whoever spends one of its inputs first makes the whole invalid, and
can pin it by a large transaction at a low rate. So claims are joined only while nobody else can spend any of
them, or while there is ample time to part them; `cluster` says which.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, assert_never

from wallet.bitcoin.errors import InvariantError
from wallet.bitcoin.hashes import sha256
from wallet.bitcoin.tx import SEQUENCE_RBF, OutPoint, Transaction, TxIn, TxOut
from wallet.ln.chan_utils import (
    ChannelTransactionParameters,
    HTLCOutputInCommitment,
    derive_public_revocation_key,
    witness_signature,
)
from wallet.ln.config import MIN_CLTV_EXPIRY_DELTA
from wallet.ln.sign import ChannelSigner
from wallet.ln.types import PaymentPreimage

__all__ = [
    "ANCHOR_INPUT_WEIGHT",
    "Claim",
    "CounterpartyHtlcClaim",
    "HolderCommitmentClaim",
    "HolderHtlcClaim",
    "MalleableClaim",
    "RevokedHtlcClaim",
    "RevokedOutputClaim",
    "build_claim_transaction",
    "claim_id_of",
    "claim_transaction_weight",
    "cluster",
    "is_contested",
    "may_join",
    "outside_weight",
    "value_sat_of",
]

SECURITY_DELAY_BLOCKS: Final = 18
"""BOLT 5, revoked transactions with anchors: this near to the cheater's turn, or to the end of our own, each
output is claimed on its own."""

PEERS_TURN_BLOCKS: Final = 12
"""This near to its expiry an HTLC that we have the preimage of parts from those that expire later: the peer can
soon take it back, and so hold up what shares its transaction. Below MAX_BLOCKS_FOR_CONF, so that HTLCs of a
commitment that was published in time, and took as long as it may take, can still be joined."""

ALONE_BLOCKS: Final = 3
"""Where each transaction costs a coin of the wallet, those of one expiry stay together until this near to it."""

MAX_INPUTS_PER_CLAIM: Final = 400
"""The heaviest input is 417 weight units: stays below half of what a standard transaction may weigh."""

SHARED: Final = "shared"
"""The cluster of what only we can spend for a while."""

# Outpoint 36, script length 1, sequence 4, times 4.
_INPUT_BASE_WEIGHT: Final = 164
# A count of items, and a signature of 73 bytes behind its length.
_WITNESS_HEAD_WEIGHT: Final = 1 + 74
# What a transaction weighs that spends nothing, and a coin of the wallet with its change (P2WPKH).
_FRAME_WEIGHT: Final = 4 * 10 + 2
_COIN_AND_CHANGE_WEIGHT: Final = _INPUT_BASE_WEIGHT + 109 + 4 * 31
_OUTPUT_P2WSH_WEIGHT: Final = 4 * 43
ANCHOR_INPUT_WEIGHT: Final = _INPUT_BASE_WEIGHT + 1 + 74 + 1 + 40


# --- the kinds ----------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokedOutputClaim:
    """Justice on what the cheater could take after its delay.

    Attributes:
        deadline_height: the first block that may hold the cheater's own spend.
    """

    outpoint: OutPoint
    output: TxOut
    per_commitment_secret: bytes
    witness_script: bytes
    deadline_height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokedHtlcClaim:
    """Justice on an HTLC output. The cheater's HTLC transaction may come first: its output is claimed
    then."""

    outpoint: OutPoint
    output: TxOut
    per_commitment_secret: bytes
    per_commitment_point: bytes
    htlc: HTLCOutputInCommitment
    witness_script: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterpartyHtlcClaim:
    """An HTLC output of the peer's valid commitment.

    Attributes:
        payment_preimage: of an HTLC that the peer offered; None for one of ours that has expired.
        contested: the peer was seen to claim it.
    """

    outpoint: OutPoint
    output: TxOut
    per_commitment_point: bytes
    htlc: HTLCOutputInCommitment
    witness_script: bytes
    payment_preimage: PaymentPreimage | None
    contested: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HolderHtlcClaim:
    """An HTLC output of our own commitment, claimed by the HTLC transaction that the peer has signed.

    Attributes:
        payment_preimage: of an HTLC that the peer offered; None for one of ours that has expired.
        contested: the peer was seen to claim it.
    """

    outpoint: OutPoint
    output: TxOut
    htlc: HTLCOutputInCommitment
    witness_script: bytes
    counterparty_signature: bytes
    payment_preimage: PaymentPreimage | None
    anchors: bool
    contested: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HolderCommitmentClaim:
    """The funding output: our commitment has to confirm.

    Attributes:
        deadline_height: the first deadline of an HTLC in it; None without HTLCs.
        value_sat: what it can bring us: no more is paid for it.
        weight: of the commitment transaction.
    """

    outpoint: OutPoint
    deadline_height: int | None
    value_sat: int
    weight: int


MalleableClaim = RevokedOutputClaim | RevokedHtlcClaim | CounterpartyHtlcClaim
"""Claims by transactions that are ours alone to shape: they pay their fee from what they claim."""

Claim = MalleableClaim | HolderHtlcClaim | HolderCommitmentClaim


# --- what they need -----------------------------------------------------------


def lock_time_of(claim: Claim) -> int:
    """The least lock time of a transaction that claims it; for HTLC transactions the exact one."""
    match claim:
        case CounterpartyHtlcClaim() | HolderHtlcClaim():
            return claim.htlc.cltv_expiry_height if claim.payment_preimage is None else 0
        case RevokedOutputClaim() | RevokedHtlcClaim() | HolderCommitmentClaim():
            return 0
        case _:
            assert_never(claim)


def deadline_height_of(claim: Claim) -> int | None:
    """Until when it should be confirmed; None where nothing is lost by waiting."""
    match claim:
        case RevokedOutputClaim():
            return claim.deadline_height
        case RevokedHtlcClaim():
            # The cheater may spend it, but what it gets waits for its delay once more, and is claimed there.
            return None
        case CounterpartyHtlcClaim() | HolderHtlcClaim():
            if claim.payment_preimage is not None:
                return claim.htlc.cltv_expiry_height
            # An HTLC of ours may be owed to somebody upstream: it has to be over before that one expires.
            return claim.htlc.cltv_expiry_height + MIN_CLTV_EXPIRY_DELTA
        case HolderCommitmentClaim():
            return claim.deadline_height
        case _:
            assert_never(claim)


def cluster(claim: Claim, best_height: int) -> tuple[str, int, bytes]:
    """Claims with equal answers may share a transaction."""
    alone = claim.outpoint.serialize()
    match claim:
        case HolderCommitmentClaim():
            return ("commitment", 0, alone)
        case HolderHtlcClaim():
            return _cluster_of_htlc_transaction(claim, best_height)
        case CounterpartyHtlcClaim():
            if claim.payment_preimage is not None:
                if claim.htlc.cltv_expiry_height <= best_height + PEERS_TURN_BLOCKS:
                    return ("urgent", 0, alone)
                return (SHARED, 0, b"")
            # The peer can spend it at any time, if it learns the preimage.
            if claim.contested or _ends_soon(claim, best_height):
                return ("urgent", 0, alone)
            return ("pinnable", 0, b"")
        case RevokedOutputClaim():
            if claim.deadline_height <= best_height + SECURITY_DELAY_BLOCKS:
                return ("urgent", 0, alone)
            return (SHARED, 0, b"")
        case RevokedHtlcClaim():
            # With the preimage the cheater can claim what we offered at once; its own only after the expiry.
            pinnable = not claim.htlc.offered or (
                claim.htlc.cltv_expiry_height <= best_height + SECURITY_DELAY_BLOCKS
            )
            return ("pinnable" if pinnable else SHARED, 0, b"")
        case _:
            assert_never(claim)


def _cluster_of_htlc_transaction(claim: HolderHtlcClaim, best_height: int) -> tuple[str, int, bytes]:
    # BOLT 3: the peer has signed the lock time; with anchors (SIGHASH_SINGLE|ANYONECANPAY) nothing else of
    # what stands beside it.
    lock_time = lock_time_of(claim)
    alone = claim.outpoint.serialize()
    if not claim.anchors:
        return ("htlc tx", lock_time, alone)
    if claim.payment_preimage is None:
        if claim.contested or _ends_soon(claim, best_height):
            return ("htlc tx", lock_time, alone)
        return (SHARED, lock_time, b"")
    expiry_height = claim.htlc.cltv_expiry_height
    if expiry_height <= best_height + ALONE_BLOCKS:
        return ("htlc tx", lock_time, alone)
    if expiry_height <= best_height + PEERS_TURN_BLOCKS:
        return ("htlc tx", lock_time, expiry_height.to_bytes(4, "big"))
    return (SHARED, lock_time, b"")


def _ends_soon(claim: CounterpartyHtlcClaim | HolderHtlcClaim, best_height: int) -> bool:
    deadline_height = deadline_height_of(claim)
    return deadline_height is not None and deadline_height <= best_height + SECURITY_DELAY_BLOCKS


def is_contested(claim: Claim) -> bool:
    return isinstance(claim, CounterpartyHtlcClaim | HolderHtlcClaim) and claim.contested


def may_join(claim: Claim, best_height: int) -> bool:
    """Whether it may join a request that is on its way: each transaction of its own would cost a coin."""
    return isinstance(claim, HolderHtlcClaim) and cluster(claim, best_height)[0] == SHARED


def claim_id_of(outpoints: Sequence[OutPoint]) -> bytes:
    """Names a claim by what it claims."""
    return sha256(b"".join(sorted(outpoint.serialize() for outpoint in outpoints)))


# --- transactions of ours -----------------------------------------------------


def _sequence(claim: MalleableClaim, params: ChannelTransactionParameters) -> int:
    # BOLT 3, HTLC outputs with anchors: one block later, but not by the revocation key.
    if isinstance(claim, CounterpartyHtlcClaim) and params.anchors:
        return 1
    return SEQUENCE_RBF


def _input_weight(claim: MalleableClaim) -> int:
    script_weight = 1 + len(claim.witness_script)
    match claim:
        case RevokedOutputClaim():
            return _INPUT_BASE_WEIGHT + _WITNESS_HEAD_WEIGHT + 2 + script_weight
        case RevokedHtlcClaim():
            return _INPUT_BASE_WEIGHT + _WITNESS_HEAD_WEIGHT + 34 + script_weight
        case CounterpartyHtlcClaim():
            preimage_weight = 1 if claim.payment_preimage is None else 33
            return _INPUT_BASE_WEIGHT + _WITNESS_HEAD_WEIGHT + preimage_weight + script_weight
        case _:
            assert_never(claim)


def claim_transaction_weight(claims: Sequence[MalleableClaim], destination_script: bytes) -> int:
    """The most that `build_claim_transaction` can weigh."""
    # Version, lock time, counts of inputs (3 bytes with many) and outputs, the output; marker and flag.
    head_weight = 4 * (4 + 4 + 3 + 1 + 9 + len(destination_script)) + 2
    return head_weight + sum(_input_weight(claim) for claim in claims)


def htlc_transaction_weight(claim: HolderHtlcClaim) -> int:
    """The most that one HTLC adds to a transaction of HTLC inputs and outputs."""
    # A count, an empty item, two signatures, the preimage or an empty item, the script.
    preimage_weight = 1 if claim.payment_preimage is None else 33
    witness_weight = 1 + 1 + 74 + 74 + preimage_weight + 1 + len(claim.witness_script)
    return _INPUT_BASE_WEIGHT + witness_weight + _OUTPUT_P2WSH_WEIGHT


def outside_weight(claims: Sequence[HolderHtlcClaim | HolderCommitmentClaim]) -> int:
    """About what is paid for where the wallet's coins pay: the claims with one coin and its change."""
    weight = _FRAME_WEIGHT + _COIN_AND_CHANGE_WEIGHT
    for claim in claims:
        if isinstance(claim, HolderCommitmentClaim):
            weight += claim.weight + ANCHOR_INPUT_WEIGHT
        else:
            weight += htlc_transaction_weight(claim)
    return weight


def value_sat_of(claim: Claim) -> int:
    """What there is to gain by it."""
    return claim.value_sat if isinstance(claim, HolderCommitmentClaim) else claim.output.value_sat


def build_claim_transaction(
    claims: Sequence[MalleableClaim],
    params: ChannelTransactionParameters,
    signer: ChannelSigner,
    destination_script: bytes,
    output_sat: int,
) -> Transaction:
    """One signed transaction that claims all of them into one output."""
    # No later than it has to be: a reorganisation must not lock what is urgent.
    lock_time = max(lock_time_of(claim) for claim in claims)
    tx = Transaction(
        2,
        tuple(TxIn(claim.outpoint, b"", _sequence(claim, params)) for claim in claims),
        (TxOut(output_sat, destination_script),),
        lock_time,
    )
    signed = tx
    for index, claim in enumerate(claims):
        signed = signed.with_witness(index, _witness(claim, params, signer, tx, index))
    return signed


def _witness(
    claim: MalleableClaim,
    params: ChannelTransactionParameters,
    signer: ChannelSigner,
    tx: Transaction,
    index: int,
) -> tuple[bytes, ...]:
    value_sat = claim.output.value_sat
    match claim:
        case RevokedOutputClaim():
            signature = signer.sign_justice_revoked_output(
                params, tx, index, value_sat, claim.per_commitment_secret
            )
            return (witness_signature(signature), b"\x01", claim.witness_script)
        case RevokedHtlcClaim():
            signature = signer.sign_justice_revoked_htlc(
                params, tx, index, value_sat, claim.per_commitment_secret, claim.htlc
            )
            revocation_key = derive_public_revocation_key(
                claim.per_commitment_point, params.holder_pubkeys.revocation_basepoint
            )
            return (witness_signature(signature), revocation_key, claim.witness_script)
        case CounterpartyHtlcClaim():
            if claim.htlc.offered != (claim.payment_preimage is not None):
                raise InvariantError("An HTLC of the peer is claimed by preimage, one of ours by its expiry.")
            signature = signer.sign_counterparty_htlc_transaction(
                params, tx, index, value_sat, claim.per_commitment_point, claim.htlc
            )
            return (witness_signature(signature), claim.payment_preimage or b"", claim.witness_script)
        case _:
            assert_never(claim)
