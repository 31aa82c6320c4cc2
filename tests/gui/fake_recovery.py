"""The fake node's part in losing everything: what would come back, the backup's folders, restored wallets."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from wallet.gui.describe import CLOSED
from wallet.node.api import HELD_CHANNEL_PHRASE, ChannelPhase, ChannelView, CommandError, Json, NodeStatus

__all__ = ["WORDS", "FakeRecovery"]

WORDS = [
    "abandon",
    "ability",
    "able",
    "about",
    "above",
    "absent",
    "absorb",
    "abstract",
    "absurd",
    "abuse",
    "access",
    "accident",
    "account",
    "accuse",
    "achieve",
    "brass",
    "bread",
    "breeze",
    "brick",
    "bridge",
    "brief",
    "bright",
    "bring",
    "brisk",
    "broken",
    "canal",
    "candy",
    "canoe",
    "canvas",
    "canyon",
    "capable",
    "dance",
    "danger",
    "daring",
    "dash",
    "dawn",
    "day",
    "eager",
    "eagle",
    "early",
    "earn",
    "earth",
    "easily",
    "fabric",
    "face",
    "faculty",
    "fade",
    "faint",
    "faith",
    "galaxy",
    "gallery",
    "game",
    "garage",
    "garden",
    "garlic",
    "habit",
    "hair",
    "half",
    "hammer",
    "hand",
    "happy",
    "ice",
    "icon",
    "idea",
    "identify",
    "idle",
    "jar",
    "jazz",
    "kayak",
    "lamp",
    "lantern",
    "large",
    "magnet",
    "maple",
    "narrow",
    "ocean",
    "paddle",
    "quantum",
    "rabbit",
    "sail",
    "table",
    "umbrella",
    "vacant",
    "wagon",
    "yard",
    "zebra",
]

WAYS = {
    "words": "From the words alone: the on-chain coins, and what peers have paid to you by closing channels. An open "
    "channel counts as nothing.",
    "words_and_channel_backup": "From the words and the channel backup: open channels as well, once their peers have "
    "closed them. Payments under way count as lost, and fees are yet to be paid.",
    "words_and_peer_storage": "From the words and the address of one peer that keeps the channel backup for you: the "
    "same, for the channels that were open when it last got it.",
}


class FakeRecovery:
    """A part of `FakeNode`. Attributes: `password`, `second_folder`, `lost`: rows of channels that only a backup
    names."""

    status: NodeStatus
    channels: dict[str, ChannelView]
    confirmed_sat: int
    unconfirmed_sat: int

    def __init__(self) -> None:
        self.password = "correct"
        self.second_folder = ""
        self.lost: list[dict[str, Any]] = []

    if TYPE_CHECKING:

        def tell(self, *, channels: Sequence[str] = ()) -> None: ...

    def do_getseed(self, password: str = "") -> Json:
        if password != self.password:
            raise CommandError("The password is wrong.", code="wrong_password")
        return " ".join(WORDS[:12])

    def recovery(self, **changes: Any) -> None:
        """What a restored wallet waits for; the node's sentence is the command line's."""
        recovery = replace(self.status.recovery, **changes)
        sentence = ""
        if recovery.asks:
            sentence = "Say that no other copy is running: `leyden old_installation_stopped`"
        elif recovery.is_restored:
            sentence = "This wallet file may be an old copy"
        recovery = replace(recovery, problem=sentence or recovery.backup_problem)
        failing = "The channel backup is not up to date"
        whole = "Words and channel backup are up to date"
        text = failing if recovery.backup_problem else whole
        self.status = replace(self.status, recovery=recovery, problem=recovery.problem, backup_text=text)
        self.tell(channels=list(self.channels))

    def _recovery_rows(self, way: str) -> list[Json]:
        rows: list[Json] = []
        for channel in self.channels.values():
            closed = channel.phase in CLOSED
            backup_sat = (
                sum(coin.amount_sat for coin in channel.locked) if closed else channel.local_msat // 1000
            )
            amount_sat = backup_sat if way != "words" else 0
            until = next((coin.until_height for coin in channel.locked), None)
            blocks = 0 if until is None else until - self.status.height
            rows.append(
                {
                    "channel_id": channel.channel_id,
                    "peer": channel.peer_id,
                    "alias": channel.peer_alias,
                    "capacity_sat": channel.capacity_sat,
                    "state": "closed" if closed else "open",
                    "amount_sat": amount_sat,
                    "when_height": until,
                    "when_at": int(time.time()) + blocks * 600 if until is not None and amount_sat else None,
                    "text": "Nothing, until the peer closes the channel by itself."
                    if way == "words"
                    else "The peer is asked to close the channel; your part comes back a few blocks after that "
                    "confirms.",
                }
            )
        return rows + [dict(row, amount_sat=0 if way == "words" else row["amount_sat"]) for row in self.lost]

    def do_recovery_report(self) -> Json:
        ways: dict[str, Json] = {}
        onchain_sat = self.confirmed_sat + self.unconfirmed_sat
        for way, text in WAYS.items():
            rows = self._recovery_rows(way)
            amount_sat = onchain_sat + sum(int(row["amount_sat"]) for row in rows if isinstance(row, dict))
            ways[way] = {"amount_sat": amount_sat, "text": text, "channels": rows}
        backup = ways["words_and_channel_backup"]
        assert isinstance(backup, dict)
        now_at = int(time.time())
        failing = self.status.recovery.backup_problem
        backup |= {
            "file": "/home/anna/.local/share/leyden/wallets/Savings/channels.backup",
            "written_at": now_at - 7_200,
            "second_file": f"{self.second_folder}/leyden-mainnet-0badc0de.backup"
            if self.second_folder
            else None,
            "second_written_at": now_at - 86_400 * 2 if failing else now_at - 7_200,
            "second_problem": failing if self.second_folder else "",
            "problem": failing,
        }
        storage = ways["words_and_peer_storage"]
        assert isinstance(storage, dict)
        storage["peers"] = [channel.peer_id for channel in list(self.channels.values())[:1]]
        inflight_sat = sum(c.inflight_out_msat + c.inflight_in_msat for c in self.channels.values()) // 1000
        return {
            "height": self.status.height,
            "onchain_sat": onchain_sat,
            "restored": bool(self.lost),
            "in_flight_sat": inflight_sat,
            **ways,
        }

    def do_old_installation_stopped(self) -> Json:
        self.recovery(asks=False)
        return True

    def do_publish_held_channel(self, channel_point: str, confirm: str = "") -> Json:
        if confirm != HELD_CHANNEL_PHRASE:
            raise CommandError("Say it in these words.", code="confirm")
        channel = self.channels[channel_point]
        self.channels[channel_point] = replace(
            channel, held=False, phase=ChannelPhase.FORCE_CLOSING, closure_text="You closed this channel."
        )
        self.recovery(held=max(0, self.status.recovery.held - 1))
        return {"channel_id": channel_point}

    def do_set_backup_folder(self, folder: str) -> Json:
        self.second_folder = folder
        self.recovery(backup_problem="")
        return {"path": folder or None}

    def do_export_channel_backup(self, file: str) -> Json:
        return {"path": file, "channels": len(self.channels)}

    def do_change_password(self, new_password: str, password: str = "") -> Json:
        if password != self.password:
            raise CommandError("This password does not open the wallet.", code="password")
        self.password = new_password
        return True
