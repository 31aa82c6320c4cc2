"""What became of every payment that the stateful tests sent: which must arrive, which may fail, which are over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.stateful.stored_node import StoredNode
from wallet.bitcoin.hashes import sha256
from wallet.ln.channel_details import ChannelDetails
from wallet.ln.channel_state import Fulfilled, HeldRemoval
from wallet.ln.config import HTLC_FAIL_BACK_BUFFER_BLOCKS
from wallet.ln.htlc import PreviousHop
from wallet.ln.outbound_payment import Abandoned
from wallet.ln.route import Path, PaymentParameters, Route, RouteHop, RouteParameters
from wallet.ln.types import (
    ChannelId,
    PaymentHash,
    PaymentId,
    PaymentPreimage,
    PaymentSecret,
    ShortChannelId,
)

FIRST_HOP_FEE_MSAT = 50_000
HOP_CLTV_DELTA = 100

NOWHERE = ShortChannelId(0)


@dataclass(frozen=True)
class Hop:
    """One channel of a path, by its id, its name, and what it carries."""

    channel_id: ChannelId
    short_channel_id: ShortChannelId
    amount_msat: int


@dataclass
class Pending:
    payment_hash: PaymentHash
    channels: frozenset[ChannelId]
    least_final_expiry_height: int
    may_fail: bool = False


@dataclass(frozen=True)
class Prepared:
    payment_id: PaymentId
    payment_hash: PaymentHash
    payment_secret: PaymentSecret


class NodePayments:
    """Of one node. `resolved` holds the hash of a payment that arrived, None for one that did not."""

    def __init__(self) -> None:
        self.pending: dict[PaymentId, Pending] = {}
        self.resolved: dict[PaymentId, PaymentHash | None] = {}


def details(node: StoredNode, channel_id: ChannelId) -> ChannelDetails | None:
    for channel in node.manager.list_channels():
        if channel.channel_id == channel_id:
            return channel
    return None


class PaymentBook:
    def __init__(self, nodes: Sequence[StoredNode]) -> None:
        self.nodes = nodes
        self.of = [NodePayments() for _ in nodes]
        self.claimed: dict[PaymentHash, None] = {}
        self.preimages: dict[PaymentHash, PaymentPreimage] = {}
        self._failed_downstream: list[set[tuple[ChannelId, int]]] = [set() for _ in nodes]
        self._count = 0

    # --- sending ---

    def prepare(self, payee: StoredNode) -> Prepared:
        self._count += 1
        preimage = PaymentPreimage(self._count.to_bytes(8, "big") + bytes(24))
        payment_hash = PaymentHash(sha256(preimage))
        self.preimages[payment_hash] = preimage
        secret = payee.manager.create_inbound_payment_for_hash(payment_hash, None, 3600, payee.now)
        return Prepared(PaymentId(self._count.to_bytes(8, "little") + bytes(24)), payment_hash, secret)

    def send(
        self,
        source: int,
        along: Sequence[int],
        paths: Sequence[Sequence[Hop]],
        *,
        expect: bool | None,
    ) -> bool:
        """Sends over the given paths. Whether anything left; `expect` says whether it has to."""
        node, payee = self.nodes[source], self.nodes[along[-1]]
        made = self.prepare(payee)
        amount_msat = sum(path[-1].amount_msat for path in paths)
        route = Route(
            paths=tuple(self._path(along, path) for path in paths),
            route_params=RouteParameters(
                payment_params=PaymentParameters(payee=payee.node_id, final_cltv_delta=HOP_CLTV_DELTA),
                final_value_msat=amount_msat,
            ),
        )
        pending = Pending(
            payment_hash=made.payment_hash,
            channels=frozenset(hop.channel_id for path in paths for hop in path),
            least_final_expiry_height=node.height + 1 + HOP_CLTV_DELTA * len(along),
        )
        mine = self.of[source]
        with node.entry():
            mine.pending[made.payment_id] = pending

            def undo() -> None:
                mine.pending.pop(made.payment_id, None)
                mine.resolved[made.payment_id] = None

            node.undo_with_batch(undo)
            node.manager.send_payment_with_route(
                made.payment_hash, made.payment_secret, None, made.payment_id, route, node.now
            )
        under_way = self._is_under_way(node, made)
        if expect is not None:
            assert under_way == expect, f"a payment of {amount_msat} msat: under way {under_way}"
        if not under_way:
            pending.may_fail = True
        elif self._offered(node, made.payment_hash) < len(paths):
            # Parts that wait for the peer, or that were refused, may fail without anybody else's doing.
            pending.may_fail = True
        return under_way

    def _path(self, along: Sequence[int], hops: Sequence[Hop]) -> Path:
        route_hops: list[RouteHop] = []
        for place, hop in enumerate(hops):
            last = place == len(hops) - 1
            kept_msat = hop.amount_msat - (0 if last else hops[place + 1].amount_msat)
            route_hops.append(
                RouteHop(
                    node_id=self.nodes[along[place]].node_id,
                    short_channel_id=hop.short_channel_id,
                    fee_msat=kept_msat,
                    cltv_expiry_delta=(place + 1) * HOP_CLTV_DELTA,
                )
            )
        return Path(hops=tuple(route_hops))

    @staticmethod
    def _offered(node: StoredNode, payment_hash: PaymentHash) -> int:
        return sum(
            htlc.add.payment_hash == payment_hash
            for channel in node.manager._channels.values()
            for htlc in channel.outbound.values()
        )

    def _is_under_way(self, node: StoredNode, made: Prepared) -> bool:
        state = node.manager._outbound.state(made.payment_id)
        if state is None:
            return False
        return bool(state.parts) if isinstance(state, Abandoned) else True

    # --- what may fail ---

    def allow_failure(self, matches: Callable[[Pending], bool]) -> None:
        for mine in self.of:
            for pending in mine.pending.values():
                if matches(pending):
                    pending.may_fail = True

    def allow_failure_of(self, payment_hash: PaymentHash) -> None:
        self.allow_failure(lambda pending: pending.payment_hash == payment_hash)

    def allow_failure_through(self, channel_id: ChannelId) -> None:
        self.allow_failure(lambda pending: channel_id in pending.channels)

    def allow_failure_too_late(self, height: int) -> None:
        """The payee refuses what it could not be sure to claim."""
        limit_height = height + HTLC_FAIL_BACK_BUFFER_BLOCKS + 1
        self.allow_failure(lambda pending: pending.least_final_expiry_height <= limit_height)

    def note_downstream_failure(self, index: int, channel_id: ChannelId, htlc_id: int) -> None:
        """A peer fails an HTLC that this node forwarded: the failure upstream is not the node's own doing."""
        channel = self.nodes[index].manager._channels.get(channel_id)
        htlc = None if channel is None else channel.outbound.get(htlc_id)
        if htlc is not None and isinstance(htlc.source, PreviousHop):
            self._failed_downstream[index].add((htlc.source.channel_id, htlc.source.htlc_id))

    def allow_own_failures(self, index: int) -> None:
        """HTLCs that this node fails for reasons of its own: a limit, a channel that is not usable."""
        for channel_id, channel in self.nodes[index].manager._channels.items():
            failed = {
                number: htlc.add.payment_hash
                for number, htlc in channel.inbound.items()
                if htlc.removal is not None and not isinstance(htlc.removal, Fulfilled)
            }
            for held in channel.held:
                if isinstance(held, HeldRemoval) and not isinstance(held.removal, Fulfilled):
                    htlc = channel.inbound.get(held.htlc_id)
                    if htlc is not None:
                        failed[held.htlc_id] = htlc.add.payment_hash
            for number, payment_hash in failed.items():
                if (channel_id, number) not in self._failed_downstream[index]:
                    self.allow_failure_of(payment_hash)

    # --- ends; each within the entry that heard of it ---

    def claim(self, index: int, payment_hash: PaymentHash) -> None:
        node = self.nodes[index]
        node.manager.claim_funds(self.preimages[payment_hash])
        self.claimed[payment_hash] = None

        def undo() -> None:
            self.claimed.pop(payment_hash, None)

        node.undo_with_batch(undo)

    def refuse(self, index: int, payment_hash: PaymentHash) -> None:
        self.allow_failure_of(payment_hash)
        self.nodes[index].manager.fail_htlc_backwards(payment_hash)

    def sent(self, index: int, payment_id: PaymentId, payment_hash: PaymentHash) -> None:
        known = self.of[index].pending.get(payment_id)
        assert known is not None, f"{payment_id.hex()} arrived, and was not pending"
        assert known.payment_hash == payment_hash
        self._resolve(index, payment_id, known, payment_hash)

    def failed(self, index: int, payment_id: PaymentId) -> None:
        known = self.of[index].pending.get(payment_id)
        assert known is not None, f"{payment_id.hex()} failed, and was not pending"
        assert known.payment_hash not in self.claimed, "a payment failed that its payee has claimed"
        assert known.may_fail, f"a payment of {self.nodes[index]} failed for no reason"
        self._resolve(index, payment_id, known, None)

    def _resolve(
        self, index: int, payment_id: PaymentId, known: Pending, payment_hash: PaymentHash | None
    ) -> None:
        mine = self.of[index]
        del mine.pending[payment_id]
        mine.resolved[payment_id] = payment_hash

        def undo() -> None:
            del mine.resolved[payment_id]
            mine.pending[payment_id] = known

        self.nodes[index].undo_with_batch(undo)

    # --- checks ---

    def check_settled(self) -> None:
        for index, mine in enumerate(self.of):
            assert not mine.pending, f"{self.nodes[index]} has {len(mine.pending)} payments that hang"
        arrived = {payment_hash for mine in self.of for payment_hash in mine.resolved.values()}
        for payment_hash in self.claimed:
            assert payment_hash in arrived, f"{payment_hash.hex()} was claimed, and its sender never told"
