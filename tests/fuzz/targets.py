"""What `decode` can feed bytes to: each target reads them, writes what was accepted, and reads that again.

A target is a function of raw bytes. It raises `Refused` where the decoder refused in its own way, and `Violation` (or
whatever the decoder let out) where it did what a decoder must not. The decoders of the core refuse with `DecodeError`;
those of the rooms above it with their own kind of sentence, which is named beside each of them here: `ServerError` for
a server's answer, `StoreError` for a wallet file, `CommandError` for what a person or a program asks.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, TypeVar, cast
from unittest.mock import patch

from aiorpcx import Notification, Request, RPCError
from aiorpcx.jsonrpc import JSONRPCConnection, ProtocolError

from tests.fuzz.rows import RECORDS
from wallet.bitcoin import bip39, curve, records
from wallet.bitcoin.address import MAINNET, NETWORKS, REGTEST, address_to_script, script_to_address
from wallet.bitcoin.bip32 import ExtendedKey
from wallet.bitcoin.errors import APIError, DecodeError
from wallet.bitcoin.psbt import Psbt
from wallet.bitcoin.tx import BlockHeader, OutPoint, Transaction, Txid, TxIn, TxOut
from wallet.chain.electrum.errors import ServerError
from wallet.chain.electrum.rpc import RpcBroken, RpcConnection, RpcRefusal, _Protocol
from wallet.chain.electrum.session import ElectrumSession, ServerAddress, SessionListener
from wallet.chain.interfaces import Row
from wallet.ln import msgs
from wallet.ln.channel_backup import ChannelBackups
from wallet.ln.event_queue import decode_event, encode_event
from wallet.ln.features import Features
from wallet.ln.invoice import Invoice, build_invoice, parse_invoice
from wallet.ln.msgs import SocketAddress, UnknownMessage, decode_addresses, decode_message, encode_addresses
from wallet.ln.onion_failure import Failure
from wallet.ln.onion_payload import decode_payload, encode_payload, open_recipient_data, seal_recipient_data
from wallet.ln.onion_utils import peel_payment_onion
from wallet.ln.routing.graph import NetworkGraph
from wallet.ln.routing.rapid_gossip import apply_snapshot, read_snapshot
from wallet.ln.routing.scoring import ProbabilisticScorer
from wallet.ln.wire import StateReader, decode_bigsize, decode_tlv_stream, encode_bigsize, encode_tlv_stream
from wallet.node import cli, peer_storage
from wallet.node.api import CommandError, Json
from wallet.node.backup import BackupError, _aead, open_backup, seal_backup
from wallet.node.commands import by_place, find_command, from_words, registry, run
from wallet.node.rpc import RpcServer, _Refused
from wallet.node.rpc_client import _result
from wallet.node.sockets import parse_node_uri
from wallet.node.store import ON_DEMAND_SPACES, Store, StoreError

__all__ = ["TARGETS", "Refused", "Target", "Violation"]

Target = Callable[[bytes], None]
T = TypeVar("T")

SECRET: Final = b"\x17" * 32
PUBKEY: Final = curve.pubkey_from_secret(SECRET)


class Violation(Exception):
    """A decoder did what no decoder may do."""


class Refused(Exception):
    """The decoder said no, in the way that it may."""


def text_of(raw: bytes) -> str:
    """Text as a clipboard or a QR code may hold it: bytes that are no UTF-8 come as the characters of their numbers."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def round_trip(
    read: Callable[[bytes], T],
    write: Callable[[T], bytes],
    *,
    refusals: tuple[type[Exception], ...] = (DecodeError,),
    same: Callable[[T, T], bool] = lambda one, other: one == other,
) -> Target:
    """A target of a decoder and its encoder."""

    def target(raw: bytes) -> None:
        try:
            value = read(raw)
        except refusals as error:
            raise Refused(str(error)) from None
        written = write(value)
        try:
            again = read(written)
        except refusals as error:
            raise Violation(
                f"accepted, but what it is written as is refused: {error}\n{value!r}\n{written!r}"
            ) from error
        if not same(value, again):
            raise Violation(f"accepted, but written and read again it is another:\n{value!r}\n{again!r}")

    return target


def text_round_trip(read: Callable[[str], T], write: Callable[[T], str]) -> Target:
    return round_trip(lambda raw: read(text_of(raw)), lambda value: write(value).encode())


