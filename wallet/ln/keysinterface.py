"""All key material of the core: `KeysManager`, and `InMemorySigner`, the signer of one channel.

Theory of operation. Everything derives from one 32-byte seed by HKDF with a label of its own, so that the
seed and a channel's 32-byte keys id give every key of that channel. One key is different: the to_remote key
is one of `TO_REMOTE_KEYS`, chosen by the keys id, so that the seed alone finds what a peer's commitment pays
to us.

A signer refuses what could lose money (`SignerRefusal`); what it has to remember for that is a `SignerState`,
which the channel and its monitor share, because `KeysManager` keeps one signer for each keys id, and which
they restore after a restart. Secrets are in no `repr`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, assert_never

from wallet.bitcoin.address import Network
from wallet.bitcoin.amounts import fee_sat_ceil
from wallet.bitcoin.curve import (
    ecdh,
    is_valid_secret,
    pubkey_from_secret,
    sign_ecdsa,
    sign_ecdsa_many,
    sign_recoverable,
)
from wallet.bitcoin.errors import APIError, DecodeError
from wallet.bitcoin.frozen import replace
from wallet.bitcoin.hashes import hkdf_sha256
from wallet.bitcoin.script import dust_limit_sat, p2wpkh, p2wpkh_script_code
from wallet.bitcoin.tx import SEQUENCE_RBF, OutPoint, Transaction, TxIn, TxOut, sighash_segwit_v0
from wallet.ln.chan_utils import (
    ANCHOR_OUTPUT_SAT,
    ChannelPublicKeys,
    ChannelTransactionParameters,
    ClosingTransaction,
    CommitmentSecrets,
    CommitmentTransaction,
    HolderCommitmentTransaction,
    HTLCOutputInCommitment,
    anchor_script,
    build_closing_transaction,
    build_commitment_transaction,
    commitment_sighash,
    derive_private_key,
    derive_private_revocation_key,
    derive_public_key,
    derive_tx_keys,
    holder_balance_sat,
    htlc_script,
    htlc_sighashes,
    point_of_revealed_secret,
    revokeable_script,
    static_payment_script_code,
    to_remote_script_pubkey,
    to_remote_witness_script,
    witness_signature,
)
from wallet.ln.config import MAX_DUST_LIMIT_SAT
from wallet.ln.events import (
    DelayedPaymentOutput,
    SpendableOutputDescriptor,
    StaticOutput,
    StaticPaymentOutput,
)
from wallet.ln.sign import ChannelSigner, KeysInterface, SignerRefusal, SignerState
from wallet.ln.types import NodeId

__all__ = [
    "DELAYED_INPUT_WEIGHT",
    "TO_REMOTE_KEYS",
    "ChannelSigner",
    "InMemorySigner",
    "KeysInterface",
    "KeysManager",
    "spendable_input_weight",
]

TO_REMOTE_KEYS: Final = 1_000
"""How many to_remote keys a seed has. Few enough to look each of them up; several channels may share one."""

_KEPT_POINTS: Final = 8

_SALT: Final = b"Leyden keys 1"


def _derive(seed: bytes, label: bytes) -> bytes:
    """A secret of its own for each label. One try in 2^128 is no valid secret; then the next is taken."""
    for attempt in range(256):
        secret = hkdf_sha256(_SALT, seed, label + bytes((attempt,)), 32)
        if is_valid_secret(secret):
            return secret
    raise APIError("No key can be derived from this seed.")


# --- one channel --------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ChannelSecrets:
    """The secret halves of `ChannelPublicKeys`, and the seed of the per-commitment secrets."""

    funding_key: bytes
    revocation_base_key: bytes
    payment_key: bytes
    delayed_payment_base_key: bytes
    htlc_base_key: bytes
    commitment_seed: bytes


class InMemorySigner:
    """The keys of one channel in this process. Implements `ChannelSigner`.

    Attributes:
        state: what it has signed and revealed; replaced as a whole by each call that advances it.
    """

    __slots__ = ("_channel_keys_id", "_commitment_secrets", "_points", "_pubkeys", "_secrets", "_state")

    def __init__(self, channel_keys_id: bytes, secrets: ChannelSecrets) -> None:
        self._channel_keys_id = channel_keys_id
        self._secrets = secrets
        self._pubkeys = ChannelPublicKeys(
            funding_pubkey=pubkey_from_secret(secrets.funding_key),
            revocation_basepoint=pubkey_from_secret(secrets.revocation_base_key),
            payment_point=pubkey_from_secret(secrets.payment_key),
            delayed_payment_basepoint=pubkey_from_secret(secrets.delayed_payment_base_key),
            htlc_basepoint=pubkey_from_secret(secrets.htlc_base_key),
        )
        self._state = SignerState()
        self._points: dict[int, bytes] = {}
        self._commitment_secrets = CommitmentSecrets(secrets.commitment_seed)

    @property
    def channel_keys_id(self) -> bytes:
        return self._channel_keys_id

    @property
    def state(self) -> SignerState:
        return self._state

    def restore(self, state: SignerState) -> None:
        now = self._state

        def later(a: int | None, b: int | None) -> int | None:
            return b if a is None else a if b is None else max(a, b)

        known = -1 if now.holder_number is None else now.holder_number
        told = -1 if state.holder_number is None else state.holder_number
        # Of the same commitment, whoever knows what it holds is right: channel and monitor come in any order.
        newer = state if told > known or (told == known and now.holder_balance_sat is None) else now
        revoked = max(now.counterparty_revoked, state.counterparty_revoked)
        points = {**dict(state.counterparty_points), **dict(now.counterparty_points)}
        self._state = SignerState(
            holder_number=later(now.holder_number, state.holder_number),
            holder_secrets_released=max(now.holder_secrets_released, state.holder_secrets_released),
            holder_broadcast_number=later(now.holder_broadcast_number, state.holder_broadcast_number),
            counterparty_number=later(now.counterparty_number, state.counterparty_number),
            counterparty_revoked=revoked,
            counterparty_points=tuple(sorted(item for item in points.items() if item[0] >= revoked)),
            holder_balance_sat=newer.holder_balance_sat,
            holder_htlcs=newer.holder_htlcs,
            closing_script=state.closing_script if now.closing_script is None else now.closing_script,
        )

    def pubkeys(self) -> ChannelPublicKeys:
        return self._pubkeys

    def get_per_commitment_point(self, number: int) -> bytes:
        point = self._points.get(number)
        if point is None:
            point = pubkey_from_secret(self._commitment_secrets.get(number))
            if len(self._points) >= _KEPT_POINTS:
                self._points.clear()
            self._points[number] = point
        return point

    def _check_derivation(
        self, params: ChannelTransactionParameters, commitment: CommitmentTransaction
    ) -> None:
        """Refuses a commitment that is not the one which these parameters, amounts and HTLCs make.

        BOLT 3, key derivation: with other keys in it, outputs of ours could be spent by others, or by nobody.
        """
        if params.holder_pubkeys != self._pubkeys:
            raise SignerRefusal("These are the parameters of another signer's channel.")
        number, of_holder = commitment.number, commitment.holder_is_broadcaster
        if of_holder and commitment.per_commitment_point != self.get_per_commitment_point(number):
            raise SignerRefusal(f"Our commitment {number} has a point that is not ours.")
        try:
            built = build_commitment_transaction(
                params,
                holder_is_broadcaster=of_holder,
                number=number,
                per_commitment_point=commitment.per_commitment_point,
                to_broadcaster_sat=commitment.to_broadcaster_sat,
                to_countersignatory_sat=commitment.to_countersignatory_sat,
                htlcs=commitment.htlcs,
                feerate_sat_per_kw=commitment.feerate_sat_per_kw,
            )
        except DecodeError as error:
            raise SignerRefusal(str(error)) from None
        if built != commitment:
            raise SignerRefusal(f"Commitment {number} is not derived from its own parts.")

    # --- what advances the state ---

    def release_commitment_secret(self, number: int) -> bytes:
        state = self._state
        # BOLT 2, revoke_and_ack: only what a newer commitment has replaced may be revoked.
        if state.holder_number is None or number >= state.holder_number:
            raise SignerRefusal(f"Our commitment {number} is the newest: its secret stays.")
        # BOLT 5: a commitment for which the secret was shown must never be broadcast; nor the other way
        # round.
        if state.holder_broadcast_number is not None and number >= state.holder_broadcast_number:
            raise SignerRefusal(f"Our commitment {number} may be on its way to the chain: its secret stays.")
        released = max(state.holder_secrets_released, number + 1)
        self._state = replace(state, holder_secrets_released=released)
        return self._commitment_secrets.get(number)

    def validate_holder_commitment(
        self, params: ChannelTransactionParameters, holder_tx: HolderCommitmentTransaction
    ) -> None:
        state = self._state
        commitment = holder_tx.commitment
        number = commitment.number
        if not commitment.holder_is_broadcaster:
            raise SignerRefusal("This is a commitment of the peer's, not of ours.")
        expected = 0 if state.holder_number is None else state.holder_number + 1
        if number > expected or number < state.holder_secrets_released:
            raise SignerRefusal(f"Our commitment {number} is not the one after {state.holder_number}.")
        self._check_derivation(params, commitment)
        if number == expected:
            self._state = replace(
                state,
                holder_number=number,
                holder_balance_sat=holder_balance_sat(params, commitment),
                holder_htlcs=len(commitment.htlcs),
            )

    def validate_counterparty_revocation(self, number: int, secret: bytes) -> None:
        state = self._state
        if number > state.counterparty_revoked or len(secret) != 32:
            raise SignerRefusal(f"The peer's commitment {number} was revoked out of turn.")
        if state.counterparty_number is None or number >= state.counterparty_number:
            raise SignerRefusal(f"The peer's commitment {number} is the newest that we signed.")
        point = dict(state.counterparty_points).get(number)
        # BOLT 2, revoke_and_ack: only this secret lets us punish; without it the old commitment is still good.
        if point is not None and (not is_valid_secret(secret) or point_of_revealed_secret(secret) != point):
            raise SignerRefusal(f"This secret does not revoke the peer's commitment {number}.")
        revoked = max(state.counterparty_revoked, number + 1)
        self._state = replace(
            state,
            counterparty_revoked=revoked,
            counterparty_points=tuple(item for item in state.counterparty_points if item[0] >= revoked),
        )

    def sign_counterparty_commitment(
        self, params: ChannelTransactionParameters, commitment_tx: CommitmentTransaction
    ) -> tuple[bytes, tuple[bytes, ...]]:
        state = self._state
        number = commitment_tx.number
        if commitment_tx.holder_is_broadcaster:
            raise SignerRefusal("This is a commitment of ours, not of the peer's.")
        newest = 0 if state.counterparty_number is None else state.counterparty_number
        if number < newest or number > newest + (state.counterparty_number is not None):
            raise SignerRefusal(f"The peer's commitment {number} is not next after {newest}.")
        # BOLT 2: one commitment may wait for its revocation, never two.
        if not state.counterparty_revoked <= number <= state.counterparty_revoked + 1:
            raise SignerRefusal(
                f"The peer's commitment {number} cannot be signed: {state.counterparty_revoked} are revoked."
            )
        self._check_derivation(params, commitment_tx)
        point = commitment_tx.per_commitment_point
        points = dict(state.counterparty_points)
        if points.setdefault(number, point) != point:
            raise SignerRefusal(f"The peer's commitment {number} was signed with another point before.")
        secrets = self._secrets
        digests = [(commitment_sighash(params, commitment_tx.tx), secrets.funding_key)]
        if commitment_tx.htlcs:
            htlc_key = derive_private_key(point, secrets.htlc_base_key)
            digests += [(digest, htlc_key) for digest in htlc_sighashes(commitment_tx)]
        signatures = sign_ecdsa_many(digests)
        self._state = replace(state, counterparty_number=number, counterparty_points=tuple(points.items()))
        return signatures[0], tuple(signatures[1:])

    def sign_holder_commitment(
        self, params: ChannelTransactionParameters, holder_tx: HolderCommitmentTransaction
    ) -> bytes:
        number = holder_tx.commitment.number
        state = self._state
        # BOLT 5, revoked transactions: never one for which the secret was shown; the peer would take
        # everything.
        if number < state.holder_secrets_released:
            raise SignerRefusal(f"Our commitment {number} is revoked: it would lose the channel.")
        if state.holder_number is not None and number > state.holder_number:
            raise SignerRefusal(f"Our commitment {number} was never validated.")
        self._check_derivation(params, holder_tx.commitment)
        if state.holder_broadcast_number is None or number > state.holder_broadcast_number:
            self._state = replace(state, holder_broadcast_number=number)
        return sign_ecdsa(commitment_sighash(params, holder_tx.commitment.tx), self._secrets.funding_key)

    # --- claims ---

    def sign_justice_revoked_output(
        self,
        params: ChannelTransactionParameters,
        tx: Transaction,
        input_index: int,
        value_sat: int,
        per_commitment_secret: bytes,
    ) -> bytes:
        point = pubkey_from_secret(per_commitment_secret)
        keys = derive_tx_keys(point, params.counterparty_pubkeys, params.holder_pubkeys)
        script = revokeable_script(
            keys.revocation_key,
            params.holder_selected_contest_delay_blocks,
            keys.broadcaster_delayed_payment_key,
        )
        key = derive_private_revocation_key(per_commitment_secret, self._secrets.revocation_base_key)
        return sign_ecdsa(sighash_segwit_v0(tx, input_index, script, value_sat), key)

    def sign_justice_revoked_htlc(
        self,
        params: ChannelTransactionParameters,
        tx: Transaction,
        input_index: int,
        value_sat: int,
        per_commitment_secret: bytes,
        htlc: HTLCOutputInCommitment,
    ) -> bytes:
        point = pubkey_from_secret(per_commitment_secret)
        keys = derive_tx_keys(point, params.counterparty_pubkeys, params.holder_pubkeys)
        script = htlc_script(htlc, keys, params.anchors)
        key = derive_private_revocation_key(per_commitment_secret, self._secrets.revocation_base_key)
        return sign_ecdsa(sighash_segwit_v0(tx, input_index, script, value_sat), key)

    def sign_holder_htlc_transaction(
        self, tx: Transaction, input_index: int, value_sat: int, number: int, witness_script: bytes
    ) -> bytes:
        if number < self._state.holder_secrets_released:
            raise SignerRefusal(f"Our commitment {number} is revoked.")
        key = derive_private_key(self.get_per_commitment_point(number), self._secrets.htlc_base_key)
        return sign_ecdsa(sighash_segwit_v0(tx, input_index, witness_script, value_sat), key)

    def sign_counterparty_htlc_transaction(
        self,
        params: ChannelTransactionParameters,
        tx: Transaction,
        input_index: int,
        value_sat: int,
        per_commitment_point: bytes,
        htlc: HTLCOutputInCommitment,
    ) -> bytes:
        keys = derive_tx_keys(per_commitment_point, params.counterparty_pubkeys, params.holder_pubkeys)
        script = htlc_script(htlc, keys, params.anchors)
        key = derive_private_key(per_commitment_point, self._secrets.htlc_base_key)
        return sign_ecdsa(sighash_segwit_v0(tx, input_index, script, value_sat), key)

    def agree_to_close(self, script: bytes) -> None:
        known = self._state.closing_script
        # BOLT 2, shutdown: what was said once cannot be changed.
        if known is not None and known != script:
            raise SignerRefusal("We have agreed to be paid elsewhere when this channel closes.")
        self._state = replace(self._state, closing_script=script)

    def sign_closing_transaction(
        self, params: ChannelTransactionParameters, closing_tx: ClosingTransaction, most_fee_sat: int
    ) -> bytes:
        state = self._state
        if params.holder_pubkeys != self._pubkeys:
            raise SignerRefusal("These are the parameters of another signer's channel.")
        if state.holder_balance_sat is None or state.counterparty_number is None:
            raise SignerRefusal("Nothing is known of this channel: it cannot be closed.")
        # BOLT 2, closing_signed: not before every HTLC is resolved, and every old commitment revoked.
        if state.holder_htlcs or state.counterparty_revoked != state.counterparty_number:
            raise SignerRefusal("Something is still pending in this channel: it cannot be closed.")
        built = build_closing_transaction(
            params,
            to_holder_sat=closing_tx.to_holder_sat,
            to_counterparty_sat=closing_tx.to_counterparty_sat,
            to_holder_script=closing_tx.to_holder_script,
            to_counterparty_script=closing_tx.to_counterparty_script,
            lock_time=closing_tx.tx.lock_time,
            sequence=closing_tx.tx.inputs[0].sequence if closing_tx.tx.inputs else 0,
        )
        if built != closing_tx:
            raise SignerRefusal("A closing transaction is not what it is said to be.")
        if state.closing_script is None or closing_tx.to_holder_script != state.closing_script:
            raise SignerRefusal("A closing transaction pays us where it was not agreed to.")
        due_sat = state.holder_balance_sat
        if params.is_outbound_from_holder:
            due_sat -= most_fee_sat
        # BOLT 3, closing transaction: what is dust to either side has no output.
        is_dust = closing_tx.to_holder_sat == 0 and due_sat < MAX_DUST_LIMIT_SAT
        if closing_tx.to_holder_sat < due_sat and not is_dust:
            raise SignerRefusal(
                f"A closing transaction pays us {closing_tx.to_holder_sat} sat; {due_sat} sat are ours at least."
            )
        return sign_ecdsa(commitment_sighash(params, closing_tx.tx), self._secrets.funding_key)

    def sign_holder_keyed_anchor_input(self, tx: Transaction, input_index: int) -> bytes:
        script = anchor_script(self._pubkeys.funding_pubkey)
        digest = sighash_segwit_v0(tx, input_index, script, ANCHOR_OUTPUT_SAT)
        return sign_ecdsa(digest, self._secrets.funding_key)

    def sign_delayed_payment_input(
        self,
        tx: Transaction,
        input_index: int,
        value_sat: int,
        per_commitment_point: bytes,
        witness_script: bytes,
    ) -> bytes:
        key = derive_private_key(per_commitment_point, self._secrets.delayed_payment_base_key)
        return sign_ecdsa(sighash_segwit_v0(tx, input_index, witness_script, value_sat), key)

    def sign_static_payment_input(
        self, tx: Transaction, input_index: int, value_sat: int, witness_script: bytes
    ) -> bytes:
        digest = sighash_segwit_v0(tx, input_index, witness_script, value_sat)
        return sign_ecdsa(digest, self._secrets.payment_key)

    def sign_channel_announcement(self, digest: bytes) -> bytes:
        return sign_ecdsa(digest, self._secrets.funding_key)


# --- all keys -----------------------------------------------------------------


class KeysManager:
    """Every key of the core, from one seed. Implements `KeysInterface`.

    It takes where claims and closes pay to from whoever owns the on-chain coins; without that, both are one
    P2WPKH script whose key derives from the seed as well.
    """

    def __init__(
        self,
        seed: bytes,
        network: Network,
        entropy: Callable[[], bytes],
        destination_script: Callable[[], bytes] | None = None,
        shutdown_script: Callable[[], bytes] | None = None,
    ) -> None:
        if len(seed) != 32:
            raise APIError(f"The seed of the channel keys has 32 bytes, not {len(seed)}.")
        self.network = network
        self._entropy = entropy
        # Keys of one network are of no use on another.
        self._seed = hkdf_sha256(_SALT, seed, b"network " + network.chain_hash, 32)
        self._node_secret = _derive(self._seed, b"node")
        self._node_id = NodeId(pubkey_from_secret(self._node_secret))
        self._inbound_payment_key = hkdf_sha256(_SALT, self._seed, b"inbound payments", 32)
        self._destination_secret = _derive(self._seed, b"destination")
        own_script = p2wpkh(pubkey_from_secret(self._destination_secret))
        self._own_destination_script = own_script
        self._destination_script = destination_script or (lambda: own_script)
        self._shutdown_script = shutdown_script or (lambda: own_script)
        self._signers: dict[bytes, InMemorySigner] = {}

    # --- EntropySource ---

    def get_secure_random_bytes(self) -> bytes:
        data = self._entropy()
        if len(data) != 32:
            raise APIError(f"The source of randomness gave {len(data)} bytes, not 32.")
        return data

    # --- NodeSigner ---

    def get_node_id(self) -> NodeId:
        return self._node_id

    def ecdh(self, pubkey: bytes) -> bytes:
        return ecdh(self._node_secret, pubkey)

    def get_inbound_payment_key(self) -> bytes:
        return self._inbound_payment_key

    def sign_invoice(self, digest: bytes) -> bytes:
        return sign_recoverable(digest, self._node_secret)

    def sign_gossip_message(self, digest: bytes) -> bytes:
        return sign_ecdsa(digest, self._node_secret)

    # --- SignerProvider ---

    def generate_channel_keys_id(self, inbound: bool, value_sat: int, user_channel_id: int) -> bytes:
        return self.get_secure_random_bytes()

    def derive_channel_signer(self, channel_keys_id: bytes) -> InMemorySigner:
        signer = self._signers.get(channel_keys_id)
        if signer is None:
            signer = InMemorySigner(channel_keys_id, self._channel_secrets(channel_keys_id))
            self._signers[channel_keys_id] = signer
        return signer

    def forget_channel_signer(self, channel_keys_id: bytes) -> None:
        self._signers.pop(channel_keys_id, None)

    def get_destination_script(self, channel_keys_id: bytes) -> bytes:
        return self._destination_script()

    def get_shutdown_scriptpubkey(self) -> bytes:
        return self._shutdown_script()

    def possible_to_remote_scripts(self) -> Sequence[bytes]:
        return tuple(
            script_pubkey
            for index in range(TO_REMOTE_KEYS)
            for script_pubkey, _anchors in self.to_remote_scripts(index)
        )

    def to_remote_scripts(self, index: int) -> tuple[tuple[bytes, bool], tuple[bytes, bool]]:
        """The scripts of one of the `TO_REMOTE_KEYS`, and whether they are those of channels with anchors."""
        payment_point = pubkey_from_secret(self._to_remote_secret(index))
        return (
            (to_remote_script_pubkey(payment_point, False), False),
            (to_remote_script_pubkey(payment_point, True), True),
        )

    def to_remote_index(self, script_pubkey: bytes) -> int | None:
        """Which of the `TO_REMOTE_KEYS` a script found on the chain belongs to."""
        scripts = self.possible_to_remote_scripts()
        return scripts.index(script_pubkey) // 2 if script_pubkey in scripts else None

    def _to_remote_secret(self, index: int) -> bytes:
        return _derive(self._seed, b"to_remote" + index.to_bytes(2, "big"))

    def _channel_secrets(self, channel_keys_id: bytes) -> ChannelSecrets:
        if len(channel_keys_id) != 32:
            raise APIError(f"A channel's keys id has 32 bytes, not {len(channel_keys_id)}.")

        def derive(name: bytes) -> bytes:
            return _derive(self._seed, b"channel" + channel_keys_id + name)

        return ChannelSecrets(
            funding_key=derive(b"funding"),
            revocation_base_key=derive(b"revocation"),
            payment_key=self._to_remote_secret(int.from_bytes(channel_keys_id[:4], "big") % TO_REMOTE_KEYS),
            delayed_payment_base_key=derive(b"delayed payment"),
            htlc_base_key=derive(b"htlc"),
            commitment_seed=derive(b"commitments"),
        )

    # --- spending what channels left ---

    def can_spend(self, descriptor: SpendableOutputDescriptor) -> bool:
        """Whether `spend_spendable_outputs` has the key: not for outputs that the on-chain coins own."""
        return not isinstance(descriptor, StaticOutput) or (
            descriptor.output.script_pubkey == self._own_destination_script
        )

    def spend_spendable_outputs(
        self,
        descriptors: Sequence[SpendableOutputDescriptor],
        outputs: Sequence[TxOut],
        change_script: bytes,
        feerate_sat_per_kw: int,
        lock_time: int,
    ) -> Transaction:
        """One signed transaction that spends all of `descriptors`; what is above `outputs` and the fee is
        change.

        Raises APIError when they cannot pay for it, or when one is given twice or is not ours to spend.
        """
        if not descriptors:
            raise APIError("There is nothing to spend.")
        if len({descriptor.outpoint for descriptor in descriptors}) != len(descriptors):
            raise APIError("An output can be spent only once.")
        inputs = tuple(TxIn(item.outpoint, b"", _spending_sequence(item)) for item in descriptors)
        unsigned = Transaction(2, inputs, tuple(outputs), lock_time)
        # 2: the segwit marker and flag, which an unsigned transaction lacks.
        weight = unsigned.weight + 2 + sum(spendable_witness_weight(item) for item in descriptors)
        input_sat = sum(item.output.value_sat for item in descriptors)
        spent_sat = sum(output.value_sat for output in outputs)
        change_weight = 4 * (9 + len(change_script))
        change_sat = input_sat - spent_sat - fee_sat_ceil(weight + change_weight, feerate_sat_per_kw)
        if change_sat >= dust_limit_sat(change_script):
            unsigned = Transaction(
                2, inputs, (*unsigned.outputs, TxOut(change_sat, change_script)), lock_time
            )
        elif not outputs or input_sat - spent_sat < fee_sat_ceil(weight, feerate_sat_per_kw):
            raise APIError("The outputs do not pay for a transaction that spends them.")
        return self.sign_spendable_outputs(unsigned, descriptors)

    def sign_spendable_outputs(
        self, tx: Transaction, descriptors: Sequence[SpendableOutputDescriptor]
    ) -> Transaction:
        """Signs those inputs of `tx` that spend `descriptors`."""
        by_outpoint: dict[OutPoint, SpendableOutputDescriptor] = {item.outpoint: item for item in descriptors}
        for index, txin in enumerate(tx.inputs):
            descriptor = by_outpoint.get(txin.prevout)
            if descriptor is not None:
                tx = tx.with_witness(index, self._spendable_witness(tx, index, descriptor))
        return tx

    def _spendable_witness(
        self, tx: Transaction, index: int, descriptor: SpendableOutputDescriptor
    ) -> tuple[bytes, ...]:
        value_sat = descriptor.output.value_sat
        match descriptor:
            case DelayedPaymentOutput():
                signer = self.derive_channel_signer(descriptor.channel_keys_id)
                script = _delayed_script(descriptor, signer.pubkeys())
                signature = signer.sign_delayed_payment_input(
                    tx, index, value_sat, descriptor.per_commitment_point, script
                )
                return (witness_signature(signature), b"", script)
            case StaticPaymentOutput():
                signer = self.derive_channel_signer(descriptor.channel_keys_id)
                payment_point = signer.pubkeys().payment_point
                code = static_payment_script_code(payment_point, descriptor.anchors)
                signature = signer.sign_static_payment_input(tx, index, value_sat, code)
                if descriptor.anchors:
                    return (witness_signature(signature), to_remote_witness_script(payment_point))
                return (witness_signature(signature), payment_point)
            case StaticOutput():
                if not self.can_spend(descriptor):
                    raise APIError("This output belongs to the on-chain coins.")
                code = p2wpkh_script_code(descriptor.output.script_pubkey)
                digest = sighash_segwit_v0(tx, index, code, value_sat)
                signature = sign_ecdsa(digest, self._destination_secret)
                return (witness_signature(signature), pubkey_from_secret(self._destination_secret))
            case _:
                assert_never(descriptor)


def _delayed_script(descriptor: DelayedPaymentOutput, pubkeys: ChannelPublicKeys) -> bytes:
    delayed_key = derive_public_key(descriptor.per_commitment_point, pubkeys.delayed_payment_basepoint)
    return revokeable_script(descriptor.revocation_pubkey, descriptor.to_self_delay_blocks, delayed_key)


def _spending_sequence(descriptor: SpendableOutputDescriptor) -> int:
    match descriptor:
        case DelayedPaymentOutput():
            return descriptor.to_self_delay_blocks
        case StaticPaymentOutput():
            # BOLT 3, to_remote: one block later with anchors.
            return 1 if descriptor.anchors else SEQUENCE_RBF
        case StaticOutput():
            return SEQUENCE_RBF
        case _:
            assert_never(descriptor)


# A count, a signature of 73 bytes, and what follows it, each behind a length byte.
_P2WPKH_WITNESS_WEIGHT: Final = 1 + 74 + 34
_TO_REMOTE_ANCHORS_WITNESS_WEIGHT: Final = 1 + 74 + 1 + 37
_DELAYED_WITNESS_WEIGHT: Final = 1 + 74 + 1 + 1 + 80
"""The script has 80 bytes at most: a delay takes 3 with its length."""

INPUT_BASE_WEIGHT: Final = 164
"""Outpoint 36, script length 1, sequence 4, times 4."""
DELAYED_INPUT_WEIGHT: Final = INPUT_BASE_WEIGHT + _DELAYED_WITNESS_WEIGHT
"""Of our own output of our own commitment, at most."""


def spendable_witness_weight(descriptor: SpendableOutputDescriptor) -> int:
    match descriptor:
        case DelayedPaymentOutput():
            return _DELAYED_WITNESS_WEIGHT
        case StaticPaymentOutput():
            return _TO_REMOTE_ANCHORS_WITNESS_WEIGHT if descriptor.anchors else _P2WPKH_WITNESS_WEIGHT
        case StaticOutput():
            return _P2WPKH_WITNESS_WEIGHT
        case _:
            assert_never(descriptor)


def spendable_input_weight(descriptor: SpendableOutputDescriptor) -> int:
    """What spending an output adds to a transaction, at most."""
    return INPUT_BASE_WEIGHT + spendable_witness_weight(descriptor)
