"""Which claims share a transaction, what they offer, and when they offer more."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.unit.ln.monitor_world import Fees
from wallet.bitcoin.amounts import fee_sat_ceil
from wallet.bitcoin.hashes import sha256
from wallet.bitcoin.script import dust_limit_sat, p2wpkh
from wallet.bitcoin.tx import OutPoint, Txid, TxOut
from wallet.chain.interfaces import FLOOR_FEERATE_SAT_PER_KW
from wallet.ln.chan_utils import HTLCOutputInCommitment
from wallet.ln.config import ANTI_REORG_DELAY_BLOCKS, MIN_CLTV_EXPIRY_DELTA
from wallet.ln.onchaintx import (
    HIGH_FREQUENCY_BUMP_BLOCKS,
    LOW_FREQUENCY_BUMP_BLOCKS,
    Attempt,
    ClaimState,
    Retry,
    claim_output_sat,
    plan,
)
from wallet.ln.package import (
    ALONE_BLOCKS,
    PEERS_TURN_BLOCKS,
    SECURITY_DELAY_BLOCKS,
    Claim,
    CounterpartyHtlcClaim,
    HolderCommitmentClaim,
    HolderHtlcClaim,
    RevokedOutputClaim,
    claim_transaction_weight,
    outside_weight,
)
from wallet.ln.types import PaymentHash, PaymentPreimage

HOME = p2wpkh(b"\x02" + bytes(32))
PREIMAGE = PaymentPreimage(bytes(32))


def outpoint(number: int) -> OutPoint:
    return OutPoint(Txid(sha256(bytes([number]))), number)


def described(offered: bool, expiry_height: int) -> HTLCOutputInCommitment:
    return HTLCOutputInCommitment(
        offered=offered,
        amount_msat=50_000_000,
        cltv_expiry_height=expiry_height,
        payment_hash=PaymentHash(sha256(PREIMAGE)),
        output_index=0,
    )


def theirs(number: int, expiry_height: int, *, known: bool, value_sat: int = 50_000) -> CounterpartyHtlcClaim:
    return CounterpartyHtlcClaim(
        outpoint=outpoint(number),
        output=TxOut(value_sat, bytes(34)),
        per_commitment_point=bytes(33),
        htlc=described(known, expiry_height),
        witness_script=bytes(140),
        payment_preimage=PREIMAGE if known else None,
    )


def own(number: int, expiry_height: int, *, known: bool, anchors: bool) -> HolderHtlcClaim:
    return HolderHtlcClaim(
        outpoint=outpoint(number),
        output=TxOut(50_000, bytes(34)),
        htlc=described(not known, expiry_height),
        witness_script=bytes(140),
        counterparty_signature=bytes(64),
        payment_preimage=PREIMAGE if known else None,
        anchors=anchors,
    )


def revoked(number: int, deadline_height: int) -> RevokedOutputClaim:
    return RevokedOutputClaim(
        outpoint=outpoint(number),
        output=TxOut(50_000, bytes(34)),
        per_commitment_secret=bytes(32),
        witness_script=bytes(78),
        deadline_height=deadline_height,
    )


def test_what_shares_a_transaction() -> None:
    claims = [
        theirs(0, 300, known=True),
        theirs(1, 400, known=True),
        theirs(2, 90, known=False),
        theirs(3, 95, known=False),
        # Soon the peer can take it back: nothing may hold it up, and it may hold up nothing.
        theirs(4, 110, known=True),
        # The peer was seen to claim it.
        replace(theirs(5, 95, known=False), contested=True),
        # Whoever waits for it upstream will not wait much longer.
        theirs(6, 100 + SECURITY_DELAY_BLOCKS - MIN_CLTV_EXPIRY_DELTA, known=False),
    ]
    assert shared(claims) == [{0, 1}, {2, 3}, {4}, {5}, {6}]
    own_claims: list[Claim] = [
        own(0, 90, known=False, anchors=True),
        own(1, 90, known=False, anchors=True),
        own(2, 91, known=False, anchors=True),
        own(3, 300, known=True, anchors=True),
        own(4, 301, known=True, anchors=True),
        # Near to the peer's turn: with those of the same height, and then alone.
        own(5, 112, known=True, anchors=True),
        own(6, 112, known=True, anchors=True),
        own(7, 111, known=True, anchors=True),
        own(8, 103, known=True, anchors=True),
        own(9, 103, known=True, anchors=True),
        replace(own(10, 90, known=False, anchors=True), contested=True),
        own(11, 70, known=False, anchors=True),
        own(12, 70, known=False, anchors=True),
    ]
    assert shared(own_claims) == [{0, 1}, {2}, {3, 4}, {5, 6}, {7}, {8}, {9}, {10}, {11}, {12}]
    signed_by_the_peer = [own(0, 90, known=False, anchors=False), own(1, 90, known=False, anchors=False)]
    assert shared(signed_by_the_peer) == [{0}, {1}]


def shared(claims: Sequence[Claim]) -> list[set[int]]:
    """What is joined at height 100."""
    _, attempts = plan(ClaimState(), claims, HOME, 100, Fees())
    return [{claim.outpoint.vout for claim in attempt.claims} for attempt in attempts]


def test_a_new_htlc_joins_those_on_their_way() -> None:
    fees = Fees()
    claims = [own(n, 300 + n, known=True, anchors=True) for n in range(9)]
    state, (first,) = plan(ClaimState(), claims[:1], HOME, 100, fees)
    # What comes in quick succession waits for the next tick, and costs one replacement.
    for count in range(2, 9):
        state, attempts = plan(state, claims[:count], HOME, 100, fees)
        assert attempts == ()
    state, (second,) = plan(state, claims[:8], HOME, 100, fees, resend=True)
    assert second.claim_id == first.claim_id
    assert [claim.outpoint.vout for claim in second.claims] == list(range(8))
    # BIP 125: a higher rate, and a higher fee by its own bandwidth.
    assert second.feerate_sat_per_kw > first.feerate_sat_per_kw
    assert fee_of(second) >= fee_of(first) + bandwidth_sat(second)
    assert second.feerate_sat_per_kw < 2 * first.feerate_sat_per_kw
    # Or for the next block.
    state, attempts = plan(state, claims, HOME, 100, fees)
    assert attempts == ()
    state, (third,) = plan(state, claims, HOME, 101, fees)
    assert (third.claim_id, len(third.claims)) == (first.claim_id, 9)
    assert fee_of(third) >= fee_of(second) + bandwidth_sat(third)
    # Those that the peer can soon take back do not join: each has a claim of its own at once.
    urgent = [own(20, 112, known=True, anchors=True)]
    state, attempts = plan(state, [*claims, *urgent], HOME, 101, fees)
    assert [[claim.outpoint.vout for claim in attempt.claims] for attempt in attempts] == [[20]]
    assert len(state.requests) == 2


def test_nothing_joins_what_has_become_dear() -> None:
    """Rather a coin of its own than a rate far above the estimate."""
    fees = Fees()
    claims = [own(n, 300, known=True, anchors=True) for n in range(2)]
    fees.sat_per_kw = 3_000
    state, _ = plan(ClaimState(), claims[:1], HOME, 100, fees)
    fees.sat_per_kw = 300
    _, (attempt,) = plan(state, claims, HOME, 101, fees)
    assert [claim.outpoint.vout for claim in attempt.claims] == [1]
    assert attempt.feerate_sat_per_kw == 300


def htlcs_of(attempt: Attempt) -> list[HolderHtlcClaim]:
    return [claim for claim in attempt.claims if isinstance(claim, HolderHtlcClaim)]


def fee_of(attempt: Attempt) -> int:
    return fee_sat_ceil(outside_weight(htlcs_of(attempt)), attempt.feerate_sat_per_kw)


def bandwidth_sat(attempt: Attempt) -> int:
    return fee_sat_ceil(outside_weight(htlcs_of(attempt)), FLOOR_FEERATE_SAT_PER_KW)


@pytest.mark.parametrize("known", [True, False], ids=["success", "timeout"])
def test_htlcs_on_our_commitment_part_in_time(known: bool) -> None:
    """One of those that part keeps the name and the coin, and outbids what all paid; the others begin anew."""
    expiry_height = 300
    claims = [own(n, expiry_height + n * known, known=known, anchors=True) for n in range(3)]
    claims[1] = replace(claims[1], output=TxOut(900_000, bytes(34)))
    start_height = 250 if known else expiry_height
    state, (joined,) = plan(ClaimState(), claims, HOME, start_height, Fees())
    assert len(joined.claims) == 3
    deadline_height = expiry_height if known else expiry_height + MIN_CLTV_EXPIRY_DELTA
    margin_blocks = PEERS_TURN_BLOCKS if known else SECURITY_DELAY_BLOCKS
    for height in range(start_height + 1, deadline_height - margin_blocks):
        state, attempts = plan(state, claims, HOME, height, Fees())
        assert all(len(attempt.claims) == 3 for attempt in attempts)
        joined = attempts[-1] if attempts else joined
    state, attempts = plan(state, claims, HOME, deadline_height - margin_blocks, Fees())
    parts = [{claim.outpoint.vout for claim in attempt.claims} for attempt in attempts]
    assert parts == ([{1, 2}, {0}] if known else [{1}, {0}, {2}])
    assert attempts[0].claim_id == joined.claim_id
    assert fee_of(attempts[0]) >= fee_of(joined) + bandwidth_sat(attempts[0])
    if known:
        height = deadline_height + 2 - ALONE_BLOCKS
        for step in range(deadline_height - margin_blocks + 1, height + 1):
            state, _ = plan(state, claims, HOME, step, Fees())
        assert len(state.requests) == 3


def test_what_the_peer_is_after_parts_without_the_coins() -> None:
    claims = [own(n, 300, known=False, anchors=True) for n in range(3)]
    claims[1] = replace(claims[1], output=TxOut(900_000, bytes(34)))
    state, (joined,) = plan(ClaimState(), claims, HOME, 300, Fees())
    claims[1] = replace(claims[1], contested=True)
    _, attempts = plan(state, claims, HOME, 300, Fees())
    assert [{claim.outpoint.vout for claim in attempt.claims} for attempt in attempts] == [{0, 2}, {1}]
    assert attempts[0].claim_id == joined.claim_id


def test_no_more_is_paid_than_there_is_to_gain() -> None:
    fees = Fees()
    small = [replace(own(n, 300, known=True, anchors=True), output=TxOut(4_000, bytes(34))) for n in range(2)]
    state = ClaimState()
    for height in range(100, 290):
        state, attempts = plan(state, small, HOME, height, fees)
        for attempt in attempts:
            assert fee_of(attempt) <= 4_000 * len(attempt.claims)
    assert max(request.feerate_sat_per_kw for request in state.requests) > 3 * fees.sat_per_kw
    # It is sent again as it was, when estimates have been high for a while.
    fees.sat_per_kw = 8_000
    state, _ = plan(state, small, HOME, 290, fees, resend=True)
    fees.sat_per_kw = 1_000
    again = [plan(state, small, HOME, 290, fees, resend=True) for _ in range(2)]
    assert {attempt.feerate_sat_per_kw for _, (attempt,) in again} == {8_000}
    # When a part of them is gone, what is left asks for less.
    state, (left,) = plan(state, small[:1], HOME, 290, fees)
    assert fee_of(left) <= 4_000
    commitment = HolderCommitmentClaim(
        outpoint=outpoint(0), deadline_height=120, value_sat=5_000, weight=1_400
    )
    state = ClaimState()
    rates = []
    for height in range(100, 140):
        state, attempts = plan(state, [commitment], HOME, height, fees)
        rates += [attempt.feerate_sat_per_kw for attempt in attempts]
    assert rates[0] == fees.sat_per_kw < rates[-1]
    assert max(rates) * outside_weight([commitment]) <= 5_000 * 1_000
    # Not worth it: no coins are asked for at all.
    fees.sat_per_kw = 20_000
    _, (attempt,) = plan(ClaimState(), [commitment], HOME, 100, fees)
    assert attempt.feerate_sat_per_kw == FLOOR_FEERATE_SAT_PER_KW


def test_a_step_is_never_less_than_mempools_ask_for() -> None:
    fees = Fees()
    fees.sat_per_kw = FLOOR_FEERATE_SAT_PER_KW
    claims = [own(0, 300, known=True, anchors=True)]
    state, (attempt,) = plan(ClaimState(), claims, HOME, 100, fees)
    rates = [attempt.feerate_sat_per_kw]
    for height in range(101, 300):
        # Estimates that creep up are no reason to send what would be refused.
        fees.sat_per_kw += height % 2
        state, attempts = plan(state, claims, HOME, height, fees, resend=True)
        rates += [item.feerate_sat_per_kw for item in attempts if item.feerate_sat_per_kw != rates[-1]]
    assert len(rates) > 4
    assert all(b - a >= FLOOR_FEERATE_SAT_PER_KW for a, b in itertools.pairwise(rates))


def test_what_paid_for_itself_stops_at_a_multiple_until_time_presses() -> None:
    claims = [theirs(0, 1_000, known=True, value_sat=5_000_000)]
    fees = Fees()
    state, _ = plan(ClaimState(), claims, HOME, 100, fees)
    rates = {}
    for height in range(101, 1_000):
        state, attempts = plan(state, claims, HOME, height, fees)
        for item in attempts:
            rates[height] = item.feerate_sat_per_kw
    far = [rate for height, rate in rates.items() if height < 985]
    assert 5 * fees.sat_per_kw <= max(far) < 7 * fees.sat_per_kw
    # Then it rises again.
    assert max(rates.values()) > 2 * max(far)


def test_the_last_step_offers_all_there_is() -> None:
    claims = [theirs(0, 300, known=True, value_sat=3_000)]
    weight = claim_transaction_weight(claims, HOME)
    most_sat = 3_000 - dust_limit_sat(HOME)
    paid_sat = most_sat - 2 * fee_sat_ceil(weight, FLOOR_FEERATE_SAT_PER_KW)
    rate = paid_sat * 1000 // weight
    answer = claim_output_sat(claims, HOME, 500, rate, paid_sat, Retry.BUMP)
    assert answer is not None
    assert paid_sat + 200 <= 3_000 - answer[0] <= most_sat
    assert 3_000 - answer[0] > most_sat - 4


def test_a_reorganisation_finds_the_rate_again() -> None:
    fees = Fees()
    claims = [own(0, 300, known=True, anchors=True)]
    state, _ = plan(ClaimState(), claims, HOME, 100, fees)
    state, (bumped,) = plan(state, claims, HOME, 115, fees)
    state, attempts = plan(state, [], HOME, 116, fees)
    assert attempts == ()
    state, (again,) = plan(state, claims, HOME, 116, fees)
    # It was in the chain: the same as before.
    assert (again.claim_id, again.feerate_sat_per_kw) == (bumped.claim_id, bumped.feerate_sat_per_kw)
    state, _ = plan(state, [], HOME, 117, fees)
    for height in range(118, 123):
        state, _ = plan(state, [], HOME, height, fees)
        assert state.requests
    state, _ = plan(state, [], HOME, 123, fees)
    assert state.requests == ()


def test_each_stands_alone_near_its_deadline() -> None:
    claims = [revoked(0, 200), revoked(1, 200)]
    state, (attempt,) = plan(ClaimState(), claims, HOME, 100, Fees())
    assert len(attempt.claims) == 2
    together_sat = 100_000 - attempt.output_sat
    state, attempts = plan(state, claims, HOME, 182, Fees())
    assert [len(each.claims) for each in attempts] == [1, 1]
    # The first replaces what they paid together, and so has to pay more than that.
    assert 50_000 - attempts[0].output_sat > together_sat
    assert len({request.claim_id for request in state.requests}) == 2


def test_timers() -> None:
    fees = Fees()
    claims = [theirs(0, 130, known=True)]
    state, (attempt,) = plan(ClaimState(), claims, HOME, 100, fees)
    assert state.requests[0].next_height == 100 + LOW_FREQUENCY_BUMP_BLOCKS
    # Nothing is due: the very same state, so that no row is written.
    again, attempts = plan(state, claims, HOME, 101, fees)
    assert again is state
    assert attempts == ()
    rates = [attempt.feerate_sat_per_kw]
    heights = []
    for height in range(101, 131):
        state, attempts = plan(state, claims, HOME, height, fees)
        for attempt in attempts:
            rates.append(attempt.feerate_sat_per_kw)
            heights.append(height)
    assert rates == sorted(set(rates))
    assert heights[:2] == [115, 118]
    assert heights[-3:] == [128, 129, 130]
    assert heights[-1] - heights[-2] == HIGH_FREQUENCY_BUMP_BLOCKS
    # Sent again at the same rate, unless the estimates rise above it.
    state, (attempt,) = plan(state, claims, HOME, 130, fees, resend=True)
    assert attempt.feerate_sat_per_kw == rates[-1]
    fees.sat_per_kw = 20_000
    state, (attempt,) = plan(state, claims, HOME, 130, fees, resend=True)
    assert attempt.feerate_sat_per_kw == 20_000


def test_what_is_spent_leaves_its_request() -> None:
    claims = [theirs(n, 300, known=True) for n in range(3)]
    state, (attempt,) = plan(ClaimState(), claims, HOME, 100, Fees())
    state, (smaller,) = plan(state, claims[1:], HOME, 101, Fees())
    assert smaller.claim_id == attempt.claim_id
    assert [claim.outpoint.vout for claim in smaller.claims] == [1, 2]
    # Back with a reorganisation: claimed anew, beside the others.
    state, (anew,) = plan(state, claims, HOME, 102, Fees())
    assert [claim.outpoint.vout for claim in anew.claims] == [0]
    state, attempts = plan(state, [], HOME, 103, Fees())
    assert attempts == ()
    # Until it is buried its rate is remembered.
    state, _ = plan(state, [], HOME, 103 + ANTI_REORG_DELAY_BLOCKS, Fees())
    assert state.requests == ()


def test_what_is_not_worth_its_fee_waits_for_lower_ones() -> None:
    poor = [theirs(0, 300, known=True, value_sat=400)]
    state, attempts = plan(ClaimState(), poor, HOME, 100, Fees())
    assert attempts == ()
    assert state.requests[0].next_height == 115
    fees = Fees()
    fees.sat_per_kw = FLOOR_FEERATE_SAT_PER_KW
    weight = claim_transaction_weight(poor, HOME)
    value_sat = dust_limit_sat(HOME) + -(-weight * FLOOR_FEERATE_SAT_PER_KW // 1000)
    enough = [theirs(0, 300, known=True, value_sat=value_sat)]
    state, (attempt,) = plan(state, enough, HOME, 115, fees)
    assert attempt.output_sat == dust_limit_sat(HOME)


@pytest.mark.parametrize("value_sat", [1_000, 5_000, 50_000, 5_000_000])
def test_fees_rise_by_the_rules_of_replacement(value_sat: int) -> None:
    claims = [theirs(0, 300, known=True, value_sat=value_sat)]
    weight = claim_transaction_weight(claims, HOME)
    answer = claim_output_sat(claims, HOME, 2_000, 0, 0, Retry.SAME_OR_HIGHER)
    assert answer is not None
    output_sat, rate = answer
    # The first attempt gives away half at most, unless the floor is above that.
    assert value_sat - output_sat <= max(value_sat // 2 + 1, weight * FLOOR_FEERATE_SAT_PER_KW // 1000 + 1)
    for _ in range(60):
        fee_sat = value_sat - output_sat
        answer = claim_output_sat(claims, HOME, 2_000, rate, fee_sat, Retry.BUMP)
        assert answer is not None
        output_sat, new_rate = answer
        new_fee_sat = value_sat - output_sat
        assert output_sat >= dust_limit_sat(HOME)
        if new_rate > rate:
            assert new_fee_sat * 1000 >= fee_sat * 1000 + weight * FLOOR_FEERATE_SAT_PER_KW
        else:
            assert new_fee_sat == fee_sat
        rate = new_rate


def test_a_commitment_is_asked_for_ever_higher_within_bounds() -> None:
    claims = [
        HolderCommitmentClaim(outpoint=outpoint(0), deadline_height=101, value_sat=500_000, weight=1_124)
    ]
    fees = Fees()
    state, (attempt,) = plan(ClaimState(), claims, HOME, 100, fees)
    rates = [attempt.feerate_sat_per_kw]
    for height in range(101, 140):
        state, attempts = plan(state, claims, HOME, height, fees)
        rates += [item.feerate_sat_per_kw for item in attempts]
    assert rates == sorted(rates)
    assert max(rates) <= 5 * fees.sat_per_kw < max(rates) + FLOOR_FEERATE_SAT_PER_KW