def both(*parts: Target) -> Target:
    """One input for several decoders; refused where all of them refuse."""

    def target(raw: bytes) -> None:
        refusals = []
        for part in parts:
            try:
                part(raw)
            except Refused as refused:
                refusals.append(refused)
        if len(refusals) == len(parts):
            raise refusals[0]

    return target


# --- BOLT 1, 2, 4, 7: messages --------------------------------------------------------------------


def message_name(kind: type[object]) -> str:
    """The name that the BOLTs have for a message: OpenChannel is open_channel."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__.rstrip("_")).lower()


UNREAD_MESSAGES: Final[Mapping[str, int]] = {
    "open_channel2": 64,
    "accept_channel2": 65,
    "tx_add_input": 66,
    "tx_add_output": 67,
    "tx_remove_input": 68,
    "tx_remove_output": 69,
    "tx_complete": 70,
    "tx_signatures": 71,
    "tx_init_rbf": 72,
    "tx_ack_rbf": 73,
    "splice_locked": 77,
    "splice_init": 80,
    "splice_ack": 81,
}
"""Messages of features that we never offer: they are passed on unread, and end the connection where even."""


def _message(kind: type[msgs.Message]) -> Target:
    number = kind.MESSAGE_TYPE.to_bytes(2, "big")

    def read(payload: bytes) -> msgs.Message:
        message = decode_message(number + payload)
        if not isinstance(message, kind):
            raise Violation(f"read as {type(message).__name__}")
        repr(message)
        return message

    return round_trip(read, lambda message: message.encode_payload())


def _unread_message(number: int) -> Target:
    def read(payload: bytes) -> UnknownMessage:
        message = decode_message(number.to_bytes(2, "big") + payload)
        if not isinstance(message, UnknownMessage):
            raise Violation(f"read as {type(message).__name__}")
        return message

    return round_trip(read, lambda message: message.payload)


def _any_message(raw: bytes) -> None:
    """With its type in front."""

    def write(message: msgs.Message | UnknownMessage) -> bytes:
        if isinstance(message, UnknownMessage):
            return message.type_number.to_bytes(2, "big") + message.payload
        return message.MESSAGE_TYPE.to_bytes(2, "big") + message.encode_payload()

    round_trip(decode_message, write)(raw)


# --- BOLT 1 and 4: streams, payloads, onions --------------------------------------------------------


def _tlv_stream(raw: bytes) -> None:
    whole: Callable[[bytes], dict[int, bytes]] = lambda data: decode_tlv_stream(data, None)  # noqa: E731
    round_trip(whole, encode_tlv_stream)(raw)
    # BOLT 1: it differs from one that knows no type by what is even only.
    try:
        odd = decode_tlv_stream(raw)
    except DecodeError as error:
        if all(tlv_type % 2 for tlv_type in whole(raw)):
            raise Violation(f"refused, though every type is odd: {error}") from error
        return
    if odd != whole(raw):
        raise Violation("an unknown odd record was lost")


def _bigsize(raw: bytes) -> None:
    def read(data: bytes) -> int:
        value, end = decode_bigsize(data)
        if encode_bigsize(value) != data[:end]:
            raise Violation(f"{data[:end].hex()} and {encode_bigsize(value).hex()} are both {value}")
        return value

    round_trip(read, encode_bigsize)(raw)


def _state_row(raw: bytes) -> None:
    def read(data: bytes) -> StateReader:
        reader = StateReader(data)
        for ask in (reader.optional_int, reader.optional_bool, reader.optional_text, reader.optional_signed):
            for tlv_type in range(8):
                with contextlib.suppress(DecodeError):
                    ask(tlv_type)
        with contextlib.suppress(DecodeError):
            reader.list(2)
        reader.finish()
        return reader

    try:
        read(raw)
    except DecodeError as error:
        raise Refused(str(error)) from None


def _hop_payload(is_final: bool) -> Target:
    return round_trip(lambda raw: decode_payload(raw, is_final=is_final), encode_payload)


def _framed(payload: Target) -> Target:
    """As it stands in the onion: behind its length."""

    def target(raw: bytes) -> None:
        try:
            length, start = decode_bigsize(raw)
        except DecodeError as error:
            raise Refused(str(error)) from None
        payload(raw[start : start + length])

    return target


def _recipient_data(raw: bytes) -> None:
    """The plain text of what a payee seals for a hop; sealed here, so that the decoder gets to see it."""
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    from wallet.ln.onion_payload import _rho

    sealed = ChaCha20Poly1305(_rho(SECRET)).encrypt(bytes(12), raw, None)
    with contextlib.suppress(DecodeError):
        open_recipient_data(SECRET, raw)
    round_trip(
        lambda data: open_recipient_data(SECRET, data), lambda data: seal_recipient_data(SECRET, data)
    )(sealed)


def _onion_packet(raw: bytes) -> None:
    """Any bytes as an onion for us: whatever they are, there is an answer to give."""
    packet = raw[: msgs.ONION_PACKET_LENGTH].ljust(msgs.ONION_PACKET_LENGTH, b"\x00")
    peel_payment_onion(packet, bytes(32), lambda pubkey: curve.ecdh(SECRET, pubkey))


def _onion_failure(raw: bytes) -> None:
    def read(data: bytes) -> Failure:
        failure = Failure.decode(data)
        repr((failure.sentence, failure.channel_update, failure.payee_height))
        return failure

    round_trip(read, Failure.encode)(raw)


# --- text: invoices, addresses, keys, links ---------------------------------------------------------


def _sign(digest: bytes) -> bytes:
    return curve.sign_recoverable(digest, SECRET)


def _bolt11(raw: bytes) -> None:
    """An accepted invoice is its text. Where our own writer would write such a one, it reads back the same."""
    text = text_of(raw)
    accepted: Invoice | None = None
    refusal = ""
    for network in NETWORKS.values():
        try:
            accepted = parse_invoice(text, network)
            break
        except DecodeError as error:
            refusal = str(error)
    if accepted is None:
        raise Refused(refusal)
    if parse_invoice(accepted.text, accepted.network) != accepted:
        raise Violation("the text of an invoice is another invoice")
    repr((accepted.fallback_addresses, accepted.is_expired(1), accepted.payment_parameters()))
    try:
        again = build_invoice(
            network=accepted.network,
            payment_hash=accepted.payment_hash,
            payment_secret=accepted.payment_secret,
            created_at=accepted.created_at,
            sign=_sign,
            amount_msat=accepted.amount_msat,
            description=accepted.description,
            description_hash=accepted.description_hash,
            expiry_seconds=accepted.expiry_seconds,
            min_final_cltv_delta=accepted.min_final_cltv_delta,
            fallbacks=accepted.fallbacks,
            hints=accepted.hints,
            features=accepted.features,
            payment_metadata=accepted.payment_metadata,
        )
    except APIError:
        # The writer refuses a time limit of zero, which a reader has to put up with.
        return
    kept = replace(
        again,
        text=accepted.text,
        payee=accepted.payee,
        payee_is_given=accepted.payee_is_given,
        signature=accepted.signature,
    )
    if kept != accepted:
        raise Violation(f"written anew, it is another invoice:\n{accepted!r}\n{kept!r}")


def _address(raw: bytes) -> None:
    text = text_of(raw)
    found = False
    for network in NETWORKS.values():
        try:
            script = address_to_script(text, network)
        except DecodeError:
            continue
        found = True
        address = script_to_address(script, network)
        if address is None or address_to_script(address, network) != script:
            raise Violation(f"{text!r} pays to {script.hex()}, which is written {address!r}")
    if not found:
        raise Refused("no address of any network")


def _words(raw: bytes) -> None:
    words = text_of(raw)
    round_trip(
        lambda data: bip39.mnemonic_to_entropy(data.decode()),
        lambda entropy: bip39.mnemonic_from_entropy(entropy).encode(),
    )(words.encode())


class _StandIn:
    """What `recognise` asks of a node: nothing was paid, no channel is there."""

    def __init__(self) -> None:
        self.failure = ""
        self.options = SimpleNamespace(network=REGTEST)
        self.ledger = SimpleNamespace(payments={})
        self.address_book = SimpleNamespace(find=lambda name: None)
        self.keys_manager = SimpleNamespace(get_node_id=lambda: PUBKEY)
        self.core = SimpleNamespace(locked=contextlib.nullcontext)
        self.manager = SimpleNamespace(list_usable_channels=list)
        self.onchain = SimpleNamespace(sent_to=lambda script: [])

    def wall_clock_at(self) -> int:
        return 1_700_000_000

    def alias_of(self, node_id: bytes) -> str:
        return node_id.hex()


def finish(work: Awaitable[T]) -> T:
    """Runs what needs no loop: nothing in it waits."""
    steps = work.__await__()
    try:
        next(steps)
    except StopIteration as done:
        return cast("T", done.value)
    raise Violation("it waits for something")


def _recognised(text: str) -> Mapping[str, Json]:
    try:
        found = finish(run(cast("Any", _StandIn()), "recognise", {"text": text}))
    except CommandError as error:
        raise Refused(error.message) from None
    if not isinstance(found, dict) or not isinstance(found.get("message"), str):
        raise Violation(f"no answer that a window can show: {found!r}")
    json.dumps(found)
    return found


def _pasted(raw: bytes) -> None:
    found = _recognised(text_of(raw))
    if found["kind"] == "unknown":
        raise Refused(str(found["message"]))


def _bip21(raw: bytes) -> None:
    import urllib.parse

    text = text_of(raw)
    found = _recognised(text if text[:8].lower() == "bitcoin:" else f"bitcoin:{text}")
    if found["kind"] == "unknown":
        raise Refused(str(found["message"]))
    if found["kind"] != "address":
        return
    query = {"label": str(found["label"])}
    if found["amount_sat"] is not None:
        query["amount"] = registry.btc_text(int(str(found["amount_sat"])))
    # RFC 3986: a plus is a plus; a space is %20.
    again = _recognised(
        f"bitcoin:{found['address']}?{urllib.parse.urlencode(query, quote_via=urllib.parse.quote)}"
    )
    if again != found:
        raise Violation(f"written as a link, it is another:\n{found!r}\n{again!r}")


# --- files ------------------------------------------------------------------------------------------


def _psbt(raw: bytes) -> None:
    both(
        round_trip(Psbt.parse, Psbt.serialize),
        round_trip(lambda data: Psbt.parse(text_of(data)), lambda psbt: psbt.to_base64().encode()),
    )(raw)


BACKUP_HEADER: Final = b"LEYDENCB\x01"


def seal(plain: bytes) -> bytes:
    """As `seal_backup` does it, whatever the plain text is."""
    return BACKUP_HEADER + bytes(12) + _aead(SECRET).encrypt(bytes(12), plain, BACKUP_HEADER)


def _channel_backup(raw: bytes) -> None:
    """As a file, and as what is sealed in one."""

    def read(data: bytes) -> ChannelBackups:
        return open_backup(SECRET, data)

    file = round_trip(read, lambda backups: seal_backup(SECRET, backups), refusals=(BackupError,))
    both(file, lambda plain: file(seal(plain)))(raw)


def seal_for_peer(plain: bytes) -> bytes:
    """As `seal_blob` does it, whatever the plain text is."""
    return bytes(12) + peer_storage._aead(SECRET).encrypt(bytes(12), plain, peer_storage.PURPOSE)


def _peer_storage_blob(raw: bytes) -> None:
    """What a peer gives back as ours, and what is sealed in one."""

    def read(data: bytes) -> ChannelBackups:
        return peer_storage.open_blob(SECRET, data)

    blob = round_trip(read, lambda backups: peer_storage.seal_blob(SECRET, backups)[0])
    both(blob, lambda plain: blob(seal_for_peer(plain)))(raw)


def _graph(raw: bytes) -> None:
    def read(data: bytes) -> NetworkGraph:
        graph = NetworkGraph.read(data, REGTEST)
        graph.snapshot()
        return graph

    from wallet.bitcoin.hashes import sha256

    same: Callable[[NetworkGraph, NetworkGraph], bool] = lambda a, b: a.write() == b.write()  # noqa: E731
    plain = round_trip(read, NetworkGraph.write, same=same)
    # Noise hardly ever hits the checksum: it is made to fit as well.
    both(plain, lambda data: plain(data + sha256(data)), lambda data: plain(data[:-32] + sha256(data[:-32])))(
        raw
    )


def _rapid_gossip(raw: bytes) -> None:
    """Whatever is accepted goes into a graph, which can be searched and is stored."""
    try:
        snapshot = read_snapshot(raw, REGTEST, 1_700_000_000)
    except DecodeError as error:
        raise Refused(str(error)) from None
    graph = NetworkGraph(REGTEST)
    for _ in apply_snapshot(snapshot, graph):
        graph.snapshot()
    if NetworkGraph.read(graph.write(), REGTEST).write() != graph.write():
        raise Violation("the graph of a snapshot is stored as another")


def _scores(raw: bytes) -> None:
    graph = NetworkGraph(REGTEST)
    round_trip(
        lambda data: ProbabilisticScorer.read(data, graph),
        ProbabilisticScorer.write,
        same=lambda a, b: a.write() == b.write(),
    )(raw)


def _read_wallet(path: Path) -> tuple[str, list[tuple[str, bytes, bytes]]]:
    Store.is_encrypted(path)
    Store.check(path, password="")
    store = Store.open(path, password="")
    try:
        with store._reading():
            spaces = store._connection.execute("SELECT DISTINCT space FROM rows").fetchall()
        rows = []
        for (space,) in spaces:
            if isinstance(space, str) and space not in ON_DEMAND_SPACES:
                rows += [(space, key, value) for key, value in store.rows(space)]
        return store.network, sorted(rows)
    finally:
        store.close()


def _wallet_file(raw: bytes) -> None:
    with tempfile.TemporaryDirectory(prefix="leyden-fuzz-") as name:
        path = Path(name) / "wallet.leyden"
        path.write_bytes(raw)
        try:
            network, rows = _read_wallet(path)
        except StoreError as error:
            raise Refused(str(error)) from None
        copy = Path(name) / "again" / "wallet.leyden"
        try:
            written = [Row(space, key, value) for space, key, value in rows]
            Store.create(copy, network=network, password="", rows=written).close()
            again = _read_wallet(copy)
        except (StoreError, sqlite3.Error) as error:
            raise Violation(f"read, but it cannot be written: {error}") from error
        if again != (network, rows):
            raise Violation("written anew, it is another wallet")


# --- what servers say -------------------------------------------------------------------------------


def json_text(value: object) -> str:
    """JSON without a recursion of its own, and with every digit: what a hostile server sends may be deep and long."""
    parts: list[str] = []
    waiting: list[object] = [value]
    verbatim = SimpleNamespace
    while waiting:
        item = waiting.pop()
        if isinstance(item, verbatim):
            parts.append(item.text)
        elif isinstance(item, Decimal):
            # As a number with an exponent: without it, a whole one would come back as an int.
            sign, digits, exponent = item.as_tuple()
            parts.append(f"{'-' if sign else ''}{''.join(map(str, digits))}E{exponent}")
        elif isinstance(item, list):
            waiting.append(verbatim(text="]"))
            for index, member in reversed(list(enumerate(item))):
                waiting.append(member)
                if index:
                    waiting.append(verbatim(text=","))
            waiting.append(verbatim(text="["))
        elif isinstance(item, dict):
            waiting.append(verbatim(text="}"))
            for index, (key, member) in reversed(list(enumerate(item.items()))):
                waiting.append(member)
                waiting.append(verbatim(text=f"{',' if index else ''}{json.dumps(key)}:"))
            waiting.append(verbatim(text="{"))
        else:
            parts.append(json.dumps(item))
    return "".join(parts)


class _Answers:
    """A connection whose server answers every question alike."""

    closed = False
    broken = None

    def __init__(self, answer: object) -> None:
        self._answer = answer

    async def request(self, method: str, params: Sequence[object], timeout_seconds: float) -> object:
        return self._answer


TX: Final = Transaction(
    2,
    (TxIn(OutPoint(Txid(b"\xaa" * 32), 0), b"", 0xFFFF_FFFD, (b"\x01",)),),
    (TxOut(1_000, b"\x00\x14" + bytes(20)),),
    0,
)
SCRIPT: Final = TX.outputs[0].script_pubkey


SERVER: Final = ServerAddress("localhost", 1, False)


def _questions(session: ElectrumSession) -> list[Callable[[], Awaitable[object]]]:
    txid = TX.txid
    return [
        lambda: session._handshake(MAINNET.chain_hash, "1.7"),
        session.ping,
        session.subscribe_headers,
        lambda: session.block_header(1),
        lambda: session.block_headers(1, 3),
        lambda: session.subscribe_script(SCRIPT),
        lambda: session.script_history(SCRIPT),
        lambda: session.script_unspent(SCRIPT),
        lambda: session.transaction(txid),
        lambda: session.merkle_proof(txid, 7),
        lambda: session.id_from_pos(7, 1),
        lambda: session.outpoint_status(OutPoint(txid, 0), SCRIPT),
        lambda: session.estimate_fee_sat_per_kvb(6),
        session.mempool_minimum_sat_per_kvb,
        lambda: session.broadcast(TX),
        lambda: session.broadcast_package([TX]),
    ]


QUESTIONS: Final = len(_questions(ElectrumSession(SERVER, SessionListener(), through_proxy=False)))


def _asked(answer: object) -> int:
    """Puts an answer to every question that we ask, in each protocol; how many of them it answers."""
    understood = 0
    for protocol in ((1, 4), (1, 6), (1, 7)):
        for index in range(QUESTIONS):
            session = ElectrumSession(SERVER, SessionListener(), through_proxy=False)
            session.protocol = protocol
            session._connection = cast("RpcConnection", _Answers(answer))
            question = _questions(session)[index]()
            try:
                if index:
                    finish(question)
                else:
                    # The handshake gathers two answers, which takes a loop.
                    asyncio.run(_awaited(question))
            except ServerError as error:
                repr(error.message)
                continue
            understood += 1
    return understood


async def _awaited(work: Awaitable[object]) -> object:
    return await work


def _electrum_json(raw: bytes) -> None:
    """One line of a server: framed as JSON-RPC, and its value as the answer to whatever we may have asked."""

    def read(data: bytes) -> object:
        return _Protocol._message_to_payload(data)

    same: Callable[[object, object], bool] = lambda a, b: json_text(a) == json_text(b)  # noqa: E731
    round_trip(read, lambda value: json_text(value).encode(), refusals=(RpcBroken,), same=same)(raw)
    value = read(raw)
    _message_of_a_server(raw)
    _asked(value)
    if isinstance(value, dict) and "result" in value:
        _asked(value["result"])


def _message_of_a_server(raw: bytes) -> None:
    """The JSON-RPC rules, while two questions wait for an answer; then what came by itself."""
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(_converse(raw))
    finally:
        loop.close()


async def _converse(raw: bytes) -> None:
    connection = JSONRPCConnection(_Protocol)
    futures = [connection.send_request(Request("server.ping", []))[1] for _ in range(2)]
    session = ElectrumSession(SERVER, SessionListener(), through_proxy=False)
    session._scripts = {"00" * 32: SCRIPT}
    try:
        for item in connection.receive_message(raw):
            if (
                isinstance(item, Notification)
                and isinstance(item.method, str)
                and isinstance(item.args, list)
            ):
                session._notified(item.method, item.args)
    except (RpcBroken, ProtocolError):
        pass
    for future in futures:
        if not future.done():
            future.cancel()
            continue
        if future.cancelled():
            continue
        error = future.exception()
        if isinstance(error, RPCError) and not isinstance(error, ProtocolError):
            repr(RpcRefusal(int(error.code), str(error.message)))


# --- what people and programs ask -------------------------------------------------------------------


async def _echo(node: object, **values: Json) -> Json:
    """In the place of every command: its arguments, as they were checked."""
    return values


def _ask(method: str, params: Mapping[str, Json] | Sequence[Json]) -> Json:
    """A call as the daemon reads it, with the commands' own work left out. Raises `CommandError`."""
    if method == "command_line":
        from wallet.node.daemon import _typed

        name, words = _typed(params)
        found = find_command(name)
        arguments = from_words(found, words)
    else:
        found = find_command(method)
        arguments = dict(params) if isinstance(params, Mapping) else by_place(found, params)
    stub = replace(found, function=_echo)
    with patch.dict(registry.COMMANDS, {found.name: stub}):
        return finish(run(cast("Any", _StandIn()), found.name, arguments))


