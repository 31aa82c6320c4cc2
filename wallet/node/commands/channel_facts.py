"""Commands that look into one channel: its HTLCs and past states, and after its end each output's way home."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wallet.bitcoin.errors import DecodeError
from wallet.bitcoin.tx import txid_hex
from wallet.i18n import _, ngettext
from wallet.ln.channel_details import ChannelDetails, PendingHtlcState
from wallet.ln.channelmonitor import ChannelMonitor
from wallet.ln.events import BalanceKind
from wallet.ln.monitor_state import MonitorState, decode_revoked, revoked_key
from wallet.ln.monitor_update import CommitmentHtlc
from wallet.ln.sweep import SweptOutput
from wallet.ln.types import ChannelId
from wallet.node.api import CommandError, Json
from wallet.node.commands.onchain import bump_fee, feerate_from
from wallet.node.commands.registry import command
from wallet.node.views import ANTI_REORG_BLOCKS

if TYPE_CHECKING:
    from wallet.node.node import Node

__all__: list[str] = []

MOST_STATES = 200
WEIGHT_PER_VBYTE = 4
HOME = "home"
UNLESS_TAKEN = "unless taken"
IF_PROVEN = "if proven"
"""Where an output goes: to us for certain, to us unless its payee takes it, to us only if its proof arrives in time."""
_GOES = {
    BalanceKind.MAYBE_TIMEOUT_CLAIMABLE_HTLC: UNLESS_TAKEN,
    BalanceKind.MAYBE_PREIMAGE_CLAIMABLE_HTLC: IF_PROVEN,
}


def _channel_id(text: str) -> ChannelId:
    try:
        raw = bytes.fromhex(text.strip())
    except ValueError:
        raw = b""
    if len(raw) != 32:
        raise CommandError(_("A channel id is 64 characters of 0-9 and a-f."), code="usage")
    return ChannelId(raw)


def _unknown(text: str) -> CommandError:
    return CommandError(
        _("There is no channel {id}. `leyden list_channels` lists them.").format(id=text[:80]), code="unknown"
    )


# --- HTLCs and states --------------------------------------------------------------------------


def _state_word(state: PendingHtlcState) -> str:
    return {
        PendingHtlcState.WAITING_TO_BE_SENT: _("waiting to be sent"),
        PendingHtlcState.BEING_ADDED: _("being added"),
        PendingHtlcState.COMMITTED: _("committed on both sides"),
        PendingHtlcState.BEING_REMOVED: _("being removed"),
    }[state]


def _htlcs_json(details: ChannelDetails | None) -> list[Json]:
    return [
        {
            "outgoing": htlc.outbound,
            "htlc_id": htlc.htlc_id,
            "amount_msat": htlc.amount_msat,
            "payment_hash": htlc.payment_hash.hex(),
            "expiry_height": htlc.cltv_expiry_height,
            "state": _state_word(htlc.state),
        }
        for htlc in (() if details is None else details.pending_htlcs)
    ]


def _past_htlcs(items: tuple[CommitmentHtlc, ...]) -> list[Json]:
    """HTLCs of a commitment of the peer's: what it offered there comes in to us."""
    return [
        {
            "outgoing": not item.htlc.offered,
            "amount_msat": item.htlc.amount_msat,
            "payment_hash": item.htlc.payment_hash.hex(),
            "expiry_height": item.htlc.cltv_expiry_height,
        }
        for item in items
    ]


def _current_states(state: MonitorState) -> list[Json]:
    return [
        {
            "number": item.number,
            "revoked": False,
            "ours_sat": item.to_countersignatory_sat,
            "theirs_sat": item.to_broadcaster_sat,
            "feerate_sat_per_kw": item.feerate_sat_per_kw,
            "htlcs": _past_htlcs(item.htlcs),
        }
        for item in reversed(state.counterparty)
    ]


def _past_state(node: Node, channel_id: ChannelId, number: int) -> dict[str, Json]:
    data = node.store.read(revoked_key(channel_id, number))
    try:
        htlcs = None if data is None else decode_revoked(data).htlcs
    except DecodeError:
        htlcs = None
    return {
        "number": number,
        "revoked": True,
        "kept": htlcs is not None,
        "htlcs": [] if htlcs is None else _past_htlcs(htlcs),
    }


