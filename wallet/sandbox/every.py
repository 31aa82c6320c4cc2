"""Real wallets and the practice wallet behind one face: what the window talks to where no network was named.

One wallet is open at a time. Opening one of the other kind stops what is open first, so that a wallet of real money is
never taken for one of play money, and the practice network runs only while somebody practises.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from wallet.i18n import _
from wallet.node.api import BackupReport, CommandError, NodeApi, WalletHost, WalletInfo, WordsReport
from wallet.node.host import Host, in_thread
from wallet.node.wallets import check_password
from wallet.sandbox.host import SandboxHost

if TYPE_CHECKING:
    from wallet.node.options import NodeOptions

__all__ = ["EveryHost"]

T = TypeVar("T")
PLAY = "sandbox"


class EveryHost:
    """`WalletHost` for all networks."""

    def __init__(
        self,
        options: NodeOptions,
        *,
        real: Callable[[NodeOptions], WalletHost] = Host,
        play: Callable[[NodeOptions], WalletHost] = SandboxHost,
        check: Callable[[NodeOptions, str], None] = check_password,
    ) -> None:
        """`check` raises `CommandError` unless the password opens the wallet."""
        self._options = options
        self._check_password = check
        self._play = play
        self._real_host: WalletHost = real(options)
        self._play_host: WalletHost | None = None
        self._open: WalletHost | None = None
        self._last: Future[NodeApi] | None = None

    def _check(self, info: WalletInfo, password: str) -> None:
        self._check_password(
            replace(self._options, network_name=info.network, wallet_name=info.name), password
        )

    def _of(self, network: str) -> WalletHost:
        if network != PLAY:
            return self._real_host
        if self._play_host is None:
            self._play_host = self._play(self._options)
        return self._play_host

    def wallets(self, network: str) -> Sequence[WalletInfo]:
        return self._of(network).wallets(network)

    def new_words(self, count: int = 12) -> Sequence[str]:
        return self._real_host.new_words(count)

    def check_words(self, words: Sequence[str]) -> WordsReport:
        return self._real_host.check_words(words)

    def complete_word(self, prefix: str) -> Sequence[str]:
        return self._real_host.complete_word(prefix)

    def check_channel_backup(self, *, network: str, words: Sequence[str], file: Path) -> Future[BackupReport]:
        return self._of(network).check_channel_backup(network=network, words=words, file=file)

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
        return self._of(network).create(
            network=network,
            name=name,
            words=words,
            password=password,
            restored=restored,
            channel_backup=channel_backup,
            old_installation_stopped=old_installation_stopped,
        )

    def open(self, info: WalletInfo, password: str) -> Future[NodeApi]:
        """One after the other: whoever chooses another wallet while one is being opened leaves none behind."""
        answer: Future[NodeApi] = concurrent.futures.Future()
        before, self._last = self._last, answer

        def begin(_before: Future[NodeApi] | None) -> None:
            try:
                self._open_in_turn(info, password, answer)
            except Exception as error:
                answer.set_exception(error)

        if before is None:
            begin(None)
        else:
            before.add_done_callback(begin)
        return answer

    def _open_in_turn(self, info: WalletInfo, password: str, answer: Future[NodeApi]) -> None:
        host, other = self._of(info.network), self._open

        def opened(future: Future[NodeApi]) -> None:
            _pass_on(future, answer)

        def closed(future: Future[None]) -> None:
            error = future.exception()
            if error is not None:
                answer.set_exception(error)
            else:
                host.open(info, password).add_done_callback(opened)

        def checked(future: Future[None]) -> None:
            error = future.exception()
            if error is not None:
                answer.set_exception(error)
            else:
                self._open = host
                running.close().add_done_callback(closed)

        if other is None or other is host:
            self._open = host
            host.open(info, password).add_done_callback(opened)
        else:
            running = other
            # Before what is open is closed for it: a mistyped password costs nothing.
            in_thread(lambda: self._check(info, password)).add_done_callback(checked)

    def is_running(self, info: WalletInfo) -> bool:
        host = self._real_host if info.network != PLAY else self._play_host
        return host is not None and host.is_running(info)

    def take_over(self, info: WalletInfo, password: str) -> Future[None]:
        return self._of(info.network).take_over(info, password)

    def close(self) -> Future[None]:
        """After what is being opened."""
        answer: Future[None] = concurrent.futures.Future()

        def end(_before: Future[NodeApi] | None) -> None:
            opened, self._open = self._open, None
            if opened is None:
                answer.set_result(None)
            else:
                opened.close().add_done_callback(lambda future: _pass_on(future, answer))

        if self._last is None:
            end(None)
        else:
            self._last.add_done_callback(end)
        return answer

    def reset_practice(self) -> Future[None]:
        """Throws the practice network and its wallets away; no real wallet is touched."""
        answer: Future[None] = concurrent.futures.Future()

        def closed(future: Future[None]) -> None:
            error = future.exception()
            if error is None:
                try:
                    SandboxHost.reset(self._options)
                except OSError as failed:
                    why = failed.strerror or str(failed)
                    error = CommandError(
                        _("The practice wallet could not be removed: {why}.").format(why=why)
                    )
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(None)

        host, self._play_host = self._play_host, None
        if host is not None and self._open is host:
            self._open = None
            host.close().add_done_callback(closed)
        else:
            done: Future[None] = concurrent.futures.Future()
            done.set_result(None)
            closed(done)
        return answer


def _pass_on(future: Future[T], answer: Future[T]) -> None:
    error = future.exception()
    if error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(future.result())
