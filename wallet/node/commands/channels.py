"""Commands for peers and channels."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from wallet.bitcoin.tx import hash_from_hex, txid_hex
from wallet.chain.interfaces import BroadcastPackage, ConfirmationTarget
from wallet.i18n import _, ngettext
from wallet.ln.channel_details import ChannelDetails, ChannelState
from wallet.ln.closing_costs import costs_of_state, forced_costs
from wallet.ln.config import UserConfig
from wallet.ln.events import ChannelClosed, ChannelPending
from wallet.ln.types import APIError, ChannelId, NodeId
from wallet.node.api import CommandError, Json
from wallet.node.commands.onchain import BROADCAST_TIMEOUT_SECONDS, feerate_from, insufficient
from wallet.node.commands.registry import EVERYTHING, command, sat_from_btc
from wallet.node.details import in_flight_msat, type_name
from wallet.node.futures import resolve
from wallet.node.records import ClosedChannelRecord
from wallet.node.sentences import opening_sentence, sat_text
from wallet.node.sockets import NodeUri, parse_node_uri
from wallet.node.suggestions import sensible_sat
from wallet.node.views import scid_text
from wallet.onchain.errors import OnchainError

if TYPE_CHECKING:
    from wallet.node.node import Node

__all__: list[str] = []

OPEN_TIMEOUT_SECONDS = 60
MIN_CHANNEL_SAT = 20_000
"""Below this, the fees of opening and closing eat the channel; peers refuse such channels anyway."""
FUNDING_OUTPUT_SCRIPT = b"\x00\x20" + bytes(32)
CLOSING_WEIGHT = 672 + 2 * 124
"""A cooperative close: the funding input with its 2-of-2 witness, and two P2WPKH or P2WSH outputs. BOLT 3."""
FUNDING_WEIGHT = 4 * 11 + 272 + 4 * (43 + 31)
"""An opening: one P2WPKH input with its witness, the funding output, and change."""
COMMITMENT_WEIGHT = 1124
"""A commitment of an anchor channel without HTLCs. BOLT 3, fee calculation."""


def peer_uri(node: Node, text: str) -> NodeUri:
    """A node URI, or the id of a peer whose address is known; raises `CommandError`."""
    stripped = text.strip()
    if "@" not in stripped and len(stripped) == 66:
        try:
            record = node.ledger.peers.get(bytes.fromhex(stripped))
        except ValueError:
            record = None
        if record is not None:
            return NodeUri(NodeId(record.node_id), record.host, record.port)
    try:
        return parse_node_uri(stripped, node.options.network.default_ln_port)
    except ValueError as error:
        raise CommandError(str(error), code="peer") from None


async def connect(node: Node, uri: NodeUri) -> None:
    """Connects; raises `CommandError`."""
    if uri.node_id == node.keys_manager.get_node_id():
        raise CommandError(
            _("This is your own node: it cannot connect to itself. Ask the other side for its address."),
            code="own",
        )
    try:
        await node.connect_peer(uri)
    except TimeoutError:
        raise CommandError(
            _("{peer} did not answer in time. Check the address, or try again later.").format(peer=uri),
            code="peer",
        ) from None
    except OSError as error:
        raise CommandError(
            _("{peer} cannot be reached ({why}). Check the address and your connection.").format(
                peer=uri, why=error.strerror or type(error).__name__
            ),
            code="peer",
        ) from None


@command
async def add_peer(node: Node, connection_string: str) -> Json:
    """Connects to a Lightning node: node_id@host:port."""
    await connect(node, peer_uri(node, connection_string))
    return True


@command
async def list_peers(node: Node) -> Json:
    """Lists the peers that are connected."""
    with node.core.locked():
        details = node.manager.list_channels()
    return [
        {
            "node_id": peer.node_id,
            "address": peer.address,
            "initialized": peer.online,
            "alias": peer.alias,
            "channels": [
                channel_point(item) for item in details if item.counterparty_node_id.hex() == peer.node_id
            ],
        }
        for peer in node.views.snapshot().peers
        if peer.online
    ]


@command
async def nodeid(node: Node) -> Json:
    """Shows this wallet's Lightning node id, and where it listens."""
    node_id = node.keys_manager.get_node_id().hex()
    if node.options.listen is None or node.listening_port is None:
        return node_id
    return f"{node_id}@{node.options.listen[0]}:{node.listening_port}"


