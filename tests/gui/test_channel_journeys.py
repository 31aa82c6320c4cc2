"""Channels, through the real widgets: finding one, looking into it, choosing a peer, and following the money home."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from PyQt6.QtCore import QRect, Qt
from PyQt6.QtGui import QGuiApplication, QImage, QPainter
from PyQt6.QtTest import QAbstractItemModelTester
from PyQt6.QtWidgets import QStyleOptionViewItem, QWidget
from pytestqt.qtbot import QtBot

from tests.gui import scenes
from tests.gui.conftest import Desk
from tests.gui.fake_channels import HOME_BLOCKS, PAST_STATES, suggested_id
from tests.gui.fake_node import CLOSING_FEE_SAT, FakeNode, digest
from tests.gui.hands import click, press, type_text
from wallet.gui import format as fmt
from wallet.gui.describe import channel_wait
from wallet.gui.models import channels as channels_model
from wallet.gui.models.channels import CAPACITY, ORDERS, STATE, WAIT_ROLE, ChannelsModel, arranged
from wallet.gui.pages.channel import ChannelDetail
from wallet.gui.pages.channels import ChannelCard, ChannelsPage
from wallet.gui.pages.close_channel import CloseChannelDialog
from wallet.gui.pages.open_channel import OpenChannelDialog
from wallet.gui.pages.overview import OverviewPage, attention
from wallet.gui.pages.overview_chart import balance_split
from wallet.gui.pages.peer_away import away_facts
from wallet.gui.widgets import channel_cells
from wallet.gui.widgets.bars import channel_segments
from wallet.gui.widgets.basic import AmountLabel, Button, Card, Label, Pill
from wallet.node.api import ChannelPhase, ChannelView, LockedCoin, PeerView

Make = Callable[[FakeNode], Desk]


def many(count: int = 8) -> FakeNode:
    node = scenes.typical("mainnet", channels=count)
    for number, (key, channel) in enumerate(list(node.channels.items())):
        node.channels[key] = replace(channel, fees_earned_msat=number * 1_000, uptime_permille=number * 100)
    return node


def shown(model: ChannelsModel) -> list[ChannelView]:
    return [channel for row in range(model.rowCount()) if (channel := model.channel(row)) is not None]


def words(widget: object) -> str:
    assert hasattr(widget, "findChildren")
    return " ".join(label.text() for label in widget.findChildren(Label))


def test_the_model_takes_any_order_without_a_reset(qtbot: QtBot) -> None:
    rng = random.Random(11)
    rows = list(many().channels.values())
    model = ChannelsModel(rows)
    tester = QAbstractItemModelTester(model, QAbstractItemModelTester.FailureReportingMode.Fatal)
    resets: list[None] = []
    model.modelReset.connect(lambda: resets.append(None))
    for _round in range(30):
        wanted = rng.sample(rows, rng.randint(0, len(rows)))
        model.sync(wanted)
        assert shown(model) == wanted
    assert resets == []
    assert tester is not None


def test_each_column_sorts_and_what_is_searched_is_found(qtbot: QtBot) -> None:
    rows = list(many().channels.values())
    for order in ORDERS:
        up, down = arranged(rows, order=order, descending=False), arranged(rows, order=order)
        assert len(up) == len(rows)
        assert {channel.channel_id for channel in up} == {channel.channel_id for channel in down}
        assert up[0] == down[-1]
    capacities = [channel.capacity_sat for channel in arranged(rows, order="capacity")]
    assert capacities == sorted(capacities, reverse=True)
    assert [c.channel_id for c in arranged(rows, text=rows[5].channel_id[:20].upper())] == [
        rows[5].channel_id
    ]
    assert {c.peer_alias for c in arranged(rows, text="acinq")} == {"ACINQ"}
    assert all(c.phase is ChannelPhase.AWAITING_CONFIRMATIONS for c in arranged(rows, text="confirming"))


def test_the_table_is_sorted_by_its_heads_and_searched(desk: Make) -> None:
    one = desk(many())
    one.go("channels")
    page = one.page(ChannelsPage)
    across = page.table.horizontalHeader()
    assert across is not None
    across.sectionClicked.emit(CAPACITY)
    capacities = [channel.capacity_sat for channel in shown(page.model)]
    assert capacities == sorted(capacities, reverse=True)
    assert "Capacity, largest first" in page.sort_button.text()
    across.sectionClicked.emit(CAPACITY)
    assert [channel.capacity_sat for channel in shown(page.model)] == capacities[::-1]
    type_text(page.search, "acinq")
    assert {channel.peer_alias for channel in shown(page.model)} == {"ACINQ"}
    type_text(page.search, " and nobody else")
    assert page.model.rowCount() == 0
    assert page._nothing.isVisible()
    page.search.clear()
    assert page.model.rowCount() == 8


def test_cards_follow_the_order_too(desk: Make) -> None:
    one = desk(many(4))
    one.go("channels")
    page = one.page(ChannelsPage)
    page.sort("capacity")
    box = page._cards_box
    in_order = sorted(page.cards.values(), key=box.indexOf)
    capacities = [card.channel.capacity_sat for card in in_order]
    assert capacities == sorted(capacities, reverse=True)
    assert all(card.bar.segments == channel_segments(card.channel) for card in in_order)


def test_each_htlc_and_each_past_state_can_be_looked_at(desk: Make) -> None:
    node = many(3)
    key = list(node.channels)[1]
    node.channels[key] = replace(node.channels[key], forwards=3)
    one = desk(node)
    one.show_channel(key)
    detail = one.page(ChannelDetail)
    assert "3 payments passed on" in words(detail)
    assert "10.0" in words(detail)
    assert detail.states.shown == 0
    click(detail.states_fold.button)
    one.until(lambda: detail.states.shown == 20)
    text = words(detail.states)
    assert "committed on both sides" in text
    assert f"State {PAST_STATES - 1}" in text
    assert "State 0" not in text
    detail.states.more.click()
    one.until(lambda: detail.states.shown == 40)
    detail.states.more.click()
    one.until(lambda: detail.states.shown == PAST_STATES)
    assert not detail.states.more.isVisibleTo(detail.states)
    assert "State 0" in words(detail.states)


def test_three_are_suggested_and_one_that_is_away_makes_room_for_the_next(desk: Make) -> None:
    node = scenes.typical("mainnet")
    node.unreachable.add(suggested_id(2))
    node.minimums[suggested_id(3)] = 1_000_000
    one = desk(node)
    one.shell.open_channel("")
    dialog = one.dialog(OpenChannelDialog)
    one.until(
        lambda: (
            [row.uri[:66] for row in dialog.choice.rows]
            == [suggested_id(1), suggested_id(3), suggested_id(4)]
            and all(row.terms is not None for row in dialog.choice.rows)
        )
    )
    # No money is asked for before the node has said what it takes.
    assert not dialog._amount_row.isVisibleTo(dialog)
    assert "channels with" in words(dialog.choice)
    click(dialog.choice.rows[1].choose)
    assert dialog._amount_row.isVisibleTo(dialog)
    assert dialog.terms is not None
    assert dialog.terms.minimum_sat == 1_000_000
    assert "1 000 000 sat" in dialog._terms_line.text()
    click(dialog.sensible)
    assert dialog.amount_field.amount_sat() == 1_000_000
    one.until(dialog.open_button.isEnabled)
    asked = [call[1] for call in node.calls if call[0] == "quote_open_channel"]
    assert asked[-1]["peer"] == dialog.choice.rows[1].uri
    dialog.reject()


def test_where_nobody_can_be_suggested_it_says_so(desk: Make) -> None:
    node = scenes.typical("mainnet")
    node.suggestions = 0
    one = desk(node)
    one.shell.open_channel("")
    dialog = one.dialog(OpenChannelDialog)
    one.until(lambda: "No node is known" in dialog.choice._told.text())
    dialog.reject()


def test_a_node_that_is_pasted_is_asked_before_the_amount_is(desk: Make) -> None:
    node = scenes.typical("mainnet")
    away, there = suggested_id(9), suggested_id(8)
    node.unreachable.add(away)
    one = desk(node)
    one.shell.open_channel("")
    dialog = one.dialog(OpenChannelDialog)
    clipboard = QGuiApplication.clipboard()
    assert clipboard is not None
    clipboard.setText(f" {away}@node.example:9735\nand more")
    click(dialog.paste_button)
    assert dialog.peer.text() == f"{away}@node.example:9735"
    one.until(lambda: "did not answer" in dialog.away.text())
    assert not dialog._amount_row.isVisibleTo(dialog)
    # A way on: once more, or one of those that are suggested.
    assert "try again, or choose another" in dialog.away.text()
    assert fmt.short_id(away) in dialog.away.text()
    assert away not in dialog.away.text()
    assert "could not be asked" in dialog.reason.text()
    assert not dialog.open_button.isEnabled()
    click(dialog.another)
    assert dialog.choice.isVisible()
    assert not dialog.away.isVisible()
    assert not dialog.another.isVisible()
    dialog.peer.setText(f"{away}@node.example:9735")
    one.until(lambda: dialog.away.isVisible() and dialog.another.isVisible())
    node.unreachable.clear()
    assert dialog.away.button is not None
    click(dialog.away.button)
    one.until(lambda: dialog.terms is not None)
    assert not dialog.away.isVisibleTo(dialog)
    assert not dialog.choice.isVisibleTo(dialog)
    dialog.peer.setText(f"{there}@node.example:9735")
    one.until(lambda: dialog.terms is not None)
    assert dialog._amount_row.isVisibleTo(dialog)
    dialog.reject()


def test_another_node_takes_the_quote_back_and_is_asked_for_its_minimum_first(desk: Make) -> None:
    node = scenes.typical("mainnet")
    easy, choosy, silent = suggested_id(7), suggested_id(8), suggested_id(9)
    node.minimums[choosy], node.minimums[silent] = 1_000_000, None
    one = desk(node)
    one.shell.open_channel(f"{easy}@node.example:9735")
    dialog = one.dialog(OpenChannelDialog)
    one.until(lambda: dialog.terms is not None)
    type_text(dialog.amount_field, "50000")
    one.until(dialog.open_button.isEnabled)

    quotes = len([call for call in node.calls if call[0] == "quote_open_channel"])
    dialog.peer.setText(f"{choosy}@node.example:9735")
    assert dialog.quote is None
    assert not dialog.open_button.isEnabled()
    assert not dialog._quote_box.isVisibleTo(dialog)
    assert "asked what it takes first" in dialog.reason.text()
    one.until(lambda: dialog.terms is not None)
    # What was typed stays, and is held against the new node's minimum.
    assert dialog.amount_field.amount_sat() == 50_000
    assert f"takes channels from {fmt.amount_sat(1_000_000)}" in dialog.reason.text()
    assert not dialog.open_button.isEnabled()
    assert not dialog._timer.isActive()
    assert len([call for call in node.calls if call[0] == "quote_open_channel"]) == quotes
    click(dialog.least)
    assert dialog.amount_field.amount_sat() == 1_000_000
    one.until(dialog.open_button.isEnabled)
    assert dialog.reason.text() == ""

    dialog.peer.setText(f"{silent}@node.example:9735")
    one.until(lambda: dialog.terms is not None)
    assert "may refuse the amount" in dialog._terms_line.text()
    one.until(dialog.open_button.isEnabled)
    dialog.reject()


def test_what_was_proposed_for_one_node_is_not_proposed_for_the_next(desk: Make) -> None:
    node = scenes.typical("mainnet")
    first, second = suggested_id(7), suggested_id(8)
    node.minimums[first] = 600_000
    one = desk(node)
    one.shell.open_channel(f"{first}@node.example:9735")
    dialog = one.dialog(OpenChannelDialog)
    one.until(lambda: dialog.terms is not None)
    assert dialog.amount_field.amount_sat() == 600_000
    dialog.peer.setText(f"{second}@node.example:9735")
    one.until(lambda: dialog.terms is not None)
    assert dialog.amount_field.amount_sat() == 300_000
    dialog.reject()


def test_all_coins_that_do_not_reach_a_nodes_minimum_are_not_sent_to_it(desk: Make) -> None:
    node = scenes.typical("mainnet")
    there = suggested_id(8)
    node.minimums[there] = 2_000_000_000
    one = desk(node)
    one.shell.open_channel(f"{there}@node.example:9735")
    dialog = one.dialog(OpenChannelDialog)
    one.until(lambda: dialog.terms is not None)
    click(dialog.all_button)
    one.until(lambda: dialog.quote is not None)
    assert "Deposit more first, or choose another node" in dialog.reason.text()
    assert not dialog.open_button.isEnabled()
    dialog.reject()


def quoted(dialog: CloseChannelDialog) -> bool:
    return bool(dialog.other_way.text()) and dialog.quote is not None


def test_both_ways_to_close_are_told_with_their_costs(typical: Desk) -> None:
    channel = next(iter(typical.node.channels.values()))
    for force, said in ((False, "lock the money for about 7 days"), (True, "free in about 10 minutes")):
        dialog = CloseChannelDialog(typical.window, typical.shell.context, channel, force=force)
        dialog.open()
        typical.until(partial(quoted, dialog))
        assert said in dialog.other_way.text()
        dialog.reject()


def changed(desk: Desk, key: str, **fields: Any) -> None:
    """The node tells that a channel has changed."""

    def change() -> None:
        desk.node.channels[key] = replace(desk.node.channels[key], **fields)
        desk.node.tell(channels=[key])

    desk.node.submit(change)


def test_a_forced_close_names_all_that_is_paid_for(typical: Desk) -> None:
    key = next(iter(typical.node.channels))
    typical.node.channels[key] = replace(typical.node.channels[key], inflight_out_msat=21_000_000)
    dialog = CloseChannelDialog(typical.window, typical.shell.context, typical.node.channels[key], force=True)
    dialog.open()
    typical.until(partial(quoted, dialog))
    assert dialog.quote is not None
    parts_sat = [dialog.quote[name] for name in ("commitment_sat", "bump_sat", "htlcs_sat", "sweep_sat")]
    assert dialog.quote["fee_sat"] == sum(parts_sat)
    click(dialog.parts.button)
    told = words(dialog)
    for amount_sat in (sum(parts_sat), *parts_sat, dialog.quote["from_coins_sat"]):
        assert fmt.amount_sat(amount_sat) in told
    dialog.reject()


def test_before_a_channel_is_opened_both_ways_to_close_it_are_priced(desk: Make) -> None:
    one = desk(scenes.typical("mainnet"))
    one.shell.open_channel(f"{suggested_id(7)}@node.example:9735")
    dialog = one.dialog(OpenChannelDialog)
    one.until(lambda: dialog.quote is not None)
    assert dialog.quote is not None
    told = words(dialog)
    for name in ("closing_fee_sat_estimate", "forced_fee_sat_estimate"):
        assert fmt.amount_sat(dialog.quote[name]) in told
    assert "together with the peer" in told
    dialog.reject()


def test_what_is_in_flight_and_who_is_there_is_followed_while_the_dialog_is_open(typical: Desk) -> None:
    key = next(iter(typical.node.channels))
    dialog = CloseChannelDialog(
        typical.window, typical.shell.context, typical.node.channels[key], force=False
    )
    dialog.open()
    typical.until(dialog.close_button.isEnabled)
    assert not dialog.in_flight.isVisible()
    assert not dialog.refused.isVisible()
    changed(typical, key, inflight_out_msat=21_000_000)
    typical.until(lambda: fmt.amount_sat(21_000) in dialog.in_flight.text())
    assert "waits until it has arrived" in dialog.in_flight.text()
    # That is no hindrance: the closing waits for it.
    assert dialog.close_button.isEnabled()
    changed(typical, key, inflight_out_msat=0, peer_online=False, phase=ChannelPhase.PEER_OFFLINE)
    typical.until(lambda: not dialog.close_button.isEnabled())
    assert not dialog.in_flight.isVisible()
    assert "cannot agree to a closing" in dialog.refused.text()
    changed(typical, key, inflight_out_msat=5_000_000)
    typical.until(lambda: dialog._channel.inflight_out_msat == 5_000_000)
    assert not dialog.in_flight.isVisible(), "what cannot be closed now waits for nothing"
    changed(typical, key, inflight_out_msat=0)
    changed(typical, key, peer_online=True, phase=ChannelPhase.READY)
    typical.until(dialog.close_button.isEnabled)
    assert not dialog.refused.isVisible()
    changed(typical, key, phase=ChannelPhase.CLOSING, is_usable=False)
    typical.until(lambda: not dialog.close_button.isEnabled())
    assert dialog.reason.text() == "This channel is closed already."
    dialog.reject()


def test_what_a_close_costs_is_asked_again_when_the_channel_moves(typical: Desk) -> None:
    key = next(iter(typical.node.channels))
    dialog = CloseChannelDialog(typical.window, typical.shell.context, typical.node.channels[key], force=True)
    dialog.open()
    typical.until(partial(quoted, dialog))
    assert dialog.quote is not None
    before_sat = dialog.quote["fee_sat"]
    changed(typical, key, inflight_out_msat=21_000_000)
    typical.until(lambda: dialog.quote is not None and dialog.quote["fee_sat"] > before_sat)
    dialog.reject()


def test_where_the_peer_cannot_agree_the_forced_close_is_offered(desk: Make) -> None:
    one = desk(scenes.trouble())
    key = next(k for k, c in one.node.channels.items() if c.phase is ChannelPhase.PEER_OFFLINE)
    one.go("channels")
    one.show_channel(key)
    detail = one.page(ChannelDetail)
    assert not detail.close_button.isEnabled()
    assert detail.why_not.isVisible()
    assert "not connected" in detail.why_not.text()
    assert detail.force_button.isEnabled()
    dialog = CloseChannelDialog(one.window, one.shell.context, detail.channel, force=False)
    dialog.open()
    assert not dialog.close_button.isEnabled()
    assert dialog.refused.button is not None
    click(dialog.refused.button)
    one.until(lambda: any(d.isVisible() and d.close_button.kind == "danger" for d in closers(one)))
    forced = next(d for d in closers(one) if d.isVisible())
    one.until(lambda: forced.quote is not None)
    forced.reject()
    changed(one, key, peer_online=True, phase=ChannelPhase.READY)
    one.until(detail.close_button.isEnabled)
    assert not detail.why_not.isVisible()


def test_a_peer_that_is_away_is_told_of_with_what_was_tried_and_what_can_be_done(desk: Make) -> None:
    one = desk(scenes.trouble())
    key = next(k for k, c in one.node.channels.items() if c.phase is ChannelPhase.PEER_OFFLINE)
    peer_id = one.node.channels[key].peer_id
    one.go("channels")
    one.show_channel(key)
    detail = one.page(ChannelDetail)
    away = detail.away
    assert away.isVisible()
    told = words(away)
    for said in ("3 hours ago", "38 times, last ", ": Connection refused", "in about "):
        assert said in told
    assert one.node.peers[peer_id].address in told
    # Wait, or close.
    one.node.unreachable.add(peer_id)
    click(away.try_button)
    one.until(lambda: "cannot be reached" in away._banner.text())
    assert away.try_button.isEnabled()
    click(away.close_button)
    dialog = one.dialog(CloseChannelDialog)
    assert dialog.close_button.kind == "danger"
    dialog.reject()
    changed(one, key, peer_online=True, phase=ChannelPhase.READY)
    one.until(lambda: not away.isVisible())


def test_a_peer_whose_address_nobody_knows_has_to_call() -> None:
    peer = PeerView(node_id="02" * 33, alias="", address="", online=False, last_seen_at=None, channels=1)
    assert [value for _name, value in away_facts(peer)] == [
        "not known",
        "none is known: the peer has to call you",
    ]
    called = replace(peer, address="198.51.100.1:9735")
    assert away_facts(called)[-1] == ("Next call", "now")


def closers(desk: Desk) -> list[CloseChannelDialog]:
    return desk.window.findChildren(CloseChannelDialog)


def closing(phase: ChannelPhase) -> tuple[FakeNode, str]:
    node = scenes.typical()
    key = next(iter(node.channels))
    node.channels[key] = replace(
        node.channels[key],
        phase=phase,
        is_usable=False,
        closing_txid=digest("closing"),
        closure_text="You asked to close the channel, and both sides agreed.",
    )
    return node, key


def test_after_the_end_each_output_is_followed_and_hurried(desk: Make) -> None:
    node, key = closing(ChannelPhase.CLOSING)
    one = desk(node)
    one.show_channel(key)
    resolution = one.page(ChannelDetail).resolution
    one.until(lambda: len(resolution.speed_up) == 1)
    assert "still on its way" in resolution.summary.text()
    assert "0 of 6 confirmations" in words(resolution)
    assert "about an hour" in words(resolution), "how long that takes"
    click(next(iter(resolution.speed_up.values())))
    one.until(lambda: resolution.speed_up == {})
    assert node.hurried == {key}


def seen(widget: QWidget) -> str:
    """The words in it that are on the screen."""
    return " ".join(label.text() for label in widget.findChildren(Label) if label.isVisible())


def until_seen(desk: Desk, widget: QWidget, *wanted: str) -> None:
    desk.until(lambda: all(part in seen(widget) for part in wanted))


def test_a_channel_is_closed_by_force_and_its_money_followed_until_it_has_arrived(typical: Desk) -> None:
    node = typical.node
    key, channel = next((k, c) for k, c in node.channels.items() if c.is_usable and not c.inflight_out_msat)
    fees_sat, delay_blocks = 4 * CLOSING_FEE_SAT, channel.to_self_delay_blocks
    home_sat = channel.local_msat // 1000 - CLOSING_FEE_SAT
    began_height, had_sat = node.status.height, node.confirmed_sat + node.unconfirmed_sat
    free_height = began_height + delay_blocks
    typical.go("channels")
    page = typical.page(ChannelsPage)
    typical.click(page.cards[key].name)
    typical.until(lambda: page.detail is not None)
    detail = page.detail
    assert isinstance(detail, ChannelDetail)
    assert detail.channel.channel_id == key
    assert not detail.resolution.isVisible()
    typical.click(detail.force_button)
    dialog = typical.dialog(CloseChannelDialog)
    typical.until(partial(quoted, dialog))
    until_seen(typical, dialog, fmt.amount_sat(fees_sat), f"from block {fmt.group(free_height)}")
    assert "Bringing your part home" not in seen(dialog)
    typical.click(dialog.parts.button)
    until_seen(typical, dialog, "The channel's own transaction", "Speeding it up", "Bringing your part home")
    # Without the tick nothing happens.
    assert not dialog.close_button.isEnabled()
    dialog.agreed.setFocus(Qt.FocusReason.TabFocusReason)
    press(dialog.agreed, Qt.Key.Key_Space)
    assert dialog.agreed.isChecked()
    assert node.channels[key].phase is ChannelPhase.READY
    typical.click(dialog.close_button)

    resolution = detail.resolution
    before = "The closing transaction has to confirm"
    until_seen(typical, resolution, before)
    assert fmt.amount_sat(home_sat) in resolution.summary.text()
    assert "still on its way" in resolution.summary.text()
    assert [coin.amount_sat for coin in node.locked] == [home_sat]
    assert "Free" not in seen(resolution)
    assert not detail.force_button.isVisible()

    node.submit(node.mine, 1)
    until_seen(
        typical,
        resolution,
        "The closing transaction is confirmed",
        "The delay that the channel's rules ask for",
        f"from block {fmt.group(free_height)}",
        f"{fmt.group(delay_blocks - 1)} blocks",
    )
    typical.until(lambda: before not in seen(resolution))
    node.submit(node.mine, 1)
    until_seen(typical, resolution, f"{fmt.group(delay_blocks - 2)} blocks")

    node.submit(node.mine, delay_blocks - 2)
    until_seen(typical, resolution, "Free to be taken", f"0 of {HOME_BLOCKS} confirmations")
    assert node.confirmed_sat == had_sat
    for block in range(1, HOME_BLOCKS):
        node.submit(node.mine, 1)
        until_seen(typical, resolution, f"{block} of {HOME_BLOCKS} confirmations", "On its way")
    node.submit(node.mine, 1)
    typical.until(lambda: resolution.summary.text() == f"All of it is home: {fmt.amount_sat(home_sat)}.")
    until_seen(typical, resolution, "In your on-chain coins")
    typical.until(lambda: [p.text() for p in resolution.findChildren(Pill) if p.isVisible()] == ["Home"])
    typical.until(lambda: detail.channel.phase is ChannelPhase.CLOSED)
    assert node.confirmed_sat == had_sat + home_sat
    assert node.locked == ()


def output(amount_sat: int, goes: str = "home", **fields: Any) -> dict[str, Any]:
    told: dict[str, Any] = {
        "amount_sat": amount_sat,
        "state": "locked",
        "text": "It waits.",
        "steps": [["The closing transaction is confirmed", "done", ""]],
        "txid": digest("closing"),
        "until_height": 912_500,
        "can_speed_up": False,
        "goes": goes,
    }
    return {**told, **fields}


def test_what_comes_home_what_may_and_what_goes_to_the_peer_are_told_apart(desk: Make) -> None:
    node, key = closing(ChannelPhase.FORCE_CLOSING)
    node.outputs = [output(410_000), output(30_000, "if proven"), output(20_000, "unless taken")]
    node.peer_sat = 540_000
    one = desk(node)
    one.show_channel(key)
    resolution = one.page(ChannelDetail).resolution
    one.until(lambda: resolution.report is not None)
    assert resolution.summary.text() == " ".join(
        (
            f"{fmt.amount_sat(410_000)} is still on its way; Leyden brings it home by itself.",
            f"{fmt.amount_sat(20_000)} comes home unless its payee takes it.",
            f"{fmt.amount_sat(30_000)} comes home only if its proof arrives in time; else it goes to the peer.",
            f"{fmt.amount_sat(540_000)} goes to the peer: its own part.",
        )
    )
    pills = [pill.text() for pill in resolution.findChildren(Pill)]
    assert pills == ["On its way", "If the proof arrives", "Unless it is taken"]
    assert "The peer may take it in about" in words(resolution)


def test_what_needs_a_proof_is_counted_nowhere(desk: Make) -> None:
    node = scenes.typical()
    sure = LockedCoin(amount_sat=410_000, reason="It waits.", until_height=None, channel_id=None)
    proof = replace(sure, amount_sat=31_337, reason="Yours if its proof arrives in time.", is_certain=False)
    before_sat = node.snapshot().balance.total_sat
    node.locked = (sure, proof)
    snapshot = node.snapshot()
    assert snapshot.balance.total_sat == before_sat + 410_000
    amounts_msat = [row.amount_msat for row in balance_split(snapshot)]
    assert amounts_msat[-2:] == [410_000_000, 410_000_000]
    assert 31_337_000 not in amounts_msat
    sentences = [one.sentence for one in attention(snapshot)]
    assert f"{fmt.amount_sat(31_337)}. Yours if its proof arrives in time." in sentences


def test_outputs_of_one_sweep_share_one_button(desk: Make) -> None:
    node, key = closing(ChannelPhase.FORCE_CLOSING)
    sweep: dict[str, Any] = {
        "txid": digest("sweep"),
        "state": "sweeping",
        "can_speed_up": True,
        "until_height": None,
    }
    alone: dict[str, Any] = {**sweep, "txid": digest("another sweep")}
    node.outputs = [output(410_000, **sweep), output(60_000, **alone), output(30_000, **sweep)]
    one = desk(node)
    one.show_channel(key)
    resolution = one.page(ChannelDetail).resolution
    one.until(lambda: resolution.report is not None)
    buttons = [b for b in resolution.findChildren(Button) if b.text() == "Speed up"]
    assert len(buttons) == 2
    assert set(resolution.speed_up.values()) == set(buttons)
    shared = next(card for card in resolution.findChildren(Card) if "2 outputs go home" in words(card))
    assert len(shared.findChildren(AmountLabel)) == 2
    assert resolution.speed_up[digest("sweep")] in shared.findChildren(Button)
    click(resolution.speed_up[digest("sweep")])
    one.until(lambda: node.hurried == {key})


def cell(page: ChannelsPage, column: int, row: int) -> QImage:
    """A cell of the table, as its delegate paints it."""
    index = page.model.index(row, column)
    option = QStyleOptionViewItem()
    option.widget = page.table
    option.rect = QRect(0, 0, 176, 44)
    picture = QImage(176, 44, QImage.Format.Format_ARGB32)
    picture.fill(0)
    painter = QPainter(picture)
    delegate = page.table.itemDelegateForColumn(column)
    assert delegate is not None
    delegate.paint(painter, option, index)
    painter.end()
    return picture


def test_the_table_itself_says_how_far_an_opening_is(desk: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    one = desk(many())
    one.go("channels")
    page = one.page(ChannelsPage)
    row, channel = next(
        (row, c) for row, c in enumerate(shown(page.model)) if c.phase is ChannelPhase.AWAITING_CONFIRMATIONS
    )
    index = page.model.index(row, STATE)
    assert index.data(WAIT_ROLE) == "1 of 3, about 20 minutes"
    assert "1 of 3, about 20 minutes" in index.data(Qt.ItemDataRole.AccessibleTextRole)
    with_it = cell(page, STATE, row)
    assert with_it == cell(page, STATE, row)
    monkeypatch.setattr(channels_model, "channel_wait", lambda _channel: "")
    assert cell(page, STATE, row) != with_it
    assert channel_wait(replace(channel, phase=ChannelPhase.READY)) == ""


def test_the_smallest_channels_bar_can_still_be_read(desk: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    node = many()
    key = next(iter(node.channels))
    node.channels[key] = replace(node.channels[key], capacity_sat=20_000)
    one = desk(node)
    one.go("channels")
    page = one.page(ChannelsPage)
    page.sort("capacity")
    widths: list[float] = []
    monkeypatch.setattr(channel_cells, "paint_bar", lambda _painter, bar, _parts: widths.append(bar.width()))
    for row in range(page.model.rowCount()):
        cell(page, CAPACITY, row)
    assert len(widths) == page.model.rowCount()
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] == 48


def test_a_locked_output_counts_down_with_each_block(desk: Make) -> None:
    node = scenes.trouble()
    key = list(node.channels)[1]
    one = desk(node)
    one.show_channel(key)
    resolution = one.page(ChannelDetail).resolution
    one.until(lambda: "840 blocks" in words(resolution))
    assert f"from block {fmt.group(912_345 + 840)}" in words(resolution)
    node.submit(node.mine, 1)
    one.until(lambda: "839 blocks" in words(resolution))
    assert resolution.testAttribute(Qt.WidgetAttribute.WA_WState_Visible)


def test_without_coins_the_peer_is_chosen_first_and_the_deposit_comes_next(desk: Make) -> None:
    one = desk(scenes.new("mainnet"))
    one.go("channels")
    page = one.page(ChannelsPage)
    one.shell.open_channel("")
    dialog = one.dialog(OpenChannelDialog)
    one.until(lambda: len(dialog.choice.rows) == 3 and dialog.choice.rows[0].terms is not None)
    click(dialog.choice.rows[0].choose)
    assert not dialog._amount_row.isVisibleTo(dialog)
    assert "may be closed meanwhile" in dialog.plan_note.text()
    assert dialog.open_button.text() == "Deposit, then open"
    click(dialog.open_button)
    one.until(lambda: one.window.shell is not None and one.window.shell.current_key == "receive")
    asked = [call[1] for call in one.node.calls if call[0] == "plan_channel"]
    assert asked == [{"peer": f"{suggested_id(1)}@198.51.100.1:9735"}]
    one.go("overview")
    overview = one.page(OverviewPage)
    plan = overview.plan
    one.until(lambda: plan.address is not None and plan.address.isVisible())
    assert plan.address is not None
    assert plan.address.full == one.node.do_getunusedaddress()
    assert "Deposit to your address" in words(plan)
    assert [b for b in overview.findChildren(Button) if b.kind == "filled" and b.isVisible()] == [
        plan.deposit
    ]
    click(plan.deposit)
    assert one.window.shell is not None
    assert one.window.shell.current_key == "receive"
    one.go("channels")
    one.until(lambda: "Deposit to your address" in page.planned.text())
    one.node.submit(one.node.give_coins, 250_000)
    one.until(lambda: "has been seen" in page.planned.text())
    one.go("overview")
    assert "has been seen" in words(plan)
    click(plan.forget)
    one.until(lambda: not plan.isVisible())
    one.go("channels")
    assert not page.planned.isVisible()


def test_a_plan_is_forgotten_on_its_own_page_as_well(desk: Make) -> None:
    node = scenes.new("mainnet")
    node.do_plan_channel("02" * 33)
    one = desk(node)
    one.go("channels")
    page = one.page(ChannelsPage)
    assert page.planned.button is not None
    click(page.planned.button)
    one.until(lambda: not page.planned.isVisible())


def test_a_plan_that_came_to_nothing_says_so_on_overview(desk: Make) -> None:
    node = scenes.new("mainnet")
    node.status = replace(node.status, planned_channel="The planned channel was not opened. It is too small.")
    one = desk(node)
    plan = one.page(OverviewPage).plan
    assert plan.isVisible()
    assert "too small" in words(plan)
    assert not plan.deposit.isVisible()
    click(plan.channels)
    assert one.window.shell is not None
    assert one.window.shell.current_key == "channels"


def test_a_long_name_and_a_long_state_do_not_make_a_card_wider_than_its_page(typical: Desk) -> None:
    channel = typical.shell.bridge.snapshot.channels[0]
    card = ChannelCard(typical.shell.context, channel, channel.capacity_sat)
    typical.qtbot.addWidget(card)
    card.name.setText("A hub in the far north, where nights are long")
    card._pill.set("Waiting for a peer that has not been seen for long", "warning", "hourglass")
    parts = (card.name, card._pill)
    assert card.minimumSizeHint().width() < sum(part.sizeHint().width() for part in parts)
