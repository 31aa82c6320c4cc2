"""The ledger of the on-chain funds: transactions that concern us, and what follows from them.

Theory of operation. `State` is frozen. A step opens an `Edit` over it, changes that, and the shell swaps the
finished state in and writes the rows of what was touched; an exception before that leaves the old state whole. Only
`TxRecord`s and the small records beside them are durable; who spends what, coins, balance and history are worked
out from them.

Rows:

| space | key | value |
| --- | --- | --- |
| `onchain_tx` | txid | `TxRecord` |
| `onchain_branch` | purpose, change | `BranchState` |
| `onchain_reserved` | txid | `Reservation`: signed, not to be broadcast yet |
| `onchain_claim` | claim id | `Claim`: coins that pay for a Lightning claim |
| `onchain_label` | what is labelled, UTF-8 | `Label` |
| `onchain_frozen` | outpoint | `FrozenCoin` |
| `onchain_tip` | empty | `Tip` |

Two transactions that spend the same output are never both in the ledger: one in a block wins over all; among those
that wait, the later one wins, except that what we have replaced ourselves does not come back by a mempool's echo.
The loser goes with its descendants; should the chain turn to it after all, the chain source shows it again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from wallet.bitcoin.errors import DecodeError, InvariantError
from wallet.bitcoin.records import decode, encode
from wallet.bitcoin.tx import BlockHash, BlockHeader, OutPoint, Transaction, Txid, TxOut
from wallet.chain.interfaces import Row, TxInBlock
from wallet.onchain.keyring import BRANCHES, Branch, BranchState, KeyPath, Keyring
from wallet.onchain.signing import is_plausible_spend

__all__ = [
    "PSBT_OWNER",
    "Claim",
    "Edit",
    "Label",
    "Reservation",
    "State",
    "Tip",
    "TxRecord",
    "confirm",
    "evict",
    "move_tip",
    "read_state",
    "see",
    "unconfirm",
]

TX_SPACE = "onchain_tx"
BRANCH_SPACE = "onchain_branch"
RESERVED_SPACE = "onchain_reserved"
CLAIM_SPACE = "onchain_claim"
LABEL_SPACE = "onchain_label"
FROZEN_SPACE = "onchain_frozen"
TIP_SPACE = "onchain_tip"

PSBT_OWNER = b"psbt"
"""Whose coins are set aside that a PSBT spends which we signed. Channel ids are longer."""

Rows = Callable[[str], Iterable[tuple[bytes, bytes]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TxRecord:
    """A transaction that concerns the wallet.

    Attributes:
        height, block_hash, block_time_at: its block; None while it waits. block_index: its place there.
        first_at: the last tip's time when it first came up.
        is_own: we made it (or sent it); it stays until the chain decides, whatever mempools forget.
        in_mempool: a server has shown it since it last was in no block.
        keep_txid: others rely on the txid (a channel's funding): it is never replaced.
        all_vout: the output that took "all"; a replacement pays its fee from it.
        replaces: waiting transactions of ours that this one took the place of.
    """

    tx: Transaction
    height: int | None = None
    block_hash: BlockHash | None = None
    block_index: int = 0
    block_time_at: int | None = None
    first_at: int = 0
    is_own: bool = False
    in_mempool: bool = False
    keep_txid: bool = False
    all_vout: int | None = None
    replaces: tuple[Txid, ...] = ()

    @property
    def at(self) -> int:
        return self.first_at if self.block_time_at is None else self.block_time_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """A signed transaction whose time has not come; its coins are spoken for.

    Attributes:
        owner: whose it is: a temporary channel id, or `PSBT_OWNER` for what others still have to sign or send.
    """

    tx: Transaction
    owner: bytes

    @property
    def keeps_txid(self) -> bool:
        """Whether others rely on the transaction's id."""
        return self.owner != PSBT_OWNER


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Coins that help to pay for one claim of the Lightning core, through all its fee bumps.

    Attributes:
        must_spend: what is claimed: once a block spends one of them, the coins are free.
        asked_height: the tip when the claim last asked; it asks again while it needs them.
    """

    outpoints: tuple[OutPoint, ...]
    must_spend: tuple[OutPoint, ...]
    change_script: bytes
    asked_height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenCoin:
    """A coin that the user does not want spent."""

    outpoint: OutPoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Tip:
    height: int = 0
    time_at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Everything the wallet knows; the mappings are never changed in place.

    Attributes:
        spenders: which transaction in the ledger spends an output (anybody's).
    """

    txs: Mapping[Txid, TxRecord] = field(default_factory=dict)
    spenders: Mapping[OutPoint, Txid] = field(default_factory=dict)
    branches: Mapping[Branch, BranchState] = field(
        default_factory=lambda: {branch: BranchState() for branch in BRANCHES}
    )
    reservations: Mapping[Txid, Reservation] = field(default_factory=dict)
    claims: Mapping[bytes, Claim] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    frozen: frozenset[OutPoint] = frozenset()
    tip: Tip = Tip()

    def output(self, outpoint: OutPoint) -> TxOut | None:
        """An output of a transaction in the ledger."""
        record = self.txs.get(outpoint.txid)
        if record is None or outpoint.vout >= len(record.tx.outputs):
            return None
        return record.tx.outputs[outpoint.vout]

    def conflicts(self, tx: Transaction) -> list[Txid]:
        """Other transactions in the ledger that spend what this one spends."""
        txid = tx.txid
        found = dict.fromkeys(self.spenders.get(txin.prevout, txid) for txin in tx.inputs)
        return [other for other in found if other != txid]

    def descendants(self, txid: Txid) -> list[Txid]:
        """Transactions in the ledger that spend from this one, through any number of steps; nearest first."""
        found: dict[Txid, None] = {}
        queue = [txid]
        for current in queue:
            record = self.txs.get(current)
            if record is None:
                continue
            for vout in range(len(record.tx.outputs)):
                child = self.spenders.get(OutPoint(current, vout))
                if child is not None and child not in found and child != txid:
                    found[child] = None
                    queue.append(child)
        return list(found)

    def unconfirmed_ancestors(self, txid: Txid) -> list[Txid]:
        """The transaction itself, if it waits, and all that it waits for."""
        found: dict[Txid, None] = {}
        queue = [txid]
        for current in queue:
            record = self.txs.get(current)
            if record is None or record.height is not None or current in found:
                continue
            found[current] = None
            queue.extend(txin.prevout.txid for txin in record.tx.inputs)
        return list(found)

    def fee_sat(self, tx: Transaction) -> int | None:
        """None where an output that it spends is unknown."""
        spent_sat = 0
        for txin in tx.inputs:
            output = self.output(txin.prevout)
            if output is None:
                return None
            spent_sat += output.value_sat
        return spent_sat - tx.total_output_sat


class Edit:
    """A step under way: a state that may be changed, and which rows that touches."""

    def __init__(self, state: State, keyring: Keyring) -> None:
        self._old = state
        self._keyring = keyring
        self._txs: dict[Txid, TxRecord] | None = None
        self._spenders: dict[OutPoint, Txid] | None = None
        self._touched_txids: dict[Txid, None] = {}
        self._changes: dict[tuple[str, bytes], Row] = {}
        self.state = state

    @property
    def is_empty(self) -> bool:
        return self.state is self._old

    @property
    def touched(self) -> Iterable[Txid]:
        """Transactions that the step put, changed or took out."""
        return self._touched_txids

    def rows(self) -> list[Row]:
        """What has to become durable, once the step is complete."""
        out = list(self._changes.values())
        for txid in self._touched_txids:
            old, new = self._old.txs.get(txid), self.state.txs.get(txid)
            if new is not old:
                out.append(Row(TX_SPACE, txid, None if new is None else encode(new)))
        return out

    # --- ownership ---

    def path_of(self, outpoint: OutPoint) -> KeyPath | None:
        output = self.state.output(outpoint)
        return None if output is None else self._keyring.path_of(output.script_pubkey)

    def concerns(self, tx: Transaction) -> bool:
        """Whether it pays to us, or spends from us."""
        if any(self._keyring.path_of(output.script_pubkey) is not None for output in tx.outputs):
            return True
        return any(self.path_of(txin.prevout) is not None for txin in tx.inputs)

    # --- transactions ---

    def put_tx(self, record: TxRecord) -> None:
        txid = record.tx.txid
        txs = self._writable_txs()
        is_new = txid not in txs
        txs[txid] = record
        self._touched_txids[txid] = None
        if is_new:
            spenders = self._writable_spenders()
            for txin in record.tx.inputs:
                spenders[txin.prevout] = txid
            self.state = replace(self.state, txs=txs, spenders=spenders)
            self._mark_used(record.tx)
        else:
            self.state = replace(self.state, txs=txs)

    def remove_tx(self, txid: Txid) -> None:
        """Takes a transaction out with everything that was built on it."""
        doomed = [txid, *self.state.descendants(txid)]
        txs = self._writable_txs()
        spenders = self._writable_spenders()
        for gone in doomed:
            record = txs.pop(gone, None)
            if record is None:
                continue
            self._touched_txids[gone] = None
            for txin in record.tx.inputs:
                if spenders.get(txin.prevout) == gone:
                    del spenders[txin.prevout]
        self.state = replace(self.state, txs=txs, spenders=spenders)

    def _writable_txs(self) -> dict[Txid, TxRecord]:
        if self._txs is None:
            self._txs = dict(self.state.txs)
        return self._txs

    def _writable_spenders(self) -> dict[OutPoint, Txid]:
        if self._spenders is None:
            self._spenders = dict(self.state.spenders)
        return self._spenders

    def _mark_used(self, tx: Transaction) -> None:
        """Counts the addresses that it pays to as used; new addresses come into view, and may be in old ones."""
        queue: list[Transaction] = [tx]
        for current in queue:
            grown = False
            for output in current.outputs:
                path = self._keyring.path_of(output.script_pubkey)
                if path is None:
                    continue
                old = self.state.branches[path.branch]
                new = old.with_used(path.index)
                if new is not old:
                    self.put_branch(path.branch, new)
                    grown |= self._keyring.extend(path.branch, new.watch_count)
            if grown:
                queue.extend(record.tx for record in self.state.txs.values())

    # --- the small records ---

    def put_branch(self, branch: Branch, branch_state: BranchState) -> None:
        self.state = replace(self.state, branches={**self.state.branches, branch: branch_state})
        self._change(Row(BRANCH_SPACE, branch.key, encode(branch_state)))
        self._keyring.extend(branch, branch_state.watch_count)

    def put_reservation(self, reservation: Reservation) -> None:
        txid = reservation.tx.txid
        self.state = replace(self.state, reservations={**self.state.reservations, txid: reservation})
        self._change(Row(RESERVED_SPACE, txid, encode(reservation)))
        for output in reservation.tx.outputs:
            self.hold_script(output.script_pubkey)

    def hold_script(self, script_pubkey: bytes) -> None:
        """A script of ours that is part of a signed transaction is not given to another."""
        path = self._keyring.path_of(script_pubkey)
        if path is not None:
            old = self.state.branches[path.branch]
            if path.index >= old.handed_count:
                self.put_branch(path.branch, replace(old, handed_count=path.index + 1))

    def drop_reservation(self, txid: Txid) -> None:
        if txid in self.state.reservations:
            kept = {key: value for key, value in self.state.reservations.items() if key != txid}
            self.state = replace(self.state, reservations=kept)
            self._change(Row(RESERVED_SPACE, txid, None))

    def put_claim(self, claim_id: bytes, claim: Claim | None) -> None:
        claims = {key: value for key, value in self.state.claims.items() if key != claim_id}
        if claim is not None:
            claims[claim_id] = claim
        self.state = replace(self.state, claims=claims)
        self._change(Row(CLAIM_SPACE, claim_id, None if claim is None else encode(claim)))

    def put_label(self, item: str, text: str) -> None:
        self.put_labels({item: text})

    def put_labels(self, texts: Mapping[str, str]) -> None:
        changed = {item: text for item, text in texts.items() if self.state.labels.get(item, "") != text}
        if not changed:
            return
        # A copy at a stretch: there may be a hundred thousand, and the core stands still meanwhile.
        labels = {**self.state.labels, **changed}
        for item in [item for item, text in changed.items() if not text]:
            del labels[item]
        self.state = replace(self.state, labels=labels)
        for item, text in changed.items():
            self._change(Row(LABEL_SPACE, item.encode(), encode(Label(text=text)) if text else None))

    def put_frozen(self, outpoint: OutPoint, is_frozen: bool) -> None:
        if (outpoint in self.state.frozen) == is_frozen:
            return
        changed = frozenset((outpoint,))
        frozen = self.state.frozen | changed if is_frozen else self.state.frozen - changed
        self.state = replace(self.state, frozen=frozen)
        value = encode(FrozenCoin(outpoint=outpoint)) if is_frozen else None
        self._change(Row(FROZEN_SPACE, outpoint.serialize(), value))

    def put_tip(self, tip: Tip) -> None:
        if tip != self.state.tip:
            self.state = replace(self.state, tip=tip)
            self._change(Row(TIP_SPACE, b"", encode(tip)))

    def _change(self, row: Row) -> None:
        self._changes[row.space, row.key] = row


# --- steps --------------------------------------------------------------------------------------------


CLAIM_BLOCKS = 144
"""A claim that has not asked for its coins for a day has no more use for them: monitors ask every few blocks."""


def move_tip(edit: Edit, tip: Tip) -> None:
    """The best block is another; claims that fell silent let their coins go."""
    edit.put_tip(tip)
    for claim_id, claim in edit.state.claims.items():
        if claim.asked_height + CLAIM_BLOCKS < tip.height:
            edit.put_claim(claim_id, None)


def confirm(edit: Edit, header: BlockHeader, height: int, txdata: Sequence[TxInBlock]) -> None:
    """A block holds these. What spends the same coins and waits has lost, with its descendants."""
    block_hash = header.hash
    for item in txdata:
        tx = item.tx
        for loser in edit.state.conflicts(tx):
            edit.remove_tx(loser)
        spent = {txin.prevout for txin in tx.inputs}
        _drop_what_cannot_come(edit, tx.txid, spent)
        old = edit.state.txs.get(tx.txid)
        if old is None:
            if not edit.concerns(tx):
                continue
            old = TxRecord(tx=tx, first_at=header.time_at)
        elif old.block_hash == block_hash:
            continue
        reservation = edit.state.reservations.get(tx.txid)
        if reservation is not None:
            edit.drop_reservation(tx.txid)
        edit.put_tx(
            replace(
                old,
                # The block's witness is the one that counts: a mempool's copy may have had another.
                tx=tx,
                height=height,
                block_hash=block_hash,
                block_index=item.index,
                block_time_at=header.time_at,
                in_mempool=False,
                is_own=old.is_own or reservation is not None,
                keep_txid=old.keep_txid or (reservation is not None and reservation.keeps_txid),
            )
        )


def _drop_what_cannot_come(edit: Edit, txid: Txid, spent: set[OutPoint]) -> None:
    for key, reservation in edit.state.reservations.items():
        if key != txid and any(txin.prevout in spent for txin in reservation.tx.inputs):
            edit.drop_reservation(key)
    for claim_id, claim in edit.state.claims.items():
        if any(outpoint in spent for outpoint in (*claim.outpoints, *claim.must_spend)):
            edit.put_claim(claim_id, None)
    for outpoint in spent & edit.state.frozen:
        edit.put_frozen(outpoint, False)


def unconfirm(edit: Edit, txid: Txid) -> None:
    """Its block left the best chain: it waits again. A coinbase died with its block."""
    old = edit.state.txs.get(txid)
    if old is None or old.height is None:
        return
    if old.tx.is_coinbase:
        edit.remove_tx(txid)
        return
    edit.put_tx(
        replace(old, height=None, block_hash=None, block_index=0, block_time_at=None, in_mempool=True)
    )


def see(edit: Edit, txs: Sequence[Transaction]) -> None:
    """Servers show these as waiting."""
    for tx in txs:
        old = edit.state.txs.get(tx.txid)
        if old is not None:
            if old.height is None and not old.in_mempool:
                edit.put_tx(replace(old, in_mempool=True))
            continue
        losers = edit.state.conflicts(tx)
        if not losers and not edit.concerns(tx):
            continue
        if not _is_credible(edit.state, edit, tx, losers):
            continue
        for loser in losers:
            edit.remove_tx(loser)
        if not edit.concerns(tx):
            continue
        reservation = edit.state.reservations.get(tx.txid)
        if reservation is not None:
            edit.drop_reservation(tx.txid)
        edit.put_tx(
            TxRecord(
                tx=tx,
                first_at=edit.state.tip.time_at,
                in_mempool=True,
                is_own=reservation is not None,
                keep_txid=reservation is not None and reservation.keeps_txid,
            )
        )


def _is_credible(state: State, edit: Edit, tx: Transaction, losers: Sequence[Txid]) -> bool:
    if tx.is_coinbase:
        return False
    ancestors = {txin.prevout.txid for txin in tx.inputs}
    for loser in losers:
        record = state.txs[loser]
        if record.height is not None:
            return False
        if tx.txid in record.replaces:
            return False
        if loser in ancestors:
            return False
    for index, txin in enumerate(tx.inputs):
        output = state.output(txin.prevout)
        if output is None or edit.path_of(txin.prevout) is None:
            continue
        if not is_plausible_spend(tx, index, output, state.output):
            return False
    return True


def evict(edit: Edit, txids: Sequence[Txid]) -> None:
    """No server shows these any more. Ours may still be mined by whoever has them: they stay, to be sent again."""
    for txid in txids:
        old = edit.state.txs.get(txid)
        if old is None or old.height is not None:
            continue
        if old.is_own:
            edit.put_tx(replace(old, in_mempool=False))
        else:
            edit.remove_tx(txid)


# --- reading back -------------------------------------------------------------------------------------


def read_state(rows: Rows, keyring: Keyring) -> State:
    """The state that the rows hold; raises `DecodeError` for rows that make no sense."""
    branches = {branch: BranchState() for branch in BRANCHES}
    for key, value in rows(BRANCH_SPACE):
        branch = Branch.from_key(key)
        if branch is None:
            raise DecodeError("the wallet file has an address row of an unknown kind")
        branches[branch] = decode(BranchState, value)
    for branch, branch_state in branches.items():
        keyring.extend(branch, branch_state.watch_count)
    txs: dict[Txid, TxRecord] = {}
    spenders: dict[OutPoint, Txid] = {}
    for key, value in rows(TX_SPACE):
        record = decode(TxRecord, value)
        txid = record.tx.txid
        if txid != key:
            raise DecodeError("the wallet file has a transaction under another's id")
        txs[txid] = record
        for txin in record.tx.inputs:
            if spenders.setdefault(txin.prevout, txid) != txid:
                raise InvariantError("the wallet file has two transactions that spend the same coin")
    reservations = [decode(Reservation, value) for _key, value in rows(RESERVED_SPACE)]
    tip = Tip()
    for _key, value in rows(TIP_SPACE):
        tip = decode(Tip, value)
    return State(
        txs=txs,
        spenders=spenders,
        branches=branches,
        reservations={reservation.tx.txid: reservation for reservation in reservations},
        claims={key: decode(Claim, value) for key, value in rows(CLAIM_SPACE)},
        labels={_text(key): decode(Label, value).text for key, value in rows(LABEL_SPACE)},
        frozen=frozenset(decode(FrozenCoin, value).outpoint for _key, value in rows(FROZEN_SPACE)),
        tip=tip,
    )


def _text(key: bytes) -> str:
    try:
        return key.decode()
    except UnicodeDecodeError:
        raise DecodeError("the wallet file has a label under a name that is not text") from None
