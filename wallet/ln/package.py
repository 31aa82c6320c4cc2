"""What has to be claimed on chain: one record for each kind of output, and the transactions that claim them.

A claim is derived anew from what is confirmed whenever that changes; nothing of it is stored. It knows what
its input weighs, which lock times it needs, until when only we can spend it, and what its witness is. Claims
whose transactions are ours to shape are aggregated where that cannot be turned against us.

| claim | spends | who else can |
| --- | --- | --- |
| `RevokedOutputClaim` | the cheater's to_local, or the output of its HTLC transaction | the cheater, after
its delay | | `RevokedHtlcClaim` | an HTLC output of a revoked commitment | the cheater, by an HTLC
transaction | | `CounterpartyHtlcClaim` | an HTLC output of the peer's commitment, by preimage or after its
expiry | the peer, by the other way | | `HolderHtlcClaim` | an HTLC output of ours, by its HTLC transaction |
the peer, by the other way | | `HolderCommitmentClaim` | the funding output, by our commitment | the peer, by
its own |
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
]

SECURITY_DELAY_BLOCKS: Final = 18
"""BOLT 5, revoked transactions with anchors: this near to the cheater's turn, each output is claimed on its
own."""

MAX_INPUTS_PER_CLAIM: Final = 400
"""The heaviest input is 417 weight units: stays below half of what a standard transaction may weigh."""

# Outpoint 36, script length 1, sequence 4, times 4.
_INPUT_BASE_WEIGHT: Final = 164
# A count of items, and a signature of 73 bytes behind its length.
_WITNESS_HEAD_WEIGHT: Final = 1 + 74


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
    """

    outpoint: OutPoint
    output: TxOut
    per_commitment_point: bytes
    htlc: HTLCOutputInCommitment
    witness_script: bytes
    payment_preimage: PaymentPreimage | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HolderHtlcClaim:
    """An HTLC output of our own commitment, claimed by the HTLC transaction that the peer has signed.

    Attributes:
        payment_preimage: of an HTLC that the peer offered; None for one of ours that has expired.
    """

    outpoint: OutPoint
    output: TxOut
    htlc: HTLCOutputInCommitment
    witness_script: bytes
    counterparty_signature: bytes
    payment_preimage: PaymentPreimage | None
    anchors: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HolderCommitmentClaim:
    """The funding output: our commitment has to confirm.

    Attributes:
        deadline_height: the first expiry of an HTLC in it; None without HTLCs.
    """

    outpoint: OutPoint
    deadline_height: int | None


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


def _pinnable(claim: Claim, best_height: int) -> bool:
    """Whether the other side may spend it soon as well, and so could hold up what is claimed together with
    it."""
    match claim:
        case RevokedOutputClaim():
            return claim.deadline_height <= best_height + SECURITY_DELAY_BLOCKS
        case RevokedHtlcClaim():
            # With the preimage the cheater can claim what we offered at once; its own only after the expiry.
            return not claim.htlc.offered or (
                claim.htlc.cltv_expiry_height <= best_height + SECURITY_DELAY_BLOCKS
            )
        case CounterpartyHtlcClaim() | HolderHtlcClaim():
            return claim.payment_preimage is None or (
                claim.htlc.cltv_expiry_height <= best_height + SECURITY_DELAY_BLOCKS
            )
        case HolderCommitmentClaim():
            return True
        case _:
            assert_never(claim)


def cluster(claim: Claim, best_height: int) -> tuple[str, int, bytes]:
    """Claims with equal answers may share a transaction."""
    alone = claim.outpoint.serialize()
    match claim:
        case HolderCommitmentClaim():
            return ("commitment", 0, alone)
        case HolderHtlcClaim():
            # Signed by the peer as it is; with anchors it can be combined with others of the same lock time.
            return ("htlc tx", lock_time_of(claim), b"" if claim.anchors else alone)
        case RevokedOutputClaim() if _pinnable(claim, best_height):
            # BOLT 5, security_delay: on its own, so that nothing can hold it up.
            return ("urgent", 0, alone)
        case RevokedOutputClaim() | RevokedHtlcClaim() | CounterpartyHtlcClaim():
            return ("pinnable" if _pinnable(claim, best_height) else "ours alone", 0, b"")
        case _:
            assert_never(claim)


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
