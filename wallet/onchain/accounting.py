"""What the ledger comes to: coins, balance, history. Pure functions of a `State`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from wallet.bitcoin.tx import BlockHash, OutPoint, Transaction, Txid
from wallet.onchain.coins import Coin
from wallet.onchain.keyring import Keyring
from wallet.onchain.ledger import State, TxRecord

__all__ = [
    "OnchainBalance",
    "OnchainEntry",
    "Purpose",
    "balance_of",
    "coins_of",
    "entry_of",
    "history_of",
    "purposes_of",
]

# Consensus, COINBASE_MATURITY: a block's reward may be spent this many blocks later.
COINBASE_MATURITY_BLOCKS: Final = 100

# Bitcoin Core and BIP 125: a sequence at or below this says that the transaction may be replaced.
MAX_SEQUENCE_RBF: Final = 0xFFFFFFFD


class Purpose(Enum):
    """What a coin is spoken for; documented by what will spend it."""

    OPENING = auto()
    """The funding of a channel, which is not sent before the peer has signed."""
    PSBT = auto()
    """A transaction that we signed and others still have to sign or send."""
    CLAIM = auto()
    """The fee of a claim of the Lightning core."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnchainBalance:
    """Coins that nothing spends yet, not even a waiting transaction.

    `confirmed_sat + unconfirmed_sat` is `spendable_sat + arriving_sat + reserved_sat`, and the last of these is the
    sum of `frozen_sat`, `opening_sat`, `psbt_sat` and `claims_sat`.

    Attributes:
        confirmed_sat: in blocks, and mature. unconfirmed_sat: waiting, whoever paid it.
        immature_sat: block rewards that cannot be spent yet.
        reserved_sat: the part of those that is spoken for, or frozen.
        spendable_sat: what a payment could use now: confirmed, or trusted, and free.
        arriving_sat: free, and not ours to trust before a block has it.
        frozen_sat: kept by the person, and not spoken for. opening_sat, psbt_sat, claims_sat: for each `Purpose`.
    """

    confirmed_sat: int = 0
    unconfirmed_sat: int = 0
    immature_sat: int = 0
    reserved_sat: int = 0
    spendable_sat: int = 0
    arriving_sat: int = 0
    frozen_sat: int = 0
    opening_sat: int = 0
    psbt_sat: int = 0
    claims_sat: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OnchainEntry:
    """One transaction as the history shows it.

    Attributes:
        height, block_hash: its block; None while it waits. at: the block's time, else when it came up.
        delta_sat: what it changed in our coins, the fee included when we paid it.
        fee_sat: None where it spends outputs that we do not know.
        can_bump: it can be replaced by one with a higher fee. can_cpfp: a child of ours can pay for it.
        is_own: made or sent by this wallet. in_mempool: a server shows it.
    """

    txid: Txid
    height: int | None
    block_hash: BlockHash | None
    at: int
    delta_sat: int
    fee_sat: int | None
    label: str
    tx: Transaction
    can_bump: bool
    can_cpfp: bool
    is_own: bool
    in_mempool: bool
    replaces: tuple[Txid, ...]


def coins_of(state: State, keyring: Keyring) -> tuple[Coin, ...]:
    """Every coin that no transaction of the ledger spends, oldest first."""
    reserved = reserved_outpoints(state)
    trust: dict[Txid, bool] = {}
    coins: list[Coin] = []
    for txid, record in state.txs.items():
        is_mature = not record.tx.is_coinbase or _is_mature(record, state.tip.height)
        for vout, output in enumerate(record.tx.outputs):
            path = keyring.path_of(output.script_pubkey)
            if path is None:
                continue
            outpoint = OutPoint(txid, vout)
            if outpoint in state.spenders:
                continue
            coins.append(
                Coin(
                    outpoint=outpoint,
                    output=output,
                    height=record.height,
                    is_change=path.branch.is_change,
                    trusted=is_trusted(state, keyring, txid, trust),
                    frozen=outpoint in state.frozen,
                    reserved=outpoint in reserved,
                    is_mature=is_mature,
                )
            )
    waiting_height = state.tip.height + 1
    coins.sort(key=lambda coin: (coin.height or waiting_height, coin.outpoint))
    return tuple(coins)


def reserved_outpoints(state: State) -> frozenset[OutPoint]:
    """What signed transactions that wait for their time, and claims of the Lightning core, are to spend."""
    return frozenset(purposes_of(state))


def purposes_of(state: State) -> Mapping[OutPoint, Purpose]:
    """What each coin that is spoken for is to pay."""
    purposes = {outpoint: Purpose.CLAIM for claim in state.claims.values() for outpoint in claim.outpoints}
    for item in state.reservations.values():
        purpose = Purpose.OPENING if item.keeps_txid else Purpose.PSBT
        purposes.update((txin.prevout, purpose) for txin in item.tx.inputs)
    return purposes


def _is_mature(record: TxRecord, tip_height: int) -> bool:
    return record.height is not None and tip_height + 1 - record.height >= COINBASE_MATURITY_BLOCKS


