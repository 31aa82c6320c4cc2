"""Addresses, versions, certificates, the proxy, and what refusals mean."""

from __future__ import annotations

import asyncio
import ssl
import struct
from pathlib import Path

import pytest

from tests.unit.certificate import self_signed
from tests.unit.chain.recorder import Recorder, syncing
from wallet.bitcoin.address import MAINNET, REGTEST, SIGNET, TESTNET4
from wallet.bitcoin.errors import DecodeError
from wallet.chain.electrum import session as session_module
from wallet.chain.electrum.broadcast import Verdict, classify
from wallet.chain.electrum.certificates import CertificateStore
from wallet.chain.electrum.errors import ServerError, ServerErrorKind, clean_text
from wallet.chain.electrum.rpc import Proxy
from wallet.chain.electrum.server import ServerState
from wallet.chain.electrum.session import ServerAddress, parse_protocol
from wallet.chain.electrum.sync import default_servers
from wallet.sandbox.chain import SandboxChain
from wallet.sandbox.electrum_server import HOST, SandboxElectrumServer

pytestmark = pytest.mark.timeout(180)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("example.org:50002:s", ServerAddress("example.org", 50002, True)),
        ("example.org:50001:t", ServerAddress("example.org", 50001, False)),
        (" example.org:50002 ", ServerAddress("example.org", 50002, True)),
        ("[2001:db8::1]:50002:s", ServerAddress("2001:db8::1", 50002, True)),
        ("127.0.0.1:1:t", ServerAddress("127.0.0.1", 1, False)),
    ],
)
def test_addresses(text: str, address: ServerAddress) -> None:
    assert ServerAddress.parse(text) == address
    assert ServerAddress.parse(str(address)) == address


@pytest.mark.parametrize(
    "text", ["", "x", "x:", ":5", "x:0", "x:65536", "x:5:u", "x y:5", "x:٣", "a/b:5", "x:-1"]
)
def test_no_addresses(text: str) -> None:
    with pytest.raises(DecodeError, match="host:port"):
        ServerAddress.parse(text)


def test_versions_are_numbers() -> None:
    assert parse_protocol("1.6.0") == parse_protocol("1.6") == (1, 6)
    assert parse_protocol("1.10") > parse_protocol("1.9")
    assert parse_protocol("1.4.2") >= (1, 4, 2)
    for text in ("", "1.x", "-1.2", "1.2.3.4.5", "1..2"):
        with pytest.raises(ValueError):
            parse_protocol(text)


def test_shipped_servers_can_be_read() -> None:
    for network in (MAINNET, TESTNET4, SIGNET):
        servers = default_servers(network)
        assert len(servers) >= 3
        assert len(set(servers)) == len(servers)
        assert all(server.tls or server.is_onion for server in servers)
    assert default_servers(REGTEST) == ()


def test_words_of_servers_are_cleaned() -> None:
    assert clean_text("a\n\x1b[31mb‮c  d") == "a [31mb c d"
    assert len(clean_text("x" * 1000)) == 300


@pytest.mark.parametrize(
    ("words", "verdict"),
    [
        ("the transaction was rejected by network rules.\n\ntxn-already-known", Verdict.ALREADY_KNOWN),
        ("Transaction already in block chain", Verdict.ALREADY_KNOWN),
        ("Transaction outputs already in utxo set", Verdict.ALREADY_KNOWN),
        ("mempool min fee not met, 110 < 1000", Verdict.FEE_BELOW_MINIMUM),
        ("min relay fee not met, 0 < 110", Verdict.FEE_BELOW_MINIMUM),
        ("insufficient fee, rejecting replacement abc", Verdict.REPLACEMENT_FEE_TOO_LOW),
        ("bad-txns-inputs-missingorspent", Verdict.MISSING_INPUTS),
        ("txn-mempool-conflict", Verdict.CONFLICT),
        ("non-BIP68-final", Verdict.NOT_FINAL),
        ("dust, tx with dust output must be 0-fee", Verdict.DUST),
        ("mandatory-script-verify-flag-failed (Signature must be zero)", Verdict.INVALID),
        ("too-long-mempool-chain", Verdict.CHAIN_TOO_LONG),
        ("Fee exceeds maximum configured by user (e.g. -maxtxfee, maxfeerate)", Verdict.FEE_TOO_HIGH),
        ("something that nobody has said before", Verdict.OTHER),
    ],
)
def test_refusals(words: str, verdict: Verdict) -> None:
    assert classify(words) is verdict
    assert verdict.sentence.endswith(".")


def certificate(valid_days: int = 30) -> bytes:
    return self_signed("localhost", valid_days=valid_days).der


def test_pins(tmp_path: Path) -> None:
    path = tmp_path / "pins.json"
    first, second = certificate(), certificate()
    expired, renewed = certificate(-1), certificate()
    store = CertificateStore(path)
    store.check("a:1", first)
    store.check("a:1", first)
    store.trust_authority("b:1")
    store.check("c:1", expired)
    assert path.stat().st_mode & 0o777 == 0o600
    store = CertificateStore(path)
    with pytest.raises(ServerError, match="another certificate"):
        store.check("a:1", second)
    with pytest.raises(ServerError, match="vouched for"):
        store.check("b:1", first)
    with pytest.raises(ServerError, match="no certificate"):
        store.check("d:1", None)
    # A pinned one that ran out may be renewed; and from then on the new one counts.
    store.check("c:1", renewed)
    with pytest.raises(ServerError):
        store.check("c:1", second)
    store.forget("a:1")
    store.check("a:1", second)
    path.write_text("[]")
    assert CertificateStore(path).get("a:1") is None


