"""A server that lies: it stands between Leyden and an ElectrumX, and changes what passes.

    liar = LyingServer(net.electrum)
    with liar:
        liar.tell(WrongProof())
        ...
        liar.tell()  # honest again

What is a lie is decided answer by answer (`Lie.answer`) and notification by notification (`Lie.notification`); a lie
may also keep an answer back, send bytes that are no answer, or go on for ever. It runs on a thread with a loop of its
own, so that tests need not be written for asyncio. Protocols 1.4 to 1.6: scripts are named by their hashes.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import json
import secrets
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from tests.real.harness import BitcoinNode, ElectrumServer
from tests.real.process import HOST
from wallet.bitcoin.hashes import sha256d
from wallet.bitcoin.tx import Transaction

__all__ = [
    "AbsurdFees",
    "Drip",
    "EndlessAnswer",
    "ForeignHistory",
    "FutureBlock",
    "HiddenTransactions",
    "HugeAnswer",
    "Late",
    "Lie",
    "LyingServer",
    "MissingHeader",
    "NotJson",
    "OneByOne",
    "OtherBlock",
    "OtherTransaction",
    "OtherWitness",
    "Silence",
    "StaleTip",
    "Storm",
    "WeakerFork",
    "WrongHeader",
    "WrongIds",
    "WrongProof",
]

T = TypeVar("T")
Json = Any  # what a JSON message holds is the lie's to know
LINE_LIMIT_BYTES = 64_000_000
HEADER_BYTES = 80
REGTEST_BITS = 0x207FFFFF
EASY_TARGET = 0x7FFFFF << 8 * (0x20 - 3)
LATE_SECONDS = 25
"""Before the wallet gives up on a question."""
HISTORY = "blockchain.scripthash.get_history"
SUBSCRIBE = "blockchain.scripthash.subscribe"
HEADERS = "blockchain.headers.subscribe"


@dataclass(frozen=True, slots=True)
class Question:
    """What the wallet asked."""

    method: str
    params: tuple[Json, ...]


class Refusal(Exception):
    """The lie answers with an error."""


class Passage:
    """One connection of the wallet, as a lie sees it.

    Attributes:
        told: the status told last, by script hash.
        speaking: held while something is said: nothing comes through in between.
    """

    def __init__(
        self, server: LyingServer, wallet: asyncio.StreamWriter, upstream: asyncio.StreamWriter
    ) -> None:
        self.server = server
        self.told: dict[str, str | None] = {}
        self.speaking = asyncio.Lock()
        self._wallet = wallet
        self._upstream = upstream
        self._numbers = itertools.count()
        self._questions: dict[Json, Question] = {}
        self._own: dict[str, asyncio.Future[Json]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, method: str, *params: Json) -> Json:
        """Asks the real server something of our own."""
        number = f"liar {next(self._numbers)}"
        future = self._own[number] = asyncio.get_running_loop().create_future()
        await self._pass_on({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        answer = await future
        if "error" in answer:
            raise Refusal(str(answer["error"]))
        return answer["result"]

    async def send(self, data: bytes) -> None:
        """Bytes to the wallet."""
        self._wallet.write(data)
        await self._wallet.drain()

    async def say(self, message: Json) -> None:
        await self.send(json.dumps(message).encode() + b"\n")

    async def _pass_on(self, message: Json) -> None:
        self._upstream.write(json.dumps(message).encode() + b"\n")
        await self._upstream.drain()

    # --- both directions ---

    async def from_wallet(self, reader: asyncio.StreamReader) -> None:
        async for line in _lines(reader):
            message = json.loads(line)
            question = Question(message["method"], tuple(message.get("params", ())))
            self._questions[message["id"]] = question
            self.server.count(question.method)
            await self._pass_on(message)

    async def from_server(self, reader: asyncio.StreamReader) -> None:
        async for line in _lines(reader):
            message = json.loads(line)
            own = self._own.pop(message.get("id"), None)
            if own is not None:
                if not own.done():
                    own.set_result(message)
            else:
                # Each on its own: a lie may take its time, or ask back.
                self.spawn(self._tell(message))

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Something beside, until the connection ends."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tell(self, message: Json) -> None:
        with contextlib.suppress(ConnectionError):
            if message.get("id") is None:
                await self._notify(message)
            else:
                await self._answer(self._questions.pop(message["id"]), message)

    async def _notify(self, message: Json) -> None:
        for lie in self.server.lies:
            params = await lie.notification(self, message["method"], message["params"])
            if params is None:
                return
            message = {**message, "params": params}
        if message["method"] == SUBSCRIBE:
            self.told[message["params"][0]] = message["params"][1]
        async with self.speaking:
            await self.say(message)

    async def _answer(self, question: Question, message: Json) -> None:
        for lie in self.server.lies:
            if "result" in message:
                try:
                    message = {**message, "result": await lie.answer(self, question, message["result"])}
                except Refusal as refusal:
                    message = {
                        "jsonrpc": "2.0",
                        "id": message["id"],
                        "error": {"code": 2, "message": str(refusal)},
                    }
        if question.method == SUBSCRIBE and "result" in message:
            self.told[question.params[0]] = message["result"]
        async with self.speaking:
            for lie in self.server.lies:
                if await lie.send(self, question, message):
                    return
            await self.say(message)

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        for future in self._own.values():
            future.cancel()
        self._wallet.close()
        self._upstream.close()


async def _lines(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while line := await reader.readline():
        yield line


class LyingServer:
    """Listens on 127.0.0.1, passes everything on to a real server, and lies where it was told to.

    Attributes:
        lies: in the order in which they get hold of an answer.
        port: where it listens, also while it does not.
    """

    host = HOST

    def __init__(self, server: ElectrumServer) -> None:
        self.server = server
        self.port = server.node.ports.take()
        self.lies: tuple[Lie, ...] = ()
        self._changed = threading.Condition()
        self._asked: Counter[str] = Counter()
        self._connected = 0
        self._passages: set[Passage] = set()
        self._listening: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="lying server", daemon=True)

    # --- for tests ---

    def start(self) -> None:
        self._thread.start()
        self._do(self._listen())

    def close(self) -> None:
        self._do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def tell(self, *lies: Lie) -> None:
        """From the next answer on: these lies, and no others."""

        async def change() -> None:
            self.lies = lies

        self._do(change())

    def hang_up(self) -> None:
        """Every connection is lost; new ones are taken."""
        self._do(self._drop())

    @property
    def connections(self) -> int:
        """How many were ever taken."""
        return self._connected

    def asked(self, method: str) -> int:
        """How often the wallet has asked this."""
        with self._changed:
            return self._asked[method]

    def wait_asked(self, method: str, times: int = 1, *, timeout_seconds: float = 30) -> None:
        """Until the wallet has asked this so many times in all."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._asked[method] >= times, timeout_seconds), (
                method,
                times,
            )

    # --- on its loop ---

    def count(self, method: str) -> None:
        with self._changed:
            self._asked[method] += 1
            self._changed.notify_all()

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _listen(self) -> None:
        self._listening = await asyncio.start_server(self._serve, HOST, self.port, limit=LINE_LIMIT_BYTES)

    async def _drop(self) -> None:
        for passage in list(self._passages):
            passage.close()

    async def _stop(self) -> None:
        if self._listening is not None:
            self._listening.close()
        await self._drop()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connected += 1
        try:
            real_reader, real_writer = await asyncio.open_connection(
                HOST, self.server.port, limit=LINE_LIMIT_BYTES
            )
        except OSError:
            writer.close()
            return
        passage = Passage(self, writer, real_writer)
        self._passages.add(passage)
        both = [
            asyncio.create_task(passage.from_wallet(reader)),
            asyncio.create_task(passage.from_server(real_reader)),
        ]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            passage.close()
            self._passages.discard(passage)


