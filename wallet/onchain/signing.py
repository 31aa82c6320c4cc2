"""Signs inputs of ours, and judges whether somebody else's signature over a coin of ours can be real.

The judgement is for hints only: a server may show any bytes as an unconfirmed transaction, and such a thing must
not make coins of ours look spent. What is in a block has been judged by everybody.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wallet.bitcoin.curve import (
    sign_ecdsa_low_r,
    sign_schnorr,
    signature_from_der,
    signature_to_der,
    verify_ecdsa,
    verify_schnorr,
)
from wallet.bitcoin.errors import APIError, DecodeError
from wallet.bitcoin.hashes import hash160
from wallet.bitcoin.script import is_p2tr, is_p2wpkh, p2wpkh_script_code
from wallet.bitcoin.tx import (
    SIGHASH_ALL,
    SIGHASH_DEFAULT,
    OutPoint,
    Transaction,
    TxOut,
    sighash_segwit_v0,
    sighash_taproot,
)
from wallet.onchain.keyring import Keyring, Purpose

__all__ = ["is_plausible_spend", "sign_inputs"]


def sign_inputs(tx: Transaction, spent_outputs: Sequence[TxOut], keyring: Keyring) -> Transaction:
    """Fills the witnesses of all inputs that spend scripts of ours; the others stay as they are."""
    if len(spent_outputs) != len(tx.inputs):
        raise APIError("Signing needs the output that each input spends.")
    signed = tx
    for index, spent in enumerate(spent_outputs):
        path = keyring.path_of(spent.script_pubkey)
        if path is None:
            continue
        secret = keyring.secret(path)
        if path.branch.purpose is Purpose.BIP84:
            script_code = p2wpkh_script_code(spent.script_pubkey)
            digest = sighash_segwit_v0(signed, index, script_code, spent.value_sat, SIGHASH_ALL)
            # A low r saves a byte, and makes the weight known before signing.
            der = signature_to_der(sign_ecdsa_low_r(digest, secret))
            witness: tuple[bytes, ...] = (der + bytes((SIGHASH_ALL,)), keyring.pubkey(path))
        else:
            digest = sighash_taproot(signed, index, spent_outputs, SIGHASH_DEFAULT)
            witness = (sign_schnorr(digest, secret),)
        signed = signed.with_witness(index, witness)
    return signed


def is_plausible_spend(
    tx: Transaction, index: int, spent: TxOut, output_of: Callable[[OutPoint], TxOut | None]
) -> bool:
    """Whether the input's witness really spends this output of ours. A taproot signature covers every output that
    the transaction spends, so it cannot be judged where one of them is unknown: then the answer is yes."""
    witness = tx.inputs[index].witness
    try:
        if is_p2wpkh(spent.script_pubkey):
            if len(witness) != 2 or hash160(witness[1]) != spent.script_pubkey[2:] or not witness[0]:
                return False
            script_code = p2wpkh_script_code(spent.script_pubkey)
            digest = sighash_segwit_v0(tx, index, script_code, spent.value_sat, witness[0][-1])
            return verify_ecdsa(signature_from_der(witness[0][:-1]), digest, witness[1])
        if is_p2tr(spent.script_pubkey):
            if len(witness) != 1 or len(witness[0]) not in (64, 65):
                return False
            outputs = [output_of(txin.prevout) for txin in tx.inputs]
            known = [output for output in outputs if output is not None]
            if len(known) != len(outputs):
                return True
            sighash_type = witness[0][64] if len(witness[0]) == 65 else SIGHASH_DEFAULT
            digest = sighash_taproot(tx, index, known, sighash_type)
            return verify_schnorr(witness[0][:64], digest, spent.script_pubkey[2:])
    except (APIError, DecodeError):
        return False
    return False
