"""`get_route`: exact fees, limits, hints, parts, and the words when there is no way."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.ln.routing.graph_builder import NOW, Net, announce_node, node_id, own_channel, scid
from wallet.ln.features import Feature, Features
from wallet.ln.route import (
    FirstHop,
    InFlightHtlcs,
    PaymentParameters,
    Route,
    RouteHintHop,
    RouteNotFound,
    RouteParameters,
    Shunned,
)
from wallet.ln.routing.router import get_route
from wallet.ln.routing.scoring import ProbabilisticScorer
from wallet.ln.types import ShortChannelId

MPP = Features.of(optional=(Feature.VAR_ONION_OPTIN, Feature.PAYMENT_SECRET, Feature.BASIC_MPP))
SAT = 1_000


class Indifferent:
    """A `ScoreLookUp` that finds every channel equally good."""

    def channel_penalty_msat(
        self,
        short_channel_id: ShortChannelId,
        direction: int,
        amount_msat: int,
        inflight_msat: int,
        capacity_msat: int,
    ) -> int:
        return 0


def ask(payee: str, amount_msat: int, fee_limit_msat: int | None = None, **params: Any) -> RouteParameters:
    base = PaymentParameters(payee=node_id(payee), final_cltv_delta=18, features=MPP)
    return RouteParameters(
        payment_params=replace(base, **params),
        final_value_msat=amount_msat,
        max_total_routing_fee_msat=fee_limit_msat,
    )


def find(
    net: Net,
    asked: RouteParameters,
    *first_hops: FirstHop,
    inflight: InFlightHtlcs | None = None,
    seed: bytes | None = None,
    us: str = "us",
) -> Route:
    route = get_route(
        node_id(us), asked, net.graph, first_hops, Indifferent(), inflight or InFlightHtlcs(), NOW,
        random_seed=seed,
    )  # fmt: skip
    check(net, asked, route, first_hops, us)
    return route


def check(net: Net, asked: RouteParameters, route: Route, first_hops: tuple[FirstHop, ...], us: str) -> None:
    """Whatever a route is, it keeps every rule."""
    params = asked.payment_params
    assert route.total_amount_msat >= asked.final_value_msat
    assert len(route.paths) <= params.max_path_count
    if asked.max_total_routing_fee_msat is not None:
        assert route.total_fees_msat <= asked.max_total_routing_fee_msat
    limits = {hop.outbound_payment_scid: hop.next_outbound_htlc_limit_msat for hop in first_hops}
    used: dict[object, int] = {}
    for path in route.paths:
        assert len(path.hops) <= params.max_path_length
        assert path.total_cltv_delta <= params.max_total_cltv_delta
        assert path.payee == params.payee
        amount_msat = path.amount_with_fees_msat
        source = node_id(us)
        for number, hop in enumerate(path.hops):
            key = (hop.short_channel_id, source < hop.node_id)
            used[key] = used.get(key, 0) + amount_msat
            channel = net.graph.channel(hop.short_channel_id)
            if number == 0:
                assert used[key] <= limits[hop.short_channel_id]
            elif channel is not None:
                side = channel.directions[0 if source < hop.node_id else 1]
                assert side is not None
                assert side.enabled
                assert side.htlc_minimum_msat <= amount_msat <= side.htlc_maximum_msat
                if channel.capacity_sat is not None:
                    assert used[key] <= channel.capacity_sat * SAT
                before = path.hops[number - 1]
                assert before.fee_msat >= (
                    side.fee_base_msat + amount_msat * side.fee_proportional_millionths // 1_000_000
                )
                assert before.cltv_expiry_delta >= side.cltv_expiry_delta
            amount_msat -= hop.fee_msat
            source = hop.node_id


def ways(route: Route) -> list[str]:
    names = {node_id(name): name for name in "ABCDEFGHIJ"}
    return ["".join(names[hop.node_id] for hop in path.hops) for path in route.paths]


def why(net: Net, asked: RouteParameters, *first_hops: FirstHop) -> str:
    with pytest.raises(RouteNotFound) as raised:
        find(net, asked, *first_hops)
    return raised.value.message


# --- one way --------------------------------------------------------------------------------------


def bolt7_network() -> Net:
    """The example of BOLT 7: A, B, C, D in a square, each with its own terms on all its channels."""
    net = Net()
    terms = {"A": (100, 1_000, 10), "B": (200, 2_000, 20), "C": (300, 3_000, 30), "D": (400, 4_000, 40)}
    for a, b in ("AB", "AD", "BC", "DC"):
        channel = net.channel(a, b)
        for source, target in ((a, b), (b, a)):
            base, ppm, cltv = terms[source]
            net.terms(source, target, channel, base=base, ppm=ppm, cltv=cltv)
    return net


def test_the_example_of_bolt_7() -> None:
    net = bolt7_network()
    asked = ask("C", 4_999_999)
    route = find(net, asked, own_channel("B", 10**9), us="A")
    assert ways(route) == ["BC"]
    (path,) = route.paths
    assert path.amount_with_fees_msat == 5_010_198
    assert path.total_cltv_delta == 20 + 18
    assert [hop.fee_msat for hop in path.hops] == [10_199, 4_999_999]
    assert [hop.cltv_expiry_delta for hop in path.hops] == [20, 18]
    # By way of D it is dearer, and so only where there is no other.
    (path,) = find(net, asked, own_channel("D", 10**9), us="A").paths
    assert path.amount_with_fees_msat == 5_020_398
    assert path.total_cltv_delta == 40 + 18
    route = find(net, asked, own_channel("D", 10**9), own_channel("B", 10**9, 2), us="A")
    assert ways(route) == ["BC"]
    # Straight to C nobody is paid.
    (path,) = find(net, asked, own_channel("C", 10**9), us="A").paths
    assert (path.amount_with_fees_msat, path.total_cltv_delta) == (4_999_999, 18)


def test_fees_are_exact_over_many_hops() -> None:
    net = Net()
    for a, b in ("AB", "BC", "CD", "DE"):
        net.open(a, b, base=7, ppm=12_345, cltv=33)
    (path,) = find(net, ask("E", 1_000_003), own_channel("A", 10**9)).paths
    amount_msat = 1_000_003
    fees: list[int] = []
    for _ in range(4):
        fee_msat = 7 + amount_msat * 12_345 // 1_000_000
        fees.insert(0, fee_msat)
        amount_msat += fee_msat
    assert [hop.fee_msat for hop in path.hops] == [*fees, 1_000_003]
    assert [hop.cltv_expiry_delta for hop in path.hops] == [33, 33, 33, 33, 18]
    assert [hop.maybe_announced_channel for hop in path.hops] == [False, True, True, True, True]


def test_directions_are_not_mixed_up() -> None:
    net = Net()
    channel = net.channel("A", "B")
    net.terms("B", "A", channel)
    assert "No way" in why(net, ask("B", SAT), own_channel("A", 10**9))
    net.terms("A", "B", channel)
    assert ways(find(net, ask("B", SAT), own_channel("A", 10**9))) == ["AB"]
    net.terms("A", "B", channel, disabled=1)
    assert "No way" in why(net, ask("B", SAT), own_channel("A", 10**9))


def test_cheapest_of_parallel_channels_and_ways() -> None:
    net = Net()
    net.open("A", "B", base=5_000)
    cheap = net.open("A", "B", base=10)
    net.open("A", "C", base=1)
    net.open("C", "B", base=1)
    route = find(net, ask("B", 100 * SAT), own_channel("A", 10**9))
    assert ways(route) == ["ACB"]
    failed = tuple(net.graph.short_channel_ids())[2]
    route = find(net, ask("B", 100 * SAT, previously_failed_channels=(failed,)), own_channel("A", 10**9))
    assert route.paths[0].hops[1].short_channel_id == cheap


def test_smallest_of_our_channels_that_suffices_is_used() -> None:
    hops = (own_channel("A", 10**9, 1), own_channel("A", 500 * SAT, 2), own_channel("A", 50 * SAT, 3))
    route = find(Net(), ask("A", 100 * SAT), *hops)
    assert route.paths[0].hops[0].short_channel_id == scid(1, 2)


def test_nodes_and_channels_with_unknown_required_features_are_passed_by() -> None:
    net = Net()
    net.open("A", "B")
    net.open("B", "C")
    net.open("A", "D", base=100)
    net.open("D", "C", base=100)
    assert ways(find(net, ask("C", SAT), own_channel("A", 10**9))) == ["ABC"]
    assert net.graph.apply_node_announcement(announce_node("B", features=Features([1_000])))
    assert ways(find(net, ask("C", SAT), own_channel("A", 10**9))) == ["ADC"]
    # To the node itself the invoice decides.
    assert ways(find(net, ask("B", SAT), own_channel("A", 10**9))) == ["AB"]


def test_our_own_public_channels_are_used_by_their_balance_only() -> None:
    net = Net()
    net.open("us", "A")
    net.open("A", "B")
    net.open("us", "B")
    assert ways(find(net, ask("B", 10 * SAT), own_channel("A", 10**9))) == ["AB"]


def test_what_is_under_way_takes_room() -> None:
    net = Net()
    narrow = net.open("A", "B", capacity_sat=4_000)
    net.open("A", "C", base=1_000)
    net.open("C", "B", base=1_000)
    inflight = InFlightHtlcs({(narrow, node_id("A") < node_id("B")): 3_500 * SAT})
    asked = ask("B", 600 * SAT, features=None)
    assert ways(find(net, asked, own_channel("A", 10**9))) == ["AB"]
    assert ways(find(net, asked, own_channel("A", 10**9), inflight=inflight)) == ["ACB"]
    inflight = InFlightHtlcs({(narrow, node_id("B") < node_id("A")): 3_500 * SAT})
    assert ways(find(net, asked, own_channel("A", 10**9), inflight=inflight)) == ["AB"]


def shunned(source: str, target: str, channel: ShortChannelId, from_msat: int) -> Shunned:
    ascending = node_id(source) < node_id(target)
    return Shunned(short_channel_id=channel, ascending=ascending, from_msat=from_msat)


def test_a_channel_that_lacked_an_amount_still_carries_less() -> None:
    net = Net()
    narrow = net.open("A", "B")
    net.open("A", "C", base=1_000)
    net.open("C", "B", base=1_000)
    hop = own_channel("A", 10**9)

    def ways_around(amount_msat: int, *found: Shunned) -> list[str]:
        return ways(find(net, ask("B", amount_msat, features=None, shunned=found), hop))

    assert ways_around(600 * SAT, shunned("A", "B", narrow, 600 * SAT)) == ["ACB"]
    assert ways_around(600 * SAT - 1, shunned("A", "B", narrow, 600 * SAT)) == ["AB"]
    # The other direction has other coins.
    assert ways_around(600 * SAT, shunned("B", "A", narrow, 600 * SAT)) == ["AB"]
    # What payments of ours hold there is counted.
    inflight = InFlightHtlcs({(narrow, node_id("A") < node_id("B")): 200 * SAT})
    asked = ask("B", 400 * SAT, features=None, shunned=(shunned("A", "B", narrow, 600 * SAT),))
    assert ways(find(net, asked, hop, inflight=inflight)) == ["ACB"]
    assert ways(find(net, asked, hop)) == ["AB"]


def test_the_rest_of_a_payment_goes_where_a_part_of_it_did_not_fit() -> None:
    net = Net()
    narrow = net.open("A", "B", capacity_sat=1_000)
    asked = ask("B", 600 * SAT, shunned=(shunned("A", "B", narrow, 600 * SAT),))
    # The only way: a part is as large as is likely to be there, never the old amount but a little.
    assert "No way" in why(net, asked, own_channel("A", 10**9))
    other = net.open("A", "B", capacity_sat=1_000, base=10)
    route = find(net, asked, own_channel("A", 10**9))
    carried = {path.hops[1].short_channel_id: path.amount_over_msat(1) for path in route.paths}
    assert set(carried) <= {narrow, other}
    assert carried.get(narrow, 0) <= 300 * SAT


def test_a_hint_that_lacked_an_amount_still_carries_less() -> None:
    net = Net()
    hints = ((hint_hop("A", 1),), (hint_hop("A", 2, fee_base_msat=5_000),))
    lacked = shunned("A", "J", scid(900, 1), 600 * SAT)
    for amount_msat, number in ((600 * SAT, 2), (500 * SAT, 1)):
        asked = ask("J", amount_msat, hints=hints, features=None, shunned=(lacked,))
        (path,) = find(net, asked, own_channel("A", 10**9)).paths
        assert path.hops[-1].short_channel_id == scid(900, number)


def test_a_channel_is_filled_by_a_quarter_while_there_is_another_way() -> None:
    net = Net()
    net.open("A", "B", capacity_sat=1_000)
    net.open("A", "C", capacity_sat=1_000_000, base=5_000)
    net.open("C", "B", capacity_sat=1_000_000, base=5_000)
    assert ways(find(net, ask("B", 249 * SAT), own_channel("A", 10**9))) == ["AB"]
    assert ways(find(net, ask("B", 251 * SAT, features=None), own_channel("A", 10**9))) == ["ACB"]


# --- hints ----------------------------------------------------------------------------------------


def hint_hop(source: str, number: int, **terms: int) -> RouteHintHop:
    values = {"fee_base_msat": 1_000, "fee_proportional_millionths": 100, "cltv_expiry_delta": 144} | terms
    return RouteHintHop(node_id=node_id(source), short_channel_id=scid(900, number), **values)


def test_hints() -> None:
    net = Net()
    net.open("A", "B", base=10)
    hints = ((hint_hop("B", 1),),)
    (path,) = find(net, ask("J", 1_000_000, hints=hints), own_channel("A", 10**9)).paths
    assert [hop.fee_msat for hop in path.hops] == [10, 1_100, 1_000_000]
    assert [hop.cltv_expiry_delta for hop in path.hops] == [40, 144, 18]
    assert [hop.maybe_announced_channel for hop in path.hops] == [False, True, False]
    # From our own peer, over two hops of a hint, and the cheaper of two.
    long_hint = (hint_hop("B", 2), hint_hop("I", 3))
    route = find(net, ask("J", 1_000_000, hints=(long_hint,)), own_channel("B", 10**9))
    assert ways(route) == ["BIJ"]
    route = find(net, ask("J", 1_000_000, hints=(long_hint, *hints)), own_channel("B", 10**9))
    assert ways(route) == ["BJ"]
    failed = (scid(900, 1),)
    asked = ask("J", 1_000_000, hints=(long_hint, *hints), previously_failed_channels=failed)
    assert ways(find(net, asked, own_channel("B", 10**9))) == ["BIJ"]


def test_limits_of_hints() -> None:
    net = Net()
    net.open("A", "B")
    narrow = ((hint_hop("B", 1, htlc_maximum_msat=500 * SAT),),)
    assert "No way" in why(net, ask("J", 600 * SAT, hints=narrow, features=None), own_channel("A", 10**9))
    wide = (*narrow, (hint_hop("B", 2, htlc_maximum_msat=500 * SAT),))
    assert len(find(net, ask("J", 600 * SAT, hints=wide), own_channel("A", 10**9)).paths) == 2


def test_a_payee_that_only_its_hint_knows() -> None:
    assert "names no way" in why(Net(), ask("J", SAT), own_channel("A", 10**9))
    route = find(Net(), ask("J", SAT, hints=((hint_hop("A", 1),),)), own_channel("A", 10**9))
    assert ways(route) == ["AJ"]


# --- parts ----------------------------------------------------------------------------------------


def test_parts_over_several_of_our_channels() -> None:
    net = Net()
    for middle in "ABC":
        net.open(middle, "D", base=1)
    hops = [own_channel(middle, 400 * SAT, number) for number, middle in enumerate("ABC", 1)]
    route = find(net, ask("D", 1_000 * SAT), *hops)
    assert len(route.paths) == 3
    assert route.total_amount_msat == 1_000 * SAT
    asked = ask("D", 1_000 * SAT, features=MPP.without(Feature.BASIC_MPP))
    assert "no split payments" in why(net, asked, *hops)
    assert "at most" in why(net, ask("D", 1_201 * SAT), *hops)


def test_parts_straight_to_the_peer_use_all_there_is() -> None:
    hops = [own_channel("A", 400 * SAT, 1), own_channel("A", 333 * SAT, 2)]
    route = find(Net(), ask("A", 733 * SAT), *hops)
    assert sorted(path.final_value_msat for path in route.paths) == [333 * SAT, 400 * SAT]


def test_parts_over_one_of_our_channels_and_two_ways() -> None:
    net = Net()
    for middle in "BC":
        net.open("A", middle, capacity_sat=700, base=3)
        net.open(middle, "D", capacity_sat=700, base=3)
    route = find(net, ask("D", 1_000 * SAT), own_channel("A", 10**9))
    assert sorted(ways(route)) == ["ABD", "ACD"]
    assert "No way" in why(net, ask("D", 1_500 * SAT), own_channel("A", 10**9))


def test_two_parts_share_a_channel_within_its_capacity() -> None:
    net = Net()
    net.open("A", "B", capacity_sat=1_000)
    net.open("B", "D", capacity_sat=600)
    net.open("B", "C", capacity_sat=600)
    net.open("C", "D", capacity_sat=600)
    assert sorted(ways(find(net, ask("D", 1_000 * SAT), own_channel("A", 10**9)))) == ["ABCD", "ABD"]
    assert "No way" in why(net, ask("D", 1_100 * SAT), own_channel("A", 10**9))


def test_a_remainder_below_the_minimum_makes_the_parts_even() -> None:
    net = Net()
    for middle in "BC":
        net.open("A", middle, capacity_sat=None, maximum=900 * SAT)
        net.open(middle, "D", capacity_sat=None, maximum=900 * SAT, minimum=300 * SAT)
    route = find(net, ask("D", 1_000 * SAT), own_channel("A", 10**9))
    assert sorted(path.final_value_msat for path in route.paths) == [500 * SAT, 500 * SAT]


def test_no_more_parts_than_allowed() -> None:
    hops = [own_channel("A", 100 * SAT, number) for number in range(1, 6)]
    assert len(find(Net(), ask("A", 500 * SAT), *hops).paths) == 5
    assert "No way" in why(Net(), ask("A", 500 * SAT, max_path_count=4), *hops)


# --- limits and words -----------------------------------------------------------------------------


def test_minimum_of_a_channel_is_paid_up_to_twice() -> None:
    net = Net()
    net.open("A", "B", minimum=1_000)
    route = find(net, ask("B", 600), own_channel("A", 10**9))
    assert route.total_amount_msat == 1_000
    assert route.total_fees_msat == 400
    assert "at least" in why(net, ask("B", 499), own_channel("A", 10**9))
    assert "at least" in why(net, ask("B", 600, fee_limit_msat=399), own_channel("A", 10**9))


def test_one_msat() -> None:
    net = Net()
    net.open("A", "B")
    assert find(net, ask("B", 1), own_channel("A", 10**9)).total_amount_msat == 1


def test_fee_limit() -> None:
    net = Net()
    net.open("A", "B", base=1_000)
    find(net, ask("B", 10 * SAT, fee_limit_msat=1_000), own_channel("A", 10**9))
    words = why(net, ask("B", 10 * SAT, fee_limit_msat=999), own_channel("A", 10**9))
    assert "1 sat" in words
    assert "0.999 sat" in words


def test_fee_limit_is_for_all_parts_together() -> None:
    net = Net()
    for middle in "BC":
        net.open("A", middle, capacity_sat=600)
        net.open(middle, "D", capacity_sat=600, base=1_000)
    find(net, ask("D", 1_000 * SAT, fee_limit_msat=2_000), own_channel("A", 10**9))
    assert "fees" in why(net, ask("D", 1_000 * SAT, fee_limit_msat=1_999), own_channel("A", 10**9))


def test_a_likely_but_dear_way_gives_way_to_a_cheap_one() -> None:
    net = Net()
    net.open("A", "D", capacity_sat=100_000_000, base=20_000)
    net.open("A", "B", capacity_sat=10_500, base=10)
    net.open("B", "D", capacity_sat=10_500, base=10)
    hops = (own_channel("A", 10**9),)
    scorer = ProbabilisticScorer(net.graph)

    def found(limit_msat: int) -> list[str]:
        asked = ask("D", 10_000 * SAT, fee_limit_msat=limit_msat, features=None)
        return ways(get_route(node_id("us"), asked, net.graph, hops, scorer, InFlightHtlcs(), NOW))

    assert found(25_000) == ["AD"]
    assert found(15_000) == ["ABD"]


def test_time_limit() -> None:
    net = Net()
    net.open("A", "B", cltv=100)
    net.open("B", "C", cltv=100)
    net.open("A", "C", cltv=60, base=50_000)
    assert ways(find(net, ask("C", SAT, max_total_cltv_delta=218), own_channel("A", 10**9))) == ["ABC"]
    assert ways(find(net, ask("C", SAT, max_total_cltv_delta=217), own_channel("A", 10**9))) == ["AC"]
    words = why(net, ask("C", SAT, max_total_cltv_delta=77), own_channel("A", 10**9))
    assert "longer than 77 blocks" in words
    assert "longer than 17 blocks" in why(
        net, ask("A", SAT, max_total_cltv_delta=17), own_channel("A", 10**9)
    )


def test_length_limit() -> None:
    net = Net()
    for a, b in ("AB", "BC", "CD", "DE"):
        net.open(a, b)
    find(net, ask("E", SAT, max_path_length=5), own_channel("A", 10**9))
    assert "more than 4 hops" in why(net, ask("E", SAT, max_path_length=4), own_channel("A", 10**9))


def test_words() -> None:
    net = Net()
    net.open("A", "B")
    assert "no channel" in why(net, ask("B", SAT))
    assert "amount" in why(net, ask("B", 0), own_channel("A", 10**9))
    assert "itself" in why(net, ask("us", SAT), own_channel("A", 10**9))
    net.open("C", "D")
    assert "No way" in why(net, ask("D", SAT), own_channel("A", 10**9))
    narrow = own_channel("A", 10**9, minimum_msat=5 * SAT)
    assert "5 sat at least" in why(net, ask("B", SAT), narrow)


def test_shadow_hides_the_end_within_the_limit() -> None:
    net = Net()
    net.open("A", "B", cltv=40)
    net.open("B", "C", cltv=34)
    net.open("C", "D", cltv=34)
    plain = find(net, ask("B", SAT), own_channel("A", 10**9)).paths[0].total_cltv_delta
    padded = {
        find(net, ask("B", SAT), own_channel("A", 10**9), seed=bytes((n,))).paths[0].total_cltv_delta - plain
        for n in range(16)
    }
    assert len(padded) > 2
    assert all(34 <= extra <= 3 * 144 for extra in padded)
    tight = ask("B", SAT, max_total_cltv_delta=plain + 10)
    assert find(net, tight, own_channel("A", 10**9), seed=b"s").paths[0].total_cltv_delta == plain + 10


def test_a_search_sees_the_graph_as_it_was() -> None:
    net = Net()
    channel = net.open("A", "B")
    before = net.graph.snapshot()
    assert net.graph.snapshot() is before
    net.open("B", "C")
    net.graph.channel_failed_permanent(channel, NOW.at)
    hops = (own_channel("A", 10**9),)
    route = get_route(node_id("us"), ask("B", SAT), before, hops, Indifferent(), InFlightHtlcs(), NOW)
    assert ways(route) == ["AB"]
    with pytest.raises(RouteNotFound):
        get_route(node_id("us"), ask("C", SAT), before, hops, Indifferent(), InFlightHtlcs(), NOW)


# --- whatever the network -------------------------------------------------------------------------

edges = st.lists(
    st.tuples(
        st.sampled_from("ABCDEFG"),
        st.sampled_from("ABCDEFG"),
        st.one_of(st.none(), st.integers(1, 2_000)),
        st.integers(0, 5_000),
        st.integers(0, 100_000),
        st.integers(1, 300),
        st.integers(1, 200_000),
        st.integers(1, 2_000_000),
    ),
    max_size=16,
)


@given(
    edges, st.integers(1, 3_000_000), st.one_of(st.none(), st.integers(0, 50_000)), st.integers(1, 6),
    st.lists(st.integers(1, 2_000_000), min_size=1, max_size=3),
)  # fmt: skip
@settings(max_examples=150)
def test_a_route_keeps_every_rule_whatever_the_network(
    channels: list[tuple[str, str, int | None, int, int, int, int, int]],
    amount_msat: int,
    fee_limit_msat: int | None,
    parts: int,
    limits: list[int],
) -> None:
    net = Net()
    for a, b, capacity_sat, base, ppm, cltv, minimum, maximum in channels:
        if a != b:
            net.open(a, b, capacity_sat, base=base, ppm=ppm, cltv=cltv, minimum=minimum, maximum=maximum)
    hops = [own_channel("ABC"[number], limit, number + 1) for number, limit in enumerate(limits)]
    asked = ask("G", amount_msat, fee_limit_msat, max_path_count=parts, max_path_length=5)
    with suppress(RouteNotFound):
        find(net, asked, *hops)
