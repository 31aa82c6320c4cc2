"""Channels that somebody made up, at the places of true ones: they cost no honest peer and no true channel anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.unit.ln.connection_pair import Log
from tests.unit.ln.routing.graph_builder import (
    NOW,
    announce_channel,
    announce_node,
    announce_terms,
    node_id,
    scid,
)
from tests.unit.ln.routing.test_gossip import (
    CHANNEL,
    GOSSIPS,
    OTHER_PEER,
    PEER,
    Clock,
    Utxos,
    believing,
    events,
    handler,
)
from wallet.bitcoin.address import REGTEST
from wallet.bitcoin.curve import EcdsaChecks
from wallet.chain.interfaces import UtxoAnswer, UtxoError
from wallet.ln import msgs
from wallet.ln.events import HandleError
from wallet.ln.routing import gossip
from wallet.ln.routing import graph as graph_module
from wallet.ln.routing.gossip import CHECKS_PER_TICK, NetGraphMsgHandler
from wallet.ln.routing.graph import NetworkGraph
from wallet.ln.types import Now, PeerError, ShortChannelId

LIAR, HONEST = PEER, OTHER_PEER
PLACE = scid(100)
MADE_UP = announce_channel("M", "N", PLACE)
TERMS = announce_terms("A", "B", PLACE)
TRUE_NODES = (CHANNEL.node_id_1, CHANNEL.node_id_2)


def lied_to(utxos: Utxos) -> NetGraphMsgHandler:
    """Believes a channel that is made up, at the place of a true one."""
    utxos.fund(CHANNEL, 777)
    net = believing(utxos)
    net.handle_channel_announcement(LIAR, MADE_UP)
    assert net.network_graph.nodes_of(PLACE) == (MADE_UP.node_id_1, MADE_UP.node_id_2)
    return net


class Later:
    """`SignatureChecks` that answers when it is told to."""

    def __init__(self) -> None:
        self.waiting: list[tuple[bytes, Callable[[bytes], None]]] = []

    def submit(self, checks: bytes, answered: Callable[[bytes], None]) -> None:
        self.waiting.append((checks, answered))

    def answer(self) -> None:
        waiting, self.waiting = self.waiting, []
        for checks, answered in waiting:
            answered(EcdsaChecks().verify(checks))


def verifying_later(utxos: Utxos) -> tuple[NetGraphMsgHandler, Later]:
    later = Later()
    net = NetGraphMsgHandler(
        NetworkGraph(REGTEST), utxos, Log(), clock=Clock(), draw=lambda: bytes(8), signature_checks=later
    )
    return net, later


# --- who tells the truth about a place is not hung up on --------------------------------------------


def test_true_terms_of_a_channel_that_somebody_made_up_are_no_fault() -> None:
    net = lied_to(Utxos())
    assert not net.handle_channel_update(HONEST, TERMS)
    assert net.network_graph.update_times(PLACE) == (0, 0)


@pytest.mark.parametrize("signed", [True, False], ids=["signed", "not signed"])
def test_the_same_where_signatures_are_verified_later(signed: bool) -> None:
    """The terms come while the made-up announcement is verified still, and after."""
    net, later = verifying_later(Utxos())
    made_up = MADE_UP if signed else replace(MADE_UP, bitcoin_signature_1=bytes(63) + b"\x01")
    net.handle_channel_announcement(LIAR, made_up)
    net.handle_channel_update(HONEST, TERMS)
    later.answer()
    net.handle_channel_update(HONEST, replace(TERMS, timestamp_at=TERMS.timestamp_at + 1))
    later.answer()
    assert net.unverified_count == 0
    blamed = [e.node_id for e in net.get_and_clear_pending_msg_events() if isinstance(e, HandleError)]
    assert blamed == ([] if signed else [LIAR])


def test_bad_terms_of_a_channel_that_was_looked_up_are_a_fault() -> None:
    utxos = Utxos()
    utxos.fund(CHANNEL)
    net, later = verifying_later(utxos)
    net.handle_channel_announcement(HONEST, CHANNEL)
    later.answer()
    net.timer_tick_occurred()
    utxos.answer()
    net.get_and_clear_pending_msg_events()
    net.handle_channel_update(LIAR, replace(TERMS, fee_base_msat=1))
    later.answer()
    (error,) = net.get_and_clear_pending_msg_events()
    assert isinstance(error, HandleError)
    assert error.node_id == LIAR


def test_while_a_made_up_channel_is_looked_up_only_who_told_it_answers_for_its_terms() -> None:
    utxos = Utxos()
    net = handler(utxos)
    net.handle_channel_announcement(LIAR, MADE_UP)
    assert not net.handle_channel_update(HONEST, TERMS)
    with pytest.raises(PeerError):
        net.handle_channel_update(LIAR, TERMS)


# --- the true channel takes its place --------------------------------------------------------------


@pytest.mark.parametrize("tells", [CHANNEL, TERMS], ids=["another announcement", "terms"])
def test_a_channel_that_is_contradicted_is_looked_up_before_others(tells: msgs.Message) -> None:
    utxos = Utxos()
    net = lied_to(utxos)
    for number in range(5 * CHECKS_PER_TICK):
        net.handle_channel_announcement(LIAR, announce_channel("M", "N", scid(200 + number)))
    for _ in range(2):
        if isinstance(tells, msgs.ChannelAnnouncement):
            net.handle_channel_announcement(HONEST, tells)
        else:
            assert isinstance(tells, msgs.ChannelUpdate)
            net.handle_channel_update(HONEST, tells)
    net.timer_tick_occurred()
    assert utxos.asked[0] == PLACE
    assert len(set(utxos.asked)) == len(utxos.asked) == CHECKS_PER_TICK


def test_what_is_repeated_or_was_looked_up_is_not_contradicted() -> None:
    utxos = Utxos()
    utxos.fund(CHANNEL)
    net = believing(utxos)
    net.handle_channel_announcement(HONEST, CHANNEL)
    net.handle_channel_announcement(LIAR, CHANNEL)
    assert net._contested == {}
    net.timer_tick_occurred()
    utxos.answer()
    net.handle_channel_announcement(LIAR, MADE_UP)
    assert net._contested == {}


def test_only_so_many_are_looked_up_before_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gossip, "MAX_CONTESTED", 2)
    net = believing(Utxos())
    for number in range(5):
        net.handle_channel_announcement(LIAR, announce_channel("M", "N", scid(200 + number)))
        net.handle_channel_announcement(HONEST, announce_channel("A", "B", scid(200 + number)))
    assert len(net._contested) == 2


def test_a_contradicted_channel_that_no_server_can_tell_about_holds_up_no_other() -> None:
    utxos = Utxos()
    net = lied_to(utxos)
    net.handle_channel_announcement(HONEST, CHANNEL)
    net.timer_tick_occurred()
    ((asked, answer),) = utxos.waiting
    assert asked == PLACE
    answer(UtxoAnswer(asked, None, UtxoError.UNAVAILABLE))
    assert net._contested == {}
    assert net.network_graph.has_channel(PLACE)


def test_the_true_channel_is_asked_for_and_taken_once_the_other_was_found_out() -> None:
    utxos = Utxos()
    net = lied_to(utxos)
    net.peer_connected(HONEST, GOSSIPS, False)
    net.handle_reply_channel_range(
        HONEST,
        msgs.ReplyChannelRange(
            chain_hash=REGTEST.chain_hash,
            first_block_height=0,
            number_of_blocks=0xFFFF_FFFF,
            sync_complete=True,
            short_channel_ids=(),
        ),
    )
    net.timer_tick_occurred()
    utxos.answer()
    graph = net.network_graph
    assert not graph.has_channel(PLACE)
    assert not graph.was_removed(PLACE)
    net.get_and_clear_pending_msg_events()
    net.timer_tick_occurred()
    asked = [message for message in events(net) if isinstance(message, msgs.QueryShortChannelIds)]
    assert [message.short_channel_ids for message in asked] == [(PLACE,)]
    # The liar is faster, as often as he likes: what stands there is known.
    for _ in range(3):
        assert not net.handle_channel_announcement(LIAR, MADE_UP)
        assert not graph.has_channel(PLACE)
    assert net.handle_channel_announcement(HONEST, CHANNEL)
    assert graph.nodes_of(PLACE) == TRUE_NODES
    assert graph.capacity_sat(PLACE) == 777
    assert net.handle_channel_update(HONEST, announce_terms("A", "B", PLACE, htlc_maximum_msat=1))
    assert utxos.asked == [PLACE]


def test_the_same_where_nothing_is_believed() -> None:
    utxos = Utxos()
    utxos.fund(CHANNEL, 777)
    net = handler(utxos)
    net.handle_channel_announcement(LIAR, MADE_UP)
    # While one is looked up, another is not.
    assert not net.handle_channel_announcement(HONEST, CHANNEL)
    utxos.answer()
    assert not net.handle_channel_announcement(LIAR, MADE_UP)
    assert net.handle_channel_announcement(HONEST, CHANNEL)
    assert net.network_graph.capacity_sat(PLACE) == 777
    assert utxos.asked == [PLACE]


def test_what_stands_at_a_place_is_known_for_a_day_and_of_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gossip, "MAX_KNOWN_OUTPUTS", 2)
    utxos = Utxos(at_once=True)
    net = handler(utxos)
    for height in (100, 101, 102):
        utxos.fund(announce_channel("A", "B", scid(height)))
        net.handle_channel_announcement(LIAR, announce_channel("M", "N", scid(height)))
    assert list(net._outputs) == [scid(100), scid(101)]
    net.prune(Now(at=NOW.at + gossip.KNOWN_OUTPUT_SECONDS, mono_ms=0))
    assert list(net._outputs) == [scid(100), scid(101)]
    net.prune(Now(at=NOW.at + gossip.KNOWN_OUTPUT_SECONDS + 1, mono_ms=0))
    assert net._outputs == {}


def test_our_own_channel_takes_its_place_from_one_that_was_made_up() -> None:
    net = lied_to(Utxos())
    assert net.handle_channel_announcement(None, CHANNEL)
    assert net.network_graph.nodes_of(PLACE) == TRUE_NODES
    assert net.handle_channel_update(None, TERMS)


@pytest.mark.parametrize("told", [CHANNEL, MADE_UP], ids=["by its other end", "made up"])
def test_our_own_channel_does_not_wait_while_what_somebody_told_of_it_is_verified(
    told: msgs.ChannelAnnouncement,
) -> None:
    net, later = verifying_later(Utxos())
    net.handle_channel_announcement(HONEST, told)
    assert net.handle_channel_announcement(None, CHANNEL)
    assert net.handle_channel_update(None, TERMS)
    later.answer()
    assert net.unverified_count == 0
    assert net.network_graph.nodes_of(PLACE) == TRUE_NODES
    assert net.network_graph.channel_update(PLACE, TERMS.direction) == TERMS


# --- a node with thousands of channels that were made up --------------------------------------------


def test_one_node_has_only_so_many_channels_that_nobody_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gossip, "MAX_BELIEVED_OF_ONE_NODE", 3)
    net = believing(Utxos())
    for number, name in enumerate("OPQRST"):
        net.handle_channel_announcement(LIAR, announce_channel("M", name, scid(200 + number)))
    assert net.network_graph.channel_count_of(node_id("M")) == 3
    net.handle_channel_announcement(LIAR, announce_channel("S", "T", scid(300)))
    assert net.network_graph.has_channel(scid(300))


def test_whether_a_node_may_be_told_takes_no_look_at_each_of_its_channels() -> None:
    utxos = Utxos()
    net = believing(utxos)
    graph = net.network_graph
    channels = [announce_channel("M", "N", scid(200 + number)) for number in range(50)]
    for channel in channels:
        net.handle_channel_announcement(LIAR, channel)
    looked_at: list[ShortChannelId] = []
    capacity_sat = graph.capacity_sat

    def counted(short_channel_id: ShortChannelId) -> int | None:
        looked_at.append(short_channel_id)
        return capacity_sat(short_channel_id)

    graph.capacity_sat = counted  # type: ignore[method-assign]
    assert not net.handle_node_announcement(LIAR, announce_node("M"))
    assert graph.node_announcement(node_id("M")) is not None
    assert looked_at == []


def test_the_channels_of_a_node_that_were_checked_are_counted_also_from_the_file() -> None:
    graph = NetworkGraph(REGTEST)

    def counts(of: NetworkGraph) -> tuple[int, ...]:
        return tuple(of.checked_count_of(node_id(name)) for name in "ABC")

    graph.add_channel(CHANNEL, None, NOW.at)
    graph.add_channel(announce_channel("A", "C", scid(101)), 5, NOW.at)
    assert counts(graph) == (1, 0, 1)
    graph.set_capacity(PLACE, 7)
    graph.set_capacity(PLACE, 8)
    assert counts(graph) == (2, 1, 1)
    assert counts(NetworkGraph.read(graph.write(), REGTEST)) == (2, 1, 1)
    graph.forget_channel(PLACE)
    assert counts(graph) == (1, 0, 1)
    graph.node_failed_permanent(node_id("A"), NOW.at)
    assert counts(graph) == (0, 0, 0)
    assert graph.was_removed(scid(101))


def test_many_that_are_removed_at_once_leave_the_same_as_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a node that was given thousands would hold up everything when they are pruned."""

    def built() -> NetworkGraph:
        graph = NetworkGraph(REGTEST)
        for number, (a, b) in enumerate(zip("AAAABC", "BBCBCD", strict=True)):
            graph.add_channel(announce_channel(a, b, scid(100 + number)), number or None, NOW.at)
        for name in "ABCD":
            graph.apply_node_announcement(announce_node(name))
        for a, b, number in (("A", "C", 2), ("C", "A", 2), ("C", "D", 5), ("D", "C", 5)):
            terms = announce_terms(a, b, scid(100 + number), timestamp_at=NOW.at + 1_000)
            graph.apply_update(terms)
        return graph

    stale_at = NOW.at + graph_module.STALE_CHANNEL_SECONDS + 1
    one_by_one, at_once = built(), built()
    assert one_by_one.remove_stale_channels_and_tracking(stale_at) == 4
    monkeypatch.setattr(graph_module, "MANY_CHANNELS", 1)
    # Nothing is cut out by itself.
    monkeypatch.setattr(graph_module, "bisect_left", None)
    assert at_once.remove_stale_channels_and_tracking(stale_at) == 4
    monkeypatch.undo()
    for graph in (one_by_one, at_once):
        assert graph.short_channel_ids() == [scid(102), scid(105)]
        assert graph.announced_nodes_behind(None, 9) == sorted(map(node_id, "ACD"))
        assert not graph.has_node(node_id("B"))
        assert (graph.node_count, graph.unchecked_count, graph.to_check_count) == (3, 0, 0)
    assert one_by_one.write() == at_once.write()
