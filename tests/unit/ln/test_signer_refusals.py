"""A channel's signer refuses what could lose money, whoever asks, and still after a restart."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.ln.monitor_world import Channel, End, htlc, make
from wallet.bitcoin.curve import pubkey_from_secret
from wallet.bitcoin.hashes import sha256
from wallet.bitcoin.script import p2wpkh
from wallet.bitcoin.tx import TxOut
from wallet.ln.chan_utils import (
    ClosingTransaction,
    CommitmentTransaction,
    HolderCommitmentTransaction,
    build_closing_transaction,
    build_commitment_transaction,
)
from wallet.ln.features import ANCHORS_ZERO_FEE_HTLC_TX, STATIC_REMOTE_KEY, ChannelTypeFeatures
from wallet.ln.keysinterface import InMemorySigner
from wallet.ln.sign import SignerRefusal, SignerState

HOME = p2wpkh(b"\x02" + b"\x07" * 32)
THEIRS = p2wpkh(b"\x03" + b"\x07" * 32)
ELSEWHERE = p2wpkh(b"\x02" + b"\x08" * 32)

TYPES = pytest.mark.parametrize(
    "channel_type", [STATIC_REMOTE_KEY, ANCHORS_ZERO_FEE_HTLC_TX], ids=["static", "anchors"]
)


def opened(channel_type: ChannelTypeFeatures = STATIC_REMOTE_KEY) -> Channel:
    """Both sides are at commitment 2: 0 and 1 are revoked. Alice is the funder; she has 600,000 sat."""
    _, _, _, channel = make(channel_type)
    channel.commit()
    channel.commit()
    return channel


@pytest.fixture
def channel() -> Channel:
    return opened()


def restarted(end: End) -> InMemorySigner:
    """The signer of a process that has read nothing but the rows of the monitor."""
    end.side.restart()
    signer = end.side.keys.derive_channel_signer(end.signer.channel_keys_id)
    assert signer is not end.signer
    return signer


def signers(end: End, *, restart: bool) -> InMemorySigner:
    return restarted(end) if restart else end.signer


def of_bob(channel: Channel, number: int) -> CommitmentTransaction:
    """Bob's commitment of this number, as Alice is asked to sign it."""
    kept, channel.number = channel.number, number
    built, _ = channel._build(channel.alice, channel.bob, channel.bob)
    channel.number = kept
    return built


def next_of_alice(channel: Channel) -> HolderCommitmentTransaction:
    kept, channel.number = channel.number, channel.number + 1
    built, _ = channel._build(channel.alice, channel.bob, channel.alice)
    channel.number = kept
    return HolderCommitmentTransaction(
        commitment=built, counterparty_sig=bytes(64), counterparty_htlc_sigs=()
    )


RESTART = pytest.mark.parametrize("restart", [False, True], ids=["running", "restarted"])


# --- revoked states and skipped numbers --------------------------------------------


@RESTART
def test_our_newest_commitment_is_not_revoked(channel: Channel, restart: bool) -> None:
    signer = signers(channel.alice, restart=restart)
    with pytest.raises(SignerRefusal, match="newest"):
        signer.release_commitment_secret(2)
    # What was revoked can be shown again: the peer asks for it after a reconnection.
    assert pubkey_from_secret(signer.release_commitment_secret(1)) == signer.get_per_commitment_point(1)


@RESTART
def test_a_revoked_commitment_is_not_signed(channel: Channel, restart: bool) -> None:
    end = channel.alice
    signer = signers(end, restart=restart)
    for number in (0, 1):
        with pytest.raises(SignerRefusal, match="revoked"):
            signer.sign_holder_commitment(end.params, end.history[number])
    tx = channel.commitment_of(end.side, 1)
    with pytest.raises(SignerRefusal, match="revoked"):
        signer.sign_holder_htlc_transaction(tx, 0, 1, 1, b"\x51")
    assert signer.sign_holder_commitment(end.params, end.history[2])


