"""Bitcoin Core's own script check (libbitcoinkernel), for tests: what it refuses, no node would accept."""

from __future__ import annotations

from collections.abc import Sequence

import pbk
from pbk.script import PrecomputedTransactionData

from wallet.bitcoin.tx import Transaction, TxOut


def check_transaction(tx: Transaction, spent_outputs: Sequence[TxOut]) -> None:
    """Runs every input's script; AssertionError names the first input that fails.

    `spent_outputs` holds the output that each input spends, in order. Also checked, since the kernel
    takes them for granted: no input twice, and no more money out than in. Absolute and relative lock
    times are checked against the transaction's own fields only; whether their time has come the chain knows.
    """
    assert tx.inputs, "a transaction without inputs"
    assert tx.outputs, "a transaction without outputs"
    assert len(spent_outputs) == len(tx.inputs), "the number of spent outputs is not that of the inputs"
    prevouts = [txin.prevout for txin in tx.inputs]
    assert len(set(prevouts)) == len(prevouts), "an output is spent twice"
    spent_sat = sum(spent.value_sat for spent in spent_outputs)
    assert tx.total_output_sat <= spent_sat, f"{tx.total_output_sat} sat are made out of {spent_sat}"
    raw = tx.serialize()
    assert Transaction.parse(raw) == tx, "the transaction does not survive its own bytes"
    kernel_tx = pbk.Transaction(raw)
    assert bytes(kernel_tx.txid) == tx.txid, "Bitcoin Core has another txid for it"
    kernel_outputs = [
        pbk.TransactionOutput(pbk.ScriptPubkey(spent.script_pubkey), spent.value_sat)
        for spent in spent_outputs
    ]
    precomputed = PrecomputedTransactionData(kernel_tx, kernel_outputs)
    for index, spent in enumerate(spent_outputs):
        valid = pbk.ScriptPubkey(spent.script_pubkey).verify(
            spent.value_sat, kernel_tx, precomputed, index, pbk.ScriptVerificationFlags.ALL
        )
        assert valid, f"input {index}, which spends {tx.inputs[index].prevout}, is not valid"
