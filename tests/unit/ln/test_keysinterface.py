"""The signers refuse what could lose money; the seed alone gives every key."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.consensus import check_transaction
from tests.unit.ln.monitor_world import Chain, Channel, Side, make
from wallet.bitcoin.address import MAINNET, REGTEST
from wallet.bitcoin.curve import ecdh, pubkey_from_secret, recover_pubkey, verify_ecdsa
from wallet.bitcoin.errors import APIError
from wallet.bitcoin.hashes import sha256
from wallet.bitcoin.script import p2wpkh, p2wsh
from wallet.bitcoin.tx import OutPoint, Txid, TxOut
from wallet.ln.chan_utils import (
    CommitmentTransaction,
    derive_public_key,
    derive_public_revocation_key,
    revokeable_script,
    to_remote_script_pubkey,
)
from wallet.ln.events import (
    DelayedPaymentOutput,
    SpendableOutputDescriptor,
    StaticOutput,
    StaticPaymentOutput,
)
from wallet.ln.features import STATIC_REMOTE_KEY
from wallet.ln.keysinterface import TO_REMOTE_KEYS, KeysManager
from wallet.ln.sign import SignerRefusal, SignerState
from wallet.ln.types import ChannelId


def keys(seed: bytes = b"seed") -> KeysManager:
    counter = iter(range(1000))
    return KeysManager(sha256(seed), REGTEST, lambda: sha256(seed + bytes([next(counter)])))


def test_the_seed_gives_every_key() -> None:
    one, two, other = keys(), keys(), keys(b"another")
    assert one.get_node_id() == two.get_node_id() != other.get_node_id()
    assert one.get_inbound_payment_key() == two.get_inbound_payment_key() != other.get_inbound_payment_key()
    keys_id = one.generate_channel_keys_id(False, 1, 1)
    assert keys_id == two.generate_channel_keys_id(False, 1, 1)
    assert keys_id != one.generate_channel_keys_id(False, 1, 1)
    assert one.derive_channel_signer(keys_id).pubkeys() == two.derive_channel_signer(keys_id).pubkeys()
    assert one.derive_channel_signer(keys_id) is one.derive_channel_signer(keys_id)
    assert one.derive_channel_signer(keys_id).pubkeys() != other.derive_channel_signer(keys_id).pubkeys()
    assert KeysManager(sha256(b"seed"), MAINNET, lambda: bytes(32)).get_node_id() != one.get_node_id()
    with pytest.raises(APIError):
        KeysManager(b"short", REGTEST, lambda: bytes(32))


def test_to_remote_is_found_by_the_seed_alone() -> None:
    manager = keys()
    scripts = manager.possible_to_remote_scripts()
    assert len(set(scripts)) == 2 * TO_REMOTE_KEYS
    for number in range(20):
        signer = manager.derive_channel_signer(sha256(bytes([number])))
        for anchors in (False, True):
            script = to_remote_script_pubkey(signer.pubkeys().payment_point, anchors)
            assert script in scripts
            assert manager.to_remote_index(script) is not None
    assert manager.to_remote_index(p2wpkh(manager.get_node_id())) is None


def test_the_node_key() -> None:
    manager = keys()
    digest = sha256(b"invoice")
    signature = manager.sign_invoice(digest)
    assert recover_pubkey(signature[:64], signature[64], digest) == manager.get_node_id()
    assert verify_ecdsa(manager.sign_gossip_message(digest), digest, manager.get_node_id())
    secret = sha256(b"peer")
    assert manager.ecdh(pubkey_from_secret(secret)) == ecdh(secret, manager.get_node_id())


def test_scripts_come_from_whoever_owns_the_coins() -> None:
    home, close = p2wpkh(b"\x02" + bytes(32)), p2wpkh(b"\x03" + bytes(32))
    manager = KeysManager(bytes(32), REGTEST, lambda: bytes(32), lambda: home, lambda: close)
    assert manager.get_destination_script(bytes(32)) == home
    assert manager.get_shutdown_scriptpubkey() == close
    output = StaticOutput(
        outpoint=OutPoint(Txid(bytes(32)), 0), output=TxOut(1000, home), channel_id=ChannelId(bytes(32))
    )
    assert not manager.can_spend(output)
    with pytest.raises(APIError):
        manager.spend_spendable_outputs([output], [], home, 253, 0)


# --- refusals -----------------------------------------------------------------


@pytest.fixture
def channel() -> Channel:
    _, _, _, channel = make(STATIC_REMOTE_KEY)
    channel.commit()
    channel.commit()
    return channel


def test_our_newest_commitment_is_not_revoked(channel: Channel) -> None:
    signer = channel.alice.signer
    with pytest.raises(SignerRefusal):
        signer.release_commitment_secret(2)
    # What was revoked can be shown again: the peer asks for it after a reconnection.
    assert pubkey_from_secret(signer.release_commitment_secret(1)) == signer.get_per_commitment_point(1)


def test_a_revoked_commitment_is_not_signed(channel: Channel) -> None:
    end = channel.alice
    with pytest.raises(SignerRefusal):
        end.signer.sign_holder_commitment(end.params, end.history[1])
    tx = channel.commitment_of(end.side, 1)
    with pytest.raises(SignerRefusal):
        end.signer.sign_holder_htlc_transaction(tx, 0, 1, 1, b"\x51")
    end.side.restart()
    signer = end.side.keys.derive_channel_signer(end.signer.channel_keys_id)
    with pytest.raises(SignerRefusal):
        signer.sign_holder_commitment(end.params, end.history[1])
    assert signer.sign_holder_commitment(end.params, end.history[2])


def test_a_broadcast_commitment_is_not_revoked(channel: Channel) -> None:
    end = channel.alice
    assert end.signer.sign_holder_commitment(end.params, end.history[2])
    channel.number += 1
    channel._steps(channel.alice, channel.bob)
    with pytest.raises(SignerRefusal):
        end.signer.release_commitment_secret(2)
    assert end.signer.release_commitment_secret(1)


def test_the_peers_commitments_are_signed_in_turn(channel: Channel) -> None:
    bob, alice = channel.bob, channel.alice

    def sign(number: int) -> None:
        built = replace(_bobs(channel), number=number)
        alice.signer.sign_counterparty_commitment(alice.params, built)

    sign(2)
    for number in (1, 4):
        with pytest.raises(SignerRefusal):
            sign(number)
    sign(3)
    # Two that are not revoked are the most there can be.
    with pytest.raises(SignerRefusal):
        sign(4)
    secret = bob.signer.release_commitment_secret(1)
    with pytest.raises(SignerRefusal):
        alice.signer.validate_counterparty_revocation(3, secret)
    alice.signer.validate_counterparty_revocation(2, secret)
    sign(4)
    with pytest.raises(SignerRefusal):
        sign(2)
    ours = alice.history[-1].commitment
    with pytest.raises(SignerRefusal):
        alice.signer.sign_counterparty_commitment(alice.params, ours)


def _bobs(channel: Channel) -> CommitmentTransaction:
    built, _ = channel._build(channel.alice, channel.bob, channel.bob)
    return built


def test_a_skipped_commitment_of_ours_is_refused(channel: Channel) -> None:
    end = channel.alice
    newest = end.history[-1]
    skipped = replace(newest, commitment=replace(newest.commitment, number=4))
    with pytest.raises(SignerRefusal):
        end.signer.validate_holder_commitment(skipped)
    end.signer.validate_holder_commitment(newest)
    with pytest.raises(SignerRefusal):
        end.signer.validate_holder_commitment(end.history[1])


def test_restoring_never_forgets(channel: Channel) -> None:
    signer = channel.alice.signer
    before = signer.state
    signer.restore(SignerState())
    assert signer.state == before
    signer.restore(SignerState(holder_number=9, holder_secrets_released=8, counterparty_revoked=7))
    assert signer.state == SignerState(
        holder_number=9,
        holder_secrets_released=8,
        counterparty_number=before.counterparty_number,
        counterparty_revoked=7,
    )


# --- spending -----------------------------------------------------------------


def outputs(side: Side, chain: Chain) -> list[SpendableOutputDescriptor]:
    """One of each kind, from nowhere."""
    keys_id = sha256(b"channel")
    signer = side.keys.derive_channel_signer(keys_id)
    point = signer.get_per_commitment_point(7)
    revocation = derive_public_revocation_key(point, pubkey_from_secret(sha256(b"peer")))
    delayed = derive_public_key(point, signer.pubkeys().delayed_payment_basepoint)
    channel_id = ChannelId(bytes(32))

    def place(number: int, script_pubkey: bytes) -> tuple[OutPoint, TxOut]:
        outpoint, output = OutPoint(Txid(sha256(bytes([number]))), number), TxOut(50_000, script_pubkey)
        chain.give(outpoint, output)
        return outpoint, output

    found: list[SpendableOutputDescriptor] = []
    outpoint, output = place(0, p2wsh(revokeable_script(revocation, 20, delayed)))
    found.append(
        DelayedPaymentOutput(
            outpoint=outpoint,
            output=output,
            channel_id=channel_id,
            channel_keys_id=keys_id,
            per_commitment_point=point,
            revocation_pubkey=revocation,
            to_self_delay_blocks=20,
        )
    )
    for number, anchors in ((1, False), (2, True)):
        outpoint, output = place(number, to_remote_script_pubkey(signer.pubkeys().payment_point, anchors))
        found.append(
            StaticPaymentOutput(
                outpoint=outpoint,
                output=output,
                channel_id=channel_id,
                channel_keys_id=keys_id,
                anchors=anchors,
            )
        )
    outpoint, output = place(3, side.keys.get_destination_script(keys_id))
    found.append(StaticOutput(outpoint=outpoint, output=output, channel_id=channel_id))
    return found


@pytest.mark.parametrize("feerate_sat_per_kw", [253, 1_000, 20_000])
def test_one_transaction_spends_every_kind(feerate_sat_per_kw: int) -> None:
    side = Side("Alice")
    chain = Chain(side)
    items = outputs(side, chain)
    chain.mine_empty(20)
    change = p2wpkh(b"\x02" + bytes(32))
    paid = TxOut(30_000, p2wpkh(b"\x03" + bytes(32)))
    tx = side.keys.spend_spendable_outputs(items, [paid], change, feerate_sat_per_kw, chain.height)
    check_transaction(tx, [item.output for item in items])
    fee_sat = 200_000 - tx.total_output_sat
    assert fee_sat * 1000 >= feerate_sat_per_kw * tx.weight
    # Signatures are a few bytes shorter than the most they can be.
    assert fee_sat * 1000 <= feerate_sat_per_kw * (tx.weight + 16) + 1000
    assert tx.outputs[0] == paid
    chain.mine(tx)


def test_what_cannot_be_paid_for() -> None:
    side = Side("Alice")
    items = outputs(side, Chain(side))
    change = p2wpkh(b"\x02" + bytes(32))
    with pytest.raises(APIError):
        side.keys.spend_spendable_outputs(items, [], change, 200_000, 0)
    with pytest.raises(APIError):
        side.keys.spend_spendable_outputs([items[0], items[0]], [], change, 253, 0)
    with pytest.raises(APIError):
        side.keys.spend_spendable_outputs([], [], change, 253, 0)
    with pytest.raises(APIError):
        side.keys.spend_spendable_outputs(items, [TxOut(200_000, change)], change, 253, 0)


def test_secrets_are_not_shown() -> None:
    manager = keys()
    signer = manager.derive_channel_signer(sha256(b"channel"))
    assert signer._secrets.funding_key.hex() not in repr(signer) + repr(signer._secrets)
