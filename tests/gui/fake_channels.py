"""The fake node's part in channels: suggestions, what peers take, past states, and the way home after the end."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from wallet.gui.describe import CLOSED
from wallet.node.api import ChannelPhase, ChannelView, CommandError, Json, LockedCoin, NodeStatus

__all__ = ["FakeChannels", "suggested_id"]

PAST_STATES = 47
HOME_BLOCKS = 6


def suggested_id(number: int) -> str:
    return "02" + f"{number:02x}" * 32


class FakeChannels:
    """A part of `FakeNode`. Attributes: `unreachable`, node ids that do not answer; `minimums`, what nodes take;
    `outputs` and `peer_sat`: what is told of a closed channel, where a test says it; `forced`: where and with what a
    channel was closed without its peer, whose money then goes home block by block."""

    channels: dict[str, ChannelView]
    status: NodeStatus
    locked: tuple[LockedCoin, ...]
    confirmed_sat: int

    def __init__(self) -> None:
        self.unreachable: set[str] = set()
        self.minimums: dict[str, int | None] = {}
        self.suggestions = 5
        self.planned_peer = ""
        self.hurried: set[str] = set()
        self.outputs: list[Json] | None = None
        self.peer_sat = 0
        self.forced: dict[str, tuple[int, LockedCoin]] = {}

    if TYPE_CHECKING:

        def tell(self, *, channels: Any = ()) -> None: ...

    def do_suggest_peers(self, count: int = 3) -> Json:
        return [
            {
                "node_id": suggested_id(number),
                "uri": f"{suggested_id(number)}@198.51.100.{number}:9735",
                "alias": ("Harbour light", "Café Åland", "", "Northern line", "Old mill")[number - 1],
                "reason": f"Drawn by lot among the well-connected: {number * 97} channels with {number} BTC, the "
                f"oldest is {number} years old.",
            }
            for number in range(1, min(count, self.suggestions) + 1)
        ]

    def do_peer_terms(self, peer: str) -> Json:
        node_id, _at, address = peer.partition("@")
        if len(node_id) != 66:
            raise CommandError("This is not a node. It looks like 02ab...@host:port.")
        if node_id in self.unreachable:
            raise CommandError(f"{peer} did not answer in time. Check the address, or try again later.")
        minimum_sat = self.minimums.get(node_id, 20_000)
        text = "Online. It has not said how large a channel it wants."
        if minimum_sat is not None:
            text = f"Online. It takes channels from {minimum_sat:,} sat.".replace(",", "\u202f")
        return {
            "node_id": node_id,
            "uri": f"{node_id}@{address}",
            "alias": "",
            "minimum_sat": minimum_sat,
            "sensible_sat": max(300_000, minimum_sat or 0),
            "text": text,
        }

    def do_channel_states(self, channel_id: str, offset: int = 0, limit: int = 20) -> Json:
        channel = self.channels[channel_id]
        htlc: dict[str, Json] = {
            "outgoing": True,
            "htlc_id": 3,
            "amount_msat": channel.inflight_out_msat or 21_000_500,
            "payment_hash": "5e" * 32,
            "expiry_height": self.status.height + 80,
            "state": "committed on both sides",
        }
        newest = PAST_STATES - 1 - offset
        return {
            "htlcs": [htlc] if channel.inflight_out_msat else [],
            "current": [
                {
                    "number": PAST_STATES,
                    "revoked": False,
                    "ours_sat": channel.local_msat // 1000,
                    "theirs_sat": channel.remote_msat // 1000,
                    "feerate_sat_per_kw": channel.feerate_sat_per_kw,
                    "htlcs": [htlc] if channel.inflight_out_msat else [],
                }
            ]
            if offset == 0
            else [],
            "past": [
                {"number": n, "revoked": True, "kept": True, "htlcs": [htlc] if n % 5 == 3 else []}
                for n in range(newest, max(-1, newest - limit), -1)
            ],
            "total": PAST_STATES,
        }

    def do_closing_report(self, channel_id: str) -> Json:
        channel = self.channels[channel_id]
        if channel.phase not in CLOSED:
            raise CommandError("There is no closed channel of this id.")
        height = self.status.height
        if channel_id in self.forced:
            return self._forced_report(channel)
        outputs: list[Json] = [
            {
                "amount_sat": coin.amount_sat,
                "state": "locked",
                "text": "On the chain and yours; it waits for its delay to pass.",
                "steps": [
                    ["The closing transaction is confirmed", "done", ""],
                    ["The delay that the channel's rules ask for", "current", ""],
                    ["In your on-chain coins", "waiting", ""],
                ],
                "txid": channel.closing_txid,
                "until_height": coin.until_height,
                "can_speed_up": False,
            }
            for coin in channel.locked
        ]
        if channel.phase is ChannelPhase.CLOSING:
            hurried = channel_id in self.hurried
            outputs.append(
                {
                    "amount_sat": 412_000,
                    "state": "confirming",
                    "text": "Paid to your wallet by the closing transaction itself.",
                    "steps": [["Both sides signed", "done", ""], ["0 of 6 confirmations", "current", ""]],
                    "confirming_blocks": 6,
                    "txid": channel.closing_txid,
                    "until_height": None,
                    "can_speed_up": not hurried,
                }
            )
        return {
            "closing_txid": channel.closing_txid,
            "closing_height": None if channel.phase is ChannelPhase.CLOSING else height - 10,
            "closing_confirmations": 0 if channel.phase is ChannelPhase.CLOSING else 11,
            "closed_at": int(time.time()),
            "reason": channel.closure_text,
            "outputs": outputs if self.outputs is None else self.outputs,
            "peer_sat": self.peer_sat,
            "best_height": height,
        }

    def after_forced(self, channel: ChannelView) -> ChannelView:
        """Once the delay is over the money is swept; the sweep's first block makes it a coin like any other."""
        _published, coin = self.forced[channel.channel_id]
        swept_blocks = self.status.height - (coin.until_height or 0)
        if swept_blocks >= 1 and coin in self.locked:
            self.locked = tuple(other for other in self.locked if other != coin)
            self.confirmed_sat += coin.amount_sat
            channel = replace(channel, locked=())
        if swept_blocks >= HOME_BLOCKS:
            channel = replace(channel, phase=ChannelPhase.CLOSED, phase_text="Closed")
        return channel

    def _forced_report(self, channel: ChannelView) -> Json:
        published_height, coin = self.forced[channel.channel_id]
        height, until_height = self.status.height, coin.until_height or 0
        depth, swept_blocks = height - published_height, height - until_height
        output: dict[str, Json] = {"amount_sat": coin.amount_sat, "until_height": None, "can_speed_up": False}
        if swept_blocks < 0:
            output |= {
                "state": "locked",
                "text": "On the chain and yours; it waits for its delay to pass."
                if depth
                else "The closing transaction is on its way into the chain.",
                "steps": [
                    ["The closing transaction is confirmed", "done", ""]
                    if depth
                    else ["The closing transaction has to confirm", "current", ""],
                    [
                        "The delay that the channel's rules ask for",
                        "current" if depth else "waiting",
                        "",
                    ],
                    ["In your on-chain coins", "waiting", ""],
                ],
                "txid": channel.closing_txid,
                "until_height": until_height if depth else None,
            }
        else:
            is_home = swept_blocks >= HOME_BLOCKS
            words = "In your on-chain coins" if is_home else f"{swept_blocks} of {HOME_BLOCKS} confirmations"
            output |= {
                "state": "home" if is_home else "confirming" if swept_blocks else "sweeping",
                "text": "Home." if is_home else "On its way into your on-chain coins.",
                "steps": [
                    ["Free to be taken", "done", ""],
                    [words, "done" if is_home else "current", ""],
                ],
                "confirming_blocks": None if is_home else HOME_BLOCKS - swept_blocks,
                "txid": "5e" * 32,
            }
        return {
            "closing_txid": channel.closing_txid,
            "closing_height": published_height + 1 if depth else None,
            "closing_confirmations": depth,
            "closed_at": int(time.time()),
            "reason": channel.closure_text,
            "outputs": [output],
            "peer_sat": self.peer_sat,
            "best_height": height,
        }

    def do_speed_up_closing(self, channel_id: str) -> Json:
        if channel_id in self.hurried:
            raise CommandError("Nothing of this channel can be sped up now.")
        self.hurried.add(channel_id)
        return {"raised": True}

    def do_plan_channel(self, peer: str = "", amount_sat: int = 0) -> Json:
        sentence = (
            "A channel with Harbour light opens by itself once your deposit has confirmed." if peer else ""
        )
        self.planned_peer = peer
        self.status = replace(self.status, planned_channel=sentence, plan_is_waiting=bool(peer))
        self.tell()
        return {"address": "bcrt1q" + "0" * 38, "sentence": sentence} if peer else None
