"""`ElectrumBroadcaster`: transactions to every server, and their refusals understood.

A package goes out as one where the server takes packages (1.6 and later) and it is a child with its
parents; else, and when the package was refused, one by one in order, parents first. What one server takes
is out: the others' refusals count only where nobody took it. A transaction that a mempool or the chain has
already is a success.

A server that says "sent" may lie. Where a deadline presses, the transaction counts as sent only once
servers show it; two of them where there are two.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from wallet.bitcoin.tx import Transaction, Txid, txid_hex
from wallet.chain.electrum.errors import ServerError, ServerRefused
from wallet.chain.electrum.server import Server
from wallet.chain.electrum.session import ServerAddress
from wallet.chain.interfaces import BroadcastPackage, Logger, LogLevel
from wallet.i18n import _

__all__ = ["BroadcastPool", "BroadcastResult", "ElectrumBroadcaster", "TxVerdict", "Verdict", "classify"]

MAX_QUEUED = 10_000
AT_ONCE = 16
SHOW_ATTEMPTS = 5
SHOW_PAUSE_SECONDS = 1.0


class Verdict(Enum):
    """What became of a transaction. `sentence` says it to the person."""

    ACCEPTED = auto()
    ALREADY_KNOWN = auto()
    FEE_BELOW_MINIMUM = auto()
    MISSING_INPUTS = auto()
    REPLACEMENT_FEE_TOO_LOW = auto()
    CONFLICT = auto()
    NOT_FINAL = auto()
    DUST = auto()
    INVALID = auto()
    NON_STANDARD = auto()
    CHAIN_TOO_LONG = auto()
    FEE_TOO_HIGH = auto()
    PACKAGE = auto()
    OTHER = auto()
    NOT_SENT = auto()

    @property
    def is_success(self) -> bool:
        return self in (Verdict.ACCEPTED, Verdict.ALREADY_KNOWN)

    @property
    def sentence(self) -> str:
        match self:
            case Verdict.ACCEPTED:
                return _("The transaction was sent.")
            case Verdict.ALREADY_KNOWN:
                return _("The network has this transaction already.")
            case Verdict.FEE_BELOW_MINIMUM:
                return _(
                    "Its fee is below what the network asks for at the moment. Send it with a higher fee."
                )
            case Verdict.MISSING_INPUTS:
                return _("It spends coins that do not exist or are spent already.")
            case Verdict.REPLACEMENT_FEE_TOO_LOW:
                return _(
                    "It replaces another transaction, but does not pay enough more. Raise the fee further."
                )
            case Verdict.CONFLICT:
                return _("Another transaction that cannot be replaced spends the same coins.")
            case Verdict.NOT_FINAL:
                return _("It is valid only later: a lock time or a delay has not run out.")
            case Verdict.DUST:
                return _("One of its amounts is too small to be worth spending.")
            case Verdict.INVALID:
                return _("It breaks a rule of Bitcoin, for example by a wrong signature.")
            case Verdict.NON_STANDARD:
                return _("Nodes do not relay transactions of this kind.")
            case Verdict.CHAIN_TOO_LONG:
                return _("Too many transactions that wait for each other. Try again after the next block.")
            case Verdict.FEE_TOO_HIGH:
                return _("Its fee is so high that the node takes it for a mistake.")
            case Verdict.PACKAGE:
                return _("The transactions cannot be sent together.")
            case Verdict.OTHER:
                return _("The network refuses it.")
            case Verdict.NOT_SENT:
                return _("No server could be reached to send it.")


# The first that fits decides: the nodes' words, as Bitcoin Core has used them from 0.21 on, in lower case.
_WORDS: tuple[tuple[str, Verdict], ...] = (
    ("txn-already-in-mempool", Verdict.ALREADY_KNOWN),
    ("txn-already-known", Verdict.ALREADY_KNOWN),
    ("already in block chain", Verdict.ALREADY_KNOWN),
    ("already in utxo set", Verdict.ALREADY_KNOWN),
    ("already in the mempool", Verdict.ALREADY_KNOWN),
    ("txn-same-nonwitness-data-in-mempool", Verdict.ALREADY_KNOWN),
    ("mempool min fee", Verdict.FEE_BELOW_MINIMUM),
    ("min relay fee", Verdict.FEE_BELOW_MINIMUM),
    ("mempool full", Verdict.FEE_BELOW_MINIMUM),
    ("insufficient fee", Verdict.REPLACEMENT_FEE_TOO_LOW),
    ("replacement-failed", Verdict.REPLACEMENT_FEE_TOO_LOW),
    ("replacement-adds-unconfirmed", Verdict.REPLACEMENT_FEE_TOO_LOW),
    ("too many potential replacements", Verdict.CONFLICT),
    ("txn-mempool-conflict", Verdict.CONFLICT),
    ("bip125-replacement-disallowed", Verdict.CONFLICT),
    ("spends-conflicting-tx", Verdict.CONFLICT),
    ("bad-txns-spends-conflicting", Verdict.CONFLICT),
    ("missing-inputs", Verdict.MISSING_INPUTS),
    ("missing inputs", Verdict.MISSING_INPUTS),
    ("missingorspent", Verdict.MISSING_INPUTS),
    ("non-bip68-final", Verdict.NOT_FINAL),
    ("non-final", Verdict.NOT_FINAL),
    ("premature-spend", Verdict.NOT_FINAL),
    ("dust", Verdict.DUST),
    ("too-long-mempool-chain", Verdict.CHAIN_TOO_LONG),
    ("too-large-cluster", Verdict.CHAIN_TOO_LONG),
    ("package-mempool-limits", Verdict.CHAIN_TOO_LONG),
    ("truc-violation", Verdict.CHAIN_TOO_LONG),
    ("v3-rule-violation", Verdict.CHAIN_TOO_LONG),
    ("max-fee-exceeded", Verdict.FEE_TOO_HIGH),
    ("absurdly-high-fee", Verdict.FEE_TOO_HIGH),
    ("max feerate", Verdict.FEE_TOO_HIGH),
    ("maxfeerate", Verdict.FEE_TOO_HIGH),
    ("fee exceeds maximum", Verdict.FEE_TOO_HIGH),
    ("script-verify-flag-failed", Verdict.INVALID),
    ("block-script-verify", Verdict.INVALID),
    ("bad-txns", Verdict.INVALID),
    ("tx decode failed", Verdict.INVALID),
    ("bad-witness-nonstandard", Verdict.NON_STANDARD),
    ("nonstandard", Verdict.NON_STANDARD),
    ("non-standard", Verdict.NON_STANDARD),
    ("scriptpubkey", Verdict.NON_STANDARD),
    ("scriptsig-", Verdict.NON_STANDARD),
    ("tx-size", Verdict.NON_STANDARD),
    ("multi-op-return", Verdict.NON_STANDARD),
    ("bare-multisig", Verdict.NON_STANDARD),
    ("version", Verdict.NON_STANDARD),
    ("package", Verdict.PACKAGE),
)


def classify(words: str) -> Verdict:
    """What a node's refusal means."""
    lower = words.lower()
    for fragment, verdict in _WORDS:
        if fragment in lower:
            return verdict
    return Verdict.OTHER


