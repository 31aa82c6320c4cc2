"""A fault of ours anywhere in the core: an exception that nobody expects, at every inner call of a payment.

Whatever was swapped in before it has to be on disk, in step with the monitors; a restart goes on from there, and the
payment comes to its end.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.functional.joined import Node, World, WorldMaker
from tests.functional.test_crashes import finish, reconnect_all, start
from wallet.ln import events as ev
from wallet.ln.channel_reestablish import disconnect
from wallet.ln.channel_state import FundedChannel, read_channels
from wallet.ln.channel_step import Draft
from wallet.ln.types import PaymentPreimage

PLACES = (
    "manager._carry_out",
    "manager._commit",
    "manager._hear",
    "manager._on_htlcs_committed",
    "manager._process",
    "manager._send",
    "manager._update_monitor",
    "keys.ecdh",
    "monitor._carry_out_one",
)
MOST_CALLS = 40


class Fault(Exception):
    """Nobody expects it."""


class Injected:
    """Raises `Fault` at the n-th call of a method of a node, before it does anything or after it did everything."""

    def __init__(self, node: Node, place: str, call: int, *, after: bool) -> None:
        owner, _dot, name = place.partition(".")
        self._target: Any = getattr(node, owner)
        self._name = name
        self._left = call
        self._after = after
        self.raised = False

    @contextmanager
    def there(self) -> Iterator[None]:
        really = getattr(self._target, self._name)

        def call(*args: Any, **kwargs: Any) -> Any:
            self._left -= 1
            if self._left != -1:
                return really(*args, **kwargs)
            self.raised = True
            if self._after:
                really(*args, **kwargs)
            raise Fault(self._name)

        # KeysManager has slots: the class is where it can be put.
        setattr(self._target, self._name, call)
        try:
            yield
        finally:
            delattr(self._target, self._name)


def run_until_fault(world: World, nodes: list[Node], payment_preimage: PaymentPreimage) -> None:
    """The payment goes on until everything is done, or the fault comes."""
    while True:
        worked = world.step()
        for event in nodes[-1].take_events():
            if isinstance(event, ev.PaymentClaimable):
                nodes[-1].manager.claim_funds(payment_preimage)
                worked = True
        if not worked:
            return


@pytest.fixture(autouse=True)
def _rows_of_broken_off_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Updates that an entry left unsigned are rows as they are, and are held again with the next connection."""

    def check_rows(self: Node) -> None:
        channels = self.store.read_space("channel"), self.store.read_space("channel_htlc")
        found = {channel.channel_id: durable(channel) for channel in read_channels(*channels)}
        assert found == {key: durable(channel) for key, channel in self.manager._channels.items()}
        for channel_id, channel in found.items():
            monitor = self.monitor.get_monitor(channel_id)
            assert monitor is not None
            assert monitor.latest_update_id == channel.core.last_update_id

    monkeypatch.setattr(Node, "check_rows", check_rows)


def durable(channel: FundedChannel) -> FundedChannel:
    draft = Draft(channel)
    disconnect(draft)
    return draft.finish().state


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("victim", [0, 1, 2])
@pytest.mark.parametrize("after", [False, True])
def test_a_fault_at_every_call(make_world: WorldMaker, place: str, victim: int, after: bool) -> None:
    for call in range(MOST_CALLS):
        world = make_world()
        nodes = start(world)
        payment = None
        injected = Injected(nodes[victim], place, call, after=after)
        with injected.there():
            try:
                payment = world.route_payment(nodes, 20_000_000, settle=False)
                run_until_fault(world, nodes, payment.payment_preimage)
            except Fault:
                pass
        if not injected.raised:
            for node in nodes:
                node.take_events()
            return
        world.reload_node(nodes[victim])
        reconnect_all(world, nodes)
        nodes[victim].logger.errors.clear()
        if payment is None:
            # The fault came to whoever wanted to pay, before the payment was written down or after.
            world.settle()
            for node in nodes:
                node.take_events()
            continue
        finish(world, nodes, payment)
    raise AssertionError("the payment never ended")


@pytest.mark.parametrize("victim", [1, 2])
def test_an_htlc_that_cannot_be_processed_keeps_back_nothing_else(
    world: World, victim: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A peer chooses what is in an onion: it must not be able to keep a wallet from starting."""
    nodes = start(world)
    kind: Any = type(nodes[victim].manager)
    really = kind._process
    with monkeypatch.context() as patch:

        def fail(manager: Any, *args: Any) -> None:
            if manager.get_our_node_id() == nodes[victim].node_id:
                raise Fault
            really(manager, *args)

        patch.setattr(kind, "_process", fail)
        payment = world.route_payment(nodes, 20_000_000, settle=False)
        world.settle()
        assert nodes[victim].logger.errors
        world.reload_node(nodes[victim])
        reconnect_all(world, nodes)
    for node in nodes:
        node.logger.errors.clear()
    world.reload_node(nodes[victim])
    reconnect_all(world, nodes)
    finish(world, nodes, payment)
