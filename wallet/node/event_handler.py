"""What the node does about each event of the core; its effect and the event's deletion are one commit.

The handler runs within an entry, while the core settles: it may call the core's methods, write rows, and say what is
to happen once the entry is durable. It never waits.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, assert_never

from wallet.bitcoin.tx import Transaction, TxOut, txid_hex
from wallet.chain.interfaces import ConfirmationTarget, LogLevel
from wallet.i18n import _
from wallet.ln import events as ev
from wallet.ln.bump_transaction import BumpResult
from wallet.ln.types import APIError, ChannelId, PaymentPreimage
from wallet.node.attempts import MAX_KEPT, arrived, failed, read_trace, settled, write_trace
from wallet.node.details import type_name
from wallet.node.receipts import paid_onchain
from wallet.node.records import (
    ChannelStatRecord,
    ClosedChannelRecord,
    MoveKind,
    MoveRecord,
    PaymentState,
    RequestState,
)
from wallet.node.sentences import attempt_sentence, closure_sentence, payment_failure_sentence
from wallet.onchain.errors import OnchainError

if TYPE_CHECKING:
    from wallet.node.attempts import Attempt
    from wallet.node.node import Node

__all__ = ["EventHandler"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ClaimWithoutCoins:
    """A claim on chain whose fee the wallet's coins cannot pay.

    Attributes:
        amount_sat: what is claimed; 0 for a channel's closing transaction.
    """

    amount_sat: int
    deadline_height: int
    asked_height: int


_BY_AGREEMENT = frozenset({ev.ClosureKind.COOPERATIVE_BY_COUNTERPARTY, ev.ClosureKind.COOPERATIVE_BY_HOLDER})


def _traced(trace: bytes, *attempts: Attempt) -> bytes:
    """A payment's record of what was tried, with more of it."""
    found = read_trace(trace)
    for attempt in attempts:
        found = found.with_attempt(attempt)
    return write_trace(found)