# --- lies -----------------------------------------------------------------------------------------------


class Lie:
    """Changes nothing; others change something."""

    async def answer(self, passage: Passage, question: Question, result: Json) -> Json:
        """What the wallet gets to hear instead of `result`. Raises `Refusal`."""
        return result

    async def notification(self, passage: Passage, method: str, params: Json) -> Json:
        """The same for what comes by itself; None keeps it back."""
        return params

    async def send(self, passage: Passage, question: Question, message: Json) -> bool:
        """True where the answer was sent, or not sent, in a way of its own."""
        return False


class WrongProof(Lie):
    """Merkle proofs lead nowhere."""

    async def answer(self, passage: Passage, question: Question, result: Json) -> Json:
        if question.method == "blockchain.transaction.get_merkle":
            return {**result, "merkle": ["11" * 32, *result["merkle"][1:]]}
        return result


class OtherBlock(WrongProof):
    """Proofs lead nowhere, and the block that they are for is said to be another one."""

    async def answer(self, passage: Passage, question: Question, result: Json) -> Json:
        if question.method == "blockchain.block.header" and question.params[0] > 0:
            return mine_header(bytes.fromhex(result)[4:36]).hex()
        return await super().answer(passage, question, result)


class OtherTransaction(Lie):
    """Whatever is asked for, a transaction that it made up."""

    async def answer(self, passage: Passage, question: Question, result: Json) -> Json:
        if question.method == "blockchain.transaction.get":
            tx = Transaction.parse(bytes.fromhex(result))
            return Transaction(tx.version, tx.inputs, tx.outputs[:1], tx.lock_time + 1).serialize().hex()
        return result


