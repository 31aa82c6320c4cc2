"""Commands before a channel is opened: whom to ask, and what they take. No money is needed for either."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

from wallet.i18n import _
from wallet.ln.events import ChannelClosed, FundingGenerationReady
from wallet.ln.msgs.addresses import AddressKind, SocketAddress
from wallet.ln.types import APIError, NodeId
from wallet.node.api import CommandError, Json
from wallet.node.commands.channels import MIN_CHANNEL_SAT, connect, peer_uri, sensible_channel_sat
from wallet.node.commands.registry import command
from wallet.node.futures import resolve
from wallet.node.plans import Plan
from wallet.node.sentences import peer_text, sat_text
from wallet.node.suggestions import (
    GRAPH_IS_THERE_NODES,
    NodeFacts,
    Suggestion,
    draw,
    graph_reason,
    listed,
    minimum_in,
    well_connected,
)

if TYPE_CHECKING:
    from wallet.node.node import Node

__all__: list[str] = []

RESOURCES = Path(__file__).resolve().parents[3] / "resources"
PROBE_TIMEOUT_SECONDS = 20
REACHED_OPENLY = (AddressKind.IPV4, AddressKind.HOSTNAME, AddressKind.IPV6)


def _list_text(network_name: str) -> str:
    try:
        return (RESOURCES / "nodes" / f"{network_name}.txt").read_text(encoding="utf-8")
    except OSError:
        return ""


def _address_of(node: Node, node_id: NodeId) -> SocketAddress | None:
    """Where a node of the graph is reached from here; under the lock."""
    said = node.graph.node_announcement(node_id)
    kinds = REACHED_OPENLY if node.options.proxy is None else (*REACHED_OPENLY, AddressKind.TOR_V3)
    found = () if said is None else said.addresses
    return next((item for kind in kinds for item in found if item.kind is kind and item.port), None)


def _from_graph(node: Node, besides: frozenset[bytes], count: int) -> list[Suggestion]:
    """Drawn by lot; a moment under the lock."""
    found: list[Suggestion] = []
    with node.core.locked():
        graph = node.graph.snapshot()
        counts = [len(channels) for channels in graph.node_channels]
        for index in draw(well_connected(counts), lambda: os.urandom(8)):
            node_id = graph.node_ids[index]
            address = None if bytes(node_id) in besides else _address_of(node, node_id)
            info = None if address is None else node.graph.node(node_id)
            if address is None or info is None:
                continue
            facts = NodeFacts(
                channels=len(info.channels),
                capacity_sat=sum(node.graph.capacity_sat(scid) or 0 for scid in info.channels),
                oldest_height=min(info.channels) >> 40,
            )
            found.append(
                Suggestion(
                    node_id=node_id.hex(),
                    address=str(address),
                    alias=node.alias_of(node_id),
                    reason=graph_reason(facts, node.best_height),
                )
            )
            if len(found) == count:
                break
    return found


def _suggested(node: Node, count: int) -> list[Suggestion]:
    with node.core.locked():
        taken = {bytes(item.counterparty_node_id) for item in node.manager.list_channels()}
    besides = frozenset((*taken, bytes(node.keys_manager.get_node_id())))
    sandbox = node.sandbox_control
    if sandbox is not None:
        node_id, _at, address = sandbox.hub_uri().partition("@")
        reason = _("The friendly hub of the practice network. It passes payments on to the shop.")
        alias = node.alias_of(bytes.fromhex(node_id))
        return [Suggestion(node_id=node_id, address=address, alias=alias, reason=reason)]
    if node.graph.node_count >= GRAPH_IS_THERE_NODES:
        drawn = _from_graph(node, besides, count)
        if drawn:
            return drawn
    known = [
        item
        for item in listed(_list_text(node.options.network_name))
        if bytes.fromhex(item.node_id) not in besides
        and (node.options.proxy is not None or ".onion" not in item.address)
    ]
    return [known[place] for place in draw(range(len(known)), lambda: os.urandom(8))][:count]


@command
async def suggest_peers(node: Node, *, count: int = 3) -> Json:
    """Suggests nodes to open a channel with, each with a reason; others the next time. Nobody is asked yet."""
    if not 1 <= count <= 30:
        raise CommandError(_("Between 1 and 30 nodes are suggested at a time."), code="usage")
    return [
        {
            "node_id": item.node_id,
            "uri": item.uri,
            "alias": item.alias or node.alias_of(bytes.fromhex(item.node_id)),
            "reason": item.reason,
        }
        for item in _suggested(node, count)
    ]


@command
async def peer_terms(node: Node, peer: str) -> Json:
    """Connects to a node and asks what channels it takes, before any money is there: an opening is proposed to it and
    called off before it is funded. No coins are used."""
    uri = peer_uri(node, peer)
    await connect(node, uri)
    answered: asyncio.Future[FundingGenerationReady | ChannelClosed] = node.promise()
    with node.core.entry():
        config = node.open_config(public=False, anchors=True)
        try:
            temporary_id = node.manager.create_channel(uri.node_id, MIN_CHANNEL_SAT, 0, 0, config)
        except APIError as error:
            raise CommandError(str(error), code="channel") from None
        node.events.probes[temporary_id] = lambda event: resolve(answered, event)
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
            answer = await answered
    except TimeoutError:
        answer = None
        with node.core.entry():
            node.manager.force_close_broadcasting_latest_txn(temporary_id, uri.node_id, "no answer in time")
    minimum_sat, said = None, ""
    if isinstance(answer, FundingGenerationReady):
        minimum_sat = MIN_CHANNEL_SAT
    elif isinstance(answer, ChannelClosed):
        minimum_sat = minimum_in(answer.reason.message, MIN_CHANNEL_SAT)
        said = peer_text(answer.reason.message)
    if minimum_sat is not None:
        node.peer_minimums_sat[bytes(uri.node_id)] = minimum_sat
        text = _("Online. It takes channels from {amount}.").format(amount=sat_text(minimum_sat))
    elif said:
        text = _("Online. It would not take a channel of {amount}, and said: “{said}”").format(
            amount=sat_text(MIN_CHANNEL_SAT), said=said
        )
    else:
        text = _("Online. It has not said how large a channel it wants.")
    return {
        "node_id": uri.node_id.hex(),
        "uri": str(uri),
        "alias": node.alias_of(uri.node_id),
        "minimum_sat": minimum_sat,
        "sensible_sat": sensible_channel_sat(node, minimum_sat or 0),
        "text": text,
    }


@command
async def plan_channel(node: Node, peer: str = "", *, amount_sat: int = 0) -> Json:
    """Plans a channel with node_id@host:port that opens by itself once a deposit has confirmed; without an amount all
    of the deposit goes in. Without a node it forgets the plan. Answers with the address to deposit to."""
    if node.plans.is_opening:
        raise CommandError(
            _("The planned channel is being opened just now: look under Channels in a minute."), code="busy"
        )
    if not peer:
        with node.core.entry():
            node.plans.keep(None)
            durable = node.durable()
        await durable
        node.views.publish_soon()
        return None
    uri = peer_uri(node, peer)
    if amount_sat and amount_sat < MIN_CHANNEL_SAT:
        raise CommandError(
            _("A channel of {amount} would be eaten by its fees: open it with {least} at least.").format(
                amount=sat_text(amount_sat), least=sat_text(MIN_CHANNEL_SAT)
            ),
            code="amount",
        )
    minimum_sat = node.peer_minimums_sat.get(bytes(uri.node_id), MIN_CHANNEL_SAT)
    with node.core.entry():
        node.plans.keep(Plan(peer=str(uri), amount_sat=max(0, amount_sat), minimum_sat=minimum_sat))
        address = node.onchain.unused_address()
        durable = node.durable()
    await durable
    node.plans.chain_moved()
    node.views.publish_soon()
    return {"address": address, "sentence": node.plans.sentence()}
