"""How much a channel can carry: balances, reserves, fees that must stay payable, exposure to dust. BOLT 2
and 3."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from wallet.ln.chan_utils import commit_tx_fee_sat, is_dust_htlc, second_stage_dust_limit_sat
from wallet.ln.channel_commitment import anchors_cost_sat
from wallet.ln.channel_state import (
    FeeUpdate,
    Fulfilled,
    FundedChannel,
    HeldAdd,
    HeldUpdate,
    InboundHtlc,
    InboundStage,
    OutboundHtlc,
    OutboundStage,
)
from wallet.ln.channel_step import Draft

__all__ = [
    "FEE_SPIKE_MULTIPLE",
    "AvailableBalances",
    "available_balances",
    "counterparty_msat",
    "dust_exposure_msat",
    "dust_feerate",
    "exceeds_dust_exposure",
    "newest_feerate",
    "pending_amounts",
    "received_dust_exceeds",
    "settled_balance_msat",
    "untrimmed_count",
]

FEE_SPIKE_MULTIPLE: Final = 2
"""BOLT 2, update_add_htlc, sender: a funder stays able to pay for one more HTLC at twice the fee rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AvailableBalances:
    """What the channel can do now.

    Attributes:
        balance_msat: ours, HTLCs of ours on their way subtracted; before reserves and fees.
        outbound_capacity_msat: the balance above the reserve.
        inbound_capacity_msat: the peer's balance above its reserve.
        next_outbound_htlc_limit_msat: the largest HTLC that may be offered now; 0 if none.
        next_outbound_htlc_minimum_msat: the smallest.
        fee_reserve_msat: the part of the outbound capacity that who opened the channel keeps, to be able to pay the
            commitment transaction's fee.
    """

    balance_msat: int
    outbound_capacity_msat: int
    inbound_capacity_msat: int
    next_outbound_htlc_limit_msat: int
    next_outbound_htlc_minimum_msat: int
    fee_reserve_msat: int


def newest_feerate(settled_sat_per_kw: int, updates: tuple[FeeUpdate, ...]) -> int:
    """The highest fee rate that a commitment now, or once all pending updates are through, can have."""
    return max((settled_sat_per_kw, *(update.feerate_sat_per_kw for update in updates)))