def is_trusted(state: State, keyring: Keyring, txid: Txid, memo: dict[Txid, bool]) -> bool:
    """Whether nobody but us could keep the transaction out of the chain: it is in a block, or it spends nothing but
    trusted coins of ours. (Bitcoin Core's rule for its own change.)"""
    queue = [txid]
    while queue:
        current = queue[-1]
        if current in memo:
            queue.pop()
            continue
        record = state.txs.get(current)
        if record is None:
            memo[current] = False
            continue
        if record.height is not None:
            memo[current] = True
            continue
        parents: list[Txid] = []
        all_ours = True
        for txin in record.tx.inputs:
            output = state.output(txin.prevout)
            if output is None or keyring.path_of(output.script_pubkey) is None:
                all_ours = False
                break
            parents.append(txin.prevout.txid)
        if not all_ours:
            memo[current] = False
            continue
        unknown = [parent for parent in parents if parent not in memo]
        if unknown:
            queue.extend(unknown)
            continue
        memo[current] = all(memo[parent] for parent in parents)
    return memo[txid]


def balance_of(coins: Sequence[Coin], purposes: Mapping[OutPoint, Purpose]) -> OnchainBalance:
    """`purposes`: of the coins that are reserved."""
    confirmed_sat = unconfirmed_sat = immature_sat = spendable_sat = arriving_sat = frozen_sat = 0
    spoken_sat = dict.fromkeys(Purpose, 0)
    for coin in coins:
        value_sat = coin.output.value_sat
        if not coin.is_mature:
            immature_sat += value_sat
            continue
        if coin.height is None:
            unconfirmed_sat += value_sat
        else:
            confirmed_sat += value_sat
        if coin.reserved:
            spoken_sat[purposes[coin.outpoint]] += value_sat
        elif coin.frozen:
            frozen_sat += value_sat
        elif coin.trusted:
            spendable_sat += value_sat
        else:
            arriving_sat += value_sat
    return OnchainBalance(
        confirmed_sat=confirmed_sat,
        unconfirmed_sat=unconfirmed_sat,
        immature_sat=immature_sat,
        reserved_sat=frozen_sat + sum(spoken_sat.values()),
        spendable_sat=spendable_sat,
        arriving_sat=arriving_sat,
        frozen_sat=frozen_sat,
        opening_sat=spoken_sat[Purpose.OPENING],
        psbt_sat=spoken_sat[Purpose.PSBT],
        claims_sat=spoken_sat[Purpose.CLAIM],
    )


def entry_of(state: State, keyring: Keyring, txid: Txid, labels_by_txid: str) -> OnchainEntry | None:
    """One line of the history; `labels_by_txid` is the name under which its label is kept."""
    record = state.txs.get(txid)
    if record is None:
        return None
    delta_sat = 0
    for output in record.tx.outputs:
        if keyring.path_of(output.script_pubkey) is not None:
            delta_sat += output.value_sat
    for txin in record.tx.inputs:
        spent = state.output(txin.prevout)
        if spent is not None and keyring.path_of(spent.script_pubkey) is not None:
            delta_sat -= spent.value_sat
    return OnchainEntry(
        txid=txid,
        height=record.height,
        block_hash=record.block_hash,
        # Before the first tip is known there is no time to give.
        at=record.at or state.tip.time_at,
        delta_sat=delta_sat,
        fee_sat=None if record.tx.is_coinbase else state.fee_sat(record.tx),
        label=state.labels.get(labels_by_txid, ""),
        tx=record.tx,
        can_bump=why_not_replaceable(state, keyring, record) is None,
        can_cpfp=record.height is None and bool(own_outputs(state, keyring, record)),
        is_own=record.is_own,
        in_mempool=record.in_mempool,
        replaces=record.replaces,
    )


def own_outputs(state: State, keyring: Keyring, record: TxRecord) -> list[OutPoint]:
    """Outputs of the transaction that are ours and unspent; set-aside coins are left out."""
    txid = record.tx.txid
    taken = reserved_outpoints(state)
    found = []
    for vout, output in enumerate(record.tx.outputs):
        outpoint = OutPoint(txid, vout)
        if keyring.path_of(output.script_pubkey) is None:
            continue
        if outpoint in state.spenders or outpoint in taken:
            continue
        found.append(outpoint)
    return found


def why_not_replaceable(state: State, keyring: Keyring, record: TxRecord) -> str | None:
    """A short name of the reason for which a transaction cannot be replaced; None when it can."""
    if record.height is not None:
        return "confirmed"
    # A channel's funding: the commitments of both sides spend this very txid.
    if record.keep_txid:
        return "channel"
    if not record.is_own:
        return "foreign"
    for txin in record.tx.inputs:
        spent = state.output(txin.prevout)
        if spent is None or keyring.path_of(spent.script_pubkey) is None:
            return "foreign"
    # BIP 125, rule 1: the sequence says so.
    if all(txin.sequence > MAX_SEQUENCE_RBF for txin in record.tx.inputs):
        return "final"
    txid = record.tx.txid
    vouts = range(len(record.tx.outputs))
    # A replacement would take its children with it; one of them may be a payment or a channel.
    if any(OutPoint(txid, vout) in state.spenders for vout in vouts):
        return "child"
    taken = reserved_outpoints(state)
    if any(OutPoint(txid, vout) in taken for vout in vouts):
        return "child"
    return None


def history_of(state: State) -> list[Txid]:
    """All transactions, oldest first: in blocks by place, then those that wait."""

    def place(item: tuple[Txid, TxRecord]) -> tuple[bool, int, int, Txid]:
        txid, record = item
        if record.height is None:
            return True, record.first_at, 0, txid
        return False, record.height, record.block_index, txid

    return [txid for txid, _record in sorted(state.txs.items(), key=place)]