def _rpc_request(raw: bytes) -> None:
    """One body: always a JSON-RPC answer, never an internal failure; what is accepted is accepted alike once more."""

    async def handler(method: str, params: Mapping[str, Json] | Sequence[Json]) -> Json:
        return _ask(method, params)

    server = RpcServer(Path("nowhere"), handler)
    answer = json.loads(finish(server._answer(raw)))
    if not isinstance(answer, dict) or answer.get("jsonrpc") != "2.0":
        raise Violation(f"no JSON-RPC answer: {answer!r}")
    error = answer.get("error")
    if error is None:
        request = json.loads(raw)
        again = json.loads(finish(server._answer(json.dumps(request).encode())))
        if again != answer:
            raise Violation(f"asked again, another answer: {answer!r} {again!r}")
        return
    if error["data"]["code"] == "internal":
        raise Violation(f"a failure within: {error['message']}")
    raise Refused(error["message"])


def _rpc_http(raw: bytes) -> None:
    """What may arrive at the port: the credentials are put in where they belong, so that more than a header is read."""

    async def handler(method: str, params: Mapping[str, Json] | Sequence[Json]) -> Json:
        raise CommandError("never asked")

    async def serve() -> None:
        import base64

        server = RpcServer(Path("nowhere"), handler)
        known = base64.b64encode(f"leyden:{server._password}".encode())
        reader = asyncio.StreamReader(limit=16 * 1024)
        reader.feed_data(raw.replace(b"CREDENTIALS", known))
        reader.feed_eof()
        try:
            request = await server._read(reader)
        except (_Refused, asyncio.IncompleteReadError) as error:
            raise Refused(str(error)) from None
        if request is None:
            raise Refused("no request")

    asyncio.run(serve())


