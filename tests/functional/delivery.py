"""How a node hears of the chain: the orders of delivery that `chain.Confirm` allows, as styles with names.

Theory of operation. A `ChainView` stands between the chain and one node. It is told of every block and of every
reorganisation, and passes them on as its style has it: at once or late, the tip before or after the transactions, whole
or in pieces, once or again and again, everything or only what was registered. Nothing is ever held back beyond the last
block of a `mine` call. Whatever the style, the node has to end in the same state.

A style is drawn for each node from the test's name, and so is the same in each run. `LEYDEN_STYLE_SEED` draws others;
`LEYDEN_STYLE` names them: one for all nodes, or one for each node in the order in which they are made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from random import Random
from typing import Final

from wallet.bitcoin.tx import BlockHash, BlockHeader, OutPoint, Transaction, Txid
from wallet.chain.interfaces import Confirm, TxInBlock

GAP_BLOCKS: Final = 3
"""A style that skips may keep so many blocks back at most: what a core may sleep through without losing anything."""


class Pace(Enum):
    """When things are told, while several blocks are mined in one go."""

    EACH_BLOCK = auto()
    TIPS_SKIPPED = auto()
    """The transactions of each block at once, the tip of the last one only."""
    ALL_LATER = auto()
    """Nothing before the last block: then the transactions of all, in order, and the last tip."""
    TRANSACTIONS_LATER = auto()
    """Headers at once, one by one; the transactions of all these blocks only behind the last header."""


class Back(Enum):
    """How the end of a branch is told."""

    TXIDS = auto()
    """Each transaction leaves; the next tip is of the new branch."""
    TIPS = auto()
    """The tip goes down block by block; of transactions nothing is said."""
    FORK_POINT = auto()
    """The tip jumps to where the branches part; of transactions nothing is said."""
    BOTH = auto()
    """Block by block: its transactions leave, then the tip goes down."""
    ASKED = auto()
    """The listener is asked for the transactions that matter to it; those whose block is gone leave."""


@dataclass(frozen=True, kw_only=True)
class ConnectStyle:
    """One way to be told.

    Attributes:
        tip_first: the tip is told before the transactions that belong to it.
        piecemeal: each transaction of a block in a call of its own.
        doubled: everything is told twice.
        replayed: with each block, and after a restart, all earlier blocks again.
        taken_back: what a block confirms leaves and comes again.
        detour: each tip goes back by a block and comes again, with its transactions.
        hinted: unconfirmed transactions are told, and their eviction.
        filtered: only what the node has registered is told, as by a server of scripts.
        manager_first: the manager hears before the monitors.
    """

    name: str
    pace: Pace = Pace.EACH_BLOCK
    back: Back = Back.TXIDS
    tip_first: bool = False
    piecemeal: bool = False
    doubled: bool = False
    replayed: bool = False
    taken_back: bool = False
    detour: bool = False
    hinted: bool = False
    filtered: bool = False
    manager_first: bool = False


STYLES: Final[tuple[ConnectStyle, ...]] = (
    ConnectStyle(name="transactions_first"),
    ConnectStyle(name="best_block_first", tip_first=True, back=Back.TIPS),
    ConnectStyle(name="tip_only", pace=Pace.TIPS_SKIPPED, back=Back.FORK_POINT),
    ConnectStyle(name="asleep", pace=Pace.ALL_LATER, back=Back.ASKED, filtered=True),
    ConnectStyle(name="best_block_first_skipping", pace=Pace.ALL_LATER, back=Back.FORK_POINT, tip_first=True),
    ConnectStyle(name="headers_ahead", pace=Pace.TRANSACTIONS_LATER, back=Back.BOTH),
    ConnectStyle(name="piecemeal", piecemeal=True, filtered=True),
    ConnectStyle(name="doubled", doubled=True, back=Back.BOTH),
    ConnectStyle(name="replayed", replayed=True, back=Back.TIPS),
    ConnectStyle(name="best_block_first_replayed", replayed=True, tip_first=True, back=Back.ASKED),
    ConnectStyle(name="taken_back", taken_back=True),
    ConnectStyle(name="there_and_back", detour=True, back=Back.TIPS),
    ConnectStyle(name="hinted", hinted=True, back=Back.BOTH),
    ConnectStyle(name="hinted_filtered", hinted=True, filtered=True, back=Back.ASKED),
    ConnectStyle(name="manager_first", manager_first=True, doubled=True, back=Back.FORK_POINT),
)
BY_NAME: Final[Mapping[str, ConnectStyle]] = {style.name: style for style in STYLES}


class StyleDraw:
    """Deals the styles of one test, one to each node.

    Attributes:
        dealt: the names, since `begin`.
    """

    def __init__(self, test_id: str, named: str, seed: str) -> None:
        self._named = [BY_NAME[name.strip()] for name in named.split(",") if name.strip()]
        self._dice = Random(f"{test_id} {seed}")
        self.dealt: list[str] = []

    def begin(self) -> None:
        """For a new world."""
        self.dealt = []

    def next_style(self, wanted: str | None = None) -> ConnectStyle:
        """`wanted`: by a test that is about one style, and no other."""
        drawn = self._dice.choice(STYLES)
        if wanted is not None:
            drawn = BY_NAME[wanted]
        elif self._named:
            drawn = self._named[min(len(self.dealt), len(self._named) - 1)]
        self.dealt.append(drawn.name)
        return drawn

    def how_to_repeat(self) -> str:
        return f"the nodes hear of the chain as they do with LEYDEN_STYLE={','.join(self.dealt)}"


class Registrations:
    """`chain.Filter`: what a server of scripts would be asked about."""

    def __init__(self) -> None:
        self._txids: set[Txid] = set()
        self._outpoints: set[OutPoint] = set()

    def register_tx(self, txid: Txid, script_pubkey: bytes) -> None:
        self._txids.add(txid)

    def register_output(
        self, outpoint: OutPoint, script_pubkey: bytes, block_hash: BlockHash | None = None
    ) -> None:
        self._outpoints.add(outpoint)

    def matches(self, tx: Transaction) -> bool:
        if tx.txid in self._txids or any(txin.prevout in self._outpoints for txin in tx.inputs):
            return True
        return any(OutPoint(tx.txid, vout) in self._outpoints for vout in range(len(tx.outputs)))


@dataclass(frozen=True)
class Block:
    header: BlockHeader
    height: int
    txs: tuple[TxInBlock, ...]


class ChainView:
    """What one node has heard of the chain.

    Attributes:
        filter: handed to the node where its style is filtered.
    """

    def __init__(
        self, style: ConnectStyle, blocks: Sequence[Block], listeners: Callable[[], Sequence[Confirm]]
    ) -> None:
        self.style = style
        self.filter = Registrations() if style.filtered else None
        self._listeners = listeners
        self._headers = [(block.header, block.height) for block in blocks]
        # Only blocks that hold something: the others are their headers.
        self._full = [block for block in blocks if block.txs]
        self._told: set[Txid] = set()
        self._hinted: set[Txid] = set()
        self._waiting: list[Block] = []

    # --- forwards ---

    def connect(self, block: Block, *, last: bool) -> None:
        """A block was mined. `last`: nothing may be kept back any more."""
        style = self.style
        self._headers.append((block.header, block.height))
        self._waiting.append(block)
        due = last or len(self._waiting) >= GAP_BLOCKS
        match style.pace:
            case Pace.EACH_BLOCK:
                self._pass_on(block)
            case Pace.TIPS_SKIPPED:
                self._confirm(block)
                if due:
                    self._tip(block.header, block.height)
            case Pace.ALL_LATER:
                if not due:
                    return
                if style.tip_first:
                    self._tip(block.header, block.height)
                for waiting in self._waiting:
                    self._confirm(waiting)
                if not style.tip_first:
                    self._tip(block.header, block.height)
            case Pace.TRANSACTIONS_LATER:
                self._tip(block.header, block.height)
                if not due:
                    return
                for waiting in self._waiting:
                    self._confirm(waiting)
        if due or style.pace is Pace.EACH_BLOCK:
            self._waiting.clear()

    def _pass_on(self, block: Block) -> None:
        """One whole block, as the style has it."""
        for _ in range(2 if self.style.doubled else 1):
            if self.style.tip_first:
                self._tip(block.header, block.height)
            self._confirm(block)
            if not self.style.tip_first:
                self._tip(block.header, block.height)
        if self.style.detour and len(self._headers) > 1:
            self._tip(*self._headers[-2])
            self._confirm(block)
            self._tip(block.header, block.height)

    def _confirm(self, block: Block) -> None:
        if self.style.replayed:
            for earlier in self._full:
                if earlier is not block:
                    self._tell_confirmed(earlier, self._wanted(earlier))
        if block.txs and (not self._full or self._full[-1].height < block.height):
            self._full.append(block)
        found = self._wanted(block)
        self._tell_confirmed(block, found)
        if self.style.taken_back:
            for item in reversed(found):
                for listener in self._listeners():
                    listener.transaction_unconfirmed(item.tx.txid)
            self._tell_confirmed(block, found)
        self._look_again()

    def _wanted(self, block: Block) -> list[TxInBlock]:
        return [item for item in block.txs if self.filter is None or self.filter.matches(item.tx)]

    def _tell_confirmed(self, block: Block, found: Sequence[TxInBlock]) -> None:
        if not found:
            return
        self._told.update(item.tx.txid for item in found)
        calls = [[item] for item in found] if self.style.piecemeal else [list(found)]
        for items in calls:
            for listener in self._listeners():
                listener.transactions_confirmed(block.header, block.height, items)

    def _look_again(self) -> None:
        """After a registration nothing that matches may be missed, in the same block neither."""
        if self.filter is None:
            return
        found = True
        while found:
            found = False
            for block in self._full:
                more = [item for item in self._wanted(block) if item.tx.txid not in self._told]
                if more:
                    self._tell_confirmed(block, more)
                    found = True

    def _tip(self, header: BlockHeader, height: int) -> None:
        for listener in self._listeners():
            listener.best_block_updated(header, height)
        self._look_again()

    # --- backwards ---

    def disconnect(self, lost: Sequence[Block]) -> None:
        """The last blocks are gone; `lost` is in the order of the chain."""
        assert not self._waiting, "a reorganisation in the middle of a delivery"
        back = self.style.back
        for block in reversed(lost):
            if back in (Back.TXIDS, Back.BOTH):
                for item in reversed(block.txs):
                    if item.tx.txid in self._told:
                        self._unconfirm(item.tx.txid, self._listeners())
            self._headers.pop()
            if back in (Back.TIPS, Back.BOTH):
                self._tip_without_looking(*self._headers[-1])
        gone = {item.tx.txid for block in lost for item in block.txs}
        self._told -= gone
        self._hinted -= gone
        self._full = [block for block in self._full if block not in lost]
        if back is Back.FORK_POINT:
            self._tip_without_looking(*self._headers[-1])
        if back is Back.ASKED:
            hashes = {header.hash for header, _ in self._headers}
            for listener in self._listeners():
                for txid, _height, block_hash in reversed(listener.get_relevant_txids()):
                    if block_hash not in hashes:
                        self._unconfirm(txid, (listener,))

    def _tip_without_looking(self, header: BlockHeader, height: int) -> None:
        for listener in self._listeners():
            listener.best_block_updated(header, height)

    @staticmethod
    def _unconfirm(txid: Txid, listeners: Sequence[Confirm]) -> None:
        for listener in listeners:
            listener.transaction_unconfirmed(txid)

    # --- the mempool, and restarts ---

    def look_at_mempool(self, mempool: Mapping[Txid, Transaction]) -> bool:
        """Tells what is new there, and what is gone. Whether there was anything to tell."""
        if not self.style.hinted:
            return False
        confirmed = {item.tx.txid for block in self._full for item in block.txs}
        evicted = [txid for txid in self._hinted if txid not in mempool and txid not in confirmed]
        seen = [
            tx
            for txid, tx in mempool.items()
            if txid not in self._hinted and (self.filter is None or self.filter.matches(tx))
        ]
        self._hinted = {txid for txid in self._hinted if txid in mempool} | {tx.txid for tx in seen}
        for listener in self._listeners():
            if seen:
                listener.transactions_seen(seen)
            if evicted:
                listener.transactions_evicted(evicted)
        return bool(seen or evicted)

    def begin_again(self) -> None:
        """Before a restart: what was registered and told is forgotten."""
        self._hinted.clear()
        if self.style.filtered:
            self.filter = Registrations()
            self._told.clear()

    def catch_up(self) -> None:
        """After a restart: a server of scripts tells everything again, and so does one that replays."""
        if self.style.replayed or self.style.filtered:
            for block in self._full:
                self._tell_confirmed(block, self._wanted(block))
            self._look_again()
            self._tip(*self._headers[-1])
