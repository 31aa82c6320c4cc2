"""Which claims are on their way, at which fee rate, and when they are tried again. rust-lightning's
onchaintx.

Theory of operation. What has to be claimed is derived from the chain (`resolution.py`); here is only the
memory of how it is being claimed: a `ClaimRequest` is a set of outpoints with the fee rate of its last
attempt and the height of the next. `plan` compares the two, purely, and answers with the new memory and the
attempts to make now:

- an output that nobody claims yet joins others of its cluster in a new request;
- where each transaction would cost a coin of the wallet, it joins a request that is on its way instead, which
  it replaces: at the next block, or when claims are next sent again, so that what becomes known in quick
  succession costs one replacement;
- an output that is spent leaves its request, which is tried again without it;
- a request whose height has come is tried again at a higher rate;
- near to its deadline an output leaves the request that it shared;
- a request of which nothing is left is remembered until that is buried, so that a reorganisation finds the fee
  rate that its transaction had.

What replaces another transaction pays more than that one in all, and for its own bandwidth on top (BIP 125,
rules 3 and 4). What is paid never exceeds what there is to gain.

`transaction_of` makes an attempt of those that pay for themselves into a transaction; commitments and HTLC
transactions with anchors are left to the wallet's coins, by events.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Final

from wallet.bitcoin.amounts import fee_sat_ceil
from wallet.bitcoin.script import dust_limit_sat
from wallet.bitcoin.tx import OutPoint
from wallet.chain.interfaces import FLOOR_FEERATE_SAT_PER_KW, ConfirmationTarget, FeeEstimator
from wallet.ln.config import ANTI_REORG_DELAY_BLOCKS
from wallet.ln.package import (
    MAX_INPUTS_PER_CLAIM,
    Claim,
    HolderCommitmentClaim,
    HolderHtlcClaim,
    MalleableClaim,
    claim_id_of,
    claim_transaction_weight,
    cluster,
    deadline_height_of,
    is_contested,
    may_join,
    outside_weight,
    value_sat_of,
)

__all__ = ["Attempt", "ClaimRequest", "ClaimState", "Retry", "claim_output_sat", "plan"]

LOW_FREQUENCY_BUMP_BLOCKS: Final = 15
MIDDLE_FREQUENCY_BUMP_BLOCKS: Final = 3
HIGH_FREQUENCY_BUMP_BLOCKS: Final = 1
"""How often a claim is tried again, by how near its deadline is. As rust-lightning."""

INCREMENTAL_RELAY_FEE_SAT_PER_KW: Final = FLOOR_FEERATE_SAT_PER_KW
"""BIP 125, rule 4: a replacement pays for its own bandwidth as well, 1 sat/vB."""

BUMP_DIVISOR: Final = 4
"""A claim that does not confirm, while the estimates stay, is raised by a quarter."""

MAX_BUMP_OVER_ESTIMATE: Final = 5
"""Raising stops at this multiple of the estimate where the wallet's other coins pay, and while no deadline is
near: whoever keeps our transactions from the miners would otherwise have us pay all of it away."""

JOIN_MARGIN_DIVISOR: Final = 20
"""What replaces a transaction whose weight and change we know only about is raised by a twentieth more."""


class Retry(Enum):
    """Why a request is tried again, and what that does to its fee rate."""

    SAME_OR_HIGHER = auto()
    """Its set has changed, or it is sent again: the last rate, unless the estimates have risen above it."""
    BUMP = auto()
    """Its height has come: above the last rate in any case."""
    REPLACE = auto()
    """Its set has changed while its last transaction may confirm still: it has to outbid that one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRequest:
    """A set of outputs claimed by one transaction.

    Attributes:
        claim_id: of the set as it was first; stays while outputs leave it.
        feerate_sat_per_kw: of the last attempt.
        fee_paid_sat: of the last attempt: what a replacement has to outbid. Where coins outside of it pay, about
            that, and 0 for commitments.
        next_height: at this height it is tried again.
        sent_height: the tip at the last attempt.
        finished_height: the tip since when nothing of it is left to claim.
    """

    claim_id: bytes
    outpoints: tuple[OutPoint, ...]
    feerate_sat_per_kw: int
    fee_paid_sat: int
    next_height: int
    sent_height: int = field(default=0, metadata={"tlv": 1})
    finished_height: int | None = field(default=None, metadata={"tlv": 3})


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimState:
    requests: tuple[ClaimRequest, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One request to be put on its way now.

    Attributes:
        output_sat: what reaches the destination; 0 where the transaction is not ours alone to shape.
    """

    claim_id: bytes
    claims: tuple[Claim, ...]
    feerate_sat_per_kw: int
    output_sat: int
    deadline_height: int | None


# --- fees ---------------------------------------------------------------------


def claim_output_sat(
    claims: Sequence[MalleableClaim],
    destination_script: bytes,
    estimate_sat_per_kw: int,
    previous_feerate_sat_per_kw: int,
    previous_fee_sat: int,
    retry: Retry,
) -> tuple[int, int] | None:
    """(output, fee rate) of the next attempt; None when they cannot pay for a transaction at all.

    A first attempt gives away half of what it claims at most; later ones everything down to the dust limit,
    since then it is that or nothing.
    """
    weight = claim_transaction_weight(claims, destination_script)
    value_sat = sum(claim.output.value_sat for claim in claims)
    most_sat = value_sat - dust_limit_sat(destination_script)
    if previous_feerate_sat_per_kw == 0:
        half_sat_per_kw = value_sat * 500 // weight
        feerate_sat_per_kw = min(estimate_sat_per_kw, half_sat_per_kw)
        if feerate_sat_per_kw < FLOOR_FEERATE_SAT_PER_KW:
            feerate_sat_per_kw = FLOOR_FEERATE_SAT_PER_KW
        fee_sat = fee_sat_ceil(weight, feerate_sat_per_kw)
        return None if fee_sat > most_sat else (value_sat - fee_sat, feerate_sat_per_kw)
    feerate_sat_per_kw = max(previous_feerate_sat_per_kw, min(estimate_sat_per_kw, value_sat * 500 // weight))
    if retry is not Retry.SAME_OR_HIGHER and feerate_sat_per_kw == previous_feerate_sat_per_kw:
        feerate_sat_per_kw += feerate_sat_per_kw // BUMP_DIVISOR
    least_sat_per_kw = 0
    if feerate_sat_per_kw > previous_feerate_sat_per_kw:
        least_sat_per_kw = _least_sat_per_kw(previous_fee_sat, weight)
        feerate_sat_per_kw = max(feerate_sat_per_kw, least_sat_per_kw)
    # The fee follows from the rate alone, so that what is sent again is the same transaction.
    fee_sat = fee_sat_ceil(weight, feerate_sat_per_kw)
    most_sat_per_kw = most_sat * 1000 // weight
    if fee_sat > most_sat and most_sat_per_kw >= least_sat_per_kw > 0:
        # The last step: all that there is.
        feerate_sat_per_kw = most_sat_per_kw
        fee_sat = fee_sat_ceil(weight, feerate_sat_per_kw)
    if fee_sat > most_sat:
        # It can rise no more: what was sent last is sent again.
        feerate_sat_per_kw = previous_feerate_sat_per_kw
        fee_sat = fee_sat_ceil(weight, feerate_sat_per_kw)
        if fee_sat > most_sat:
            return None
    return value_sat - fee_sat, feerate_sat_per_kw


def _least_sat_per_kw(previous_fee_sat: int, weight: int) -> int:
    """BIP 125, rules 3 and 4: more in all than what it replaces, by its own bandwidth."""
    least_sat = previous_fee_sat + fee_sat_ceil(weight, INCREMENTAL_RELAY_FEE_SAT_PER_KW)
    return -(-least_sat * 1000 // weight)


def _outside_feerate(
    claims: Sequence[HolderHtlcClaim | HolderCommitmentClaim],
    request: ClaimRequest,
    estimate_sat_per_kw: int,
    retry: Retry,
) -> int:
    """The target where coins of the wallet pay the fee. It is not raised above what there is to gain; HTLCs that
    are not worth the estimate are left out where the transaction is made."""
    weight = outside_weight(claims)
    most_sat_per_kw = sum(map(value_sat_of, claims)) * 1000 // weight
    if most_sat_per_kw < estimate_sat_per_kw:
        if isinstance(claims[0], HolderCommitmentClaim):
            # It goes alone, and confirms when its own fee does.
            return FLOOR_FEERATE_SAT_PER_KW
        most_sat_per_kw = estimate_sat_per_kw
    previous_sat_per_kw = request.feerate_sat_per_kw
    if not previous_sat_per_kw:
        return min(estimate_sat_per_kw, most_sat_per_kw)
    if retry is Retry.REPLACE:
        return min(_replacing_sat_per_kw(request, weight, estimate_sat_per_kw), most_sat_per_kw)
    wanted_sat_per_kw = estimate_sat_per_kw
    if retry is Retry.BUMP:
        step_sat_per_kw = max(previous_sat_per_kw // BUMP_DIVISOR, INCREMENTAL_RELAY_FEE_SAT_PER_KW)
        limit_sat_per_kw = estimate_sat_per_kw * MAX_BUMP_OVER_ESTIMATE
        raised_sat_per_kw = min(previous_sat_per_kw + step_sat_per_kw, limit_sat_per_kw)
        wanted_sat_per_kw = max(wanted_sat_per_kw, raised_sat_per_kw)
    wanted_sat_per_kw = min(wanted_sat_per_kw, most_sat_per_kw)
    # Mempools would refuse a smaller step.
    if wanted_sat_per_kw < previous_sat_per_kw + INCREMENTAL_RELAY_FEE_SAT_PER_KW:
        # What was sent last is sent again; less is asked for only when there is nothing to outbid.
        return previous_sat_per_kw if request.fee_paid_sat else min(previous_sat_per_kw, most_sat_per_kw)
    return wanted_sat_per_kw


def _replacing_sat_per_kw(request: ClaimRequest, weight: int, estimate_sat_per_kw: int) -> int:
    """The least that outbids a request's last transaction by one of another weight."""
    least_sat_per_kw = max(_least_sat_per_kw(request.fee_paid_sat, weight), request.feerate_sat_per_kw + 1)
    return max(estimate_sat_per_kw, least_sat_per_kw + least_sat_per_kw // JOIN_MARGIN_DIVISOR)


def _target_of(claims: Sequence[Claim]) -> ConfirmationTarget:
    if all(isinstance(claim, HolderCommitmentClaim) and claim.deadline_height is None for claim in claims):
        # Our own balance only: it waits for its delay anyway.
        return ConfirmationTarget.OUTPUT_SPENDING_FEE
    return ConfirmationTarget.URGENT_ON_CHAIN_SWEEP


def _next_height(claims: Sequence[Claim], best_height: int) -> int:
    """The nearer the deadline, the sooner; and never past the height at which it gets more frequent."""
    blocks = LOW_FREQUENCY_BUMP_BLOCKS
    for claim in claims:
        deadline_height = deadline_height_of(claim)
        if deadline_height is None:
            continue
        left_blocks = deadline_height - best_height
        if left_blocks <= MIDDLE_FREQUENCY_BUMP_BLOCKS:
            blocks = min(blocks, HIGH_FREQUENCY_BUMP_BLOCKS)
        elif left_blocks <= LOW_FREQUENCY_BUMP_BLOCKS:
            blocks = min(blocks, MIDDLE_FREQUENCY_BUMP_BLOCKS, left_blocks - MIDDLE_FREQUENCY_BUMP_BLOCKS)
        else:
            blocks = min(blocks, left_blocks - LOW_FREQUENCY_BUMP_BLOCKS)
    return best_height + blocks


# --- the plan -----------------------------------------------------------------


def _grouped(claims: Sequence[Claim], best_height: int) -> list[tuple[Claim, ...]]:
    groups: dict[tuple[str, int, bytes], list[Claim]] = {}
    for claim in claims:
        groups.setdefault(cluster(claim, best_height), []).append(claim)
    return [
        tuple(group[start : start + MAX_INPUTS_PER_CLAIM])
        for group in groups.values()
        for start in range(0, len(group), MAX_INPUTS_PER_CLAIM)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """A request on its way through `plan`; `retry` None leaves it alone this time."""

    request: ClaimRequest
    claims: tuple[Claim, ...]
    retry: Retry | None


def _kept(
    request: ClaimRequest, wanted: Mapping[OutPoint, Claim], best_height: int, resend: bool
) -> list[_Task]:
    """What becomes of a request: finished, back, smaller, split, due, or left alone."""
    claims = tuple(wanted[outpoint] for outpoint in request.outpoints if outpoint in wanted)
    if not claims:
        return _finished(request, best_height)
    retry = None
    if request.finished_height is not None:
        # A reorganisation: the transaction that was in the chain is as good as it was.
        request = replace(
            request, finished_height=None, next_height=max(request.next_height, best_height + 1)
        )
        retry = Retry.SAME_OR_HIGHER
    elif len(claims) < len(request.outpoints):
        # Whatever spent the others has made the last transaction impossible: there is nothing to outbid.
        request = replace(request, outpoints=tuple(claim.outpoint for claim in claims), fee_paid_sat=0)
        retry = Retry.SAME_OR_HIGHER
    elif resend:
        retry = Retry.SAME_OR_HIGHER
    groups = _grouped(claims, best_height)
    if len(groups) > 1:
        return _split(request, groups)
    if best_height >= request.next_height:
        retry = Retry.BUMP
    request = replace(request, outpoints=tuple(claim.outpoint for claim in claims))
    return [_Task(request=request, claims=claims, retry=retry)]


def _finished(request: ClaimRequest, best_height: int) -> list[_Task]:
    height = best_height if request.finished_height is None else request.finished_height
    if best_height >= height + ANTI_REORG_DELAY_BLOCKS or not request.feerate_sat_per_kw:
        return []
    if height != request.finished_height:
        request = replace(request, finished_height=height)
    return [_Task(request=request, claims=(), retry=None)]


def _split(request: ClaimRequest, groups: list[tuple[Claim, ...]]) -> list[_Task]:
    """Some have come near to their deadline, or the peer is after them. The most valuable keep the name, and the
    coins: alone they have to outbid what all paid together, and once they have, the others find nothing in their
    way. What the peer is after comes last: it may never confirm."""
    groups = sorted(groups, key=lambda group: (is_contested(group[0]), -sum(map(value_sat_of, group))))
    return [
        _Task(
            request=replace(
                request,
                claim_id=request.claim_id if index == 0 else claim_id_of([c.outpoint for c in group]),
                outpoints=tuple(claim.outpoint for claim in group),
                fee_paid_sat=request.fee_paid_sat if index == 0 else 0,
            ),
            claims=group,
            retry=Retry.REPLACE if index == 0 and request.fee_paid_sat else Retry.BUMP,
        )
        for index, group in enumerate(groups)
    ]


def _joined(
    tasks: list[_Task], fresh: Sequence[Claim], best_height: int, fee_estimator: FeeEstimator, *, resend: bool
) -> list[Claim]:
    """Lets new claims join a request on its way; answers with those that need one of their own."""
    left: list[Claim] = []
    for group in _grouped(fresh, best_height):
        place = next(
            (
                index
                for index, task in enumerate(tasks)
                if task.claims
                and may_join(task.claims[0], best_height)
                and cluster(task.claims[0], best_height) == cluster(group[0], best_height)
                and len(task.claims) + len(group) <= MAX_INPUTS_PER_CLAIM
            ),
            None,
        )
        if place is None:
            left.extend(group)
            continue
        host = tasks[place]
        claims = (*host.claims, *group)
        estimate_sat_per_kw = fee_estimator.get_est_sat_per_1000_weight(_target_of(claims))
        weight = outside_weight([claim for claim in claims if isinstance(claim, HolderHtlcClaim)])
        least_sat_per_kw = _replacing_sat_per_kw(host.request, weight, estimate_sat_per_kw)
        if least_sat_per_kw > estimate_sat_per_kw * MAX_BUMP_OVER_ESTIMATE:
            left.extend(group)
        elif resend or best_height > host.request.sent_height:
            request = replace(host.request, outpoints=tuple(claim.outpoint for claim in claims))
            tasks[place] = _Task(request=request, claims=claims, retry=Retry.REPLACE)
    return left


def plan(
    state: ClaimState,
    claims: Sequence[Claim],
    destination_script: bytes,
    best_height: int,
    fee_estimator: FeeEstimator,
    *,
    resend: bool = False,
) -> tuple[ClaimState, tuple[Attempt, ...]]:
    """The requests after this height, and what to put on its way now.

    `claims` is everything that can be claimed at `best_height`, and only that.
    """
    wanted = {claim.outpoint: claim for claim in claims}
    tasks = [task for request in state.requests for task in _kept(request, wanted, best_height, resend)]
    covered = {outpoint for task in tasks for outpoint in task.request.outpoints}
    fresh = [claim for claim in claims if claim.outpoint not in covered]
    fresh = _joined(tasks, fresh, best_height, fee_estimator, resend=resend)
    for group in _grouped(fresh, best_height):
        outpoints = tuple(claim.outpoint for claim in group)
        request = ClaimRequest(
            claim_id=claim_id_of(outpoints),
            outpoints=outpoints,
            feerate_sat_per_kw=0,
            fee_paid_sat=0,
            next_height=best_height,
        )
        tasks.append(_Task(request=request, claims=group, retry=Retry.SAME_OR_HIGHER))

    requests = []
    attempts = []
    for task in tasks:
        if task.retry is None:
            requests.append(task.request)
            continue
        request, attempt = _attempt(task, task.retry, destination_script, best_height, fee_estimator)
        requests.append(request)
        if attempt is not None:
            attempts.append(attempt)
    new_requests = tuple(requests)
    return (state if new_requests == state.requests else ClaimState(requests=new_requests)), tuple(attempts)


def _attempt(
    task: _Task, retry: Retry, destination_script: bytes, best_height: int, fee_estimator: FeeEstimator
) -> tuple[ClaimRequest, Attempt | None]:
    request, claims = task.request, task.claims
    estimate_sat_per_kw = fee_estimator.get_est_sat_per_1000_weight(_target_of(claims))
    next_height = request.next_height
    if retry is not Retry.SAME_OR_HIGHER or request.feerate_sat_per_kw == 0:
        next_height = _next_height(claims, best_height)
    deadlines = [height for claim in claims if (height := deadline_height_of(claim)) is not None]
    malleable: list[MalleableClaim] = []
    outside: list[HolderHtlcClaim | HolderCommitmentClaim] = []
    for claim in claims:
        if isinstance(claim, HolderHtlcClaim | HolderCommitmentClaim):
            outside.append(claim)
        else:
            malleable.append(claim)
    output_sat = 0
    if malleable:
        pressing = bool(deadlines) and min(deadlines) <= best_height + LOW_FREQUENCY_BUMP_BLOCKS
        far_above = request.feerate_sat_per_kw >= estimate_sat_per_kw * MAX_BUMP_OVER_ESTIMATE
        answer = claim_output_sat(
            malleable,
            destination_script,
            estimate_sat_per_kw,
            request.feerate_sat_per_kw,
            request.fee_paid_sat,
            Retry.SAME_OR_HIGHER if retry is Retry.BUMP and far_above and not pressing else retry,
        )
        if answer is None:
            # Worth less than its fee, for now: looked at again, should fees fall.
            return replace(request, next_height=best_height + LOW_FREQUENCY_BUMP_BLOCKS), None
        output_sat, feerate_sat_per_kw = answer
        fee_paid_sat = sum(claim.output.value_sat for claim in malleable) - output_sat
    else:
        feerate_sat_per_kw = _outside_feerate(outside, request, estimate_sat_per_kw, retry)
        fee_paid_sat = 0
        if not any(isinstance(claim, HolderCommitmentClaim) for claim in outside):
            fee_paid_sat = fee_sat_ceil(outside_weight(outside), feerate_sat_per_kw)
    attempt = Attempt(
        claim_id=request.claim_id,
        claims=claims,
        feerate_sat_per_kw=feerate_sat_per_kw,
        output_sat=output_sat,
        deadline_height=min(deadlines) if deadlines else None,
    )
    request = replace(
        request,
        feerate_sat_per_kw=feerate_sat_per_kw,
        fee_paid_sat=fee_paid_sat,
        next_height=next_height,
        sent_height=best_height,
    )
    return request, attempt
