"""The seed alone gives every key; what closed channels left is spent with them."""

from __future__ import annotations

import pytest

from tests.consensus import check_transaction
from tests.unit.ln.monitor_world import Chain, Side
from wallet.bitcoin.address import MAINNET, REGTEST
from wallet.bitcoin.curve import ecdh, pubkey_from_secret, recover_pubkey, verify_ecdsa
from wallet.bitcoin.errors import APIError
from wallet.bitcoin.hashes import sha256
from wallet.bitcoin.script import p2wpkh, p2wsh
from wallet.bitcoin.tx import OutPoint, Txid, TxOut
from wallet.ln.chan_utils import (
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
from wallet.ln.keysinterface import TO_REMOTE_KEYS, KeysManager
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
