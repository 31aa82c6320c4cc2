"""Real wallets and the practice wallet behind one face: one is open at a time, and a reset spares the real ones."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from typing import Any, cast

import pytest

from wallet.node.api import CommandError, WalletHost, WalletInfo
from wallet.node.options import NodeOptions
from wallet.sandbox.every import EveryHost

TIMEOUT_SECONDS = 60


class Half:
    """A host that writes down what it is asked."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self.log = log
        self.refuses = False
        self.answer: Future[Any] | None = None

    def wallets(self, network: str) -> list[WalletInfo]:
        return [info(network)]

    def open(self, one: WalletInfo, password: str) -> Future[Any]:
        self.log.append(f"{self.name} opens {one.network}")
        if self.answer is not None:
            return self.answer
        answer: Future[Any] = Future()
        if self.refuses:
            answer.set_exception(CommandError("The password is wrong."))
        else:
            answer.set_result(f"{self.name} {password}")
        return answer

    def close(self) -> Future[None]:
        self.log.append(f"{self.name} closes")
        answer: Future[None] = Future()
        answer.set_result(None)
        return answer


def info(network: str) -> WalletInfo:
    return WalletInfo(name="One", network=network, path=Path("/nowhere"), encrypted=False)


class World:
    def __init__(self, folder: Path) -> None:
        self.log: list[str] = []
        self.real, self.play = Half("real", self.log), Half("play", self.log)
        options = NodeOptions(network_name="mainnet", root=folder)
        # As much of a host as is asked.
        real, play = cast("WalletHost", self.real), cast("WalletHost", self.play)
        self.host = EveryHost(
            options, real=lambda _options: real, play=lambda _options: play, check=self._check
        )

    def _check(self, options: NodeOptions, password: str) -> None:
        if password == "mistyped":
            raise CommandError("The password does not open it.")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_what_is_open_is_closed_before_one_of_the_other_kind(world: World) -> None:
    for network, password, answer in (
        ("mainnet", "a", "real a"),
        ("signet", "b", "real b"),
        ("sandbox", "c", "play c"),
    ):
        assert str(world.host.open(info(network), password).result(TIMEOUT_SECONDS)) == answer
    world.host.close().result(TIMEOUT_SECONDS)
    world.host.close().result(TIMEOUT_SECONDS)
    assert world.log == [
        "real opens mainnet",
        "real opens signet",
        "real closes",
        "play opens sandbox",
        "play closes",
    ]


def test_a_refusal_is_passed_on(world: World) -> None:
    world.host.open(info("mainnet"), "a").result(TIMEOUT_SECONDS)
    world.play.refuses = True
    with pytest.raises(CommandError, match="wrong"):
        world.host.open(info("sandbox"), "no").result(TIMEOUT_SECONDS)


def test_a_mistyped_password_closes_nothing(world: World) -> None:
    world.host.open(info("mainnet"), "a").result(TIMEOUT_SECONDS)
    with pytest.raises(CommandError, match="does not open"):
        world.host.open(info("sandbox"), "mistyped").result(TIMEOUT_SECONDS)
    world.host.close().result(TIMEOUT_SECONDS)
    assert world.log == ["real opens mainnet", "real closes"]


def test_wallets_that_are_asked_for_at_once_are_opened_one_after_the_other(world: World) -> None:
    """Nor does closing overtake them."""
    slow: Future[Any] = Future()
    world.real.answer = slow
    first = world.host.open(info("mainnet"), "a")
    second = world.host.open(info("sandbox"), "b")
    third = world.host.open(info("signet"), "c")
    closing = world.host.close()
    assert world.log == ["real opens mainnet"]
    world.real.answer = None
    slow.set_result("real a")
    closing.result(TIMEOUT_SECONDS)
    assert [str(future.result(TIMEOUT_SECONDS)) for future in (first, second, third)] == [
        "real a",
        "play b",
        "real c",
    ]
    assert world.log == [
        "real opens mainnet",
        "real closes",
        "play opens sandbox",
        "play closes",
        "real opens signet",
        "real closes",
    ]


def test_each_network_is_asked_of_its_own_half(world: World) -> None:
    assert world.host.wallets("sandbox")[0].network == "sandbox"
    assert world.host.wallets("mainnet")[0].network == "mainnet"


def test_a_reset_takes_the_practice_network_and_nothing_else(world: World, tmp_path: Path) -> None:
    for name in ("sandbox", "sandbox-chain", "sandbox-peers", "mainnet"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("kept")
    world.host.open(info("sandbox"), "").result(TIMEOUT_SECONDS)
    world.host.reset_practice().result(TIMEOUT_SECONDS)
    assert world.log == ["play opens sandbox", "play closes"]
    assert [path.name for path in tmp_path.iterdir()] == ["mainnet"]
    assert (tmp_path / "mainnet" / "file").read_text() == "kept"
