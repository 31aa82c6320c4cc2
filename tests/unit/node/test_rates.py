"""What a bitcoin costs in the person's money: asked of one page, kept once a day, never shown as newer than it is."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.unit.node.web_server import LOCALHOST, WebServer, answer, client_context
from wallet.chain.interfaces import LogLevel
from wallet.node import rates
from wallet.node.node import Node
from wallet.node.rates import CURRENCIES, FIAT_SETTING, RATES_PAGE, Rates, day_of, rate_hundredths
from wallet.node.web import WebClient, parse_url

NOW_AT = 1_800_000_000


class FakeLedger:
    def __init__(self, settings: dict[str, str]) -> None:
        self.settings = settings
        self.written: list[str] = []

    def put_setting(self, name: str, text: str) -> None:
        self.settings[name] = text
        self.written.append(name)


class Desk:
    """A wallet's ledger, a web server that says what a bitcoin costs, and the clock."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.now_at = NOW_AT
        self.prices: dict[str, Any] = {"EUR": "61234.567", "JPY": "9876543"}
        self.server = WebServer(
            folder, lambda _path, _query: answer({"data": {"currency": "BTC", "rates": self.prices}})
        )
        self.ledger = FakeLedger(settings)
        self.logged: list[tuple[LogLevel, str]] = []
        context = client_context(folder)
        node = SimpleNamespace(
            log=lambda level, message, *args: self.logged.append((level, message % args)),
            ledger=self.ledger,
            views=SimpleNamespace(publish_soon=lambda: None),
            core=SimpleNamespace(entry=contextlib.nullcontext),
            web_client=lambda: WebClient(context=context),
        )
        self.rates = Rates(cast("Node", node), lambda: self.now_at)

    def run(self, steps: Callable[[], Any]) -> None:
        async def scenario() -> None:
            port = await self.server.start()
            self.rates.page = f"https://{LOCALHOST}:{port}/rates"
            try:
                await steps()
            finally:
                await self.rates.stop()
                await self.server.stop()

        asyncio.run(scenario())


@pytest.fixture
def desk(tmp_path: Path) -> Callable[..., Desk]:
    return partial(Desk, tmp_path)


def test_nothing_is_asked_before_a_currency_was_chosen(desk: Callable[..., Desk]) -> None:
    one = desk()

    async def steps() -> None:
        one.rates.start()
        assert not await one.rates.ask()

    one.run(steps)
    assert one.rates.view is None
    assert one.server.asked == []


def test_the_rate_is_a_whole_number_with_its_time(desk: Callable[..., Desk]) -> None:
    one = desk(**{FIAT_SETTING: "EUR"})

    async def steps() -> None:
        assert await one.rates.ask()

    one.run(steps)
    assert one.rates.view is not None
    assert (one.rates.view.rate_hundredths, one.rates.view.at) == (6_123_456, NOW_AT)
    assert one.server.asked == ["/rates"]


def test_a_fault_of_ours_is_not_the_end_of_asking(
    desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rates, "RETRY_SECONDS", 0)
    one = desk(**{FIAT_SETTING: "EUR"})
    really_ask, answered = one.rates.ask, asyncio.Event()
    faults = [RuntimeError("a fault of ours")]

    async def ask() -> bool:
        if faults:
            raise faults.pop()
        answered.set()
        return await really_ask()

    monkeypatch.setattr(one.rates, "ask", ask)

    async def steps() -> None:
        one.rates.start()
        async with asyncio.timeout(60):
            await answered.wait()

    one.run(steps)
    ((level, line),) = one.logged
    assert level is LogLevel.ERROR
    assert "a fault of ours" in line


def test_the_first_rate_of_a_day_is_kept_with_the_wallet(desk: Callable[..., Desk]) -> None:
    one = desk(**{FIAT_SETTING: "EUR"})

    async def steps() -> None:
        await one.rates.ask()
        one.prices["EUR"] = "70000"
        await one.rates.ask()
        one.now_at += 86_400
        await one.rates.ask()

    one.run(steps)
    assert one.rates.days() == {day_of(NOW_AT): 6_123_456, day_of(NOW_AT + 86_400): 7_000_000}
    assert len(one.ledger.written) == 2
    assert one.rates.view is not None
    assert one.rates.view.days == one.rates.days()


@pytest.mark.parametrize("said", [None, "", "1e5", "-1", "0", "61,234", "9" * 20, {}])
def test_an_answer_that_is_no_rate_leaves_what_was_known_with_its_age(
    desk: Callable[..., Desk], said: object
) -> None:
    one = desk(**{FIAT_SETTING: "EUR"})

    async def steps() -> None:
        await one.rates.ask()
        one.prices["EUR"] = said
        one.now_at += 3_600
        assert not await one.rates.ask()

    one.run(steps)
    assert one.rates.view is not None
    assert (one.rates.view.rate_hundredths, one.rates.view.at) == (6_123_456, NOW_AT)
    assert "coinbase.com" in one.rates.view.problem


def test_another_currency_starts_anew_and_none_ends_it(desk: Callable[..., Desk]) -> None:
    one = desk(**{FIAT_SETTING: "EUR"})

    async def steps() -> None:
        await one.rates.ask()
        await one.rates.choose("JPY")
        assert one.rates.view is not None
        assert one.rates.view.currency == "JPY"
        await one.rates.choose("")
        assert one.rates.view is None

    one.run(steps)


@pytest.mark.parametrize(
    ("text", "hundredths"),
    [("61234.567", 6_123_456), ("61234", 6_123_400), ("0.019", 1), ("61234.5", 6_123_450), ("0.001", None)],
)
def test_hundredths_are_cut_off_not_rounded(text: str, hundredths: int | None) -> None:
    assert rate_hundredths(text) == hundredths


def test_the_page_is_one_that_can_be_asked() -> None:
    assert parse_url(RATES_PAGE).tls
    assert len(set(CURRENCIES)) == len(CURRENCIES)
