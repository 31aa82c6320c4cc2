"""Pays, with coins of the wallet, for what cannot pay for itself: anchor commitments and zero-fee HTLC
transactions.

Theory of operation. A monitor tells `BumpCommitment` and `BumpHtlcs` again, at a rising fee rate, until what
they are about is confirmed; so nothing is remembered here, and a failure (no coins, say) is made good by the
next one. The coins are chosen by a `CoinSelectionSource`; it knows a claim by its id, so that a replacement
can use the same coins and different claims do not fight over one.

A commitment is paid for by its child: the two are a package, and it is the package's fee rate that has to
reach the target. To the coin selection this looks like one input that brings the commitment's fee along as
its value, and the commitment's weight along as its own. HTLC transactions are combined: each input stands at
the index of its output, as the peer's SIGHASH_SINGLE|ANYONECANPAY signature demands, then come the wallet's
coins and the change. BOLT 3, BOLT 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Protocol

from wallet.bitcoin.amounts import fee_sat_ceil
from wallet.bitcoin.script import op_return
from wallet.bitcoin.tx import SEQUENCE_RBF, OutPoint, Transaction, TxIn, TxOut
from wallet.chain.interfaces import BroadcasterInterface, BroadcastPackage, Logger, LogLevel
from wallet.ln.chan_utils import ANCHOR_OUTPUT_SAT, anchor_script, htlc_witness, witness_signature
from wallet.ln.events import BumpCommitment, BumpHtlcs, HtlcBumpDescriptor
from wallet.ln.sign import SignerProvider

__all__ = [
    "BumpResult",
    "BumpTransactionEventHandler",
    "CoinSelection",
    "CoinSelectionSource",
    "MustSpend",
    "NotEnoughCoins",
    "Utxo",
]

ANCHOR_SATISFACTION_WEIGHT: Final = 1 + 74 + 1 + 40
"""A count, a signature of 73 bytes, the anchor's script."""

_INPUT_BASE_WEIGHT: Final = 164
_OUTPUT_P2WSH_WEIGHT: Final = 4 * 43


# --- the wallet's coins -------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Utxo:
    """A coin of the wallet.

    Attributes:
        satisfaction_weight: the most that its script_sig (times 4) and witness weigh.
    """

    outpoint: OutPoint
    output: TxOut
    satisfaction_weight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MustSpend:
    """An input that is there already. Its outpoint, sequence and script length (164) come on top of its
    weight."""

    outpoint: OutPoint
    value_sat: int
    satisfaction_weight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CoinSelection:
    """What the wallet adds.

    Attributes:
        change_output: None where the change would be dust.
    """

    confirmed_utxos: tuple[Utxo, ...]
    change_output: TxOut | None


class NotEnoughCoins(Exception):
    """The wallet's confirmed coins cannot reach the fee rate. Nothing is reserved."""


class CoinSelectionSource(Protocol):
    """The on-chain wallet."""

    def select_confirmed_utxos(
        self,
        claim_id: bytes,
        must_spend: Sequence[MustSpend],
        must_pay_to: Sequence[TxOut],
        target_feerate_sat_per_kw: int,
    ) -> CoinSelection:
        """Chooses confirmed coins and a change output, so that a transaction of version 2 with all of them,
        and with the given inputs and outputs, reaches the fee rate. Raises NotEnoughCoins.

        The same claim may get the coins of its last selection again (it replaces that transaction); another
        claim should not, until that is confirmed or given up. Unconfirmed coins only where HTLC transactions
        find no others, and only change of other claims: packages and replacements have rules about the rest.
        """
        ...

    def sign_inputs(self, tx: Transaction, spent_outputs: Sequence[TxOut]) -> Transaction:
        """Signs the wallet's own inputs with SIGHASH_ALL; `spent_outputs` is in the order of the inputs."""
        ...


class BumpResult(Enum):
    SENT = auto()
    NOT_ENOUGH_COINS = auto()
    """Something may be lost: the person should add coins before the event's deadline."""
    NOT_WORTH_IT = auto()
    """The fee would be above what is claimed."""


# --- the handler --------------------------------------------------------------


