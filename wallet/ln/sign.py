"""The seams for key material: who signs, who derives, who gives randomness.

All signatures are 64 bytes, compact and low-S; DER exists inside witnesses only. Commitment numbers count up
from 0. A signer refuses, with `SignerRefusal`, what would be unsafe: a revoked commitment of ours, a skipped
or revoked one of the peer's, the secret of a commitment that nothing has replaced yet, a commitment whose keys are
not derived as BOLT 3 has it, a closing that pays us less than what was agreed. It judges by what it remembers
(`SignerState`) and by what it builds itself, never by what the caller says about itself: so the same rules hold for
a signer that lives elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from wallet.bitcoin.errors import InvariantError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wallet.bitcoin.tx import Transaction
    from wallet.ln.chan_utils import (
        ChannelPublicKeys,
        ChannelTransactionParameters,
        ClosingTransaction,
        CommitmentTransaction,
        HolderCommitmentTransaction,
        HTLCOutputInCommitment,
    )
    from wallet.ln.types import NodeId

__all__ = [
    "ChannelSigner",
    "EntropySource",
    "KeysInterface",
    "NodeSigner",
    "SignerProvider",
    "SignerRefusal",
    "SignerState",
]


class SignerRefusal(InvariantError):
    """A signer was asked for something that could lose money. It is a defect of ours; nothing was signed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignerState:
    """What a signer has to remember to be able to refuse; rebuilt from the channel's rows after a restart.

    Attributes:
        holder_number: the newest commitment of ours that was validated; None before the first.
        holder_secrets_released: how many of our secrets left: those of the commitments below this number.
        holder_broadcast_number: the commitment of ours that was signed for broadcast: it is never revoked
            after.
        counterparty_number: the newest commitment of the peer's that was signed; None before the first.
        counterparty_revoked: how many of the peer's commitments are revoked: those below this number.
        counterparty_points: (number, per-commitment point) of the peer's commitments that are signed and not revoked.
        holder_balance_sat: what our newest commitment holds for us, the fee that we pay as the funder included; None:
            not known, and then nothing is closed.
        holder_htlcs: how many HTLC outputs it has.
        closing_script: where a co-operative close pays us: what our `shutdown` said.
    """

    holder_number: int | None = None
    holder_secrets_released: int = 0
    holder_broadcast_number: int | None = None
    counterparty_number: int | None = None
    counterparty_revoked: int = 0
    counterparty_points: tuple[tuple[int, bytes], ...] = ()
    holder_balance_sat: int | None = None
    holder_htlcs: int = 0
    closing_script: bytes | None = None


class EntropySource(Protocol):
    def get_secure_random_bytes(self) -> bytes:
        """32 fresh bytes, never the same twice."""
        ...


class NodeSigner(Protocol):
    def get_node_id(self) -> NodeId: ...

    def ecdh(self, pubkey: bytes) -> bytes:
        """SHA256 of the compressed shared point of the node's key and `pubkey`. BOLT 4, BOLT 8."""
        ...

    def get_inbound_payment_key(self) -> bytes:
        """32 bytes that make and check payment secrets; the same after each restart."""
        ...

    def sign_invoice(self, digest: bytes) -> bytes:
        """65 bytes: a recoverable signature by the node's key. BOLT 11."""
        ...

    def sign_gossip_message(self, digest: bytes) -> bytes:
        """Signs the double SHA256 of a gossip message with the node's key. BOLT 7."""
        ...


