"""Commands for the on-chain funds."""

from __future__ import annotations

import asyncio
import contextlib
import re
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from wallet.bitcoin.address import address_to_script, script_to_address
from wallet.bitcoin.psbt import Psbt
from wallet.bitcoin.tx import OutPoint, Transaction, TxOut, hash_from_hex, txid_from_hex, txid_hex
from wallet.chain.electrum.fees import MAX_SANE_SAT_PER_KW
from wallet.chain.interfaces import FLOOR_FEERATE_SAT_PER_KW, BroadcastPackage, ConfirmationTarget
from wallet.i18n import _
from wallet.ln.types import DecodeError
from wallet.node.api import CommandError, Json
from wallet.node.commands.registry import EVERYTHING, btc_text, btc_text_msat, command, sat_from_btc
from wallet.onchain.errors import OnchainError

if TYPE_CHECKING:
    from wallet.node.node import Node
    from wallet.onchain.accounting import OnchainEntry
    from wallet.onchain.coins import Coin
    from wallet.onchain.wallet import Draft

__all__ = ["BROADCAST_TIMEOUT_SECONDS", "feerate_from", "insufficient"]

BROADCAST_TIMEOUT_SECONDS = 15
"""How long a command waits for a server to take a transaction, which goes on waiting without it."""

WEIGHT_PER_VBYTE = 4
MAX_FEERATE_SAT_PER_VB = 5_000
DEFAULT_TARGET_BLOCKS = 6
MAX_ITEM_ID = 200
"""A transaction id or an address, with what it is in front; as a row's key it has to be short."""
_HASH_TEXT = re.compile("[0-9a-fA-F]{64}")
_VOUT = re.compile("[0-9]{1,9}")
SLOWEST_ESTIMATE_BLOCKS = 1008


def insufficient(error: OnchainError) -> CommandError:
    """The on-chain wallet's refusals are sentences already."""
    return CommandError(str(error), code="funds")


def feerate_from(
    node: Node, feerate: str | None, feerate_sat_per_vb: int | None, target_blocks: int | None
) -> int:
    """Satoshis per 1000 weight: as said (in sat/vB), or by how soon it is to confirm."""
    if feerate is not None:
        try:
            rate = Decimal(feerate)
            if not rate.is_finite() or not 1 <= rate <= MAX_FEERATE_SAT_PER_VB:
                raise InvalidOperation
        except InvalidOperation:
            raise CommandError(
                _("A fee rate lies between 1 and {most} sat per vbyte.").format(most=MAX_FEERATE_SAT_PER_VB),
                code="fee",
            ) from None
        return max(FLOOR_FEERATE_SAT_PER_KW, int(rate * 1000 / WEIGHT_PER_VBYTE))
    if feerate_sat_per_vb is not None:
        return feerate_from(node, str(feerate_sat_per_vb), None, None)
    blocks = DEFAULT_TARGET_BLOCKS if target_blocks is None else target_blocks
    known = estimate_for(node, blocks)
    if known is not None:
        return known
    if blocks <= 2:
        target = ConfirmationTarget.URGENT_ON_CHAIN_SWEEP
    elif blocks <= 12:
        target = ConfirmationTarget.NON_ANCHOR_CHANNEL_FEE
    else:
        target = ConfirmationTarget.CHANNEL_CLOSE_MINIMUM
    return node.fee_sat_per_kw(target)


def estimate_for(node: Node, blocks: int) -> int | None:
    """What the servers say of this wait, or of the longest that they know below it; None where they know nothing."""
    if node.fee_estimator is not node.electrum.fee_estimator:
        return None
    snapshot = node.electrum.fee_estimator.snapshot
    within = [rate_sat_per_kw for wait, rate_sat_per_kw in snapshot.rates if wait <= blocks]
    if not within:
        return None
    return max(FLOOR_FEERATE_SAT_PER_KW, min(within[-1], MAX_SANE_SAT_PER_KW), snapshot.minimum_sat_per_kw)


def slow_warning(node: Node, feerate_sat_per_kw: int) -> str:
    """What is to be said of a rate below what confirms within two weeks: nodes forget what waits longer."""
    if node.fee_estimator is not node.electrum.fee_estimator:
        return ""
    snapshot = node.electrum.fee_estimator.snapshot
    if feerate_sat_per_kw < snapshot.minimum_sat_per_kw:
        return _(
            "Servers take nothing below {rate} sat per vbyte now: this payment would not be passed on."
        ).format(rate=rate_text(snapshot.minimum_sat_per_kw))
    # Servers know no longer wait than a week (1,008 blocks).
    slowest = dict(snapshot.rates).get(SLOWEST_ESTIMATE_BLOCKS)
    if slowest is not None and feerate_sat_per_kw < slowest:
        return _(
            "At this rate it may not confirm within two weeks; nodes forget what waits longer. {rate} sat per vbyte "
            "would do."
        ).format(rate=rate_text(slowest))
    return ""


