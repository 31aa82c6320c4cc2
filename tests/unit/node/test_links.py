"""Payment links and lightning addresses: how they are read, asked, checked and paid; and what a server may not do."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from tests.unit.node.test_bad_input import Place
from tests.unit.node.web_server import LOCALHOST, SocksProxy, WebServer, answer, client_context
from wallet.bitcoin import curve
from wallet.bitcoin.address import REGTEST, script_to_address
from wallet.bitcoin.bech32 import bech32_encode, convert_bits
from wallet.bitcoin.hashes import sha256
from wallet.bitcoin.script import p2wpkh
from wallet.chain.electrum.rpc import Proxy
from wallet.ln.invoice import build_invoice
from wallet.ln.types import PaymentHash, PaymentSecret
from wallet.node.api import CommandError
from wallet.node.lnurl import MAX_MSAT, LnurlError, parse_lnurl, parse_pay_request, parse_success_action
from wallet.node.records import RequestRecord, RequestState
from wallet.node.web import MAX_ANSWER_BYTES, WebClient, WebError, WebUrl, parse_url

T = TypeVar("T")
ONION = "abcdefghijklmnopqrstuvwxyz234567abcdefghijklmnopqrstuvwx.onion"
SECRET = b"\x17" * 32
METADATA = json.dumps([["text/plain", "Tea for <b>two</b>"], ["text/identifier", "tea@shop.example"]])
PAY_REQUEST: dict[str, object] = {
    "tag": "payRequest",
    "callback": "https://shop.example/pay?id=7",
    "minSendable": 1_000,
    "maxSendable": 5_000_000,
    "metadata": METADATA,
    "commentAllowed": 40,
}


def link(url: str) -> str:
    return bech32_encode("lnurl", convert_bits(url.encode(), 8, 5, pad=True))


# --- what a text asks for ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "url"),
    [
        (link("https://shop.example/tea?x=1"), "https://shop.example/tea?x=1"),
        (link("https://shop.example/tea").upper(), "https://shop.example/tea"),
        ("lightning:" + link("https://shop.example/tea"), "https://shop.example/tea"),
        ("LIGHTNING:" + link("https://shop.example/tea").upper(), "https://shop.example/tea"),
        (link(f"http://{ONION}/tea"), f"http://{ONION}/tea"),
        ("lnurlp://shop.example/tea?x=1", "https://shop.example/tea?x=1"),
        ("lnurlp:shop.example:8443/tea", "https://shop.example:8443/tea"),
        (f"lnurlp://{ONION}/tea", f"http://{ONION}/tea"),
        (f"https://shop.example/card?lightning={link('https://pay.example/9')}", "https://pay.example/9"),
        ("tea@shop.example", "https://shop.example/.well-known/lnurlp/tea"),
        (" Tea+Green@Shop.Example ", "https://shop.example/.well-known/lnurlp/tea+green"),
        (f"tea@{ONION}", f"http://{ONION}/.well-known/lnurlp/tea"),
    ],
    ids=range(12),
)
def test_what_a_link_asks(text: str, url: str) -> None:
    found = parse_lnurl(text)
    assert found is not None
    assert str(found.url) == url
    assert found.is_address == ("@" in text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "lnbc1u1p",
        "bitcoin:tb1q",
        "https://shop.example/",
        "tea@shop",
        "02" * 33 + "@1.2.3.4",
        "a@b@c.d",
    ],
)
def test_what_is_no_link(text: str) -> None:
    assert parse_lnurl(text) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (link("http://shop.example/tea"), "not encrypted"),
        (link("ftp://shop.example/tea"), "not encrypted"),
        (link("https://user:word@shop.example/tea"), "cannot be read"),
        (link("https://shop.example/tea")[:-1] + "q", "cannot be read"),
        ("lnurl1", "cannot be read"),
        ("lnurlw://shop.example/x", "pays out to you"),
        ("keyauth://shop.example/x", "logging in"),
        (link("https://shop.example/?tag=login&k1=00"), "logging in"),
        ("lnurlp://shop.example:0/", "cannot be read"),
        ("lnurlp://shop.example/\u202etea", "cannot be read"),
    ],
    ids=range(10),
)
def test_links_that_cannot_be_used_say_why(text: str, says: str) -> None:
    with pytest.raises(LnurlError, match=says):
        parse_lnurl(text)


# --- what a server answers -----------------------------------------------------------------------


def test_a_pay_request() -> None:
    found = parse_pay_request("shop.example", PAY_REQUEST)
    assert (found.min_msat, found.max_msat, found.comment_length) == (1_000, 5_000_000, 40)
    # As it stands: whoever shows it shows it as plain text.
    assert found.description == "Tea for <b>two</b>"


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"status": "ERROR", "reason": "closed\u202e today"}, "in its own words: closed today"),
        ({"status": "ERROR"}, "does not say why"),
        ({"tag": "withdrawRequest"}, "pays out to you"),
        ({"tag": None}, "makes no sense"),
        ({"minSendable": 0}, "makes no sense"),
        ({"minSendable": "1000"}, "makes no sense"),
        ({"minSendable": 6_000_000}, "makes no sense"),
        ({"minSendable": MAX_MSAT + 1, "maxSendable": 10**30}, "makes no sense"),
        ({"maxSendable": True}, "makes no sense"),
        ({"metadata": "[]"}, "makes no sense"),
        ({"metadata": "[" * 100_000}, "makes no sense"),
        ({"metadata": None}, "makes no sense"),
        ({"metadata": METADATA[:-1] + ', ["x", "\ud800"]]'}, "makes no sense"),
        ({"callback": "http://shop.example/pay"}, "makes no sense"),
        ({"payerData": {"email": {"mandatory": True}}}, "without knowing your email"),
    ],
    ids=range(15),
)
def test_an_answer_that_cannot_be_used(changed: dict[str, object], says: str) -> None:
    with pytest.raises(LnurlError, match=says):
        parse_pay_request("shop.example", {**PAY_REQUEST, **changed})


def sealed(text: str, key: bytes) -> dict[str, str]:
    """A success action that only the preimage opens."""
    padder = PKCS7(128).padder()
    padded = padder.update(text.encode()) + padder.finalize()
    iv = b"\x09" * 16
    closer = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    ciphertext = closer.update(padded) + closer.finalize()
    return {
        "tag": "aes",
        "description": "Your code",
        "ciphertext": base64.b64encode(ciphertext).decode(),
        "iv": base64.b64encode(iv).decode(),
    }


@pytest.mark.parametrize(
    "value",
    [
        "thanks",
        {"tag": "dance"},
        {"tag": "message"},
        {"tag": "url", "description": "Look", "url": "https://elsewhere.example/"},
        {"tag": "url", "description": "Look", "url": "http://shop.example/"},
        {"tag": "aes", "description": "x", "ciphertext": "AAAA", "iv": "AAAA"},
        {**sealed("x", SECRET), "iv": "?"},
    ],
    ids=range(7),
)
def test_a_success_that_could_not_be_shown_stops_the_payment(value: object) -> None:
    with pytest.raises(LnurlError, match="Nothing was paid"):
        parse_success_action("shop.example", parse_url("https://shop.example/pay"), value)


# --- the web ---------------------------------------------------------------------------------------


def on_the_web(
    folder: Path,
    respond: Callable[[str, dict[str, str]], bytes],
    ask: Callable[[WebServer, WebUrl], Awaitable[T]],
    *,
    silent: bool = False,
) -> T:
    async def run() -> T:
        server = WebServer(folder, respond)
        server.silent = silent
        port = await server.start()
        try:
            return await ask(server, parse_url(f"https://{LOCALHOST}:{port}/start"))
        finally:
            await server.stop()

    return asyncio.run(run())


def refused(folder: Path, respond: Callable[[str, dict[str, str]], bytes]) -> str:
    async def ask(_server: WebServer, url: WebUrl) -> str:
        with pytest.raises(WebError) as refusal:
            await WebClient(context=client_context(folder)).get_json(url)
        return str(refusal.value)

    return on_the_web(folder, respond, ask)


def test_a_question_tells_nothing_about_who_asks(tmp_path: Path) -> None:
    async def ask(server: WebServer, url: WebUrl) -> tuple[object, list[bytes]]:
        found = await WebClient(context=client_context(tmp_path)).get_json(
            url.with_query({"comment": "a b&c=ü"})
        )
        return found, server.requests

    found, requests = on_the_web(tmp_path, lambda _path, query: answer({"got": query}), ask)
    assert found == {"got": {"comment": "a b&c=ü"}}
    names = [line.split(b":")[0].lower() for line in requests[0].split(b"\r\n")[1:] if line]
    assert sorted(names) == [b"accept", b"accept-encoding", b"connection", b"host"]


def test_redirects_are_followed_to_https_only(tmp_path: Path) -> None:
    def respond(path: str, _query: dict[str, str]) -> bytes:
        if path == "/start":
            return answer(b"", "302 Found", Location="/next?x=1")
        return answer({"path": path})

    async def ask(_server: WebServer, url: WebUrl) -> object:
        return await WebClient(context=client_context(tmp_path)).get_json(url)

    assert on_the_web(tmp_path, respond, ask) == {"path": "/next"}
    plain = refused(tmp_path, lambda *_: answer(b"", "302 Found", Location="http://shop.example/"))
    assert "not encrypted" in plain
    assert "without end" in refused(tmp_path, lambda *_: answer(b"", "301 Moved", Location="/start"))
    assert "not encrypted" in refused(tmp_path, lambda *_: answer(b"", "301 Moved", Location="http://["))


def test_an_onion_redirect_needs_a_proxy(tmp_path: Path) -> None:
    said = refused(tmp_path, lambda *_: answer(b"", "302 Found", Location=f"http://{ONION}/x"))
    assert "over Tor only" in said


def chunked(*parts: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (*parts, b""))


def test_an_answer_in_chunks_or_without_a_length(tmp_path: Path) -> None:
    async def ask(_server: WebServer, url: WebUrl) -> object:
        return await WebClient(context=client_context(tmp_path)).get_json(url)

    assert on_the_web(tmp_path, lambda *_: chunked(b'{"a"', b": 1}"), ask) == {"a": 1}


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (answer(b"x" * (MAX_ANSWER_BYTES + 1)), "makes no sense"),
        (chunked(*[b"x" * 60_000] * 10), "makes no sense"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n{}", "makes no sense"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n", "makes no sense"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000, "makes no sense"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 2_000 + b"\r\n{}", "makes no sense"),
        (b"hello\r\n\r\n", "makes no sense"),
        (answer(b"[1]"), "makes no sense"),
        (answer(b"[" * 200_000), "makes no sense"),
        (answer(b"no", "404 Not Found"), "knows nobody"),
        (answer(b"no", "500 Oh"), "error 500"),
    ],
    ids=range(11),
)
def test_an_answer_without_sense_is_a_sentence(tmp_path: Path, raw: bytes, says: str) -> None:
    assert says in refused(tmp_path, lambda *_: raw)


def test_amounts_with_a_point_never_become_floats(tmp_path: Path) -> None:
    async def ask(_server: WebServer, url: WebUrl) -> object:
        return await WebClient(context=client_context(tmp_path)).get_json(url)

    assert on_the_web(tmp_path, lambda *_: answer(b'{"maxSendable": 1.5e3}'), ask) == {"maxSendable": "1.5e3"}


def test_a_stranger_with_a_certificate_of_his_own_is_not_believed(tmp_path: Path) -> None:
    async def ask(server: WebServer, url: WebUrl) -> tuple[str, list[str]]:
        with pytest.raises(WebError) as refusal:
            await WebClient().get_json(url)
        return str(refusal.value), server.asked

    said, asked = on_the_web(tmp_path, lambda *_: answer({}), ask)
    assert "cannot prove who it is" in said
    assert asked == []


def test_a_host_that_cannot_be_one_is_a_sentence_behind_a_proxy_too() -> None:
    url = parse_url("https://a..b/pay")
    for client in (WebClient(), WebClient(proxy=Proxy("127.0.0.1", 1))):
        with pytest.raises(WebError, match="cannot be reached"):
            asyncio.run(client.get_json(url))


def test_a_server_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    async def ask(_server: WebServer, url: WebUrl) -> str:
        with pytest.raises(WebError) as refusal:
            await WebClient(context=client_context(tmp_path), timeout_seconds=0.5).get_json(url)
        return str(refusal.value)

    assert "did not answer" in on_the_web(tmp_path, lambda *_: answer({}), ask, silent=True)


def test_a_proxy_is_asked_for_the_name_and_carries_the_tls(tmp_path: Path) -> None:
    async def ask(server: WebServer, url: WebUrl) -> tuple[object, SocksProxy]:
        proxy = SocksProxy(url.port)
        port = await proxy.start()
        try:
            client = WebClient(proxy=Proxy(LOCALHOST, port), context=client_context(tmp_path))
            return await client.get_json(url), proxy
        finally:
            await proxy.stop()

    found, proxy = on_the_web(tmp_path, lambda *_: answer({"over": "proxy"}), ask)
    assert found == {"over": "proxy"}
    assert [host for host, _port in proxy.wanted] == [LOCALHOST]


# --- paying, between two nodes ---------------------------------------------------------------------


class Shop:
    """A payment link of the friend's, on a web server. `answers` change what it says; `asked` are its queries."""

    def __init__(self, place: Place, folder: Path) -> None:
        self.place = place
        self.answers: dict[str, object] = {}
        self.request: dict[str, object] = {}
        self.lie_msat = 0
        self.lie_metadata = False
        self.asked: list[dict[str, str]] = []
        self.server = WebServer(folder, self._respond)
        self.port = place.call(self.server.start())
        self.url = f"https://{LOCALHOST}:{self.port}"

    @property
    def link(self) -> str:
        return f"lnurlp://{LOCALHOST}:{self.port}/tea"

    def _respond(self, path: str, query: dict[str, str]) -> bytes:
        if path == "/tea":
            return answer({**PAY_REQUEST, "callback": f"{self.url}/pay?id=7", **self.request})
        self.asked.append(query)
        return answer({"pr": self._invoice(int(query["amount"])), "routes": [], **self.answers})

    def _invoice(self, amount_msat: int) -> str:
        node = self.place.friend.node
        with node.core.entry():
            now = node.core.now
            payment_hash, secret = node.manager.create_inbound_payment(amount_msat, 600, now, None)
            self.preimage = node.manager.get_payment_preimage(payment_hash, secret)
            metadata = METADATA + (" " if self.lie_metadata else "")
            text = build_invoice(
                network=REGTEST,
                payment_hash=payment_hash,
                payment_secret=PaymentSecret(secret),
                amount_msat=amount_msat + self.lie_msat,
                description_hash=sha256(metadata.encode()),
                created_at=now.at,
                expiry_seconds=600,
                min_final_cltv_delta=node.options.user_config.final_cltv_expiry_delta,
                sign=node.keys_manager.sign_invoice,
            ).text
            node.ledger.put_request(
                RequestRecord(
                    request_id=bytes(payment_hash),
                    amount_msat=amount_msat,
                    message="tea",
                    created_at=now.at,
                    expiry_seconds=600,
                    invoice=text,
                    address=None,
                    state=RequestState.UNPAID,
                    received_msat=0,
                    paid_at=0,
                )
            )
        return text


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    made = Place(tmp_path_factory.mktemp("links"))
    yield made
    made.close()