@dataclass(frozen=True, slots=True)
class OtherWitness(Lie):
    """Transactions as they are, but with witnesses of its own: their ids do not cover them.

    Attributes:
        change: what a witness becomes.
    """

    change: Callable[[tuple[bytes, ...]], tuple[bytes, ...]]

    async def answer(self, passage: Passage, question: Question, result: Json) -> Json:
        if question.method == "blockchain.transaction.get":
            tx = Transaction.parse(bytes.fromhex(result))
            for index, txin in enumerate(tx.inputs):
                tx = tx.with_witness(index, self.change(txin.witness))
            return tx.serialize().hex()
        return result


# --- lies about blocks ---


def mine_header(parent: bytes, *, time_at: int = 0, good: bool = True) -> bytes:
    """A header on a parent, as regtest wants it; `good` False: one without its work."""
    head = (0x20000000).to_bytes(4, "little") + parent + secrets.token_bytes(32)
    head += time_at.to_bytes(4, "little") + REGTEST_BITS.to_bytes(4, "little")
    for nonce in itertools.count():
        raw = head + nonce.to_bytes(4, "little")
        if (int.from_bytes(sha256d(raw), "little") <= EASY_TARGET) == good:
            return raw
    raise AssertionError


class _OwnChain(Lie):
    """Another chain than the real one above a height. Histories are the real ones."""

    def __init__(self) -> None:
        self.top = 0
        self.own: dict[int, bytes] = {}

    def header(self, height: int, real: str) -> str:
        return self.own[height].hex() if height in self.own else real

    async def tip(self, passage: Passage) -> Json:
        real = "" if self.top in self.own else await passage.ask("blockchain.block.header", self.top)
        return {"height": self.top, "hex": self.header(self.top, real)}

    async def answer(self, passage: Passage, question: Question, result: Json) -> Json:
        match question.method:
            case "blockchain.headers.subscribe":
                return await self.tip(passage)
            case "blockchain.block.header":
                if question.params[0] > self.top:
                    raise Refusal("out of range")
                return self.header(question.params[0], result)
            case "blockchain.block.headers":
                start = question.params[0]
                rows = [
                    self.header(start + i, row)
                    for i, row in enumerate(header_rows(result))
                    if start + i <= self.top
                ]
                return with_header_rows(result, rows)
        return result

    async def notification(self, passage: Passage, method: str, params: Json) -> Json:
        return None if method == HEADERS else params


class StaleTip(_OwnChain):
    """The chain ends here, and nothing that came later is known."""

    def __init__(self, height: int) -> None:
        super().__init__()
        self.top = height

    async def answer(self, passage: Passage, question: Question, result: Json) -> Json:
        if question.method == HISTORY:
            return [row for row in result if row["height"] <= self.top]
        if question.method == SUBSCRIBE:
            rows = await passage.ask(HISTORY, question.params[0])
            return status_of(row for row in rows if row["height"] <= self.top)
        return await super().answer(passage, question, result)

    async def notification(self, passage: Passage, method: str, params: Json) -> Json:
        return None


class WeakerFork(_OwnChain):
    """Blocks of its own instead of the last ones, and fewer of them."""

    def __init__(self, node: BitcoinNode, *, depth_blocks: int, length_blocks: int) -> None:
        super().__init__()
        fork_height = node.height - depth_blocks
        block_hash = node.rpc("getblockhash", fork_height)
        parent = bytes.fromhex(node.rpc("getblockheader", block_hash, False))
        time_at = int.from_bytes(parent[68:72], "little")
        for i in range(1, length_blocks + 1):
            # Later than the median of the eleven before.
            parent = mine_header(sha256d(parent), time_at=time_at + 600 * i)
            self.own[fork_height + i] = parent
        self.top = fork_height + length_blocks


