"""BOLT 3: keys, per-commitment secrets, scripts, commitment, HTLC and closing transactions, weights and fees.

Conventions. Commitment numbers count up from 0; the index of BOLT 3's secrets, 2^48 - 1 - number, stays
inside this file. "Broadcaster" is whose commitment it is, "countersignatory" the other side; "holder" is us.
An HTLC is `offered` when the broadcaster of that commitment offers it. Signatures are 64 bytes;
`witness_signature` makes what stands in a witness.

A `CommitmentTransaction` carries what its HTLC transactions need (anchors, delay), so that their signature
hashes come out of it alone, in one batch and without building each transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from wallet.bitcoin.amounts import fee_sat
from wallet.bitcoin.curve import (
    pubkey_combine,
    pubkey_from_secret,
    pubkey_tweak_add,
    pubkey_tweak_mul,
    secret_tweak_add,
    secret_tweak_mul,
    signature_to_der,
)
from wallet.bitcoin.errors import APIError, DecodeError
from wallet.bitcoin.hashes import hash160, ripemd160, sha256, sha256d
from wallet.bitcoin.records import register
from wallet.bitcoin.script import multisig_2of2, number, p2pkh_from_hash, p2wpkh, p2wsh
from wallet.bitcoin.tx import (
    SEQUENCE_FINAL,
    SIGHASH_ALL,
    SIGHASH_SINGLE_ANYONECANPAY,
    OutPoint,
    Transaction,
    TxIn,
    TxOut,
    sighash_segwit_v0,
)
from wallet.ln.features import ChannelTypeFeatures
from wallet.ln.types import PaymentHash, PaymentPreimage

__all__ = [
    "ANCHOR_OUTPUT_SAT",
    "COMMITMENT_NUMBER_MAX",
    "ChannelPublicKeys",
    "ChannelTransactionParameters",
    "ClosingTransaction",
    "CommitmentSecrets",
    "CommitmentTransaction",
    "CounterpartyCommitmentSecrets",
    "HTLCOutputInCommitment",
    "HolderCommitmentTransaction",
    "TxCreationKeys",
    "anchor_script",
    "build_closing_transaction",
    "build_commitment_secret",
    "build_commitment_transaction",
    "build_htlc_transaction",
    "commit_tx_fee_sat",
    "commitment_number_of",
    "commitment_sighash",
    "derive_private_key",
    "derive_private_revocation_key",
    "derive_public_key",
    "derive_public_revocation_key",
    "derive_tx_keys",
    "funding_script",
    "holder_balance_sat",
    "htlc_fee_sat",
    "htlc_script",
    "htlc_sighash_type",
    "htlc_sighashes",
    "htlc_witness",
    "is_dust_htlc",
    "multisig_witness",
    "obscure_factor",
    "revokeable_script",
    "second_stage_dust_limit_sat",
    "sign_funding_witness",
    "to_remote_script_pubkey",
    "to_remote_witness_script",
    "witness_signature",
]

# --- numbers of BOLT 3 --------------------------------------------------------

COMMITMENT_NUMBER_MAX: Final = (1 << 48) - 1
"""BOLT 3, commitment transaction: the number has 48 bits."""

ANCHOR_OUTPUT_SAT: Final = 330
"""BOLT 3, anchor outputs: the default dust limit for P2WSH."""

# BOLT 3, fee calculation: expected weights.
COMMITMENT_WEIGHT: Final = 724
COMMITMENT_WEIGHT_ANCHORS: Final = 1124
COMMITMENT_WEIGHT_PER_HTLC: Final = 172
HTLC_TIMEOUT_WEIGHT: Final = 663
HTLC_TIMEOUT_WEIGHT_ANCHORS: Final = 666
HTLC_SUCCESS_WEIGHT: Final = 703
HTLC_SUCCESS_WEIGHT_ANCHORS: Final = 706

register(ChannelTypeFeatures, ChannelTypeFeatures.to_bytes, ChannelTypeFeatures.from_bytes)


# --- keys ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelPublicKeys:
    """One side's keys of a channel. `payment_point` is its `payment_basepoint`, used as it is
    (static_remotekey)."""

    funding_pubkey: bytes
    revocation_basepoint: bytes
    payment_point: bytes
    delayed_payment_basepoint: bytes
    htlc_basepoint: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelTransactionParameters:
    """What all transactions of one funding output share.

    Attributes:
        holder_selected_contest_delay_blocks: we asked for it; it delays the peer's outputs on the peer's
            commitment.
        counterparty_selected_contest_delay_blocks: the peer asked for it; it delays ours on ours.
        is_outbound_from_holder: we opened the channel, and pay its fees.
    """

    holder_pubkeys: ChannelPublicKeys
    counterparty_pubkeys: ChannelPublicKeys
    holder_selected_contest_delay_blocks: int
    counterparty_selected_contest_delay_blocks: int
    is_outbound_from_holder: bool
    funding_outpoint: OutPoint
    channel_value_sat: int
    channel_type: ChannelTypeFeatures

    @property
    def anchors(self) -> bool:
        return self.channel_type.anchors

    def broadcaster_pubkeys(self, holder_is_broadcaster: bool) -> ChannelPublicKeys:
        return self.holder_pubkeys if holder_is_broadcaster else self.counterparty_pubkeys

    def countersignatory_pubkeys(self, holder_is_broadcaster: bool) -> ChannelPublicKeys:
        return self.counterparty_pubkeys if holder_is_broadcaster else self.holder_pubkeys

    def contest_delay_blocks(self, holder_is_broadcaster: bool) -> int:
        """The delay of the broadcaster's own outputs: the other side asked for it."""
        if holder_is_broadcaster:
            return self.counterparty_selected_contest_delay_blocks
        return self.holder_selected_contest_delay_blocks


