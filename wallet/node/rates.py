"""What a bitcoin costs in the person's money: asked for only once that was chosen, through the proxy like all else.

The answer comes from one public page (`SOURCE`), as decimal text; here it is a whole number of hundredths of the
currency for one bitcoin. The first rate of each day is kept with the wallet, so that the history can say what a payment
was worth on its day. A rate never decides anything: amounts are in bitcoin everywhere else.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from wallet.chain.interfaces import LogLevel
from wallet.i18n import _
from wallet.node.api import FiatView
from wallet.node.web import WebError, parse_url

if TYPE_CHECKING:
    from wallet.node.node import Node

__all__ = ["CURRENCIES", "FIAT_SETTING", "SOURCE", "Rates", "day_of", "rate_hundredths"]

SOURCE = "coinbase.com"
RATES_PAGE = "https://api.coinbase.com/v2/exchange-rates?currency=BTC"
CURRENCIES = (
    "EUR",
    "USD",
    "GBP",
    "CHF",
    "JPY",
    "CAD",
    "AUD",
    "BRL",
    "MXN",
    "ARS",
    "CZK",
    "PLN",
    "SEK",
    "INR",
)
FIAT_SETTING = "fiat"
DAY_SETTING = "rate"
ASK_SECONDS = 15 * 60
"""Often enough for a price beside an amount; seldom enough for a page that is free."""
RETRY_SECONDS = 60
MAX_HUNDREDTHS = 10**15
_DECIMAL = re.compile(r"([0-9]{1,13})(?:\.([0-9]{0,30}))?")


def rate_hundredths(text: object) -> int | None:
    """Hundredths of decimal text, cut off; None for what is no sensible rate."""
    found = _DECIMAL.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return None
    value = int(found[1]) * 100 + int((found[2] or "")[:2].ljust(2, "0"))
    return value if 0 < value <= MAX_HUNDREDTHS else None


def day_of(moment_at: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(moment_at))


class Rates:
    """Attributes: `page`, which is asked; `view`, what is known now, None while nothing is shown beside amounts."""

    def __init__(self, node: Node, clock: Callable[[], int]) -> None:
        self.page = RATES_PAGE
        self.view: FiatView | None = None
        self._node = node
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._take(node.ledger.settings.get(FIAT_SETTING, ""))

    def _take(self, currency: str) -> None:
        self.view = (
            FiatView(
                currency=currency,
                rate_hundredths=0,
                at=0,
                source=SOURCE,
                problem="",
                days=self._days(currency),
            )
            if currency in CURRENCIES
            else None
        )

    def days(self) -> dict[str, int]:
        """The rate of each day that has one, in the chosen currency."""
        return {} if self.view is None else self._days(self.view.currency)

    def _days(self, currency: str) -> dict[str, int]:
        start = f"{DAY_SETTING}/{currency}/"
        return {
            name.removeprefix(start): int(text)
            for name, text in self._node.ledger.settings.items()
            if name.startswith(start) and text.isascii() and text.isdecimal()
        }

    def start(self) -> None:
        """Asks from now on, on the network loop, where a currency was chosen."""
        if self.view is not None and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._ask_again_and_again())

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def choose(self, currency: str) -> None:
        """Another currency, or none."""
        await self.stop()
        self._take(currency)
        self.start()

    async def _ask_again_and_again(self) -> None:
        while True:
            try:
                good = await self.ask()
            except Exception as error:
                # A fault of ours costs this rate, not those to come.
                self._node.log(LogLevel.ERROR, "the rate could not be asked for: %r", error)
                good = False
            self._node.views.publish_soon()
            await asyncio.sleep(ASK_SECONDS if good else RETRY_SECONDS)

    async def ask(self) -> bool:
        """One question; whether it was answered. What was known stays, with its age."""
        before = self.view
        if before is None:
            return False
        problem, rate = "", None
        try:
            answer = await self._node.web_client().get_json(parse_url(self.page))
            data = answer.get("data")
            rates = data.get("rates") if isinstance(data, dict) else None
            rate = rate_hundredths(rates.get(before.currency) if isinstance(rates, dict) else None)
            if rate is None:
                problem = _("{source} does not say what a bitcoin costs in {currency}.").format(
                    source=SOURCE, currency=before.currency
                )
        except WebError as error:
            problem = str(error)
        if self.view is not before:
            return False
        if rate is None:
            self.view = replace(before, problem=problem)
            return False
        now_at = self._clock()
        name = f"{DAY_SETTING}/{before.currency}/{day_of(now_at)}"
        if name not in self._node.ledger.settings:
            with self._node.core.entry():
                self._node.ledger.put_setting(name, str(rate))
        self.view = replace(
            before, rate_hundredths=rate, at=now_at, problem="", days=self._days(before.currency)
        )
        return True
