"""The recovery report: what each way of recovery would bring back, should everything be lost now.

Amounts are those of the outputs that would be found, before the fees of bringing them home. What is uncertain counts as
nothing: HTLCs in flight are lost with the state; an open channel brings nothing from the words alone, because only its
peer can close it, and nobody could ask it to; of the commitments that a peer could publish, the one that pays us least
counts. In a restored wallet the report says how far each channel has come.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wallet.bitcoin.tx import OutPoint
from wallet.i18n import _
from wallet.ln.chan_utils import commitment_number_of
from wallet.ln.channelmonitor import ChannelMonitor
from wallet.ln.events import DelayedPaymentOutput, SpendableOutputDescriptor, StaticOutput
from wallet.ln.lost_channels import CloseKind, LostChannel, LostOutput
from wallet.ln.sweep import SweptOutput
from wallet.node.api import Json

if TYPE_CHECKING:
    from wallet.node.node import Node

__all__ = ["recovery_report"]

BLOCK_SECONDS = 600


@dataclass(slots=True)
class _Prospect:
    """What a channel would bring back.

    Attributes:
        words_sat, backup_sat: from the words alone; with the channel backup.
        home_sat: what has come back already, and is among the on-chain coins; before the fees of bringing it home.
        when_height: the block at which the last of it can be moved; None where a peer has to act first.
    """

    channel_id: str
    channel_point: str | None
    peer: str | None
    alias: str
    capacity_sat: int | None
    state: str
    words_sat: int = 0
    backup_sat: int = 0
    in_flight_sat: int = 0
    home_sat: int = 0
    when_height: int | None = None
    words_text: str = ""
    backup_text: str = ""


class _Reporter:
    """Lives for one report; within the lock."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.tracked: dict[OutPoint, SweptOutput] = {
            item.descriptor.outpoint: item for item in node.sweeper.tracked_spendable_outputs()
        }
        self.seen: set[OutPoint] = set()

    def is_due(self, descriptor: SpendableOutputDescriptor, *, told: bool) -> bool:
        """Whether an output is still to be brought home: what has arrived, or shows already as unconfirmed, is among
        the on-chain coins."""
        if isinstance(descriptor, StaticOutput) or descriptor.outpoint in self.seen:
            return False
        swept = self.tracked.get(descriptor.outpoint)
        if swept is None:
            return not told
        if swept.spent is not None:
            return False
        if swept.sweep is None:
            return True
        return self.node.onchain.entry(swept.sweep.tx.txid) is None

    def add(self, prospect: _Prospect, height: int, descriptor: SpendableOutputDescriptor) -> None:
        self.seen.add(descriptor.outpoint)
        value_sat = descriptor.output.value_sat
        prospect.backup_sat += value_sat
        if not isinstance(descriptor, DelayedPaymentOutput):
            prospect.words_sat += value_sat
        prospect.when_height = max(prospect.when_height or 0, height)

    # --- channels that live ---

    def monitored(self, monitor: ChannelMonitor) -> _Prospect | None:
        state = monitor.state
        params = state.params
        prospect = _Prospect(
            channel_id=monitor.channel_id.hex(),
            channel_point=str(params.funding_outpoint),
            peer=monitor.counterparty_node_id.hex(),
            alias=self.node.alias_of(monitor.counterparty_node_id),
            capacity_sat=params.channel_value_sat,
            state="closed",
        )
        if monitor.is_spent:
            for height, descriptor in monitor.spendable_outputs():
                if self.is_due(descriptor, told=descriptor.outpoint in state.onchain.told_spendable):
                    self.add(prospect, height, descriptor)
            if not prospect.backup_sat:
                return None
            self._closed_texts(prospect)
            return prospect
        seen = state.seen_spend
        if seen is not None and commitment_number_of(params, seen) is None:
            prospect.state = "closing"
            prospect.words_text = prospect.backup_text = _(
                "Being closed together with the peer: your part is among the on-chain coins already."
            )
            return prospect
        prospect.backup_sat = min(item.to_countersignatory_sat for item in state.counterparty)
        ours = state.holder.commitment.commitment
        if state.head.holder_broadcast:
            prospect.state = "closing"
            prospect.backup_sat = min(prospect.backup_sat, ours.to_broadcaster_sat)
        else:
            prospect.state = "open"
        prospect.in_flight_sat = sum(htlc.htlc.amount_msat // 1000 for htlc in state.counterparty[-1].htlcs)
        prospect.words_text = _("Nothing, until the peer closes the channel by itself.")
        prospect.backup_text = _(
            "The peer is asked to close the channel; your part comes back a few blocks after that confirms."
        )
        return prospect

    def _closed_texts(self, prospect: _Prospect) -> None:
        if prospect.words_sat == prospect.backup_sat:
            prospect.words_text = prospect.backup_text = _("The peer's closing transaction pays it to you.")
            return
        prospect.words_text = _("Nothing of what is still locked by your own closing transaction.")
        prospect.backup_text = _("Yours once the delay of your own closing transaction is over.")

    # --- channels that are being brought back ---

    def lost(self, item: LostChannel) -> _Prospect | None:
        backup = item.backup
        prospect = _Prospect(
            channel_id=backup.channel_id.hex(),
            channel_point=str(backup.funding_outpoint),
            peer=backup.counterparty_node_id.hex(),
            alias=self.node.alias_of(backup.counterparty_node_id),
            capacity_sat=backup.channel_value_sat,
            state="lost",
        )
        self._outputs(prospect, item.outputs)
        if item.kind is CloseKind.OPEN:
            prospect.words_text = _("Nothing, until the peer closes the channel by itself.")
            if not self.node.recovery.may_ask:
                prospect.backup_text = _(
                    "Waits for your word that no other copy of this wallet is running; then the peer is asked to "
                    "close the channel."
                )
            else:
                prospect.backup_text = _("The peer is being asked to close the channel.")
            return prospect
        prospect.state = "closed"
        if prospect.backup_sat:
            self._closed_texts(prospect)
        elif item.kind is CloseKind.AGREED:
            prospect.words_text = prospect.backup_text = _(
                "Closed together with the peer: your part is among the on-chain coins."
            )
        elif item.outputs:
            prospect.words_text = prospect.backup_text = _("Home: it is among the on-chain coins.")
        else:
            prospect.words_text = prospect.backup_text = _("Closed, with nothing in it for you.")
        return prospect

    def found(self, outputs: tuple[LostOutput, ...]) -> list[_Prospect]:
        """What the words alone have found, of channels that no backup names."""
        prospects = []
        for output in outputs:
            prospect = _Prospect(
                channel_id=output.descriptor.channel_id.hex(),
                channel_point=None,
                peer=None,
                alias="",
                capacity_sat=None,
                state="closed",
            )
            self._outputs(prospect, (output,))
            if prospect.backup_sat:
                self._closed_texts(prospect)
            else:
                prospect.words_text = prospect.backup_text = _("Home: it is among the on-chain coins.")
            prospects.append(prospect)
        return prospects

    def _outputs(self, prospect: _Prospect, outputs: tuple[LostOutput, ...]) -> None:
        for output in outputs:
            if output.spent_by is None and self.is_due(output.descriptor, told=False):
                self.add(prospect, output.spendable_height, output.descriptor)
            else:
                prospect.home_sat += output.descriptor.output.value_sat


def recovery_report(node: Node) -> dict[str, Json]:
    """The report as commands give it; within the lock."""
    reporter = _Reporter(node)
    prospects: list[_Prospect] = []
    for channel_id in node.chain_monitor.list_monitors():
        monitor = node.chain_monitor.get_monitor(channel_id)
        if monitor is not None and (prospect := reporter.monitored(monitor)) is not None:
            prospects.append(prospect)
    monitored = {bytes(channel_id) for channel_id in node.chain_monitor.list_monitors()}
    for item in node.recovery.lost.channels():
        if item.backup.channel_id not in monitored and (prospect := reporter.lost(item)) is not None:
            prospects.append(prospect)
    prospects += reporter.found(node.recovery.lost.other_outputs())
    prospects += _left_over(reporter)
    covered = frozenset(channel_id.hex() for channel_id in node.recovery.storage.covered())
    balance = node.onchain.balance()
    onchain_sat = balance.confirmed_sat + balance.unconfirmed_sat + balance.immature_sat
    return {
        "height": node.best_height,
        "at": node.wall_clock_at(),
        "restored": node.recovery.was_restored,
        "onchain_sat": onchain_sat,
        "in_flight_sat": sum(prospect.in_flight_sat for prospect in prospects),
        "words": {
            "amount_sat": onchain_sat + sum(prospect.words_sat for prospect in prospects),
            "text": _(
                "From the words alone: the on-chain coins, and what peers have paid to you by closing channels. An "
                "open channel counts as nothing."
            ),
            "channels": [_way(node, item, item.words_sat, item.words_text) for item in prospects],
        },
        "words_and_channel_backup": {
            "amount_sat": onchain_sat + sum(prospect.backup_sat for prospect in prospects),
            "text": _(
                "From the words and the channel backup: open channels as well, once their peers have closed them. "
                "Payments under way count as lost, and fees are yet to be paid."
            ),
            "channels": [_way(node, item, item.backup_sat, item.backup_text) for item in prospects],
            "file": str(node.recovery.backup.path),
            "written_at": node.recovery.backup.saved_at,
            "second_file": None if node.recovery.backup.second is None else str(node.recovery.backup.second),
            "second_written_at": node.recovery.backup.second_saved_at,
            "second_problem": node.recovery.backup.second_problem,
            "problem": node.recovery.backup.problem,
        },
        "words_and_peer_storage": {
            "amount_sat": onchain_sat + sum(_stored_sat(item, covered) for item in prospects),
            "text": _(
                "From the words and the address of one peer that keeps the channel backup for you: the same, for the "
                "channels that were open when it last got it."
            ),
            "channels": [
                _way(
                    node,
                    item,
                    _stored_sat(item, covered),
                    item.backup_text if item.channel_id in covered else item.words_text,
                )
                for item in prospects
            ],
            "peers": [peer.hex() for peer in sorted(node.recovery.storage.keepers())],
        },
        "problem": node.recovery.problem(),
    }


def _stored_sat(prospect: _Prospect, covered: frozenset[str]) -> int:
    return prospect.backup_sat if prospect.channel_id in covered else prospect.words_sat


def _left_over(reporter: _Reporter) -> list[_Prospect]:
    """What is being swept of channels that are forgotten otherwise."""
    prospects = []
    for item in reporter.tracked.values():
        if reporter.is_due(item.descriptor, told=True):
            prospect = _Prospect(
                channel_id=item.channel_id.hex(),
                channel_point=None,
                peer=None,
                alias="",
                capacity_sat=None,
                state="closed",
            )
            reporter.add(prospect, reporter.node.best_height, item.descriptor)
            reporter._closed_texts(prospect)
            prospects.append(prospect)
    return prospects


def _way(node: Node, prospect: _Prospect, amount_sat: int, text: str) -> Json:
    when_height = prospect.when_height if amount_sat else None
    when_at = None
    if when_height is not None:
        blocks = max(0, when_height + 1 - node.best_height)
        when_at = node.wall_clock_at() + blocks * BLOCK_SECONDS
    return {
        "channel_id": prospect.channel_id,
        "channel_point": prospect.channel_point,
        "peer": prospect.peer,
        "alias": prospect.alias,
        "capacity_sat": prospect.capacity_sat,
        "state": prospect.state,
        "amount_sat": amount_sat,
        "home_sat": prospect.home_sat,
        "when_height": when_height,
        "when_at": when_at,
        "text": text,
    }