class WrongHeader(_OwnChain):
    """One block more than there is, without the work in it."""

    def __init__(self, node: BitcoinNode) -> None:
        super().__init__()
        parent = bytes.fromhex(node.rpc("getblockheader", node.rpc("getbestblockhash"), False))
        self.top = node.height + 1
        time_at = int.from_bytes(parent[68:72], "little") + 600
        self.own[self.top] = mine_header(sha256d(parent), time_at=time_at, good=False)


class MissingHeader(Lie):
    """Tells of a tip two blocks above, and has no headers that lead there."""

    async def answer(self, passage: Passage, question: Question, result: Json) -> Json:
        if question.method == HEADERS:
            return {"height": result["height"] + 2, "hex": mine_header(secrets.token_bytes(32)).hex()}
        if question.method == "blockchain.block.headers":
            return with_header_rows(result, [])
        return result

    async def notification(self, passage: Passage, method: str, params: Json) -> Json:
        return None if method == HEADERS else params


def header_rows(result: Json) -> list[str]:
    """The headers of an answer, of either protocol."""
    if "headers" in result:
        return list(result["headers"])
    return [result["hex"][i : i + 2 * HEADER_BYTES] for i in range(0, len(result["hex"]), 2 * HEADER_BYTES)]


def with_header_rows(result: Json, rows: list[str]) -> Json:
    if "headers" in result:
        return {**result, "headers": rows, "count": len(rows)}
    return {**result, "hex": "".join(rows), "count": len(rows)}


@dataclass(frozen=True, slots=True)
class OneByOne(Lie):
    """Of the headers that are asked for only ever the first, after a pause."""

    pause_seconds: float = 0.5

    async def answer(self, passage: Passage, question: Question, result: Json) -> Json:
        if question.method == "blockchain.block.headers":
            await asyncio.sleep(self.pause_seconds)
            return with_header_rows(result, header_rows(result)[:1])
        return result


# --- lies about histories ---


def status_of(rows: Iterable[Json]) -> str | None:
    """The status of a history, as the protocol defines it."""
    text = "".join(f"{row['tx_hash']}:{row['height']}:" for row in rows)
    return hashlib.sha256(text.encode()).hexdigest() if text else None


class _OwnHistory(Lie):
    """Histories that are changed, with statuses that fit."""

    async def history(self, passage: Passage, script_hash: str, rows: list[Json]) -> list[Json]:
        return rows

    async def answer(self, passage: Passage, question: Question, result: Json) -> Json:
        if question.method == HISTORY:
            return await self.history(passage, question.params[0], result)
        if question.method == SUBSCRIBE:
            rows = await passage.ask(HISTORY, question.params[0])
            return status_of(await self.history(passage, question.params[0], rows))
        return result

    async def notification(self, passage: Passage, method: str, params: Json) -> Json:
        if method != SUBSCRIBE:
            return params
        rows = await passage.ask(HISTORY, params[0])
        status = status_of(await self.history(passage, params[0], rows))
        return None if status == passage.told.get(params[0]) else [params[0], status]


class HiddenTransactions(_OwnHistory):
    """Some transactions are in no history, cannot be fetched, and nobody is notified of them."""

    def __init__(self, hides: Callable[[str], bool]) -> None:
        self.hides = hides

    async def history(self, passage: Passage, script_hash: str, rows: list[Json]) -> list[Json]:
        return [row for row in rows if not self.hides(row["tx_hash"])]

    async def answer(self, passage: Passage, question: Question, result: Json) -> Json:
        if question.method == "blockchain.transaction.get" and self.hides(question.params[0]):
            raise Refusal("No such mempool or blockchain transaction.")
        return await super().answer(passage, question, result)


class FutureBlock(_OwnHistory):
    """Every history has a transaction more, in a block that is not there yet."""

    async def history(self, passage: Passage, script_hash: str, rows: list[Json]) -> list[Json]:
        tip = await passage.ask("blockchain.headers.subscribe")
        return [
            *rows,
            {"tx_hash": hashlib.sha256(script_hash.encode()).hexdigest(), "height": tip["height"] + 1000},
        ]


