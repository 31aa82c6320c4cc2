"""The on-chain wallet as the coin source of anchor closes: it joins two rooms that do not know each other."""

from __future__ import annotations

from collections.abc import Sequence

from wallet.bitcoin.tx import Transaction, TxOut
from wallet.ln.bump_transaction import CoinSelection, MustSpend, NotEnoughCoins, Utxo
from wallet.onchain.errors import OnchainError
from wallet.onchain.wallet import OnchainWallet

__all__ = ["WalletCoins"]


class WalletCoins:
    """`CoinSelectionSource` over the wallet's confirmed coins."""

    def __init__(self, wallet: OnchainWallet) -> None:
        self._wallet = wallet

    def select_confirmed_utxos(
        self,
        claim_id: bytes,
        must_spend: Sequence[MustSpend],
        must_pay_to: Sequence[TxOut],
        target_feerate_sat_per_kw: int,
    ) -> CoinSelection:
        """Raises `NotEnoughCoins`."""
        try:
            found = self._wallet.select_confirmed_utxos(
                claim_id,
                [(item.outpoint, item.value_sat, item.satisfaction_weight) for item in must_spend],
                must_pay_to,
                target_feerate_sat_per_kw,
            )
        except OnchainError as error:
            raise NotEnoughCoins(str(error)) from None
        return CoinSelection(
            confirmed_utxos=tuple(
                Utxo(
                    outpoint=coin.outpoint,
                    output=coin.output,
                    satisfaction_weight=coin.satisfaction_weight,
                )
                for coin in found.confirmed_utxos
            ),
            change_output=found.change_output,
        )

    def sign_inputs(self, tx: Transaction, spent_outputs: Sequence[TxOut]) -> Transaction:
        return self._wallet.sign_inputs(tx, spent_outputs)