@pytest.fixture
def shop(place: Place, tmp_path: Path) -> Iterator[Shop]:
    made = Shop(place, tmp_path)
    place.node.web_client = lambda: WebClient(context=client_context(tmp_path))
    yield made
    place.call(made.server.stop())


def ours(place: Place, command: str, **arguments: Any) -> Any:
    return place.call(place.ours(command, **arguments))


def said(place: Place, command: str, **arguments: Any) -> str:
    before_msat = place.total_msat()
    with pytest.raises(CommandError) as refusal:
        ours(place, command, **arguments)
    assert place.total_msat() == before_msat
    return refusal.value.message


def test_a_link_is_asked_and_paid(place: Place, shop: Shop) -> None:
    shop.answers["successAction"] = {"tag": "message", "message": "Thank you, <i>come again</i>"}
    assert ours(place, "recognise", text=shop.link)["kind"] == "lnurlp"
    assert shop.server.asked == [], "nobody is asked before the person wants it"
    info = ours(place, "lnurlp_info", destination=shop.link)
    assert (info["min_msat"], info["max_msat"], info["comment_length"]) == (1_000, 5_000_000, 40)
    paid = ours(place, "lnurlp", destination=shop.link, amount_msat=21_000, comment="No sugar & milk")
    assert paid["success"], paid["reason"]
    assert paid["amount_msat"] == 21_000
    assert paid["payee_says"] == "Thank you, <i>come again</i>"
    assert shop.asked == [{"id": "7", "amount": "21000", "comment": "No sugar & milk"}]
    # As the window asks later; and it is on the disk.
    again = ours(place, "payee_message", payment_hash=paid["payment_hash"])
    assert again == {
        "paid_to": LOCALHOST,
        "comment": "No sugar & milk",
        "payee_says": "Thank you, <i>come again</i>",
    }


