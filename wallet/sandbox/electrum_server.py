"""An Electrum server on a sandbox chain: protocols 1.4 to 1.6, the calls that a wallet uses.

It can lie on demand (`Lies`), which is what tests have it for: with wrong proofs, hidden transactions, a
tip that stands still, answers that never come. Several servers may stand on one chain, each with lies of
its own.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from wallet.bitcoin.errors import DecodeError
from wallet.bitcoin.script import script_hash_electrum
from wallet.bitcoin.tx import Transaction, Txid, hash_hex, txid_from_hex, txid_hex
from wallet.chain.electrum.merkle import branch_of
from wallet.chain.electrum.rpc import (
    Json,
    RpcBroken,
    RpcClosed,
    RpcPeer,
    RpcRefusal,
    RpcServer,
    RpcTimeout,
    serve,
)
from wallet.chain.electrum.session import parse_protocol
from wallet.sandbox.chain import SandboxChain, TxRejected

__all__ = ["Lies", "SandboxElectrumServer"]

HOST = "127.0.0.1"
SOFTWARE = "Leyden sandbox"
MAX_HEADERS = 2016
BAD_REQUEST = 1
NODE_ERROR = 2
METHOD_NOT_FOUND = -32601


@dataclass(slots=True)
class Lies:
    """What a server does wrong. All off at first; may be changed while it runs.

    Attributes:
        wrong_proof: merkle proofs lead nowhere.
        hidden: these transactions appear in no history, and cannot be fetched.
        stale_height: the chain ends there for this server, and nothing new is announced.
        silent: these methods are never answered.
        wrong_tx: another transaction than the one asked for.
        mute: no notifications, except of headers.
        deaf: says that it sent a transaction, and did not.
        replies: by method, something absurd to answer with.
        easy_headers: headers of new blocks claim too little work.
    """

    wrong_proof: bool = False
    hidden: set[Txid] = field(default_factory=set)
    stale_height: int | None = None
    silent: set[str] = field(default_factory=set)
    wrong_tx: bool = False
    mute: bool = False
    deaf: bool = False
    replies: dict[str, Any] = field(default_factory=dict)
    easy_headers: bool = False


class SandboxElectrumServer:
    """Listens on 127.0.0.1.

    Attributes:
        lies: see there.
        calls: how often each method was called.
        protocol_max: what is offered at most.
    """

    def __init__(self, chain: SandboxChain, *, protocol_max: str = "1.6", lies: Lies | None = None) -> None:
        self.chain = chain
        self.lies = lies if lies is not None else Lies()
        self.protocol_max = parse_protocol(protocol_max)
        self.calls: dict[str, int] = {}
        self._server: RpcServer | None = None
        self._clients: set[_Client] = set()

    async def start(self, port: int = 0, *, ssl_context: ssl.SSLContext | None = None) -> int:
        """Listens from now on; the port."""
        self._server = await serve(HOST, port, self._accept, ssl_context=ssl_context)
        self.chain.listeners.append(self._changed)
        return self._server.port

    async def stop(self) -> None:
        """Hangs up on everybody, and can be started again."""
        if self._changed in self.chain.listeners:
            self.chain.listeners.remove(self._changed)
        server, self._server = self._server, None
        if server is not None:
            await server.close()
        self._clients.clear()

    @property
    def port(self) -> int:
        if self._server is None:
            raise RuntimeError("the server is not running")
        return self._server.port

    @property
    def height(self) -> int:
        """The tip as this server tells it."""
        stale = self.lies.stale_height
        return self.chain.height if stale is None else min(stale, self.chain.height)

    def header(self, height: int) -> bytes:
        raw = self.chain.blocks[height].header.serialize()
        if self.lies.easy_headers and height == self.chain.height:
            # The work is gone with the nonce: the first that fails.
            for nonce in range(1000):
                easy = raw[:76] + nonce.to_bytes(4, "little")
                digest = hashlib.sha256(hashlib.sha256(easy).digest()).digest()
                if digest[31] > 0x7F:
                    return easy
        return raw

    def history(self, script_pubkey: bytes) -> list[tuple[Txid, int]]:
        rows = []
        for txid, height in self.chain.history(script_pubkey):
            if txid not in self.lies.hidden:
                rows.append((txid, height if height <= self.height else 0))
        return rows

    def status(self, script_pubkey: bytes) -> str | None:
        rows = self.history(script_pubkey)
        if not rows:
            return None
        text = "".join(f"{txid_hex(txid)}:{height}:" for txid, height in rows)
        return hashlib.sha256(text.encode()).hexdigest()

    def _accept(self, peer: RpcPeer) -> _Client:
        client = _Client(self, peer)
        self._clients.add(client)
        return client

    def gone(self, client: _Client) -> None:
        self._clients.discard(client)

    def _changed(self, touched: set[bytes], tip_changed: bool) -> None:
        for client in list(self._clients):
            client.changed(touched, tip_changed)


class _Client:
    """One connection."""

    def __init__(self, server: SandboxElectrumServer, peer: RpcPeer) -> None:
        self._server = server
        self._peer = peer
        self._protocol: tuple[int, ...] | None = None
        self._follows_headers = False
        self._told_height: tuple[int, bytes] | None = None
        self._scripts: dict[str, tuple[bytes | None, str | None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._methods: dict[str, Callable[..., object]] = {
            "server.ping": lambda: None,
            "server.banner": lambda: "Play money only.",
            "server.features": self._features,
            "blockchain.block.header": self._block_header,
            "blockchain.block.headers": self._block_headers,
            "blockchain.headers.subscribe": self._subscribe_headers,
            "blockchain.estimatefee": self._estimate_fee,
            "blockchain.relayfee": lambda: self._rate(self._server.chain.mempool_minimum_sat_per_kvb),
            "blockchain.scripthash.subscribe": self._subscribe,
            "blockchain.scripthash.unsubscribe": self._unsubscribe,
            "blockchain.scripthash.get_history": self._history,
            "blockchain.scripthash.get_mempool": self._mempool,
            "blockchain.scripthash.listunspent": self._unspent,
            "blockchain.scripthash.get_balance": self._balance,
            "blockchain.transaction.get": self._transaction,
            "blockchain.transaction.get_merkle": self._merkle,
            "blockchain.transaction.id_from_pos": self._id_from_pos,
            "blockchain.transaction.broadcast": self._broadcast,
            "mempool.get_fee_histogram": list,
            "mempool.get_info": self._mempool_info,
            "blockchain.transaction.broadcast_package": self._broadcast_package,
        }

    # --- RpcHandler ---

    async def handle(self, method: str, params: list[Json]) -> object:
        server = self._server
        server.calls[method] = server.calls.get(method, 0) + 1
        if method in server.lies.silent:
            await asyncio.Event().wait()
        if method in server.lies.replies:
            return server.lies.replies[method]
        if method == "server.version":
            return self._version(*params)
        if self._protocol is None:
            raise RpcRefusal(BAD_REQUEST, "server.version comes first")
        call = self._methods.get(method)
        newer = method in ("mempool.get_info", "blockchain.transaction.broadcast_package")
        if call is None or (newer and self._protocol < (1, 6)):
            raise RpcRefusal(METHOD_NOT_FOUND, f'unknown method "{method}"')
        try:
            return call(*params)
        except (TypeError, ValueError, KeyError, IndexError) as exc:
            raise RpcRefusal(BAD_REQUEST, f"bad request: {exc}") from None

    def ended(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._server.gone(self)

    # --- what changes ---

    def changed(self, touched: set[bytes], tip_changed: bool) -> None:
        """Tells the client, the header first, as ElectrumX does."""
        notices: list[tuple[str, list[object]]] = []
        if tip_changed and self._follows_headers:
            now = (self._server.height, self._server.header(self._server.height))
            if now != self._told_height:
                self._told_height = now
                notices.append(("blockchain.headers.subscribe", [self._tip()]))
        if not self._server.lies.mute:
            for script_hash, (script, told) in self._scripts.items():
                if script is None:
                    script = next((s for s in touched if script_hash_electrum(s) == script_hash), None)
                if script is None or (script not in touched and not tip_changed):
                    continue
                status = self._server.status(script)
                if status != told:
                    self._scripts[script_hash] = (script, status)
                    notices.append(("blockchain.scripthash.subscribe", [script_hash, status]))
        if notices:
            task = asyncio.get_running_loop().create_task(self._notify(notices))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _notify(self, notices: list[tuple[str, list[object]]]) -> None:
        try:
            for method, params in notices:
                await self._peer.notify(method, params)
        except (RpcClosed, RpcTimeout, RpcBroken):
            return

    # --- the calls ---

    def _version(self, client: Json = "", wanted: Json = "1.4", *_more: Json) -> list[str]:
        if self._protocol is not None:
            raise RpcRefusal(BAD_REQUEST, "server.version already sent")
        bounds = wanted if isinstance(wanted, list) else [wanted, wanted]
        try:
            low, high = (parse_protocol(str(bound)) for bound in bounds)
        except ValueError:
            raise RpcRefusal(BAD_REQUEST, "unsupported protocol version") from None
        agreed = min(high, self._server.protocol_max)
        if agreed < low or agreed < (1, 4):
            raise RpcRefusal(BAD_REQUEST, "unsupported protocol version")
        self._protocol = agreed
        return [SOFTWARE, ".".join(map(str, agreed))]

    def _features(self) -> dict[str, object]:
        return {
            "genesis_hash": hash_hex(self._server.chain.network.chain_hash),
            "hosts": {},
            "protocol_max": ".".join(map(str, self._server.protocol_max)),
            "protocol_min": "1.4",
            "pruning": None,
            "server_version": SOFTWARE,
            "hash_function": "sha256",
        }

    def _tip(self) -> dict[str, object]:
        height = self._server.height
        return {"height": height, "hex": self._server.header(height).hex()}

    def _subscribe_headers(self) -> dict[str, object]:
        self._follows_headers = True
        self._told_height = (self._server.height, self._server.header(self._server.height))
        return self._tip()

    def _height(self, height: object) -> int:
        if not isinstance(height, int) or not 0 <= height <= self._server.height:
            raise RpcRefusal(BAD_REQUEST, f"height {height} out of range")
        return height

    def _block_header(self, height: Json, _cp_height: Json = 0) -> str:
        return self._server.header(self._height(height)).hex()

    def _block_headers(self, start: Json, count: Json, _cp_height: Json = 0) -> dict[str, object]:
        if not isinstance(start, int) or not isinstance(count, int) or start < 0 or count < 0:
            raise RpcRefusal(BAD_REQUEST, "bad range of headers")
        last = min(self._server.height, start + min(count, MAX_HEADERS) - 1)
        rows = [self._server.header(height).hex() for height in range(start, last + 1)]
        if self._protocol is not None and self._protocol >= (1, 6):
            return {"headers": rows, "count": len(rows), "max": MAX_HEADERS}
        return {"hex": "".join(rows), "count": len(rows), "max": MAX_HEADERS}

    @staticmethod
    def _rate(rate_sat_per_kvb: int) -> float:
        """Bitcoin per 1000 vbytes, as JSON has it: a number."""
        return float(Decimal(rate_sat_per_kvb) / 100_000_000)

    def _estimate_fee(self, _blocks: Json, _mode: Json = None) -> float | int:
        rate = self._server.chain.estimate_sat_per_kvb
        return -1 if rate is None else self._rate(rate)

    def _mempool_info(self) -> dict[str, float]:
        minimum = self._rate(self._server.chain.mempool_minimum_sat_per_kvb)
        relay = self._rate(1_000)
        return {"mempoolminfee": minimum, "minrelaytxfee": relay, "incrementalrelayfee": relay}

    def _script(self, script_hash: object) -> bytes | None:
        """The script behind a hash, where the chain has ever seen it."""
        if not isinstance(script_hash, str) or len(bytes.fromhex(script_hash)) != 32:
            raise RpcRefusal(BAD_REQUEST, f"{script_hash} is not a valid script hash")
        return self._server.chain.script_of(script_hash)

    def _subscribe(self, script_hash: Json) -> str | None:
        script = self._script(script_hash)
        status = self._server.status(script) if script is not None else None
        self._scripts[str(script_hash)] = (script, status)
        return status

    def _unsubscribe(self, script_hash: Json) -> bool:
        return self._scripts.pop(str(script_hash), None) is not None

    def _history(self, script_hash: Json) -> list[dict[str, object]]:
        script = self._script(script_hash)
        rows: list[dict[str, object]] = []
        for txid, height in self._server.history(script) if script is not None else ():
            row: dict[str, object] = {"tx_hash": txid_hex(txid), "height": height}
            if height <= 0 and txid in self._server.chain.mempool:
                row["fee"] = self._server.chain.fee_of(txid)
            rows.append(row)
        return rows

    def _mempool(self, script_hash: Json) -> list[dict[str, object]]:
        return [row for row in self._history(script_hash) if "fee" in row]

    def _unspent(self, script_hash: Json) -> list[dict[str, object]]:
        script = self._script(script_hash)
        return [
            {
                "tx_hash": txid_hex(outpoint.txid),
                "tx_pos": outpoint.vout,
                "height": coin.height,
                "value": coin.output.value_sat,
            }
            for outpoint, coin in (self._server.chain.unspent(script) if script is not None else ())
            if outpoint.txid not in self._server.lies.hidden
        ]

    def _balance(self, script_hash: Json) -> dict[str, int]:
        script = self._script(script_hash)
        coins = self._server.chain.unspent(script) if script is not None else []
        confirmed_sat = sum(coin.output.value_sat for _, coin in coins if coin.height)
        unconfirmed_sat = sum(coin.output.value_sat for _, coin in coins if not coin.height)
        return {"confirmed": confirmed_sat, "unconfirmed": unconfirmed_sat}

    def _transaction(self, txid: Json, _verbose: Json = False) -> str:
        wanted = txid_from_hex(str(txid))
        tx = self._server.chain.transaction(wanted)
        if tx is None or wanted in self._server.lies.hidden:
            raise RpcRefusal(NODE_ERROR, "No such mempool or blockchain transaction.")
        if self._server.lies.wrong_tx:
            return self._server.chain.tip.txs[0].serialize().hex()
        return tx.serialize().hex()

    def _branch(self, height: int, index: int) -> list[str]:
        leaves = [tx.txid for tx in self._server.chain.blocks[height].txs]
        branch = branch_of(leaves, index)
        if self._server.lies.wrong_proof:
            branch = [bytes(32), *branch[1:]]
        return [hash_hex(node) for node in branch]

    def _merkle(self, txid: Json, height: Json) -> dict[str, object]:
        wanted, at = txid_from_hex(str(txid)), self._height(height)
        txids = [tx.txid for tx in self._server.chain.blocks[at].txs]
        if wanted not in txids or wanted in self._server.lies.hidden:
            raise RpcRefusal(BAD_REQUEST, f"tx {txid} not in block at height {at}")
        index = txids.index(wanted)
        return {"block_height": at, "merkle": self._branch(at, index), "pos": index}

    def _id_from_pos(self, height: Json, index: Json, merkle: Json = False) -> object:
        at = self._height(height)
        txs = self._server.chain.blocks[at].txs
        if not isinstance(index, int) or not 0 <= index < len(txs):
            raise RpcRefusal(BAD_REQUEST, f"no tx at position {index} in block at height {at}")
        name = txid_hex(txs[index].txid)
        return {"tx_hash": name, "merkle": self._branch(at, index)} if merkle else name

    def _parse(self, raw: object) -> Transaction:
        try:
            return Transaction.parse(bytes.fromhex(str(raw)))
        except (DecodeError, ValueError):
            raise RpcRefusal(
                BAD_REQUEST, "the transaction was rejected by network rules.\n\nTX decode failed"
            ) from None

    def _broadcast(self, raw: Json) -> str:
        tx = self._parse(raw)
        # A node answers a repetition with the id.
        if not self._server.lies.deaf and tx.txid not in self._server.chain.mempool:
            try:
                self._server.chain.send(tx)
            except TxRejected as exc:
                words = f"the transaction was rejected by network rules.\n\n{exc}\n[{raw}]"
                raise RpcRefusal(BAD_REQUEST, words) from None
        return txid_hex(tx.txid)

    def _broadcast_package(self, raws: Json, _verbose: Json = False) -> dict[str, object]:
        if not isinstance(raws, list) or not raws:
            raise RpcRefusal(BAD_REQUEST, "a package is a list of transactions")
        txs = [self._parse(raw) for raw in raws]
        parents = {tx.txid for tx in txs[:-1]}
        if not parents <= {txin.prevout.txid for txin in txs[-1].inputs}:
            raise RpcRefusal(BAD_REQUEST, "package-not-child-with-parents")
        if not self._server.lies.deaf:
            try:
                self._server.chain.send_package(txs)
            except TxRejected as exc:
                return {"success": False, "errors": [{"txid": txid_hex(txs[-1].txid), "error": str(exc)}]}
        return {"success": True}