# --- channels -----------------------------------------------------------------------------


def channel_point(item: ChannelDetails) -> str | None:
    outpoint = item.funding_outpoint
    return None if outpoint is None else f"{txid_hex(outpoint.txid)}:{outpoint.vout}"


def channel_json(node: Node, item: ChannelDetails) -> dict[str, Json]:
    """A channel in Electrum's fields; balances in sat."""
    online = item.counterparty_node_id in node.peers.online
    if item.state in (ChannelState.SHUTTING_DOWN, ChannelState.CLOSING):
        state = "SHUTDOWN"
    elif item.is_channel_ready:
        state = "OPEN"
    else:
        state = "OPENING" if item.funding_outpoint is not None else "PREOPENING"
    outgoing_msat = in_flight_msat(item, outbound=True)
    incoming_msat = in_flight_msat(item, outbound=False)
    remote_msat = item.channel_value_sat * 1000 - item.balance_msat - outgoing_msat - incoming_msat
    return {
        "short_channel_id": scid_text(item.short_channel_id),
        "channel_id": item.channel_id.hex(),
        "channel_point": channel_point(item),
        "closing_txid": None,
        "state": state,
        "peer_state": "GOOD" if online else "DISCONNECTED",
        "remote_pubkey": item.counterparty_node_id.hex(),
        "local_balance": item.balance_msat // 1000,
        "remote_balance": max(0, remote_msat) // 1000,
        "local_balance_msat": item.balance_msat,
        "local_reserve": item.unspendable_punishment_reserve_sat or 0,
        "remote_reserve": item.counterparty_reserve_sat or 0,
        "local_unsettled_sent": outgoing_msat // 1000,
        "remote_unsettled_sent": incoming_msat // 1000,
        "capacity_sat": item.channel_value_sat,
        "can_send_msat": item.next_outbound_htlc_limit_msat,
        "can_receive_msat": item.inbound_capacity_msat,
        "is_usable": item.is_usable,
        "channel_type": type_name(item),
        "feerate_sat_per_kw": item.feerate_sat_per_kw,
        "confirmations": item.confirmations,
        "confirmations_required": item.confirmations_required,
        "public": item.is_announced,
    }