@command
async def channel_states(node: Node, channel_id: str, *, offset: int = 0, limit: int = 20) -> Json:
    """Shows a channel's HTLCs, and its states, newest first: the present one, then those that were revoked."""
    if offset < 0 or not 1 <= limit <= MOST_STATES:
        raise CommandError(
            _("Between 1 and {most} states are shown at a time.").format(most=MOST_STATES), code="usage"
        )
    key = _channel_id(channel_id)
    with node.core.locked():
        details = next((item for item in node.manager.list_channels() if item.channel_id == key), None)
        monitor = node.chain_monitor.get_monitor(key)
        if monitor is None:
            raise _unknown(channel_id)
        state = monitor.state
    revoked = state.secrets.revoked_count
    newest = revoked - 1 - offset
    numbers = range(newest, max(-1, newest - limit), -1)
    return {
        "htlcs": _htlcs_json(details),
        "current": _current_states(state) if offset == 0 else [],
        "past": [_past_state(node, key, number) for number in numbers],
        "total": revoked,
    }


# --- after the end ------------------------------------------------------------------------------


def _confirmations(node: Node, height: int | None) -> int:
    return 0 if height is None else max(0, node.best_height - height + 1)


def _swept_json(node: Node, item: SweptOutput) -> dict[str, Json]:
    """An output that may be taken, from the sweep to the sixth confirmation."""
    amount_sat = item.descriptor.output.value_sat
    free = (_("Free to be taken"), "done", "")
    if item.spent is not None:
        depth = _confirmations(node, item.spent.height)
        home = depth >= ANTI_REORG_BLOCKS
        words = _("In your on-chain coins") if home else _confirmation_words(depth)
        return {
            "amount_sat": amount_sat,
            "state": "home" if home else "confirming",
            "text": _("Home.") if home else _("On its way into your on-chain coins."),
            "steps": [[*free], [words, "done" if home else "current", ""]],
            "txid": txid_hex(item.spent.txid),
            "confirming_blocks": _blocks_left(depth),
            "until_height": None,
            "can_speed_up": False,
            "goes": HOME,
        }
    sent = item.sweep is not None
    return {
        "amount_sat": amount_sat,
        "state": "sweeping",
        "text": _("On its way into your on-chain coins.")
        if sent
        else _("Waits for lower fees: taking it now would cost more than it is worth."),
        "steps": [[*free], [_confirmation_words(0) if sent else _("Taken home"), "current", ""]],
        "txid": txid_hex(item.sweep.tx.txid) if item.sweep is not None else None,
        "confirming_blocks": _blocks_left(0) if sent else None,
        "until_height": None if item.not_before_height <= node.best_height else item.not_before_height,
        "can_speed_up": sent,
        "goes": HOME,
    }


def _confirmation_words(depth: int) -> str:
    return ngettext("{have} of {n} confirmation", "{have} of {n} confirmations", ANTI_REORG_BLOCKS).format(
        have=min(depth, ANTI_REORG_BLOCKS), n=ANTI_REORG_BLOCKS
    )


def _blocks_left(depth: int) -> int | None:
    """How many more blocks until it counts as home; None where it does."""
    return ANTI_REORG_BLOCKS - depth if depth < ANTI_REORG_BLOCKS else None


def _by_agreement(node: Node, txid: str) -> list[dict[str, Json]]:
    """Our output of a closing transaction that both sides signed pays the wallet at once."""
    with node.core.locked():
        entry = node.onchain.entry_by_hex(txid)
    if entry is None or entry.delta_sat <= 0:
        return []
    depth = _confirmations(node, entry.height)
    home = depth >= ANTI_REORG_BLOCKS
    last = [_("In your on-chain coins"), "done", ""] if home else [_confirmation_words(depth), "current", ""]
    return [
        {
            "amount_sat": entry.delta_sat,
            "state": "home" if home else "confirming",
            "text": _("Home.") if home else _("Paid to your wallet by the closing transaction itself."),
            "steps": [
                [_("Both sides signed"), "done", ""],
                [*last],
            ],
            "txid": txid,
            "confirming_blocks": _blocks_left(depth),
            "until_height": None,
            "can_speed_up": entry.height is None and (entry.can_bump or entry.can_cpfp),
            "goes": HOME,
        }
    ]


def _wait_step(goes: str, height: int | None, wait_blocks: int) -> str:
    """What an output that is locked waits for."""
    if goes == IF_PROVEN:
        if height is None:
            return _("The proof of payment")
        return _("The proof of payment, before block {height}").format(height=height)
    if goes == UNLESS_TAKEN:
        return _("Its time limit, unless the payee takes it")
    return _("The delay that the channel's rules ask for") if wait_blocks else _("Claimed by Leyden")


