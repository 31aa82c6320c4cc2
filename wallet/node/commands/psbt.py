"""Commands for transactions that several hands sign (PSBT): what one says, our signatures, and its way out."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from wallet.bitcoin.address import script_to_address
from wallet.bitcoin.errors import APIError, DecodeError
from wallet.bitcoin.psbt import Psbt
from wallet.bitcoin.tx import SIGHASH_ALL, SIGHASH_DEFAULT, TxOut, txid_hex
from wallet.i18n import _
from wallet.node.api import CommandError, Json
from wallet.node.commands.onchain import broadcast
from wallet.node.commands.registry import command
from wallet.onchain.errors import OnchainError

if TYPE_CHECKING:
    from wallet.node.node import Node

__all__: list[str] = []


def _parse(text: str) -> Psbt:
    stripped = "".join(text.split())
    try:
        data: str | bytes = bytes.fromhex(stripped) if stripped[:8].lower() == "70736274" else stripped
        return Psbt.parse(data)
    except DecodeError as error:
        raise CommandError(str(error), code="psbt") from None
    except ValueError:
        raise CommandError(
            _("This is not a PSBT: it is neither base64 nor hexadecimal."), code="psbt"
        ) from None


def _spent(node: Node, psbt: Psbt) -> list[TxOut | None]:
    """What each input spends. Of our own coins the wallet's word counts, never the PSBT's: a lie about an amount would
    be a lie about the fee. Raises `CommandError`. Within the lock."""
    ours = {coin.outpoint: coin for coin in node.onchain.coins()}
    found: list[TxOut | None] = []
    for index, txin in enumerate(psbt.tx.inputs):
        said = psbt.spent_output(index)
        coin = ours.get(txin.prevout)
        if coin is not None and said is not None and said != coin.output:
            raise CommandError(
                _("This PSBT says something else about a coin of yours than the chain does. Do not sign it."),
                code="psbt",
            )
        found.append(coin.output if coin is not None else said)
    return found


def _mine(node: Node, psbt: Psbt) -> list[int]:
    """Inputs that spend coins of ours which are free; within the lock."""
    ours = {coin.outpoint: coin for coin in node.onchain.coins()}
    return [
        index
        for index, txin in enumerate(psbt.tx.inputs)
        if (coin := ours.get(txin.prevout)) is not None and coin.is_mature and not coin.reserved
    ]


def _facts(node: Node, psbt: Psbt) -> dict[str, Json]:
    """What a person needs to know before signing; within the lock."""
    spent = _spent(node, psbt)
    mine = _mine(node, psbt)
    outputs: list[Json] = [
        {
            "address": script_to_address(out.script_pubkey, node.options.network),
            "script": out.script_pubkey.hex(),
            "value_sat": out.value_sat,
            "mine": node.onchain.is_mine(out.script_pubkey),
        }
        for out in psbt.tx.outputs
    ]
    known = [out.value_sat for out in spent if out is not None]
    fee_sat = sum(known) - psbt.tx.total_output_sat if len(known) == len(spent) else None
    ours_in_sat = sum(out.value_sat for index in mine if (out := spent[index]) is not None)
    ours_out_sat = sum(out.value_sat for out in psbt.tx.outputs if node.onchain.is_mine(out.script_pubkey))
    signed = [index for index in mine if psbt.inputs[index].is_final]
    why_not = None
    if not mine:
        why_not = _("None of its coins is yours to sign for.")
    elif len(known) != len(spent):
        why_not = _("It does not say what it spends: ask for a PSBT that does (witness_utxo).")
    elif fee_sat is not None and fee_sat < 0:
        why_not = _("It spends more than it brings: it can never be valid.")
    elif any(_odd_sighash(psbt, index) for index in mine):
        why_not = _(
            "It asks for a signature that leaves parts of the transaction open. Leyden does not give one."
        )
    elif len(signed) == len(mine):
        why_not = _("You have signed it already.")
    return {
        "txid": txid_hex(psbt.tx.txid),
        "inputs": len(psbt.tx.inputs),
        "mine": len(mine),
        "outputs": outputs,
        "fee_sat": fee_sat,
        "you_pay_sat": ours_in_sat - ours_out_sat,
        "complete": psbt.is_final,
        "can_sign": why_not is None,
        "why_not": why_not,
    }


def _odd_sighash(psbt: Psbt, index: int) -> bool:
    return psbt.inputs[index].sighash_type not in (None, SIGHASH_ALL, SIGHASH_DEFAULT)


@command
async def psbt_info(node: Node, psbt: str) -> Json:
    """Says what a PSBT does: what it spends and pays, its fee, what of it is yours, and whether you can sign it."""
    parsed = _parse(psbt).finalize()
    with node.core.locked():
        return _facts(node, parsed)


@command
async def signpsbt(node: Node, psbt: str) -> Json:
    """Signs those inputs of a PSBT that spend your coins; nothing is sent. Prints the PSBT, and once nothing is missing
    the transaction as well."""
    parsed = _parse(psbt).finalize()
    with node.core.locked():
        facts = _facts(node, parsed)
        if not facts["can_sign"]:
            raise CommandError(str(facts["why_not"]), code="psbt")
        spent = [out for out in _spent(node, parsed) if out is not None]
        try:
            signed = node.onchain.sign_inputs(parsed.tx, spent)
        except (APIError, OnchainError) as error:
            raise CommandError(str(error), code="psbt") from None
        for index in _mine(node, parsed):
            known = parsed.inputs[index]
            parsed = parsed.with_input(
                index,
                dataclasses.replace(
                    known,
                    final_witness=signed.inputs[index].witness,
                    partial_signatures=(),
                    sighash_type=None,
                    key_origins=(),
                    tap_key_origins=(),
                    tap_key_signature=None,
                    tap_internal_key=None,
                    tap_merkle_root=None,
                ),
            )
    complete = parsed.is_final
    return {
        "psbt": parsed.to_base64(),
        "complete": complete,
        "hex": parsed.extract().serialize().hex() if complete else None,
    }


@command
async def combinepsbt(node: Node, psbt: str, other: str) -> Json:
    """Puts the signatures of two copies of one PSBT together."""
    try:
        combined = _parse(psbt).combine(_parse(other)).finalize()
    except APIError as error:
        raise CommandError(str(error), code="psbt") from None
    return combined.to_base64()


@command
async def broadcast_psbt(node: Node, psbt: str) -> Json:
    """Sends a PSBT that is signed completely to the network; prints its transaction's id."""
    parsed = _parse(psbt).finalize()
    if not parsed.is_final:
        raise CommandError(_("Signatures are still missing: this PSBT cannot be sent yet."), code="psbt")
    return await broadcast(node, parsed.extract().serialize().hex())