@RESTART
def test_a_second_other_commitment_with_a_revoked_number_is_not_signed(
    channel: Channel, restart: bool
) -> None:
    """The number decides: what else stands in it does not make it a new one."""
    end = channel.alice
    signer = signers(end, restart=restart)
    old = end.history[1].commitment
    other = build_commitment_transaction(
        end.params,
        holder_is_broadcaster=True,
        number=1,
        per_commitment_point=old.per_commitment_point,
        to_broadcaster_sat=old.to_broadcaster_sat - 5_000,
        to_countersignatory_sat=old.to_countersignatory_sat + 5_000,
        htlcs=(),
        feerate_sat_per_kw=old.feerate_sat_per_kw,
    )
    with pytest.raises(SignerRefusal, match="revoked"):
        signer.sign_holder_commitment(end.params, replace(end.history[1], commitment=other))


@RESTART
def test_a_broadcast_commitment_is_not_revoked(channel: Channel, restart: bool) -> None:
    end = channel.alice
    if restart:
        channel.force_close(end.side)
    else:
        assert end.signer.sign_holder_commitment(end.params, end.history[2])
    signer = signers(end, restart=restart)
    signer.validate_holder_commitment(end.params, next_of_alice(channel))
    with pytest.raises(SignerRefusal, match="on its way to the chain"):
        signer.release_commitment_secret(2)
    assert signer.release_commitment_secret(1)


def test_a_commitment_of_ours_that_was_never_validated_is_not_signed(channel: Channel) -> None:
    end = channel.alice
    with pytest.raises(SignerRefusal, match="never validated"):
        end.signer.sign_holder_commitment(end.params, next_of_alice(channel))


@RESTART
def test_the_peers_commitments_are_signed_in_turn(channel: Channel, restart: bool) -> None:
    alice = channel.alice
    signer = signers(alice, restart=restart)

    def sign(number: int) -> None:
        signer.sign_counterparty_commitment(alice.params, of_bob(channel, number))

    sign(2)
    for number in (0, 1, 4):
        with pytest.raises(SignerRefusal):
            sign(number)
    sign(3)
    with pytest.raises(SignerRefusal, match="not next after 3"):
        sign(2)
    # Two that are not revoked are the most there can be.
    with pytest.raises(SignerRefusal):
        sign(4)
    signer.validate_counterparty_revocation(2, _secret(channel.bob, 2))
    sign(4)
    with pytest.raises(SignerRefusal):
        sign(2)
    with pytest.raises(SignerRefusal, match="of ours"):
        signer.sign_counterparty_commitment(alice.params, alice.history[-1].commitment)


def _secret(end: End, number: int) -> bytes:
    """Of any commitment, from a signer without a memory."""
    signer = InMemorySigner(end.signer.channel_keys_id, end.signer._secrets)
    signer.restore(SignerState(holder_number=number + 1))
    return signer.release_commitment_secret(number)


@RESTART
def test_a_revocation_out_of_turn_or_of_another_commitment_is_refused(
    channel: Channel, restart: bool
) -> None:
    alice, bob = channel.alice, channel.bob
    signer = signers(alice, restart=restart)
    with pytest.raises(SignerRefusal, match="newest that we signed"):
        signer.validate_counterparty_revocation(2, _secret(bob, 2))
    signer.sign_counterparty_commitment(alice.params, of_bob(channel, 3))
    for number, secret in ((3, _secret(bob, 3)), (2, _secret(bob, 1)), (2, sha256(b"x")), (2, bytes(32))):
        with pytest.raises(SignerRefusal):
            signer.validate_counterparty_revocation(number, secret)
    signer.validate_counterparty_revocation(2, _secret(bob, 2))
    with pytest.raises(SignerRefusal):
        signer.sign_counterparty_commitment(alice.params, of_bob(channel, 2))


def test_a_revocation_that_skips_one_is_refused_though_no_point_is_known(channel: Channel) -> None:
    end = channel.alice
    signer = InMemorySigner(end.signer.channel_keys_id, end.signer._secrets)
    signer.restore(SignerState(counterparty_number=5, counterparty_revoked=3))
    for number, secret in ((4, sha256(b"x")), (3, sha256(b"x")[:31])):
        with pytest.raises(SignerRefusal, match="out of turn"):
            signer.validate_counterparty_revocation(number, secret)


