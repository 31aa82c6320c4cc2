"""`ChannelManager`, the room for payments: to us, through us, and the HTLCs of our own.

Theory of operation. An inbound HTLC that is irrevocably committed waits in `_to_process` for the next
`process_pending_htlc_forwards`; after a restart, those that no row speaks for are put there again. There its
onion is
opened, and it becomes one of three things: a part of a `ClaimablePayment` (row "claimable"), a
    `ForwardedHtlc` (row
"forward"), or a removal. Each of these is written in the batch of the decision, so that a crash finds the
HTLC either undecided or decided, and never decides twice.

What comes back for an HTLC that we offered is looked up by its source. A `ForwardedHtlc` is deleted in the
batch that claims or fails it upstream; whatever tells of the same end again (a reconnection, the monitor)
finds nothing, and so does nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, assert_never

from wallet.bitcoin.frozen import replace
from wallet.bitcoin.hashes import sha256
from wallet.bitcoin.records import decode, encode
from wallet.chain.interfaces import LogLevel, Row
from wallet.i18n import _
from wallet.ln import inbound_payment
from wallet.ln.channel_commitment import send_commitment
from wallet.ln.channel_details import ChannelDetails, details_of
from wallet.ln.channel_htlcs import add_htlc, refusal_to_add, remove_htlc
from wallet.ln.channel_limits import received_dust_exceeds
from wallet.ln.channel_state import (
    AddedHtlc,
    Failed,
    FailedMalformed,
    Fulfilled,
    FundedChannel,
    HeldAdd,
    HeldRemoval,
    InboundStage,
    Removal,
)
from wallet.ln.channel_step import (
    Draft,
    TellHeldAddFailed,
    TellHtlcFailed,
    TellHtlcFulfilled,
    TellHtlcsCommitted,
    TellHtlcSettled,
)
from wallet.ln.config import (
    HTLC_FAIL_BACK_BUFFER_BLOCKS,
    LATENCY_GRACE_PERIOD_BLOCKS,
    MIN_CLAIMABLE_EXPIRY_DELTA,
    ChannelConfig,
)
from wallet.ln.events import (
    HTLCHandlingFailed,
    PaymentClaimable,
    PaymentClaimed,
    PaymentFailureReason,
    PaymentForwarded,
    SentPart,
)
from wallet.ln.features import Feature
from wallet.ln.htlc import HTLCSource, OurPayment, PreviousHop
from wallet.ln.invoice import Invoice
from wallet.ln.manager_messages import MessageRoom
from wallet.ln.monitor_update import PreimageKnown
from wallet.ln.onion_failure import Failure, FailureCode
from wallet.ln.onion_payload import ReceivePayload, RecipientOnion
from wallet.ln.onion_payment import (
    ForwardingPolicy,
    IncomingForward,
    IncomingReceive,
    Rejected,
    check_forward,
    check_receive,
    decode_incoming_htlc,
)
from wallet.ln.onion_utils import (
    FailurePacket,
    Malformed,
    build_failure_packet,
    build_fulfill_attribution,
    wrap_failure_packet,
)
from wallet.ln.outbound_payment import OutboundPayments, RecentPayment, Retry, SendAlongPath
from wallet.ln.route import Route, RouteParameters
from wallet.ln.types import (
    APIError,
    ChannelId,
    Now,
    PaymentHash,
    PaymentId,
    PaymentPreimage,
    PaymentSecret,
)

__all__ = ["CLAIMABLE_SPACE", "FORWARD_SPACE", "PaymentRoom"]

CLAIMABLE_SPACE: Final = "claimable"
FORWARD_SPACE: Final = "forward"

MPP_TIMEOUT_TICKS: Final = 2
"""BOLT 4, basic multi-part payments: the first part waits for at least 60 seconds; a tick is a minute."""

# --- records ------------------------------------------------------------------


class ClaimStage(Enum):
    RECEIVING = 0
    """Parts are missing."""
    CLAIMABLE = 1
    """All parts are here, and `PaymentClaimable` was told."""
    CLAIMED = 2
    """Claimed, but for parts on channels that are out of order: these are claimed at the next start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimablePart:
    """One HTLC of a payment to us.

    Attributes:
        intended_msat: what the payer meant it to be; `amount_msat` is at least that.
        shared_secret: of its onion, to fail it with.
    """

    channel_id: ChannelId
    htlc_id: int
    amount_msat: int
    intended_msat: int
    cltv_expiry_height: int
    shared_secret: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimablePayment:
    """A payment to us that is coming in, or waits for `claim_funds`.

    Attributes:
        payment_preimage: None for a hash that was handed in.
        payment_secret: None for a spontaneous payment.
    """

    payment_hash: PaymentHash
    payment_preimage: PaymentPreimage | None
    payment_secret: PaymentSecret | None
    total_msat: int
    parts: tuple[ClaimablePart, ...]
    stage: ClaimStage = ClaimStage.RECEIVING

    @property
    def deadline_height(self) -> int:
        return min(part.cltv_expiry_height for part in self.parts) - HTLC_FAIL_BACK_BUFFER_BLOCKS


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardedHtlc:
    """An inbound HTLC that was passed on.

    Attributes:
        shared_secret: of its onion, to wrap failures with.
        next_channel_id: where it went.
        payment_preimage: known, while the channel that it came in by is out of order: claimed at the next start.
    """

    shared_secret: bytes
    payment_hash: PaymentHash
    incoming_msat: int
    outgoing_msat: int
    next_channel_id: ChannelId
    payment_preimage: PaymentPreimage | None = field(default=None, metadata={"tlv": 11})


