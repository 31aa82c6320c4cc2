"""`ChannelManager`, the room for openings: asked for by the person, or offered by a peer. BOLT 2,
establishment v1."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

from wallet.bitcoin.records import decode, encode
from wallet.bitcoin.tx import Transaction
from wallet.chain.interfaces import LogLevel, Row
from wallet.i18n import _
from wallet.ln import channel_open as opening
from wallet.ln import msgs
from wallet.ln.chan_utils import CommitmentTransaction
from wallet.ln.channel_chain import become_ready
from wallet.ln.channel_state import FundingScope
from wallet.ln.channel_step import BroadcastFunding, Draft
from wallet.ln.channelmonitor import ChannelMonitor
from wallet.ln.config import UserConfig
from wallet.ln.events import (
    ChannelClosed,
    ChannelPending,
    ClosureKind,
    ClosureReason,
    DiscardFunding,
    ErrorAction,
    FundingGenerationReady,
    HandleError,
    OpenChannelRequest,
)
from wallet.ln.features import ChannelTypeFeatures, Feature, Features
from wallet.ln.manager_base import ManagerBase, PeerState
from wallet.ln.monitor_update import LatestCounterpartyCommitment, LatestHolderCommitment
from wallet.ln.types import (
    APIError,
    ChannelError,
    ChannelId,
    InvariantError,
    NodeId,
    ShortChannelId,
)
from wallet.ln.watch import ChannelMonitorUpdateStatus

__all__ = ["OpeningRoom"]

MAX_UNFUNDED_CHANNELS_PER_PEER: Final = 4
"""Openings under way cost memory, and nothing yet to the peer."""

MAX_UNFUNDED_PEERS: Final = 50
"""How many peers without a confirmed channel may be opening some: anybody can be many peers. As rust-lightning."""

UNFUNDED_AGE_LIMIT_TICKS: Final = 60
"""How many ticks (of a minute) an opening may take; the person may be asked meanwhile."""


PROMISED_SPACE: Final = "channel_promised"


@dataclass(frozen=True, slots=True, kw_only=True)
class PromisedFunding:
    """A funding transaction that the wallet has made, and that the peer has not signed for yet.

    It is the one thing of an opening that is durable: after a restart the wallet has to be told that its
        coins are free.
    """

    temporary_channel_id: ChannelId
    counterparty_node_id: NodeId
    user_channel_id: int
    channel_value_sat: int
    tx: Transaction


class OpeningRoom(ManagerBase):
    # --- ours ---

    def create_channel(
        self,
        their_node_id: NodeId,
        channel_value_sat: int,
        push_msat: int,
        user_channel_id: int,
        config_override: UserConfig | None = None,
    ) -> ChannelId:
        """Offers a channel to a connected peer; answers with its temporary id.

        `FundingGenerationReady` follows when the peer accepts, `ChannelClosed` when it does not.
        Raises APIError for what cannot work.
        """
        with self._entry:
            peer = self._peers.get(their_node_id)
            if peer is None:
                raise APIError(_("Connect to the peer before you open a channel with it."))
            config = config_override or self._config
            ours = self._init_features()
            is_announced = config.channel_handshake_config.announce_for_forwarding
            channel_type = opening.preferred_channel_type(
                config, ours, peer.features, is_announced=is_announced
            )
            state = opening.propose_channel(
                temporary_channel_id=ChannelId(self._keys.get_secure_random_bytes()),
                counterparty_node_id=their_node_id,
                user_channel_id=user_channel_id,
                config=config,
                ours=ours,
                theirs=peer.features,
                keys=self._opening_keys(
                    inbound=False, value_sat=channel_value_sat, user_channel_id=user_channel_id
                ),
                channel_value_sat=channel_value_sat,
                push_msat=push_msat,
                feerate_sat_per_kw=self._channel_feerate(anchors=channel_type.anchors),
                channel_type=channel_type,
                shutdown_script=self._closing_script(),
                scid_alias=self._new_alias(),
                best_height=self._best_height,
            )
            temporary_id = state.offer.temporary_channel_id
            peer.unfunded[temporary_id] = state
            self._send_to(their_node_id, opening.open_message(state, self._network.chain_hash))
            return temporary_id

    def funding_transaction_generated(
        self, temporary_channel_id: ChannelId, their_node_id: NodeId, tx: Transaction
    ) -> None:
        """Takes the signed funding transaction. It is broadcast once the peer's signature is durable, by us.

        Raises APIError if it does not pay what `FundingGenerationReady` asked for.
        """
        with self._entry:
            peer, state = self._unfunded(their_node_id, temporary_channel_id)
            if not isinstance(state, opening.Accepted):
                raise APIError(_("This channel does not wait for a funding transaction."))
            funded = opening.use_funding(state, tx)
            if funded.channel_id in self._channels or funded.channel_id in self._closed:
                raise APIError(_("This transaction funds another channel already."))
            signature = self._sign_first(state.offer.keys, funded.scope, funded.counterparty_commitment)
            peer.unfunded[temporary_channel_id] = funded
            promised = PromisedFunding(
                temporary_channel_id=temporary_channel_id,
                counterparty_node_id=their_node_id,
                user_channel_id=state.offer.user_channel_id,
                channel_value_sat=state.offer.channel_value_sat,
                tx=tx,
            )
            self._persist.write((Row(PROMISED_SPACE, funded.channel_id, encode(promised)),))
            self._send_to(
                their_node_id,
                msgs.FundingCreated(
                    temporary_channel_id=temporary_channel_id,
                    funding_txid=tx.txid,
                    funding_output_index=funded.scope.funding_outpoint.vout,
                    signature=signature,
                ),
            )

    def accept_inbound_channel(
        self,
        temporary_channel_id: ChannelId,
        their_node_id: NodeId,
        user_channel_id: int,
        zero_conf: bool = False,
    ) -> None:
        """Answers `OpenChannelRequest`. `zero_conf`: trust the peer to use the channel before it confirms."""
        with self._entry:
            peer, state = self._unfunded(their_node_id, temporary_channel_id)
            if not isinstance(state, opening.ReceivedOpen):
                raise APIError(_("This channel does not wait to be accepted."))
            self._accept(their_node_id, peer, state, user_channel_id, zero_conf)

    def reject_inbound_channel(
        self, temporary_channel_id: ChannelId, their_node_id: NodeId, message: str = "Channel rejected."
    ) -> None:
        """Answers `OpenChannelRequest` with no, or gives up an opening that is under way."""
        with self._entry:
            peer, state = self._unfunded(their_node_id, temporary_channel_id)
            self._drop_unfunded(
                their_node_id,
                peer,
                state,
                ClosureReason(ClosureKind.HOLDER_COOP_CLOSED_UNFUNDED, message),
                message,
            )

    # --- the peer's messages ---

    def handle_open_channel(self, their_node_id: NodeId, msg: msgs.OpenChannel) -> None:
        with self._entry:
            peer = self._peer(their_node_id)
            temporary_id = msg.temporary_channel_id
            try:
                if not self._config.accept_inbound_channels:
                    raise ChannelError("We take no channels now.")
                # BOLT 2, open_channel, receiver: a new one takes an old one's place over a new connection only, and
                # openings do not outlive theirs. Within one it would be an endless way to ask the person.
                if temporary_id in peer.unfunded:
                    raise ChannelError("This temporary_channel_id is in use already.")
                waiting = sum(
                    isinstance(other, opening.ReceivedOpen | opening.SentAccept)
                    for other in peer.unfunded.values()
                )
                unconfirmed = sum(
                    channel.counterparty_node_id == their_node_id
                    and not channel.terms.is_outbound
                    and channel.scope.confirmation is None
                    for channel in self._channels.values()
                )
                if waiting + unconfirmed >= MAX_UNFUNDED_CHANNELS_PER_PEER:
                    raise ChannelError("Too many channels of yours are being opened.")
                if not self._may_begin_opening(their_node_id):
                    raise ChannelError("Too many channels are being opened just now: please try again later.")
                anchors = ChannelTypeFeatures.from_bytes(msg.channel_type or b"").anchors
                state = opening.receive_open(
                    msg,
                    their_node_id,
                    chain_hash=self._network.chain_hash,
                    config=self._limits_for_inbound(),
                    ours=self._init_features(),
                    theirs=peer.features,
                    bounds=self._fee_bounds(anchors=anchors),
                )
                zeroconf = ChannelTypeFeatures.from_bytes(msg.channel_type or b"").zeroconf
                if zeroconf and not self._config.manually_accept_inbound_channels:
                    raise ChannelError("We do not use channels before they confirm.")
            except ChannelError as error:
                raise ChannelError(error.message, channel_id=temporary_id) from None
            peer.unfunded[temporary_id] = state
            if self._config.manually_accept_inbound_channels:
                self._push_event(
                    OpenChannelRequest(
                        temporary_id,
                        their_node_id,
                        msg.funding_sat,
                        msg.push_msat,
                        msg.channel_type or b"",
                        bool(msg.channel_flags & opening.ANNOUNCE_CHANNEL),
                        anchors,
                    )
                )
                return
            user_channel_id = int.from_bytes(self._keys.get_secure_random_bytes()[:8], "big")
            self._accept(their_node_id, peer, state, user_channel_id, zero_conf=False)

    def _limits_for_inbound(self) -> UserConfig:
        """Who answers `OpenChannelRequest` decides on public channels too: one may have been bought."""
        config = self._config
        if not config.manually_accept_inbound_channels:
            return config
        limits = replace(config.channel_handshake_limits, force_announced_channel_preference=False)
        return replace(config, channel_handshake_limits=limits)

    def _may_begin_opening(self, their_node_id: NodeId) -> bool:
        """Those with a confirmed channel may always; of the others only so many at a time."""
        known = {
            channel.counterparty_node_id
            for channel in self._channels.values()
            if channel.scope.confirmation is not None
        }
        busy = {
            channel.counterparty_node_id
            for channel in self._channels.values()
            if not channel.terms.is_outbound
        }
        busy |= {
            node_id
            for node_id, peer in self._peers.items()
            if any(
                isinstance(state, opening.ReceivedOpen | opening.SentAccept)
                for state in peer.unfunded.values()
            )
        }
        busy -= known
        return their_node_id in known or their_node_id in busy or len(busy) < MAX_UNFUNDED_PEERS

    def handle_accept_channel(self, their_node_id: NodeId, msg: msgs.AcceptChannel) -> None:
        with self._entry:
            peer, state = self._named_unfunded(their_node_id, msg.temporary_channel_id)
            if not isinstance(state, opening.SentOpen):
                self._refuse_unfunded(their_node_id, peer, state, "accept_channel came when none was due.")
                return
            try:
                accepted = opening.receive_accept(
                    state, msg, ours=self._init_features(), theirs=peer.features
                )
            except ChannelError as error:
                self._refuse_unfunded(their_node_id, peer, state, error.message)
                return
            peer.unfunded[msg.temporary_channel_id] = accepted
            self._push_event(
                FundingGenerationReady(
                    msg.temporary_channel_id,
                    their_node_id,
                    accepted.offer.channel_value_sat,
                    opening.funding_output_script(accepted),
                    accepted.offer.user_channel_id,
                )
            )

    def handle_funding_created(self, their_node_id: NodeId, msg: msgs.FundingCreated) -> None:
        with self._entry:
            peer, state = self._named_unfunded(their_node_id, msg.temporary_channel_id)
            if not isinstance(state, opening.SentAccept):
                self._refuse_unfunded(their_node_id, peer, state, "funding_created came when none was due.")
                return
            try:
                funded = opening.receive_funding_created(state, msg)
                channel_id = funded.channel.channel_id
                if channel_id in self._channels or channel_id in self._closed:
                    raise ChannelError("This funding output belongs to another channel.")
            except ChannelError as error:
                self._refuse_unfunded(their_node_id, peer, state, error.message)
                return
            del peer.unfunded[msg.temporary_channel_id]
            signature = self._sign_first(
                state.offer.keys, funded.channel.scope, funded.counterparty_commitment
            )
            self._begin(funded)
            self._send_needing_monitor(
                funded.channel.channel_id, msgs.FundingSigned(channel_id=channel_id, signature=signature)
            )
            self._try_ready(channel_id)

    def handle_funding_signed(self, their_node_id: NodeId, msg: msgs.FundingSigned) -> None:
        with self._entry:
            peer = self._peer(their_node_id)
            state = next(
                (
                    other
                    for other in peer.unfunded.values()
                    if isinstance(other, opening.SentFundingCreated) and other.channel_id == msg.channel_id
                ),
                None,
            )
            if state is None:
                raise ChannelError("funding_signed names no channel between us.", channel_id=msg.channel_id)
            try:
                funded = opening.receive_funding_signed(state, msg)
            except ChannelError as error:
                self._refuse_unfunded(their_node_id, peer, state, error.message)
                return
            del peer.unfunded[state.offer.temporary_channel_id]
            self._persist.write((Row(PROMISED_SPACE, state.channel_id, None),))
            self._begin(funded)
            channel = self._channels[funded.channel.channel_id]

            def transition(draft: Draft) -> None:
                if channel.scope.funding_tx is not None:
                    draft.effects.append(BroadcastFunding(channel.scope.funding_tx))

            self._run(channel, transition)
            self._try_ready(channel.channel_id)

    # --- inside ---

    def _init_features(self) -> Features:
        """BOLT 9, context init: what we speak."""
        optional = [
            Feature.UPFRONT_SHUTDOWN_SCRIPT,
            Feature.BASIC_MPP,
            Feature.SUPPORT_LARGE_CHANNEL,
            Feature.SHUTDOWN_ANYSEGWIT,
            Feature.ATTRIBUTION_DATA,
            Feature.CHANNEL_TYPE,
            Feature.SCID_ALIAS,
        ]
        if self._config.channel_handshake_config.negotiate_anchors_zero_fee_htlc_tx:
            optional.append(Feature.ANCHORS)
        if self._config.manually_accept_inbound_channels:
            optional.append(Feature.ZEROCONF)
        if self.offers_storage:
            optional.append(Feature.PROVIDE_STORAGE)
        required = [
            Feature.DATA_LOSS_PROTECT,
            Feature.VAR_ONION_OPTIN,
            Feature.STATIC_REMOTE_KEY,
            Feature.PAYMENT_SECRET,
        ]
        return Features.of(required=required, optional=optional)

    def _peer(self, node_id: NodeId) -> PeerState:
        peer = self._peers.get(node_id)
        if peer is None:
            raise InvariantError("a message came from a peer that is not connected")
        return peer

    def _unfunded(
        self, node_id: NodeId, temporary_channel_id: ChannelId
    ) -> tuple[PeerState, opening.UnfundedChannel]:
        peer = self._peers.get(node_id)
        state = None if peer is None else peer.unfunded.get(temporary_channel_id)
        if peer is None or state is None:
            raise APIError(_("There is no such channel being opened with this peer."))
        return peer, state

    def _named_unfunded(
        self, node_id: NodeId, temporary_channel_id: ChannelId
    ) -> tuple[PeerState, opening.UnfundedChannel]:
        peer = self._peer(node_id)
        state = peer.unfunded.get(temporary_channel_id)
        if state is None:
            raise ChannelError("There is no such channel being opened.", channel_id=temporary_channel_id)
        return peer, state

    def _opening_keys(self, *, inbound: bool, value_sat: int, user_channel_id: int) -> opening.OpeningKeys:
        keys_id = self._keys.generate_channel_keys_id(inbound, value_sat, user_channel_id)
        signer = self._keys.derive_channel_signer(keys_id)
        return opening.OpeningKeys(
            channel_keys_id=keys_id,
            pubkeys=signer.pubkeys(),
            first_point=signer.get_per_commitment_point(0),
            second_point=signer.get_per_commitment_point(1),
        )

    def _new_alias(self) -> ShortChannelId:
        """BOLT 2, channel_ready: unrelated to the real id, and unlike any other of ours."""
        while True:
            raw = int.from_bytes(self._keys.get_secure_random_bytes()[:8], "big")
            height = 1 + (raw >> 40) % max(self._best_height, 100_000)
            alias = ShortChannelId(height << 40 | raw & 0xFF_FFFF_FFFF)
            if alias not in self._by_scid:
                return alias

    def _sign_first(
        self, keys: opening.OpeningKeys, scope: FundingScope, commitment: CommitmentTransaction
    ) -> bytes:
        signer = self._keys.derive_channel_signer(keys.channel_keys_id)
        signature, _ = signer.sign_counterparty_commitment(scope.params, commitment)
        return signature

    def _accept(
        self,
        node_id: NodeId,
        peer: PeerState,
        state: opening.ReceivedOpen,
        user_channel_id: int,
        zero_conf: bool,
    ) -> None:
        accepted = opening.accept_open(
            state,
            config=self._config,
            ours=self._init_features(),
            theirs=peer.features,
            keys=self._opening_keys(
                inbound=True, value_sat=state.msg.funding_sat, user_channel_id=user_channel_id
            ),
            user_channel_id=user_channel_id,
            shutdown_script=self._closing_script(),
            scid_alias=self._new_alias(),
            best_height=self._best_height,
            zero_conf=zero_conf,
        )
        peer.unfunded[state.msg.temporary_channel_id] = accepted
        self._send_to(node_id, opening.accept_message(accepted))

    def _closing_script(self) -> bytes:
        """Where our part of a new channel's close is to go. The peer hears of it, and an opening costs it nothing: what
        was meant for one that came to nothing is taken again, or strangers would hear of each address that comes next.
        """
        in_use = {
            state.offer.shutdown_script
            for peer in self._peers.values()
            for state in peer.unfunded.values()
            if not isinstance(state, opening.ReceivedOpen)
        }
        free = next((script for script in self._closing_scripts if script not in in_use), None)
        if free is not None:
            return free
        script = self._keys.get_shutdown_scriptpubkey()
        if script not in self._closing_scripts:
            self._closing_scripts.append(script)
        return script

    def _begin(self, funded: opening.Funded) -> None:
        """The funding is agreed: the monitor watches before anything that relies on it leaves."""
        channel = funded.channel
        channel_id = channel.channel_id
        if channel.terms.shutdown_script in self._closing_scripts:
            self._closing_scripts.remove(channel.terms.shutdown_script)
        signer = self._keys.derive_channel_signer(channel.terms.channel_keys_id)
        signer.validate_holder_commitment(channel.scope.params, funded.holder_commitment)
        theirs = funded.counterparty_commitment
        monitor = ChannelMonitor.new(
            channel_id=channel_id,
            params=channel.scope.params,
            channel_keys_id=channel.terms.channel_keys_id,
            counterparty_node_id=channel.counterparty_node_id,
            holder=LatestHolderCommitment(commitment=funded.holder_commitment, htlcs=()),
            counterparty=LatestCounterpartyCommitment(
                number=0,
                per_commitment_point=theirs.per_commitment_point,
                feerate_sat_per_kw=theirs.feerate_sat_per_kw,
                to_broadcaster_sat=theirs.to_broadcaster_sat,
                to_countersignatory_sat=theirs.to_countersignatory_sat,
                htlcs=(),
            ),
            best_height=self._best_height,
            best_hash=self._best_hash,
            destination_script=self._keys.get_destination_script(channel.terms.channel_keys_id),
            shutdown_script=channel.terms.shutdown_script,
        )
        match self._chain_monitor.watch_channel(channel_id, monitor):
            case ChannelMonitorUpdateStatus.COMPLETED:
                pass
            case ChannelMonitorUpdateStatus.IN_PROGRESS:
                self._in_progress[channel_id] = 0
            case ChannelMonitorUpdateStatus.UNRECOVERABLE:
                raise InvariantError("the new channel cannot be watched")
        self._add_channel(channel)
        self._push_event(
            ChannelPending(
                channel_id,
                channel.terms.temporary_channel_id,
                channel.counterparty_node_id,
                channel.terms.user_channel_id,
                channel.scope.funding_outpoint,
            )
        )

    def _send_needing_monitor(self, channel_id: ChannelId, msg: msgs.FundingSigned) -> None:
        channel = self._channels[channel_id]

        def transition(draft: Draft) -> None:
            draft.send(msg, needs_monitor=True)

        self._run(channel, transition)

    def _try_ready(self, channel_id: ChannelId) -> None:
        """A channel that needs no confirmations is ready at once."""
        channel = self._channels.get(channel_id)
        if channel is None:
            return
        point = channel.core.holder_next_point
        self._run(channel, lambda draft: become_ready(draft, self._best_height, point))

    def _refuse_unfunded(
        self, node_id: NodeId, peer: PeerState, state: opening.UnfundedChannel, message: str
    ) -> None:
        reason = ClosureReason(ClosureKind.PROCESSING_ERROR, message)
        self._drop_unfunded(node_id, peer, state, reason, message)

    def _drop_unfunded(
        self,
        node_id: NodeId,
        peer: PeerState,
        state: opening.UnfundedChannel,
        reason: ClosureReason,
        message: str | None,
    ) -> None:
        """An opening ends before the funding is agreed; what was made for it is free again."""
        is_outbound = isinstance(state, opening.SentOpen | opening.Accepted | opening.SentFundingCreated)
        if isinstance(state, opening.ReceivedOpen):
            temporary_id, value_sat, user_channel_id = (
                state.msg.temporary_channel_id,
                state.msg.funding_sat,
                0,
            )
        else:
            offer = state.offer
            temporary_id, value_sat, user_channel_id = (
                offer.temporary_channel_id,
                offer.channel_value_sat,
                offer.user_channel_id,
            )
            self._keys.forget_channel_signer(offer.keys.channel_keys_id)
        peer.unfunded.pop(temporary_id, None)
        if message is not None:
            # BOLT 1, error: the funder names the channel by its real id once it has sent funding_created.
            known_as = state.channel_id if isinstance(state, opening.SentFundingCreated) else temporary_id
            self._outbox.append(HandleError(node_id, ErrorAction.SEND_ERROR, message, known_as))
        if isinstance(state, opening.SentFundingCreated) and state.scope.funding_tx is not None:
            self._persist.write((Row(PROMISED_SPACE, state.channel_id, None),))
            self._push_event(DiscardFunding(state.channel_id, state.scope.funding_tx))
        self._push_event(
            ChannelClosed(temporary_id, node_id, user_channel_id, reason, value_sat, None, False, is_outbound)
        )

    def _unfunded_error(
        self, node_id: NodeId, peer: PeerState, channel_id: ChannelId, reason: ClosureReason
    ) -> bool:
        """The peer's `error` about an opening: a humbler channel type is tried first. True if it was one."""
        for key, state in list(peer.unfunded.items()):
            named = key == channel_id or (
                isinstance(state, opening.SentFundingCreated) and state.channel_id == channel_id
            )
            if not named:
                continue
            if isinstance(state, opening.SentOpen):
                humbler = opening.channel_type_fallback(state.offer.channel_type)
                if humbler is not None:
                    self._log(LogLevel.INFO, "the peer refused our channel type; trying a humbler one")
                    again = opening.with_channel_type(state, humbler)
                    feerate_sat_per_kw = self._channel_feerate(anchors=humbler.anchors)
                    again = opening.SentOpen(
                        offer=replace(again.offer, feerate_sat_per_kw=feerate_sat_per_kw),
                        refusal=reason.message,
                    )
                    peer.unfunded[key] = again
                    self._send_to(node_id, opening.open_message(again, self._network.chain_hash))
                    return True
                # Why the first try was refused matters as well: the second may only have had the wrong type.
                said = [text for text in (state.refusal, reason.message) if text]
                reason = replace(reason, message="; ".join(dict.fromkeys(said)))
            self._drop_unfunded(node_id, peer, state, reason, None)
            return True
        return False

    def _read_promised(self, rows: Callable[[str], Iterable[tuple[bytes, bytes]]]) -> None:
        """Fundings that were under way when the last run ended: nothing was broadcast, the coins are free."""
        for key, value in list(rows(PROMISED_SPACE)):
            promised = decode(PromisedFunding, value)
            self._persist.write((Row(PROMISED_SPACE, key, None),))
            self._push_event(DiscardFunding(ChannelId(key), promised.tx))
            self._push_event(
                ChannelClosed(
                    promised.temporary_channel_id,
                    promised.counterparty_node_id,
                    promised.user_channel_id,
                    ClosureReason(ClosureKind.DISCONNECTED_BEFORE_FUNDING),
                    promised.channel_value_sat,
                    None,
                    False,
                    True,
                )
            )

    def _forget_unfunded_of(self, node_id: NodeId, peer: PeerState) -> None:
        """BOLT 2: openings do not outlive the connection."""
        reason = ClosureReason(ClosureKind.DISCONNECTED_BEFORE_FUNDING)
        for state in list(peer.unfunded.values()):
            self._drop_unfunded(node_id, peer, state, reason, None)

    def _age_unfunded(self) -> None:
        for node_id, peer in self._peers.items():
            for key, state in list(peer.unfunded.items()):
                ticks = self._unfunded_ticks.get((node_id, key), 0) + 1
                self._unfunded_ticks[(node_id, key)] = ticks
                if ticks > UNFUNDED_AGE_LIMIT_TICKS:
                    self._refuse_unfunded(node_id, peer, state, "The opening took too long.")
        open_now = {(node_id, key) for node_id, peer in self._peers.items() for key in peer.unfunded}
        for known in list(self._unfunded_ticks):
            if known not in open_now:
                del self._unfunded_ticks[known]