class ForeignHistory(_OwnHistory):
    """Every history has other people's transactions in it, all of them real.

    Attributes:
        places: (txid, height) of each.
    """

    def __init__(self, places: Collection[tuple[str, int]]) -> None:
        self.places = places

    async def history(self, passage: Passage, script_hash: str, rows: list[Json]) -> list[Json]:
        return [*rows, *({"tx_hash": txid, "height": height} for txid, height in self.places)]


class Late(Lie):
    """Nothing is said of these until `go_on`: what others say comes first."""

    def __init__(self, methods: Collection[str]) -> None:
        self.methods = methods
        self._go = threading.Event()

    def go_on(self) -> None:
        self._go.set()

    async def answer(self, passage: Passage, question: Question, result: Json) -> Json:
        if question.method in self.methods:
            await asyncio.get_running_loop().run_in_executor(None, self._go.wait, LATE_SECONDS)
        return result


# --- lies about fees ---


@dataclass(frozen=True, slots=True)
class AbsurdFees(Lie):
    """Attributes:
    rate: what every question after fees is answered with, in bitcoin per 1000 vbytes; None leaves it out.
    minimum: the mempool's minimum; "as the rate" where nothing else is said.
    """

    rate: Json
    minimum: Json = "as the rate"

    async def answer(self, passage: Passage, question: Question, result: Json) -> Json:
        minimum = self.rate if self.minimum == "as the rate" else self.minimum
        match question.method:
            case "blockchain.estimatefee":
                return self.rate
            case "blockchain.relayfee":
                return minimum
            case "mempool.get_info":
                return {} if minimum is None else dict.fromkeys(result, minimum)
        return result


# --- lies about the protocol ---


@dataclass(frozen=True, slots=True)
class Silence(Lie):
    """Attributes:
    methods: that are never answered; all where none is named.
    """

    methods: Collection[str] = ()

    async def send(self, passage: Passage, question: Question, message: Json) -> bool:
        return not self.methods or question.method in self.methods


@dataclass(frozen=True, slots=True)
class Drip(Lie):
    """An answer to these, byte for byte, each after a pause; nothing else comes through meanwhile."""

    methods: Collection[str]
    pause_seconds: float = 0.1

    async def send(self, passage: Passage, question: Question, message: Json) -> bool:
        if question.method not in self.methods:
            return False
        for byte in json.dumps(message).encode():
            await passage.send(bytes((byte,)))
            await asyncio.sleep(self.pause_seconds)
        return True


@dataclass(frozen=True, slots=True)
class HugeAnswer(Lie):
    """One answer of this size to each of these questions."""

    methods: Collection[str]
    size_bytes: int = 20_000_000

    async def send(self, passage: Passage, question: Question, message: Json) -> bool:
        if question.method not in self.methods:
            return False
        await passage.say({**message, "result": "00" * (self.size_bytes // 2)})
        return True


@dataclass(frozen=True, slots=True)
class EndlessAnswer(Lie):
    """An answer to these that never ends."""

    methods: Collection[str]

    async def send(self, passage: Passage, question: Question, message: Json) -> bool:
        if question.method not in self.methods:
            return False
        await passage.send(b'{"jsonrpc": "2.0", "result": "')
        while True:
            await passage.send(b"00" * 50_000)


class Storm(Lie):
    """As soon as anything is asked: notifications without end, each of another status of the same scripts."""

    def __init__(self) -> None:
        self._blows = False

    async def send(self, passage: Passage, question: Question, message: Json) -> bool:
        if question.method == HISTORY and not self._blows:
            self._blows = True
            passage.spawn(self._blow(passage, question.params[0]))
        return False

    async def _blow(self, passage: Passage, script_hash: str) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                async with passage.speaking:
                    params = [script_hash, secrets.token_hex(32)]
                    await passage.say({"jsonrpc": "2.0", "method": SUBSCRIBE, "params": params})
                # No faster than its questions are answered: each notification makes the wallet ask.
                await passage.ask("server.ping")


class NotJson(Lie):
    """Answers that are no JSON."""

    async def send(self, passage: Passage, question: Question, message: Json) -> bool:
        await passage.send(b'{"jsonrpc": "2.0", "id": 1, "result": oh dear}\n')
        return True


class WrongIds(Lie):
    """Answers to questions that nobody asked."""

    async def send(self, passage: Passage, question: Question, message: Json) -> bool:
        await passage.say({**message, "id": message["id"] + 1_000_000})
        return True
