"""The dance of `commitment_signed` and `revoke_and_ack`, and what a commitment holds. BOLT 2, normal operation.

Balances are folds: of the settled balance, and of the stages of all updates that are still here. Nothing patches an
amount; a commitment is made from the stages alone, so that the same one can be made again when it has to be sent
again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from wallet.bitcoin import curve
from wallet.bitcoin.frozen import replace
from wallet.ln import msgs
from wallet.ln.chan_utils import (
    ANCHOR_OUTPUT_SAT,
    CommitmentTransaction,
    HolderCommitmentTransaction,
    HTLCOutputInCommitment,
    build_commitment_transaction,
    commit_tx_fee_sat,
    commitment_sighash,
    htlc_sighashes,
    point_of_revealed_secret,
    second_stage_dust_limit_sat,
)
from wallet.ln.channel_state import (
    FEE_IN_COUNTERPARTY_COMMITMENT,
    FEE_IN_HOLDER_COMMITMENT,
    FEE_MOVES,
    FEE_TO_COMMIT,
    IN_COUNTERPARTY_COMMITMENT_INBOUND,
    IN_COUNTERPARTY_COMMITMENT_OUTBOUND,
    IN_HOLDER_COMMITMENT_INBOUND,
    IN_HOLDER_COMMITMENT_OUTBOUND,
    INBOUND_MOVES,
    INBOUND_TO_COMMIT,
    OUTBOUND_MOVES,
    OUTBOUND_TO_COMMIT,
    FeeUpdate,
    Fulfilled,
    FundingScope,
    InboundHtlc,
    InboundStage,
    LastSent,
    Link,
    Move,
    OutboundHtlc,
    OutboundStage,
    SideTerms,
)
from wallet.ln.channel_step import (
    Draft,
    SignCounterpartyCommitment,
    SignRevocation,
    TellHtlcFailed,
    TellHtlcsCommitted,
    TellHtlcSettled,
    ValidateRevocation,
)
from wallet.ln.monitor_update import (
    CommitmentHtlc,
    CommitmentSecret,
    LatestCounterpartyCommitment,
    LatestHolderCommitment,
    PreimageKnown,
)
from wallet.ln.types import ChannelError, DecodeError, InvariantError

__all__ = [
    "BuiltCommitment",
    "anchors_cost_sat",
    "build_commitment",
    "commitment_feerate",
    "initial_commitment",
    "move_updates",
    "needs_commitment",
    "receive_commitment_signed",
    "receive_revoke_and_ack",
    "resend_commitment",
    "send_commitment",
    "verify_commitment",
]


@dataclass(frozen=True, slots=True)
class BuiltCommitment:
    """A commitment, with its HTLCs as the monitor wants them: those without an output included."""

    commitment: CommitmentTransaction
    htlcs: tuple[CommitmentHtlc, ...]


def anchors_cost_sat(scope: FundingScope) -> int:
    """BOLT 3: the funder pays for both anchors, whether or not they are made."""
    return 2 * ANCHOR_OUTPUT_SAT if scope.params.anchors else 0


def commitment_feerate(settled_sat_per_kw: int, updates: Iterable[FeeUpdate], *, of_holder: bool) -> int:
    """The fee rate of the newest commitment of one side."""
    stages = FEE_IN_HOLDER_COMMITMENT if of_holder else FEE_IN_COUNTERPARTY_COMMITMENT
    feerate_sat_per_kw = settled_sat_per_kw
    for update in updates:
        if update.stage in stages:
            feerate_sat_per_kw = update.feerate_sat_per_kw
    return feerate_sat_per_kw


def build_commitment(
    *,
    scope: FundingScope,
    holder: SideTerms,
    counterparty: SideTerms,
    of_holder: bool,
    number: int,
    per_commitment_point: bytes,
    value_to_self_msat: int,
    feerate_sat_per_kw: int,
    outbound: Mapping[int, OutboundHtlc],
    inbound: Mapping[int, InboundHtlc],
) -> BuiltCommitment:
    """The newest commitment of one side, from the stages. BOLT 3, commitment transaction construction."""
    params = scope.params
    outbound_stages = IN_HOLDER_COMMITMENT_OUTBOUND if of_holder else IN_COUNTERPARTY_COMMITMENT_OUTBOUND
    inbound_stages = IN_HOLDER_COMMITMENT_INBOUND if of_holder else IN_COUNTERPARTY_COMMITMENT_INBOUND
    dust_limit_sat = holder.dust_limit_sat if of_holder else counterparty.dust_limit_sat

    holder_msat = value_to_self_msat
    in_htlcs_msat = 0
    present: list[CommitmentHtlc] = []
    for sent in outbound.values():
        add = sent.add
        if sent.stage in outbound_stages:
            holder_msat -= add.amount_msat
            in_htlcs_msat += add.amount_msat
            output = HTLCOutputInCommitment(
                offered=of_holder,
                amount_msat=add.amount_msat,
                cltv_expiry_height=add.cltv_expiry_height,
                payment_hash=add.payment_hash,
            )
            present.append(CommitmentHtlc(htlc=output, source=sent.source))
        elif isinstance(sent.removal, Fulfilled):
            holder_msat -= add.amount_msat
    for received in inbound.values():
        add = received.add
        if received.stage in inbound_stages:
            in_htlcs_msat += add.amount_msat
            output = HTLCOutputInCommitment(
                offered=not of_holder,
                amount_msat=add.amount_msat,
                cltv_expiry_height=add.cltv_expiry_height,
                payment_hash=add.payment_hash,
            )
            present.append(CommitmentHtlc(htlc=output))
        elif isinstance(received.removal, Fulfilled):
            holder_msat += add.amount_msat
    counterparty_msat = params.channel_value_sat * 1000 - holder_msat - in_htlcs_msat
    if holder_msat < 0 or counterparty_msat < 0:
        raise ChannelError("An HTLC was added that its sender cannot afford.")

    # BOLT 3, trimmed outputs: below its side's limit an HTLC has no output.
    dust: list[CommitmentHtlc] = []
    untrimmed: list[CommitmentHtlc] = []
    offered_sat, received_sat = (
        second_stage_dust_limit_sat(dust_limit_sat, feerate_sat_per_kw, offered, params.channel_type)
        for offered in (True, False)
    )
    for entry in present:
        limit_sat = offered_sat if entry.htlc.offered else received_sat
        (dust if entry.htlc.amount_sat < limit_sat else untrimmed).append(entry)

    # BOLT 3, fee payment: the funder pays, and what it cannot pay is not paid.
    cost_sat = commit_tx_fee_sat(feerate_sat_per_kw, len(untrimmed), params.channel_type)
    cost_sat += anchors_cost_sat(scope)
    holder_sat, counterparty_sat = holder_msat // 1000, counterparty_msat // 1000
    if params.is_outbound_from_holder:
        holder_sat = max(0, holder_sat - cost_sat)
    else:
        counterparty_sat = max(0, counterparty_sat - cost_sat)
    if holder_sat < dust_limit_sat:
        holder_sat = 0
    if counterparty_sat < dust_limit_sat:
        counterparty_sat = 0

    commitment = build_commitment_transaction(
        params,
        holder_is_broadcaster=of_holder,
        number=number,
        per_commitment_point=per_commitment_point,
        to_broadcaster_sat=holder_sat if of_holder else counterparty_sat,
        to_countersignatory_sat=counterparty_sat if of_holder else holder_sat,
        htlcs=[entry.htlc for entry in untrimmed],
        feerate_sat_per_kw=feerate_sat_per_kw,
    )
    placed = tuple(
        CommitmentHtlc(htlc=htlc, source=untrimmed[position].source)
        for htlc, position in zip(commitment.htlcs, commitment.htlc_order, strict=True)
    )
    return BuiltCommitment(commitment, (*placed, *dust))


def _build(draft: Draft, *, of_holder: bool, number: int, point: bytes) -> BuiltCommitment:
    terms, core = draft.channel.terms, draft.core
    return build_commitment(
        scope=draft.scope,
        holder=terms.holder,
        counterparty=terms.counterparty,
        of_holder=of_holder,
        number=number,
        per_commitment_point=point,
        value_to_self_msat=core.value_to_self_msat,
        feerate_sat_per_kw=commitment_feerate(core.feerate_sat_per_kw, core.fee_updates, of_holder=of_holder),
        outbound=draft.outbound,
        inbound=draft.inbound,
    )


def initial_commitment(
    *,
    scope: FundingScope,
    holder: SideTerms,
    counterparty: SideTerms,
    of_holder: bool,
    per_commitment_point: bytes,
    value_to_self_msat: int,
    feerate_sat_per_kw: int,
) -> CommitmentTransaction:
    """Commitment number 0 of one side."""
    return build_commitment(
        scope=scope,
        holder=holder,
        counterparty=counterparty,
        of_holder=of_holder,
        number=0,
        per_commitment_point=per_commitment_point,
        value_to_self_msat=value_to_self_msat,
        feerate_sat_per_kw=feerate_sat_per_kw,
        outbound={},
        inbound={},
    ).commitment


def verify_commitment(
    scope: FundingScope,
    commitment: CommitmentTransaction,
    signature: bytes,
    htlc_signatures: tuple[bytes, ...] = (),
) -> HolderCommitmentTransaction:
    """Our commitment with the peer's signatures, once they are all found good, in one batch."""
    if len(htlc_signatures) != len(commitment.htlcs):
        # BOLT 2, commitment_signed, receiver: one signature for each HTLC output.
        raise ChannelError(
            f"commitment_signed has {len(htlc_signatures)} HTLC signatures; "
            f"the commitment has {len(commitment.htlcs)} HTLC outputs."
        )
    triples = [
        (
            signature,
            commitment_sighash(scope.params, commitment.tx),
            scope.params.counterparty_pubkeys.funding_pubkey,
        )
    ]
    if htlc_signatures:
        key = commitment.keys.countersignatory_htlc_key
        digests = htlc_sighashes(commitment)
        triples += [(sig, digest, key) for sig, digest in zip(htlc_signatures, digests, strict=True)]
    if not curve.verify_ecdsa_many(triples):
        # BOLT 2, commitment_signed, receiver: every signature is valid and low-S.
        raise ChannelError("A signature of the new commitment is not valid.")
    return HolderCommitmentTransaction(
        commitment=commitment, counterparty_sig=signature, counterparty_htlc_sigs=htlc_signatures
    )