def test_what_the_preimage_unlocks_is_shown_once_paid(
    place: Place, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ours(place, "lnurlp_invoice", destination=shop.link, amount_msat=5_000)
    assert "payee_secret" not in ours(place, "payee_message", payment_hash=asked["payment_hash"])
    original = shop._invoice

    def with_secret(amount_msat: int) -> str:
        text = original(amount_msat)
        shop.answers["successAction"] = sealed("the code is 7", bytes(shop.preimage))
        return text

    monkeypatch.setattr(shop, "_invoice", with_secret)
    paid = ours(place, "lnurlp", destination=shop.link, amount="0.0000001")
    assert paid["payee_secret"] == "the code is 7"
    assert paid["payee_says"] == "Your code"


@pytest.mark.parametrize("lie", ["amount", "metadata", "action", "invoice", "error"])
def test_a_server_that_lies_is_not_paid(place: Place, shop: Shop, lie: str) -> None:
    says = {
        "amount": "not over the 21\u202f",
        "metadata": "something else than it said before",
        "action": "cannot show",
        "invoice": "cannot be paid",
        "error": "in its own words: sold out",
    }[lie]
    if lie == "amount":
        shop.lie_msat, says = 1_000, "not over the 21\u00a0sat agreed on"
    elif lie == "metadata":
        shop.lie_metadata = True
    elif lie == "action":
        shop.answers["successAction"] = {"tag": "dance"}
    elif lie == "invoice":
        shop.answers["pr"] = "lnbcrt1hello"
    else:
        shop.answers = {"status": "ERROR", "reason": "sold out"}
    assert says in said(place, "lnurlp", destination=shop.link, amount_msat=21_000)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"amount_msat": 999}, "takes from 1"),
        ({"amount_msat": 5_000_001}, "takes from 1"),
        ({"amount_msat": 1_000, "comment": "x" * 41}, "40 characters at most"),
        ({}, "once"),
        ({"amount": "0.1", "amount_msat": 1}, "once"),
    ],
    ids=range(5),
)
def test_what_the_payee_does_not_take(place: Place, shop: Shop, arguments: dict[str, Any], says: str) -> None:
    assert says in said(place, "lnurlp", destination=shop.link, **arguments)
    assert shop.asked == []


