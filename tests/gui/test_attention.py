"""What needs attention on the Overview: nothing is told without a button that leads to where it is mended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from PyQt6.QtWidgets import QApplication

from tests.gui import scenes
from tests.gui.conftest import Desk
from tests.gui.fake_node import FakeNode
from tests.gui.hands import click
from wallet.gui.describe import CLOSED
from wallet.gui.pages.channel import ChannelDetail
from wallet.gui.pages.channel_request import ChannelRequestDialog
from wallet.gui.pages.overview import Attention, OverviewPage, attention
from wallet.gui.pages.settings import SettingsPage
from wallet.gui.widgets.notices import Banner
from wallet.node.api import ChannelPhase, LockedCoin, Problem, ProblemKind

Make = Callable[[FakeNode], Desk]
TELLING = {ChannelPhase.PEER_OFFLINE, ChannelPhase.FORCE_CLOSING}


def with_problems(*kinds: ProblemKind) -> FakeNode:
    node = scenes.typical(channels=1)
    problems = tuple(Problem(kind=kind, text=f"The {kind.value} need you.") for kind in kinds)
    node.status = replace(node.status, problem=problems[0].text, problems=problems)
    return node


def told(node: FakeNode) -> list[Attention]:
    found = attention(node.snapshot())
    for item in found:
        assert item.sentence
        assert item.verb
        assert bool(item.place) != bool(item.channel_id)
    return found


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        pytest.param(ProblemKind.FILE, "quit", id="file"),
        pytest.param(ProblemKind.BACKUP, "settings/backup", id="backup"),
        pytest.param(ProblemKind.SERVERS, "settings/servers", id="servers"),
        pytest.param(ProblemKind.COINS, "receive", id="coins"),
        pytest.param(ProblemKind.REQUESTS, "requests", id="requests"),
    ],
)
def test_each_problem_has_its_button(kind: ProblemKind, place: str) -> None:
    node = with_problems(kind)
    [item] = told(node)
    assert (item.sentence, item.place) == (f"The {kind.value} need you.", place)
    node.stop()


def test_all_problems_are_told_and_what_was_restored_above_every_page() -> None:
    node = with_problems(*ProblemKind)
    assert len(told(node)) == len(ProblemKind) - 1
    node.stop()


@pytest.mark.parametrize("phase", [pytest.param(phase, id=phase.value) for phase in ChannelPhase])
@pytest.mark.parametrize("held", [pytest.param(True, id="held"), pytest.param(False, id="own")])
def test_a_channel_in_trouble_leads_to_its_page(phase: ChannelPhase, held: bool) -> None:
    node = scenes.typical(channels=1)
    [key] = node.channels
    node.channels[key] = replace(node.channels[key], phase=phase, held=held)
    found = told(node)
    if phase in TELLING or (held and phase not in CLOSED):
        assert [item.channel_id for item in found] == [key]
    else:
        assert found == []
    node.stop()


@pytest.mark.parametrize("known", [pytest.param(True, id="known channel"), pytest.param(False, id="unknown")])
def test_coins_that_come_home_lead_to_where_they_come_from(known: bool) -> None:
    node = scenes.typical(channels=1)
    [key] = node.channels
    channel_id = key if known else None
    node.locked = (LockedCoin(amount_sat=5, reason="why", until_height=None, channel_id=channel_id),)
    [item] = told(node)
    assert (item.channel_id, item.place) == ((key, "") if known else ("", "recovery"))
    node.stop()


def pressed(opened: Desk) -> None:
    """The one button of what needs attention."""
    page = opened.page(OverviewPage)
    opened.until(lambda: len(banners(page)) == 1)
    [banner] = banners(page)
    assert banner.button is not None
    click(banner.button)


def banners(page: OverviewPage) -> list[Banner]:
    return [banner for banner in page.findChildren(Banner) if banner.isVisible()]


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        pytest.param(ProblemKind.BACKUP, "backup", id="backup"),
        pytest.param(ProblemKind.SERVERS, "servers", id="servers"),
    ],
)
def test_the_button_leads_into_the_section_that_mends(desk: Make, kind: ProblemKind, name: str) -> None:
    opened = desk(with_problems(kind))
    pressed(opened)
    assert opened.shell.current_key == "settings"
    page = opened.page(SettingsPage)
    opened.until(lambda: page.is_whole)
    section = {"backup": page.backup, "servers": page.servers}[name]
    opened.until(lambda: section.isAncestorOf(QApplication.focusWidget() or page))


def test_coins_that_are_missing_lead_to_an_address(desk: Make) -> None:
    opened = desk(with_problems(ProblemKind.COINS))
    pressed(opened)
    assert opened.shell.current_key == "receive"


def test_a_wallet_that_cannot_be_written_is_quit(desk: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = desk(with_problems(ProblemKind.FILE))
    ended: list[bool] = []
    monkeypatch.setattr(opened.window, "quit", lambda: ended.append(True))
    pressed(opened)
    assert ended == [True]


@pytest.mark.parametrize("choice", ["ask", "stay"])
def test_a_wallet_that_cannot_be_written_is_not_asked_to_stay(desk: Make, choice: str) -> None:
    """It watches nothing any more: to put the window away would look as if it did."""
    window = desk(with_problems(ProblemKind.FILE)).window
    window.asks_before_closing = True
    window.preferences.choose_closing(choice)
    window.close()
    assert not window.isVisible()
    assert not window.isMinimized()


def test_a_channel_that_a_peer_wants_is_asked_about_again(desk: Make) -> None:
    node = scenes.typical(channels=1)
    opened = desk(node)
    node.ask_for_channel(500_000)
    opened.until(lambda: opened.window.findChild(ChannelRequestDialog) is not None)
    opened.dialog(ChannelRequestDialog).reject()
    opened.until(lambda: opened.window.findChild(ChannelRequestDialog) is None)
    pressed(opened)
    opened.until(lambda: opened.window.findChild(ChannelRequestDialog) is not None)
    opened.dialog(ChannelRequestDialog).reject()


def test_a_channel_whose_peer_is_gone_is_shown(desk: Make) -> None:
    node = scenes.typical(channels=1)
    [key] = node.channels
    node.channels[key] = replace(node.channels[key], phase=ChannelPhase.PEER_OFFLINE)
    opened = desk(node)
    pressed(opened)
    opened.until(lambda: opened.window.findChild(ChannelDetail) is not None)


@pytest.mark.parametrize(
    ("waits", "button"),
    [
        pytest.param(True, "deposit", id="waits for a deposit"),
        pytest.param(False, "channels", id="came to nothing"),
    ],
)
def test_a_planned_channel_has_its_button(desk: Make, waits: bool, button: str) -> None:
    node = scenes.new("mainnet")
    node.status = replace(node.status, planned_channel="A plan.", plan_is_waiting=waits)
    opened = desk(node)
    page = opened.page(OverviewPage)
    opened.until(page.plan.isVisible)
    assert getattr(page.plan, button).isVisible()