# --- moving -------------------------------------------------------------------


def move_updates(draft: Draft, move: Move) -> None:
    """Moves every update on, and settles what has come to its end."""
    core = draft.core
    value_to_self_msat = core.value_to_self_msat
    sent_moves = OUTBOUND_MOVES[move]
    for number, sent in list(draft.outbound.items()):
        if sent.stage not in sent_moves:
            continue
        next_sent = sent_moves[sent.stage]
        if next_sent is not None:
            draft.outbound[number] = OutboundHtlc(
                add=sent.add, source=sent.source, stage=next_sent, removal=sent.removal
            )
            continue
        del draft.outbound[number]
        if sent.removal is None:
            raise InvariantError("an HTLC ended without a reason")
        if isinstance(sent.removal, Fulfilled):
            value_to_self_msat -= sent.add.amount_msat
            draft.tells.append(TellHtlcSettled(number, sent.source))
        else:
            draft.tells.append(
                TellHtlcFailed(
                    number,
                    sent.source,
                    sent.add.payment_hash,
                    sent.add.amount_msat,
                    sent.removal,
                )
            )
    received_moves = INBOUND_MOVES[move]
    committed = []
    for number, received in list(draft.inbound.items()):
        if received.stage not in received_moves:
            continue
        next_received = received_moves[received.stage]
        if next_received is not None:
            draft.inbound[number] = InboundHtlc(
                add=received.add, stage=next_received, removal=received.removal
            )
            if next_received is InboundStage.COMMITTED:
                committed.append(received.add)
            continue
        del draft.inbound[number]
        if isinstance(received.removal, Fulfilled):
            value_to_self_msat += received.add.amount_msat
    if committed:
        draft.tells.append(TellHtlcsCommitted(tuple(committed)))

    feerate_sat_per_kw = core.feerate_sat_per_kw
    updates = core.fee_updates
    if updates:
        fee_moves = FEE_MOVES[move]
        moved: list[FeeUpdate] = []
        for update in updates:
            if update.stage not in fee_moves:
                moved.append(update)
                continue
            next_stage = fee_moves[update.stage]
            if next_stage is None:
                feerate_sat_per_kw = update.feerate_sat_per_kw
            else:
                moved.append(replace(update, stage=next_stage))
        updates = tuple(moved)
    if (
        value_to_self_msat != core.value_to_self_msat
        or feerate_sat_per_kw != core.feerate_sat_per_kw
        or updates != core.fee_updates
    ):
        draft.core = replace(
            core,
            value_to_self_msat=value_to_self_msat,
            feerate_sat_per_kw=feerate_sat_per_kw,
            fee_updates=updates,
        )


