"""Commands for transactions that several hands sign (PSBT): what one says, our signatures, and its way out."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from wallet.bitcoin.address import script_to_address
from wallet.bitcoin.errors import APIError, DecodeError
from wallet.bitcoin.psbt import Psbt
from wallet.bitcoin.script import is_p2tr
from wallet.bitcoin.tx import SIGHASH_ALL, SIGHASH_DEFAULT, TxOut, txid_hex
from wallet.chain.interfaces import ConfirmationTarget
from wallet.i18n import _
from wallet.node.api import CommandError, Json
from wallet.node.commands.onchain import broadcast
from wallet.node.commands.registry import command
from wallet.node.sentences import sat_text
from wallet.onchain.errors import OnchainError
from wallet.onchain.ledger import PSBT_OWNER

if TYPE_CHECKING:
    from wallet.node.node import Node

__all__: list[str] = []

_TXID = re.compile("[0-9a-f]{64}")


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
    """Inputs that spend coins of ours which are free, or set aside for this very transaction; within the lock."""
    ours = {coin.outpoint: coin for coin in node.onchain.coins()}
    signed = node.onchain.signed_psbts()
    return [
        index
        for index, txin in enumerate(psbt.tx.inputs)
        if (coin := ours.get(txin.prevout)) is not None
        and coin.is_mature
        and (not coin.reserved or signed.get(txin.prevout) == psbt.tx.txid)
    ]


def _fee_is_proven(psbt: Psbt, mine: Sequence[int], spent: Sequence[TxOut | None]) -> bool:
    """Whether a lie about what others put in would come to nothing: each of their amounts stands in a transaction whose
    id is that of the input, or a taproot signature of ours covers all amounts (BIP 341)."""
    if any((out := spent[index]) is not None and is_p2tr(out.script_pubkey) for index in mine):
        return True
    return all(index in mine or known.previous_tx is not None for index, known in enumerate(psbt.inputs))


def _takes_reserve(node: Node, psbt: Psbt) -> str | None:
    """Why the coins for closing channels would be gone; within the lock."""
    keep_sat = node.anchor_reserve_sat()
    rate = node.fee_sat_per_kw(ConfirmationTarget.ANCHOR_CHANNEL_FEE)
    left_sat = node.onchain.left_beside_sat(psbt.tx, rate)
    if left_sat >= keep_sat:
        return None
    return _(
        "This would leave {left} on chain, and {reserve} are kept back for closing channels. Ask for a PSBT that "
        "spends less, or deposit more first."
    ).format(left=sat_text(left_sat), reserve=sat_text(keep_sat))


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
    proven = fee_sat is not None and _fee_is_proven(psbt, mine, spent)
    why_not: str | None = None
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
    else:
        why_not = _takes_reserve(node, psbt)
    fee_note = ""
    if fee_sat is not None and not proven:
        fee_note = _(
            "Others say what their coins are worth, and nothing here proves it: the fee may be another one. What you "
            "pay is certain."
        )
    return {
        "txid": txid_hex(psbt.tx.txid),
        "inputs": len(psbt.tx.inputs),
        "mine": len(mine),
        "outputs": outputs,
        "fee_sat": fee_sat,
        "fee_proven": proven,
        "fee_note": fee_note,
        "set_aside": psbt.tx.txid in node.onchain.signed_psbts().values(),
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
    the transaction as well. The coins are set aside for it: `release_psbt` lets go of them."""
    parsed = _parse(psbt).finalize()
    with node.core.entry():
        facts = _facts(node, parsed)
        if not facts["can_sign"]:
            raise CommandError(str(facts["why_not"]), code="psbt")
        spent = [out for out in _spent(node, parsed) if out is not None]
        try:
            signed = node.onchain.sign_inputs(parsed.tx, spent)
            node.onchain.reserve(parsed.tx, PSBT_OWNER)
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
        durable = node.durable()
    # A signature that is out while its coins count as free would have them spent twice.
    await durable
    complete = parsed.is_final
    return {
        "psbt": parsed.to_base64(),
        "complete": complete,
        "hex": parsed.extract().serialize().hex() if complete else None,
    }


@command
async def release_psbt(node: Node, psbt: str) -> Json:
    """Lets go of the coins that were set aside when a PSBT was signed; its transaction's id names it as well. Prints
    how many coins are free again."""
    named = psbt.strip().lower()
    with node.core.entry():
        txids = {txid_hex(txid): txid for txid in node.onchain.signed_psbts().values()}
        is_id = _TXID.fullmatch(named) is not None
        txid = txids.get(named if is_id else txid_hex(_parse(psbt).tx.txid))
        if txid is None:
            raise CommandError(_("No coins are set aside for this PSBT."), code="unknown")
        count = list(node.onchain.signed_psbts().values()).count(txid)
        node.onchain.release(txid)
        durable = node.durable()
    await durable
    return {
        "coins": count,
        "message": _(
            "The coins are free again. Whoever has your signature may still send that transaction, until you have "
            "spent one of them."
        ),
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
    transaction = parsed.extract()
    sent = await broadcast(node, transaction.serialize().hex())
    if transaction.txid != parsed.tx.txid:
        # A script of somebody else's input is part of the id: the books know it by its new name.
        with node.core.entry():
            node.onchain.release(parsed.tx.txid)
            durable = node.durable()
        await durable
    return sent
