"""The map of the network: seen, searched, walked, and for everyone."""

from __future__ import annotations

import re
import time
from array import array
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
from PyQt6.QtCore import QPoint, QPointF, QRect, Qt
from PyQt6.QtGui import QPainter, QPixmap
from PyQt6.QtTest import QAbstractItemModelTester
from PyQt6.QtWidgets import QLabel, QListView
from pytestqt.qtbot import QtBot

from tests.gui import fake_map, scenes
from tests.gui.conftest import Desk
from tests.gui.fake_node import HUB, SHOP, FakeNode
from tests.gui.hands import click, double_click, drag, pinch, press, type_text, wheel
from wallet.gui import format as fmt
from wallet.gui.network import canvas as canvas_module
from wallet.gui.network import labels
from wallet.gui.network import picture as painting
from wallet.gui.network.camera import Camera
from wallet.gui.network.models import AttemptsModel, ChannelsOfNode, NodesModel
from wallet.gui.network.picture import Dots, Own, Picture
from wallet.gui.network.route import Drawn, drawn_attempt
from wallet.gui.pages.network import NetworkPage
from wallet.gui.pages.open_channel import OpenChannelDialog
from wallet.gui.widgets.basic import Button
from wallet.node.map_api import NetworkMap, RouteAttempt

MakeDesk = Callable[[FakeNode], Desk]


def opened(desk: Desk) -> NetworkPage:
    """The page with its map, painted."""
    desk.go("network")
    page = desk.page(NetworkPage)
    desk.until(lambda: page.network is not None and page.canvas.is_at_rest())
    return page


def with_map(network: NetworkMap, desk: MakeDesk, kind: str = "sandbox") -> tuple[Desk, NetworkPage]:
    node = scenes.typical(kind)
    node.network_made = network
    made = desk(node)
    return made, opened(made)


def found(page: NetworkPage) -> NetworkMap:
    assert page.network is not None
    return page.network


def drawn_on(page: NetworkPage) -> Drawn | None:
    return page.canvas.drawn


def is_painting(page: NetworkPage) -> bool:
    return page.canvas._painting is not None


def at(page: NetworkPage, node: int) -> QPoint:
    network = found(page)
    left, top = page.canvas.camera.to_view(network.x[node], network.y[node])
    return QPoint(round(left), round(top))


# --- the page ------------------------------------------------------------------------------


def test_the_sandbox_shows_hub_shop_and_us(desk: MakeDesk) -> None:
    made = desk(scenes.typical())
    page = opened(made)
    assert found(page).node_count == 3
    names = {label.text for label, _x, _y in page.canvas.placed}
    assert {"You", "Friendly hub", "Sandbox shop"} <= names
    assert page.canvas.own_node == found(page).node(made.node.status.node_id)


def test_a_click_on_a_node_opens_its_card_and_the_way_to_a_channel(desk: MakeDesk) -> None:
    made = desk(scenes.typical())
    page = opened(made)
    shop = found(page).node(SHOP)
    assert shop is not None
    click(page.canvas, at(page, shop))
    assert page.card.isVisible()
    assert page.card.title == "Sandbox shop"
    assert page.card.open_button is not None
    click(page.card.open_button)
    dialog = made.dialog(OpenChannelDialog)
    assert dialog.peer.text().startswith(SHOP)
    assert dialog.peer.text().endswith("@127.0.0.1:9735")
    dialog.reject()


@pytest.mark.parametrize("what", ["node", "channel"])
def test_capacities_are_told_in_the_chosen_unit_and_never_hidden(desk: MakeDesk, what: str) -> None:
    made = desk(scenes.typical())
    page = opened(made)
    shop = found(page).node(SHOP)
    assert shop is not None
    if what == "node":
        page.select_node(shop)
    else:
        page.select_channel(found(page).channels(shop)[0])

    def capacity() -> str:
        return next(
            label.text() for label in page.card.findChildren(QLabel) if label.text().endswith(fmt.unit())
        )

    assert capacity().endswith("\u202fsat")
    # Chosen on another page, while nobody looks at this one.
    made.go("settings")
    made.window.preferences.choose_unit("BTC")
    made.window.preferences.choose_hidden(True)
    made.go("network")
    assert re.fullmatch(r"\d+\.\d\d\u202f\d{3}\u202f\d{3}\u202fBTC", capacity())


