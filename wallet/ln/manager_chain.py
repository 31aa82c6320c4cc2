"""`ChannelManager`, the room for the chain: blocks, reorganisations, and what the monitors tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import assert_never

from wallet.bitcoin.curve import verify_ecdsa_many
from wallet.bitcoin.records import encode
from wallet.bitcoin.script import p2wsh
from wallet.bitcoin.tx import BlockHash, BlockHeader, Transaction, Txid
from wallet.chain.interfaces import LogLevel, Row, TxInBlock
from wallet.ln.chan_utils import funding_script
from wallet.ln.channel_chain import become_ready, best_block, funding_confirmed, funding_unconfirmed
from wallet.ln.channel_state import FundedChannel, FundingConfirmation
from wallet.ln.channel_step import Draft
from wallet.ln.events import ClosureKind, ClosureReason, PaymentFailed, PaymentSent
from wallet.ln.manager_base import CLOSED_SPACE
from wallet.ln.manager_payments import PaymentRoom
from wallet.ln.monitor_update import (
    CommitmentTxConfirmed,
    HolderForceClosed,
    HTLCEvent,
    MonitorEvent,
    MonitorUpdateCompleted,
)
from wallet.ln.onion_failure import Failure
from wallet.ln.types import ChannelId, Now, PaymentId

__all__ = ["ChainRoom"]


class ChainRoom(PaymentRoom):
    _highest_height: int = 0
    """Of any tip since the start, be it of a branch that is left."""

    # --- Confirm ---

    def transactions_confirmed(self, header: BlockHeader, height: int, txdata: Sequence[TxInBlock]) -> None:
        """Looks for funding transactions; whatever else happens on the chain is the monitors' business."""
        with self._entry:
            self._highest_seen_at = max(self._highest_seen_at, header.time_at)
            for found in txdata:
                channel_id = self._by_funding.get(found.tx.txid)
                channel = None if channel_id is None else self._channels.get(channel_id)
                if channel is not None:
                    place = FundingConfirmation(block_hash=header.hash, height=height, tx_index=found.index)
                    self._confirm_funding(channel, found.tx, place)

    def _confirm_funding(self, channel: FundedChannel, tx: Transaction, place: FundingConfirmation) -> None:
        vout = channel.scope.funding_outpoint.vout
        output = tx.outputs[vout] if vout < len(tx.outputs) else None
        script_pubkey = p2wsh(funding_script(channel.scope.params))
        # BOLT 2, channel_ready, sender: only if the output has exactly the script and the amount agreed on.
        if (
            output is None
            or output.script_pubkey != script_pubkey
            or output.value_sat != channel.channel_value_sat
        ):
            message = "The funding transaction does not pay what was agreed."
            self._close_channel(
                channel,
                ClosureReason(ClosureKind.PROCESSING_ERROR, message),
                broadcast=False,
                message=message,
            )
            return
        point = channel.core.holder_next_point

        def transition(draft: Draft) -> None:
            funding_confirmed(draft, place)
            # The tip may have been told before: then no other call would come to see how deep it is.
            become_ready(draft, self._best_height, point)

        moved = channel.scope.confirmation != place
        if self._run(channel, transition) and moved:
            self._check_announcement(channel.channel_id)

    def _check_announcement(self, channel_id: ChannelId) -> None:
        """A funding that a reorganisation has moved has another short channel id: what the peer signed was the old."""
        channel = self._channels.get(channel_id)
        theirs = None if channel is None else channel.core.announcement_sigs_received
        if channel is None or theirs is None:
            return
        digest = self._announcement(channel).digest()
        triples = [
            (theirs[0], digest, bytes(channel.counterparty_node_id)),
            (theirs[1], digest, channel.scope.params.counterparty_pubkeys.funding_pubkey),
        ]
        if verify_ecdsa_many(triples):
            return

        def transition(draft: Draft) -> None:
            draft.core = replace(draft.core, announcement_sigs_received=None)

        self._announced.discard(channel_id)
        self._run(channel, transition)

    def transaction_unconfirmed(self, txid: Txid) -> None:
        with self._entry:
            channel_id = self._by_funding.get(txid)
            channel = None if channel_id is None else self._channels.get(channel_id)
            if channel is not None:
                highest = max(self._highest_height, self._best_height)
                self._run(channel, lambda draft: funding_unconfirmed(draft, highest))

    def best_block_updated(self, header: BlockHeader, height: int) -> None:
        with self._entry:
            self._highest_height = max(self._highest_height, self._best_height, height)
            self._best_hash, self._best_height = header.hash, height
            self._highest_seen_at = max(self._highest_seen_at, header.time_at)
            for channel in list(self._channels.values()):
                self._block_for(channel)
            self._expire_claimable()

    def _block_for(self, channel: FundedChannel) -> None:
        channel_id = channel.channel_id
        if channel_id in self._frozen:
            return
        first_point = channel.core.holder_next_point

        def transition(draft: Draft) -> None:
            best_block(draft, self._best_hash, self._best_height, self._highest_height, first_point)

        self._run(channel, transition)
        now = self._channels.get(channel_id)
        if now is not None and channel_id not in self._announced and self._may_announce(now):
            self._update_gossip(channel_id)

    def get_relevant_txids(self) -> Sequence[tuple[Txid, int, BlockHash | None]]:
        return [
            (
                channel.scope.funding_outpoint.txid,
                channel.scope.confirmation.height,
                channel.scope.confirmation.block_hash,
            )
            for channel in self._channels.values()
            if channel.scope.confirmation is not None
        ]

    def transactions_seen(self, txs: Sequence[Transaction]) -> None:
        """Hints are for the monitors: an unconfirmed funding transaction changes nothing here."""

    def transactions_evicted(self, txids: Sequence[Txid]) -> None:
        """As for `transactions_seen`."""

    # --- monitors ---

    def process_pending_monitor_events(self) -> None:
        """Takes what the monitors have to tell: preimages, HTLCs that are over, channels that are closed."""
        with self._entry:
            for event in self._chain_monitor.release_pending_monitor_events():
                self._monitor_event(event)

    def _monitor_event(self, event: MonitorEvent) -> None:
        match event:
            case HTLCEvent():
                self._htlc_event(event)
            case HolderForceClosed():
                # An HTLC came too near to its deadline, and the peer had not reacted.
                self._monitor_closed(event.channel_id, ClosureKind.HTLCS_TIMED_OUT, event.reason)
            case CommitmentTxConfirmed():
                self._monitor_closed(event.channel_id, self._kind_of_spend(event), event.reason)
            case MonitorUpdateCompleted():
                self._monitor_completed(event.channel_id, event.update_id)
                self._let_in()
            case _:
                assert_never(event)

    def _htlc_event(self, event: HTLCEvent) -> None:
        closed = self._closed.get(event.channel_id)
        if closed is not None and event.source in closed.sources:
            left = tuple(source for source in closed.sources if source != event.source)
            closed = replace(closed, sources=left)
            self._closed[event.channel_id] = closed
            self._persist.write((Row(CLOSED_SPACE, event.channel_id, encode(closed)),))
        if event.payment_preimage is not None:
            self._claim_source(
                event.source,
                event.payment_hash,
                event.payment_preimage,
                downstream_attribution=None,
                from_onchain=True,
            )
            return
        self._fail_source(
            event.source,
            Failure.permanent_channel_failure(),
            "The channel was closed on the chain, and the payment came back.",
        )

    def _kind_of_spend(self, event: CommitmentTxConfirmed) -> ClosureKind:
        """The peer's last closing_signed may have been lost with a connection, and its transaction tells of it."""
        channel = self._channels.get(event.channel_id)
        if not event.by_agreement or channel is None or channel.core.closing is None:
            return ClosureKind.COMMITMENT_TX_CONFIRMED
        if channel.core.closing.holder_initiated:
            return ClosureKind.COOPERATIVE_BY_HOLDER
        return ClosureKind.COOPERATIVE_BY_COUNTERPARTY

    def _monitor_closed(self, channel_id: ChannelId, kind: ClosureKind, reason: str) -> None:
        channel = self._channels.get(channel_id)
        if channel is None:
            return
        self._log(LogLevel.INFO, "the chain closes channel %s", channel_id.hex())
        self._close_channel(
            channel, ClosureReason(kind, reason), broadcast=False, message=reason, tell_monitor=False
        )

    def _undelivered_payments(self) -> set[PaymentId]:
        """Payments whose end was not told yet."""
        return {
            event.payment_id
            for event in self._events.pending()
            if isinstance(event, PaymentSent | PaymentFailed)
        }

    # --- the clock ---

    def timer_tick_occurred(self, now: Now) -> None:
        """Once a minute: fee rates, patience, incomplete payments, openings that take too long."""
        with self._entry:
            self._now = now
            self._tick_channels()
            self._tick_claimable()
            self._tick_late_forwards()
            self._age_unfunded()
            self._outbound.timer_tick_occurred(self._undelivered_payments())
            self._outbound.check_retry_payments(now, self._best_height)