# --- ours ---------------------------------------------------------------------


def needs_commitment(draft: Draft) -> bool:
    """Something is there that the peer is not committed to yet. BOLT 2: never a commitment_signed without."""
    return (
        any(htlc.stage in OUTBOUND_TO_COMMIT for htlc in draft.outbound.values())
        or any(htlc.stage in INBOUND_TO_COMMIT for htlc in draft.inbound.values())
        or any(update.stage in FEE_TO_COMMIT for update in draft.core.fee_updates)
    )


def send_commitment(draft: Draft) -> None:
    """Signs whatever is pending, if the peer may be sent a commitment_signed now."""
    if draft.link is not Link.UP or draft.is_awaiting_revocation or not needs_commitment(draft):
        return
    core = draft.core
    if core.counterparty_next_point is None:
        raise InvariantError("a commitment is to be signed before channel_ready")
    move_updates(draft, Move.SEND_COMMIT)
    number = core.counterparty_number + 1
    draft.core = replace(draft.core, counterparty_number=number, last_sent=LastSent.COMMITMENT_SIGNED)
    _sign(draft, core.counterparty_next_point, number, is_new=True)


def resend_commitment(draft: Draft) -> None:
    """The newest commitment_signed once more: the same stages make the same commitment."""
    core = draft.core
    if core.counterparty_next_point is None:
        raise InvariantError("a commitment is to be signed again that was never signed")
    _sign(draft, core.counterparty_next_point, core.counterparty_number, is_new=False)


