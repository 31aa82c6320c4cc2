"""One Electrum server, spoken to in the protocol it knows (1.4 to 1.7), with every answer checked for its
shape.

Callers see one set of typed calls; what changed between the protocols is settled here:

- up to 1.6 a script is named by its hash (`blockchain.scripthash.*`), on 1.7 by itself
  (`blockchain.scriptpubkey.*`; notifications still name it by the hash), and answers are wrapped into
  objects;
- from 1.6 on headers come as a list, the mempool's minimum from `mempool.get_info`, and packages can be
  broadcast.

Anything absurd in an answer is a `ServerError`; the caller drops the server then. What an answer means
(whether a transaction is in a block, a header has its work) is not judged here, save that a transaction
has the id it was asked by.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

from wallet.bitcoin.amounts import MAX_MONEY_SAT, SAT_PER_BTC
from wallet.bitcoin.errors import DecodeError
from wallet.bitcoin.hashes import sha256d
from wallet.bitcoin.script import script_hash_electrum
from wallet.bitcoin.tx import BlockHash, OutPoint, Transaction, Txid, txid_from_hex, txid_hex
from wallet.chain.electrum import rpc
from wallet.chain.electrum.certificates import CertificateStore
from wallet.chain.electrum.errors import ServerError, ServerErrorKind, ServerRefused, clean_text
from wallet.chain.electrum.merkle import MAX_DEPTH
from wallet.chain.electrum.rpc import Json, Proxy
from wallet.i18n import _

__all__ = [
    "ElectrumSession",
    "HistoryItem",
    "MerkleProof",
    "OutpointStatus",
    "PackageAnswer",
    "ServerAddress",
    "SessionListener",
    "Tip",
    "Unspent",
    "parse_protocol",
]

CLIENT_NAME = "leyden"
PROTOCOL_MIN = "1.4"
PROTOCOL_MAX = "1.7"
HEADER_BYTES = 80
MAX_HEIGHT = 1 << 24
"""The short channel id has room for no more; at ten minutes a block it lasts three centuries."""
MAX_HISTORY_ITEMS = 200_000
MAX_SCRIPT_BYTES = 10_000
CONNECT_TIMEOUT_SECONDS = 15.0
REQUEST_TIMEOUT_SECONDS = 30.0
PROXY_TIMEOUT_FACTOR = 2


@dataclass(frozen=True, slots=True, order=True)
class ServerAddress:
    """Where a server listens."""

    host: str
    port: int
    tls: bool = True

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}:{'s' if self.tls else 't'}"

    @property
    def is_onion(self) -> bool:
        return self.host.endswith(".onion")

    @property
    def is_local(self) -> bool:
        return self.host in ("localhost", "::1") or self.host.startswith("127.")

    @classmethod
    def parse(cls, text: str) -> ServerAddress:
        """Reads "host:port:s" (TLS) or "host:port:t" (plain); without the letter it is TLS. DecodeError
        otherwise."""
        host, port, letter = text.strip(), "", "s"
        if host.endswith((":s", ":t")):
            host, letter = host[:-2], host[-1]
        host, _, port = host.rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        wrong = DecodeError(f"“{clean_text(text, 80)}” is no server: write host:port:s (TLS) or host:port:t.")
        if not host or len(host) > 255 or any(char.isspace() or char in "/@[]" for char in host):
            raise wrong
        if not (port.isascii() and port.isdecimal() and len(port) <= 5 and 0 < int(port) < 1 << 16):
            raise wrong
        return cls(host, int(port), letter == "s")


@dataclass(frozen=True, slots=True)
class Tip:
    """The head of a server's chain.

    Attributes:
        raw: the 80 bytes of the header.
    """

    height: int
    raw: bytes

    @property
    def hash(self) -> BlockHash:
        return BlockHash(sha256d(self.raw))


@dataclass(frozen=True, slots=True)
class HistoryItem:
    """One transaction of a script.

    Attributes:
        height: of its block; 0 in the mempool, -1 in the mempool with a parent that is there too.
    """

    txid: Txid
    height: int


@dataclass(frozen=True, slots=True)
class Unspent:
    outpoint: OutPoint
    height: int
    value_sat: int


@dataclass(frozen=True, slots=True)
class MerkleProof:
    branch: tuple[bytes, ...]
    index: int


@dataclass(frozen=True, slots=True)
class OutpointStatus:
    """What a 1.7 server says of one output; heights as in `HistoryItem`, None where there is no such
    transaction."""

    funder_height: int | None
    spender_txid: Txid | None
    spender_height: int | None


@dataclass(frozen=True, slots=True)
class PackageAnswer:
    """What became of a package: the server's words for each transaction that it did not take."""

    success: bool
    errors: tuple[tuple[Txid | None, str], ...]