def derive_public_key(per_commitment_point: bytes, basepoint: bytes) -> bytes:
    """BOLT 3, key derivation: for HTLC keys and delayed payment keys."""
    return pubkey_tweak_add(basepoint, sha256(per_commitment_point + basepoint))


def derive_private_key(per_commitment_point: bytes, basepoint_secret: bytes) -> bytes:
    basepoint = pubkey_from_secret(basepoint_secret)
    return secret_tweak_add(basepoint_secret, sha256(per_commitment_point + basepoint))


@lru_cache(maxsize=8)
def point_of_revealed_secret(secret: bytes) -> bytes:
    """The point of a per-commitment secret that a peer has shown: channel, signer and monitor ask one after the other.
    Not for secrets of ours, which are to lie about no longer than they are used."""
    return pubkey_from_secret(secret)


def derive_public_revocation_key(per_commitment_point: bytes, revocation_basepoint: bytes) -> bytes:
    """BOLT 3, revocationpubkey: needs both sides' secrets to sign for."""
    return pubkey_combine(
        pubkey_tweak_mul(revocation_basepoint, sha256(revocation_basepoint + per_commitment_point)),
        pubkey_tweak_mul(per_commitment_point, sha256(per_commitment_point + revocation_basepoint)),
    )


def derive_private_revocation_key(per_commitment_secret: bytes, revocation_basepoint_secret: bytes) -> bytes:
    revocation_basepoint = pubkey_from_secret(revocation_basepoint_secret)
    per_commitment_point = pubkey_from_secret(per_commitment_secret)
    return secret_tweak_add(
        secret_tweak_mul(revocation_basepoint_secret, sha256(revocation_basepoint + per_commitment_point)),
        secret_tweak_mul(per_commitment_secret, sha256(per_commitment_point + revocation_basepoint)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TxCreationKeys:
    """The keys of one commitment: derived from its point."""

    per_commitment_point: bytes
    revocation_key: bytes
    broadcaster_htlc_key: bytes
    countersignatory_htlc_key: bytes
    broadcaster_delayed_payment_key: bytes


@lru_cache(maxsize=256)
def derive_tx_keys(
    per_commitment_point: bytes, broadcaster: ChannelPublicKeys, countersignatory: ChannelPublicKeys
) -> TxCreationKeys:
    """Raises DecodeError for a point that is not on the curve.

    Kept for a while: the builder, the signer and the monitor ask for the same ones within one entry.
    """
    return TxCreationKeys(
        per_commitment_point=per_commitment_point,
        revocation_key=derive_public_revocation_key(
            per_commitment_point, countersignatory.revocation_basepoint
        ),
        broadcaster_htlc_key=derive_public_key(per_commitment_point, broadcaster.htlc_basepoint),
        countersignatory_htlc_key=derive_public_key(per_commitment_point, countersignatory.htlc_basepoint),
        broadcaster_delayed_payment_key=derive_public_key(
            per_commitment_point, broadcaster.delayed_payment_basepoint
        ),
    )


# --- per-commitment secrets ---------------------------------------------------


def _secret_index(commitment_number: int) -> int:
    if not 0 <= commitment_number <= COMMITMENT_NUMBER_MAX:
        raise APIError(f"There is no commitment number {commitment_number}.")
    return COMMITMENT_NUMBER_MAX - commitment_number


def _derive_secret(base: bytes, bits: int, index: int) -> bytes:
    """BOLT 3: the secret `index`, given the one whose index is the same above the lowest `bits` bits, and 0
    below."""
    secret = bytearray(base)
    for bit in range(bits - 1, -1, -1):
        if index >> bit & 1:
            secret[bit // 8] ^= 1 << bit % 8
            secret = bytearray(sha256(bytes(secret)))
    return bytes(secret)


_LOW_BITS: Final = 10
"""Of a secret's index: a thousand secrets share the way to their common ancestor, which takes two dozen hashes."""


class CommitmentSecrets:
    """The secrets of one seed. It keeps the ancestor of those that were asked for last, which is as secret as they
    are: it stays where the seed is.
    """

    __slots__ = ("_ancestor", "_high", "_seed")

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._high = -1
        self._ancestor = b""

    def get(self, commitment_number: int) -> bytes:
        """BOLT 3, generate_from_seed."""
        index = _secret_index(commitment_number)
        high = index >> _LOW_BITS
        if high != self._high:
            self._ancestor = _derive_secret(self._seed, 48, high << _LOW_BITS)
            self._high = high
        return _derive_secret(self._ancestor, _LOW_BITS, index)


def build_commitment_secret(seed: bytes, commitment_number: int) -> bytes:
    """BOLT 3, generate_from_seed."""
    return _derive_secret(seed, 48, _secret_index(commitment_number))


def _bucket(index: int) -> int:
    """BOLT 3, where_to_put_secret: the number of trailing zero bits."""
    return 48 if index == 0 else (index & -index).bit_length() - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterpartyCommitmentSecrets:
    """All secrets of the peer's revoked commitments, in at most 49 entries. BOLT 3, efficient storage.

    Attributes:
        buckets: (index as BOLT 3 counts, secret), by the number of the index's trailing zero bits.
    """

    buckets: tuple[tuple[int, bytes], ...] = ()

    def provide_secret(self, commitment_number: int, secret: bytes) -> CounterpartyCommitmentSecrets:
        """Adds the next secret; raises DecodeError if it does not belong to the same chain as those
        before."""
        if len(secret) != 32:
            raise DecodeError(f"A per-commitment secret has 32 bytes, not {len(secret)}.")
        index = _secret_index(commitment_number)
        position = _bucket(index)
        # BOLT 3, insert_secret: every secret held that derives from the new one must come out alike.
        for known_index, known_secret in self.buckets[:position]:
            if _derive_secret(secret, position, known_index) != known_secret:
                raise DecodeError("This per-commitment secret does not fit to those revealed before.")
        if position > len(self.buckets):
            raise DecodeError("A per-commitment secret was skipped.")
        entry = (index, secret)
        return CounterpartyCommitmentSecrets(
            buckets=(*self.buckets[:position], entry, *self.buckets[position + 1 :])
        )

    def get_secret(self, commitment_number: int) -> bytes | None:
        """The secret of one commitment, or None if that is not revoked."""
        index = _secret_index(commitment_number)
        for position, (known_index, known_secret) in enumerate(self.buckets):
            if index >> position << position == known_index:
                return _derive_secret(known_secret, position, index)
        return None

    @property
    def revoked_count(self) -> int:
        """How many commitments are revoked: those with numbers below this."""
        if not self.buckets:
            return 0
        return COMMITMENT_NUMBER_MAX - min(index for index, _ in self.buckets) + 1


# --- commitment numbers -------------------------------------------------------


def obscure_factor(params: ChannelTransactionParameters) -> int:
    """BOLT 3: 48 bits that hide the commitment number; the opener's payment basepoint is hashed first."""
    opener = params.broadcaster_pubkeys(params.is_outbound_from_holder)
    accepter = params.broadcaster_pubkeys(not params.is_outbound_from_holder)
    return _obscure_factor(opener.payment_point, accepter.payment_point)


@lru_cache(maxsize=64)
def _obscure_factor(of_opener: bytes, of_accepter: bytes) -> int:
    return int.from_bytes(sha256(of_opener + of_accepter)[26:], "big")


def commitment_number_of(params: ChannelTransactionParameters, tx: Transaction) -> int | None:
    """The number in a transaction that spends the funding output; None if it is no commitment."""
    if len(tx.inputs) != 1 or tx.inputs[0].prevout != params.funding_outpoint:
        return None
    sequence = tx.inputs[0].sequence
    if tx.lock_time >> 24 != 0x20 or sequence >> 24 != 0x80:
        return None
    return ((sequence & 0xFFFFFF) << 24 | tx.lock_time & 0xFFFFFF) ^ obscure_factor(params)


# --- scripts ------------------------------------------------------------------


def funding_script(params: ChannelTransactionParameters) -> bytes:
    """The witness script of the funding output."""
    return multisig_2of2(params.holder_pubkeys.funding_pubkey, params.counterparty_pubkeys.funding_pubkey)


def revokeable_script(revocation_key: bytes, contest_delay_blocks: int, delayed_payment_key: bytes) -> bytes:
    """to_local, and the output of HTLC transactions: the owner's after the delay, the other's once
    revoked."""
    # OP_IF <revocationpubkey> OP_ELSE delay OP_CSV OP_DROP <delayedpubkey> OP_ENDIF OP_CHECKSIG
    return (
        b"".join(
            (
                b"\x63\x21",
                revocation_key,
                b"\x67",
                number(contest_delay_blocks),
                b"\xb2\x75\x21",
                delayed_payment_key,
            )
        )
        + b"\x68\xac"
    )


def anchor_script(funding_pubkey: bytes) -> bytes:
    """One side's anchor; anybody's after 16 blocks."""
    # <funding_pubkey> OP_CHECKSIG OP_IFDUP OP_NOTIF OP_16 OP_CSV OP_ENDIF
    return b"\x21" + funding_pubkey + b"\xac\x73\x64\x60\xb2\x68"


def to_remote_witness_script(payment_point: bytes) -> bytes:
    """to_remote with anchors: one block later."""
    # <remotepubkey> OP_CHECKSIGVERIFY 1 OP_CSV
    return b"\x21" + payment_point + b"\xad\x51\xb2"


@lru_cache(maxsize=64)
def anchor_script_pubkey(funding_pubkey: bytes) -> bytes:
    return p2wsh(anchor_script(funding_pubkey))


@lru_cache(maxsize=64)
def to_remote_script_pubkey(payment_point: bytes, anchors: bool) -> bytes:
    return p2wsh(to_remote_witness_script(payment_point)) if anchors else p2wpkh(payment_point)


@dataclass(frozen=True, slots=True, kw_only=True)
class HTLCOutputInCommitment:
    """One HTLC as it stands in one commitment.

    Attributes:
        offered: by the broadcaster of that commitment.
        output_index: None where it was trimmed.
    """

    offered: bool
    amount_msat: int
    cltv_expiry_height: int
    payment_hash: PaymentHash
    output_index: int | None = None

    @property
    def amount_sat(self) -> int:
        """BOLT 3: rounded down to whole satoshis."""
        return self.amount_msat // 1000

    def with_output_index(self, output_index: int | None) -> HTLCOutputInCommitment:
        return HTLCOutputInCommitment(
            offered=self.offered,
            amount_msat=self.amount_msat,
            cltv_expiry_height=self.cltv_expiry_height,
            payment_hash=self.payment_hash,
            output_index=output_index,
        )


def htlc_script(htlc: HTLCOutputInCommitment, keys: TxCreationKeys, anchors: bool) -> bytes:
    """The witness script of an HTLC output. BOLT 3, offered and received HTLC outputs."""
    tail = b"\x68\x51\xb2\x75\x68" if anchors else b"\x68\x68"
    payment_ripemd = ripemd160(htlc.payment_hash)
    # OP_DUP OP_HASH160 <revocation key's hash> OP_EQUAL OP_IF OP_CHECKSIG OP_ELSE <countersignatory's HTLC
    # key> OP_SWAP OP_SIZE 32 OP_EQUAL
    head = b"".join(
        (
            b"\x76\xa9\x14",
            hash160(keys.revocation_key),
            b"\x87\x63\xac\x67\x21",
            keys.countersignatory_htlc_key,
            b"\x7c\x82\x01\x20\x87",
        )
    )
    if htlc.offered:
        # OP_NOTIF OP_DROP 2 OP_SWAP <broadcaster's HTLC key> 2 OP_CHECKMULTISIG
        # OP_ELSE OP_HASH160 <hash> OP_EQUALVERIFY OP_CHECKSIG
        return b"".join(
            (
                head,
                b"\x64\x75\x52\x7c\x21",
                keys.broadcaster_htlc_key,
                b"\x52\xae\x67\xa9\x14",
                payment_ripemd,
                b"\x88\xac",
                tail,
            )
        )
    # OP_IF OP_HASH160 <hash> OP_EQUALVERIFY 2 OP_SWAP <broadcaster's HTLC key> 2 OP_CHECKMULTISIG
    # OP_ELSE OP_DROP <cltv_expiry> OP_CLTV OP_DROP OP_CHECKSIG
    return b"".join(
        (
            head,
            b"\x63\xa9\x14",
            payment_ripemd,
            b"\x88\x52\x7c\x21",
            keys.broadcaster_htlc_key,
            b"\x52\xae\x67\x75",
            number(htlc.cltv_expiry_height),
            b"\xb1\x75\xac",
            tail,
        )
    )


# --- fees and dust ------------------------------------------------------------


def commit_tx_fee_sat(feerate_sat_per_kw: int, num_htlcs: int, channel_type: ChannelTypeFeatures) -> int:
    """BOLT 3, fee calculation: the base fee with that many untrimmed HTLCs; anchors' values come on top."""
    weight = COMMITMENT_WEIGHT_ANCHORS if channel_type.anchors else COMMITMENT_WEIGHT
    return fee_sat(weight + COMMITMENT_WEIGHT_PER_HTLC * num_htlcs, feerate_sat_per_kw)


def htlc_weight(offered: bool, anchors: bool) -> int:
    """Expected weight of the HTLC transaction: HTLC-timeout where offered, HTLC-success otherwise."""
    if offered:
        return HTLC_TIMEOUT_WEIGHT_ANCHORS if anchors else HTLC_TIMEOUT_WEIGHT
    return HTLC_SUCCESS_WEIGHT_ANCHORS if anchors else HTLC_SUCCESS_WEIGHT


def htlc_fee_sat(feerate_sat_per_kw: int, offered: bool, anchors: bool) -> int:
    """The fee inside an HTLC transaction: none with anchors."""
    return 0 if anchors else fee_sat(htlc_weight(offered, False), feerate_sat_per_kw)


def second_stage_dust_limit_sat(
    dust_limit_sat: int, feerate_sat_per_kw: int, offered: bool, channel_type: ChannelTypeFeatures
) -> int:
    """The least amount of an HTLC that gets an output: the dust limit and the fee of its HTLC transaction."""
    return dust_limit_sat + htlc_fee_sat(feerate_sat_per_kw, offered, channel_type.anchors)


def is_dust_htlc(
    offered: bool,
    amount_msat: int,
    feerate_sat_per_kw: int,
    dust_limit_sat: int,
    channel_type: ChannelTypeFeatures,
) -> bool:
    """BOLT 3, trimmed outputs: `offered` by the broadcaster, whose dust limit it is."""
    limit_sat = second_stage_dust_limit_sat(dust_limit_sat, feerate_sat_per_kw, offered, channel_type)
    return amount_msat // 1000 < limit_sat


# --- commitment transactions --------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitmentTransaction:
    """One side's unsigned commitment, and what is needed to understand it.

    Attributes:
        to_broadcaster_sat: of the to_local output, 0 where there is none.
        to_countersignatory_sat: of the to_remote output, 0 where there is none.
        htlcs: those with an output, in output order; HTLC signatures stand in the same order.
        contest_delay_blocks: of to_local and of the HTLC transactions' outputs.
        htlc_order: `htlcs[i]` was number `htlc_order[i]` of those that the builder was given.
    """

    number: int
    tx: Transaction
    per_commitment_point: bytes
    keys: TxCreationKeys
    to_broadcaster_sat: int
    to_countersignatory_sat: int
    feerate_sat_per_kw: int
    htlcs: tuple[HTLCOutputInCommitment, ...]
    holder_is_broadcaster: bool
    anchors: bool
    contest_delay_blocks: int
    htlc_order: tuple[int, ...] = field(compare=False, default=())

    @property
    def to_local_script(self) -> bytes:
        """The witness script of to_local and of every HTLC transaction's output."""
        return revokeable_script(
            self.keys.revocation_key, self.contest_delay_blocks, self.keys.broadcaster_delayed_payment_key
        )

    def htlc_script(self, htlc: HTLCOutputInCommitment) -> bytes:
        return htlc_script(htlc, self.keys, self.anchors)


def holder_balance_sat(params: ChannelTransactionParameters, commitment: CommitmentTransaction) -> int:
    """What a commitment holds for us besides its HTLCs, with the fee and the anchors that we pay as the funder.

    0 where it has no output for us: then it is dust, or all goes to the fee.
    """
    ours_sat = (
        commitment.to_broadcaster_sat
        if commitment.holder_is_broadcaster
        else commitment.to_countersignatory_sat
    )
    if ours_sat and params.is_outbound_from_holder:
        ours_sat += commit_tx_fee_sat(
            commitment.feerate_sat_per_kw, len(commitment.htlcs), params.channel_type
        )
        ours_sat += 2 * ANCHOR_OUTPUT_SAT if params.anchors else 0
    return ours_sat


@dataclass(frozen=True, slots=True, kw_only=True)
class HolderCommitmentTransaction:
    """Our commitment with the peer's signatures, checked before this is made.

    Attributes:
        counterparty_htlc_sigs: in the order of `commitment.htlcs`.
    """

    commitment: CommitmentTransaction
    counterparty_sig: bytes
    counterparty_htlc_sigs: tuple[bytes, ...]


def build_commitment_transaction(
    params: ChannelTransactionParameters,
    *,
    holder_is_broadcaster: bool,
    number: int,
    per_commitment_point: bytes,
    to_broadcaster_sat: int,
    to_countersignatory_sat: int,
    htlcs: Sequence[HTLCOutputInCommitment],
    feerate_sat_per_kw: int,
) -> CommitmentTransaction:
    """BOLT 3, commitment transaction construction.

    The caller has trimmed: an amount of 0 makes no output, every HTLC makes one; fees and anchors are
    subtracted already. Raises DecodeError for a point that is not on the curve.
    """
    broadcaster = params.broadcaster_pubkeys(holder_is_broadcaster)
    countersignatory = params.countersignatory_pubkeys(holder_is_broadcaster)
    anchors = params.anchors
    delay_blocks = params.contest_delay_blocks(holder_is_broadcaster)
    keys = derive_tx_keys(per_commitment_point, broadcaster, countersignatory)

    # (value, script, expiry, HTLC's position): the first three are BOLT 3's order of outputs.
    rows: list[tuple[int, bytes, int, int]] = []
    for position, htlc in enumerate(htlcs):
        script_pubkey = p2wsh(htlc_script(htlc, keys, anchors))
        rows.append((htlc.amount_sat, script_pubkey, htlc.cltv_expiry_height, position))
    if to_broadcaster_sat:
        to_local = revokeable_script(keys.revocation_key, delay_blocks, keys.broadcaster_delayed_payment_key)
        rows.append((to_broadcaster_sat, p2wsh(to_local), 0, -1))
    if to_countersignatory_sat:
        script_pubkey = to_remote_script_pubkey(countersignatory.payment_point, anchors)
        rows.append((to_countersignatory_sat, script_pubkey, 0, -1))
    if anchors:
        # BOLT 3, step 8: an anchor for whoever has something at stake.
        if to_broadcaster_sat or htlcs:
            rows.append((ANCHOR_OUTPUT_SAT, anchor_script_pubkey(broadcaster.funding_pubkey), 0, -1))
        if to_countersignatory_sat or htlcs:
            rows.append((ANCHOR_OUTPUT_SAT, anchor_script_pubkey(countersignatory.funding_pubkey), 0, -1))
    rows.sort()

    order = []
    placed = []
    for index, (_, _, _, position) in enumerate(rows):
        if position >= 0:
            order.append(position)
            placed.append(htlcs[position].with_output_index(index))
    obscured = number ^ obscure_factor(params)
    tx = Transaction(
        2,
        (TxIn(params.funding_outpoint, b"", 0x80 << 24 | obscured >> 24),),
        tuple(TxOut(value_sat, script_pubkey) for value_sat, script_pubkey, _, _ in rows),
        0x20 << 24 | obscured & 0xFFFFFF,
    )
    return CommitmentTransaction(
        number=number,
        tx=tx,
        per_commitment_point=per_commitment_point,
        keys=keys,
        to_broadcaster_sat=to_broadcaster_sat,
        to_countersignatory_sat=to_countersignatory_sat,
        feerate_sat_per_kw=feerate_sat_per_kw,
        htlcs=tuple(placed),
        holder_is_broadcaster=holder_is_broadcaster,
        anchors=anchors,
        contest_delay_blocks=delay_blocks,
        htlc_order=tuple(order),
    )


def commitment_sighash(params: ChannelTransactionParameters, tx: Transaction) -> bytes:
    """What both sides sign of a commitment or a closing transaction."""
    return sighash_segwit_v0(tx, 0, funding_script(params), params.channel_value_sat, SIGHASH_ALL)


def witness_signature(signature: bytes, sighash_type: int = SIGHASH_ALL) -> bytes:
    """The form of a signature in a witness: DER and the sighash type."""
    return signature_to_der(signature) + bytes((sighash_type,))


def multisig_witness(
    params: ChannelTransactionParameters, holder_sig: bytes, counterparty_sig: bytes
) -> tuple[bytes, ...]:
    """The witness of the funding output."""
    ours = (params.holder_pubkeys.funding_pubkey, witness_signature(holder_sig))
    theirs = (params.counterparty_pubkeys.funding_pubkey, witness_signature(counterparty_sig))
    first, second = sorted((ours, theirs))
    return (b"", first[1], second[1], funding_script(params))


def sign_funding_witness(
    params: ChannelTransactionParameters, tx: Transaction, holder_sig: bytes, counterparty_sig: bytes
) -> Transaction:
    """A commitment or closing transaction, complete."""
    return tx.with_witness(0, multisig_witness(params, holder_sig, counterparty_sig))


# --- HTLC transactions --------------------------------------------------------


def htlc_sighash_type(anchors: bool) -> int:
    """Of the countersignatory's signature; the broadcaster's own is SIGHASH_ALL always. BOLT 5."""
    return SIGHASH_SINGLE_ANYONECANPAY if anchors else SIGHASH_ALL


def htlc_output_sat(htlc: HTLCOutputInCommitment, feerate_sat_per_kw: int, anchors: bool) -> int:
    """The amount of an HTLC transaction's output."""
    return htlc.amount_sat - htlc_fee_sat(feerate_sat_per_kw, htlc.offered, anchors)


def build_htlc_transaction(commitment: CommitmentTransaction, htlc: HTLCOutputInCommitment) -> Transaction:
    """The unsigned HTLC-timeout (offered) or HTLC-success (received) transaction of an HTLC output. BOLT
    3."""
    if htlc.output_index is None:
        raise APIError("An HTLC without an output has no HTLC transaction.")
    output_sat = htlc_output_sat(htlc, commitment.feerate_sat_per_kw, commitment.anchors)
    return Transaction(
        2,
        (TxIn(OutPoint(commitment.tx.txid, htlc.output_index), b"", 1 if commitment.anchors else 0),),
        (TxOut(output_sat, p2wsh(commitment.to_local_script)),),
        htlc.cltv_expiry_height if htlc.offered else 0,
    )


def htlc_sighashes(commitment: CommitmentTransaction) -> list[bytes]:
    """What the countersignatory signs of each HTLC transaction, in output order.

    BIP 143 by hand: each has one input and one output, so that the parts that differ are few.
    """
    anchors = commitment.anchors
    txid = commitment.tx.txid
    script_pubkey = p2wsh(commitment.to_local_script)
    sequence = (1 if anchors else 0).to_bytes(4, "little")
    sighash_type = htlc_sighash_type(anchors).to_bytes(4, "little")
    # SIGHASH_SINGLE|ANYONECANPAY leaves other inputs and all sequences out.
    hash_sequence = bytes(32) if anchors else sha256d(sequence)
    script_part = bytes((len(script_pubkey),)) + script_pubkey
    digests = []
    for htlc in commitment.htlcs:
        if htlc.output_index is None:
            raise APIError("An HTLC without an output has no HTLC transaction.")
        outpoint = txid + htlc.output_index.to_bytes(4, "little")
        script = htlc_script(htlc, commitment.keys, anchors)
        output_sat = htlc_output_sat(htlc, commitment.feerate_sat_per_kw, anchors)
        if output_sat < 0:
            raise APIError("An HTLC that cannot pay for its HTLC transaction should have been trimmed.")
        digests.append(
            sha256d(
                b"".join(
                    (
                        b"\x02\x00\x00\x00",
                        bytes(32) if anchors else sha256d(outpoint),
                        hash_sequence,
                        outpoint,
                        bytes((len(script),)),  # HTLC scripts have 133 to 143 bytes
                        script,
                        htlc.amount_sat.to_bytes(8, "little"),
                        sequence,
                        sha256d(output_sat.to_bytes(8, "little") + script_part),
                        (htlc.cltv_expiry_height if htlc.offered else 0).to_bytes(4, "little"),
                        sighash_type,
                    )
                )
            )
        )
    return digests


def htlc_witness(
    counterparty_sig: bytes,
    holder_sig: bytes,
    preimage: PaymentPreimage | None,
    witness_script: bytes,
    anchors: bool,
) -> tuple[bytes, ...]:
    """The witness of an HTLC output of the broadcaster's commitment, spent by its HTLC transaction."""
    return (
        b"",
        witness_signature(counterparty_sig, htlc_sighash_type(anchors)),
        witness_signature(holder_sig),
        b"" if preimage is None else preimage,
        witness_script,
    )


# --- closing transactions -----------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosingTransaction:
    """An unsigned co-operative close.

    Attributes:
        to_holder_sat, to_counterparty_sat: 0 where that side has no output.
    """

    to_holder_sat: int
    to_counterparty_sat: int
    to_holder_script: bytes
    to_counterparty_script: bytes
    tx: Transaction


def build_closing_transaction(
    params: ChannelTransactionParameters,
    *,
    to_holder_sat: int,
    to_counterparty_sat: int,
    to_holder_script: bytes,
    to_counterparty_script: bytes,
    lock_time: int = 0,
    sequence: int = SEQUENCE_FINAL,
) -> ClosingTransaction:
    """BOLT 3, legacy closing transaction: fees and dust are the caller's; an amount of 0 makes no output."""
    outputs = []
    if to_holder_sat:
        outputs.append((to_holder_sat, to_holder_script))
    if to_counterparty_sat:
        outputs.append((to_counterparty_sat, to_counterparty_script))
    outputs.sort()
    tx = Transaction(
        2,
        (TxIn(params.funding_outpoint, b"", sequence),),
        tuple(TxOut(value_sat, script_pubkey) for value_sat, script_pubkey in outputs),
        lock_time,
    )
    return ClosingTransaction(
        to_holder_sat=to_holder_sat,
        to_counterparty_sat=to_counterparty_sat,
        to_holder_script=to_holder_script,
        to_counterparty_script=to_counterparty_script,
        tx=tx,
    )


def static_payment_script_code(payment_point: bytes, anchors: bool) -> bytes:
    """What a signature over to_remote commits to: the witness script, or for P2WPKH its script code (BIP
    143)."""
    return to_remote_witness_script(payment_point) if anchors else p2pkh_from_hash(hash160(payment_point))