@RESTART
def test_a_skipped_commitment_of_ours_is_refused(channel: Channel, restart: bool) -> None:
    end = channel.alice
    signer = signers(end, restart=restart)
    newest = end.history[-1]
    skipped = replace(newest, commitment=replace(newest.commitment, number=4))
    with pytest.raises(SignerRefusal, match="not the one after"):
        signer.validate_holder_commitment(end.params, skipped)
    signer.validate_holder_commitment(end.params, newest)
    with pytest.raises(SignerRefusal, match="not the one after"):
        signer.validate_holder_commitment(end.params, end.history[1])
    theirs = replace(newest, commitment=of_bob(channel, 3))
    with pytest.raises(SignerRefusal, match="of the peer's"):
        signer.validate_holder_commitment(end.params, theirs)


# --- derivation --------------------------------------------------------------------


def spoilt(commitment: CommitmentTransaction, channel: Channel) -> list[CommitmentTransaction]:
    """Each with one thing in it that does not follow from the rest."""
    keys, tx = commitment.keys, commitment.tx
    strange = pubkey_from_secret(sha256(b"strange"))
    pays_elsewhere = (TxOut(tx.outputs[0].value_sat, ELSEWHERE), *tx.outputs[1:])
    return [
        replace(commitment, keys=replace(keys, revocation_key=strange)),
        replace(commitment, keys=replace(keys, broadcaster_delayed_payment_key=strange)),
        replace(commitment, keys=replace(keys, broadcaster_htlc_key=strange)),
        replace(commitment, keys=replace(keys, countersignatory_htlc_key=strange)),
        replace(commitment, tx=replace(tx, outputs=pays_elsewhere)),
        replace(commitment, tx=replace(tx, lock_time=tx.lock_time ^ 1)),
        replace(commitment, to_broadcaster_sat=commitment.to_broadcaster_sat - 1),
        replace(commitment, contest_delay_blocks=commitment.contest_delay_blocks + 1),
        replace(commitment, per_commitment_point=strange),
        replace(commitment, per_commitment_point=bytes(33)),
        replace(commitment, anchors=not commitment.anchors),
    ]


@TYPES
def test_a_commitment_of_the_peers_with_a_wrong_derivation_is_not_signed(
    channel_type: ChannelTypeFeatures,
) -> None:
    channel = opened(channel_type)
    alice = channel.alice
    good = of_bob(channel, 3)
    for bad in spoilt(good, channel):
        with pytest.raises(SignerRefusal):
            alice.signer.sign_counterparty_commitment(alice.params, bad)
    other_keys = replace(alice.params, holder_pubkeys=channel.bob.params.holder_pubkeys)
    with pytest.raises(SignerRefusal, match="another signer"):
        alice.signer.sign_counterparty_commitment(other_keys, good)
    assert alice.signer.state.counterparty_number == 2
    alice.signer.sign_counterparty_commitment(alice.params, good)


@TYPES
def test_a_commitment_of_ours_with_a_wrong_derivation_replaces_nothing_and_is_not_signed(
    channel_type: ChannelTypeFeatures,
) -> None:
    channel = opened(channel_type)
    end = channel.alice
    good = next_of_alice(channel)
    for bad in spoilt(good.commitment, channel):
        with pytest.raises(SignerRefusal):
            end.signer.validate_holder_commitment(end.params, replace(good, commitment=bad))
    assert end.signer.state.holder_number == 2
    end.signer.validate_holder_commitment(end.params, good)
    for bad in spoilt(good.commitment, channel):
        with pytest.raises(SignerRefusal):
            end.signer.sign_holder_commitment(end.params, replace(good, commitment=bad))
    assert end.signer.state.holder_broadcast_number is None
    assert end.signer.sign_holder_commitment(end.params, good)


@RESTART
def test_the_same_number_is_not_signed_with_another_point(channel: Channel, restart: bool) -> None:
    alice = channel.alice
    signer = signers(alice, restart=restart)
    good = of_bob(channel, 2)
    other = build_commitment_transaction(
        alice.params,
        holder_is_broadcaster=False,
        number=2,
        per_commitment_point=pubkey_from_secret(sha256(b"another")),
        to_broadcaster_sat=good.to_broadcaster_sat,
        to_countersignatory_sat=good.to_countersignatory_sat,
        htlcs=(),
        feerate_sat_per_kw=good.feerate_sat_per_kw,
    )
    with pytest.raises(SignerRefusal, match="another point"):
        signer.sign_counterparty_commitment(alice.params, other)
    signer.sign_counterparty_commitment(alice.params, good)