# --- recognising -----------------------------------------------------------------------------------


def stranger_invoice(amount_msat: int | None = 20_000_000, **changed: Any) -> str:
    fields: dict[str, Any] = {
        "network": REGTEST,
        "payment_hash": PaymentHash(b"\x07" * 32),
        "payment_secret": PaymentSecret(b"\x06" * 32),
        "created_at": int(time.time()),
        "sign": lambda digest: curve.sign_recoverable(digest, SECRET),
        "amount_msat": amount_msat,
        "description": "coffee",
    }
    return build_invoice(**{**fields, **changed}).text


ADDRESS = script_to_address(p2wpkh(curve.pubkey_from_secret(SECRET)), REGTEST) or ""


def test_a_bip_21_link_with_an_invoice_offers_both(place: Place) -> None:
    invoice = stranger_invoice()
    found = ours(
        place, "recognise", text=f"BITCOIN:{ADDRESS.upper()}?amount=0.0002&lightning={invoice.upper()}"
    )
    assert found["kind"] == "invoice"
    assert found["fallback"]["address"] == ADDRESS.upper()
    assert found["fallback"]["amount_sat"] == 20_000


def test_an_invoice_that_does_not_work_leaves_the_address(place: Place) -> None:
    invoice = stranger_invoice(created_at=1_600_000_000)
    found = ours(
        place, "recognise", text=f"bitcoin:{ADDRESS}?amount=0.0002&lightning={invoice}&label=a+b%20c"
    )
    assert found["kind"] == "address"
    assert "run out" in found["instead_of_lightning"]
    assert found["label"] == "a+b c"


