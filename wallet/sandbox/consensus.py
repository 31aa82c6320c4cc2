"""Bitcoin Core's own script and block checks, where its kernel library (py-bitcoinkernel) is installed.

The library is a pre-release and no dependency of the wallet: without it the sandbox believes what it is
sent, which harms nobody, since its coins are worth nothing. Tests have it, and so every transaction that
reaches a sandbox chain in a test is judged as a real node would.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wallet.bitcoin.tx import Transaction, TxOut

__all__ = ["BlockJudge", "failing_input", "is_installed"]

_pbk: Any = None
_looked = False


def _kernel() -> Any:
    global _pbk, _looked
    if not _looked:
        _looked = True
        if importlib.util.find_spec("pbk") is not None:
            import pbk
            import pbk.script

            _pbk = pbk
    return _pbk


def is_installed() -> bool:
    """Whether anything is judged at all."""
    return _kernel() is not None


def failing_input(tx: Transaction, spent_outputs: Sequence[TxOut]) -> int | None:
    """The first input whose script refuses, None where all agree (or nobody can tell)."""
    pbk = _kernel()
    if pbk is None:
        return None
    kernel_tx = pbk.Transaction(tx.serialize())
    outputs = [
        pbk.TransactionOutput(pbk.ScriptPubkey(spent.script_pubkey), spent.value_sat)
        for spent in spent_outputs
    ]
    precomputed = pbk.script.PrecomputedTransactionData(kernel_tx, outputs)
    for index, spent in enumerate(spent_outputs):
        script = pbk.ScriptPubkey(spent.script_pubkey)
        flags = pbk.ScriptVerificationFlags.ALL
        if not script.verify(spent.value_sat, kernel_tx, precomputed, index, flags):
            return index
    return None


class BlockJudge:
    """A chain state of Bitcoin Core beside ours: each of our blocks has to be valid there too."""

    def __init__(self, directory: Path) -> None:
        pbk = _kernel()
        self._manager: Any = None
        self._verdicts: list[bool] = []
        if pbk is None:
            return
        directory.mkdir(parents=True, exist_ok=True)
        # Kept alive with the manager: the library calls back into it.
        self._callbacks = pbk.ValidationInterfaceCallbacks(block_checked=self._checked)
        self._manager = pbk.load_chainman(directory, pbk.ChainType.REGTEST, self._callbacks)

    def _checked(self, user_data: object, block: object, state: Any) -> None:
        # A block that fails on connecting raises nothing: the verdict comes here only.
        self._verdicts.append(int(state.validation_mode) == 0)

    def accepts(self, raw_block: bytes) -> bool:
        if self._manager is None:
            return True
        self._verdicts.clear()
        try:
            self._manager.process_block(_kernel().Block(raw_block))
        except Exception:
            # The library's own error types are as young as it is; whatever it raises is a no.
            return False
        return all(self._verdicts)