@dataclass(frozen=True, slots=True)
class TxVerdict:
    """Attributes:
    words: the node's own, cleaned; for the log, and for people who know them.
    """

    txid: Txid
    verdict: Verdict
    words: str = ""


@dataclass(frozen=True, slots=True)
class BroadcastResult:
    """What became of a package.

    Attributes:
        verdicts: one for each transaction, in order.
        accepted_by: servers that have all of it.
        shown_by: servers that were seen to have all of it (asked only where a deadline presses).
        asked: how many servers were asked.
        counts_as_sent: with a deadline, that enough servers show it; else, that one took it.
    """

    package: BroadcastPackage
    verdicts: tuple[TxVerdict, ...]
    accepted_by: tuple[ServerAddress, ...]
    shown_by: tuple[ServerAddress, ...]
    asked: int
    counts_as_sent: bool

    @property
    def is_success(self) -> bool:
        return all(verdict.verdict.is_success for verdict in self.verdicts)

    @property
    def failure(self) -> TxVerdict | None:
        """The first refusal: later ones often follow from it."""
        return next((verdict for verdict in self.verdicts if not verdict.verdict.is_success), None)


class BroadcastPool(Protocol):
    def online(self) -> list[Server]: ...


class ElectrumBroadcaster:
    """`BroadcasterInterface`: queues from any thread; results come in the loop's thread."""

    def __init__(
        self, pool: BroadcastPool, logger: Logger, on_result: Callable[[BroadcastResult], None] | None = None
    ) -> None:
        self._pool = pool
        self._logger = logger
        self._on_result = on_result
        self._mutex = threading.Lock()
        self._queue: deque[tuple[BroadcastPackage, asyncio.Future[BroadcastResult] | None]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()

    def broadcast_transactions(self, package: BroadcastPackage) -> None:
        self._put(package, None)

    async def broadcast(self, package: BroadcastPackage) -> BroadcastResult:
        """The same, for whoever waits for the result. From the loop's thread."""
        future: asyncio.Future[BroadcastResult] = asyncio.get_running_loop().create_future()
        self._put(package, future)
        return await future

    def _put(self, package: BroadcastPackage, future: asyncio.Future[BroadcastResult] | None) -> None:
        if not package.txs:
            return
        with self._mutex:
            txids = _txids(package)
            if future is None and any(txids <= _txids(queued) for queued, _future in self._queue):
                return
            # What this one carries as well need not go alone before it: parents are sent first.
            self._queue = deque(
                item for item in self._queue if item[1] is not None or not _txids(item[0]) <= txids
            )
            self._queue.append((package, future))
            if len(self._queue) > MAX_QUEUED:
                # Whoever waits for an answer gets one; the rest is sent again at the next tick or block.
                unasked = (
                    i for i, (_package, waits) in enumerate(self._queue) if waits is None or waits.done()
                )
                if (oldest := next(unasked, None)) is not None:
                    del self._queue[oldest]
            loop = self._loop
        if loop is not None:
            loop.call_soon_threadsafe(self._wake.set)

    def poke(self) -> None:
        """A server has come: what waits can go."""
        self._wake.set()

    async def run(self) -> None:
        with self._mutex:
            self._loop = asyncio.get_running_loop()
        slots = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as group:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._pool.online():
                    with self._mutex:
                        if not self._queue:
                            break
                        package, future = self._queue.popleft()
                    await slots.acquire()
                    task = group.create_task(self._send(package, future))
                    task.add_done_callback(lambda _task: slots.release())

    async def _send(self, package: BroadcastPackage, future: asyncio.Future[BroadcastResult] | None) -> None:
        result = await self._send_to_all(package)
        failure = result.failure
        names = " ".join(txid_hex(tx.txid) for tx in package.txs)
        if failure is None and not result.counts_as_sent:
            # It is sent again all the same, until it is in a block.
            self._logger.log(
                LogLevel.WARN, "broadcast %s: too few servers show it yet: %s", package.label, names
            )
        elif failure is None:
            self._logger.log(LogLevel.INFO, "broadcast %s: %s", package.label, names)
        else:
            self._logger.log(
                LogLevel.WARN,
                "broadcast %s: %s refused (%s): %s",
                package.label,
                txid_hex(failure.txid),
                failure.verdict.name,
                failure.words,
            )
        if future is not None and not future.done():
            future.set_result(result)
        if self._on_result is not None:
            self._on_result(result)

    async def _send_to_all(self, package: BroadcastPackage) -> BroadcastResult:
        servers = self._pool.online()
        answers = await asyncio.gather(*(_send_to(server, package.txs) for server in servers))
        verdicts = []
        for i, tx in enumerate(package.txs):
            said = [answer[i] for answer in answers if answer is not None]
            verdicts.append(_best(tx.txid, said))
        accepted = [
            server.address
            for server, answer in zip(servers, answers, strict=True)
            if answer is not None and all(item.verdict.is_success for item in answer)
        ]
        shown: list[ServerAddress] = []
        counts = bool(accepted)
        if package.deadline_height is not None and accepted:
            needed = min(2, len(servers))
            shown = await self._shown(servers, package.txs, needed)
            counts = len(shown) >= needed
        return BroadcastResult(
            package, tuple(verdicts), tuple(accepted), tuple(shown), len(servers), counts
        )  # fmt: skip

    async def _shown(
        self, servers: Sequence[Server], txs: Sequence[Transaction], needed: int
    ) -> list[ServerAddress]:
        """Who has all of them; a node may take a moment to hear of a transaction from another."""
        shown: list[ServerAddress] = []
        for attempt in range(SHOW_ATTEMPTS):
            if attempt:
                await asyncio.sleep(SHOW_PAUSE_SECONDS * attempt)
            have = await asyncio.gather(*(_has_all(server, txs) for server in servers))
            shown = [server.address for server, has in zip(servers, have, strict=True) if has]
            if len(shown) >= needed:
                break
        return shown


def _txids(package: BroadcastPackage) -> frozenset[Txid]:
    return frozenset(tx.txid for tx in package.txs)


def _best(txid: Txid, said: Sequence[TxVerdict]) -> TxVerdict:
    """One success outweighs all refusals; of refusals, one that says something."""
    if not said:
        return TxVerdict(txid, Verdict.NOT_SENT)
    for verdict in (Verdict.ACCEPTED, Verdict.ALREADY_KNOWN):
        for item in said:
            if item.verdict is verdict:
                return item
    return next((item for item in said if item.verdict is not Verdict.OTHER), said[0])


async def _has_all(server: Server, txs: Sequence[Transaction]) -> bool:
    try:
        session = server.need()
        await server.guard(asyncio.gather(*(session.transaction(tx.txid) for tx in txs)))
    except ServerError:
        return False
    return True


def _is_child_with_parents(txs: Sequence[Transaction]) -> bool:
    """What nodes take as a package: the last spends from each of the others, which do not spend from each
    other."""
    parents = {tx.txid for tx in txs[:-1]}
    spent = {txin.prevout.txid for txin in txs[-1].inputs}
    return parents <= spent and not any(txin.prevout.txid in parents for tx in txs[:-1] for txin in tx.inputs)


async def _send_to(server: Server, txs: Sequence[Transaction]) -> list[TxVerdict] | None:
    """One server's verdict on each transaction; None where it failed in between."""
    try:
        session = server.need()
        if len(txs) > 1 and session.takes_packages and _is_child_with_parents(txs):
            try:
                answer = await server.guard(session.broadcast_package(txs))
            except ServerRefused:
                # As one by one: a package with a parent that is mined already is refused, its child is not.
                answer = None
            if answer is not None and answer.success:
                return [TxVerdict(tx.txid, Verdict.ACCEPTED) for tx in txs]
        verdicts = []
        for tx in txs:
            try:
                await server.guard(session.broadcast(tx))
            except ServerRefused as exc:
                words = _without_hex(exc.text)
                verdicts.append(TxVerdict(tx.txid, classify(words), words))
            else:
                verdicts.append(TxVerdict(tx.txid, Verdict.ACCEPTED))
    except ServerError:
        return None
    return verdicts


def _without_hex(text: str) -> str:
    """Servers repeat the raw transaction behind the reason: that is no reason."""
    return text.split(" [", 1)[0].removeprefix("the transaction was rejected by network rules. ").strip()