def test_a_link_without_an_address(place: Place) -> None:
    assert ours(place, "recognise", text=f"bitcoin:?lightning={stranger_invoice()}")["kind"] == "invoice"
    found = ours(place, "recognise", text="bitcoin:?lightning=tea@shop.example&amount=0.001")
    assert (found["kind"], found["amount_sat"]) == ("lnurlp", 100_000)
    assert "neither" in ours(place, "recognise", text="bitcoin:?label=x")["message"]


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("amount=0.0003&lightning=INVOICE", "two amounts that differ"),
        ("amount=0.0003&amount=0.0004", "two amounts or two invoices"),
        ("amount=1.000,5", "an amount in BTC"),
        ("amount=0.000000001", "eight decimals"),
        ("req-tricks=1", "demands something"),
    ],
    ids=range(5),
)
def test_an_ambiguous_link_is_refused_with_a_sentence(place: Place, query: str, says: str) -> None:
    text = f"bitcoin:{ADDRESS}?{query.replace('INVOICE', stranger_invoice())}"
    found = ours(place, "recognise", text=text)
    assert found["kind"] == "unknown"
    assert says in found["message"]


def test_a_node_id_can_be_paid_or_named(place: Place) -> None:
    node_id = place.friend.node.keys_manager.get_node_id().hex()
    found = ours(place, "recognise", text=node_id.upper())
    assert (found["kind"], found["can_pay"]) == ("node", True)
    ours(place, "name_node", node_id=node_id, name="  My <friend>\u202e ")
    assert ours(place, "recognise", text=node_id)["payee_alias"] == "My <friend>"
    assert ours(place, "node_names") == {node_id: "My <friend>"}
    ours(place, "name_node", node_id=node_id)
    assert ours(place, "node_names") == {}
    own = place.node.keys_manager.get_node_id().hex()
    assert "your own" in ours(place, "recognise", text=own)["why_not"]
    assert "no node" in ours(place, "recognise", text="02" + "ff" * 32)["message"]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("cHNidP8BAHECAAAAAQ==", "psbt"),
        ("70736274ff0100", "psbt"),
        ("02000000" + "00" * 60, "transaction"),
        ("https://shop.example/", "unknown"),
        ("lno1qpz", "unknown"),
        ("\u20bftea@shop.example", "unknown"),
    ],
    ids=range(6),
)
def test_other_things_that_are_pasted(place: Place, text: str, kind: str) -> None:
    found = ours(place, "recognise", text=text)
    assert found["kind"] == kind
    assert found["message"]