def _hop_key(hop: PreviousHop) -> bytes:
    return hop.channel_id + hop.htlc_id.to_bytes(8, "big")


class PaymentRoom(MessageRoom):
    _outbound: OutboundPayments
    _inbound_keys: inbound_payment.ExpandedKey

    def _init_payments(self) -> None:
        self._to_process: deque[tuple[ChannelId, AddedHtlc]] = deque()
        self._claimable: dict[PaymentHash, ClaimablePayment] = {}
        self._claimable_ticks: dict[PaymentHash, int] = {}
        self._forwards: dict[PreviousHop, ForwardedHtlc] = {}
        self._received_ms: dict[PreviousHop, int] = {}

    # --- payments of ours ---

    def send_payment(
        self,
        payment_hash: PaymentHash,
        payment_secret: PaymentSecret | None,
        metadata: bytes | None,
        payment_id: PaymentId,
        route_params: RouteParameters,
        retry: Retry,
        now: Now,
    ) -> None:
        """Pays. `DuplicatePayment` or `PaymentNotSent` where nothing left; otherwise an event tells the
        end."""
        with self._entry:
            self._now = now
            recipient = RecipientOnion(
                total_msat=route_params.final_value_msat,
                payment_secret=payment_secret,
                payment_metadata=metadata,
            )
            self._outbound.send_payment(
                payment_id,
                payment_hash,
                recipient,
                route_params,
                retry,
                now=now,
                best_height=self._best_height,
            )

    def send_payment_with_route(
        self,
        payment_hash: PaymentHash,
        payment_secret: PaymentSecret | None,
        metadata: bytes | None,
        payment_id: PaymentId,
        route: Route,
        now: Now,
    ) -> None:
        """Pays over a route that the caller chose; there are no retries. Raises as `send_payment`."""
        with self._entry:
            self._now = now
            recipient = RecipientOnion(
                total_msat=route.route_params.final_value_msat,
                payment_secret=payment_secret,
                payment_metadata=metadata,
            )
            self._outbound.send_payment_with_route(
                payment_id, payment_hash, recipient, route, now=now, best_height=self._best_height
            )

    def pay_for_bolt11_invoice(
        self,
        invoice: Invoice,
        payment_id: PaymentId,
        amount_msat: int | None,
        retry: Retry,
        max_fee_msat: int | None,
        now: Now,
        first_route: Route | None = None,
    ) -> None:
        """Pays an invoice; `amount_msat` where it leaves the amount open. A `first_route` is taken before any other
        is looked for. Raises as `send_payment`."""
        with self._entry:
            self._now = now
            if invoice.payee == self._our_node_id:
                raise APIError(_("This invoice is our own."))
            self._outbound.pay_for_bolt11_invoice(
                invoice,
                payment_id,
                amount_msat,
                retry,
                now=now,
                best_height=self._best_height,
                max_total_routing_fee_msat=max_fee_msat,
                first_route=first_route,
            )

    def send_probes(self, route_params: RouteParameters, now: Now) -> tuple[Route, tuple[PaymentHash, ...]]:
        """Finds a route, and sends what comes back along each of its paths: `PaymentFailed` of each hash says how
        far it came. Raises as `send_payment`."""
        with self._entry:
            self._now = now
            route = self._outbound.find_route(route_params)
            hashes = tuple(
                self._outbound.send_probe(
                    path, route_params.payment_params, now=now, best_height=self._best_height
                )
                for path in route.paths
            )
            return route, hashes

    def send_spontaneous_payment(
        self,
        payment_preimage: PaymentPreimage | None,
        payment_id: PaymentId,
        route_params: RouteParameters,
        retry: Retry,
        now: Now,
    ) -> PaymentHash:
        """Pays a node without an invoice; answers with the payment hash. Raises as `send_payment`."""
        with self._entry:
            self._now = now
            preimage = payment_preimage or PaymentPreimage(self._keys.get_secure_random_bytes())
            return self._outbound.send_spontaneous_payment(
                payment_id, preimage, route_params, retry, now=now, best_height=self._best_height
            )

    def abandon_payment(self, payment_id: PaymentId) -> None:
        """Tries no more; parts under way may still arrive."""
        with self._entry:
            self._outbound.abandon_payment(payment_id, PaymentFailureReason.USER_ABANDONED)

    def payment_parts_under_way(self, payment_id: PaymentId) -> tuple[SentPart, ...]:
        """Parts of a payment of ours whose HTLCs are out."""
        return self._outbound.parts_under_way(payment_id)

    def knows_payment(self, payment_id: PaymentId) -> bool:
        """Whether a payment of ours is under way, or arrived not long ago."""
        return self._outbound.knows(payment_id)

    def list_recent_payments(self) -> tuple[RecentPayment, ...]:
        return self._outbound.list_recent_payments()

    def _first_hops(self, *, with_htlcs: bool = False) -> Sequence[ChannelDetails]:
        return [
            details_of(
                channel,
                self._best_height,
                self._max_dust_exposure_msat(channel),
                self._peer_features(channel.counterparty_node_id),
                with_htlcs=with_htlcs,
            )
            for channel in self._channels.values()
            if channel.is_usable and channel.channel_id not in self._frozen
        ]

    def _send_along_path(self, send: SendAlongPath) -> None:
        """Offers one part. APIError, and nothing changed, where the channel cannot take it."""
        hop = send.path.hops[0]
        channel_id = self._by_scid.get(hop.short_channel_id)
        channel = None if channel_id is None else self._channels.get(channel_id)
        if channel is None or channel.counterparty_node_id != hop.node_id:
            raise APIError(_("The first channel of the route is not ours."))
        add = AddedHtlc(
            htlc_id=0,
            amount_msat=send.amount_msat,
            payment_hash=send.payment_hash,
            cltv_expiry_height=send.cltv_expiry_height,
            onion_routing_packet=send.onion_packet,
        )
        source = OurPayment(payment_id=send.payment_id, part_id=send.part_id)
        refusal = self._offer(channel, add, source)
        if refusal is not None:
            raise APIError(refusal)

    def _offer(self, channel: FundedChannel, add: AddedHtlc, source: HTLCSource) -> str | None:
        """Queues an HTLC on a channel; its commitment_signed comes at the entry's end. A refusal, or None."""
        if channel.channel_id in self._frozen:
            return _("The channel is out of order.")
        if self._is_chain_silent:
            return _("No block has come for too long.")
        refusal = refusal_to_add(channel, add.amount_msat, self._max_dust_exposure_msat(channel))
        if refusal is not None:
            return refusal
        if not self._run(channel, lambda draft: add_htlc(draft, add, source)):
            return _("The channel is out of order.")
        self._to_commit[channel.channel_id] = None
        return None

    # --- payments to us ---

    def create_inbound_payment(
        self,
        min_value_msat: int | None,
        expiry_seconds: int,
        now: Now,
        min_final_cltv_expiry_delta: int | None = None,
    ) -> tuple[PaymentHash, PaymentSecret]:
        """A hash and a secret for an invoice; nothing is stored, the secret carries what is needed."""
        made = inbound_payment.create(
            self._inbound_keys,
            min_value_msat=min_value_msat,
            expiry_seconds=expiry_seconds,
            random_bytes=self._keys.get_secure_random_bytes(),
            # The same clock that judges it later, unless that has never been seen.
            highest_seen_at=self._highest_seen_at or now.at,
            min_final_cltv_delta=min_final_cltv_expiry_delta,
        )
        return made.payment_hash, made.payment_secret

    def create_inbound_payment_for_hash(
        self,
        payment_hash: PaymentHash,
        min_value_msat: int | None,
        expiry_seconds: int,
        now: Now,
        min_final_cltv_expiry_delta: int | None = None,
    ) -> PaymentSecret:
        """A secret for a hash whose preimage we may not know: the payment waits for `claim_funds` (hold)."""
        made = inbound_payment.create_from_hash(
            self._inbound_keys,
            payment_hash,
            min_value_msat=min_value_msat,
            expiry_seconds=expiry_seconds,
            random_bytes=self._keys.get_secure_random_bytes(),
            highest_seen_at=self._highest_seen_at or now.at,
            min_final_cltv_delta=min_final_cltv_expiry_delta,
        )
        return made.payment_secret

    def get_payment_preimage(
        self, payment_hash: PaymentHash, payment_secret: PaymentSecret
    ) -> PaymentPreimage:
        """The preimage of a hash that we made. APIError for any other."""
        return inbound_payment.get_payment_preimage(self._inbound_keys, payment_hash, payment_secret)

    def claim_funds(self, payment_preimage: PaymentPreimage) -> None:
        """Takes a payment that is claimable. Without one, does nothing: it was claimed, or it timed out."""
        with self._entry:
            payment_hash = PaymentHash(sha256(payment_preimage))
            payment = self._claimable.get(payment_hash)
            if payment is None or payment.stage is not ClaimStage.CLAIMABLE:
                return
            self._forget_claimable(payment_hash)
            self._claim_parts(payment, payment_preimage)
            self._push_event(
                PaymentClaimed(
                    payment_hash,
                    payment_preimage,
                    sum(part.amount_msat for part in payment.parts),
                    payment.payment_secret is None,
                )
            )

    def _claim_parts(self, payment: ClaimablePayment, payment_preimage: PaymentPreimage) -> None:
        """Claims each part. Whoever has the preimage is paid; so a part that cannot be claimed now is kept."""
        for part in payment.parts:
            hop = PreviousHop(channel_id=part.channel_id, htlc_id=part.htlc_id)
            self._claim_upstream(hop, payment.payment_hash, payment_preimage, part.shared_secret, None)
        left = tuple(part for part in payment.parts if part.channel_id in self._frozen)
        if left:
            stage = ClaimStage.CLAIMED
            self._keep_claimable(replace(payment, parts=left, stage=stage, payment_preimage=payment_preimage))

    def is_claimable(self, payment_hash: PaymentHash) -> bool:
        """Whether `claim_funds` would take a payment now."""
        payment = self._claimable.get(payment_hash)
        return payment is not None and payment.stage is ClaimStage.CLAIMABLE

    def fail_htlc_backwards(self, payment_hash: PaymentHash) -> None:
        """Refuses a payment that is claimable, or on its way."""
        with self._entry:
            payment = self._claimable.get(payment_hash)
            if payment is not None and payment.stage is not ClaimStage.CLAIMED:
                self._fail_claimable(payment, None)

    def _fail_claimable(self, payment: ClaimablePayment, failure: Failure | None) -> None:
        """Fails all parts; by default as BOLT 4 has it for any wrong detail."""
        self._forget_claimable(payment.payment_hash)
        for part in payment.parts:
            answer = failure or Failure.incorrect_or_unknown_payment_details(
                part.amount_msat, self._best_height
            )
            hop = PreviousHop(channel_id=part.channel_id, htlc_id=part.htlc_id)
            self._fail_received(hop, payment.payment_hash, part.shared_secret, answer, None)

    def _forget_claimable(self, payment_hash: PaymentHash) -> None:
        self._claimable.pop(payment_hash, None)
        self._claimable_ticks.pop(payment_hash, None)
        self._persist.write((Row(CLAIMABLE_SPACE, payment_hash, None),))

    def _keep_claimable(self, payment: ClaimablePayment) -> None:
        self._claimable[payment.payment_hash] = payment
        self._persist.write((Row(CLAIMABLE_SPACE, payment.payment_hash, encode(payment)),))

    # --- HTLCs that came in ---

    @property
    def needs_forwarding(self) -> bool:
        """`process_pending_htlc_forwards` has something to do."""
        return bool(self._to_process) or self._outbound.needs_retry

    def process_pending_htlc_forwards(self, now: Now) -> None:
        """Opens what came in, passes it on, takes it or fails it; and sends again what can be tried again."""
        with self._entry:
            self._now = now
            while self._to_process:
                channel_id, add = self._to_process.popleft()
                try:
                    self._process(channel_id, add, now)
                except Exception as error:
                    # It stays undecided, and the next start tries again: others, and that start, must not suffer.
                    self._log(LogLevel.ERROR, "an HTLC could not be processed: %r", error)
            try:
                self._outbound.check_retry_payments(now, self._best_height)
            except Exception as error:
                # That payment is given up; whoever caused this entry, and the other payments, must not suffer.
                self._log(LogLevel.ERROR, "a payment could not be tried again: %r", error)

    def _on_htlcs_committed(self, channel_id: ChannelId, tell: TellHtlcsCommitted) -> None:
        for add in tell.htlcs:
            self._to_process.append((channel_id, add))
            if self._now is not None:
                hop = PreviousHop(channel_id=channel_id, htlc_id=add.htlc_id)
                self._received_ms[hop] = self._now.mono_ms

    def _process(self, channel_id: ChannelId, add: AddedHtlc, now: Now) -> None:
        channel = self._channels.get(channel_id)
        htlc = None if channel is None else channel.inbound.get(add.htlc_id)
        if channel is None or htlc is None or htlc.stage is not InboundStage.COMMITTED:
            return
        if channel_id in self._frozen:
            # Whatever came of it could not be told to its channel: the next start decides.
            return
        hop = PreviousHop(channel_id=channel_id, htlc_id=add.htlc_id)
        self._received_ms.setdefault(hop, now.mono_ms)
        incoming = decode_incoming_htlc(
            add.onion_routing_packet, add.payment_hash, self._keys.ecdh, add.blinding_point
        )
        match incoming:
            case Malformed():
                removal = FailedMalformed(
                    sha256_of_onion=incoming.sha256_of_onion, failure_code=incoming.failure_code
                )
                self._remove(hop, removal)
                self._tell_failed(hop, None, add.payment_hash, incoming.failure_code)
            case Rejected():
                self._fail_received(hop, add.payment_hash, incoming.shared_secret, incoming.failure, None)
            case IncomingForward() | IncomingReceive() if self._is_chain_silent:
                failure = Failure.temporary_node_failure()
                self._fail_received(hop, add.payment_hash, incoming.shared_secret, failure, None)
            case IncomingForward():
                if self._is_dust_too_many(channel, add):
                    failure = Failure.temporary_channel_failure()
                    self._fail_received(hop, add.payment_hash, incoming.shared_secret, failure, None)
                else:
                    self._forward(channel, hop, add, incoming)
            case IncomingReceive():
                if self._is_dust_too_many(channel, add):
                    failure = Failure.temporary_node_failure()
                    self._fail_received(hop, add.payment_hash, incoming.shared_secret, failure, None)
                else:
                    self._receive(channel, hop, add, incoming)
            case _:
                assert_never(incoming)

    @property
    def _is_chain_silent(self) -> bool:
        """Whether the newest block is so old that the chain may be hidden from us."""
        limit_seconds = self._config.htlc_pause_seconds
        if not limit_seconds or not self._highest_seen_at or self._now is None:
            return False
        return self._now.at - self._highest_seen_at >= limit_seconds

    def _is_dust_too_many(self, channel: FundedChannel, add: AddedHtlc) -> bool:
        """BOLT 2, max_dust_htlc_exposure_msat, receiving: failed once it is committed, no preimage shown."""
        return received_dust_exceeds(channel, add.amount_msat, self._max_dust_exposure_msat(channel))

    # --- for us ---

    def _receive(
        self, channel: FundedChannel, hop: PreviousHop, add: AddedHtlc, incoming: IncomingReceive
    ) -> None:
        payload = incoming.payload

        def refuse(failure: Failure) -> None:
            self._fail_received(hop, add.payment_hash, incoming.shared_secret, failure, None)

        unknown = Failure.incorrect_or_unknown_payment_details(add.amount_msat, self._best_height)
        if channel.config.accept_underpaying_htlcs and add.amount_msat < payload.amount_msat:
            checked_msat = payload.amount_msat
        else:
            checked_msat = add.amount_msat
        failure = check_receive(
            payload,
            incoming_msat=checked_msat,
            incoming_cltv_height=add.cltv_expiry_height,
            best_height=self._best_height,
            min_final_cltv_delta=MIN_CLAIMABLE_EXPIRY_DELTA,
        )
        if failure is not None:
            refuse(failure)
            return
        preimage = self._preimage_for(add, payload)
        if preimage is None:
            refuse(unknown)
            return
        known = self._claimable.get(add.payment_hash)
        if known is not None and (
            known.stage is not ClaimStage.RECEIVING
            or known.payment_secret != payload.payment_secret
            or known.total_msat != payload.total_msat
        ):
            # BOLT 4, basic MPP: all parts of a set have the same total and secret; a complete one takes no
            # more.
            refuse(unknown)
            return
        if payload.payment_secret is None and known is not None:
            refuse(unknown)
            return
        part = ClaimablePart(
            channel_id=hop.channel_id,
            htlc_id=hop.htlc_id,
            amount_msat=add.amount_msat,
            intended_msat=payload.amount_msat,
            cltv_expiry_height=add.cltv_expiry_height,
            shared_secret=incoming.shared_secret,
        )
        payment = ClaimablePayment(
            payment_hash=add.payment_hash,
            payment_preimage=preimage[0],
            payment_secret=payload.payment_secret,
            total_msat=payload.total_msat,
            parts=(part,) if known is None else (*known.parts, part),
        )
        if sum(other.intended_msat for other in payment.parts) < payload.total_msat:
            self._claimable_ticks.setdefault(add.payment_hash, 0)
            self._keep_claimable(payment)
            return
        payment = replace(payment, stage=ClaimStage.CLAIMABLE)
        self._claimable_ticks.pop(add.payment_hash, None)
        self._keep_claimable(payment)
        received_msat = sum(other.amount_msat for other in payment.parts)
        intended_msat = sum(other.intended_msat for other in payment.parts)
        self._push_event(
            PaymentClaimable(
                add.payment_hash,
                payment.payment_preimage,
                payment.payment_secret,
                received_msat,
                max(0, intended_msat - received_msat),
                payment.deadline_height,
                tuple(dict.fromkeys(other.channel_id for other in payment.parts)),
                payment.payment_secret is None,
            )
        )

    def _preimage_for(self, add: AddedHtlc, payload: ReceivePayload) -> tuple[PaymentPreimage | None] | None:
        """Whether we asked for this payment. None: no; otherwise the preimage, as far as we know it."""
        if payload.payment_secret is None:
            # A spontaneous payment is one HTLC: without a secret, nothing says which parts belong together.
            keysend = payload.keysend_preimage
            if keysend is None or not self._config.accept_keysend or sha256(keysend) != add.payment_hash:
                return None
            return (keysend,)
        verified = inbound_payment.verify(
            self._inbound_keys,
            add.payment_hash,
            payload.payment_secret,
            total_msat=payload.total_msat,
            highest_seen_at=self._highest_seen_at,
            payment_metadata=payload.payment_metadata,
        )
        if verified is None:
            return None
        delta = verified.min_final_cltv_delta
        if delta is not None and add.cltv_expiry_height < self._best_height + delta:
            return None
        return (verified.payment_preimage,)

    # --- for others ---

    def _policy(self, channel: FundedChannel, config: ChannelConfig) -> ForwardingPolicy:
        return ForwardingPolicy(
            fee_base_msat=config.forwarding_fee_base_msat,
            fee_proportional_millionths=config.forwarding_fee_proportional_millionths,
            cltv_expiry_delta=config.cltv_expiry_delta,
            htlc_minimum_msat=max(1, channel.terms.counterparty.htlc_minimum_msat),
        )

    def _next_channel(self, incoming: IncomingForward) -> FundedChannel | Failure:
        """The channel that an onion names, if we forward to it at all."""
        scid = incoming.payload.short_channel_id
        channel_id = self._by_scid.get(scid)
        channel = None if channel_id is None else self._channels.get(channel_id)
        if channel is None or not self._config.accept_forwards:
            return Failure.unknown_next_peer()
        if not channel.terms.is_announced and not self._config.accept_forwards_to_priv_channels:
            return Failure.unknown_next_peer()
        # BOLT 2, channel_ready: with scid_alias in its type, a channel is not known by its real id.
        if channel.channel_type.scid_privacy and scid != channel.terms.scid_alias:
            return Failure.unknown_next_peer()
        return channel

    def _forward(
        self, channel: FundedChannel, hop: PreviousHop, add: AddedHtlc, incoming: IncomingForward
    ) -> None:
        def refuse(failure: Failure, next_channel_id: ChannelId | None) -> None:
            self._fail_received(hop, add.payment_hash, incoming.shared_secret, failure, next_channel_id)

        named = self._next_channel(incoming)
        if isinstance(named, Failure):
            refuse(named, None)
            return
        failure = self._check_forward(named, named.config, add, incoming)
        before = self._previous_configs.get(named.channel_id)
        if failure is not None and before is not None:
            # BOLT 7, channel_update, origin node: the terms from before hold for a while, until payers know better.
            if self._check_forward(named, before[0], add, incoming) is None:
                failure = None
        if failure is not None:
            refuse(failure, named.channel_id)
            return
        if channel.is_shutting_down:
            # BOLT 2, shutdown, sender: HTLCs that came after it are not passed on.
            refuse(Failure.permanent_channel_failure(), named.channel_id)
            return
        outgoing = AddedHtlc(
            htlc_id=0,
            amount_msat=incoming.payload.amt_to_forward_msat,
            payment_hash=add.payment_hash,
            cltv_expiry_height=incoming.payload.outgoing_cltv_height,
            onion_routing_packet=incoming.next_packet,
        )
        # BOLT 4, non-strict forwarding: any channel with the same peer will do.
        others = [
            other
            for other in self._channels.values()
            if other.counterparty_node_id == named.counterparty_node_id and other is not named
        ]
        for candidate in (named, *others):
            if self._offer(candidate, outgoing, hop) is None:
                forwarded = ForwardedHtlc(
                    shared_secret=incoming.shared_secret,
                    payment_hash=add.payment_hash,
                    incoming_msat=add.amount_msat,
                    outgoing_msat=outgoing.amount_msat,
                    next_channel_id=candidate.channel_id,
                )
                self._keep_forward(hop, forwarded)
                return
        if named.is_shutting_down:
            refuse(Failure.permanent_channel_failure(), named.channel_id)
        else:
            refuse(Failure.temporary_channel_failure(), named.channel_id)

    def _check_forward(
        self, channel: FundedChannel, config: ChannelConfig, add: AddedHtlc, incoming: IncomingForward
    ) -> Failure | None:
        return check_forward(
            incoming.payload,
            self._policy(channel, config),
            incoming_msat=add.amount_msat,
            incoming_cltv_height=add.cltv_expiry_height,
            best_height=self._best_height,
            expiry_buffer_blocks=HTLC_FAIL_BACK_BUFFER_BLOCKS,
        )

    def _keep_forward(self, hop: PreviousHop, forwarded: ForwardedHtlc) -> None:
        self._forwards[hop] = forwarded
        self._persist.write((Row(FORWARD_SPACE, _hop_key(hop), encode(forwarded)),))

    def _take_forward(self, hop: PreviousHop) -> ForwardedHtlc | None:
        """The forwarded HTLC, once: its end is being decided in this batch."""
        forwarded = self._forwards.pop(hop, None)
        if forwarded is not None:
            self._persist.write((Row(FORWARD_SPACE, _hop_key(hop), None),))
        return forwarded

    # --- removing HTLCs that came in ---

    def _remove(self, hop: PreviousHop, removal: Removal) -> None:
        """Removes an inbound HTLC, if its channel is still here."""
        self._received_ms.pop(hop, None)
        channel = self._channels.get(hop.channel_id)
        if channel is None or hop.channel_id in self._frozen:
            return

        def transition(draft: Draft) -> None:
            remove_htlc(draft, hop.htlc_id, removal)

        if self._run(channel, transition):
            self._to_commit[hop.channel_id] = None

    def _claim_upstream(
        self,
        hop: PreviousHop,
        payment_hash: PaymentHash,
        payment_preimage: PaymentPreimage,
        shared_secret: bytes,
        downstream_attribution: bytes | None,
    ) -> None:
        """The preimage goes into the monitor first, then to the peer: one batch, in this order."""
        known = PreimageKnown(payment_hash=payment_hash, payment_preimage=payment_preimage)
        channel = self._channels.get(hop.channel_id)
        held_ms = self._hold_time_ms(self._received_ms.pop(hop, None))
        if channel is None or hop.channel_id in self._frozen:
            if channel is None:
                self._update_closed_monitor(hop.channel_id, (known,))
            return
        attribution: bytes | None = None
        features = self._peer_features(channel.counterparty_node_id)
        if features is not None and features.supports(Feature.ATTRIBUTION_DATA):
            attribution = build_fulfill_attribution(shared_secret, downstream_attribution, held_ms)
        removal = Fulfilled(payment_preimage=payment_preimage, attribution_data=attribution)
        alone = not self._to_commit

        def transition(draft: Draft) -> None:
            draft.monitor_steps.append(known)
            remove_htlc(draft, hop.htlc_id, removal)
            if alone:
                # The usual case: one HTLC, one update of the monitor for preimage and commitment.
                send_commitment(draft)

        if self._run(channel, transition):
            self._to_commit[hop.channel_id] = None

    def _fail_received(
        self,
        hop: PreviousHop,
        payment_hash: PaymentHash,
        shared_secret: bytes,
        failure: Failure,
        next_channel_id: ChannelId | None,
    ) -> None:
        """Fails an inbound HTLC for a reason of ours."""
        held_ms = self._hold_time_ms(self._received_ms.get(hop))
        packet = build_failure_packet(shared_secret, failure, held_ms)
        self._remove(hop, self._failed(hop, packet))
        self._tell_failed(hop, next_channel_id, payment_hash, failure.code)

    def _failed(self, hop: PreviousHop, packet: FailurePacket) -> Failed:
        channel = self._channels.get(hop.channel_id)
        features = None if channel is None else self._peer_features(channel.counterparty_node_id)
        understood = features is not None and features.supports(Feature.ATTRIBUTION_DATA)
        return Failed(reason=packet.data, attribution_data=packet.attribution_data if understood else None)

    def _tell_failed(
        self, hop: PreviousHop, next_channel_id: ChannelId | None, payment_hash: PaymentHash, code: int
    ) -> None:
        message = Failure(code).sentence
        self._log(LogLevel.DEBUG, "an HTLC is failed back: %s", message)
        self._push_event(HTLCHandlingFailed(hop.channel_id, next_channel_id, payment_hash, code, message))

    # --- HTLCs that we offered ---

    def _on_htlc_fulfilled(self, channel_id: ChannelId, tell: TellHtlcFulfilled) -> None:
        self._claim_source(
            tell.source,
            tell.payment_hash,
            tell.payment_preimage,
            downstream_attribution=tell.attribution_data,
            from_onchain=False,
        )

    def _claim_source(
        self,
        source: HTLCSource,
        payment_hash: PaymentHash,
        payment_preimage: PaymentPreimage,
        *,
        downstream_attribution: bytes | None,
        from_onchain: bool,
    ) -> None:
        match source:
            case OurPayment():
                self._outbound.claim_htlc(
                    source.payment_id,
                    source.part_id,
                    payment_preimage,
                    from_onchain=from_onchain,
                    attribution_data=downstream_attribution,
                )
            case PreviousHop():
                forwarded = self._take_forward(source)
                if forwarded is None:
                    return
                self._claim_upstream(
                    source,
                    payment_hash,
                    payment_preimage,
                    forwarded.shared_secret,
                    downstream_attribution,
                )
                if source.channel_id in self._frozen:
                    # Paid for downstream already: it is not forgotten before it is claimed.
                    self._keep_forward(source, replace(forwarded, payment_preimage=payment_preimage))
                    return
                self._push_event(
                    PaymentForwarded(
                        source.channel_id,
                        forwarded.next_channel_id,
                        forwarded.incoming_msat - forwarded.outgoing_msat,
                        forwarded.outgoing_msat,
                        from_onchain,
                    )
                )
            case _:
                assert_never(source)

    def _on_htlc_settled(self, channel_id: ChannelId, tell: TellHtlcSettled) -> None:
        if isinstance(tell.source, OurPayment):
            self._outbound.finalize_claim(tell.source.payment_id, tell.source.part_id)

    def _on_htlc_failed(self, channel_id: ChannelId, tell: TellHtlcFailed) -> None:
        removal = tell.removal
        match removal:
            case Failed():
                packet = FailurePacket(removal.reason, removal.attribution_data)
                if isinstance(tell.source, OurPayment):
                    self._outbound.fail_htlc(tell.source.payment_id, tell.source.part_id, packet)
                    return
                self._fail_forward(tell.source, packet, None)
            case FailedMalformed():
                # BOLT 2, update_fail_malformed_htlc: it becomes a failure of ours, with the peer's code.
                failure = Failure.bad_onion(removal.failure_code, removal.sha256_of_onion)
                self._fail_source(tell.source, failure, None)
            case Fulfilled():
                return
            case _:
                assert_never(removal)

    def _fail_source(self, source: HTLCSource, failure: Failure, message: str | None) -> None:
        """An HTLC that we offered, or were about to, is over, for a reason of ours."""
        match source:
            case OurPayment():
                self._outbound.fail_htlc_locally(source.payment_id, source.part_id, failure, message)
            case PreviousHop():
                self._fail_forward(source, None, failure)
            case _:
                assert_never(source)

    def _fail_forward(self, hop: PreviousHop, packet: FailurePacket | None, failure: Failure | None) -> None:
        forwarded = self._take_forward(hop)
        if forwarded is None:
            return
        held_ms = self._hold_time_ms(self._received_ms.get(hop))
        if packet is not None:
            wrapped = wrap_failure_packet(forwarded.shared_secret, packet, held_ms)
        else:
            wrapped = build_failure_packet(
                forwarded.shared_secret, failure or Failure.temporary_channel_failure(), held_ms
            )
        self._remove(hop, self._failed(hop, wrapped))
        code = failure.code if failure is not None else FailureCode.TEMPORARY_CHANNEL_FAILURE
        self._tell_failed(hop, forwarded.next_channel_id, forwarded.payment_hash, code)

    def _on_held_add_failed(self, channel_id: ChannelId, tell: TellHeldAddFailed) -> None:
        self._fail_source(tell.held.source, Failure.temporary_channel_failure(), tell.reason)

    # --- ticks, blocks, restarts ---

    def _tick_claimable(self) -> None:
        """BOLT 4, basic MPP: an incomplete set is failed after a while."""
        for payment_hash, payment in list(self._claimable.items()):
            if payment.stage is not ClaimStage.RECEIVING:
                continue
            ticks = self._claimable_ticks.get(payment_hash, 0) + 1
            self._claimable_ticks[payment_hash] = ticks
            if ticks > MPP_TIMEOUT_TICKS:
                self._fail_claimable(payment, Failure.mpp_timeout())

    def _tick_late_forwards(self) -> None:
        """Downstream is on the chain, or should be, and no preimage came before the upstream peer has to go there too:
        that HTLC is lost to us by now, and its channel need not be. In a tick, because a tip may be told before the
        transactions below it, and one of these may hold the preimage.
        """
        for hop, forwarded in list(self._forwards.items()):
            if forwarded.next_channel_id in self._channels or forwarded.payment_preimage is not None:
                continue
            channel = self._channels.get(hop.channel_id)
            htlc = None if channel is None else channel.inbound.get(hop.htlc_id)
            if htlc is None or hop.channel_id in self._frozen:
                continue
            if htlc.add.cltv_expiry_height <= self._best_height + LATENCY_GRACE_PERIOD_BLOCKS:
                self._fail_forward(hop, None, Failure.permanent_channel_failure())

    def _expire_claimable(self) -> None:
        """An HTLC that could not be claimed on chain in time any more is given back while that is easy."""
        for payment in list(self._claimable.values()):
            if payment.stage is not ClaimStage.CLAIMED and self._best_height >= payment.deadline_height:
                self._fail_claimable(payment, None)

    def _read_payments(self, rows: Callable[[str], Iterable[tuple[bytes, bytes]]]) -> None:
        for _key, value in rows(CLAIMABLE_SPACE):
            payment = decode(ClaimablePayment, value)
            self._claimable[payment.payment_hash] = payment
        for key, value in rows(FORWARD_SPACE):
            hop = PreviousHop(channel_id=ChannelId(key[:32]), htlc_id=int.from_bytes(key[32:], "big"))
            self._forwards[hop] = decode(ForwardedHtlc, value)
        for hop, forwarded in list(self._forwards.items()):
            if forwarded.payment_preimage is not None:
                self._claim_source(
                    hop,
                    forwarded.payment_hash,
                    forwarded.payment_preimage,
                    downstream_attribution=None,
                    from_onchain=False,
                )
        for payment in list(self._claimable.values()):
            if payment.stage is ClaimStage.CLAIMED and payment.payment_preimage is not None:
                self._forget_claimable(payment.payment_hash)
                self._claim_parts(payment, payment.payment_preimage)
        decided = {
            (part.channel_id, part.htlc_id) for payment in self._claimable.values() for part in payment.parts
        }
        decided |= {(hop.channel_id, hop.htlc_id) for hop in self._forwards}
        for channel_id, channel in self._channels.items():
            held = {update.htlc_id for update in channel.held if isinstance(update, HeldRemoval)}
            for htlc_id, htlc in channel.inbound.items():
                if htlc.stage is not InboundStage.COMMITTED or htlc_id in held:
                    continue
                if (channel_id, htlc_id) not in decided:
                    self._to_process.append((channel_id, htlc.add))

    def _parts_under_way(self) -> set[tuple[PaymentId, int]]:
        """Parts of our payments that a channel knows of, or the monitor of one that was closed."""
        sources: list[HTLCSource] = []
        for closed in self._closed.values():
            sources += closed.sources
        for channel in self._channels.values():
            sources += [htlc.source for htlc in channel.outbound.values()]
            sources += [held.source for held in channel.held if isinstance(held, HeldAdd)]
        return {(source.payment_id, source.part_id) for source in sources if isinstance(source, OurPayment)}