class SessionListener:
    """Who hears of what the server says by itself. Every method is called in the loop's thread, and must
    not block."""

    def on_header(self, tip: Tip) -> None:
        """The server's chain has another head."""

    def on_script(self, script_pubkey: bytes, status: str | None) -> None:
        """The history of a subscribed script changed."""

    def on_closed(self, error: ServerError) -> None:
        """The connection is gone; comes once."""


# --- checks of shape -------------------------------------------------------------------------------


def _bad(what: str) -> ServerError:
    return ServerError(
        ServerErrorKind.BAD_ANSWER, _("The server gave a senseless answer ({what}).").format(what=what)
    )


def _integer(value: Json, low: int, high: int, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise _bad(what)
    return value


def _dictionary(value: Json, what: str) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise _bad(what)
    return value


def _list(value: Json, limit: int, what: str) -> list[Json]:
    if not isinstance(value, list) or len(value) > limit:
        raise _bad(what)
    return value


def _text(value: Json, what: str) -> str:
    if not isinstance(value, str):
        raise _bad(what)
    return value


def _hex(value: Json, length_bytes: int | None, what: str) -> bytes:
    text = _text(value, what)
    try:
        data = bytes.fromhex(text)
    except ValueError:
        raise _bad(what) from None
    # bytes.fromhex skips blanks; an honest server sends none.
    if len(text) != 2 * len(data) or (length_bytes is not None and len(data) != length_bytes):
        raise _bad(what)
    return data


def _txid(value: Json, what: str) -> Txid:
    return Txid(_hex(value, 32, what)[::-1])


def _rate_sat_per_kvb(value: Json, what: str) -> int:
    """A fee rate in bitcoin per 1000 vbytes, rounded up to a satoshi."""
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)) or not 0 <= value <= 21_000_000:
        raise _bad(what)
    return int((Decimal(value) * SAT_PER_BTC).to_integral_value(ROUND_CEILING))


def parse_protocol(text: str) -> tuple[int, ...]:
    """Versions compare as numbers: "1.6.0" is 1.6, "1.10" is above "1.9". Raises ValueError."""
    parts = [int(part) for part in text.split(".")]
    if not 1 <= len(parts) <= 4 or any(part < 0 for part in parts):
        raise ValueError("no version")
    while len(parts) > 2 and parts[-1] == 0:
        parts.pop()
    return tuple(parts)


# --- the session -----------------------------------------------------------------------------------


