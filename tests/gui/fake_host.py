"""Wallets on a pretended disk, each of which opens as a `FakeNode`: for the first run, unlocking and taking over."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.gui.fake_node import HUB, SHOP, FakeNode
from tests.gui.fake_recovery import WORDS
from wallet.node.api import BackupReport, CommandError, NodeApi, WalletInfo, WordsReport

__all__ = ["FakeHost"]


class FakeHost:
    """Attributes: `damage`, why a wallet cannot be opened; `in_daemon`, whether a daemon has it, and `refusal`, what
    that one answers; `created`, what the wizard asked for."""

    def __init__(
        self, *, existing: Sequence[WalletInfo] = (), make: Callable[[WalletInfo], FakeNode] | None = None
    ):
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="fake-host")
        self._wallets = list(existing)
        self._make = make or (lambda info: FakeNode(network=info.network, name=info.name))
        self._passwords = {info.name: "correct" if info.encrypted else "" for info in existing}
        self.node: FakeNode | None = None
        self.damage = ""
        self.in_daemon = False
        self.refusal: CommandError | None = None
        self.created: list[dict[str, Any]] = []

    def set_password(self, info: WalletInfo, password: str) -> None:
        """As a change of password leaves it; none is the empty one."""
        self._passwords[info.name] = password
        self._wallets = [
            replace(one, encrypted=bool(password)) if one.name == info.name else one for one in self._wallets
        ]

    def wallets(self, network: str) -> Sequence[WalletInfo]:
        return [info for info in self._wallets if info.network == network]

    def new_words(self, count: int = 12) -> Sequence[str]:
        return [WORDS[(7 * i + 3) % len(WORDS)] for i in range(count)]

    def check_words(self, words: Sequence[str]) -> WordsReport:
        wrong = tuple(i for i, word in enumerate(words) if word not in WORDS)
        if wrong:
            return WordsReport(
                kind="invalid",
                usable=False,
                message=f"Word {wrong[0] + 1} is not on the list.",
                wrong_words=wrong,
            )
        if len(words) not in {12, 24}:
            return WordsReport(
                kind="invalid", usable=False, message=f"12 or 24 words are needed, not {len(words)}."
            )
        if words[0] == "zebra":
            return WordsReport(
                kind="electrum",
                usable=True,
                message="These are words of Electrum. Its on-chain coins come back here; its channels do not: close "
                "them in Electrum first.",
            )
        if list(words) == [words[0]] * len(words):
            return WordsReport(
                kind="invalid", usable=False, message="The words do not fit together. Check them."
            )
        return WordsReport(
            kind="leyden",
            usable=True,
            message="These words bring back your on-chain coins, and channels with the help of a backup.",
        )

    def complete_word(self, prefix: str) -> Sequence[str]:
        return [word for word in WORDS if word.startswith(prefix)]

    def check_channel_backup(self, *, network: str, words: Sequence[str], file: Path) -> Future[BackupReport]:
        def work() -> BackupReport:
            if file.suffix != ".backup":
                raise CommandError("This is not a channel backup of Leyden.", code="backup")
            return BackupReport(
                made_at=int(time.time()) - 86_400 * 3,
                channels=3,
                capacity_sat=5_550_000,
                peers=(HUB, SHOP),
            )

        return self._pool.submit(work)

    def create(
        self,
        *,
        network: str,
        name: str,
        words: Sequence[str],
        password: str,
        restored: bool,
        channel_backup: Path | None = None,
        old_installation_stopped: bool = False,
    ) -> Future[WalletInfo]:
        info = WalletInfo(name=name, network=network, path=Path("/nowhere") / name, encrypted=bool(password))

        def work() -> WalletInfo:
            self._wallets.append(info)
            self._passwords[name] = password
            self.created.append(
                {
                    "network": network,
                    "name": name,
                    "words": list(words),
                    "restored": restored,
                    "channel_backup": channel_backup,
                    "old_installation_stopped": old_installation_stopped,
                }
            )
            return info

        return self._pool.submit(work)

    def open(self, info: WalletInfo, password: str) -> Future[NodeApi]:
        def work() -> NodeApi:
            if self.damage:
                raise CommandError(self.damage, code="file")
            if self.in_daemon:
                raise CommandError("A daemon has this wallet open.", code="daemon")
            if password != self._passwords.get(info.name, ""):
                raise CommandError("The password is wrong. Nothing was changed.", code="wrong_password")
            if self.node is None:
                self.node = self._make(info)
            return self.node

        return self._pool.submit(work)

    def is_running(self, info: WalletInfo) -> bool:
        return self.node is not None and self.node.status.wallet_name == info.name

    def take_over(self, info: WalletInfo, password: str) -> Future[None]:
        def work() -> None:
            if self.refusal is not None:
                raise self.refusal
            self.in_daemon = False

        return self._pool.submit(work)

    def close(self) -> Future[None]:
        def work() -> None:
            if self.node is not None:
                self.node.stop()
                self.node = None

        return self._pool.submit(work)

    def stop(self) -> None:
        if self.node is not None:
            self.node.stop()
        self._pool.shutdown(wait=True)