def test_a_commitment_of_ours_with_a_point_of_somebody_else_is_refused(channel: Channel) -> None:
    """All in it follows from the point: but nobody here has that one's secret."""
    end = channel.alice
    good = next_of_alice(channel)
    other = build_commitment_transaction(
        end.params,
        holder_is_broadcaster=True,
        number=3,
        per_commitment_point=pubkey_from_secret(sha256(b"another")),
        to_broadcaster_sat=good.commitment.to_broadcaster_sat,
        to_countersignatory_sat=good.commitment.to_countersignatory_sat,
        htlcs=(),
        feerate_sat_per_kw=good.commitment.feerate_sat_per_kw,
    )
    with pytest.raises(SignerRefusal, match="a point that is not ours"):
        end.signer.validate_holder_commitment(end.params, replace(good, commitment=other))


# --- closing -----------------------------------------------------------------------


def closing(end: End, ours_sat: int, theirs_sat: int, script: bytes = HOME) -> ClosingTransaction:
    return build_closing_transaction(
        end.params,
        to_holder_sat=ours_sat,
        to_counterparty_sat=theirs_sat,
        to_holder_script=script,
        to_counterparty_script=THEIRS,
    )


@TYPES
@RESTART
def test_a_closing_that_pays_the_funder_less_than_agreed_is_not_signed(
    channel_type: ChannelTypeFeatures, restart: bool
) -> None:
    channel = opened(channel_type)
    end = channel.alice
    signer = signers(end, restart=restart)
    signer.agree_to_close(HOME)
    ours_sat, theirs_sat = channel.alice_msat // 1000, channel.bob_msat // 1000
    assert signer.sign_closing_transaction(end.params, closing(end, ours_sat - 1_000, theirs_sat), 1_000)
    with pytest.raises(SignerRefusal, match=f"{ours_sat - 1_000} sat are ours"):
        signer.sign_closing_transaction(end.params, closing(end, ours_sat - 1_001, theirs_sat), 1_000)
    with pytest.raises(SignerRefusal, match="are ours at least"):
        signer.sign_closing_transaction(end.params, closing(end, 0, theirs_sat), 1_000)


@TYPES
@RESTART
def test_who_did_not_fund_the_channel_pays_nothing_for_its_closing(
    channel_type: ChannelTypeFeatures, restart: bool
) -> None:
    channel = opened(channel_type)
    end = channel.bob
    signer = signers(end, restart=restart)
    signer.agree_to_close(HOME)
    ours_sat, theirs_sat = channel.bob_msat // 1000, channel.alice_msat // 1000
    assert signer.sign_closing_transaction(end.params, closing(end, ours_sat, theirs_sat - 900), 900)
    with pytest.raises(SignerRefusal, match=f"{ours_sat} sat are ours"):
        signer.sign_closing_transaction(end.params, closing(end, ours_sat - 1, theirs_sat - 900), 900)


def test_a_closing_to_elsewhere_is_not_signed(channel: Channel) -> None:
    end = channel.bob
    ours_sat, theirs_sat = channel.bob_msat // 1000, channel.alice_msat // 1000 - 900
    with pytest.raises(SignerRefusal, match="not agreed to"):
        end.signer.sign_closing_transaction(end.params, closing(end, ours_sat, theirs_sat), 900)
    end.signer.agree_to_close(HOME)
    with pytest.raises(SignerRefusal, match="not agreed to"):
        end.signer.sign_closing_transaction(end.params, closing(end, ours_sat, theirs_sat, ELSEWHERE), 900)
    with pytest.raises(SignerRefusal, match="paid elsewhere"):
        end.signer.agree_to_close(ELSEWHERE)
    end.signer.agree_to_close(HOME)
    strange = replace(end.params, holder_pubkeys=channel.alice.params.holder_pubkeys)
    with pytest.raises(SignerRefusal, match="another signer"):
        end.signer.sign_closing_transaction(strange, closing(end, ours_sat, theirs_sat), 900)
    # Whatever it says of itself, the transaction is what is signed.
    honest = closing(end, ours_sat, theirs_sat)
    lying = replace(honest, tx=closing(end, 1, ours_sat + theirs_sat - 1).tx)
    with pytest.raises(SignerRefusal, match="not what it is said to be"):
        end.signer.sign_closing_transaction(end.params, lying, 900)
    assert end.signer.sign_closing_transaction(end.params, honest, 900)


