"""Whom the wallet asks on the web: no private place because a stranger's link says so, and nobody past a proxy."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.node.test_bad_input import Place
from tests.unit.node.web_server import LOCALHOST, WebServer, answer, client_context
from wallet.chain.electrum.rpc import Proxy
from wallet.node.api import CommandError
from wallet.node.lnurl import LnurlError, PayRequest, parse_lnurl, request_invoice, request_pay
from wallet.node.questions import EndedError, Questions
from wallet.node.web import WebClient, WebError, WebUrl, is_public_address, parse_url

WAIT_SECONDS = 60
ONION = "a" * 55 + "d.onion"


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("127.0.0.1", False),
        ("0.0.0.0", False),
        ("10.1.2.3", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("::", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:8.8.8.8", True),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::808:808", True),
        ("2002:c0a8:101::1", False),
        ("2002:808:808::1", True),
        ("::127.0.0.1", False),
        ("::ffff:0:127.0.0.1", False),
        ("64:ff9b:1::7f00:1", False),
        ("2001:0:7f00:1::1", False),
        ("fec0::1", False),
        ("fe80::1%eth0", False),
        ("3fff::1", False),
        ("5f00::1", False),
        ("shop.example", False),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public_address(address) is public


class Caller(WebClient):
    """Knows the addresses of names, and calls nobody: `called` is who would have been."""

    def __init__(self, addresses: Sequence[str] = (), proxy: Proxy | None = None) -> None:
        async def resolve(_host: str, _port: int) -> list[str]:
            return list(addresses)

        super().__init__(public_only=True, proxy=proxy, resolve=resolve)
        self.called: list[str] = []

    async def _call_one_of(self, addresses: list[str], url: WebUrl) -> Any:
        self.called += addresses
        raise OSError("nobody is called")

    async def _connect_through(self, url: WebUrl) -> Any:
        self.called.append(url.host)
        raise OSError("nobody is called")


def refusal(client: WebClient, link: str) -> str:
    target = parse_lnurl(link)
    assert target is not None
    with pytest.raises(LnurlError) as raised:
        asyncio.run(request_pay(client, target))
    return str(raised.value)


@pytest.mark.parametrize("link", ["lnurlp://127.0.0.1:8332/x", "lnurlp://[::1]/x", "tea@192.168.1.1"])
def test_a_link_into_a_private_place_is_refused_with_a_sentence(link: str) -> None:
    target = parse_lnurl(link)
    assert target is not None
    client = Caller([target.url.host])
    said = refusal(client, link)
    assert "private network" in said
    assert "nothing was asked" in said
    assert target.url.host in said
    assert client.called == []


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.7", "fd00::7", "::ffff:10.0.0.7"])
def test_a_name_that_stands_for_a_private_place_is_refused(address: str) -> None:
    client = Caller([address])
    assert "private network" in refusal(client, "tea@shop.example")
    assert client.called == []


def test_of_a_names_addresses_the_public_ones_are_called() -> None:
    client = Caller(["127.0.0.1", "8.8.8.8", "10.0.0.1", "2606:4700::1111"])
    assert "cannot be reached" in refusal(client, "tea@shop.example")
    assert client.called == ["8.8.8.8", "2606:4700::1111"]


def test_a_name_without_an_address_is_not_called_private() -> None:
    client = Caller([])
    assert "cannot be reached" in refusal(client, "tea@shop.example")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "192.168.1.1",
        "[::1]",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "localhost",
        "LOCALHOST",
        "wallet.localhost",
        "printer.local",
        "nas.home.arpa",
        "wiki.private",
        "box.localdomain.",
        "[::127.0.0.1]",
        "[::ffff:7f00:1]",
        "router",
    ],
)
def test_behind_a_proxy_what_can_only_be_private_is_refused_by_its_text(host: str) -> None:
    client = Caller(proxy=Proxy(LOCALHOST, 1))
    with pytest.raises(WebError, match="private network"):
        asyncio.run(client.get_json(parse_url(f"https://{host}/x")))
    assert client.called == []


@pytest.mark.parametrize("host", ["shop.example", "8.8.8.8", ONION, "localhost.example"])
def test_behind_a_proxy_others_are_asked(host: str) -> None:
    client = Caller(proxy=Proxy(LOCALHOST, 1))
    with pytest.raises(WebError, match="cannot be reached"):
        asyncio.run(client.get_json(parse_url(f"https://{host}/x")))
    assert client.called == [host]


def test_a_callback_into_a_private_place_is_refused() -> None:
    request = PayRequest(
        callback=parse_url("https://192.168.1.1/pay"),
        min_msat=1,
        max_msat=10_000,
        metadata_hash=bytes(32),
        description="Tea",
        comment_length=0,
    )
    client = Caller(["192.168.1.1"])
    with pytest.raises(LnurlError, match="private network"):
        asyncio.run(request_invoice(client, "shop.example", request, 1_000, ""))
    assert client.called == []


def test_a_page_that_a_person_named_may_be_at_home_but_sends_nobody_there(tmp_path: Path) -> None:
    async def scenario() -> tuple[bytes, str, list[str]]:
        server = WebServer(
            tmp_path,
            lambda path, _query: (
                answer(b"here") if path == "/file" else answer(b"", "302 Found", Location="/file")
            ),
        )
        port = await server.start()
        client = WebClient(public_only=True, context=client_context(tmp_path))
        try:
            url = f"https://{LOCALHOST}:{port}"
            found = await client.get_bytes(
                parse_url(f"{url}/file"), max_bytes=9, timeout_seconds=WAIT_SECONDS
            )
            with pytest.raises(WebError) as raised:
                await client.get_bytes(parse_url(f"{url}/on"), max_bytes=9, timeout_seconds=WAIT_SECONDS)
            return found, str(raised.value), server.asked
        finally:
            await server.stop()

    found, said, asked = asyncio.run(scenario())
    assert found == b"here"
    assert "private network" in said
    assert asked == ["/file", "/on"]


# --- what is on its way when a proxy is chosen ---------------------------------------------------------------


def test_ending_touches_what_runs_and_nothing_that_comes_later() -> None:
    async def scenario() -> list[str]:
        questions = Questions()
        asked = asyncio.Event()
        told: list[str] = []

        async def ask() -> None:
            try:
                async with questions.within(None):
                    asked.set()
                    await asyncio.Event().wait()
            except EndedError:
                told.append("ended")

        first = asyncio.create_task(ask())
        await asked.wait()
        questions.end_all()
        questions.end_all()
        await first
        async with questions.within(WAIT_SECONDS):
            await asyncio.sleep(0)
            told.append("answered")
        with pytest.raises(TimeoutError) as raised:
            async with questions.within(0):
                await asyncio.Event().wait()
        told.append(type(raised.value).__name__)
        questions.end_all()
        return told

    assert asyncio.run(asyncio.wait_for(scenario(), WAIT_SECONDS)) == ["ended", "answered", "TimeoutError"]


def silent_web(folder: Path, ask: Callable[[WebUrl, asyncio.Event], Awaitable[str]]) -> str:
    """What comes of a question to a server that hears it, and says nothing."""

    async def scenario() -> str:
        heard = asyncio.Event()

        def respond(_path: str, _query: dict[str, str]) -> bytes:
            heard.set()
            return b""

        server = WebServer(folder, respond)
        port = await server.start()
        try:
            return await ask(parse_url(f"https://{LOCALHOST}:{port}/x"), heard)
        finally:
            await server.stop()

    return asyncio.run(asyncio.wait_for(scenario(), WAIT_SECONDS))


def test_a_question_on_its_way_is_ended_with_a_sentence(tmp_path: Path) -> None:
    async def ask(url: WebUrl, heard: asyncio.Event) -> str:
        client = WebClient(context=client_context(tmp_path), timeout_seconds=WAIT_SECONDS)
        asking = asyncio.create_task(client.get_json(url))
        await heard.wait()
        client.questions.end_all()
        with pytest.raises(WebError) as raised:
            await asking
        return str(raised.value)

    said = silent_web(tmp_path, ask)
    assert "proxy was changed" in said
    assert "Ask again" in said


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Any:
    made = Place(tmp_path_factory.mktemp("places"))
    yield made
    made.close()


def test_on_a_practice_network_servers_may_be_on_this_computer(place: Place) -> None:
    assert not place.node.web_client().public_only
    made: Any = SimpleNamespace(
        options=SimpleNamespace(network_name="mainnet"), proxy=None, questions=Questions()
    )
    assert type(place.node)._web_client(made).public_only


def test_choosing_a_proxy_ends_what_a_payment_link_is_asked(place: Place, tmp_path: Path) -> None:
    async def scenario() -> str:
        heard = asyncio.Event()

        def respond(_path: str, _query: dict[str, str]) -> bytes:
            heard.set()
            return b""

        server = WebServer(tmp_path, respond)
        port = await server.start()
        node = place.node
        node.web_client = lambda: WebClient(
            questions=node.questions, context=client_context(tmp_path), timeout_seconds=WAIT_SECONDS
        )
        try:
            link = f"lnurlp://{LOCALHOST}:{port}/x"
            asking = asyncio.create_task(place.ours("lnurlp_info", destination=link))
            async with asyncio.timeout(WAIT_SECONDS):
                await heard.wait()
                await place.ours("set_proxy", address=f"{LOCALHOST}:1")
                with pytest.raises(CommandError) as raised:
                    await asking
            return raised.value.message
        finally:
            await place.ours("set_proxy", address="")
            await server.stop()

    assert "proxy was changed" in place.call(scenario())