def _peers_sat(node: Node, monitor: ChannelMonitor | None, txid: str | None, by_agreement_sat: int) -> int:
    """What of the channel goes to the peer for certain: its own part."""
    if by_agreement_sat and txid is not None:
        with node.core.locked():
            entry = node.onchain.entry_by_hex(txid)
        return 0 if entry is None else max(0, entry.tx.total_output_sat - by_agreement_sat)
    if monitor is None:
        return 0
    with node.core.locked():
        return monitor.peers_output_of_commitment() or 0


@command
async def closing_report(node: Node, channel_id: str) -> Json:
    """Follows the money of a closed channel: each output that is ours, the steps of its way home, and when it is
    free."""
    key = _channel_id(channel_id)
    record = node.ledger.closed.get(bytes(key))
    if record is None:
        raise _unknown(channel_id)
    with node.core.locked():
        monitor = node.chain_monitor.get_monitor(key)
        balances = () if monitor is None else monitor.get_claimable_balances()
        known = {} if monitor is None else dict(monitor.state.txs)
        swept = [item for item in node.sweeper.tracked_spendable_outputs() if item.channel_id == key]
    txid = txid_hex(record.closing_txid) if record.closing_txid is not None else None
    closing = next((item for item in known.values() if item.tx.txid == record.closing_txid), None)
    closing_height = closing.height if closing is not None else None
    if closing_height is None and txid is not None:
        with node.core.locked():
            entry = node.onchain.entry_by_hex(txid)
        closing_height = entry.height if entry is not None else None
    depth = _confirmations(node, closing_height)
    closing_step: list[Json] = [
        _("The closing transaction is confirmed") if depth else _("The closing transaction has to confirm"),
        "done" if depth else "current",
        "",
    ]
    outputs = [] if txid is None else _by_agreement(node, txid)
    peer_sat = _peers_sat(
        node, monitor, txid, sum(out["amount_sat"] for out in outputs if isinstance(out["amount_sat"], int))
    )
    for balance in () if outputs else balances:
        coin = node.views.locked_coin(balance)
        wait = 0 if coin.until_height is None else max(0, coin.until_height - node.best_height)
        goes = _GOES.get(balance.kind, HOME)
        outputs.append(
            {
                "amount_sat": coin.amount_sat,
                "state": "locked",
                "text": coin.reason,
                "steps": [
                    closing_step,
                    [_wait_step(goes, coin.until_height, wait), "current" if depth else "waiting", ""],
                    [_("In your on-chain coins"), "waiting", ""],
                ],
                "txid": txid_hex(balance.outpoint_txid) if balance.outpoint_txid is not None else txid,
                "confirming_blocks": None,
                "until_height": coin.until_height,
                "can_speed_up": False,
                "goes": goes,
            }
        )
    outputs += [_swept_json(node, item) for item in swept]
    return {
        "closing_txid": txid,
        "closing_height": closing_height,
        "closing_confirmations": depth,
        "closed_at": record.closed_at,
        "reason": record.reason,
        "outputs": outputs,
        "peer_sat": peer_sat,
        "best_height": node.best_height,
    }


@command
async def speed_up_closing(node: Node, channel_id: str) -> Json:
    """Pays more for what brings the money of a closed channel home, so that it confirms sooner."""
    key = _channel_id(channel_id)
    record = node.ledger.closed.get(bytes(key))
    if record is None:
        raise _unknown(channel_id)
    with node.core.entry():
        raised = node.sweeper.speed_up(key)
        durable = node.durable()
    await durable
    if raised:
        return {"raised": True}
    if record.closing_txid is not None:
        txid = txid_hex(record.closing_txid)
        with node.core.locked():
            entry = node.onchain.entry_by_hex(txid)
        if entry is not None and entry.height is None and (entry.can_bump or entry.can_cpfp):
            rate = feerate_from(node, None, None, 1)
            await bump_fee(node, txid, feerate_sat_per_vb=max(2, -(-rate * WEIGHT_PER_VBYTE // 1000)))
            return {"raised": True}
    raise CommandError(
        _("Nothing of this channel can be sped up now: it pays the going rate, or waits for a delay."),
        code="fee",
    )