@RESTART
def test_nothing_is_closed_while_an_htlc_is_pending(channel: Channel, restart: bool) -> None:
    channel.commit(add=[htlc(True, 50_000, 500, 1)])
    end = channel.bob
    signer = signers(end, restart=restart)
    signer.agree_to_close(HOME)
    ours_sat, theirs_sat = channel.bob_msat // 1000, channel.alice_msat // 1000 - 900
    with pytest.raises(SignerRefusal, match="still pending"):
        signer.sign_closing_transaction(end.params, closing(end, ours_sat, theirs_sat), 900)


def test_nothing_is_closed_while_a_revocation_is_due(channel: Channel) -> None:
    end = channel.alice
    end.signer.agree_to_close(HOME)
    end.signer.sign_counterparty_commitment(end.params, of_bob(channel, 3))
    ours_sat, theirs_sat = channel.alice_msat // 1000 - 900, channel.bob_msat // 1000
    with pytest.raises(SignerRefusal, match="still pending"):
        end.signer.sign_closing_transaction(end.params, closing(end, ours_sat, theirs_sat), 900)


def test_a_signer_that_knows_nothing_closes_nothing(channel: Channel) -> None:
    end = channel.bob
    signer = InMemorySigner(end.signer.channel_keys_id, end.signer._secrets)
    signer.agree_to_close(HOME)
    with pytest.raises(SignerRefusal, match="Nothing is known"):
        signer.sign_closing_transaction(end.params, closing(end, channel.bob_msat // 1000, 1_000), 900)


# --- memory ------------------------------------------------------------------------


def test_restoring_never_forgets(channel: Channel) -> None:
    signer = channel.alice.signer
    signer.agree_to_close(HOME)
    before = signer.state
    signer.restore(SignerState())
    signer.restore(SignerState(holder_number=1, holder_balance_sat=7, closing_script=ELSEWHERE))
    assert signer.state == before
    newer = SignerState(
        holder_number=9,
        holder_secrets_released=8,
        counterparty_revoked=7,
        counterparty_points=((7, b"\x02" * 33),),
        holder_balance_sat=77,
        holder_htlcs=1,
    )
    signer.restore(newer)
    assert signer.state == replace(
        newer, counterparty_number=before.counterparty_number, closing_script=before.closing_script
    )


@pytest.mark.parametrize("channel_first", [False, True])
def test_what_channel_and_monitor_know_adds_up_in_any_order(channel: Channel, channel_first: bool) -> None:
    """The channel's rows do not tell what its commitment holds; without that, nothing is closed."""
    end = channel.alice
    of_monitor = channel.monitor(end.side).signer_state()
    of_channel = replace(of_monitor, holder_balance_sat=None, holder_htlcs=0, closing_script=HOME)
    signer = InMemorySigner(end.signer.channel_keys_id, end.signer._secrets)
    ours_sat, theirs_sat = channel.alice_msat // 1000 - 900, channel.bob_msat // 1000
    signer.restore(of_channel)
    with pytest.raises(SignerRefusal, match="Nothing is known"):
        signer.sign_closing_transaction(end.params, closing(end, ours_sat, theirs_sat), 900)
    if channel_first:
        signer.restore(of_monitor)
    else:
        signer = InMemorySigner(end.signer.channel_keys_id, end.signer._secrets)
        signer.restore(of_monitor)
        signer.restore(of_channel)
    assert signer.state == replace(of_monitor, closing_script=HOME)
    with pytest.raises(SignerRefusal, match="are ours at least"):
        signer.sign_closing_transaction(end.params, closing(end, ours_sat - 1, theirs_sat), 900)
    assert signer.sign_closing_transaction(end.params, closing(end, ours_sat, theirs_sat), 900)


@TYPES
def test_a_restart_remembers_all_that_was_known(channel_type: ChannelTypeFeatures) -> None:
    channel = opened(channel_type)
    for end in (channel.alice, channel.bob):
        before = end.signer.state
        assert before.counterparty_points
        assert before.holder_balance_sat
        assert restarted(end).state == before