class EventHandler:
    """Acts on events. `waiters` are told of what a command waits for, once it is durable."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.payment_waiters: dict[bytes, list[Callable[[], None]]] = {}
        self.channel_waiters: dict[ChannelId, Callable[[ev.ChannelPending | ev.ChannelClosed], None]] = {}
        self.funding_fee_sat_per_kw: dict[ChannelId, int] = {}
        self.probes: dict[ChannelId, Callable[[ev.FundingGenerationReady | ev.ChannelClosed], None]] = {}
        self.channel_requests: dict[ChannelId, ev.OpenChannelRequest] = {}
        self.claims_without_coins: dict[bytes, ClaimWithoutCoins] = {}
        # Probes that are out, by their payment hash.
        self.probe_waiters: dict[bytes, Callable[[ev.PaymentFailed], None]] = {}
        # Parts of payments that arrived whose own end is still to come, by payment hash: to be timed.
        self._untimed: dict[bytes, set[int]] = {}

    def handle(self, event_id: int, event: ev.Event) -> None:
        """One event; an exception leaves it in its queue."""
        match event:
            case ev.FundingGenerationReady():
                self._fund(event)
            case ev.OpenChannelRequest():
                self._asked_to_open(event)
            case ev.ChannelPending():
                self._pending(event)
            case ev.ChannelReadyEvent():
                self._node.orders.channels_changed()
                self._node.log(LogLevel.INFO, "channel %s is ready", event.channel_id.hex())
            case ev.ChannelClosed():
                self._closed(event)
            case ev.DiscardFunding():
                self._discard_funding(event)
            case ev.PaymentClaimable():
                self._claimable(event)
            case ev.PaymentClaimed():
                self._claimed(event)
            case ev.PaymentSent():
                self._sent(event)
            case ev.PaymentFailed():
                self._failed(event)
            case ev.PaymentPathSuccessful():
                self._path_successful(event)
            case ev.PaymentPathFailed():
                self._path_failed(event)
            case ev.PaymentForwarded():
                self._forwarded(event)
            case ev.HTLCHandlingFailed():
                self._gone_back(event)
            case ev.SpendableOutputs():
                self._node.sweeper.track_spendable_outputs(event.outputs, event.channel_id)
            case ev.BumpCommitment():
                # An event of the file may be older than what is known about the file now.
                if event.channel_id not in self._node.recovery.held:
                    self._bump(event, 0)
            case ev.BumpHtlcs():
                self._bump(event, sum(htlc.htlc_output.value_sat for htlc in event.htlcs))
            case _:
                assert_never(event)

    # --- claims that need coins -----------------------------------------------------

    def _bump(self, event: ev.BumpCommitment | ev.BumpHtlcs, amount_sat: int) -> None:
        if self._node.bump_handler.handle_event(event) is BumpResult.NOT_ENOUGH_COINS:
            self.claims_without_coins[event.claim_id] = ClaimWithoutCoins(
                amount_sat=amount_sat,
                deadline_height=event.deadline_height,
                asked_height=self._node.best_height,
            )
        else:
            self.claims_without_coins.pop(event.claim_id, None)

    def claim_without_coins(self) -> ClaimWithoutCoins | None:
        """The most pressing one of those that still ask: they do at each tick and block."""
        lowest_height = self._node.best_height - 1
        found = [item for item in self.claims_without_coins.values() if item.asked_height >= lowest_height]
        return min(found, key=lambda item: (item.deadline_height, -item.amount_sat), default=None)

    # --- opening and closing --------------------------------------------------------

    def _fund(self, event: ev.FundingGenerationReady) -> None:
        node = self._node
        temporary_id = event.temporary_channel_id
        asked = self.probes.get(temporary_id)
        if asked is not None:
            # Nobody wants the channel: the question was whether the peer would take it.
            node.core.afterwards(lambda: asked(event))
            node.manager.force_close_broadcasting_latest_txn(
                temporary_id, event.counterparty_node_id, "only asked what you take"
            )
            return
        feerate_sat_per_kw = self.funding_fee_sat_per_kw.pop(
            temporary_id, node.fee_sat_per_kw(ConfirmationTarget.NON_ANCHOR_CHANNEL_FEE)
        )
        try:
            draft = node.onchain.draft(
                outputs=(TxOut(event.channel_value_sat, event.output_script),),
                feerate_sat_per_kw=feerate_sat_per_kw,
                keep_sat=node.anchor_reserve_sat(),
                lock_time=0,
            )
            node.onchain.reserve(draft.tx, temporary_id)
            node.manager.funding_transaction_generated(temporary_id, event.counterparty_node_id, draft.tx)
        except (APIError, OnchainError) as error:
            node.log(LogLevel.WARN, "funding failed: %s", error)
            node.onchain.release_owner(temporary_id)
            # The opening may be gone already: the peer left, or an earlier run ended in the middle of it.
            with contextlib.suppress(APIError):
                node.manager.force_close_broadcasting_latest_txn(
                    temporary_id, event.counterparty_node_id, str(error)
                )

    def _asked_to_open(self, event: ev.OpenChannelRequest) -> None:
        try:
            self._open_request(event)
        except APIError as error:
            # What the peer says, and that it hangs up, can come in one piece: then nobody waits for the answer, and to
            # try it again at the next start would let strangers fill the disk.
            self._node.log(LogLevel.INFO, "a channel was gone before it was answered: %s", error)

    def _open_request(self, event: ev.OpenChannelRequest) -> None:
        node = self._node
        bought = node.orders.expects(event)
        why = ""
        if bought is False:
            # bLIP 51, channel open: then the seller has to give the money back.
            why = node.orders.refuse(event)
        elif bought is None and event.is_announced and self._is_private():
            # An announcement tells everybody who holds these coins: only who ordered that wants it.
            why = "Our channels are private: please do not announce this one."
        if why:
            node.log(LogLevel.WARN, "a channel was refused: %s", why)
            node.manager.reject_inbound_channel(event.temporary_channel_id, event.counterparty_node_id, why)
            return
        # Who has paid for it wants it; with nothing of ours in it, no close puts anything at risk.
        harmless = bought is True and not event.push_msat
        risky = event.needs_anchor_reserve and not node.options.accept_without_reserve and not harmless
        if risky and not node.has_anchor_reserve(one_more=True):
            self.channel_requests[event.temporary_channel_id] = event
            node.log(LogLevel.INFO, "a channel waits for your word: there are no coins to close it with")
            return
        node.manager.accept_inbound_channel(event.temporary_channel_id, event.counterparty_node_id, 0)

    def _is_private(self) -> bool:
        config = self._node.options.user_config
        forced = config.channel_handshake_limits.force_announced_channel_preference
        return forced and not config.channel_handshake_config.announce_for_forwarding

    def _pending(self, event: ev.ChannelPending) -> None:
        node = self._node
        node.orders.channels_changed()
        waiter = self.channel_waiters.pop(event.temporary_channel_id, None)
        if waiter is not None:
            node.core.afterwards(lambda: waiter(event))
        tx = node.onchain.reserved_transaction(event.funding_outpoint.txid)
        if tx is not None:
            node.onchain.commit(tx, _("Channel opening"))
            self._note_opening(event, tx)
            node.ledger.onchain_changed(txid_hex(tx.txid))

    def _note_opening(self, event: ev.ChannelPending, tx: Transaction) -> None:
        """What goes into a channel of ours is no payment."""
        node, txid = self._node, event.funding_outpoint.txid
        node.ledger.put_move(
            txid,
            MoveRecord(
                kind=MoveKind.OPENING,
                channel_id=event.channel_id,
                counterparty_node_id=event.counterparty_node_id,
                moved_sat=tx.outputs[event.funding_outpoint.vout].value_sat,
                fee_sat=0,
            ),
        )

    def _discard_funding(self, event: ev.DiscardFunding) -> None:
        """The funding will never be needed: its coins are free, unless a server has it after all."""
        onchain = self._node.onchain
        onchain.release(event.tx.txid)
        if onchain.entry_by_hex(txid_hex(event.tx.txid)) is not None:
            try:
                onchain.abandon(event.tx.txid, channel_gone=True)
            except OnchainError as error:
                self._node.log(LogLevel.WARN, "a funding transaction stays: %s", error)

    def _closed(self, event: ev.ChannelClosed) -> None:
        node = self._node
        node.orders.channels_changed()
        asked = self.probes.pop(event.channel_id, None)
        if asked is not None:
            node.forget_details(event.channel_id)
            node.core.afterwards(lambda: asked(event))
            return
        if event.was_funded or event.is_outbound:
            # What peers offer, and never fund, would fill the books for nothing.
            self._write_down(event)
        if not event.was_funded:
            node.forget_details(event.channel_id)
        node.log(LogLevel.INFO, "channel %s closed: %s", event.channel_id.hex(), event.reason.kind.name)
        self.channel_requests.pop(event.channel_id, None)
        waiter = self.channel_waiters.pop(event.channel_id, None)
        if waiter is not None:
            node.core.afterwards(lambda: waiter(event))

    def _write_down(self, event: ev.ChannelClosed) -> None:
        """The books keep what a channel was."""
        node = self._node
        before = node.last_details(event.channel_id)
        outpoint = event.funding_outpoint
        node.ledger.put_closed(
            ClosedChannelRecord(
                channel_id=event.channel_id,
                counterparty_node_id=event.counterparty_node_id,
                capacity_sat=event.channel_capacity_sat,
                local_msat=before.balance_msat if before is not None else 0,
                final_msat=event.balance_msat,
                funding_txid=outpoint.txid if outpoint is not None else None,
                funding_vout=outpoint.vout if outpoint is not None else 0,
                closed_at=node.core.now.at,
                closed_height=node.best_height,
                reason=closure_sentence(event.reason),
                was_funded=event.was_funded,
                forced=event.was_funded and event.reason.kind not in _BY_AGREEMENT,
                by_us=event.reason.kind
                in (ev.ClosureKind.HOLDER_FORCE_CLOSED, ev.ClosureKind.COOPERATIVE_BY_HOLDER),
                is_outbound=before.is_outbound if before is not None else False,
                closing_txid=node.closings.spender(outpoint) if outpoint is not None else None,
                channel_type=type_name(before) if before is not None else "",
                to_self_delay_blocks=(before.force_close_spend_delay_blocks or 0)
                if before is not None
                else 0,
            )
        )
        # Of a close that the chain was first to tell, the commitment is there already.
        node.closings.note_commitments()

    # --- payments to us ---------------------------------------------------------------

    def _claimable(self, event: ev.PaymentClaimable) -> None:
        node = self._node
        request = node.ledger.requests.get(event.payment_hash)
        if request is not None and request.state in (RequestState.CANCELLED, RequestState.PAID):
            node.manager.fail_htlc_backwards(event.payment_hash)
            return
        if request is not None and paid_onchain(node, request) is not None:
            # Whoever pays a request for both layers pays it once: the coins are on their way, or here.
            node.log(LogLevel.INFO, "refused a payment of a request that is paid on chain")
            node.manager.fail_htlc_backwards(event.payment_hash)
            return
        if event.is_keysend and request is not None:
            # Whoever knows the preimage of a request could settle it with a payment of any amount.
            node.manager.fail_htlc_backwards(event.payment_hash)
            return
        if event.payment_preimage is not None:
            node.manager.claim_funds(event.payment_preimage)
            return
        if request is None or not request.hold:
            node.manager.fail_htlc_backwards(event.payment_hash)
            return
        if request.preimage is not None:
            node.manager.claim_funds(PaymentPreimage(request.preimage))
            return
        node.ledger.put_request(
            dataclasses.replace(
                request,
                state=RequestState.HELD,
                received_msat=event.amount_msat,
                claim_deadline_height=event.claim_deadline_height,
            )
        )

    def _forwarded(self, event: ev.PaymentForwarded) -> None:
        """A fee is earned by the channel that the payment left by."""
        ledger = self._node.ledger
        before = ledger.stats.get(event.next_channel_id, ChannelStatRecord())
        ledger.put_stat(
            event.next_channel_id,
            dataclasses.replace(
                before,
                forwards=before.forwards + 1,
                fees_earned_msat=before.fees_earned_msat + (event.fee_earned_msat or 0),
            ),
        )

    def _gone_back(self, event: ev.HTLCHandlingFailed) -> None:
        """A held payment may be among those that ran into their deadline: it can no longer be settled."""
        node = self._node
        node.log(LogLevel.INFO, "%s", type(event).__name__)
        request = node.ledger.requests.get(event.payment_hash)
        if request is None or request.state is not RequestState.HELD:
            return
        # A second try of the payer is refused while the first is held.
        if not node.manager.is_claimable(event.payment_hash):
            node.ledger.put_request(
                dataclasses.replace(
                    request, state=RequestState.UNPAID, received_msat=0, claim_deadline_height=0
                )
            )

    def _claimed(self, event: ev.PaymentClaimed) -> None:
        node = self._node
        request = node.ledger.requests.get(event.payment_hash)
        if request is None:
            request = node.keysend_request(event)
        node.ledger.put_request(
            dataclasses.replace(
                request,
                state=RequestState.PAID,
                received_msat=event.amount_msat,
                paid_at=node.core.now.at,
                preimage=event.payment_preimage,
            )
        )

    # --- payments of ours ---------------------------------------------------------------

    def _sent(self, event: ev.PaymentSent) -> None:
        node = self._node
        record = node.ledger.payments.get(event.payment_hash)
        if record is not None:
            others = {part.part_id for part in event.parts} - {event.part_id}
            if others:
                self._untimed[bytes(event.payment_hash)] = others
            node.ledger.put_payment(
                dataclasses.replace(
                    record,
                    trace=_traced(record.trace, *arrived(event, node.core.now)),
                    state=PaymentState.SUCCEEDED,
                    preimage=event.payment_preimage,
                    amount_msat=event.amount_msat,
                    fee_msat=event.fee_paid_msat,
                    settled_at=node.core.now.at,
                )
            )
        self.tell_waiters(event.payment_hash)

    def _failed(self, event: ev.PaymentFailed) -> None:
        node = self._node
        payment_hash = event.payment_hash if event.payment_hash is not None else bytes(event.payment_id)
        probe = self.probe_waiters.pop(bytes(payment_hash), None)
        if probe is not None:
            node.core.afterwards(lambda: probe(event))
            return
        record = node.ledger.payments.get(payment_hash)
        if record is not None and record.state is not PaymentState.SUCCEEDED:
            attempts = tuple(attempt_sentence(attempt, node.alias_of) for attempt in event.attempts)
            node.ledger.put_payment(
                dataclasses.replace(
                    record,
                    state=PaymentState.FAILED,
                    failure=payment_failure_sentence(
                        event.reason,
                        record.amount_msat,
                        event.attempts,
                        node.alias_of,
                        asked_for=bool(record.invoice),
                        passes_msat=self._passes_msat(event.attempts[-1]) if event.attempts else 0,
                    ),
                    attempts=attempts or record.attempts,
                    settled_at=node.core.now.at,
                )
            )
        self.tell_waiters(payment_hash)

    def _passes_msat(self, attempt: ev.FailedAttempt) -> int:
        """What earlier payments and probes say that the channel which failed can carry all the same; 0 for nothing."""
        hops, index, scid = attempt.path.hops, attempt.hop_index, attempt.short_channel_id
        if index is None or scid is None or index + 1 >= len(hops):
            return 0
        direction = 0 if hops[index].node_id < hops[index + 1].node_id else 1
        bounds = self._node.scorer.liquidity_bounds_msat(scid, direction, self._node.core.now)
        return 0 if bounds is None else bounds[0]

    def _path_failed(self, event: ev.PaymentPathFailed) -> None:
        node = self._node
        node.scorer_failed(event.attempt)
        record = node.ledger.payments.get(event.payment_hash)
        sentence = attempt_sentence(
            event.attempt, node.alias_of, passes_msat=self._passes_msat(event.attempt)
        )
        if record is not None:
            attempt = failed(event.attempt, node.core.now)
            amount_msat, fee_msat = record.amount_msat, record.fee_msat
            if record.state is PaymentState.SUCCEEDED and read_trace(record.trace).says_arrived(attempt):
                # The payee gave its proof, and this part came back all the same.
                amount_msat -= attempt.amount_msat
                fee_msat -= attempt.fee_msat
            node.ledger.put_payment(
                dataclasses.replace(
                    record,
                    amount_msat=amount_msat,
                    fee_msat=fee_msat,
                    attempts=(*record.attempts, sentence)[-MAX_KEPT:],
                    trace=_traced(record.trace, attempt),
                )
            )
        self._note_timed(bytes(event.payment_hash), event.attempt.part_id)
        node.ledger.progress(event.payment_hash, sentence)

    def _path_successful(self, event: ev.PaymentPathSuccessful) -> None:
        node = self._node
        node.scorer_succeeded(event.path)
        payment_hash = bytes(event.payment_hash)
        if not self._note_timed(payment_hash, event.part_id):
            return
        record = node.ledger.payments.get(payment_hash)
        if record is not None:
            trace = _traced(record.trace, settled(event, node.core.now))
            node.ledger.put_payment(dataclasses.replace(record, trace=trace))

    def _note_timed(self, payment_hash: bytes, part_id: int) -> bool:
        """A part has ended; whether that was still to come."""
        untimed = self._untimed.get(payment_hash, set())
        if part_id not in untimed:
            return False
        untimed.discard(part_id)
        if not untimed:
            del self._untimed[payment_hash]
        return True

    def tell_waiters(self, payment_hash: bytes) -> None:
        for waiter in self.payment_waiters.pop(bytes(payment_hash), []):
            self._node.core.afterwards(waiter)
