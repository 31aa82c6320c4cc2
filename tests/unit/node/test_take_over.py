"""Taking a wallet over from a daemon: asked, never forced, and every failure is a sentence."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from wallet.chain.electrum.session import ServerAddress
from wallet.node.api import CommandError, Json, WalletInfo
from wallet.node.options import NodeOptions
from wallet.node.rpc import Params, RpcServer
from wallet.node.take_over import daemon_holds, take_over
from wallet.node.wallets import create_wallet_file, lock_wallet
from wallet.sandbox.every import EveryHost

WORDS = [
    "legal",
    "winner",
    "thank",
    "year",
    "wave",
    "sausage",
    "worth",
    "useful",
    "legal",
    "winner",
    "thank",
    "yellow",
]
WAIT_SECONDS = 60


@pytest.fixture
def options(tmp_path: Path) -> NodeOptions:
    """A wallet with a password, whose only server is nobody."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    made = NodeOptions(
        network_name="regtest",
        root=tmp_path / "data",
        servers=(ServerAddress("127.0.0.1", port, False),),
        single_server_ok=True,
        listen=("127.0.0.1", 0),
    )
    create_wallet_file(made, WORDS, "secret")
    return made


class Holder:
    """The channel of a daemon that holds the wallet's lock, and lets go of it as a test says."""

    def __init__(self, options: NodeOptions) -> None:
        self.lock = lock_wallet(options)
        self.server = RpcServer(options.network_dir, self.handle)
        self.wallets: Json = [{"path": str(options.wallet_file), "synchronized": True, "unlocked": True}]
        self.asked: list[str] = []
        self.frees = True
        self.answer: Json | CommandError = True

    async def handle(self, method: str, params: Params) -> Json:
        if method == "list_wallets":
            return self.wallets
        self.asked.append(f"{method} {json.dumps(params)}")
        if self.frees:
            self.lock.release()
        if isinstance(self.answer, CommandError):
            raise self.answer
        return self.answer


def beside(options: NodeOptions, test: Callable[[Holder], Awaitable[None]]) -> None:
    async def run() -> None:
        holder = Holder(options)
        await holder.server.start()
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await test(holder)
        finally:
            await holder.server.close()
            holder.lock.release()

    asyncio.run(run())


async def taken(options: NodeOptions, password: str = "secret", limit_seconds: int = WAIT_SECONDS) -> None:
    await asyncio.to_thread(take_over, options, password, limit_seconds=limit_seconds)


async def refused(
    options: NodeOptions, password: str = "secret", limit_seconds: int = WAIT_SECONDS
) -> CommandError:
    with pytest.raises(CommandError) as caught:
        await taken(options, password, limit_seconds)
    assert caught.value.message.endswith(".")
    return caught.value


def is_locked(options: NodeOptions) -> bool:
    try:
        lock_wallet(options).release()
    except CommandError as error:
        return error.code == "locked"
    return False


def test_the_daemon_closes_this_wallet_and_its_lock_is_free(options: NodeOptions) -> None:
    async def test(holder: Holder) -> None:
        await taken(options)
        assert holder.asked == ['close_wallet {"wallet": "default_wallet"}']
        assert not is_locked(options)

    beside(options, test)


def test_a_mistyped_password_leaves_the_wallet_in_the_daemon(options: NodeOptions) -> None:
    async def test(holder: Holder) -> None:
        assert (await refused(options, "Secret")).code == "password"
        assert holder.asked == []
        assert is_locked(options)

    beside(options, test)


def test_a_daemon_that_does_not_let_go_in_time_is_not_forced(options: NodeOptions) -> None:
    async def test(holder: Holder) -> None:
        holder.frees = False
        error = await refused(options, limit_seconds=1)
        assert (error.code, "within 1 second:" in error.message) == ("busy", True)
        assert is_locked(options)

    beside(options, test)


def test_a_daemon_that_is_stopping_is_waited_for(options: NodeOptions) -> None:
    async def test(holder: Holder) -> None:
        holder.answer = CommandError("Leyden is stopping.", code="stopping")
        await taken(options)

    beside(options, test)


def test_a_daemon_that_could_not_save_is_believed(options: NodeOptions) -> None:
    """Its lock may be free then, but what it has not said to be durable is not taken for durable."""

    async def test(holder: Holder) -> None:
        holder.answer = CommandError("The disk is full.", code="internal")
        assert (await refused(options)).message == "The disk is full."

    beside(options, test)


def test_a_daemon_that_has_ended_meanwhile_needs_no_asking(options: NodeOptions) -> None:
    async def test(holder: Holder) -> None:
        await holder.server.close()
        holder.lock.release()
        await taken(options)

    beside(options, test)


def test_where_no_daemon_answers_any_more_the_wallet_stays_where_it_is(options: NodeOptions) -> None:
    async def test(holder: Holder) -> None:
        await holder.server.close()
        error = await refused(options)
        assert (error.code, "does not answer any more" in error.message) == ("locked", True)
        assert is_locked(options)

    beside(options, test)


def test_only_the_wallet_that_the_daemon_has_open_is_its_own(options: NodeOptions) -> None:
    other = replace(options, wallet_name="bob")
    assert not daemon_holds(options)
    create_wallet_file(other, WORDS, "")

    async def test(holder: Holder) -> None:
        assert await asyncio.to_thread(daemon_holds, options)
        assert not await asyncio.to_thread(daemon_holds, other)
        strangers: list[Json] = [[], None, ["x"], [{}], {"path": str(options.wallet_file)}]
        for strange in strangers:
            holder.wallets = strange
            assert not await asyncio.to_thread(daemon_holds, options)

    beside(options, test)


def test_a_host_tells_a_daemon_from_another_window(options: NodeOptions) -> None:
    host = EveryHost(options)
    info = WalletInfo(name="default_wallet", network="regtest", path=options.wallet_file, encrypted=True)

    def why() -> str:
        with pytest.raises(CommandError) as caught:
            host.open(info, "secret").result(WAIT_SECONDS)
        return caught.value.code

    async def test(holder: Holder) -> None:
        assert await asyncio.to_thread(why) == "daemon"
        holder.wallets = []
        assert await asyncio.to_thread(why) == "locked"
        holder.wallets = [{"path": str(options.wallet_file)}]
        await asyncio.wrap_future(host.take_over(info, "secret"))
        api = await asyncio.wrap_future(host.open(info, "secret"))
        assert api.snapshot().status.wallet_name == "default_wallet"
        assert is_locked(options)
        await asyncio.wrap_future(host.close())

    beside(options, test)
