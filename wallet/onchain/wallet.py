"""The on-chain wallet: the shell around ledger, keys and coin selection.

Theory of operation. Every public method that changes something opens an `Edit` over the frozen state, completes it,
and only then swaps it in, writes its rows, and registers the scripts that came into view; a refusal or a defect
before that leaves the old state whole. There is no clock: times come from block headers, and a transaction that
waits carries the time of the last tip.

A draft is signed and reserves nothing: `commit` (sent, or about to be) and `reserve` (a channel's funding, which
waits for the peer) do. As long as nothing changes, the same question gets the same draft, so that a quote is what
is then paid: the seed of the random choices is drawn anew at each change only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from wallet.bitcoin.address import Network
from wallet.bitcoin.amounts import MAX_MONEY_SAT, fee_sat_ceil
from wallet.bitcoin.errors import APIError, DecodeError, InvariantError
from wallet.bitcoin.hashes import tagged_hash
from wallet.bitcoin.script import dust_limit_sat, op_return
from wallet.bitcoin.tx import (
    SEQUENCE_LOCKTIME,
    SEQUENCE_RBF,
    BlockHash,
    BlockHeader,
    OutPoint,
    Transaction,
    Txid,
    TxIn,
    TxOut,
    txid_from_hex,
    txid_hex,
)
from wallet.chain.interfaces import (
    FLOOR_FEERATE_SAT_PER_KW,
    Logger,
    Persist,
    Row,
    ScriptFilter,
    TxInBlock,
)
from wallet.i18n import _
from wallet.onchain import ledger
from wallet.onchain.accounting import (
    OnchainBalance,
    OnchainEntry,
    balance_of,
    coins_of,
    entry_of,
    history_of,
    own_outputs,
    purposes_of,
    why_not_replaceable,
)
from wallet.onchain.coins import (
    BASE_INPUT_WEIGHT,
    P2WPKH_INPUT_WEIGHT,
    Coin,
    Selection,
    Target,
    effective_msat,
    random_numbers,
    select,
)
from wallet.onchain.errors import (
    AbsurdFee,
    CannotBump,
    CoinsTaken,
    DustOutput,
    InsufficientFunds,
    OnchainError,
    UnknownTransaction,
)
from wallet.onchain.keyring import BRANCHES, Branch, Keyring, Purpose, hand_out
from wallet.onchain.ledger import PSBT_OWNER, Claim, Edit, Reservation, Rows, State, Tip, TxRecord
from wallet.onchain.reserve import anchor_need_sat
from wallet.onchain.signing import sign_inputs

__all__ = ["Coin", "CoinSelection", "Draft", "OnchainBalance", "OnchainEntry", "OnchainWallet"]

MAX_FEERATE_SAT_PER_KW = 1_250_000
"""5,000 sat/vB: ten times what blocks have ever cost; above it somebody has mistaken a unit."""

INCREMENTAL_FEERATE_SAT_PER_KW = 253
"""BIP 125, rule 4, with Bitcoin Core's default -incrementalrelayfee of 1 sat/vB, safe against rounding."""

RELEVANT_BLOCKS = 2_016
"""How deep a transaction has to be before a reorganisation is no longer looked for: two weeks."""

MAX_CLAIM_CHAIN = 10
"""How many transactions that wait may stand on each other to pay for claims. Bitcoin Core relays chains of 25."""

REMEMBERED_DRAFTS = 64

SHOWN = ("txs", "branches", "reservations", "claims", "labels", "frozen")
"""The parts of the state whose change front ends hear of."""