class BumpTransactionEventHandler:
    """Answers `BumpCommitment` and `BumpHtlcs`."""

    def __init__(
        self,
        broadcaster: BroadcasterInterface,
        coins: CoinSelectionSource,
        keys: SignerProvider,
        logger: Logger,
    ) -> None:
        self._broadcaster = broadcaster
        self._coins = coins
        self._keys = keys
        self._logger = logger

    def handle_event(self, event: BumpCommitment | BumpHtlcs) -> BumpResult:
        """Queues what it takes. May be called again for the same event."""
        if isinstance(event, BumpCommitment):
            return self._bump_commitment(event)
        return self._bump_htlcs(event)

    # --- commitments ---

    def _bump_commitment(self, event: BumpCommitment) -> BumpResult:
        commitment = event.commitment_tx
        anchor = OutPoint(commitment.txid, event.anchor_vout)
        must_spend = MustSpend(
            outpoint=anchor,
            value_sat=ANCHOR_OUTPUT_SAT + event.commitment_tx_fee_sat,
            satisfaction_weight=ANCHOR_SATISFACTION_WEIGHT + commitment.weight,
        )
        try:
            selection = self._coins.select_confirmed_utxos(
                event.claim_id, (must_spend,), (), event.package_target_feerate_sat_per_kw
            )
        except NotEnoughCoins:
            self._logger.log(
                LogLevel.WARN, "no coins to pay for the close of channel %s", event.channel_id.hex()
            )
            return BumpResult.NOT_ENOUGH_COINS
        # Without change all goes to the fee; a transaction needs an output nevertheless.
        change = selection.change_output or TxOut(0, op_return(b""))
        coins = _in_order(selection.confirmed_utxos)
        unsigned = Transaction(
            2,
            (
                TxIn(anchor, b"", SEQUENCE_RBF),
                *(TxIn(coin.outpoint, b"", SEQUENCE_RBF) for coin in coins),
            ),
            (change,),
            0,
        )
        spent = (commitment.outputs[event.anchor_vout], *(coin.output for coin in coins))
        signed = self._coins.sign_inputs(unsigned, spent)
        signer = self._keys.derive_channel_signer(event.channel_keys_id)
        signature = signer.sign_holder_keyed_anchor_input(unsigned, 0)
        child = signed.with_witness(0, (witness_signature(signature), anchor_script(event.funding_pubkey)))
        self._broadcaster.broadcast_transactions(
            BroadcastPackage(
                txs=(commitment, child), deadline_height=event.deadline_height, label="our commitment"
            )
        )
        return BumpResult.SENT

    # --- HTLC transactions ---

    def _bump_htlcs(self, event: BumpHtlcs) -> BumpResult:
        worthwhile = [
            htlc
            for htlc in event.htlcs
            if htlc.htlc_output.value_sat > fee_sat_ceil(_htlc_weight(htlc), event.target_feerate_sat_per_kw)
        ]
        if not worthwhile:
            return BumpResult.NOT_WORTH_IT
        # The most valuable first, should the coins not do for all.
        worthwhile.sort(key=lambda htlc: (-htlc.htlc_output.value_sat, htlc.htlc_outpoint))
        count = len(worthwhile)
        while count:
            chosen = worthwhile[:count]
            try:
                selection = self._coins.select_confirmed_utxos(
                    event.claim_id,
                    [
                        MustSpend(
                            outpoint=htlc.htlc_outpoint,
                            value_sat=htlc.htlc_output.value_sat,
                            satisfaction_weight=_htlc_satisfaction_weight(htlc),
                        )
                        for htlc in chosen
                    ],
                    [htlc.second_stage_output for htlc in chosen],
                    event.target_feerate_sat_per_kw,
                )
            except NotEnoughCoins:
                count //= 2
                continue
            self._send_htlcs(event, chosen, selection)
            return BumpResult.SENT if count == len(worthwhile) else BumpResult.NOT_ENOUGH_COINS
        self._logger.log(LogLevel.WARN, "no coins to claim HTLCs of channel %s", event.channel_id.hex())
        return BumpResult.NOT_ENOUGH_COINS

    def _send_htlcs(
        self, event: BumpHtlcs, chosen: Sequence[HtlcBumpDescriptor], selection: CoinSelection
    ) -> None:
        coins = _in_order(selection.confirmed_utxos)
        change = () if selection.change_output is None else (selection.change_output,)
        unsigned = Transaction(
            2,
            (
                # BOLT 3: the peer signed version 2, sequence 1 and this lock time.
                *(TxIn(htlc.htlc_outpoint, b"", 1) for htlc in chosen),
                *(TxIn(coin.outpoint, b"", SEQUENCE_RBF) for coin in coins),
            ),
            (*(htlc.second_stage_output for htlc in chosen), *change),
            event.tx_lock_time,
        )
        spent = (*(htlc.htlc_output for htlc in chosen), *(coin.output for coin in coins))
        signed = self._coins.sign_inputs(unsigned, spent)
        for index, htlc in enumerate(chosen):
            signer = self._keys.derive_channel_signer(htlc.channel_keys_id)
            signature = signer.sign_holder_htlc_transaction(
                unsigned, index, htlc.htlc_output.value_sat, htlc.per_commitment_number, htlc.witness_script
            )
            witness = htlc_witness(
                htlc.counterparty_signature, signature, htlc.payment_preimage, htlc.witness_script, True
            )
            signed = signed.with_witness(index, witness)
        self._broadcaster.broadcast_transactions(
            BroadcastPackage(txs=(signed,), deadline_height=event.deadline_height, label="HTLC claims")
        )


def _in_order(coins: Sequence[Utxo]) -> list[Utxo]:
    """The same coins make the same transaction, however they were found."""
    return sorted(coins, key=lambda coin: coin.outpoint)


def _htlc_satisfaction_weight(htlc: HtlcBumpDescriptor) -> int:
    # A count, an empty item, two signatures, the preimage or an empty item, the script.
    preimage_weight = 1 if htlc.payment_preimage is None else 33
    return 1 + 1 + 74 + 74 + preimage_weight + 1 + len(htlc.witness_script)


def _htlc_weight(htlc: HtlcBumpDescriptor) -> int:
    """What one HTLC adds to the transaction that claims it."""
    return _INPUT_BASE_WEIGHT + _htlc_satisfaction_weight(htlc) + _OUTPUT_P2WSH_WEIGHT