def _rpc_answer(raw: bytes) -> None:
    """What a command line gets from whatever listens on the daemon's port."""
    try:
        json.dumps(_result(raw))
    except CommandError as error:
        raise Refused(error.message) from None


def _command_line(raw: bytes) -> None:
    """A command line, its words one a line."""
    words = text_of(raw).split("\n")
    try:
        repr(cli.parse(words))
    except CommandError as error:
        raise Refused(error.message) from None


# --- all of them ------------------------------------------------------------------------------------


def _record(cls: type[object]) -> Target:
    return round_trip(lambda raw: records.decode(cls, raw), records.encode)


MESSAGE_CLASSES: Final = {message_name(kind): kind for kind in msgs._CLASSES}

TARGETS: Final[Mapping[str, Target]] = {
    **{name: _message(kind) for name, kind in MESSAGE_CLASSES.items()},
    **{name: _unread_message(number) for name, number in UNREAD_MESSAGES.items()},
    "message": _any_message,
    "onion_hop_data": both(
        _hop_payload(False), _hop_payload(True), _framed(_hop_payload(False)), _framed(_hop_payload(True))
    ),
    "encrypted_recipient_data": _recipient_data,
    "onion_packet": _onion_packet,
    "onion_failure": _onion_failure,
    "tlv_stream": _tlv_stream,
    "bigsize": _bigsize,
    "features": round_trip(Features.from_bytes, Features.to_bytes),
    "node_address": round_trip(decode_addresses, encode_addresses, same=lambda a, b: sorted(a) == sorted(b)),
    "socket_address": text_round_trip(SocketAddress.parse, str),
    "bolt11": _bolt11,
    "address": _address,
    "bip21": _bip21,
    "pasted_text": _pasted,
    "node_uri": text_round_trip(parse_node_uri, str),
    "server_address": text_round_trip(ServerAddress.parse, str),
    "mnemonic": _words,
    "extended_key": text_round_trip(
        lambda text: ExtendedKey.from_base58(text, MAINNET), ExtendedKey.to_base58
    ),
    "transaction": round_trip(Transaction.parse, Transaction.serialize),
    "block_header": round_trip(BlockHeader.parse, BlockHeader.serialize),
    "psbt": _psbt,
    "electrum_json": _electrum_json,
    "wallet_file": _wallet_file,
    "channel_backup": _channel_backup,
    "peer_storage_blob": _peer_storage_blob,
    "graph_file": _graph,
    "rapid_gossip": _rapid_gossip,
    "scores_file": _scores,
    "state_row": _state_row,
    "rpc_request": _rpc_request,
    "rpc_http": _rpc_http,
    "rpc_answer": _rpc_answer,
    "command_line": _command_line,
    **{f"row_{name}": _record(cls) for name, cls in RECORDS.items()},
    "row_event": round_trip(decode_event, encode_event),
}
