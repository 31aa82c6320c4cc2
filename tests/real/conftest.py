"""Fixtures for tests against real servers and peers: each test starts its own and ends them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.real.harness import LdkPeer, Regtest
from tests.real.leyden import LeydenDaemon
from tests.real.lightning import Pair, Wallet

# What is shown of each log: a run of everything keeps little of what a failed test says, and the failure is the point.
LINES, CI_LINES, LINE_LENGTH = 40, 8, 300
HERE = Path(__file__).resolve().parent
NETWORKS: pytest.StashKey[list[Regtest]] = pytest.StashKey()
DAEMONS: pytest.StashKey[list[LeydenDaemon]] = pytest.StashKey()
PAIRS: pytest.StashKey[list[Pair]] = pytest.StashKey()
TIMEOUT_SECONDS = 300


class StartRegtest(Protocol):
    """`regtest(electrumx="2", send_wait=None, ...)`: the options of `harness.Regtest`."""

    def __call__(self, **options: Any) -> Regtest: ...


class StartLdkPeer(Protocol):
    """`ldk_peer(net, "alice", fund_sat=10_000_000, ...)`: the options of `harness.Regtest.ldk_peer`."""

    def __call__(self, net: Regtest, name: str, **options: Any) -> LdkPeer: ...


class StartPair(Protocol):
    """`pair(anchors=False, persistent=True, ...)`: us and a peer, both with coins; options are the peer's."""

    def __call__(
        self,
        *,
        anchors: bool = True,
        fund_us_sat: int = 20_000_000,
        fund_them_sat: int = 30_000_000,
        **options: Any,
    ) -> Pair: ...


class StartLeyden(Protocol):
    """`leyden(net, "leyden", "--forward", ...)`: the options of `leyden.LeydenDaemon`, started and synchronised."""

    def __call__(
        self, net: Regtest, name: str = "leyden", *extra_args: str, **options: Any
    ) -> LeydenDaemon: ...


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
        lines = CI_LINES if "CI" in os.environ else LINES
        told: list[tuple[str, str]] = []
        for net in item.stash.get(NETWORKS, []):
            told += [(f"{name} ({net.directory})", tail) for name, tail in net.tails(lines)]
        for daemon in item.stash.get(DAEMONS, []):
            told += [(f"{name} ({daemon.directory})", tail) for name, tail in daemon.tails(lines)]
        for pair in item.stash.get(PAIRS, []):
            told += pair.us.tails(lines)
        report.sections += [
            (name, "\n".join(line[:LINE_LENGTH] for line in tail.splitlines())) for name, tail in told
        ]
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


@pytest.fixture
def pair(request: pytest.FixtureRequest, regtest: StartRegtest) -> Iterator[StartPair]:
    """Starts our wallet and a rust-lightning node with coins; our log must hold no fault at the end."""
    pairs = request.node.stash.setdefault(PAIRS, [])
    with ExitStack() as stack:

        def start(
            *,
            anchors: bool = True,
            fund_us_sat: int = 20_000_000,
            fund_them_sat: int = 30_000_000,
            **options: Any,
        ) -> Pair:
            net = regtest()
            them = net.ldk_peer("alice", no_anchors=not anchors, **options)
            them.fund(fund_them_sat)
            us = Wallet(net)
            stack.callback(us.stop)
            us.start()
            started = Pair(net, us, them)
            stack.callback(started.close)
            pairs.append(started)
            started.fund(fund_us_sat)
            return started

        yield start
        for started in pairs:
            started.check_log()


@pytest.fixture
def leyden(request: pytest.FixtureRequest, regtest: StartRegtest, tmp_path: Path) -> Iterator[StartLeyden]:
    """Starts Leyden's daemon on a network; ended after the test, before the network is."""
    with ExitStack() as stack:
        started = request.node.stash.setdefault(DAEMONS, [])

        def start(net: Regtest, name: str = "leyden", *extra_args: str, **options: Any) -> LeydenDaemon:
            daemon = LeydenDaemon(net, tmp_path, name, extra_args, **options)
            started.append(daemon)
            stack.callback(daemon.stop)
            daemon.start()
            return daemon

        yield start