class ChannelSigner(Protocol):
    """The keys of one channel. One object per channel: channel and monitor share what it remembers."""

    @property
    def channel_keys_id(self) -> bytes: ...

    @property
    def state(self) -> SignerState: ...

    def restore(self, state: SignerState) -> None:
        """After a restart, before anything is signed: never lowers what the signer knows already."""
        ...

    def pubkeys(self) -> ChannelPublicKeys: ...

    def get_per_commitment_point(self, number: int) -> bytes: ...

    def release_commitment_secret(self, number: int) -> bytes:
        """Revokes our commitment `number`; refused before `number + 1` was validated."""
        ...

    def validate_holder_commitment(
        self, params: ChannelTransactionParameters, holder_tx: HolderCommitmentTransaction
    ) -> None:
        """Our new commitment is complete and its signatures are checked: the one before may be revoked."""
        ...

    def validate_counterparty_revocation(self, number: int, secret: bytes) -> None:
        """The peer revoked its commitment `number`: it will never be signed again. Refused for another's secret."""
        ...

    def agree_to_close(self, script: bytes) -> None:
        """Our `shutdown` leaves: a co-operative close pays us there, and nowhere else. Refused for a second one."""
        ...

    def sign_counterparty_commitment(
        self, params: ChannelTransactionParameters, commitment_tx: CommitmentTransaction
    ) -> tuple[bytes, tuple[bytes, ...]]:
        """The commitment's signature, and one for each of its HTLC outputs in output order."""
        ...

    def sign_holder_commitment(
        self, params: ChannelTransactionParameters, holder_tx: HolderCommitmentTransaction
    ) -> bytes:
        """For broadcasting only. Refused once its secret was released."""
        ...

    def sign_justice_revoked_output(
        self,
        params: ChannelTransactionParameters,
        tx: Transaction,
        input_index: int,
        value_sat: int,
        per_commitment_secret: bytes,
    ) -> bytes:
        """Spends the peer's revoked to_local, or the output of its second-stage HTLC transaction."""
        ...

    def sign_justice_revoked_htlc(
        self,
        params: ChannelTransactionParameters,
        tx: Transaction,
        input_index: int,
        value_sat: int,
        per_commitment_secret: bytes,
        htlc: HTLCOutputInCommitment,
    ) -> bytes:
        """Spends an HTLC output of the peer's revoked commitment."""
        ...

    def sign_holder_htlc_transaction(
        self, tx: Transaction, input_index: int, value_sat: int, number: int, witness_script: bytes
    ) -> bytes:
        """Our own half of an HTLC transaction of our commitment `number`, SIGHASH_ALL."""
        ...

    def sign_counterparty_htlc_transaction(
        self,
        params: ChannelTransactionParameters,
        tx: Transaction,
        input_index: int,
        value_sat: int,
        per_commitment_point: bytes,
        htlc: HTLCOutputInCommitment,
    ) -> bytes:
        """Spends an HTLC output of the peer's commitment, by preimage or after its time-out."""
        ...

    def sign_closing_transaction(
        self, params: ChannelTransactionParameters, closing_tx: ClosingTransaction, most_fee_sat: int
    ) -> bytes:
        """`most_fee_sat`: what we have offered to pay at most, should the fee be ours. Refused while anything is
        pending, and for one that would pay us less than our balance without that, or elsewhere."""
        ...

    def sign_holder_keyed_anchor_input(self, tx: Transaction, input_index: int) -> bytes:
        """Spends our anchor output."""
        ...

    def sign_delayed_payment_input(
        self,
        tx: Transaction,
        input_index: int,
        value_sat: int,
        per_commitment_point: bytes,
        witness_script: bytes,
    ) -> bytes:
        """Spends our to_local, or the output of a second-stage HTLC transaction of ours, after its delay."""
        ...

    def sign_static_payment_input(
        self, tx: Transaction, input_index: int, value_sat: int, witness_script: bytes
    ) -> bytes:
        """Spends our to_remote; `witness_script` is the script code that the signature commits to."""
        ...

    def sign_channel_announcement(self, digest: bytes) -> bytes:
        """Signs the double SHA256 of a channel_announcement with the funding key. BOLT 7."""
        ...


class SignerProvider(Protocol):
    def generate_channel_keys_id(self, inbound: bool, value_sat: int, user_channel_id: int) -> bytes:
        """32 bytes that no other channel has; with the seed they give all of its keys."""
        ...

    def derive_channel_signer(self, channel_keys_id: bytes) -> ChannelSigner: ...

    def forget_channel_signer(self, channel_keys_id: bytes) -> None:
        """An opening came to nothing: this keys id is never used again."""
        ...

    def get_destination_script(self, channel_keys_id: bytes) -> bytes:
        """Where claims of this channel pay to."""
        ...

    def get_shutdown_scriptpubkey(self) -> bytes:
        """Where a co-operative close pays to."""
        ...

    def possible_to_remote_scripts(self) -> Sequence[bytes]:
        """Every script that a to_remote output of ours can have: a seed alone finds them. Fixed and in
        order."""
        ...


class KeysInterface(EntropySource, NodeSigner, SignerProvider, Protocol):
    """All three: what the core needs of whoever holds the keys."""
