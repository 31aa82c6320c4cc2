"""Which claims share a transaction, what they offer, and when they offer more."""

from __future__ import annotations

import pytest

from tests.unit.ln.monitor_world import Fees
from wallet.bitcoin.hashes import sha256
from wallet.bitcoin.script import dust_limit_sat, p2wpkh
from wallet.bitcoin.tx import OutPoint, Txid, TxOut
from wallet.chain.interfaces import FLOOR_FEERATE_SAT_PER_KW
from wallet.ln.chan_utils import HTLCOutputInCommitment
from wallet.ln.onchaintx import (
    HIGH_FREQUENCY_BUMP_BLOCKS,
    LOW_FREQUENCY_BUMP_BLOCKS,
    ClaimState,
    Retry,
    claim_output_sat,
    plan,
)
from wallet.ln.package import (
    CounterpartyHtlcClaim,
    HolderCommitmentClaim,
    HolderHtlcClaim,
    RevokedOutputClaim,
    claim_transaction_weight,
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
        # Soon the peer can take it back: it goes with what can be held up.
        theirs(4, 110, known=True),
    ]
    _, attempts = plan(ClaimState(), claims, HOME, 100, Fees())
    assert [{claim.outpoint.vout for claim in attempt.claims} for attempt in attempts] == [{0, 1}, {2, 3, 4}]
    _, attempts = plan(
        ClaimState(),
        [
            own(0, 90, known=False, anchors=True),
            own(1, 90, known=False, anchors=True),
            own(2, 91, known=False, anchors=True),
            own(3, 300, known=True, anchors=True),
        ],
        HOME,
        100,
        Fees(),
    )
    assert [{claim.outpoint.vout for claim in attempt.claims} for attempt in attempts] == [{0, 1}, {2}, {3}]
    signed_by_the_peer = [own(0, 90, known=False, anchors=False), own(1, 90, known=False, anchors=False)]
    _, attempts = plan(ClaimState(), signed_by_the_peer, HOME, 100, Fees())
    assert [len(attempt.claims) for attempt in attempts] == [1, 1]


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
    assert state.requests == ()
    assert attempts == ()


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
    claims = [HolderCommitmentClaim(outpoint=outpoint(0), deadline_height=101)]
    fees = Fees()
    state, (attempt,) = plan(ClaimState(), claims, HOME, 100, fees)
    rates = [attempt.feerate_sat_per_kw]
    for height in range(101, 140):
        state, attempts = plan(state, claims, HOME, height, fees)
        rates += [item.feerate_sat_per_kw for item in attempts]
    assert rates == sorted(rates)
    assert max(rates) == 5 * fees.sat_per_kw