INTERNAL = Branch(Purpose.BIP84, True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A signed transaction that nothing has been done with yet.

    Attributes:
        fee_sat: what it pays itself. change_sat: what comes back to us; None where nothing does.
        inputs: the coins that it spends. replaces: the waiting transaction whose place it takes.
    """

    tx: Transaction
    fee_sat: int
    change_sat: int | None
    inputs: tuple[Coin, ...]
    feerate_sat_per_kw: int
    replaces: Txid | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CoinSelection:
    """Coins that join a transaction of the Lightning core, and the change that comes back.

    Attributes:
        confirmed_utxos: each with `outpoint`, `output` and `satisfaction_weight`.
    """

    confirmed_utxos: tuple[Coin, ...]
    change_output: TxOut | None


class OnchainWallet:
    """Implements `Confirm` towards the chain and the Lightning core's coin selection source.

    Attributes:
        version: grows with each change of what the wallet shows.
    """

    def __init__(
        self,
        *,
        seed: bytes,
        network: Network,
        persist: Persist,
        chain_filter: ScriptFilter,
        logger: Logger,
        entropy: Callable[[], bytes],
    ) -> None:
        self._network = network
        self._persist = persist
        self._filter = chain_filter
        self._logger = logger
        self._entropy = entropy
        self._keyring = Keyring(seed, network)
        self._state = State()
        for branch, branch_state in self._state.branches.items():
            self._keyring.extend(branch, branch_state.watch_count)
        self._registered: dict[Branch, int] = {}
        self._draw_seed = b""
        # Which output of a recent draft took "all"; forgotten at a restart, which costs a choice in bumping only.
        self._drafted_all: dict[Txid, int] = {}
        self._coins: tuple[Coin, ...] | None = None
        self._entries: dict[Txid, OnchainEntry] = {}
        # Entries that any step may change: of what waits, or has no time yet.
        self._passing: set[Txid] = set()
        self.version = 0

    def read(self, rows: Rows) -> None:
        """Takes up what is on disk; raises `DecodeError` when that makes no sense."""
        self._state = ledger.read_state(rows, self._keyring)
        self._coins = None
        self._entries, self._passing = {}, set()
        self.version += 1

    def start(self) -> None:
        """Registers every script with the chain source; from then on new ones follow by themselves."""
        self._registered = dict.fromkeys(BRANCHES, 0)
        self._register()

    # --- addresses ----------------------------------------------------------------------------

    def unused_address(self, purpose: Purpose = Purpose.BIP84) -> str:
        """An address that nothing was paid to; the same one until that has happened."""
        branch = Branch(purpose, False)
        branch_state = self._state.branches[branch]
        shown_index = branch_state.shown_index
        if shown_index is None or self._is_used(branch, shown_index):
            edit = self._edit()
            branch_state, shown_index = hand_out(branch_state)
            edit.put_branch(branch, replace(branch_state, shown_index=shown_index))
            self._apply(edit)
        return self._keyring.address(branch, shown_index)

    def new_address(self, purpose: Purpose = Purpose.BIP84) -> str:
        """An address that nobody was given yet (within the gap limit, see `keyring`)."""
        return self._keyring.address(*self._hand_out(Branch(purpose, False)))

    def next_script(self) -> bytes:
        """A P2WPKH script of our own, for sweeps and closings."""
        return self._keyring.script(*self._hand_out(INTERNAL))

    def _hand_out(self, branch: Branch) -> tuple[Branch, int]:
        edit = self._edit()
        branch_state, index = hand_out(self._state.branches[branch])
        edit.put_branch(branch, branch_state)
        self._apply(edit)
        return branch, index

    def _is_used(self, branch: Branch, index: int) -> bool:
        return index < self._state.branches[branch].used_count and self._is_paid(
            self._keyring.script(branch, index)
        )

    def _is_paid(self, script_pubkey: bytes) -> bool:
        return any(
            output.script_pubkey == script_pubkey
            for record in self._state.txs.values()
            for output in record.tx.outputs
        )

    def _change_script(self) -> bytes:
        """Where change would go now. Nothing is handed out: `commit` and `reserve` do that."""
        return self._keyring.script(INTERNAL, hand_out(self._state.branches[INTERNAL])[1])

    def is_mine(self, script_pubkey: bytes) -> bool:
        return self._keyring.path_of(script_pubkey) is not None

    def is_own_output(self, outpoint: OutPoint) -> bool:
        """Whether it is an output of a transaction in the ledger that pays to us; from any thread."""
        output = self._state.output(outpoint)
        return output is not None and self.is_mine(output.script_pubkey)

    def concerns(self, tx: Transaction) -> bool:
        """Whether it pays to us, or spends from us."""
        return self._edit().concerns(tx)

    # --- what there is ------------------------------------------------------------------------

    def balance(self) -> OnchainBalance:
        return balance_of(self.coins(), purposes_of(self._state))

    def coins(self) -> tuple[Coin, ...]:
        """All coins that nothing spends yet; frozen, reserved and immature ones too."""
        if self._coins is None:
            self._coins = coins_of(self._state, self._keyring)
        return self._coins

    def history(self) -> tuple[OnchainEntry, ...]:
        """Oldest first; what waits comes last."""
        return tuple(self._known_entry(txid) for txid in history_of(self._state))

    def sent_to(self, script_pubkey: bytes) -> list[tuple[OnchainEntry, int]]:
        """What this wallet has paid to a script of somebody else: each transaction, and how much of it went there."""
        if self.is_mine(script_pubkey):
            return []
        paid_sat: dict[Txid, int] = {}
        # The core stands still meanwhile; of 100,000 transactions, plain loops take half the time of a sum for each.
        for txid, record in self._state.txs.items():
            for out in record.tx.outputs:
                if out.script_pubkey == script_pubkey:
                    paid_sat[txid] = paid_sat.get(txid, 0) + out.value_sat
        entries = ((self._known_entry(txid), value_sat) for txid, value_sat in paid_sat.items() if value_sat)
        return [(entry, value_sat) for entry, value_sat in entries if entry.delta_sat < 0]

    def entry(self, txid: Txid) -> OnchainEntry | None:
        return self._known_entry(txid) if txid in self._state.txs else None

    def entry_by_hex(self, txid_text: str) -> OnchainEntry | None:
        try:
            return self.entry(txid_from_hex(txid_text))
        except DecodeError:
            return None

    def _known_entry(self, txid: Txid) -> OnchainEntry:
        entry = self._entries.get(txid)
        if entry is None:
            entry = entry_of(self._state, self._keyring, txid, txid_hex(txid))
            if entry is None:
                raise InvariantError("a transaction vanished from the ledger while it was read")
            self._entries[txid] = entry
            if entry.height is None or not self._state.txs[txid].at:
                self._passing.add(txid)
        return entry

    def label(self, item: str, text: str) -> None:
        """Labels a transaction (by its id as people see it), an address, or anything else; "" takes it away."""
        edit = self._edit()
        edit.put_label(item, text)
        self._apply(edit)

    def label_all(self, labels: Mapping[str, str]) -> None:
        """Many labels in one step."""
        edit = self._edit()
        edit.put_labels(labels)
        self._apply(edit)

    def labels(self) -> Mapping[str, str]:
        return self._state.labels

    def freeze(self, outpoint: OutPoint, frozen: bool = True) -> None:
        """Keeps a coin from being spent, or lets it go again."""
        edit = self._edit()
        edit.put_frozen(outpoint, frozen)
        self._apply(edit)

    def pending_transactions(self) -> tuple[Transaction, ...]:
        """Transactions of ours that wait, parents first: to be sent again after a start."""
        waiting = [
            txid for txid, record in self._state.txs.items() if record.is_own and record.height is None
        ]
        ordered: dict[Txid, None] = {}
        for txid in waiting:
            for ancestor in reversed(self._state.unconfirmed_ancestors(txid)):
                ordered.setdefault(ancestor, None)
        return tuple(self._state.txs[txid].tx for txid in ordered)

    # --- making transactions ------------------------------------------------------------------

    def draft(
        self,
        *,
        outputs: Sequence[TxOut],
        feerate_sat_per_kw: int,
        send_all_to: bytes | None = None,
        keep_sat: int = 0,
        coins: Sequence[OutPoint] | None = None,
        allow_unconfirmed: bool = True,
        rbf: bool = True,
        lock_time: int = 0,
    ) -> Draft:
        """A signed transaction that pays `outputs`, and everything else to `send_all_to` where that is given.

        `keep_sat` is what has to be left to us afterwards (for closing anchor channels). `coins` narrows the choice
        to these; then also coins that wait and are not trusted may be named. Raises `InsufficientFunds`,
        `DustOutput`, `AbsurdFee`. Nothing changes before `commit` or `reserve`.
        """
        self._check_feerate(feerate_sat_per_kw)
        for output in outputs:
            _check_output(output)
        if not outputs and send_all_to is None:
            raise APIError("A payment needs an output.")
        seed = self._seed_for(outputs, feerate_sat_per_kw, send_all_to, keep_sat)
        usable = self._usable(coins, allow_unconfirmed)
        if send_all_to is not None:
            return self._draft_all(
                usable, outputs, send_all_to, feerate_sat_per_kw, keep_sat, rbf, lock_time, seed
            )
        target = Target(
            outputs=tuple(outputs), change_script=self._change_script(), feerate_sat_per_kw=feerate_sat_per_kw
        )
        worth_sat = self._worth_sat(usable, feerate_sat_per_kw)

        def keeps_reserve(selection: Selection) -> bool:
            spent_sat = sum(coin.value_sat for coin in selection.coins)
            return worth_sat - spent_sat + (selection.change_sat or 0) >= keep_sat

        confirmed = [coin for coin in usable if coin.height is not None]
        selection = select(confirmed, target, seed=seed, accept=keeps_reserve)
        if selection is None:
            selection = select(usable, target, seed=seed, accept=keeps_reserve)
        if selection is None:
            raise self._insufficient(target.needed_sat(), usable, feerate_sat_per_kw, keep_sat)
        return self._build(target, selection, rbf=rbf, lock_time=lock_time, seed=seed)

    def _worth_sat(self, chosen: Sequence[Coin], feerate_sat_per_kw: int) -> int:
        """The chosen coins and all that could be spent besides, without those that cost more than they give."""
        everything = {coin.outpoint: coin for coin in (*self._usable(None, allow_unconfirmed=True), *chosen)}
        return sum(
            coin.value_sat for coin in everything.values() if effective_msat(coin, feerate_sat_per_kw) > 0
        )

    def _draft_all(
        self,
        usable: Sequence[Coin],
        outputs: Sequence[TxOut],
        send_all_to: bytes,
        feerate_sat_per_kw: int,
        keep_sat: int,
        rbf: bool,
        lock_time: int,
        seed: bytes,
    ) -> Draft:
        """Every coin that is worth its input; what is kept back comes back as one new coin."""
        change_script = self._change_script()
        limit_sat = dust_limit_sat(send_all_to)
        probe = Target(
            outputs=(*outputs, TxOut(0, send_all_to)),
            change_script=change_script,
            feerate_sat_per_kw=feerate_sat_per_kw,
        )
        chosen = tuple(probe.most_that_fit(usable))
        chosen_sat = sum(coin.value_sat for coin in chosen)
        change_sat: int | None = None
        # Coins that were not to be spent may be the reserve already.
        missing_sat = keep_sat - (self._worth_sat(chosen, feerate_sat_per_kw) - chosen_sat)
        if missing_sat > 0:
            change_sat = max(missing_sat, probe.drop_limit_sat)
        fee_sat = probe.fee_sat(chosen, with_change=change_sat is not None)
        all_sat = chosen_sat - probe.outputs_sat - fee_sat - (change_sat or 0)
        if all_sat < limit_sat:
            needed_sat = probe.needed_sat() + limit_sat
            raise self._insufficient(needed_sat, usable, feerate_sat_per_kw, keep_sat)
        target = replace(probe, outputs=(*outputs, TxOut(all_sat, send_all_to)))
        selection = Selection(coins=chosen, change_sat=change_sat, fee_sat=fee_sat)
        draft = self._build(target, selection, rbf=rbf, lock_time=lock_time, seed=seed)
        all_vout = next(
            vout for vout, output in enumerate(draft.tx.outputs) if output == TxOut(all_sat, send_all_to)
        )
        self._remember_all(draft.tx.txid, all_vout)
        return draft

    def _usable(self, named: Sequence[OutPoint] | None, allow_unconfirmed: bool) -> list[Coin]:
        """Coins that may be spent, by what the caller allows."""
        if named is not None:
            by_outpoint = {coin.outpoint: coin for coin in self.coins()}
            missing = [outpoint for outpoint in named if outpoint not in by_outpoint]
            chosen = [by_outpoint[outpoint] for outpoint in dict.fromkeys(named) if outpoint in by_outpoint]
            taken = [coin for coin in chosen if coin.reserved or not coin.is_mature]
            if missing or taken:
                raise CoinsTaken(len(missing) + len(taken))
            return chosen
        return [
            coin
            for coin in self.coins()
            if coin.trusted
            and coin.is_mature
            and not coin.frozen
            and not coin.reserved
            and (allow_unconfirmed or coin.height is not None)
        ]

    def _insufficient(
        self, needed_sat: int, usable: Sequence[Coin], feerate_sat_per_kw: int, keep_sat: int
    ) -> InsufficientFunds:
        worth_msat = sum(max(0, effective_msat(coin, feerate_sat_per_kw)) for coin in usable)
        needed_sat += keep_sat
        # It may also be that many small coins would reach, but not within one transaction.
        available_sat = min(worth_msat // 1_000, needed_sat - 1)
        return InsufficientFunds(needed_sat=needed_sat, available_sat=available_sat, reserve_sat=keep_sat)

    def _build(
        self,
        target: Target,
        selection: Selection,
        *,
        rbf: bool,
        lock_time: int,
        seed: bytes,
        fixed: Sequence[Coin] = (),
        replaces: Txid | None = None,
    ) -> Draft:
        """Puts a selection into a signed transaction; the change stands at a random place."""
        outputs = list(target.outputs)
        if selection.change_sat is not None:
            place = next(random_numbers(tagged_hash("leyden/change place", seed))) % (len(outputs) + 1)
            outputs.insert(place, TxOut(selection.change_sat, target.change_script))
        coins = sorted((*fixed, *selection.coins), key=lambda coin: coin.outpoint)
        sequence = SEQUENCE_RBF if rbf else SEQUENCE_LOCKTIME
        unsigned = Transaction(
            2,
            tuple(TxIn(coin.outpoint, b"", sequence) for coin in coins),
            tuple(outputs),
            lock_time,
        )
        fee_sat = sum(coin.value_sat for coin in coins) - unsigned.total_output_sat
        if fee_sat != selection.fee_sat or fee_sat < 0:
            raise InvariantError(
                f"a transaction would pay {fee_sat} sat in fees, not {selection.fee_sat} sat"
            )
        tx = sign_inputs(unsigned, [coin.output for coin in coins], self._keyring)
        expected_weight = target.total_weight(selection.coins, with_change=selection.change_sat is not None)
        if tx.weight > expected_weight:
            raise InvariantError(
                f"a transaction weighs {tx.weight}, more than the {expected_weight} reckoned with"
            )
        return Draft(
            tx=tx,
            fee_sat=fee_sat,
            change_sat=selection.change_sat,
            inputs=tuple(coins),
            feerate_sat_per_kw=target.feerate_sat_per_kw,
            replaces=replaces,
        )

    def _remember_all(self, txid: Txid, vout: int) -> None:
        self._drafted_all[txid] = vout
        while len(self._drafted_all) > REMEMBERED_DRAFTS:
            del self._drafted_all[next(iter(self._drafted_all))]

    def _seed_for(
        self, outputs: Sequence[TxOut], feerate_sat_per_kw: int, send_all_to: bytes | None, keep_sat: int
    ) -> bytes:
        if not self._draw_seed:
            self._draw_seed = self._entropy()
        question = b"".join(output.serialize() for output in outputs)
        question += feerate_sat_per_kw.to_bytes(8, "big") + keep_sat.to_bytes(8, "big") + (send_all_to or b"")
        return tagged_hash("leyden/coin selection", self._draw_seed + question)

    @staticmethod
    def _check_feerate(feerate_sat_per_kw: int) -> None:
        if not FLOOR_FEERATE_SAT_PER_KW <= feerate_sat_per_kw <= MAX_FEERATE_SAT_PER_KW:
            raise AbsurdFee(
                feerate_sat_per_kw=feerate_sat_per_kw,
                least_sat_per_kw=FLOOR_FEERATE_SAT_PER_KW,
                most_sat_per_kw=MAX_FEERATE_SAT_PER_KW,
            )

    # --- keeping transactions -----------------------------------------------------------------

    def commit(self, item: Draft | Transaction, label: str = "") -> None:
        """The transaction is being sent: its coins are spent, its change waits. Again is harmless.

        Raises `CoinsTaken` when a transaction in a block, or another that is set aside, has its coins, and
        `CannotBump` when it would replace one whose txid others rely on.
        """
        tx = item.tx if isinstance(item, Draft) else item
        txid = tx.txid
        edit = self._edit()
        reservation = self._state.reservations.get(txid)
        self._check_free(tx)
        losers = self._state.conflicts(tx)
        replaced: list[Txid] = []
        for loser in losers:
            record = self._state.txs[loser]
            if record.height is not None:
                raise CoinsTaken(1)
            doomed = [record, *(self._state.txs[child] for child in self._state.descendants(loser))]
            if any(gone.keep_txid for gone in doomed):
                raise CannotBump(
                    _("A channel is built on that transaction: replacing it would lose the channel.")
                )
            replaced += [loser, *record.replaces]
        for loser in losers:
            label = label or self._state.labels.get(txid_hex(loser), "")
            edit.remove_tx(loser)
        old = edit.state.txs.get(txid)
        all_vout = self._drafted_all.get(txid)
        if old is None:
            old = TxRecord(tx=tx, first_at=self._state.tip.time_at)
        edit.drop_reservation(txid)
        edit.put_tx(
            replace(
                old,
                is_own=True,
                keep_txid=old.keep_txid or (reservation is not None and reservation.keeps_txid),
                all_vout=old.all_vout if all_vout is None else all_vout,
                replaces=tuple(dict.fromkeys((*old.replaces, *replaced))),
            )
        )
        if label:
            edit.put_label(txid_hex(txid), label)
        self._apply(edit)

    def reserve(self, item: Draft | Transaction, owner: bytes) -> None:
        """Sets a signed transaction's coins aside until `commit` or `release`. Its txid will never be replaced, but for
        that of a PSBT (`PSBT_OWNER`), which nothing of ours relies on."""
        tx = item.tx if isinstance(item, Draft) else item
        self._check_free(tx)
        if self._state.conflicts(tx) or tx.txid in self._state.txs:
            raise CoinsTaken(1)
        edit = self._edit()
        edit.put_reservation(Reservation(tx=tx, owner=owner))
        self._apply(edit)

    def _check_free(self, tx: Transaction) -> None:
        wanted = {txin.prevout for txin in tx.inputs}
        for txid, reservation in self._state.reservations.items():
            taken = sum(txin.prevout in wanted for txin in reservation.tx.inputs)
            if taken and txid != tx.txid:
                raise CoinsTaken(taken)

    def release(self, txid: Txid) -> None:
        """Gives the coins of a reserved transaction back. What was committed stays committed."""
        edit = self._edit()
        edit.drop_reservation(txid)
        self._apply(edit)

    def release_owner(self, owner: bytes) -> None:
        """Gives back everything that was reserved for an owner."""
        edit = self._edit()
        for txid, reservation in self._state.reservations.items():
            if reservation.owner == owner:
                edit.drop_reservation(txid)
        self._apply(edit)

    def reserved_transaction(self, txid: Txid) -> Transaction | None:
        """A channel's funding, by its id; what a PSBT set aside is none."""
        reservation = self._state.reservations.get(txid)
        return None if reservation is None or not reservation.keeps_txid else reservation.tx

    def signed_psbts(self) -> Mapping[OutPoint, Txid]:
        """What PSBTs that we signed are to spend, and which of them each."""
        return {
            txin.prevout: txid
            for txid, reservation in self._state.reservations.items()
            if reservation.owner == PSBT_OWNER
            for txin in reservation.tx.inputs
        }

    def left_beside_sat(self, tx: Transaction, feerate_sat_per_kw: int) -> int:
        """What stays ours to spend while a transaction waits, without coins that cost more than they give. What it pays
        back to us counts where nobody else has to sign it: only then is it certain to come."""
        spent = {txin.prevout for txin in tx.inputs}
        usable = self._usable(None, allow_unconfirmed=True)
        left_sat = sum(
            coin.value_sat
            for coin in usable
            if coin.outpoint not in spent and effective_msat(coin, feerate_sat_per_kw) > 0
        )
        if spent <= {coin.outpoint for coin in self.coins()}:
            left_sat += sum(out.value_sat for out in tx.outputs if self.is_mine(out.script_pubkey))
        return left_sat

    def reservations(self) -> tuple[tuple[Txid, bytes], ...]:
        """Everything that is set aside, with its owner: after a start, some may have no channel any more."""
        return tuple((txid, item.owner) for txid, item in self._state.reservations.items())

    def abandon(self, txid: Txid, *, channel_gone: bool = False) -> None:
        """Forgets a waiting transaction that no server shows, with its descendants; its coins are free again.
        Whoever has it can still have it mined. A channel's funding goes only with `channel_gone`. Raises
        `UnknownTransaction`, `OnchainError`."""
        record = self._record(txid)
        if record.height is not None or record.in_mempool:
            raise OnchainError(_("This transaction is on its way; it cannot be taken back any more."))
        doomed = (txid, *self._state.descendants(txid))
        if not channel_gone and any(self._state.txs[gone].keep_txid for gone in doomed):
            raise OnchainError(_("A channel is built on this transaction; close the channel instead."))
        edit = self._edit()
        edit.remove_tx(txid)
        self._apply(edit)

    # --- raising fees -------------------------------------------------------------------------

    def draft_bump(self, txid: bytes, feerate_sat_per_kw: int, *, keep_sat: int = 0) -> Draft:
        """A replacement that pays the same to the same with a higher fee (BIP 125). The change shrinks, further
        confirmed coins join where it is too small; of "all", less arrives. Raises `CannotBump`,
        `InsufficientFunds`, `UnknownTransaction`, `AbsurdFee`."""
        self._check_feerate(feerate_sat_per_kw)
        record = self._record(Txid(txid))
        reason = why_not_replaceable(self._state, self._keyring, record)
        if reason is not None:
            raise CannotBump(_why_not(reason))
        old_fee_sat = self._state.fee_sat(record.tx)
        if old_fee_sat is None:
            raise CannotBump(_why_not("foreign"))
        fixed = self._coins_spent_by(record)
        payments, change_script = self._split_change(record)
        seed = self._seed_for(record.tx.outputs, feerate_sat_per_kw, txid, keep_sat)
        target = Target(
            outputs=tuple(payments),
            change_script=change_script,
            feerate_sat_per_kw=feerate_sat_per_kw,
            fixed_inputs=tuple((coin.value_sat, coin.input_weight) for coin in fixed),
            # Miners look at the transaction together with what it waits for.
            extra_fee_sat=self._missing_fee_sat(record.tx.txid, feerate_sat_per_kw, with_itself=False),
        )
        if record.all_vout is not None:
            draft = self._bump_all(record, target, fixed, seed)
        else:
            # BIP 125, rule 2: a replacement brings in no further input that waits itself.
            usable = self._usable(None, allow_unconfirmed=False)

            left_sat = sum(
                coin.value_sat
                for coin in self._usable(None, allow_unconfirmed=True)
                if coin.outpoint.txid != txid
            )

            def keeps_reserve(selection: Selection) -> bool:
                spent_sat = sum(coin.value_sat for coin in selection.coins)
                return left_sat - spent_sat + (selection.change_sat or 0) >= keep_sat

            selection = select(usable, target, seed=seed, accept=keeps_reserve)
            if selection is None:
                raise self._insufficient(target.needed_sat(), usable, feerate_sat_per_kw, keep_sat)
            draft = self._build(
                target,
                selection,
                rbf=True,
                lock_time=record.tx.lock_time,
                seed=seed,
                fixed=fixed,
                replaces=record.tx.txid,
            )
        # BIP 125, rules 3 and 4: more than before, by the relay fee of the replacement's own size.
        least_sat = old_fee_sat + fee_sat_ceil(draft.tx.weight, INCREMENTAL_FEERATE_SAT_PER_KW)
        if draft.fee_sat < least_sat:
            rate_sat_per_kw = -(-least_sat * 1_000 // draft.tx.weight)
            raise CannotBump(
                _(
                    "Nodes accept a replacement from {rate} sat per vbyte on; this transaction pays {old} sat."
                ).format(rate=-(-rate_sat_per_kw // 250), old=f"{old_fee_sat:,}")
            )
        return draft

    def _bump_all(self, record: TxRecord, target: Target, fixed: Sequence[Coin], seed: bytes) -> Draft:
        """What took "all" pays the higher fee; what was kept back stays."""
        all_vout = record.all_vout
        if all_vout is None:
            raise InvariantError("no output of this transaction took all")
        old = record.tx.outputs[all_vout]
        change_sat = record.tx.total_output_sat - target.outputs_sat
        with_change = change_sat > 0
        fee_sat = target.fee_sat((), with_change=with_change)
        others_sat = target.outputs_sat - old.value_sat
        all_sat = target.fixed_sat - others_sat - change_sat - fee_sat
        limit_sat = dust_limit_sat(old.script_pubkey)
        if all_sat < limit_sat:
            raise InsufficientFunds(
                needed_sat=others_sat + change_sat + fee_sat + limit_sat, available_sat=target.fixed_sat
            )
        outputs = tuple(
            TxOut(all_sat, output.script_pubkey) if output == old else output for output in target.outputs
        )
        selection = Selection(coins=(), change_sat=change_sat if with_change else None, fee_sat=fee_sat)
        draft = self._build(
            replace(target, outputs=outputs),
            selection,
            rbf=True,
            lock_time=record.tx.lock_time,
            seed=seed,
            fixed=fixed,
            replaces=record.tx.txid,
        )
        self._remember_all(draft.tx.txid, draft.tx.outputs.index(TxOut(all_sat, old.script_pubkey)))
        return draft

    def _coins_spent_by(self, record: TxRecord) -> list[Coin]:
        """The coins that one of our waiting transactions spends, as they were."""
        coins = []
        for txin in record.tx.inputs:
            output = self._state.output(txin.prevout)
            if output is None:
                raise CannotBump(_why_not("foreign"))
            parent = self._state.txs[txin.prevout.txid]
            coins.append(
                Coin(
                    outpoint=txin.prevout, output=output, height=parent.height, is_change=False, trusted=True
                )
            )
        return coins

    def _split_change(self, record: TxRecord) -> tuple[list[TxOut], bytes]:
        """What a transaction of ours pays, and where its change goes."""
        payments: list[TxOut] = []
        change: TxOut | None = None
        for vout, output in enumerate(record.tx.outputs):
            path = self._keyring.path_of(output.script_pubkey)
            if change is None and path is not None and path.branch.is_change and vout != record.all_vout:
                change = output
            else:
                payments.append(output)
        return payments, self._change_script() if change is None else change.script_pubkey

    def draft_cpfp(self, txid: bytes, feerate_sat_per_kw: int) -> Draft:
        """A child that spends our output of a waiting transaction and pays so much that both together reach the
        feerate. Parents whose fee we cannot know count at the least that nodes relay. Raises as `draft_bump`."""
        self._check_feerate(feerate_sat_per_kw)
        record = self._record(Txid(txid))
        if record.height is not None:
            raise CannotBump(_why_not("confirmed"))
        outpoints = own_outputs(self._state, self._keyring, record)
        if not outpoints:
            raise CannotBump(
                _("This transaction pays nothing to this wallet that could be spent on its fee.")
            )
        extra_fee_sat = self._missing_fee_sat(record.tx.txid, feerate_sat_per_kw, with_itself=True)
        if not extra_fee_sat:
            raise CannotBump(_("This transaction pays that fee rate already."))
        by_outpoint = {coin.outpoint: coin for coin in self.coins()}
        fixed = [max((by_outpoint[outpoint] for outpoint in outpoints), key=lambda coin: coin.value_sat)]
        seed = self._seed_for(record.tx.outputs, feerate_sat_per_kw, txid, 0)
        target = Target(
            outputs=(),
            change_script=self._change_script(),
            feerate_sat_per_kw=feerate_sat_per_kw,
            fixed_inputs=tuple((coin.value_sat, coin.input_weight) for coin in fixed),
            extra_fee_sat=extra_fee_sat,
        )
        usable = [coin for coin in self._usable(None, allow_unconfirmed=False) if coin not in fixed]
        selection = select(usable, target, seed=seed)
        if selection is None:
            raise self._insufficient(target.needed_sat(), usable, feerate_sat_per_kw, 0)
        return self._build(target, selection, rbf=True, lock_time=0, seed=seed, fixed=fixed)

    def _missing_fee_sat(self, txid: Txid, feerate_sat_per_kw: int, *, with_itself: bool) -> int:
        """What each transaction that this one waits for (and itself) falls short of the feerate by."""
        missing_sat = 0
        for ancestor in self._state.unconfirmed_ancestors(txid):
            if ancestor == txid and not with_itself:
                continue
            tx = self._state.txs[ancestor].tx
            paid_sat = self._state.fee_sat(tx)
            if paid_sat is None:
                paid_sat = fee_sat_ceil(tx.weight, 250)
            missing_sat += max(0, fee_sat_ceil(tx.weight, feerate_sat_per_kw) - paid_sat)
        return missing_sat

    def _record(self, txid: Txid) -> TxRecord:
        record = self._state.txs.get(txid)
        if record is None:
            raise UnknownTransaction(txid_hex(txid))
        return record

    # --- for the Lightning core ---------------------------------------------------------------

    def anchor_reserve_sat(self, *, anchor_channels: int, htlc_inputs: int, feerate_sat_per_kw: int) -> int:
        """How much has to stay in confirmed coins so that every anchor channel can be closed, with its HTLCs,
        while the feerate is this. Each coin counts less its own input."""
        need_sat = anchor_need_sat(
            anchor_channels=anchor_channels, htlc_inputs=htlc_inputs, feerate_sat_per_kw=feerate_sat_per_kw
        )
        if not need_sat:
            return 0
        # The worst case: what is left to close channels with are the smallest coins.
        reserve_sat, left_msat = 0, need_sat * 1_000
        coins = [
            coin for coin in self.coins() if coin.height is not None and coin.is_mature and not coin.frozen
        ]
        for coin in sorted(coins, key=lambda coin: (coin.value_sat, coin.outpoint)):
            worth_msat = max(0, effective_msat(coin, feerate_sat_per_kw))
            if worth_msat >= left_msat:
                cost_msat = coin.value_sat * 1_000 - worth_msat
                return reserve_sat + -(-(left_msat + cost_msat) // 1_000)
            reserve_sat += coin.value_sat
            left_msat -= worth_msat
        return reserve_sat + -(-left_msat // 1_000) + fee_sat_ceil(P2WPKH_INPUT_WEIGHT, feerate_sat_per_kw)

    def select_confirmed_utxos(
        self,
        claim_id: bytes,
        must_spend: Sequence[tuple[OutPoint, int, int]],
        must_pay_to: Sequence[TxOut],
        target_feerate_sat_per_kw: int,
    ) -> CoinSelection:
        """Confirmed coins that let a claim reach the feerate, and its change. `must_spend` are inputs that are there
        anyway: outpoint, value in satoshi, and what the witness weighs (outpoint, sequence and the length of the
        empty script, 164 together, come on top).

        The coins are set aside for `claim_id`: a later call with the same id may use them again, also while an
        earlier attempt at the same claim, which it would replace, spends them. Where confirmed coins do not reach, the
        change of another claim that is on its way helps; at the very last, what a PSBT is to spend that was not sent
        (which makes it void). Raises `InsufficientFunds`.
        """
        stored = self._state.claims.get(claim_id)
        old = stored or self._earlier_attempt([outpoint for outpoint, _, _ in must_spend])
        change_script = self._change_script() if old is None else old.change_script
        own_coins = self._claim_coins(old, {outpoint for outpoint, _, _ in must_spend})
        free = [coin for coin in self._usable(None, allow_unconfirmed=False) if coin not in own_coins]
        target = Target(
            outputs=tuple(must_pay_to),
            change_script=change_script,
            feerate_sat_per_kw=target_feerate_sat_per_kw,
            fixed_inputs=tuple(
                (value_sat, BASE_INPUT_WEIGHT + weight) for _, value_sat, weight in must_spend
            ),
        )
        seed = self._seed_for(must_pay_to, target_feerate_sat_per_kw, claim_id, 0)
        # Without an output the caller has to put an empty one in place of change.
        bare = target if must_pay_to else replace(target, outputs=(TxOut(0, op_return(b"")),))
        # The coins of the attempt before first, then free ones too, then those held for other claims.
        others = [coin for coin in self._held_by_others(claim_id) if coin not in own_coins]
        pools = [own_coins, [*own_coins, *free], [*own_coins, *free, *others]]
        if must_pay_to:
            # At last what waits itself. (A parent that its child pays for has to be relayed with its child alone.)
            waiting = self._change_that_waits(claim_id, {outpoint for outpoint, _, _ in must_spend})
            pools.append([*pools[-1], *waiting])
        # The reserve counts on these: a PSBT may never be sent, and the close cannot wait for it.
        signed = [coin for coin in self._set_aside_for_psbts() if coin not in own_coins]
        held = {outpoint for claim in self._state.claims.values() for outpoint in claim.outpoints}
        pools.append([*pools[-1], *(coin for coin in signed if coin.outpoint not in held)])
        pools.append([*pools[-1], *(coin for coin in signed if coin.outpoint in held)])
        selection: Selection | None = None
        for pool in pools:
            selection = select(pool, target, seed=seed) or select(pool, bare, seed=seed)
            if selection is not None:
                break
        if selection is None:
            raise self._insufficient(target.needed_sat(), pools[-1], target_feerate_sat_per_kw, 0)
        claim = Claim(
            outpoints=tuple(sorted({coin.outpoint for coin in (*own_coins, *selection.coins)})),
            must_spend=tuple(outpoint for outpoint, _, _ in must_spend),
            change_script=change_script,
            asked_height=self._state.tip.height,
        )
        if claim != stored:
            edit = self._edit()
            edit.put_claim(claim_id, claim)
            if selection.change_sat is not None:
                edit.hold_script(change_script)
            self._apply(edit)
        change = None if selection.change_sat is None else TxOut(selection.change_sat, change_script)
        return CoinSelection(confirmed_utxos=selection.coins, change_output=change)

    def _earlier_attempt(self, must_spend: Sequence[OutPoint]) -> Claim | None:
        """What a waiting transaction of ours spends beside `must_spend`. After a reorganisation that is the claim which
        was in the chain: made of the same coins, it is the same again, and servers have it already."""
        held = {outpoint for claim in self._state.claims.values() for outpoint in claim.outpoints}
        for outpoint in must_spend:
            record = self._state.txs.get(self._state.spenders.get(outpoint, Txid(b"")))
            if record is None or record.height is not None:
                continue
            prevouts = [txin.prevout for txin in record.tx.inputs]
            coins = [
                prevout
                for prevout in prevouts
                if (output := self._state.output(prevout)) is not None and self.is_mine(output.script_pubkey)
            ]
            change_script = record.tx.outputs[-1].script_pubkey
            if coins and not held.intersection(coins) and self.is_mine(change_script):
                return Claim(
                    outpoints=tuple(sorted(coins)),
                    must_spend=tuple(must_spend),
                    change_script=change_script,
                    asked_height=self._state.tip.height,
                )
        return None

    def _held_by_others(self, claim_id: bytes) -> list[Coin]:
        """Confirmed coins that another claim holds and nothing spends yet."""
        held = {
            outpoint
            for other_id, claim in self._state.claims.items()
            if other_id != claim_id
            for outpoint in claim.outpoints
        }
        reserved = {txin.prevout for item in self._state.reservations.values() for txin in item.tx.inputs}
        return [
            coin
            for coin in self.coins()
            if coin.outpoint in held
            and coin.outpoint not in reserved
            and coin.height is not None
            and coin.is_mature
            and not coin.frozen
        ]

    def _set_aside_for_psbts(self) -> list[Coin]:
        """Confirmed coins that a PSBT which we signed is to spend, and nothing spends yet."""
        signed = self.signed_psbts()
        return [
            coin
            for coin in self.coins()
            if coin.outpoint in signed and coin.height is not None and coin.is_mature and not coin.frozen
        ]

    def _change_that_waits(self, claim_id: bytes, must_spend: set[OutPoint]) -> list[Coin]:
        """The change of other claims' transactions, as long as nothing that conflicts with these was seen: the ledger
        would have dropped them. What replaces a spend of it brings in no new input that waits (BIP 125, rule 2)."""
        found: dict[OutPoint, Coin] = {}
        for other_id, claim in self._state.claims.items():
            txids = {self._state.spenders.get(outpoint) for outpoint in claim.must_spend}
            for txid in (txid for txid in txids if txid is not None and other_id != claim_id):
                record = self._state.txs[txid]
                ours = any(txin.prevout in claim.outpoints for txin in record.tx.inputs)
                if not ours or record.height is not None:
                    continue
                if len(self._state.unconfirmed_ancestors(txid)) >= MAX_CLAIM_CHAIN:
                    continue
                for vout, output in enumerate(record.tx.outputs):
                    outpoint = OutPoint(txid, vout)
                    spender = self._state.spenders.get(outpoint)
                    free = spender is None or any(
                        txin.prevout in must_spend for txin in self._state.txs[spender].tx.inputs
                    )
                    if output.script_pubkey == claim.change_script and free:
                        found[outpoint] = Coin(
                            outpoint=outpoint, output=output, height=None, is_change=True, trusted=True
                        )
        return [coin for outpoint, coin in sorted(found.items()) if outpoint not in self._state.frozen]

    def _claim_coins(self, claim: Claim | None, must_spend: set[OutPoint]) -> list[Coin]:
        """The coins that a claim holds and may use again."""
        if claim is None:
            return []
        found: list[Coin] = []
        for outpoint in claim.outpoints:
            output = self._state.output(outpoint)
            parent = self._state.txs.get(outpoint.txid)
            if output is None or parent is None or parent.height is None:
                continue
            spender = self._state.spenders.get(outpoint)
            if spender is not None:
                record = self._state.txs[spender]
                replaceable = record.height is None and any(
                    txin.prevout in must_spend for txin in record.tx.inputs
                )
                if not replaceable:
                    continue
            found.append(
                Coin(outpoint=outpoint, output=output, height=parent.height, is_change=False, trusted=True)
            )
        return found

    @staticmethod
    def satisfaction_weight(coin: Coin) -> int:
        """What the witness of a coin's input weighs at most."""
        return coin.satisfaction_weight

    def sign_inputs(self, tx: Transaction, spent_outputs: Sequence[TxOut]) -> Transaction:
        """Signs the inputs that are ours; APIError when an output is not what the chain has it to be."""
        for txin, spent in zip(tx.inputs, spent_outputs, strict=True):
            known = self._state.output(txin.prevout)
            if known is not None and known != spent:
                raise APIError(f"The output {txin.prevout} is another than the one to be signed for.")
        return sign_inputs(tx, spent_outputs, self._keyring)

    # --- Confirm ------------------------------------------------------------------------------

    def transactions_confirmed(self, header: BlockHeader, height: int, txdata: Sequence[TxInBlock]) -> None:
        edit = self._edit()
        ledger.confirm(edit, header, height, txdata)
        self._apply(edit)

    def transaction_unconfirmed(self, txid: Txid) -> None:
        edit = self._edit()
        ledger.unconfirm(edit, txid)
        self._apply(edit)

    def best_block_updated(self, header: BlockHeader, height: int) -> None:
        edit = self._edit()
        ledger.move_tip(edit, Tip(height=height, time_at=header.time_at))
        self._apply(edit)

    def transactions_seen(self, txs: Sequence[Transaction]) -> None:
        edit = self._edit()
        ledger.see(edit, txs)
        self._apply(edit)

    def transactions_evicted(self, txids: Sequence[Txid]) -> None:
        edit = self._edit()
        ledger.evict(edit, txids)
        self._apply(edit)

    def get_relevant_txids(self) -> Sequence[tuple[Txid, int, BlockHash | None]]:
        tip_height = self._state.tip.height
        return [
            (txid, record.height, record.block_hash)
            for txid, record in self._state.txs.items()
            if record.height is not None and record.height + RELEVANT_BLOCKS > tip_height
        ]

    def waiting_txids(self) -> Sequence[Txid]:
        """What servers had in their mempools, by the last word of theirs."""
        return [
            txid for txid, record in self._state.txs.items() if record.height is None and record.in_mempool
        ]

    # --- the step -----------------------------------------------------------------------------

    def _edit(self) -> Edit:
        return Edit(self._state, self._keyring)

    def _apply(self, edit: Edit) -> None:
        """Swaps a finished step in, writes its rows, registers what came into view."""
        if edit.is_empty:
            return
        rows = edit.rows()
        old, self._state = self._state, edit.state
        # Maturity and the times of what waits follow the tip; what is shown otherwise does not.
        self._coins = None
        self._forget_stale(old, edit, rows)
        if any(getattr(old, name) is not getattr(self._state, name) for name in SHOWN):
            self.version += 1
            self._draw_seed = b""
        self._persist.write(rows)
        if self._registered:
            self._register()

    def _forget_stale(self, old: State, edit: Edit, rows: Sequence[Row]) -> None:
        """Takes out the entries that a step may have changed, and no others: of a hundred thousand transactions one
        comes, and making all anew would hold everybody up."""
        state = self._state
        # What waits may be replaced or paid for with what was set aside or let go.
        stale, self._passing = self._passing, set()
        changed = set(edit.touched)
        if state.branches is not old.branches:
            changed |= self._paid_to_new_scripts(old)
        for txid in changed:
            for states in (old, state):
                record = states.txs.get(txid)
                # What spends from it has another change and another fee.
                for vout in range(0 if record is None else len(record.tx.outputs)):
                    child = state.spenders.get(OutPoint(txid, vout))
                    if child is not None:
                        stale.add(child)
        stale |= changed
        for row in rows:
            if row.space == ledger.LABEL_SPACE:
                with suppress(DecodeError):  # an address, an output
                    stale.add(txid_from_hex(row.key.decode()))
        for txid in stale:
            self._entries.pop(txid, None)

    def _paid_to_new_scripts(self, old: State) -> set[Txid]:
        """Transactions that were there before, and pay to scripts that are ours only now."""
        new = {
            self._keyring.script(branch, index)
            for branch in BRANCHES
            for index in range(old.branches[branch].watch_count, self._state.branches[branch].watch_count)
        }
        if not new:
            return set()
        found: set[Txid] = set()
        for txid, record in old.txs.items():
            for out in record.tx.outputs:
                if out.script_pubkey in new:
                    found.add(txid)
        return found

    def _register(self) -> None:
        for branch in BRANCHES:
            wanted = self._state.branches[branch].watch_count
            done = self._registered[branch]
            for index in range(done, wanted):
                self._filter.register_script(self._keyring.script(branch, index))
            self._registered[branch] = max(done, wanted)


def _check_output(output: TxOut) -> None:
    limit_sat = dust_limit_sat(output.script_pubkey)
    if not max(limit_sat, 0) <= output.value_sat:
        raise DustOutput(value_sat=output.value_sat, limit_sat=limit_sat)
    if output.value_sat > MAX_MONEY_SAT:
        raise OnchainError(_("There will never be that much bitcoin."))


def _why_not(reason: str) -> str:
    match reason:
        case "confirmed":
            return _("This transaction is in a block already; there is nothing left to speed up.")
        case "channel":
            return _(
                "A channel relies on this transaction's id, so it cannot be replaced. "
                "Speed it up by spending its change instead."
            )
        case "final":
            return _("This transaction says of itself that it will not be replaced.")
        case "child":
            return _(
                "Another transaction is built on this one; replacing it would lose that one. Speed that up."
            )
        case _:
            return _("This transaction was not made by this wallet alone, so it cannot be replaced.")
