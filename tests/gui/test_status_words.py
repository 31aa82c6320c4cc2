"""What the status bar says of the graph, how far its sync is, then how old it is; and of a rate that is old."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.gui import scenes
from wallet.gui import format as fmt
from wallet.gui.widgets.statusbar import StatusItem, status_items
from wallet.node.api import FiatView, GraphSync, GraphSyncState

NOW_AT = 1_800_000_000


def graph_item(monkeypatch: pytest.MonkeyPatch, sync: GraphSync, updated_at: int | None) -> StatusItem | None:
    monkeypatch.setattr(fmt, "now", lambda: NOW_AT)
    snapshot = scenes.typical().snapshot()
    status = replace(snapshot.status, graph_sync=sync, graph_updated_at=updated_at)
    items = status_items(replace(snapshot, status=status))
    return next((item for item in items if item.key == "graph"), None)


@pytest.mark.parametrize(
    ("passed_seconds", "words"),
    [
        (-30, "Graph is new"),
        (59, "Graph is new"),
        (60, "Graph 1 minute old"),
        (4 * 60 + 59, "Graph 4 minutes old"),
        (3_599, "Graph 59 minutes old"),
        (3_600, "Graph 1 hour old"),
        (47 * 3_600, "Graph 47 hours old"),
        (5 * 86_400, "Graph 5 days old"),
    ],
)
@pytest.mark.parametrize("state", [GraphSyncState.DONE, GraphSyncState.NOT_STARTED])
def test_a_graph_that_rests_tells_its_age(
    monkeypatch: pytest.MonkeyPatch, state: GraphSyncState, passed_seconds: int, words: str
) -> None:
    item = graph_item(monkeypatch, GraphSync(state=state), NOW_AT - passed_seconds)
    assert item is not None
    assert item.text == words


@pytest.mark.parametrize(
    ("sync", "words"),
    [
        (GraphSync(state=GraphSyncState.ASKING_RANGES), "Graph: asking for channels"),
        (
            GraphSync(state=GraphSyncState.CHANNELS, known_channels=12_400, listed_channels=48_000),
            f"Graph: {fmt.group(12_400)} of {fmt.group(48_000)} channels",
        ),
        (
            GraphSync(state=GraphSyncState.SIGNATURES, signatures_waiting=4_096),
            f"Graph: {fmt.group(4_096)} signatures to check",
        ),
        (GraphSync(state=GraphSyncState.SIGNATURES, signatures_waiting=1), "Graph: 1 signature to check"),
        (GraphSync(state=GraphSyncState.SIGNATURES), "Graph: checking channels"),
    ],
    ids=["ranges", "channels", "signatures", "one signature", "look-ups"],
)
@pytest.mark.parametrize("updated_at", [None, NOW_AT - 60])
def test_a_sync_tells_how_far_it_is_and_that_payments_need_not_wait(
    monkeypatch: pytest.MonkeyPatch, sync: GraphSync, words: str, updated_at: int | None
) -> None:
    item = graph_item(monkeypatch, sync, updated_at)
    assert item is not None
    assert item.text == words
    assert "Payments find their way with what is known by now." in item.lines
    assert not item.trouble


def test_where_there_is_no_graph_nothing_is_said_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert graph_item(monkeypatch, GraphSync(), None) is None


@pytest.mark.parametrize(
    ("passed_seconds", "words"),
    [
        (0, ""),
        (3_599, ""),
        (3_600, "EUR rate: 1 hour ago"),
        (5 * 3_600, "EUR rate: 5 hours ago"),
        # The clock was set back since.
        (-86_400, f"EUR rate: {fmt.date_time(NOW_AT + 86_400)}"),
    ],
)
def test_a_rate_that_is_not_of_now_says_from_when_it_is(
    monkeypatch: pytest.MonkeyPatch, passed_seconds: int, words: str
) -> None:
    monkeypatch.setattr(fmt, "now", lambda: NOW_AT)
    view = FiatView(
        currency="EUR",
        rate_hundredths=6_000_000,
        at=NOW_AT - passed_seconds,
        source="a page",
        problem="It does not answer.",
        days={},
    )
    snapshot = scenes.typical().snapshot()
    items = status_items(replace(snapshot, status=replace(snapshot.status, fiat=view)))
    found = [item for item in items if item.key == "rate"]
    assert [item.text for item in found] == ([words] if words else [])
    assert all(item.trouble and "says a page" in item.lines[0] for item in found)
    assert all(item.lines[1] == "It does not answer." for item in found)


def test_without_a_currency_or_a_rate_nothing_is_said_of_it() -> None:
    snapshot = scenes.typical().snapshot()
    asking = FiatView(currency="EUR", rate_hundredths=0, at=0, source="a page", problem="", days={})
    for view in (None, asking):
        items = status_items(replace(snapshot, status=replace(snapshot.status, fiat=view)))
        assert "rate" not in {item.key for item in items}