def test_tls_with_a_pinned_certificate(tmp_path: Path) -> None:
    made = self_signed("localhost", valid_days=30)
    (tmp_path / "cert").write_bytes(made.pem)
    (tmp_path / "key").write_bytes(made.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")

    async def scenario() -> None:
        chain = SandboxChain(first_blocks=3)
        server = SandboxElectrumServer(chain)
        port = await server.start(ssl_context=context)
        recorder = Recorder()
        async with syncing(recorder, [ServerAddress(HOST, port)], tmp_path) as sync:
            await asyncio.wait_for(sync.wait_synced(), 60)
            pin = sync.certificates.get(f"{HOST}:{port}")
            assert pin is not None
            assert not pin.is_ca
        await server.stop()

    asyncio.run(scenario())


async def socks5(asked: list[tuple[str, int]], target_port: int) -> asyncio.Server:
    """A SOCKS5 proxy that wants a name and a password, and leads everybody to one port."""

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, methods = await reader.readexactly(2)
        assert 2 in await reader.readexactly(methods)
        writer.write(b"\x05\x02")
        await reader.readexactly(1)
        for _ in range(2):
            (length,) = await reader.readexactly(1)
            assert length
            await reader.readexactly(length)
        writer.write(b"\x01\x00")
        assert await reader.readexactly(4) == b"\x05\x01\x00\x03"
        (length,) = await reader.readexactly(1)
        host = (await reader.readexactly(length)).decode()
        (port,) = struct.unpack(">H", await reader.readexactly(2))
        asked.append((host, port))
        writer.write(b"\x05\x00\x00\x01" + bytes(6))
        far_reader, far_writer = await asyncio.open_connection(HOST, target_port)
        await asyncio.gather(pipe(reader, far_writer), pipe(far_reader, writer))

    return await asyncio.start_server(serve, HOST, 0)


def test_through_a_proxy_names_are_resolved_there() -> None:
    async def scenario() -> None:
        chain = SandboxChain(first_blocks=3)
        server = SandboxElectrumServer(chain)
        asked: list[tuple[str, int]] = []
        proxy = await socks5(asked, await server.start())
        recorder = Recorder()
        onion = ServerAddress("a" * 56 + ".onion", 50001, tls=False)
        way = Proxy(HOST, proxy.sockets[0].getsockname()[1])
        async with syncing(recorder, [onion], proxy=way) as sync:
            await asyncio.wait_for(sync.wait_synced(), 60)
        assert asked == [(onion.host, 50001)]
        proxy.close()
        await server.stop()
        # Without a proxy nobody is asked for an onion name; with one that is away it is said.
        async with syncing(recorder, [onion]) as sync:
            await recorder.wait_for(lambda: sync.status().servers[0].error is ServerErrorKind.PROXY)
            assert "Tor" in sync.status().servers[0].reason
        async with syncing(recorder, [onion], proxy=Proxy(HOST, 1)) as sync:
            away = f"The proxy {HOST}:1 cannot be reached: Connection refused. Is it running?"
            await recorder.wait_for(lambda: sync.status().servers[0].reason == away)
            assert sync.status().servers[0].error is ServerErrorKind.PROXY

        # One that answers, as a page of the web does, is no proxy: that is no word about the address.
        async def page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.write(b"HTTP/1.1 400 Bad Request")
            writer.close()

        no_proxy = await asyncio.start_server(page, HOST, 0)
        way = Proxy(HOST, no_proxy.sockets[0].getsockname()[1])
        async with syncing(recorder, [onion], proxy=way) as sync:
            await recorder.wait_for(lambda: "the proxy says" in sync.status().servers[0].reason)
            assert sync.status().servers[0].error is ServerErrorKind.PROXY
        no_proxy.close()

    asyncio.run(scenario())


def test_resume_from_sleep_finds_dead_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    from wallet.chain.electrum import sync as sync_module

    monkeypatch.setattr(sync_module, "RESUME_PING_SECONDS", 0.2)
    assert session_module.REQUEST_TIMEOUT_SECONDS > 1

    async def scenario() -> None:
        chain = SandboxChain(first_blocks=3)
        server = SandboxElectrumServer(chain)
        address = ServerAddress(HOST, await server.start(), tls=False)
        recorder = Recorder()
        async with syncing(recorder, [address]) as sync:
            await asyncio.wait_for(sync.wait_synced(), 60)
            server.lies.silent.add("server.ping")
            sync.reconnect()
            # Said at once: what it told before the sleep is no news of now.
            assert sync.status().servers[0].checking
            await recorder.wait_for(lambda: sync.status().servers[0].error is ServerErrorKind.TIMEOUT)
            await recorder.wait_for(lambda: not sync.status().servers[0].checking)
            server.lies.silent.clear()
            await recorder.wait_for(lambda: sync.status().servers[0].state is ServerState.ONLINE)
        await server.stop()

    asyncio.run(scenario())


def test_a_proxy_that_is_chosen_while_it_runs_is_used_from_then_on() -> None:
    async def scenario() -> None:
        chain = SandboxChain(first_blocks=3)
        server = SandboxElectrumServer(chain)
        address = ServerAddress(HOST, await server.start(), tls=False)
        onion = ServerAddress("leyden" * 9 + "aa.onion", 50001, tls=False)
        recorder = Recorder()
        async with syncing(recorder, [address, onion]) as sync:
            status = {}

            def reason() -> str:
                status.update({server.address: server for server in sync.status().servers})
                return str(status[onion].reason)

            await recorder.wait_for(lambda: "Tor's proxy only" in reason())
            await sync.set_proxy(Proxy(HOST, 1))
            await recorder.wait_for(lambda: bool(reason()) and "Tor's proxy only" not in reason())
            await recorder.wait_for(lambda: sync.status().servers[0].state is ServerState.ONLINE)
        await server.stop()

    asyncio.run(scenario())