@command
async def list_channels(
    node: Node, *, public: bool = False, private: bool = False, active: bool = False
) -> Json:
    """Lists the channels, those that are closing or closed included."""
    with node.core.locked():
        details = node.manager.list_channels()
        locked = node.chain_monitor.get_claimable_balances(frozenset(item.channel_id for item in details))
    channels = [
        channel_json(node, item)
        for item in details
        if item.channel_id not in node.events.probes
        and not (public and not item.is_announced)
        and not (private and item.is_announced)
        and not (active and not item.is_usable)
    ]
    if not active:
        pending = {bytes(balance.channel_id) for balance in locked}
        for record in node.ledger.closed.values():
            if not record.was_funded:
                continue
            channels.append(
                {
                    "short_channel_id": None,
                    "channel_id": record.channel_id.hex(),
                    "channel_point": f"{txid_hex(record.funding_txid)}:{record.funding_vout}"
                    if record.funding_txid is not None
                    else None,
                    "closing_txid": txid_hex(record.closing_txid)
                    if record.closing_txid is not None
                    else None,
                    "state": "CLOSING" if record.channel_id in pending else "CLOSED",
                    "peer_state": "DISCONNECTED",
                    "remote_pubkey": record.counterparty_node_id.hex(),
                    "local_balance": record.local_msat // 1000,
                    "remote_balance": max(0, record.capacity_sat - record.local_msat // 1000),
                    "capacity_sat": record.capacity_sat,
                    "reason": record.reason,
                    "is_usable": False,
                }
            )
    return channels


@command
async def open_channel(
    node: Node,
    connection_string: str | None = None,
    amount: str | None = None,
    *,
    push_amount: str | None = None,
    public: bool = False,
    peer: str | None = None,
    amount_sat: int | None = None,
    push_sat: int = 0,
    feerate: str | None = None,
    feerate_sat_per_vb: int | None = None,
    target_blocks: int | None = None,
    static_remotekey: bool = False,
    timeout: int = OPEN_TIMEOUT_SECONDS,  # noqa: ASYNC109 - Electrum's name for the argument
) -> Json:
    """Opens a channel to node_id@host:port, with an amount in BTC ("!" for all); returns the channel point."""
    target = connection_string or peer
    if target is None:
        raise CommandError(_("Say which node: node_id@host:port."), code="usage")
    uri = peer_uri(node, target)
    feerate_sat_per_kw = feerate_from(node, feerate, feerate_sat_per_vb, target_blocks)
    if push_amount is not None and push_amount not in ("0", "0.0"):
        push_sat = sat_from_btc(push_amount, what=_("The pushed amount"))
    value_sat = _channel_amount_sat(node, amount, amount_sat, feerate_sat_per_kw)
    if value_sat < MIN_CHANNEL_SAT:
        raise CommandError(
            _("A channel of {amount} would be eaten by its fees: open it with {least} at least.").format(
                amount=sat_text(value_sat), least=sat_text(MIN_CHANNEL_SAT)
            ),
            code="amount",
        )
    if not 0 <= push_sat < value_sat:
        raise CommandError(_("The pushed amount has to be smaller than the channel."), code="amount")
    await connect(node, uri)
    return await open_to(
        node,
        uri.node_id,
        value_sat,
        push_sat=push_sat,
        feerate_sat_per_kw=feerate_sat_per_kw,
        config=node.open_config(public=public, anchors=not static_remotekey),
        timeout_seconds=timeout,
    )


async def open_to(
    node: Node,
    node_id: NodeId,
    value_sat: int,
    *,
    push_sat: int,
    feerate_sat_per_kw: int,
    config: UserConfig,
    timeout_seconds: int,
    user_channel_id: int = 0,
) -> dict[str, Json]:
    """Opens a channel to a peer that is connected; raises `CommandError`."""
    opened: asyncio.Future[ChannelPending | ChannelClosed] = node.promise()
    with node.core.entry():
        _check_funds(node, value_sat, feerate_sat_per_kw)
        try:
            temporary_id = node.manager.create_channel(
                node_id, value_sat, push_sat * 1000, user_channel_id, config
            )
        except APIError as error:
            raise CommandError(str(error), code="channel") from None
        node.events.funding_fee_sat_per_kw[temporary_id] = feerate_sat_per_kw
        node.events.channel_waiters[temporary_id] = lambda event: resolve(opened, event)
    try:
        async with asyncio.timeout(timeout_seconds):
            outcome = await opened
    except TimeoutError:
        with node.core.entry():
            node.manager.force_close_broadcasting_latest_txn(temporary_id, node_id, "opening timed out")
        raise CommandError(
            _(
                "The peer did not answer the opening within {seconds} seconds. No coins were used; try another peer."
            ).format(seconds=timeout_seconds),
            code="channel",
        ) from None
    if isinstance(outcome, ChannelClosed):
        raise CommandError(
            _("The channel of {amount} was not opened. {why}").format(
                amount=sat_text(value_sat), why=opening_sentence(outcome.reason, value_sat)
            ),
            code="channel",
        )
    txid = txid_hex(outcome.funding_outpoint.txid)
    return {
        **await _sent(node, outcome),
        "channel_point": f"{txid}:{outcome.funding_outpoint.vout}",
        "channel_id": outcome.channel_id.hex(),
        "funding_txid": txid,
    }


async def _sent(node: Node, outcome: ChannelPending) -> dict[str, Json]:
    """Waits until a server has the funding transaction; a refusal is told, and tried again later by itself."""
    with node.core.locked():
        tx = node.onchain.reserved_transaction(outcome.funding_outpoint.txid)
        entry = node.onchain.entry_by_hex(txid_hex(outcome.funding_outpoint.txid))
    if tx is None and entry is not None:
        tx = entry.tx
    if tx is None:
        return {}
    if not node.recovery.may_leave([tx.txid]):
        return {"warning": node.recovery.backup.problem}
    try:
        async with asyncio.timeout(BROADCAST_TIMEOUT_SECONDS):
            result = await node.electrum.broadcaster.broadcast(BroadcastPackage((tx,)))
    except TimeoutError:
        return {"warning": _("No server has answered yet; Leyden keeps sending the opening transaction.")}
    return {} if result.failure is None else {"warning": result.failure.verdict.sentence}


def _channel_amount_sat(
    node: Node, amount: str | None, amount_sat: int | None, feerate_sat_per_kw: int
) -> int:
    if amount_sat is not None:
        return amount_sat
    if amount is None:
        raise CommandError(_("Say how much the channel is to hold."), code="usage")
    if amount not in (EVERYTHING, "all"):
        return sat_from_btc(amount, what=_("The amount"))
    return max_channel_sat(node, feerate_sat_per_kw)


def max_channel_sat(node: Node, feerate_sat_per_kw: int) -> int:
    """All coins, less the opening's fee and the reserve for closing."""
    with node.core.entry():
        try:
            draft = node.onchain.draft(
                outputs=(),
                send_all_to=FUNDING_OUTPUT_SCRIPT,
                feerate_sat_per_kw=feerate_sat_per_kw,
                keep_sat=node.anchor_reserve_sat(extra_channels=1),
                lock_time=0,
            )
        except OnchainError as error:
            raise insufficient(error) from None
    return next(out.value_sat for out in draft.tx.outputs if out.script_pubkey == FUNDING_OUTPUT_SCRIPT)


def _check_funds(node: Node, value_sat: int, feerate_sat_per_kw: int) -> int:
    """The fee of the funding transaction; raises `CommandError` when the coins do not reach, reserve included."""
    from wallet.bitcoin.tx import TxOut

    try:
        draft = node.onchain.draft(
            outputs=(TxOut(value_sat, FUNDING_OUTPUT_SCRIPT),),
            feerate_sat_per_kw=feerate_sat_per_kw,
            keep_sat=node.anchor_reserve_sat(extra_channels=1),
            lock_time=0,
        )
    except OnchainError as error:
        raise insufficient(error) from None
    return draft.fee_sat


@command
async def quote_open_channel(
    node: Node,
    *,
    peer: str = "",
    amount_sat: str = EVERYTHING,
    target_blocks: int | None = None,
) -> Json:
    """Tells what opening a channel costs now and later, and what it will be able to send and receive."""
    feerate_sat_per_kw = feerate_from(node, None, None, target_blocks)
    if amount_sat in (EVERYTHING, "all"):
        value_sat = max_channel_sat(node, feerate_sat_per_kw)
    else:
        try:
            value_sat = int(amount_sat)
        except ValueError:
            raise CommandError(_("The amount is a whole number of sat."), code="amount") from None
    warning = ""
    if value_sat < MIN_CHANNEL_SAT:
        raise CommandError(
            _("A channel of {amount} would be eaten by its fees: open it with {least} at least.").format(
                amount=sat_text(value_sat), least=sat_text(MIN_CHANNEL_SAT)
            ),
            code="amount",
        )
    with node.core.entry():
        fee_sat = _check_funds(node, value_sat, feerate_sat_per_kw)
        anchor_sat = node.anchor_reserve_sat(extra_channels=1)
        close_rate = node.fee_sat_per_kw(ConfirmationTarget.NON_ANCHOR_CHANNEL_FEE)
        anchor_rate = node.fee_sat_per_kw(ConfirmationTarget.ANCHOR_CHANNEL_FEE)
    closing_fee_sat = CLOSING_WEIGHT * close_rate // 1000
    minimum_sat = _known_minimum_sat(node, peer)
    reserve_sat = max(value_sat // 100, 1_000)
    commit_fee_sat = COMMITMENT_WEIGHT * 2 * anchor_rate // 1000 + 660
    forced = forced_costs(
        is_funder=True,
        anchors=True,
        feerate_sat_per_kw=anchor_rate,
        own_sat=max(0, value_sat - COMMITMENT_WEIGHT * anchor_rate // 1000 - 660),
        htlcs=(),
        **_closing_rates(node),
    )
    if closing_fee_sat * 20 > value_sat:
        warning = _(
            "Closing may cost more than a twentieth of this channel. A larger one is cheaper in the long run."
        )
    if minimum_sat is not None and value_sat < minimum_sat:
        warning = _("This node takes channels from {amount} only: it would refuse a smaller one.").format(
            amount=sat_text(minimum_sat)
        )
    return {
        "amount_sat": value_sat,
        "funding_fee_sat": fee_sat,
        "closing_fee_sat_estimate": closing_fee_sat,
        "forced_fee_sat_estimate": forced.total_sat,
        "can_send_sat": max(0, value_sat - reserve_sat - commit_fee_sat),
        "can_receive_sat": 0,
        "reserve_sat": reserve_sat,
        "anchor_reserve_sat": anchor_sat,
        "peer_minimum_sat": minimum_sat,
        "sensible_sat": sensible_channel_sat(node, minimum_sat or 0),
        "warning": warning,
    }


def sensible_channel_sat(node: Node, peer_minimum_sat: int = 0) -> int:
    """A size at which today's fees for opening and closing do not matter much."""
    rate = node.fee_sat_per_kw(ConfirmationTarget.NON_ANCHOR_CHANNEL_FEE)
    return sensible_sat((FUNDING_WEIGHT + CLOSING_WEIGHT) * rate // 1000, peer_minimum_sat)


def _known_minimum_sat(node: Node, peer: str) -> int | None:
    """What the peer said when it was asked; None where it was not, or did not say."""
    try:
        return node.peer_minimums_sat.get(bytes(peer_uri(node, peer).node_id))
    except CommandError:
        return None


def find_channel(node: Node, text: str) -> ChannelDetails:
    """A channel by its point, id or short id; raises `CommandError`."""
    wanted = text.strip()
    with node.core.locked():
        details = node.manager.list_channels()
    for item in details:
        if wanted in (channel_point(item), item.channel_id.hex(), scid_text(item.short_channel_id)):
            return item
    try:
        closed = node.ledger.closed.get(bytes.fromhex(wanted)) or _closed_by_point(node, wanted)
    except ValueError:
        closed = _closed_by_point(node, wanted)
    if closed is not None:
        raise CommandError(
            _("This channel is closed already. {why}").format(why=closed.reason), code="closed"
        )
    raise CommandError(
        _("There is no channel {id}. `leyden list_channels` lists them.").format(id=wanted[:80]),
        code="unknown",
    )


def _closed_by_point(node: Node, wanted: str) -> ClosedChannelRecord | None:
    txid, _colon, vout = wanted.partition(":")
    try:
        raw = hash_from_hex(txid)
    except ValueError:
        return None
    for record in node.ledger.closed.values():
        if record.funding_txid == raw and str(record.funding_vout) == vout:
            return record
    return None


@command
async def quote_close(node: Node, channel_id: str, *, force: bool = False) -> Json:
    """Tells what closing a channel costs, what comes back, and when."""
    item = find_channel(node, channel_id)
    close_rate = node.fee_sat_per_kw(ConfirmationTarget.NON_ANCHOR_CHANNEL_FEE)
    local_sat = item.balance_msat // 1000
    if not force:
        fee_sat = CLOSING_WEIGHT * close_rate // 1000 if item.is_outbound else 0
        return {
            "fee_sat": fee_sat,
            "amount_sat": max(0, local_sat - fee_sat),
            "available_height": None,
            "available_blocks": 1,
            "explanation": _("Both sides agree on a transaction; your part is spendable once it confirms."),
        }
    delay_blocks = item.force_close_spend_delay_blocks or 0
    with node.core.locked():
        monitor = node.chain_monitor.get_monitor(item.channel_id)
        costs = None if monitor is None else costs_of_state(monitor.state, **_closing_rates(node))
    if costs is None:
        return {
            "fee_sat": 0,
            "amount_sat": 0,
            "available_height": None,
            "available_blocks": 0,
            "explanation": _("The opening is given up. Nothing has been published, and no coins were used."),
        }
    days = max(1, delay_blocks // 144)
    return {
        "fee_sat": costs.total_sat,
        "amount_sat": costs.home_sat,
        "available_height": node.best_height + 1 + delay_blocks,
        "available_blocks": delay_blocks + 1,
        "explanation": ngettext(
            "Leyden publishes the channel's last state by itself. Your part stays locked for {blocks} blocks (about a "
            "day) after that confirms, so that the peer could object.",
            "Leyden publishes the channel's last state by itself. Your part stays locked for {blocks} blocks (about "
            "{days} days) after that confirms, so that the peer could object.",
            days,
        ).format(blocks=delay_blocks, days=days),
        "commitment_sat": costs.commitment_sat,
        "bump_sat": costs.bump_sat,
        "htlcs_sat": costs.htlcs_sat,
        "sweep_sat": costs.sweep_sat,
        "from_coins_sat": costs.from_coins_sat,
    }


def _closing_rates(node: Node) -> dict[str, int]:
    """What is paid per weight while a channel is closed without its peer, today."""
    return {
        "pressing_sat_per_kw": node.fee_sat_per_kw(ConfirmationTarget.URGENT_ON_CHAIN_SWEEP),
        "patient_sat_per_kw": node.fee_sat_per_kw(ConfirmationTarget.OUTPUT_SPENDING_FEE),
    }


@command
async def close_channel(
    node: Node, channel_point: str | None = None, *, channel_id: str | None = None, force: bool = False
) -> Json:
    """Closes a channel together with the peer, or, with --force, alone."""
    wanted = channel_point or channel_id
    if wanted is None:
        raise CommandError(_("Say which channel: its channel point."), code="usage")
    item = find_channel(node, wanted)
    if not force and item.counterparty_node_id not in node.peers.online:
        raise CommandError(
            _(
                "The peer is offline, so it cannot agree to the closing. Wait until it is back, or force-close."
            ),
            code="offline",
        )
    if force and item.channel_id in node.recovery.held:
        raise CommandError(
            _(
                "This wallet was restored, and may not know the newest state of the channel: publishing an old one "
                "could lose all of it. Wait until the peer is connected; it shows whether the file is current. If the "
                "peer is gone for good, `leyden help publish_held_channel` says what can be done."
            ),
            code="restored",
        )
    with node.core.entry():
        try:
            if force:
                node.manager.force_close_broadcasting_latest_txn(
                    item.channel_id, item.counterparty_node_id, "closed by the user"
                )
            else:
                node.manager.close_channel(item.channel_id, item.counterparty_node_id)
        except APIError as error:
            raise CommandError(str(error), code="channel") from None
        durable = node.durable()
    await durable
    return {"channel_id": item.channel_id.hex(), "txid": None}


# --- openings that wait for the person ---------------------------------------------------------


@command
async def list_channel_requests(node: Node) -> Json:
    """Lists the channels that peers want to open and that wait for your word."""
    return [
        {
            "temporary_channel_id": key.hex(),
            "peer": event.counterparty_node_id.hex(),
            "amount_sat": event.funding_sat,
            "risk": _(
                "You have no coins to pay for closing this channel "
                "yourself. Should the peer go away or cheat while fees are "
                "high, what you hold in it may be lost. Deposit some coins first, or accept the risk."
            ),
        }
        for key, event in node.events.channel_requests.items()
    ]


@command
async def accept_channel_request(node: Node, temporary_channel_id: str, *, accept: bool = True) -> Json:
    """Accepts (or refuses) a channel that a peer wants to open, at the risk that list_channel_requests names."""
    try:
        key = ChannelId(bytes.fromhex(temporary_channel_id))
        event = node.events.channel_requests.pop(key)
    except (ValueError, KeyError):
        raise CommandError(
            _("No such opening waits for you; the peer may have gone."), code="unknown"
        ) from None
    with node.core.entry():
        try:
            if accept:
                node.manager.accept_inbound_channel(key, event.counterparty_node_id, 0)
            else:
                node.manager.reject_inbound_channel(key, event.counterparty_node_id, "not wanted")
        except APIError as error:
            raise CommandError(str(error), code="channel") from None
    return True