def _sign(draft: Draft, point: bytes, number: int, *, is_new: bool) -> None:
    built = _build(draft, of_holder=False, number=number, point=point)
    commitment = built.commitment
    if is_new:
        draft.monitor_steps.append(
            LatestCounterpartyCommitment(
                number=number,
                per_commitment_point=point,
                feerate_sat_per_kw=commitment.feerate_sat_per_kw,
                to_broadcaster_sat=commitment.to_broadcaster_sat,
                to_countersignatory_sat=commitment.to_countersignatory_sat,
                htlcs=built.htlcs,
            )
        )
    draft.effects.append(SignCounterpartyCommitment(commitment))
    draft.send(
        msgs.CommitmentSigned(channel_id=draft.channel.channel_id, signature=bytes(64), htlc_signatures=()),
        needs_monitor=True,
    )


# --- the peer's ---------------------------------------------------------------


def receive_commitment_signed(draft: Draft, msg: msgs.CommitmentSigned, point_after_next: bytes) -> None:
    """Checks our new commitment and revokes the one before. `point_after_next`: of number `holder_number` +
    2."""
    core = draft.core
    channel = draft.channel
    if draft.link is not Link.UP:
        raise ChannelError("commitment_signed came before channel_reestablish.")
    if not channel.is_ready:
        raise ChannelError("commitment_signed came before channel_ready.")
    if msg.funding_txid is not None and msg.funding_txid != draft.scope.funding_outpoint.txid:
        # BOLT 2, commitment_signed, receiver: no splice is pending, so one for another funding is ignored.
        return
    preimages = [
        PreimageKnown(payment_hash=sent.add.payment_hash, payment_preimage=sent.removal.payment_preimage)
        for sent in draft.outbound.values()
        if sent.stage is OutboundStage.RCVD_REMOVE and isinstance(sent.removal, Fulfilled)
    ]
    move_updates(draft, Move.RECV_COMMIT)
    number = core.holder_number + 1
    built = _build(draft, of_holder=True, number=number, point=core.holder_next_point)
    holder_tx = verify_commitment(draft.scope, built.commitment, msg.signature, msg.htlc_signatures)
    draft.monitor_steps.append(LatestHolderCommitment(commitment=holder_tx, htlcs=built.htlcs))
    draft.monitor_steps.extend(preimages)
    draft.core = replace(
        draft.core,
        holder_number=number,
        holder_next_point=point_after_next,
        last_sent=LastSent.REVOKE_AND_ACK,
    )
    draft.effects.append(SignRevocation(number - 1, holder_tx))
    draft.send(
        msgs.RevokeAndAck(
            channel_id=channel.channel_id,
            per_commitment_secret=bytes(32),
            next_per_commitment_point=point_after_next,
        ),
        needs_monitor=True,
    )
    # What the peer is now owed in its own commitment goes out at once.
    send_commitment(draft)


def receive_revoke_and_ack(draft: Draft, msg: msgs.RevokeAndAck) -> None:
    """The peer gives up its old commitment: takes the secret, and moves what it had acknowledged."""
    core = draft.core
    if draft.link is not Link.UP:
        raise ChannelError("revoke_and_ack came before channel_reestablish.")
    if not draft.is_awaiting_revocation:
        raise ChannelError("revoke_and_ack came although nothing was to be revoked.")
    # BOLT 2, revoke_and_ack, receiver: the secret belongs to the point of the commitment that it revokes.
    secret = msg.per_commitment_secret
    if not curve.is_valid_secret(secret):
        raise ChannelError("The secret in revoke_and_ack is no secret key.")
    if point_of_revealed_secret(secret) != core.counterparty_current_point:
        raise ChannelError("The secret in revoke_and_ack does not belong to the revoked commitment.")
    number = core.counterparty_revoked
    try:
        draft.secrets = draft.secrets.provide_secret(number, secret)
    except DecodeError as error:
        # BOLT 3, per-commitment secret requirements: all of them come from one seed.
        raise ChannelError(str(error)) from None
    if core.counterparty_next_point is None:
        raise InvariantError("a commitment was revoked before channel_ready")
    draft.monitor_steps.append(CommitmentSecret(number=number, secret=secret))
    draft.effects.append(ValidateRevocation(number, secret))
    draft.core = replace(
        core,
        counterparty_revoked=number + 1,
        counterparty_current_point=core.counterparty_next_point,
        counterparty_next_point=msg.next_per_commitment_point,
    )
    move_updates(draft, Move.RECV_REVOKE)
