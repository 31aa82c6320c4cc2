"""Fixtures for tests against real servers and peers: each test starts its own and ends them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.real.harness import LdkPeer, Regtest

HERE = Path(__file__).resolve().parent
NETWORKS: pytest.StashKey[list[Regtest]] = pytest.StashKey()
TIMEOUT_SECONDS = 300


class StartRegtest(Protocol):
    """`regtest(electrumx="2", send_wait=None, ...)`: the options of `harness.Regtest`."""

    def __call__(self, **options: Any) -> Regtest: ...


class StartLdkPeer(Protocol):
    """`ldk_peer(net, "alice", fund_sat=10_000_000, ...)`: the options of `harness.Regtest.ldk_peer`."""

    def __call__(self, net: Regtest, name: str, **options: Any) -> LdkPeer: ...


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever lives in this folder is marked `real`, and has more time than a unit test."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.real)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(TIMEOUT_SECONDS))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """A failed test shows what its servers and peers said last."""
    report = yield
    if report.failed and call.when == "call":
        for net in item.stash.get(NETWORKS, []):
            for name, tail in net.tails():
                report.sections.append((f"{name} ({net.directory})", tail))
    return report


@pytest.fixture
def regtest(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StartRegtest]:
    """Starts networks: a Bitcoin node with an Electrum server; ended after the test, whatever happened."""
    with ExitStack() as stack:
        started = request.node.stash.setdefault(NETWORKS, [])

        def start(**options: Any) -> Regtest:
            net = stack.enter_context(Regtest(tmp_path / f"net{len(started)}", **options))
            started.append(net)
            return net

        yield start


@pytest.fixture
def ldk_peer() -> StartLdkPeer:
    """Starts rust-lightning peers on a network, which ends them."""

    def start(net: Regtest, name: str, **options: Any) -> LdkPeer:
        return net.ldk_peer(name, **options)

    return start