class ElectrumSession:
    """A connection on which `server.version` has been settled and the network is the right one.

    Attributes:
        software: what the server calls itself, cleaned.
        protocol: the version that was agreed on, as a tuple of numbers.
        first_tip: where the server's chain ended when the connection was made; later ones go to the listener.
    """

    def __init__(self, address: ServerAddress, listener: SessionListener, *, through_proxy: bool) -> None:
        self.address = address
        self.software = ""
        self.protocol: tuple[int, ...] = (1, 4)
        self.first_tip: Tip | None = None
        self._listener = listener
        self._timeout_seconds = REQUEST_TIMEOUT_SECONDS * (PROXY_TIMEOUT_FACTOR if through_proxy else 1)
        self._connection: rpc.RpcConnection | None = None
        self._scripts: dict[str, bytes] = {}
        self._closing = False

    @classmethod
    async def open(
        cls,
        address: ServerAddress,
        *,
        genesis_hash: BlockHash,
        listener: SessionListener,
        certificates: CertificateStore,
        proxy: Proxy | None = None,
        protocol_max: str = PROTOCOL_MAX,
    ) -> ElectrumSession:
        """Connects, agrees on a protocol, and sees that it is the right network. Raises ServerError."""
        session = cls(address, listener, through_proxy=proxy is not None)
        try:
            await session._connect(certificates, proxy)
            await session._handshake(genesis_hash, protocol_max)
        except BaseException:
            await session.close()
            raise
        return session

    @property
    def is_closed(self) -> bool:
        return self._connection is None or self._connection.closed

    async def close(self) -> None:
        """Hangs up; the listener is not told."""
        self._closing = True
        if self._connection is not None:
            await self._connection.close()

    def abort(self) -> None:
        """Hangs up at once; the listener is not told."""
        self._closing = True
        if self._connection is not None:
            self._connection.abort()

    # --- connecting ---

    async def _connect(self, certificates: CertificateStore, proxy: Proxy | None) -> None:
        name = f"{self.address.host}:{self.address.port}"
        if self.address.is_local:
            proxy = None
        if self.address.is_onion and proxy is None:
            raise ServerError(
                ServerErrorKind.PROXY,
                _("The server is an onion service: it is reached through Tor's proxy only."),
            )
        if not self.address.tls:
            self._connection = await self._dial(None, proxy)
            return
        pin = certificates.get(name)
        if pin is None or pin.is_ca:
            try:
                self._connection = await self._dial(ssl.create_default_context(), proxy)
            except ssl.SSLError:
                # Not vouched for. Whether that is acceptable, the pins know.
                self._connection = None
            else:
                certificates.trust_authority(name)
                return
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        try:
            self._connection = await self._dial(context, proxy)
        except ssl.SSLError as exc:
            reason = clean_text(exc.reason or str(exc), 80)
            raise ServerError(
                ServerErrorKind.UNREACHABLE,
                _("The server does not answer with TLS ({reason}).").format(reason=reason),
            ) from None
        certificates.check(name, self._connection.certificate())

    async def _dial(self, context: ssl.SSLContext | None, proxy: Proxy | None) -> rpc.RpcConnection:
        timeout_seconds = CONNECT_TIMEOUT_SECONDS * (PROXY_TIMEOUT_FACTOR if proxy else 1)
        try:
            return await rpc.connect(
                self.address.host,
                self.address.port,
                on_notification=self._notified,
                on_closed=self._ended,
                ssl_context=context,
                proxy=proxy,
                timeout_seconds=timeout_seconds,
            )
        except ssl.SSLError:
            raise
        except TimeoutError:
            raise ServerError(
                ServerErrorKind.UNREACHABLE,
                _("The server did not answer in {seconds} seconds.").format(seconds=f"{timeout_seconds:g}"),
            ) from None
        except OSError as exc:
            kind = ServerErrorKind.PROXY if proxy is not None else ServerErrorKind.UNREACHABLE
            sentence = _("The server cannot be reached: {reason}.")
            if proxy is not None and not isinstance(exc, rpc.ProxyRefused):
                # It is the proxy that is away: of the server nothing is known.
                sentence = _("The proxy {proxy} cannot be reached: {reason}. Is it running?")
            named = f"{proxy.host}:{proxy.port}" if proxy is not None else ""
            raise ServerError(kind, sentence.format(proxy=named, reason=_reason(exc))) from None

    async def _handshake(self, genesis_hash: BlockHash, protocol_max: str) -> None:
        # server.version comes first, and once only.
        versions = [PROTOCOL_MIN, protocol_max]
        answer = _list(await self._call("server.version", CLIENT_NAME, versions), 2, "version")
        if len(answer) != 2:
            raise _bad("version")
        self.software = clean_text(_text(answer[0], "version"), 60)
        try:
            self.protocol = parse_protocol(_text(answer[1], "version"))
        except ValueError:
            raise _bad("version") from None
        if not parse_protocol(PROTOCOL_MIN) <= self.protocol[:2] <= parse_protocol(protocol_max):
            raise ServerError(
                ServerErrorKind.TOO_OLD,
                _("The server speaks protocol {spoken}; this wallet speaks {least} to {most}.").format(
                    spoken=clean_text(str(answer[1]), 20), least=PROTOCOL_MIN, most=protocol_max
                ),
            )
        # Both at once: servers hold small answers back for up to a second.
        first, self.first_tip = await asyncio.gather(self.block_header(0), self.subscribe_headers())
        if BlockHash(sha256d(first)) != genesis_hash:
            raise ServerError(ServerErrorKind.WRONG_NETWORK, _("The server follows another Bitcoin network."))

    @property
    def speaks_scripts(self) -> bool:
        """1.7: scripts are named by themselves, and outputs can be asked about."""
        return self.protocol >= (1, 7)

    @property
    def takes_packages(self) -> bool:
        return self.protocol >= (1, 6)

    # --- calls ---

    async def _call(self, method: str, *params: object, timeout_seconds: float | None = None) -> Json:
        connection = self._connection
        if connection is None:
            raise ServerError(ServerErrorKind.CLOSED, _("The connection is closed."))
        try:
            return await connection.request(method, params, timeout_seconds or self._timeout_seconds)
        except rpc.RpcRefusal as exc:
            raise ServerRefused(method, exc.code, exc.message) from None
        except rpc.RpcTimeout as exc:
            raise ServerError(ServerErrorKind.TIMEOUT, str(exc)) from None
        except rpc.RpcBroken as exc:
            raise ServerError(ServerErrorKind.BAD_ANSWER, str(exc)) from None
        except (rpc.RpcClosed, OSError):
            raise ServerError(ServerErrorKind.CLOSED, _("The server hung up.")) from None

    async def ping(self, timeout_seconds: float | None = None) -> None:
        await self._call("server.ping", timeout_seconds=timeout_seconds)

    async def subscribe_headers(self) -> Tip:
        return self._tip(await self._call("blockchain.headers.subscribe"))

    async def block_header(self, height: int) -> bytes:
        return _hex(await self._call("blockchain.block.header", height), HEADER_BYTES, "block header")

    async def block_headers(self, start_height: int, count: int) -> list[bytes]:
        """Up to `count` headers from `start_height` on; fewer where the server has or gives no more."""
        answer = _dictionary(await self._call("blockchain.block.headers", start_height, count), "headers")
        if self.protocol >= (1, 6):
            rows = _list(answer.get("headers"), count, "headers")
            return [_hex(row, HEADER_BYTES, "headers") for row in rows]
        data = _hex(answer.get("hex"), None, "headers")
        if len(data) % HEADER_BYTES or len(data) > count * HEADER_BYTES:
            raise _bad("headers")
        return [data[i : i + HEADER_BYTES] for i in range(0, len(data), HEADER_BYTES)]

    def _script(self, script_pubkey: bytes) -> tuple[str, str]:
        """The method's family, and how a script is named in it."""
        if self.speaks_scripts:
            return "blockchain.scriptpubkey.", script_pubkey.hex()
        return "blockchain.scripthash.", script_hash_electrum(script_pubkey)

    async def subscribe_script(self, script_pubkey: bytes) -> str | None:
        """The status of the script's history (None: there is none); changes come to the listener from now
        on."""
        family, name = self._script(script_pubkey)
        self._scripts[script_hash_electrum(script_pubkey)] = script_pubkey
        status = await self._call(family + "subscribe", name)
        return None if status is None else _hex(status, 32, "status of a script").hex()

    async def script_history(self, script_pubkey: bytes) -> tuple[HistoryItem, ...]:
        family, name = self._script(script_pubkey)
        answer = await self._call(family + "get_history", name)
        if self.speaks_scripts:
            answer = _dictionary(answer, "history").get("history")
        items: list[HistoryItem] = []
        seen: set[Txid] = set()
        for row in _list(answer, MAX_HISTORY_ITEMS, "history"):
            fields = _dictionary(row, "history")
            txid = _txid(fields.get("tx_hash"), "history")
            # A transaction that was mined this moment may stand in both parts: the first, its block, counts.
            if txid not in seen:
                seen.add(txid)
                items.append(HistoryItem(txid, _integer(fields.get("height"), -1, MAX_HEIGHT, "history")))
        return tuple(items)

    async def script_unspent(self, script_pubkey: bytes) -> tuple[Unspent, ...]:
        family, name = self._script(script_pubkey)
        answer = await self._call(family + "listunspent", name)
        if self.speaks_scripts:
            answer = _dictionary(answer, "unspent outputs").get("utxos")
        unspent = []
        for row in _list(answer, MAX_HISTORY_ITEMS, "unspent outputs"):
            fields = _dictionary(row, "unspent outputs")
            outpoint = OutPoint(
                _txid(fields.get("tx_hash"), "unspent outputs"),
                _integer(fields.get("tx_pos"), 0, 0xFFFFFFFF, "unspent outputs"),
            )
            height = _integer(fields.get("height"), -1, MAX_HEIGHT, "unspent outputs")
            value_sat = _integer(fields.get("value"), 0, MAX_MONEY_SAT, "unspent outputs")
            unspent.append(Unspent(outpoint, height, value_sat))
        return tuple(unspent)

    async def transaction(self, txid: Txid) -> Transaction:
        """The transaction of that id: another one is a lie."""
        raw = _hex(await self._call("blockchain.transaction.get", txid_hex(txid)), None, "transaction")
        try:
            tx = Transaction.parse(raw)
        except DecodeError:
            raise _bad("a transaction that cannot be read") from None
        if tx.txid != txid:
            raise ServerError(
                ServerErrorKind.LIED, _("The server sent another transaction than the one asked for.")
            )
        return tx

    async def merkle_proof(self, txid: Txid, height: int) -> MerkleProof:
        answer = _dictionary(
            await self._call("blockchain.transaction.get_merkle", txid_hex(txid), height), "merkle proof"
        )
        if _integer(answer.get("block_height"), 0, MAX_HEIGHT, "merkle proof") != height:
            raise _bad("merkle proof")
        index = _integer(answer.get("pos"), 0, 1 << MAX_DEPTH, "merkle proof")
        return MerkleProof(self._branch(answer.get("merkle")), index)

    async def id_from_pos(self, height: int, index: int) -> tuple[Txid, MerkleProof]:
        """Which transaction stands at a place of a block, with its proof (not yet checked)."""
        answer = _dictionary(
            await self._call("blockchain.transaction.id_from_pos", height, index, True), "merkle proof"
        )
        txid = _txid(answer.get("tx_hash"), "merkle proof")
        return txid, MerkleProof(self._branch(answer.get("merkle")), index)

    def _branch(self, value: Json) -> tuple[bytes, ...]:
        rows = _list(value, MAX_DEPTH, "merkle proof")
        return tuple(_hex(row, 32, "merkle proof")[::-1] for row in rows)

    async def outpoint_status(self, outpoint: OutPoint, script_pubkey: bytes) -> OutpointStatus:
        """1.7 only: what became of one output, without its script's whole history."""
        answer = _dictionary(
            await self._call(
                "blockchain.outpoint.get_status", txid_hex(outpoint.txid), outpoint.vout, script_pubkey.hex()
            ),
            "status of an output",
        )
        funder, spender = answer.get("funder_height"), answer.get("spender_height")
        spender_txid = answer.get("spender_txhash")
        return OutpointStatus(
            None if funder is None else _integer(funder, -1, MAX_HEIGHT, "status of an output"),
            None if spender_txid is None else _txid(spender_txid, "status of an output"),
            None if spender is None else _integer(spender, -1, MAX_HEIGHT, "status of an output"),
        )

    async def estimate_fee_sat_per_kvb(self, target_blocks: int) -> int | None:
        """Satoshis per 1000 vbytes to be mined within that many blocks; None where the server does not
        know."""
        answer = await self._call("blockchain.estimatefee", target_blocks)
        if isinstance(answer, (int, Decimal)) and not isinstance(answer, bool) and answer < 0:
            return None
        return _rate_sat_per_kvb(answer, "fee estimate")

    async def mempool_minimum_sat_per_kvb(self) -> int:
        """What a transaction has to pay at least to get into the node's mempool now, as far as the server
        tells."""
        if self.protocol < (1, 6):
            return _rate_sat_per_kvb(await self._call("blockchain.relayfee"), "relay fee")
        answer = _dictionary(await self._call("mempool.get_info"), "mempool minimum")
        return max(
            _rate_sat_per_kvb(answer.get("mempoolminfee"), "mempool minimum"),
            _rate_sat_per_kvb(answer.get("minrelaytxfee"), "mempool minimum"),
        )

    async def broadcast(self, tx: Transaction) -> None:
        """Hands a transaction over. ServerRefused carries the node's reason."""
        answer = await self._call("blockchain.transaction.broadcast", tx.serialize().hex())
        # Some servers answer old-fashioned: with the refusal as a result.
        text = _text(answer, "broadcast")
        try:
            txid = txid_from_hex(text.strip())
        except DecodeError:
            raise ServerRefused("blockchain.transaction.broadcast", 1, text) from None
        if txid != tx.txid:
            raise ServerError(
                ServerErrorKind.LIED, _("The server says that it sent another transaction than ours.")
            )

    async def broadcast_package(self, txs: Sequence[Transaction]) -> PackageAnswer:
        """1.6 and later: a child with its parents, judged together."""
        raw = [tx.serialize().hex() for tx in txs]
        answer = _dictionary(await self._call("blockchain.transaction.broadcast_package", raw), "package")
        success = answer.get("success")
        if not isinstance(success, bool):
            raise _bad("package")
        errors: list[tuple[Txid | None, str]] = []
        for row in _list(answer.get("errors", []), 1000, "package"):
            fields = _dictionary(row, "package")
            txid = fields.get("txid")
            words = clean_text(_text(fields.get("error"), "package"))
            errors.append((None if txid is None else _txid(txid, "package"), words))
        return PackageAnswer(success, tuple(errors))

    # --- what comes by itself ---

    def _tip(self, value: Json) -> Tip:
        fields = _dictionary(value, "block header")
        height = _integer(fields.get("height"), 0, MAX_HEIGHT, "block header")
        return Tip(height, _hex(fields.get("hex"), HEADER_BYTES, "block header"))

    def _notified(self, method: str, params: list[Json]) -> None:
        try:
            if method == "blockchain.headers.subscribe":
                self._listener.on_header(self._tip(params[0] if params else None))
            elif method in ("blockchain.scripthash.subscribe", "blockchain.scriptpubkey.subscribe"):
                if len(params) != 2:
                    raise _bad("notification")
                script_pubkey = self._scripts.get(_text(params[0], "notification").lower())
                if script_pubkey is not None:
                    status = params[1]
                    shown = None if status is None else _hex(status, 32, "notification").hex()
                    self._listener.on_script(script_pubkey, shown)
            # server.ping of 1.7 is noise on purpose; anything else was never asked for.
        except ServerError as exc:
            raise rpc.RpcBroken(exc.message) from None

    def _ended(self) -> None:
        if self._closing:
            return
        self._closing = True
        broken = self._connection.broken if self._connection is not None else None
        if broken is not None:
            kind = ServerErrorKind.FLOOD if "flood" in str(broken) else ServerErrorKind.BAD_ANSWER
            self._listener.on_closed(ServerError(kind, str(broken)))
        else:
            self._listener.on_closed(ServerError(ServerErrorKind.CLOSED, _("The server hung up.")))


def _reason(error: OSError) -> str:
    """In the system's own words: asyncio's repeat the address, in Python's writing."""
    number = error.errno or 0
    return clean_text(os.strerror(number) if number > 0 else error.strerror or str(error), 120)