def rate_text(feerate_sat_per_kw: int) -> str:
    """In sat per vbyte, with two decimals at most."""
    hundredths = -(-feerate_sat_per_kw * WEIGHT_PER_VBYTE // 10)
    whole, rest = divmod(hundredths, 100)
    return f"{whole}.{rest:02d}".rstrip("0").rstrip(".")


def outpoints_from(text: str) -> tuple[OutPoint, ...] | None:
    """Coins as `txid:n`, with commas between; None for an empty text. Raises `CommandError`."""
    if not text.strip():
        return None
    found = []
    for part in text.split(","):
        txid, colon, vout = part.strip().partition(":")
        if not colon or not _HASH_TEXT.fullmatch(txid) or not _VOUT.fullmatch(vout):
            raise CommandError(_("A coin is written as txid:n, several with commas between."), code="usage")
        found.append(OutPoint(txid_from_hex(txid), int(vout)))
    return tuple(found)


def destination_script(node: Node, destination: str) -> bytes:
    try:
        return address_to_script(destination.strip(), node.options.network)
    except DecodeError as error:
        raise CommandError(str(error), code="address") from None


@command
async def getbalance(node: Node) -> Json:
    """Shows what the wallet holds, in BTC."""
    balance = node.views.snapshot().balance
    answer: dict[str, Json] = {"confirmed": btc_text(balance.onchain_confirmed_sat)}
    if balance.onchain_unconfirmed_sat:
        answer["unconfirmed"] = btc_text(balance.onchain_unconfirmed_sat)
    if balance.lightning_msat:
        answer["lightning"] = btc_text_msat(balance.lightning_msat)
    if balance.locked_sat:
        answer["closing"] = btc_text(balance.locked_sat)
    return answer


@command
async def getunusedaddress(node: Node) -> Json:
    """Shows an address that nothing was paid to yet."""
    with node.core.entry():
        address = node.onchain.unused_address()
        durable = node.durable()
    await durable
    return address


@command
async def createnewaddress(node: Node) -> Json:
    """Makes a new address."""
    with node.core.entry():
        address = node.onchain.new_address()
        durable = node.durable()
    await durable
    return address


def _draft(
    node: Node,
    destination: str,
    amount_text: str,
    feerate_sat_per_kw: int,
    *,
    unit_btc: bool,
    coins: tuple[OutPoint, ...] | None = None,
) -> Draft:
    """Within an entry; the reserve for closing anchor channels is kept back."""
    script = destination_script(node, destination)
    keep_sat = node.anchor_reserve_sat()
    try:
        if amount_text in (EVERYTHING, "all"):
            return node.onchain.draft(
                outputs=(),
                send_all_to=script,
                feerate_sat_per_kw=feerate_sat_per_kw,
                keep_sat=keep_sat,
                coins=coins,
                lock_time=node.best_height,
            )
        amount_sat = sat_from_btc(amount_text, what=_("The amount")) if unit_btc else _whole_sat(amount_text)
        return node.onchain.draft(
            outputs=(TxOut(amount_sat, script),),
            feerate_sat_per_kw=feerate_sat_per_kw,
            keep_sat=keep_sat,
            coins=coins,
            lock_time=node.best_height,
        )
    except OnchainError as error:
        raise insufficient(error) from None


def _whole_sat(text: str) -> int:
    try:
        amount_sat = int(text)
    except ValueError:
        raise CommandError(_('The amount is a whole number of sat, or "all".'), code="amount") from None
    if amount_sat <= 0:
        raise CommandError(_("The amount has to be more than nothing."), code="amount")
    return amount_sat


@command
async def quote_onchain(
    node: Node,
    destination: str,
    *,
    amount_sat: str,
    feerate: str | None = None,
    feerate_sat_per_vb: int | None = None,
    target_blocks: int | None = None,
    coins: str = "",
) -> Json:
    """Tells what sending on chain would cost. Coins (txid:n, with commas between) narrow what is spent."""
    rate = feerate_from(node, feerate, feerate_sat_per_vb, target_blocks)
    chosen = outpoints_from(coins)
    with node.core.entry():
        draft = _draft(node, destination, amount_sat, rate, unit_btc=False, coins=chosen)
    script = destination_script(node, destination)
    sent_sat = sum(out.value_sat for out in draft.tx.outputs if out.script_pubkey == script)
    warning = slow_warning(node, draft.feerate_sat_per_kw)
    if not warning and draft.fee_sat * 10 > sent_sat:
        warning = _("The fee is more than a tenth of the amount.")
    return {
        "fee_sat": draft.fee_sat,
        "amount_sat": sent_sat,
        "feerate_sat_per_vb": draft.fee_sat // max(1, draft.tx.vsize_vbytes),
        "feerate_text": rate_text(draft.fee_sat * 1000 // draft.tx.weight),
        "total_sat": sent_sat + draft.fee_sat,
        "change_sat": draft.change_sat,
        "coins": len(draft.inputs),
        "warning": warning,
    }


async def _send(node: Node, draft: Draft, label: str) -> dict[str, Json]:
    """Commits to a draft within the entry that is open, and broadcasts it after."""
    node.onchain.commit(draft.tx, label)
    node.core.broadcast_transactions(BroadcastPackage((draft.tx,), label=label))
    node.ledger.onchain_changed(txid_hex(draft.tx.txid))
    return {"txid": txid_hex(draft.tx.txid), "fee_sat": draft.fee_sat}


@command
async def payto(
    node: Node,
    destination: str,
    amount: str | None = None,
    *,
    feerate: str | None = None,
    amount_sat: str | None = None,
    feerate_sat_per_vb: int | None = None,
    target_blocks: int | None = None,
    label: str = "",
    coins: str = "",
    unsigned: bool = False,
    addtransaction: bool = False,
    psbt: bool = False,
) -> Json:
    """Makes an on-chain payment; the amount is in BTC, "!" for all. Prints the signed transaction, as Electrum does;
    with --addtransaction, or from the window (amount_sat), it is sent at once; with --psbt it is printed unsigned, as
    a PSBT. --coins (txid:n, with commas between) names the coins it spends."""
    text = amount if amount is not None else amount_sat
    if text is None:
        raise CommandError(_("Say how much is to be sent."), code="usage")
    rate = feerate_from(node, feerate, feerate_sat_per_vb, target_blocks)
    with node.core.entry():
        draft = _draft(
            node, destination, text, rate, unit_btc=amount is not None, coins=outpoints_from(coins)
        )
        if psbt:
            spent = [coin.output for coin in _in_order(draft)]
            return Psbt.from_transaction(draft.tx, spent).to_base64()
        if amount is not None and not addtransaction:
            return draft.tx.serialize(witness=not unsigned).hex()
        answer = await _send(node, draft, label)
        durable = node.durable()
    await durable
    return answer


def _in_order(draft: Draft) -> list[Coin]:
    """The coins of a draft, as its inputs name them."""
    by_outpoint = {coin.outpoint: coin for coin in draft.inputs}
    return [by_outpoint[txin.prevout] for txin in draft.tx.inputs]


@command
async def broadcast(node: Node, tx: str) -> Json:
    """Sends a signed transaction to the network; prints its id."""
    try:
        transaction = Transaction.parse(bytes.fromhex(tx.strip()))
    except (DecodeError, ValueError):
        raise CommandError(_("This is not a transaction in hexadecimal."), code="transaction") from None
    try:
        async with asyncio.timeout(BROADCAST_TIMEOUT_SECONDS):
            result = await node.electrum.broadcaster.broadcast(BroadcastPackage((transaction,)))
    except TimeoutError:
        raise CommandError(
            _(
                "No server has answered yet. Leyden sends the transaction once one does, as long as it runs; after "
                "that, send it again."
            ),
            code="offline",
        ) from None
    if result.failure is not None:
        raise CommandError(result.failure.verdict.sentence, code="broadcast")
    with node.core.entry():
        if node.onchain.concerns(transaction):
            # It is sent already; should the books refuse it, what the chain shows will put them right.
            with contextlib.suppress(OnchainError):
                node.onchain.commit(transaction, "")
            node.ledger.onchain_changed(txid_hex(transaction.txid))
        durable = node.durable()
    await durable
    return txid_hex(transaction.txid)


def _bump(
    node: Node, txid: str, feerate: str | None = None, feerate_sat_per_vb: int | None = None
) -> tuple[OnchainEntry, Draft]:
    """A transaction that waits, and what makes it quicker; within an entry."""
    try:
        raw = hash_from_hex(txid)
    except (DecodeError, ValueError):
        raise CommandError(_("A transaction id is 64 characters of 0-9 and a-f."), code="usage") from None
    entry = node.onchain.entry_by_hex(txid)
    if entry is None:
        raise CommandError(_("This wallet has no transaction {txid}.").format(txid=txid[:16]), code="unknown")
    if feerate is None and feerate_sat_per_vb is None:
        rate = feerate_from(node, None, None, 1)
        if entry.fee_sat is not None:
            # BIP 125, rule 4, asks for 1 sat/vB more than before; a quarter more is worth the trouble.
            before = -(-entry.fee_sat * 1000 // entry.tx.weight)
            rate = max(rate, before + before // 4 + FLOOR_FEERATE_SAT_PER_KW)
    else:
        rate = feerate_from(node, feerate, feerate_sat_per_vb, None)
    try:
        draft = node.onchain.draft_bump(raw, rate) if entry.can_bump else node.onchain.draft_cpfp(raw, rate)
    except OnchainError as error:
        raise insufficient(error) from None
    return entry, draft


@command
async def quote_bump(node: Node, txid: str) -> Json:
    """Tells what it costs to have a transaction that waits in one of the next blocks; refuses where that cannot be."""
    with node.core.entry():
        entry, draft = _bump(node, txid)
    replaced_sat = (entry.fee_sat or 0) if entry.can_bump else 0
    return {
        "replaces": entry.can_bump,
        "fee_sat": draft.fee_sat,
        "costs_sat": draft.fee_sat - replaced_sat,
        "feerate": rate_text(draft.feerate_sat_per_kw),
    }


@command
async def bump_fee(
    node: Node, txid: str, *, feerate: str | None = None, feerate_sat_per_vb: int | None = None
) -> Json:
    """Replaces a transaction that waits by one with a higher fee, or pays for it by a child. Without a rate, the one
    that `quote_bump` names."""
    with node.core.entry():
        entry, draft = _bump(node, txid, feerate, feerate_sat_per_vb)
        answer = await _send(node, draft, entry.label)
        durable = node.durable()
    await durable
    return answer


@command
async def history(node: Node, *, limit: int = 1000) -> Json:
    """Lists what moved on both layers, oldest first."""
    if limit < 0:
        raise CommandError(_("The limit is how many items to list at most: 0 or more."), code="usage")
    page = node.views.activity_page(offset=0, limit=limit)
    return [
        {
            "type": item.kind.value,
            "txid": item.txid,
            "payment_hash": item.payment_hash,
            "amount_sat": item.amount_msat // 1000,
            "amount_msat": item.amount_msat,
            "moved_msat": item.moved_msat,
            "fee_msat": item.fee_msat,
            "bc_value": btc_text_msat(item.amount_msat),
            "timestamp": item.at,
            "height": item.height,
            "label": item.label,
            "status": item.status.value,
            "status_text": item.status_text,
        }
        for item in reversed(page.items)
    ]


@command
async def listunspent(node: Node) -> Json:
    """Lists the coins."""
    with node.core.locked():
        coins = node.onchain.coins()
        signed = node.onchain.signed_psbts()
        labels = node.onchain.labels()
        best_height = node.best_height
    return [
        {
            "prevout_hash": txid_hex(coin.outpoint.txid),
            "prevout_n": coin.outpoint.vout,
            "value": btc_text(coin.output.value_sat),
            "value_sat": coin.output.value_sat,
            "height": coin.height,
            "address": script_to_address(coin.output.script_pubkey, node.options.network),
            "confirmations": 0 if coin.height is None else max(0, best_height - coin.height + 1),
            "label": labels.get(txid_hex(coin.outpoint.txid), ""),
            "frozen": coin.frozen,
            "reserved": coin.reserved,
            "signed_for": txid_hex(signed[coin.outpoint]) if coin.outpoint in signed else None,
            "spendable": coin.is_mature and not coin.reserved,
        }
        for coin in coins
    ]


async def _freeze(node: Node, coin: str, frozen: bool) -> Json:
    found = outpoints_from(coin)
    with node.core.entry():
        known = {item.outpoint for item in node.onchain.coins()}
        for outpoint in found or ():
            if outpoint not in known:
                raise CommandError(
                    _("This wallet has no coin {coin}.").format(coin=coin[:80]), code="unknown"
                )
            node.onchain.freeze(outpoint, frozen)
            psbt = node.onchain.signed_psbts().get(outpoint)
            if psbt is not None and not frozen:
                node.onchain.release(psbt)
        durable = node.durable()
    await durable
    return True


@command
async def freeze_utxo(node: Node, coin: str) -> Json:
    """Keeps a coin (txid:n) from being spent by itself."""
    return await _freeze(node, coin, True)


@command
async def unfreeze_utxo(node: Node, coin: str) -> Json:
    """Lets a frozen coin (txid:n) be spent again, or those that are set aside with it for a PSBT that was signed."""
    return await _freeze(node, coin, False)


@command
async def setlabel(node: Node, key: str, label: str) -> Json:
    """Gives a transaction or payment a label."""
    if len(key) > MAX_ITEM_ID or (key.startswith("ln:") and not _HASH_TEXT.fullmatch(key[3:])):
        raise CommandError(
            _("Nothing has the id {id!r}: no label was set.").format(id=key[:40]), code="unknown"
        )
    with node.core.entry():
        node.set_label(key, label)
        durable = node.durable()
    await durable
    return True


@command
async def set_label(node: Node, item_id: str, label: str) -> Json:
    """Gives an item of the activity a label."""
    return await setlabel(node, item_id, label)
