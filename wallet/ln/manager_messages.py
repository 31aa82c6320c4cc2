"""`ChannelManager`, the room for peers: connections, the messages of a living channel, closing, own
gossip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeVar

from wallet.bitcoin import curve
from wallet.bitcoin.hashes import sha256
from wallet.chain.interfaces import LogLevel
from wallet.i18n import _
from wallet.ln import msgs
from wallet.ln.chan_utils import derive_tx_keys
from wallet.ln.channel_chain import receive_channel_ready
from wallet.ln.channel_closing import (
    begin_shutdown,
    continue_closing,
    receive_closing_signed,
    receive_shutdown,
)
from wallet.ln.channel_commitment import (
    receive_commitment_signed,
    receive_revoke_and_ack,
    send_commitment,
)
from wallet.ln.channel_htlcs import (
    free_held,
    receive_add,
    receive_fail,
    receive_fail_malformed,
    receive_fulfill,
    receive_update_fee,
    update_fee,
)
from wallet.ln.channel_open import is_legal_shutdown_script
from wallet.ln.channel_reestablish import disconnect, make_reestablish, receive_reestablish
from wallet.ln.channel_state import (
    CounterpartyForwarding,
    Fulfilled,
    FundedChannel,
    InboundStage,
    Link,
    OutboundStage,
)
from wallet.ln.channel_step import Draft, TellHtlcFulfilled
from wallet.ln.config import ANTI_REORG_DELAY_BLOCKS, ChannelConfig
from wallet.ln.events import (
    BroadcastMessage,
    ChannelReadyEvent,
    ClosureKind,
    ClosureReason,
    ErrorAction,
    HandleError,
    MessageSendEvent,
)
from wallet.ln.features import Feature, FeatureContext, Features
from wallet.ln.manager_base import AgreedClose, PeerState
from wallet.ln.manager_opening import OpeningRoom
from wallet.ln.types import (
    APIError,
    ChannelError,
    ChannelId,
    InvariantError,
    NodeId,
    PeerError,
    ShortChannelId,
)

__all__ = ["MessageRoom"]

AWAITING_RESPONSE_TICKS: Final = 2
"""A peer that owes a revoke_and_ack, or a channel_reestablish, for so many ticks is hung up on."""

DISABLE_TICKS: Final = 10
"""How many ticks (of a minute) a peer may be away before the network is told that the channel is out of use."""

PREVIOUS_CONFIG_TICKS: Final = 10
"""BOLT 7, channel_update, origin node: earlier terms are taken for 10 more minutes."""

CLOSING_TICKS: Final = 10
"""How many ticks (of a minute) the negotiation of a closing fee may take before the channel is
force-closed."""

MAX_WAITING_MESSAGES: Final = 2_000
"""Twice what a peer may say before it needs an answer: 483 HTLCs added, and as many removed."""

MAX_WAITING_BYTES: Final = 4 * 1024 * 1024
"""The same in bytes, twice again: an HTLC that is added takes some 1,500 bytes, and one that is failed, with its
attribution data, no more (BOLT 4); 966 signatures take 62,000."""

_ALL_CHANNELS: Final = bytes(32)
"""BOLT 1, error: an all-zero channel id means all channels with the peer."""

ChannelMessage = TypeVar(
    "ChannelMessage",
    bound=msgs.ChannelReady
    | msgs.UpdateAddHtlc
    | msgs.UpdateFulfillHtlc
    | msgs.UpdateFailHtlc
    | msgs.UpdateFailMalformedHtlc
    | msgs.UpdateFee
    | msgs.CommitmentSigned
    | msgs.RevokeAndAck
    | msgs.Shutdown
    | msgs.ClosingSigned,
)


class MessageRoom(OpeningRoom):
    # --- connections ---

    def provided_node_features(self) -> Features:
        """BOLT 9, context node."""
        features = self._init_features().restricted_to(FeatureContext.NODE)
        return features.with_optional(Feature.KEYSEND) if self._config.accept_keysend else features

    def provided_init_features(self, their_node_id: NodeId) -> Features:
        return self._init_features()

    def peer_connected(self, their_node_id: NodeId, init: msgs.Init, inbound: bool) -> None:
        """A peer is there: every channel with it is re-established."""
        with self._entry:
            self._peers[their_node_id] = PeerState(features=init.features, unfunded={})
            if not init.features.supports(Feature.STATIC_REMOTE_KEY):
                raise PeerError("We need option_static_remotekey.", warn_only=False)
            for greeting in self.greetings(their_node_id, init.features):
                self._send_to(their_node_id, greeting)
            for channel in self._channels_of(their_node_id):
                self._begin_reestablish(channel)
            for channel_id in self._lost.get(their_node_id, ()):
                self._send_lost_reestablish(their_node_id, channel_id)

    def _begin_reestablish(self, channel: FundedChannel) -> None:
        point = self._signer(channel).get_per_commitment_point(channel.core.holder_number)

        def transition(draft: Draft) -> None:
            disconnect(draft)
            draft.link = Link.AWAITING_REESTABLISH
            draft.send(make_reestablish(channel, point))

        self._blocked.pop(channel.channel_id, None)
        self._waiting.pop(channel.channel_id, None)
        self._run(channel, transition)

    def send_beside(self, their_node_id: NodeId, message: msgs.Message) -> None:
        """A message that belongs to no channel, behind what waits for the peer already; nothing if it is gone."""
        with self._entry:
            if their_node_id in self._peers:
                self._send_to(their_node_id, message)

    # --- channels whose state is lost ---

    def ask_to_close_lost_channel(
        self, channel_id: ChannelId, their_node_id: NodeId, channel_keys_id: bytes
    ) -> None:
        """Asks the peer, now and at each connection, to take a channel to the chain of which we only know that it
        was there. Not while another copy of this wallet may still be using it."""
        with self._entry:
            if channel_id in self._channels:
                raise APIError(_("This channel is not lost."))
            self._lost.setdefault(their_node_id, {})[channel_id] = channel_keys_id
            if their_node_id in self._peers:
                self._send_lost_reestablish(their_node_id, channel_id)

    def forget_lost_channel(self, channel_id: ChannelId, their_node_id: NodeId) -> None:
        """The peer has closed it."""
        with self._entry:
            lost = self._lost.get(their_node_id, {})
            lost.pop(channel_id, None)
            if not lost:
                self._lost.pop(their_node_id, None)

    def _send_lost_reestablish(self, node_id: NodeId, channel_id: ChannelId) -> None:
        # BOLT 2, channel_reestablish: whoever gets a next_commitment_number of zero fails the channel at once, and
        # broadcasts its latest commitment.
        signer = self._keys.derive_channel_signer(self._lost[node_id][channel_id])
        self._send_to(
            node_id,
            msgs.ChannelReestablish(
                channel_id=channel_id,
                next_commitment_number=0,
                next_revocation_number=0,
                your_last_per_commitment_secret=bytes(32),
                my_current_per_commitment_point=signer.get_per_commitment_point(0),
            ),
        )

    # --- disconnecting ---

    def peer_disconnected(self, their_node_id: NodeId) -> None:
        with self._entry:
            peer = self._peers.get(their_node_id)
            if peer is not None:
                self._forget_unfunded_of(their_node_id, peer)
                del self._peers[their_node_id]
            # What could not be sent will be derived again from the channels' states.
            self._outbox = [
                event
                for event in self._outbox
                if isinstance(event, BroadcastMessage) or event.node_id != their_node_id
            ]
            for channel in self._channels_of(their_node_id):
                self._blocked.pop(channel.channel_id, None)
                # The peer says it again, from where our channel_reestablish stands.
                self._waiting.pop(channel.channel_id, None)
                self._announced.discard(channel.channel_id)
                self._ticks_awaiting.pop(channel.channel_id, None)
                self._run(channel, disconnect)

    def _channels_of(self, node_id: NodeId) -> list[FundedChannel]:
        return [
            channel
            for channel_id, channel in self._channels.items()
            if channel.counterparty_node_id == node_id and channel_id not in self._frozen
        ]

    def get_and_clear_pending_msg_events(self) -> list[MessageSendEvent]:
        """The messages of the entries since the last call, in order; they may leave once those are
        durable."""
        events, self._outbox = self._outbox, []
        return events

    # --- opening's last message, and re-establishing ---

    def handle_channel_ready(self, their_node_id: NodeId, msg: msgs.ChannelReady) -> None:
        with self._entry:
            if not self._is_closing_again(their_node_id, msg):
                self._in_turn(their_node_id, msg, self._channel_ready)

    def _channel_ready(self, channel: FundedChannel, msg: msgs.ChannelReady) -> None:
        self._run(channel, lambda draft: receive_channel_ready(draft, msg))

    def handle_channel_reestablish(self, their_node_id: NodeId, msg: msgs.ChannelReestablish) -> None:
        with self._entry:
            if msg.channel_id in self._lost.get(their_node_id, ()):
                # For those that wait for an error when the other side has lost its state. Behind our own
                # channel_reestablish, which may still wait for the disk: to an error alone, a peer may first give us
                # time to close the channel ourselves.
                message = "We have lost our state of this channel: please close it from your side."
                error = HandleError(their_node_id, ErrorAction.SEND_ERROR, message, msg.channel_id)
                self._outbox.append(error)
                return
            if self.may_know_too_little and msg.channel_id not in self._channels:
                # An error would have the peer close it, and another copy of this wallet may still be using it.
                self.claimants.add(their_node_id)
                raise PeerError("We do not know this channel, and may have lost it: let it be for now.")
            if self._begin_closing_again(their_node_id, msg):
                return
            channel = self._channel_with(their_node_id, msg.channel_id)
            # That answer came; what is asked next is waited for anew.
            self._ticks_awaiting.pop(channel.channel_id, None)
            signer = self._signer(channel)
            dust_msat = self._max_dust_exposure_msat(channel)
            fees = self._closing_fees(channel)

            def transition(draft: Draft) -> None:
                receive_reestablish(draft, msg, signer.get_per_commitment_point)
                if draft.link is Link.UP:
                    free_held(draft, dust_msat)
                    send_commitment(draft)
                    continue_closing(draft, fees)

            if self._run(channel, transition):
                now = self._channels.get(channel.channel_id)
                if now is not None and now.link is Link.UP:
                    self.channel_reestablished(channel.channel_id)
                self._update_gossip(channel.channel_id)

    # --- a close that the peer has not heard the end of ---

    def _agreed_with(self, their_node_id: NodeId, channel_id: ChannelId) -> AgreedClose | None:
        closed = self._closed.get(channel_id)
        return None if closed is None or closed.counterparty_node_id != their_node_id else closed.agreed

    def _begin_closing_again(self, their_node_id: NodeId, msg: msgs.ChannelReestablish) -> bool:
        """BOLT 2, message retransmission: shutdown and closing_signed are said again after a reconnection.

        They are those of the transaction that both sides have signed: nothing is agreed on anew, whatever the peer
        proposes now. One that asks us to fail the channel has lost its state, and can only wait for the chain.
        """
        agreed = self._agreed_with(their_node_id, msg.channel_id)
        peer = self._peers.get(their_node_id)
        if agreed is None or peer is None or msg.next_commitment_number == 0:
            return False
        if msg.channel_id in peer.closing_again:
            raise PeerError("channel_reestablish came when none was due.", disconnect=False)
        peer.closing_again[msg.channel_id] = False
        self._say_again(their_node_id, agreed.reestablish)
        self._say_again(their_node_id, agreed.shutdown)
        return True

    def _is_closing_again(
        self, their_node_id: NodeId, msg: msgs.ChannelReady | msgs.Shutdown | msgs.ClosingSigned
    ) -> bool:
        """Whether the message belongs to such a close. Who pays the fee names it first: BOLT 2, closing_signed."""
        agreed = self._agreed_with(their_node_id, msg.channel_id)
        peer = self._peers.get(their_node_id)
        if agreed is None or peer is None or msg.channel_id not in peer.closing_again:
            return False
        is_our_turn = isinstance(msg, msgs.Shutdown if agreed.is_outbound else msgs.ClosingSigned)
        if is_our_turn and not peer.closing_again[msg.channel_id]:
            peer.closing_again[msg.channel_id] = True
            self._say_again(their_node_id, agreed.closing_signed)
        return True

    def _say_again(self, their_node_id: NodeId, raw: bytes) -> None:
        msg = msgs.decode_message(raw)
        if isinstance(msg, msgs.UnknownMessage):
            raise InvariantError("a message that was kept cannot be read")
        self._send_to(their_node_id, msg)

    def _on_channel_ready(self, channel_id: ChannelId) -> None:
        channel = self._channels.get(channel_id)
        if channel is None:
            return
        self._push_event(
            ChannelReadyEvent(channel_id, channel.counterparty_node_id, channel.terms.user_channel_id)
        )
        self._update_gossip(channel_id)

    # --- in turn ---

    def _in_turn(
        self,
        their_node_id: NodeId,
        msg: ChannelMessage,
        handle: Callable[[FundedChannel, ChannelMessage], None],
    ) -> None:
        """Handles a channel's message, or puts it behind a revoke_and_ack that has to wait.

        An update that forgets a preimage waits until each monitor that needs it has it everywhere: that of the
        channel which an HTLC came in by, those of a payment's other parts. A revoke_and_ack is what forgets. It is
        kept as it came, with all that follows it, as if it were still on the wire; should the connection or this
        process end before, the peer says it again.
        """
        channel = self._channel_with(their_node_id, msg.channel_id)
        waiting = self._waiting.get(msg.channel_id)
        if waiting is None and isinstance(msg, msgs.RevokeAndAck) and self._would_forget_too_early(channel):
            waiting = self._waiting[msg.channel_id] = {}
        if waiting is None:
            handle(channel, msg)
            return
        size = len(msgs.encode_message(msg))
        if len(waiting) >= MAX_WAITING_MESSAGES or sum(waiting.values()) + size > MAX_WAITING_BYTES:
            raise PeerError("There are more messages than can wait.", disconnect=True)
        waiting[lambda: self._in_turn(their_node_id, msg, handle)] = size
        if isinstance(msg, msgs.UpdateFulfillHtlc):
            self._use_preimage(channel, msg)

    def _would_forget_too_early(self, channel: FundedChannel) -> bool:
        ended = {
            htlc.add.payment_hash
            for htlc in channel.outbound.values()
            if htlc.stage is OutboundStage.SENT_REMOVE_COMMIT and isinstance(htlc.removal, Fulfilled)
        }
        ended |= {
            htlc.add.payment_hash
            for htlc in channel.inbound.values()
            if htlc.stage is InboundStage.SENT_REMOVE_COMMIT and isinstance(htlc.removal, Fulfilled)
        }
        return any(
            self._chain_monitor.is_preimage_pending(payment_hash, channel.channel_id)
            for payment_hash in ended
        )

    def _use_preimage(self, channel: FundedChannel, msg: msgs.UpdateFulfillHtlc) -> None:
        """A preimage waits for nobody; its message is judged in its turn."""
        htlc = channel.outbound.get(msg.htlc_id)
        if htlc is not None and sha256(msg.payment_preimage) == htlc.add.payment_hash:
            tell = TellHtlcFulfilled(
                msg.htlc_id,
                htlc.source,
                htlc.add.payment_hash,
                msg.payment_preimage,
                htlc.add.amount_msat,
                msg.attribution_data,
            )
            self._tells.append((channel.channel_id, channel, tell))

    def _let_in(self) -> None:
        """A monitor is complete: what waited for it is handled, up to the next that has to wait."""
        for channel_id, waiting in list(self._waiting.items()):
            del self._waiting[channel_id]
            while waiting and channel_id in self._channels and channel_id not in self._frozen:
                handle, size = next(iter(waiting.items()))
                del waiting[handle]
                try:
                    handle()
                except PeerError as error:
                    # All that follows stays behind it until the connection is gone.
                    self._waiting[channel_id] = {handle: size, **waiting}
                    self._hang_up_on(channel_id, error.message)
                    break
                # What follows may rest on what this one told.
                self._work_off()
                if channel_id in self._waiting:
                    self._waiting[channel_id].update(waiting)
                    break

    def _hang_up_on(self, channel_id: ChannelId, message: str) -> None:
        channel = self._channels.get(channel_id)
        if channel is not None:
            self._outbox.append(
                HandleError(
                    channel.counterparty_node_id,
                    ErrorAction.SEND_WARNING_AND_DISCONNECT,
                    message,
                    channel_id,
                )
            )

    # --- normal operation ---

    def handle_update_add_htlc(self, their_node_id: NodeId, msg: msgs.UpdateAddHtlc) -> None:
        with self._entry:
            self._in_turn(their_node_id, msg, self._update_add_htlc)

    def _update_add_htlc(self, channel: FundedChannel, msg: msgs.UpdateAddHtlc) -> None:
        self._run(channel, lambda draft: receive_add(draft, msg))

    def handle_update_fulfill_htlc(self, their_node_id: NodeId, msg: msgs.UpdateFulfillHtlc) -> None:
        with self._entry:
            self._in_turn(their_node_id, msg, self._update_fulfill_htlc)

    def _update_fulfill_htlc(self, channel: FundedChannel, msg: msgs.UpdateFulfillHtlc) -> None:
        self._run(channel, lambda draft: receive_fulfill(draft, msg))

    def handle_update_fail_htlc(self, their_node_id: NodeId, msg: msgs.UpdateFailHtlc) -> None:
        with self._entry:
            self._in_turn(their_node_id, msg, self._update_fail_htlc)

    def _update_fail_htlc(self, channel: FundedChannel, msg: msgs.UpdateFailHtlc) -> None:
        self._run(channel, lambda draft: receive_fail(draft, msg))

    def handle_update_fail_malformed_htlc(
        self, their_node_id: NodeId, msg: msgs.UpdateFailMalformedHtlc
    ) -> None:
        with self._entry:
            self._in_turn(their_node_id, msg, self._update_fail_malformed_htlc)

    def _update_fail_malformed_htlc(self, channel: FundedChannel, msg: msgs.UpdateFailMalformedHtlc) -> None:
        self._run(channel, lambda draft: receive_fail_malformed(draft, msg))

    def handle_update_fee(self, their_node_id: NodeId, msg: msgs.UpdateFee) -> None:
        with self._entry:
            self._in_turn(their_node_id, msg, self._update_fee)

    def _update_fee(self, channel: FundedChannel, msg: msgs.UpdateFee) -> None:
        bounds = self._fee_bounds(anchors=channel.channel_type.anchors)
        dust_msat = self._max_dust_exposure_msat(channel)
        self._run(channel, lambda draft: receive_update_fee(draft, msg, bounds, dust_msat))

    def handle_commitment_signed(self, their_node_id: NodeId, msg: msgs.CommitmentSigned) -> None:
        with self._entry:
            self._in_turn(their_node_id, msg, self._commitment_signed)

    def _commitment_signed(self, channel: FundedChannel, msg: msgs.CommitmentSigned) -> None:
        point = self._signer(channel).get_per_commitment_point(channel.core.holder_number + 2)
        fees = self._closing_fees(channel) if channel.is_shutting_down else None

        def transition(draft: Draft) -> None:
            receive_commitment_signed(draft, msg, point)
            if fees is not None:
                continue_closing(draft, fees)

        self._run(channel, transition)

    def handle_revoke_and_ack(self, their_node_id: NodeId, msg: msgs.RevokeAndAck) -> None:
        with self._entry:
            self._in_turn(their_node_id, msg, self._revoke_and_ack)

    def _revoke_and_ack(self, channel: FundedChannel, msg: msgs.RevokeAndAck) -> None:
        self._ticks_awaiting.pop(channel.channel_id, None)
        fees = self._closing_fees(channel) if channel.is_shutting_down else None
        has_held = bool(channel.held) or channel.core.held_feerate_sat_per_kw is not None
        dust_msat = self._max_dust_exposure_msat(channel) if has_held else 0

        def transition(draft: Draft) -> None:
            receive_revoke_and_ack(draft, msg)
            if has_held:
                free_held(draft, dust_msat)
            send_commitment(draft)
            if fees is not None:
                continue_closing(draft, fees)

        self._run(channel, transition)

    def derive_keys_ahead(self) -> None:
        """Derives the keys of the commitments that come next, where a point of theirs is new. They are derived when
        they are needed as well: call this while the peers have the word, and nobody waits for it."""
        while self._with_new_points:
            channel = self._channels.get(self._with_new_points.pop())
            if channel is None:
                continue
            core, params = channel.core, channel.scope.params
            holder, counterparty = params.holder_pubkeys, params.counterparty_pubkeys
            derive_tx_keys(core.holder_next_point, holder, counterparty)
            # What the next revocation will reveal of the commitment after that.
            self._signer(channel).get_per_commitment_point(core.holder_number + 2)
            if core.counterparty_next_point is not None:
                derive_tx_keys(core.counterparty_next_point, counterparty, holder)

    # --- closing ---

    def close_channel(
        self,
        channel_id: ChannelId,
        their_node_id: NodeId,
        target_feerate_sat_per_kw: int | None = None,
        shutdown_script: bytes | None = None,
    ) -> None:
        """Begins a co-operative close; `ChannelClosed` follows when it is agreed. APIError where it cannot
        be."""
        with self._entry:
            channel = self._our_channel(channel_id, their_node_id)
            if channel.core.closing is not None and channel.core.closing.holder_script is not None:
                raise APIError(_("The channel is being closed already."))
            script = shutdown_script or channel.terms.shutdown_script
            theirs = self._peer_features(their_node_id)
            any_segwit = theirs is None or theirs.supports(Feature.SHUTDOWN_ANYSEGWIT)
            if not is_legal_shutdown_script(script, any_segwit=any_segwit):
                raise APIError(_("The peer does not close channels to an address of this kind."))
            fixed = channel.terms.holder.upfront_shutdown_script
            if fixed and script != fixed:
                raise APIError(_("This channel was opened with a fixed closing address."))
            fees = self._closing_fees(channel)

            def transition(draft: Draft) -> None:
                begin_shutdown(
                    draft,
                    script,
                    holder_initiated=True,
                    target_feerate_sat_per_kw=target_feerate_sat_per_kw,
                )
                continue_closing(draft, fees)

            self._run(channel, transition)

    def force_close_broadcasting_latest_txn(
        self, channel_id: ChannelId, their_node_id: NodeId, message: str = "Channel force-closed."
    ) -> None:
        """Takes our newest commitment to the chain. An opening under way is given up."""
        with self._entry:
            peer = self._peers.get(their_node_id)
            if peer is not None and channel_id in peer.unfunded:
                reason = ClosureReason(ClosureKind.HOLDER_COOP_CLOSED_UNFUNDED, message)
                self._drop_unfunded(their_node_id, peer, peer.unfunded[channel_id], reason, message)
                return
            channel = self._our_channel(channel_id, their_node_id)
            reason = ClosureReason(ClosureKind.HOLDER_FORCE_CLOSED, message)
            self._close_channel(channel, reason, broadcast=True, message=message)

    def _our_channel(self, channel_id: ChannelId, their_node_id: NodeId) -> FundedChannel:
        channel = self._channels.get(channel_id)
        if channel is None or channel.counterparty_node_id != their_node_id:
            raise APIError(_("There is no such channel with this peer."))
        return channel

    def handle_shutdown(self, their_node_id: NodeId, msg: msgs.Shutdown) -> None:
        with self._entry:
            if not self._is_closing_again(their_node_id, msg):
                self._in_turn(their_node_id, msg, self._shutdown)

    def _shutdown(self, channel: FundedChannel, msg: msgs.Shutdown) -> None:
        theirs = self._peer(channel.counterparty_node_id).features
        any_segwit = self._init_features().negotiated_with(theirs, Feature.SHUTDOWN_ANYSEGWIT)
        fees = self._closing_fees(channel)

        def transition(draft: Draft) -> None:
            receive_shutdown(draft, msg, channel.terms.shutdown_script, any_segwit=any_segwit)
            continue_closing(draft, fees)

        self._run(channel, transition)

    def handle_closing_signed(self, their_node_id: NodeId, msg: msgs.ClosingSigned) -> None:
        with self._entry:
            if not self._is_closing_again(their_node_id, msg):
                self._in_turn(their_node_id, msg, self._closing_signed)

    def _closing_signed(self, channel: FundedChannel, msg: msgs.ClosingSigned) -> None:
        fees = self._closing_fees(channel)
        self._run(channel, lambda draft: receive_closing_signed(draft, msg, fees))

    def handle_error(self, their_node_id: NodeId, msg: msgs.Error) -> None:
        """BOLT 1, error: the channel it names is failed; all of them, if it names none."""
        with self._entry:
            peer = self._peers.get(their_node_id)
            reason = ClosureReason(ClosureKind.COUNTERPARTY_FORCE_CLOSED, msg.text)
            named = [
                channel
                for channel in self._channels_of(their_node_id)
                if msg.channel_id in (_ALL_CHANNELS, channel.channel_id)
            ]
            for channel in named:
                self._close_channel(channel, reason, broadcast=True, message="")
            if peer is None or (named and msg.channel_id != _ALL_CHANNELS):
                return
            if msg.channel_id == _ALL_CHANNELS:
                for state in list(peer.unfunded.values()):
                    self._drop_unfunded(their_node_id, peer, state, reason, None)
            elif not self._unfunded_error(their_node_id, peer, msg.channel_id, reason):
                self._log(LogLevel.DEBUG, "a peer's error names a channel that is not there")

    # --- settings ---

    def update_channel_config(
        self, their_node_id: NodeId, channel_id: ChannelId, config: ChannelConfig
    ) -> None:
        """Changes fees and limits of a channel; the peer, or the network, is told."""
        with self._entry:
            channel = self._our_channel(channel_id, their_node_id)
            if config != channel.config:
                self._previous_configs[channel_id] = (channel.config, PREVIOUS_CONFIG_TICKS)
            self._channels[channel_id] = replace(channel, config=config)
            self._touched[channel_id] = None
            if channel.is_ready:
                self._send_channel_update(self._channels[channel_id])

    # --- gossip about our own channels ---

    def _update_gossip(self, channel_id: ChannelId) -> None:
        """Tells the peer, or everybody, what there is to tell after the channel became ready or came back."""
        channel = self._channels.get(channel_id)
        if channel is None or not channel.is_ready or channel.link is not Link.UP:
            return
        self._announce(channel)
        self._send_channel_update(self._channels[channel_id])

    def _may_announce(self, channel: FundedChannel) -> bool:
        """BOLT 7, announcement_signatures: ready on both sides, and six blocks deep."""
        return (
            channel.terms.is_announced
            and channel.is_ready
            and not channel.is_shutting_down
            and channel.scope.confirmations(self._best_height) >= ANTI_REORG_DELAY_BLOCKS
        )

    def _announcement(self, channel: FundedChannel) -> msgs.ChannelAnnouncement:
        """Unsigned: the signatures are empty."""
        scid = channel.scope.short_channel_id
        if scid is None:
            raise ChannelError("A channel without a confirmed funding was to be announced.")
        params = channel.scope.params
        us = (self._our_node_id, params.holder_pubkeys.funding_pubkey)
        them = (channel.counterparty_node_id, params.counterparty_pubkeys.funding_pubkey)
        first, second = sorted((us, them))
        return msgs.ChannelAnnouncement(
            node_signature_1=bytes(64),
            node_signature_2=bytes(64),
            bitcoin_signature_1=bytes(64),
            bitcoin_signature_2=bytes(64),
            features=b"",
            chain_hash=self._network.chain_hash,
            short_channel_id=scid,
            node_id_1=first[0],
            node_id_2=second[0],
            bitcoin_key_1=first[1],
            bitcoin_key_2=second[1],
        )

    def _announce(self, channel: FundedChannel) -> None:
        """Sends our half of the signatures; and, once the peer's half is here, the announcement."""
        if not self._may_announce(channel) or channel.link is not Link.UP:
            return
        self._announced.add(channel.channel_id)
        unsigned = self._announcement(channel)
        digest = unsigned.digest()
        ours = (
            self._keys.sign_gossip_message(digest),
            self._signer(channel).sign_channel_announcement(digest),
        )
        self._send_to(
            channel.counterparty_node_id,
            msgs.AnnouncementSignatures(
                channel_id=channel.channel_id,
                short_channel_id=unsigned.short_channel_id,
                node_signature=ours[0],
                bitcoin_signature=ours[1],
            ),
        )
        self._publish(channel, unsigned, ours)

    def _publish(
        self, channel: FundedChannel, unsigned: msgs.ChannelAnnouncement, ours: tuple[bytes, bytes]
    ) -> None:
        theirs = channel.core.announcement_sigs_received
        if theirs is None:
            return
        we_are_first = unsigned.node_id_1 == self._our_node_id
        first, second = (ours, theirs) if we_are_first else (theirs, ours)
        self._outbox.append(
            BroadcastMessage(
                replace(
                    unsigned,
                    node_signature_1=first[0],
                    node_signature_2=second[0],
                    bitcoin_signature_1=first[1],
                    bitcoin_signature_2=second[1],
                )
            )
        )

    def handle_announcement_signatures(self, their_node_id: NodeId, msg: msgs.AnnouncementSignatures) -> None:
        with self._entry:
            channel = self._channel_with(their_node_id, msg.channel_id)
            scid = channel.scope.short_channel_id
            if not channel.terms.is_announced or scid is None or not channel.is_ready:
                # BOLT 7: it may come before our own view of the chain is there; the peer sends it again.
                return
            unsigned = self._announcement(channel)
            digest = unsigned.digest()
            # BOLT 7, announcement_signatures, receiver: the id and both signatures are right.
            if msg.short_channel_id != scid:
                raise PeerError("announcement_signatures has another short_channel_id than ours.")
            triples = [
                (msg.node_signature, digest, bytes(their_node_id)),
                (msg.bitcoin_signature, digest, channel.scope.params.counterparty_pubkeys.funding_pubkey),
            ]
            if not curve.verify_ecdsa_many(triples):
                raise PeerError("A signature in announcement_signatures is not valid.")
            known = channel.core.announcement_sigs_received

            def transition(draft: Draft) -> None:
                draft.core = replace(
                    draft.core, announcement_sigs_received=(msg.node_signature, msg.bitcoin_signature)
                )

            if known is None and self._run(channel, transition):
                # BOLT 7: answer with ours, if it is time for that.
                self._update_gossip(channel.channel_id)

    def _send_channel_update(self, channel: FundedChannel) -> None:
        """BOLT 7, channel_update: to the peer alone before the channel is announced, to all afterwards."""
        theirs = channel.core.announcement_sigs_received
        public = theirs is not None and self._may_announce(channel)
        name = self._update_scid(channel, public=public)
        if name is None:
            return
        made = self._make_channel_update(channel, name, public=public)
        if made is None:
            return
        if public:
            self._outbox.append(BroadcastMessage(made))
        else:
            self._send_to(channel.counterparty_node_id, made)

    def _update_scid(self, channel: FundedChannel, *, public: bool) -> ShortChannelId | None:
        """BOLT 7: for the peer alone, the alias that it gave, or the real id where that is no secret."""
        if public or channel.core.counterparty_alias is None:
            if channel.channel_type.scid_privacy:
                return None
            return channel.scope.short_channel_id
        return channel.core.counterparty_alias

    def _make_channel_update(
        self, channel: FundedChannel, name: ShortChannelId, *, public: bool
    ) -> msgs.ChannelUpdate | None:
        terms = channel.terms
        off = channel.channel_id in self._disabled
        timestamp_at = max(channel.core.update_timestamp_at + 1, self._highest_seen_at)
        direction = 0 if self._our_node_id < channel.counterparty_node_id else 1
        most_msat = min(channel.channel_value_sat * 1000, terms.counterparty.max_htlc_value_in_flight_msat)
        config = channel.config
        unsigned = msgs.ChannelUpdate(
            signature=bytes(64),
            chain_hash=self._network.chain_hash,
            short_channel_id=name,
            timestamp_at=timestamp_at,
            message_flags=1 if public else 3,
            channel_flags=direction | (2 if channel.is_shutting_down or off else 0),
            cltv_expiry_delta=config.cltv_expiry_delta,
            htlc_minimum_msat=max(1, terms.counterparty.htlc_minimum_msat),
            fee_base_msat=config.forwarding_fee_base_msat,
            fee_proportional_millionths=config.forwarding_fee_proportional_millionths,
            htlc_maximum_msat=most_msat,
        )

        def transition(draft: Draft) -> None:
            draft.core = replace(draft.core, update_timestamp_at=timestamp_at)

        if not self._run(channel, transition):
            return None
        return replace(unsigned, signature=self._keys.sign_gossip_message(unsigned.digest()))

    def handle_channel_update(self, their_node_id: NodeId, msg: msgs.ChannelUpdate) -> None:
        """Learns what the peer asks for forwarding to us: for route hints. Of other channels, nothing."""
        with self._entry:
            channel_id = self._by_scid.get(msg.short_channel_id)
            channel = None if channel_id is None else self._channels.get(channel_id)
            if channel is None or channel.counterparty_node_id != their_node_id:
                return
            if msg.chain_hash != self._network.chain_hash:
                return
            if msg.direction != (0 if their_node_id < self._our_node_id else 1):
                # Our own, come back by gossip.
                return
            known = channel.core.counterparty_forwarding
            if known is not None and msg.timestamp_at <= known.timestamp_at:
                return
            # BOLT 7, channel_update, receiver: signed by the node at that end.
            if not curve.verify_ecdsa(msg.signature, msg.digest(), bytes(their_node_id)):
                raise PeerError("The signature of a channel_update is not valid.")
            if msg.htlc_maximum_msat < msg.htlc_minimum_msat:
                return
            learned = CounterpartyForwarding(
                fee_base_msat=msg.fee_base_msat,
                fee_proportional_millionths=msg.fee_proportional_millionths,
                cltv_expiry_delta=msg.cltv_expiry_delta,
                htlc_minimum_msat=msg.htlc_minimum_msat,
                htlc_maximum_msat=msg.htlc_maximum_msat,
                timestamp_at=msg.timestamp_at,
            )

            def transition(draft: Draft) -> None:
                draft.core = replace(draft.core, counterparty_forwarding=learned)

            self._run(channel, transition)

    # --- ticks ---

    def _tick_channels(self) -> None:
        """Fee rates follow the estimates; peers that owe an answer are hung up on."""
        for channel_id, (config, ticks) in list(self._previous_configs.items()):
            if ticks > 1:
                self._previous_configs[channel_id] = (config, ticks - 1)
            else:
                del self._previous_configs[channel_id]
        for channel in list(self._channels.values()):
            if channel.channel_id in self._frozen:
                continue
            self._tick_fee(channel)
            self._tick_public(self._channels.get(channel.channel_id, channel))
            channel = self._channels.get(channel.channel_id, channel)
            self._tick_patience(channel)

    def _tick_fee(self, channel: FundedChannel) -> None:
        if not channel.terms.is_outbound or not channel.is_usable:
            return
        wanted_sat_per_kw = self._channel_feerate(anchors=channel.channel_type.anchors)
        current_sat_per_kw = channel.core.feerate_sat_per_kw
        if channel.core.fee_updates:
            return
        # Upwards at once; downwards only when it is worth a round: fees fall and rise again within hours.
        if wanted_sat_per_kw <= current_sat_per_kw < 2 * wanted_sat_per_kw:
            return
        dust_msat = self._max_dust_exposure_msat(channel)

        def transition(draft: Draft) -> None:
            update_fee(draft, wanted_sat_per_kw, dust_msat)
            send_commitment(draft)

        self._run(channel, transition)

    def _tick_public(self, channel: FundedChannel) -> None:
        """BOLT 7, channel_update: the network may know when an announced channel is out of use, and back."""
        channel_id = channel.channel_id
        if channel.core.announcement_sigs_received is None:
            return
        if channel.link is Link.UP:
            self._offline_ticks.pop(channel_id, None)
            if channel_id in self._disabled:
                self._disabled.discard(channel_id)
                self._send_channel_update(channel)
            return
        ticks = self._offline_ticks.get(channel_id, 0) + 1
        self._offline_ticks[channel_id] = ticks
        if ticks > DISABLE_TICKS and channel_id not in self._disabled:
            self._disabled.add(channel_id)
            self._send_channel_update(channel)

    def _tick_patience(self, channel: FundedChannel) -> None:
        channel_id = channel.channel_id
        owes = channel.link is Link.AWAITING_REESTABLISH or (
            channel.link is Link.UP
            and channel.is_awaiting_revocation
            and channel_id not in self._in_progress
            and channel_id not in self._waiting
        )
        closing = channel.core.closing
        negotiates = (
            channel.link is Link.UP
            and closing is not None
            and closing.holder_script is not None
            and closing.counterparty_script is not None
            and not channel.outbound
            and not channel.inbound
        )
        if not owes and not negotiates:
            self._ticks_awaiting.pop(channel_id, None)
            return
        ticks = self._ticks_awaiting.get(channel_id, 0) + 1
        self._ticks_awaiting[channel_id] = ticks
        if owes and ticks > AWAITING_RESPONSE_TICKS:
            self._ticks_awaiting.pop(channel_id, None)
            self._outbox.append(
                HandleError(
                    channel.counterparty_node_id,
                    ErrorAction.SEND_WARNING_AND_DISCONNECT,
                    "No answer came in time.",
                    channel_id,
                )
            )
        elif negotiates and ticks > CLOSING_TICKS:
            # BOLT 2, closing_signed: without an agreement in reasonable time the channel is failed.
            message = "The closing fee could not be agreed on in time."
            self._close_channel(
                channel,
                ClosureReason(ClosureKind.PROCESSING_ERROR, message),
                broadcast=True,
                message=message,
            )