# --- contacts -----------------------------------------------------------------------------------------


def test_a_contact_is_kept_found_by_its_name_and_forgotten(place: Place, shop: Shop) -> None:
    ours(place, "addcontact", name="Tea  Shop", destination=shop.link)
    assert ours(place, "listcontacts") == [{"name": "Tea Shop", "destination": shop.link}]
    found = ours(place, "recognise", text="tea shop")
    assert (found["kind"], found["contact"]) == ("lnurlp", "Tea Shop")
    assert ours(place, "lnurlp", destination="TEA SHOP", amount_msat=3_000)["success"]
    ours(place, "addcontact", name="TEA SHOP", destination=ADDRESS)
    assert ours(place, "listcontacts") == [{"name": "TEA SHOP", "destination": ADDRESS}]
    ours(place, "removecontact", name="tea shop")
    assert ours(place, "listcontacts") == []
    assert "no contact" in said(place, "removecontact", name="tea shop")


@pytest.mark.parametrize("destination", ["INVOICE", "hello", ""])
def test_what_cannot_be_paid_again_is_no_contact(place: Place, destination: str) -> None:
    text = destination.replace("INVOICE", stranger_invoice())
    assert "keep" in said(place, "addcontact", name="Once", destination=text)


def test_contacts_names_and_messages_are_sealed_and_survive(place: Place) -> None:
    from wallet.node.address_book import AddressBook

    ours(place, "addcontact", name="Grandmother", destination="granny@shop.example")
    book = AddressBook(place.node.core)
    book.read(place.node.store.rows)
    assert book.contacts["Grandmother"].destination == "granny@shop.example"
    assert len(book.links) == len(place.node.address_book.links)
    for file in place.options.wallet_dir.glob("wallet.leyden*"):
        assert b"Grandmother" not in file.read_bytes()
        assert b"granny" not in file.read_bytes()