def test_no_channel_is_offered_to_ourselves(desk: MakeDesk) -> None:
    made = desk(scenes.typical())
    page = opened(made)
    own = found(page).node(made.node.status.node_id)
    assert own is not None
    click(page.canvas, at(page, own))
    assert page.card.isVisible()
    assert page.card.open_button is None


def test_a_click_on_a_channel_opens_its_card(desk: MakeDesk) -> None:
    made = desk(scenes.typical())
    page = opened(made)
    network = found(page)
    hub, shop = network.node(HUB), network.node(SHOP)
    assert hub is not None
    assert shop is not None
    click(page.canvas, (at(page, hub) + at(page, shop)) / 2)
    assert page.canvas.selected_channel == network.channels_between(hub, shop)[0]
    buttons = [button.text() for button in page.card.findChildren(Button)]
    assert "Friendly hub" in buttons
    assert "Sandbox shop" in buttons


def test_a_click_beside_everything_closes_the_card(desk: MakeDesk) -> None:
    page = opened(desk(scenes.typical()))
    page.select_node(0)
    assert page.card.isVisible()
    click(page.canvas, QPoint(page.canvas.width() // 2, page.canvas.height() - 5))
    assert not page.card.isVisible()
    assert page.canvas.selected_node is None


def test_search_finds_by_name_and_enter_goes_there(desk: MakeDesk) -> None:
    _made, page = with_map(fake_map.grown(), desk)
    page.search.setFocus()
    type_text(page.search.field, "harbour 30")
    node = page.search.model.number(0)
    assert node is not None
    assert "harbour 30" in found(page).names[node]
    press(page.search.field, Qt.Key.Key_Return)
    assert page.canvas.selected_node == node
    assert page.card.isVisible()
    assert page.search.field.text() == ""


def test_search_finds_by_id_and_by_channel_id(desk: MakeDesk) -> None:
    _made, page = with_map(fake_map.grown(), desk)
    network = found(page)
    page.search.field.setText(network.node_id(17))
    assert page.search.model.number(0) == 17
    scid = network.scid[3]
    page.search.field.setText(f"{scid >> 40}x{scid >> 16 & 0xFFFFFF}x{scid & 0xFFFF}")
    assert page.canvas.selected_channel == 3
    page.search.field.setText("nobody is called so")
    assert page.search.model.rowCount() == 0
    assert "No node" in page.search.said.text()


def test_the_list_beside_the_picture_names_the_largest_nodes(desk: MakeDesk) -> None:
    _made, page = with_map(fake_map.grown(), desk)
    assert not page.search.list.isVisible()
    click(page.search.toggle)
    assert page.search.list.isVisible()
    network = found(page)
    assert [page.search.model.number(row) for row in range(5)] == network.by_size[:5]
    page.search.list.show_row(0)
    press(page.search.list, Qt.Key.Key_Down)
    press(page.search.list, Qt.Key.Key_Return)
    assert page.canvas.selected_node == network.by_size[1]


def test_control_f_goes_to_the_search(desk: MakeDesk) -> None:
    made, page = with_map(fake_map.grown(), desk)
    page.canvas.setFocus()
    press(page.canvas, Qt.Key.Key_F, Qt.KeyboardModifier.ControlModifier)
    made.until(page.search.field.hasFocus)


@pytest.mark.parametrize(("mode", "word"), [("fee", "10 to 100 ppm"), ("age", "under a month")])
def test_colours_follow_the_legend(mode: str, word: str, desk: MakeDesk) -> None:
    made, page = with_map(fake_map.grown(), desk)
    before = page.canvas.picture
    click(page.legend.modes.button(mode))
    made.until(lambda: page.canvas.is_at_rest() and page.canvas.picture is not before)
    assert page.canvas.picture is not None
    assert page.canvas.picture.mode == mode
    assert word in page.legend.words(mode)


def test_the_wheel_zooms_at_the_pointer_and_what_is_under_it_stays(desk: MakeDesk) -> None:
    _made, page = with_map(fake_map.grown(), desk)
    canvas = page.canvas
    before = canvas.camera.to_map(200, 300)
    wheel(canvas, QPoint(200, 300), 3)
    assert canvas.camera.to_map(200, 300) == pytest.approx(before)
    assert canvas.camera.zoom == pytest.approx(canvas_module.WHEEL_STEP**3)
    wheel(canvas, QPoint(200, 300), -1)
    assert canvas.camera.to_map(200, 300) == pytest.approx(before)
    assert canvas.camera.zoom == pytest.approx(canvas_module.WHEEL_STEP**2)


def test_two_fingers_zoom_where_they_are(desk: MakeDesk) -> None:
    _made, page = with_map(fake_map.grown(), desk)
    canvas = page.canvas
    before = canvas.camera.to_map(200, 300)
    pinch(canvas, QPoint(200, 300), 0.5)
    assert canvas.camera.zoom == pytest.approx(1.5)
    assert canvas.camera.to_map(200, 300) == pytest.approx(before)


def test_the_map_is_dragged_and_that_chooses_nothing(desk: MakeDesk) -> None:
    made, page = with_map(fake_map.grown(), desk)
    canvas = page.canvas
    wheel(canvas, QPoint(400, 300), 6)
    made.until(canvas.is_at_rest)
    chosen: list[object] = []
    for told in (canvas.node_chosen, canvas.channel_chosen):
        told.connect(chosen.append)
    canvas.nothing_chosen.connect(lambda: chosen.append(None))
    before, place = canvas.picture, canvas.camera.to_map(300, 300)
    drag(canvas, QPoint(300, 300), QPoint(380, 340))
    assert canvas.camera.to_map(380, 340) == pytest.approx(place)
    assert chosen == []
    made.until(lambda: canvas.is_at_rest() and canvas.picture is not before)
    # A hand that trembles still clicks.
    drag(canvas, QPoint(300, 300), QPoint(301, 301))
    assert len(chosen) == 1


def test_a_double_click_goes_nearer(desk: MakeDesk) -> None:
    made, page = with_map(fake_map.grown(), desk)
    canvas = page.canvas
    before = canvas.camera.to_map(250, 250)
    double_click(canvas, QPoint(250, 250))
    made.until(lambda: canvas.camera.zoom == pytest.approx(2.0))
    assert canvas.camera.to_map(250, 250) == pytest.approx(before)


def test_keys_move_and_zoom_the_map(desk: MakeDesk) -> None:
    _made, page = with_map(fake_map.grown(), desk)
    canvas = page.canvas
    press(canvas, Qt.Key.Key_Plus)
    assert canvas.camera.zoom > 1.2
    x = canvas.camera.x
    press(canvas, Qt.Key.Key_Right)
    assert canvas.camera.x > x
    press(canvas, Qt.Key.Key_0)
    assert canvas.camera == Camera.fitting(canvas.width(), canvas.height())


def test_an_empty_graph_is_a_sentence_and_a_button(desk: MakeDesk) -> None:
    node = scenes.new()
    node.network_made = fake_map.made([], [], {})
    made = desk(node)
    made.go("network")
    page = made.page(NetworkPage)
    made.until(lambda: any("open" in b.text().lower() for b in page.message.findChildren(Button)))
    assert page.network is None
    assert page.stack.currentWidget() is page.message


def test_a_map_that_cannot_be_made_is_a_sentence_and_can_be_tried_again(desk: MakeDesk) -> None:
    node = scenes.typical()
    node.map_fails = "The map of the network could not be made."
    made = desk(node)
    made.go("network")
    page = made.page(NetworkPage)
    made.until(lambda: [b.text() for b in page.message.findChildren(Button)] == ["Try again"])
    node.map_fails = ""
    click(page.message.findChildren(Button)[0])
    made.until(lambda: page.network is not None)


def test_our_channels_lead_from_where_we_are_although_nobody_announced_us(desk: MakeDesk) -> None:
    network = fake_map.grown()
    node = scenes.typical("mainnet")
    for number, (key, channel) in enumerate(list(node.channels.items())):
        node.channels[key] = replace(channel, peer_id=network.node_id(number))
    node.network_made = network
    page = opened(desk(node))
    assert page.canvas.own_node is None
    assert page.canvas.own_place is not None
    assert len(page.canvas.own_peers) == len(node.channels)
    assert page.canvas.placed[0][0].text == "You"


# --- the ways of a payment -------------------------------------------------------------------


def attempts(node: FakeNode) -> list[RouteAttempt]:
    own = node.status.node_id
    return [
        RouteAttempt(nodes=(own, HUB, SHOP), failed_at=1, reason="The hub could not reach the shop"),
        RouteAttempt(nodes=(own, HUB, SHOP), arrived=True),
    ]


def failed_hop(page: NetworkPage) -> int | None:
    drawn = drawn_on(page)
    assert drawn is not None
    return drawn.failed_at


def test_attempts_are_drawn_and_arrow_keys_walk_them(desk: MakeDesk) -> None:
    made = desk(scenes.typical())
    page = opened(made)
    made.shell.show_attempts(attempts(made.node))
    assert page.attempts.isVisible()
    assert failed_hop(page) is None
    press(page.canvas, Qt.Key.Key_Left)
    assert failed_hop(page) == 1
    assert "could not reach the shop" in page.attempts.model.texts(0)[1]
    press(page.attempts.list, Qt.Key.Key_Down)
    assert failed_hop(page) is None
    press(page.canvas, Qt.Key.Key_Escape)
    assert drawn_on(page) is None
    assert not page.attempts.isVisible()


def test_attempts_that_come_before_the_map_are_drawn_when_it_is_there(desk: MakeDesk) -> None:
    made = desk(scenes.typical())
    made.shell.show_attempts(attempts(made.node))
    page = made.page(NetworkPage)
    made.until(lambda: page.canvas.drawn is not None)
    assert page.attempts.isVisible()


def test_the_attempts_are_the_last_that_were_asked_for(desk: MakeDesk) -> None:
    made = desk(scenes.typical())
    page = opened(made)
    page.show_attempts(attempts(made.node))
    page.show_attempts(attempts(made.node)[:1])
    assert page.attempts.model.rowCount() == 1
    page.select_node(0)
    assert page.canvas.drawn is None


def test_a_node_that_is_not_on_the_map_stands_between_its_neighbours() -> None:
    network = fake_map.grown()
    ids = [network.node_id(0), "03" + "ee" * 32, network.node_id(1)]
    drawn = drawn_attempt(network, RouteAttempt(nodes=tuple(ids)), "", None)
    assert drawn.nodes == (0, None, 1)
    assert drawn.places[1][0] == pytest.approx((network.x[0] + network.x[1]) / 2)


def test_an_attempt_that_failed_nobody_knows_where_is_not_drawn_as_under_way() -> None:
    network = fake_map.grown()
    ids = (network.node_id(0), network.node_id(1))
    assert drawn_attempt(network, RouteAttempt(nodes=ids, reason="It timed out"), "", None).lost
    assert not drawn_attempt(network, RouteAttempt(nodes=ids), "", None).lost
    assert not drawn_attempt(network, RouteAttempt(nodes=ids, arrived=True), "", None).lost


# --- painting --------------------------------------------------------------------------------


def painted(network: NetworkMap, camera: Camera) -> Picture:
    made = Picture(network, camera, 1.0, "capacity", Own(), Dots(1.0))
    for _step in made.steps():
        pass
    return made


def test_no_call_draws_more_than_two_thousand_edges_and_the_clip_is_set(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, bool]] = []
    draw = painting._draw_lines

    def watched(painter: QPainter, lines: array[float]) -> None:
        seen.append((len(lines) // 4, painter.hasClipping()))
        draw(painter, lines)

    monkeypatch.setattr(painting, "_draw_lines", watched)
    network = fake_map.grown(3_000, 9_000)
    picture = painted(network, Camera.fitting(800, 600))
    assert sum(count for count, _clipped in seen) == len(picture.channels) == painting.FAR_LINKS
    assert all(count <= 2_000 and clipped for count, clipped in seen)
    assert painting.SLICE <= 2_000


def test_from_afar_the_strongest_links_are_drawn_and_near_all_of_those_in_view(qtbot: QtBot) -> None:
    network = fake_map.grown(3_000, 9_000)
    assert list(painted(network, Camera.fitting(800, 600)).channels) == list(range(painting.FAR_LINKS))
    node = network.by_size[-1]
    near = Camera.fitting(800, 600).at(network.x[node], network.y[node], 40)
    picture = painted(network, near)
    assert node in picture.nodes
    assert len(picture.nodes) < network.node_count // 2
    theirs = {channel for one in picture.nodes for channel in network.channels(one)}
    assert set(picture.channels) == theirs


def test_new_input_throws_the_picture_away_that_is_being_painted(desk: MakeDesk) -> None:
    made, page = with_map(fake_map.grown(), desk)
    canvas = page.canvas
    canvas.repaint_all()
    canvas._begin()
    assert is_painting(page)
    canvas.look(canvas.camera.zoomed(1.5, 100, 100))
    assert not is_painting(page)
    made.until(canvas.is_at_rest)
    assert canvas.picture is not None
    assert canvas.picture.camera == canvas.camera


def test_a_turn_ends_with_the_step_or_the_name_that_uses_its_time_up(
    desk: MakeDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, page = with_map(fake_map.grown(), desk)
    canvas = page.canvas
    drawn: list[str] = []
    placed: list[int] = []
    draw, place = labels._draw, labels.place

    def drawing(text: str, token: str, ratio: float) -> QPixmap:
        drawn.append(text)
        return draw(text, token, ratio)

    def placing(*args: Any) -> list[labels.Label]:
        placed.append(1)
        return place(*args)

    # A clock on which everything takes longer than a turn may.
    clock = SimpleNamespace(perf_counter=count().__next__, thread_time=time.thread_time)
    monkeypatch.setattr(canvas_module, "time", clock)
    monkeypatch.setattr(canvas_module, "BUDGET_SECONDS", 1.5)
    monkeypatch.setattr(labels, "_draw", drawing)
    canvas._begin()
    canvas._slicer.stop()
    labels.forget()
    monkeypatch.setattr(labels, "place", placing)
    while is_painting(page):
        canvas._slice()
    # The picture is finished; where its names go is the next turn's work, and then each has one of its own.
    assert not placed
    assert not canvas.is_at_rest()
    canvas._slice()
    assert placed
    texts = {label.text for label, _left, _top in canvas.placed}
    assert len(texts) > 1
    monkeypatch.setattr(canvas_module, "BUDGET_SECONDS", 0.5)
    for number in range(len(texts)):
        assert len(drawn) == number
        assert not canvas.is_at_rest()
        canvas._slice()
    assert len(drawn) == len(texts)
    assert canvas.is_at_rest()
    monkeypatch.undo()
    made.until(canvas.is_at_rest)


def test_panning_within_the_margin_keeps_the_picture_until_it_rests(desk: MakeDesk) -> None:
    made, page = with_map(fake_map.grown(), desk)
    canvas = page.canvas
    before = canvas.picture
    canvas.look(canvas.camera.panned(20, 10))
    canvas.grab()
    assert canvas.picture is before
    assert not is_painting(page)
    made.until(canvas.is_at_rest)
    assert canvas.picture is not before


def test_nodes_of_unknown_capacity_are_hollow(qtbot: QtBot) -> None:
    """The middle of such a dot has the colour of the ground."""
    ids = [fake_map.node_id(number) for number in (1, 2)]
    network = fake_map.made(ids, [(1 << 40, 0, 1, -1)], {})
    picture = painted(network, Camera.fitting(400, 400))
    left, top = picture.camera.to_view(network.x[0], network.y[0])
    image = picture.image
    middle = image.pixelColor(round(left) + picture.margin[0], round(top) + picture.margin[1])
    assert middle.name() == image.pixelColor(1, 1).name()


# --- names -----------------------------------------------------------------------------------


def test_names_never_overlap(desk: MakeDesk) -> None:
    _made, page = with_map(fake_map.grown(), desk)
    canvas = page.canvas
    for factor in (1.0, 1.5, 2.0, 2.0):
        canvas.look(canvas.camera.zoomed(factor, 400, 300))
        placed = [label for label, _x, _y in canvas.placed]
        assert len(placed) > 1
        for number, one in enumerate(placed):
            assert not any(labels._overlap(one, other) for other in placed[:number])


def test_no_name_lies_under_a_panel(desk: MakeDesk) -> None:
    made, page = with_map(fake_map.grown(2_000, 6_000), desk)
    made.window.resize(800, 600)
    made.until(lambda: page.canvas.is_at_rest() and page.width() < 800)

    def under() -> list[str]:
        panels = (page.search, page.legend, page.zoom, page.card)
        places = [panel.geometry() for panel in panels if panel.isVisible()]
        return [
            label.text
            for label, _x, _y in page.canvas.placed
            if any(
                place.intersects(
                    QRect(round(label.left), round(label.top), round(label.width), round(label.height))
                )
                for place in places
            )
        ]

    made.until(lambda: bool(page.canvas.placed) and not under())
    before = len(page.canvas.placed)
    assert before > 5
    # Without the panels the same view has names where they lie.
    page.canvas.cover(())
    made.until(lambda: bool(under()))


def test_more_names_appear_as_there_is_room(qtbot: QtBot) -> None:
    crowd = [labels.Wish(f"node {n}", 100 + n * 2.0, 100.0, 2.0) for n in range(40)]
    spread = [labels.Wish(f"node {n}", 100 + n * 20.0, 100.0 + n * 20, 2.0) for n in range(40)]
    assert len(labels.place(crowd, 1_000, 1_000)) < len(labels.place(spread, 1_000, 1_000))
    assert labels.place(crowd, 1_000, 1_000)[0].text == "node 0"


def test_a_name_that_would_be_cut_off_is_left_away(qtbot: QtBot) -> None:
    assert labels.place([labels.Wish("A long name of a node", 5, 5, 2)], 60, 10) == []


def test_names_of_others_are_shown_as_they_are_written(desk: MakeDesk) -> None:
    _made, page = with_map(fake_map.grown(), desk)
    script = next(n for n, name in enumerate(found(page).names) if "<script>" in name)
    page.select_node(script)
    assert page.card.title == "<script>alert(1)</script>"


# --- lists -----------------------------------------------------------------------------------


def test_the_lists_are_sound(qtbot: QtBot) -> None:
    network = fake_map.grown()
    nodes, channels, tried = NodesModel(), ChannelsOfNode(), AttemptsModel()
    testers = [
        QAbstractItemModelTester(model, QAbstractItemModelTester.FailureReportingMode.Fatal)
        for model in (nodes, channels, tried)
    ]
    nodes.show_nodes(network, network.by_size[:20])
    nodes.show_nodes(network, network.search("harbour"))
    channels.show_node(network, network.by_size[0])
    tried.show_attempts([RouteAttempt(nodes=("a", "b"))], [("a", "b")])
    tried.show_attempts([], [])
    assert (nodes.rowCount() > 0, channels.rowCount() > 0, tried.rowCount()) == (True, True, 0)
    assert all(testers)


def test_the_channels_of_a_node_lead_to_theirs(desk: MakeDesk) -> None:
    _made, page = with_map(fake_map.grown(), desk)
    page.select_node(found(page).by_size[0])
    assert isinstance(page.card.list, QListView)
    page.card.list.picked.emit(page.card.channels.number(0))
    assert page.canvas.selected_channel == page.card.channels.number(0)


# --- the camera ------------------------------------------------------------------------------


def test_the_camera_keeps_to_the_map() -> None:
    camera = Camera.fitting(800, 600)
    assert camera.panned(10_000, -10_000).x == 0.0
    assert camera.zoomed(1e9, 0, 0).zoom == pytest.approx(90)
    assert camera.zoomed(1e-9, 0, 0).zoom == pytest.approx(0.6)
    assert camera.resized(400, 300).zoom == pytest.approx(1)


def test_places_are_shown_beside_what_covers_the_right() -> None:
    places = [(0.2, 0.3), (0.8, 0.6)]
    camera = Camera.fitting(1_000, 600).around(places, inset=340)
    seen = [camera.to_view(*place) for place in places]
    assert all(0 < left < 660 and 0 < top < 600 for left, top in seen)
    assert QPointF(*camera.to_view(*camera.to_map(10, 20))) == QPointF(10, 20)
