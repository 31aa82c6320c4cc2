"""The worlds of the functional tests: made for a test, and looked through at its end."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator

import pytest

from tests.functional.joined import World, WorldMaker

MAKER = pytest.StashKey[WorldMaker]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure names the styles of delivery with which it can be repeated."""
    report = yield
    maker = item.stash.get(MAKER, None)
    if maker is not None and report.failed:
        maker.failed = True
        report.sections.append(("chain delivery", maker.how_to_repeat()))
    return report


@pytest.fixture
def make_world(request: pytest.FixtureRequest) -> Iterator[WorldMaker]:
    """For tests that need a world again and again: each is looked through before the next is made."""
    maker = WorldMaker(
        request.node.nodeid, os.environ.get("LEYDEN_STYLE", ""), os.environ.get("LEYDEN_STYLE_SEED", "")
    )
    request.node.stash[MAKER] = maker
    yield maker
    if not maker.failed:
        maker.look_through()


@pytest.fixture
def world(make_world: WorldMaker) -> World:
    return make_world()