def dust_feerate(channel: FundedChannel, feerate_sat_per_kw: int) -> int:
    """The fee rate that dust is judged by: with room for it to rise, where HTLC transactions pay fees."""
    if channel.channel_type.anchors:
        return feerate_sat_per_kw
    return max(feerate_sat_per_kw + 2_530, feerate_sat_per_kw * 5 // 4)


def _amounts_each(
    outbound: Mapping[int, OutboundHtlc], inbound: Mapping[int, InboundHtlc], held: tuple[HeldUpdate, ...]
) -> tuple[list[int], list[int]]:
    """The amounts of every HTLC that may be in a commitment from now on: (offered by us, offered by the peer)."""
    ours = [htlc.add.amount_msat for htlc in outbound.values()]
    ours += [update.add.amount_msat for update in held if isinstance(update, HeldAdd)]
    gone = InboundStage.RCVD_REMOVE_REVOCATION
    return ours, [htlc.add.amount_msat for htlc in inbound.values() if htlc.stage is not gone]


def _amounts(
    outbound: Mapping[int, OutboundHtlc], inbound: Mapping[int, InboundHtlc], held: tuple[HeldUpdate, ...]
) -> list[tuple[bool, int]]:
    """(offered by us, amount) of every HTLC that may be in a commitment from now on."""
    ours, theirs = _amounts_each(outbound, inbound, held)
    return [(True, amount_msat) for amount_msat in ours] + [(False, amount_msat) for amount_msat in theirs]


def _dust_below_msat(channel: FundedChannel, feerate_sat_per_kw: int, *, of_holder: bool) -> tuple[int, int]:
    """Below which amount an HTLC is dust in one side's commitment: (offered by us, offered by the peer)."""
    terms = channel.terms
    dust_limit_sat = terms.holder.dust_limit_sat if of_holder else terms.counterparty.dust_limit_sat
    if channel.channel_type.anchors:
        # HTLC transactions pay no fee themselves: one limit for both.
        return dust_limit_sat * 1000, dust_limit_sat * 1000
    limits_sat = [
        second_stage_dust_limit_sat(dust_limit_sat, feerate_sat_per_kw, offered, channel.channel_type)
        for offered in (of_holder, not of_holder)
    ]
    return limits_sat[0] * 1000, limits_sat[1] * 1000


def untrimmed_count(
    channel: FundedChannel, amounts: list[tuple[bool, int]], feerate_sat_per_kw: int, *, of_holder: bool
) -> int:
    """How many of these HTLCs get an output in one side's commitment."""
    ours_msat, theirs_msat = _dust_below_msat(channel, feerate_sat_per_kw, of_holder=of_holder)
    return sum(amount_msat >= (ours_msat if by_us else theirs_msat) for by_us, amount_msat in amounts)


def dust_exposure_msat(
    channel: FundedChannel, amounts: list[tuple[bool, int]], feerate_sat_per_kw: int, *, of_holder: bool
) -> int:
    """What is lost to fees if one side's commitment goes to the chain. BOLT 2, max_dust_htlc_exposure_msat."""
    ours_msat, theirs_msat = _dust_below_msat(channel, feerate_sat_per_kw, of_holder=of_holder)
    return sum(
        amount_msat for by_us, amount_msat in amounts if amount_msat < (ours_msat if by_us else theirs_msat)
    )


def pending_amounts(draft: Draft) -> list[tuple[bool, int]]:
    return _amounts(draft.outbound, draft.inbound, draft.held)


def counterparty_msat(draft: Draft) -> int:
    """The peer's balance in its next commitment: its HTLCs on their way subtracted, ours that it claimed
    added."""
    balance_msat = draft.channel.channel_value_sat * 1000 - draft.core.value_to_self_msat
    for received in draft.inbound.values():
        # A removal of ours gives the amount back, or to us; either way it counts once it is gone from there.
        if received.stage is InboundStage.RCVD_REMOVE_REVOCATION and not isinstance(
            received.removal, Fulfilled
        ):
            continue
        balance_msat -= received.add.amount_msat
    for sent in draft.outbound.values():
        if sent.stage is not OutboundStage.COMMITTED and isinstance(sent.removal, Fulfilled):
            balance_msat += sent.add.amount_msat
    return balance_msat


def settled_balance_msat(channel: FundedChannel) -> int:
    """What is ours if every HTLC of ours on its way arrives, and nothing comes in any more; before fees."""
    return channel.core.value_to_self_msat - sum(htlc.add.amount_msat for htlc in channel.outbound.values())


def available_balances(channel: FundedChannel, max_dust_exposure_msat: int) -> AvailableBalances:
    """BOLT 2, update_add_htlc, sender: all limits at once."""
    terms, core, scope = channel.terms, channel.core, channel.scope
    ours_msat, theirs_msat = _amounts_each(channel.outbound, channel.inbound, channel.held)
    outbound_msat = sum(ours_msat)
    inbound_msat = sum(htlc.add.amount_msat for htlc in channel.inbound.values())
    balance_msat = core.value_to_self_msat - outbound_msat
    total_msat = channel.channel_value_sat * 1000
    remote_msat = total_msat - core.value_to_self_msat - inbound_msat
    outbound_capacity_msat = max(0, balance_msat - terms.counterparty.channel_reserve_sat * 1000)
    inbound_capacity_msat = max(0, remote_msat - terms.holder.channel_reserve_sat * 1000)

    feerate_sat_per_kw = newest_feerate(core.feerate_sat_per_kw, core.fee_updates)
    sides = _dust_on_both(channel, ours_msat, theirs_msat, feerate_sat_per_kw)
    count = max(side.untrimmed for side in sides)
    # An HTLC at or above this has an output on both commitments.
    untrimmed_msat = max(side.threshold_msat for side in sides)
    limit_msat = outbound_capacity_msat
    fee_reserve_msat = 0
    anchors_msat = anchors_cost_sat(scope) * 1000
    if terms.is_outbound:
        spike_sat_per_kw = feerate_sat_per_kw * FEE_SPIKE_MULTIPLE
        with_htlc_msat = 1000 * commit_tx_fee_sat(spike_sat_per_kw, count + 2, channel.channel_type)
        without_msat = 1000 * commit_tx_fee_sat(spike_sat_per_kw, count + 1, channel.channel_type)
        fee_reserve_msat = min(outbound_capacity_msat, with_htlc_msat + anchors_msat)
        limit_msat = outbound_capacity_msat - with_htlc_msat - anchors_msat
        if limit_msat < untrimmed_msat:
            limit_msat = min(outbound_capacity_msat - without_msat - anchors_msat, untrimmed_msat - 1)
    else:
        # BOLT 2: do not offer what the peer, who pays the fee, could not pay for.
        fee_msat = 1000 * commit_tx_fee_sat(feerate_sat_per_kw, count + 1, channel.channel_type)
        if remote_msat < terms.holder.channel_reserve_sat * 1000 + fee_msat + anchors_msat:
            limit_msat = min(limit_msat, untrimmed_msat - 1)

    minimum_msat = max(1, terms.counterparty.htlc_minimum_msat)
    buffered_sat_per_kw = dust_feerate(channel, feerate_sat_per_kw)
    if buffered_sat_per_kw != feerate_sat_per_kw:
        sides = _dust_on_both(channel, ours_msat, theirs_msat, buffered_sat_per_kw)
    for side in sides:
        room_msat, threshold_msat = max(0, max_dust_exposure_msat - side.exposure_msat), side.threshold_msat
        if room_msat < minimum_msat:
            # No more dust fits: what still may be offered is what is not dust.
            minimum_msat = max(minimum_msat, threshold_msat)
        if limit_msat < threshold_msat:
            limit_msat = min(limit_msat, room_msat)
    limit_msat = min(limit_msat, terms.counterparty.max_htlc_value_in_flight_msat - outbound_msat)
    if len(ours_msat) >= terms.counterparty.max_accepted_htlcs:
        limit_msat = 0
    if limit_msat < minimum_msat:
        limit_msat = 0
    return AvailableBalances(
        balance_msat=balance_msat,
        outbound_capacity_msat=outbound_capacity_msat,
        inbound_capacity_msat=inbound_capacity_msat,
        next_outbound_htlc_limit_msat=limit_msat,
        next_outbound_htlc_minimum_msat=minimum_msat,
        fee_reserve_msat=fee_reserve_msat,
    )


class _Side(NamedTuple):
    """Dust in one side's commitment.

    Attributes:
        untrimmed: how many HTLCs get an output there.
        exposure_msat: the sum of those that get none.
        threshold_msat: below this, an HTLC of ours gets none.
    """

    untrimmed: int
    exposure_msat: int
    threshold_msat: int


def _dust_on_both(
    channel: FundedChannel, ours_msat: list[int], theirs_msat: list[int], feerate_sat_per_kw: int
) -> tuple[_Side, _Side]:
    """In our commitment, and in the peer's. With hundreds of HTLCs on their way this is asked for each: one pass."""
    found = []
    for of_holder in (True, False):
        ours_below_msat, theirs_below_msat = _dust_below_msat(
            channel, feerate_sat_per_kw, of_holder=of_holder
        )
        dust = [amount_msat for amount_msat in ours_msat if amount_msat < ours_below_msat]
        dust += [amount_msat for amount_msat in theirs_msat if amount_msat < theirs_below_msat]
        found.append(_Side(len(ours_msat) + len(theirs_msat) - len(dust), sum(dust), ours_below_msat))
    return found[0], found[1]


def exceeds_dust_exposure(channel: FundedChannel, amount_msat: int, max_dust_exposure_msat: int) -> bool:
    """BOLT 2, max_dust_htlc_exposure_msat, offering: this HTLC would be dust that is one too many."""
    ours_msat, theirs_msat = _amounts_each(channel.outbound, channel.inbound, channel.held)
    feerate_sat_per_kw = newest_feerate(channel.core.feerate_sat_per_kw, channel.core.fee_updates)
    sides = _dust_on_both(channel, ours_msat, theirs_msat, dust_feerate(channel, feerate_sat_per_kw))
    return any(
        max(0, max_dust_exposure_msat - side.exposure_msat) < amount_msat < side.threshold_msat
        for side in sides
    )


def received_dust_exceeds(channel: FundedChannel, amount_msat: int, max_dust_exposure_msat: int) -> bool:
    """BOLT 2, max_dust_htlc_exposure_msat, receiving: the HTLC, which is here already, is dust that is one too many."""
    amounts = _amounts(channel.outbound, channel.inbound, channel.held)
    feerate_sat_per_kw = dust_feerate(
        channel, newest_feerate(channel.core.feerate_sat_per_kw, channel.core.fee_updates)
    )
    terms = channel.terms
    for of_holder, dust_limit_sat in (
        (True, terms.holder.dust_limit_sat),
        (False, terms.counterparty.dust_limit_sat),
    ):
        is_dust = is_dust_htlc(
            not of_holder, amount_msat, feerate_sat_per_kw, dust_limit_sat, channel.channel_type
        )
        if is_dust:
            exposure_msat = dust_exposure_msat(channel, amounts, feerate_sat_per_kw, of_holder=of_holder)
            if exposure_msat > max_dust_exposure_msat:
                return True
    return False
