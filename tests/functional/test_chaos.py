"""Three nodes, and a dice: payments both ways, claims, refusals, cuts, kills, late copies, fee rates, blocks.

Whatever the dice say: every payment ends once, every balance adds up, no channel is closed unasked.
"""

from __future__ import annotations

from random import Random

import pytest

from tests.functional.joined import Node, Payment, World, config
from wallet.chain.interfaces import ConfirmationTarget
from wallet.ln import events as ev
from wallet.ln.types import PaymentHash, PaymentId


class Chaos:
    def __init__(self, world: World, seed: int, *, anchors: bool) -> None:
        self.dice = Random(seed)
        self.world = world
        self.world.check_rows = False
        self.nodes = [self.world.node(name, config(anchors=anchors)) for name in ("alice", "bob", "carol")]
        for node in self.nodes:
            # What is tolerated does not jump about, as it does in no estimator.
            node.fees.by_target[ConfirmationTarget.MIN_ALLOWED_ANCHOR_CHANNEL_REMOTE_FEE] = 253
            node.fees.by_target[ConfirmationTarget.MIN_ALLOWED_NON_ANCHOR_CHANNEL_REMOTE_FEE] = 253
        for one, other in ((0, 1), (1, 2)):
            self.world.open_channel(self.nodes[one], self.nodes[other], 5_000_000, 2_500_000_000)
        self.total_msat = self.balances_msat()
        self.payments: dict[PaymentHash, Payment] = {}
        self.sent: dict[PaymentId, int] = {}
        self.failed: dict[PaymentId, int] = {}
        self.claimable: dict[PaymentHash, Node] = {}
        self.claimed: set[PaymentHash] = set()

    def balances_msat(self) -> int:
        return sum(c.balance_msat for node in self.nodes for c in node.manager.list_channels())

    def run(self, moves: int) -> None:
        often = [self.pay] * 8 + [self.answer] * 4 + [self.steps] * 8 + [self.join] * 4
        moves_known = [*often, self.cut, self.kill, self.fees, self.late, self.settle, self.block]
        for _ in range(moves):
            move = self.dice.choice(moves_known)
            move()
            self.hear()

    def line(self) -> list[Node]:
        line = self.dice.choice([self.nodes, self.nodes[:2], self.nodes[1:]])
        return line[:: self.dice.choice([1, -1])]

    def pay(self) -> None:
        line = self.line()
        amount_msat = self.dice.choice([1, 1_000, 300_000, 353_999, 1_000_000, 50_000_000, 400_000_000])
        try:
            path = self.world.path(line, amount_msat)
        except IndexError:
            return
        payment = self.world.invoice(line[-1], amount_msat)
        self.payments[payment.payment_hash] = payment
        self.world.send(payment, line[0], self.world.route([path], line[-1]))

    def answer(self) -> None:
        if not self.claimable:
            return
        payment_hash = self.dice.choice(list(self.claimable))
        node = self.claimable.pop(payment_hash)
        if self.dice.random() < 0.7:
            node.manager.claim_funds(self.payments[payment_hash].payment_preimage)
            self.claimed.add(payment_hash)
        else:
            node.manager.fail_htlc_backwards(payment_hash)

    def steps(self) -> None:
        for _ in range(self.dice.randrange(8)):
            self.world.step()

    def settle(self) -> None:
        self.world.settle()

    def block(self) -> None:
        self.world.mine(1)

    def cut(self) -> None:
        one, other = self.dice.choice([(0, 1), (1, 2)])
        a, b = self.nodes[one], self.nodes[other]
        if frozenset((a.node_id, b.node_id)) in self.world.links:
            self.world.disconnect(a, b)
        else:
            self.world.connect(a, b, settle=False)

    def join(self) -> None:
        for one, other in ((0, 1), (1, 2)):
            a, b = self.nodes[one], self.nodes[other]
            if frozenset((a.node_id, b.node_id)) not in self.world.links:
                self.world.connect(a, b, settle=False)

    def kill(self) -> None:
        node = self.dice.choice(self.nodes)
        # What a late copy has not got is not durable there; the first copy is.
        node.copies_due.clear()
        node.copies_late = False
        self.world.reload_node(node)

    def late(self) -> None:
        node = self.dice.choice(self.nodes)
        if node.copies_late:
            node.copies_late = False
            node.complete_copies()
        else:
            node.copies_late = True

    def fees(self) -> None:
        feerate = self.dice.choice([253, 300, 700, 2_000])
        for node in self.nodes:
            node.fees.sat_per_kw = feerate
        self.world.mono_ms += 60_000
        self.dice.choice(self.nodes).manager.timer_tick_occurred(self.world.now)

    def hear(self) -> None:
        for node in self.nodes:
            for event in node.take_events():
                match event:
                    case ev.PaymentClaimable():
                        assert event.payment_hash not in self.claimed
                        self.claimable[event.payment_hash] = node
                    case ev.PaymentSent():
                        self.sent[event.payment_id] = self.sent.get(event.payment_id, 0) + 1
                    case ev.PaymentFailed():
                        self.failed[event.payment_id] = self.failed.get(event.payment_id, 0) + 1
                    case ev.ChannelClosed():
                        raise AssertionError(f"{node} lost a channel: {event.reason}")
                    case _:
                        pass

    def finish(self) -> None:
        world = self.world
        for node in self.nodes:
            node.copies_late = False
        for _ in range(4):
            for node in self.nodes:
                node.complete_copies()
            for one, other in ((0, 1), (1, 2)):
                a, b = self.nodes[one], self.nodes[other]
                if frozenset((a.node_id, b.node_id)) not in world.links:
                    world.connect(a, b)
            world.settle()
            self.hear()
            while self.claimable:
                self.answer()
            world.settle()
            self.hear()
        for payment in self.payments.values():
            ends = self.sent.get(payment.payment_id, 0) + self.failed.get(payment.payment_id, 0)
            assert ends == 1, f"{payment} ended {ends} times"
            was_sent = payment.payment_id in self.sent
            assert was_sent == (payment.payment_hash in self.claimed)
        for node in self.nodes:
            for details in node.manager.list_channels():
                assert details.is_usable
                assert not details.pending_htlcs
            node.check_rows()
            assert not node.manager._forwards
            assert not node.manager._claimable
        assert self.balances_msat() == self.total_msat


@pytest.mark.parametrize("anchors", [True, False])
@pytest.mark.parametrize("seed", range(6))
def test_chaos(world: World, seed: int, anchors: bool) -> None:
    chaos = Chaos(world, seed, anchors=anchors)
    chaos.run(150)
    chaos.finish()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(100, 160))
def test_long_chaos(world: World, seed: int) -> None:
    chaos = Chaos(world, seed, anchors=bool(seed % 2))
    chaos.run(500)
    chaos.finish()
