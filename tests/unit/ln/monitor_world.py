"""Two ends of a channel, their monitors, and a small chain that takes only what Bitcoin Core's scripts
accept.

The verbs: `Channel.commit` moves both commitments on, `Channel.commitment_of` is what a side would publish,
`Chain.mine` makes a block, `Chain.disconnect` takes blocks away, `Chain.mine_broadcasts` mines what the sides
have sent.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from tests.consensus import check_transaction
from wallet.bitcoin.address import REGTEST
from wallet.bitcoin.curve import verify_ecdsa_many
from wallet.bitcoin.hashes import sha256
from wallet.bitcoin.script import p2wpkh, p2wsh
from wallet.bitcoin.tx import (
    LOCKTIME_THRESHOLD,
    SEQUENCE_DISABLE_FLAG,
    BlockHash,
    BlockHeader,
    OutPoint,
    Transaction,
    Txid,
    TxIn,
    TxOut,
)
from wallet.chain.interfaces import (
    BroadcastPackage,
    ConfirmationTarget,
    LogLevel,
    Row,
    TxInBlock,
)
from wallet.ln.chainmonitor import ChainMonitor
from wallet.ln.chan_utils import (
    ANCHOR_OUTPUT_SAT,
    ChannelTransactionParameters,
    CommitmentTransaction,
    HolderCommitmentTransaction,
    HTLCOutputInCommitment,
    build_commitment_transaction,
    commit_tx_fee_sat,
    commitment_sighash,
    funding_script,
    htlc_sighashes,
    is_dust_htlc,
    sign_funding_witness,
)
from wallet.ln.channelmonitor import ChannelMonitor
from wallet.ln.events import Balance, BalanceKind, Event
from wallet.ln.features import ChannelTypeFeatures
from wallet.ln.htlc import HTLCSource, OurPayment
from wallet.ln.keysinterface import InMemorySigner, KeysManager
from wallet.ln.monitor_update import (
    ChannelMonitorUpdate,
    CommitmentHtlc,
    CommitmentSecret,
    ForceClosed,
    LatestCounterpartyCommitment,
    LatestHolderCommitment,
    MonitorEvent,
    MonitorUpdateStep,
    PreimageKnown,
)
from wallet.ln.types import ChannelId, PaymentHash, PaymentId, PaymentPreimage
from wallet.ln.watch import ChannelMonitorUpdateStatus

DUST_LIMIT_SAT = 354
START_HEIGHT = 100


# --- what a side has ----------------------------------------------------------


class Rows:
    """Persist and RevokedStates over a dict."""

    def __init__(self) -> None:
        self.spaces: dict[str, dict[bytes, bytes]] = {}
        self.writes = 0

    def write(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self.writes += 1
            space = self.spaces.setdefault(row.space, {})
            if row.value is None:
                space.pop(row.key, None)
            else:
                if row.space == "revoked":
                    assert row.key not in space, "the space of revoked commitments is append-only"
                space[row.key] = row.value

    def read(self, key: bytes) -> bytes | None:
        return self.spaces.get("revoked", {}).get(key)

    def rows(self, space: str) -> Iterator[tuple[bytes, bytes]]:
        yield from sorted(self.spaces.get(space, {}).items())


class Fees:
    def __init__(self) -> None:
        self.sat_per_kw = 1_000

    def get_est_sat_per_1000_weight(self, confirmation_target: ConfirmationTarget) -> int:
        return self.sat_per_kw


class Log:
    def log(self, level: LogLevel, message: str, *args: object) -> None:
        str(message % args)


class Sent:
    """A broadcaster that keeps what it was given."""

    def __init__(self) -> None:
        self.packages: list[BroadcastPackage] = []

    def broadcast_transactions(self, package: BroadcastPackage) -> None:
        self.packages.append(package)

    def take(self) -> list[Transaction]:
        txs = [tx for package in self.packages for tx in package.txs]
        self.packages.clear()
        return txs


class Watched:
    """A filter: nothing that was not registered is delivered."""

    def __init__(self) -> None:
        self.outputs: dict[OutPoint, bytes] = {}
        self.txids: set[Txid] = set()

    def register_tx(self, txid: Txid, script_pubkey: bytes) -> None:
        self.txids.add(txid)

    def register_output(
        self, outpoint: OutPoint, script_pubkey: bytes, block_hash: BlockHash | None = None
    ) -> None:
        self.outputs[outpoint] = script_pubkey

    def matches(self, tx: Transaction) -> bool:
        return tx.txid in self.txids or any(txin.prevout in self.outputs for txin in tx.inputs)


class Side:
    """One end: its keys and its ChainMonitor."""

    def __init__(self, name: str) -> None:
        self.name = name
        counter = itertools.count()
        self.keys = KeysManager(
            sha256(name.encode()), REGTEST, lambda: sha256(f"{name} {next(counter)}".encode())
        )
        self.rows = Rows()
        self.fees = Fees()
        self.sent = Sent()
        self.watched = Watched()
        self.chain_monitor = ChainMonitor(
            filter=self.watched,
            broadcaster=self.sent,
            fee_estimator=self.fees,
            keys_manager=self.keys,
            persist=self.rows,
            revoked_states=self.rows,
            logger=Log(),
        )
        self.events: list[Event] = []

    def take_events(self) -> list[Event]:
        taken: list[Event] = []
        self.chain_monitor.process_pending_events(lambda _, event: taken.append(event))
        return taken

    def take_monitor_events(self) -> list[MonitorEvent]:
        return self.chain_monitor.release_pending_monitor_events()

    def restart(self, *, restored: bool = False) -> None:
        """A new process: nothing but the rows is left, and they say the same."""
        before = {
            channel_id: self.chain_monitor.get_monitor(channel_id)
            for channel_id in self.chain_monitor.list_monitors()
        }
        self.keys = KeysManager(sha256(self.name.encode()), REGTEST, lambda: bytes(32))
        self.watched = Watched()
        self.chain_monitor = ChainMonitor.read(
            self.rows.rows,
            filter=self.watched,
            broadcaster=self.sent,
            fee_estimator=self.fees,
            keys_manager=self.keys,
            persist=self.rows,
            revoked_states=self.rows,
            logger=Log(),
            restored=restored,
        )
        for channel_id, monitor in before.items():
            again = self.chain_monitor.get_monitor(channel_id)
            assert monitor is not None
            assert again is not None
            assert again.state == replace(monitor.state, seen_spend=None)
            if monitor.state.seen_spend is None:
                assert again.get_claimable_balances() == monitor.get_claimable_balances()

    def balances(self) -> list[tuple[BalanceKind, int, int | None]]:
        return [(item.kind, item.amount_sat, item.height) for item in self.all_balances()]

    def all_balances(self) -> list[Balance]:
        return self.chain_monitor.get_claimable_balances()


# --- the chain ----------------------------------------------------------------


class Chain:
    """Blocks of transactions; refuses what consensus refuses."""

    def __init__(self, *sides: Side) -> None:
        self.sides = sides
        self.blocks: list[tuple[BlockHeader, list[Transaction]]] = []
        self.unspent: dict[OutPoint, tuple[TxOut, int]] = {}
        self.spent: dict[OutPoint, tuple[TxOut, int]] = {}
        self.salt = 0

    @property
    def height(self) -> int:
        return START_HEIGHT + len(self.blocks)

    @property
    def tip(self) -> BlockHash:
        return self.blocks[-1][0].hash if self.blocks else BlockHash(bytes(32))

    def give(self, outpoint: OutPoint, output: TxOut) -> None:
        """An output from nowhere."""
        self.unspent[outpoint] = (output, self.height)

    def spent_outputs(self, tx: Transaction) -> list[TxOut]:
        return [self.unspent[txin.prevout][0] for txin in tx.inputs]

    def problem(self, tx: Transaction, height: int) -> str | None:
        """Why `tx` cannot be in a block of this height."""
        if any(txin.prevout not in self.unspent for txin in tx.inputs):
            return "an input is missing or spent"
        # The lock time of a commitment is a unix time long past.
        if height <= tx.lock_time < LOCKTIME_THRESHOLD and any(
            txin.sequence != 0xFFFFFFFF for txin in tx.inputs
        ):
            return f"locked until {tx.lock_time}"
        for txin in tx.inputs:
            if txin.sequence & SEQUENCE_DISABLE_FLAG or tx.version < 2:
                continue
            if self.unspent[txin.prevout][1] + (txin.sequence & 0xFFFF) > height:
                return "an input is too young"
        check_transaction(tx, self.spent_outputs(tx))
        return None

    def _apply(self, tx: Transaction, height: int) -> None:
        for txin in tx.inputs:
            self.spent[txin.prevout] = self.unspent.pop(txin.prevout)
        for vout, output in enumerate(tx.outputs):
            self.unspent[OutPoint(tx.txid, vout)] = (output, height)

    def mine(self, *txs: Transaction, deliver: bool = True) -> None:
        """One block with these transactions, told to everybody who watches."""
        height = self.height + 1
        for tx in txs:
            problem = self.problem(tx, height)
            assert problem is None, problem
            self._apply(tx, height)
        self.salt += 1
        header = BlockHeader(1, self.tip, sha256(self.salt.to_bytes(4, "big")), 1_700_000_000, 0x207FFFFF, 0)
        self.blocks.append((header, list(txs)))
        if deliver:
            self.deliver(height)

    def deliver(self, height: int) -> None:
        header, txs = self.blocks[height - START_HEIGHT - 1]
        for side in self.sides:
            told: set[Txid] = set()
            while True:
                # A registration made by the first delivery may match more of the same block.
                found = [
                    TxInBlock(index, tx)
                    for index, tx in enumerate(txs)
                    if tx.txid not in told and side.watched.matches(tx)
                ]
                if not found:
                    break
                told.update(item.tx.txid for item in found)
                side.chain_monitor.transactions_confirmed(header, height, found)
            side.chain_monitor.best_block_updated(header, height)

    def mine_empty(self, count: int) -> None:
        for _ in range(count):
            self.mine()

    def mine_to(self, height: int) -> None:
        self.mine_empty(height - self.height)

    def candidates(self, txs: Sequence[Transaction]) -> list[Transaction]:
        """Of what was sent, what a miner would take now: the latest of conflicting ones, parents first."""
        chosen: list[Transaction] = []
        claimed: set[OutPoint] = set()
        known = {OutPoint(tx.txid, vout) for tx in txs for vout in range(len(tx.outputs))}
        for tx in reversed(txs):
            prevouts = {txin.prevout for txin in tx.inputs}
            if prevouts & claimed or any(
                prevout not in self.unspent and prevout not in known for prevout in prevouts
            ):
                continue
            claimed |= prevouts
            chosen.append(tx)
        return list(reversed(chosen))

    def mine_broadcasts(self, *sides: Side) -> list[Transaction]:
        """Mines whatever of the sides' broadcasts can be in the next block."""
        sent = [tx for side in (sides or self.sides) for tx in side.sent.take()]
        height = self.height + 1
        chosen = []
        spent: set[OutPoint] = set()
        for tx in self.candidates(sent):
            if all(txin.prevout in self.unspent for txin in tx.inputs) and self.problem(tx, height) is None:
                if not spent & {txin.prevout for txin in tx.inputs}:
                    spent |= {txin.prevout for txin in tx.inputs}
                    chosen.append(tx)
        self.mine(*chosen)
        return chosen

    def disconnect(self, count: int, *, by_txid: bool = False) -> list[Transaction]:
        """Takes blocks off the tip; answers with what was in them."""
        lost: list[Transaction] = []
        for _ in range(count):
            _, txs = self.blocks.pop()
            for tx in reversed(txs):
                for vout in range(len(tx.outputs)):
                    self.unspent.pop(OutPoint(tx.txid, vout), None)
                for txin in tx.inputs:
                    self.unspent[txin.prevout] = self.spent.pop(txin.prevout)
            lost = [*txs, *lost]
        header = (
            self.blocks[-1][0] if self.blocks else BlockHeader(1, BlockHash(bytes(32)), bytes(32), 0, 0, 0)
        )
        for side in self.sides:
            if by_txid:
                for tx in reversed(lost):
                    side.chain_monitor.transaction_unconfirmed(tx.txid)
            side.chain_monitor.best_block_updated(header, self.height)
        return lost


# --- the channel --------------------------------------------------------------


@dataclass(frozen=True)
class Htlc:
    """A payment under way; `from_alice` or else from Bob."""

    from_alice: bool
    amount_msat: int
    cltv_expiry_height: int
    preimage: PaymentPreimage

    @property
    def payment_hash(self) -> PaymentHash:
        return PaymentHash(sha256(self.preimage))

    @property
    def source(self) -> HTLCSource:
        return OurPayment(payment_id=PaymentId(self.payment_hash), part_id=0)


def htlc(from_alice: bool, amount_sat: int, cltv_expiry_height: int, seed: int) -> Htlc:
    return Htlc(from_alice, amount_sat * 1000, cltv_expiry_height, PaymentPreimage(bytes([seed]) * 32))


@dataclass
class End:
    """One side's half of the channel."""

    side: Side
    signer: InMemorySigner
    params: ChannelTransactionParameters
    update_id: int = 0
    history: list[HolderCommitmentTransaction] = field(default_factory=list)


class Channel:
    """Alice opened it and pays its fees; both commitments always have the same number."""

    def __init__(
        self,
        chain: Chain,
        alice: Side,
        bob: Side,
        channel_type: ChannelTypeFeatures,
        feerate_sat_per_kw: int = 500,
    ) -> None:
        self.chain = chain
        self.channel_type = channel_type
        self.feerate_sat_per_kw = feerate_sat_per_kw
        self.value_sat = 1_000_000
        self.alice_msat = 600_000_000
        self.bob_msat = 400_000_000
        self.number = 0
        self.htlcs: tuple[Htlc, ...] = ()
        a, b = (
            side.keys.derive_channel_signer(side.keys.generate_channel_keys_id(False, 0, 0))
            for side in (alice, bob)
        )
        outpoint = OutPoint(Txid(sha256(alice.name.encode() + channel_type.to_bytes())), 1)
        alice_params = ChannelTransactionParameters(
            holder_pubkeys=a.pubkeys(),
            counterparty_pubkeys=b.pubkeys(),
            holder_selected_contest_delay_blocks=30,
            counterparty_selected_contest_delay_blocks=20,
            is_outbound_from_holder=True,
            funding_outpoint=outpoint,
            channel_value_sat=self.value_sat,
            channel_type=channel_type,
        )
        bob_params = replace(
            alice_params,
            holder_pubkeys=b.pubkeys(),
            counterparty_pubkeys=a.pubkeys(),
            holder_selected_contest_delay_blocks=20,
            counterparty_selected_contest_delay_blocks=30,
            is_outbound_from_holder=False,
        )
        self.alice = End(alice, a, alice_params)
        self.bob = End(bob, b, bob_params)
        self.channel_id = ChannelId(sha256(outpoint.serialize()))
        chain.give(outpoint, TxOut(self.value_sat, p2wsh(funding_script(alice_params))))
        for end, other in ((self.alice, self.bob), (self.bob, self.alice)):
            holder, counterparty = self._steps(end, other)
            monitor = ChannelMonitor.new(
                channel_id=self.channel_id,
                params=end.params,
                channel_keys_id=end.signer.channel_keys_id,
                counterparty_node_id=other.side.keys.get_node_id(),
                holder=holder,
                counterparty=counterparty,
                best_height=chain.height,
                best_hash=chain.tip,
                destination_script=end.side.keys.get_destination_script(end.signer.channel_keys_id),
                shutdown_script=None,
            )
            status = end.side.chain_monitor.watch_channel(self.channel_id, monitor)
            assert status is ChannelMonitorUpdateStatus.COMPLETED

    def end(self, side: Side) -> End:
        return self.alice if side is self.alice.side else self.bob

    def monitor(self, side: Side) -> ChannelMonitor:
        monitor = side.chain_monitor.get_monitor(self.channel_id)
        assert monitor is not None
        return monitor

    def _build(
        self, end: End, other: End, broadcaster: End
    ) -> tuple[CommitmentTransaction, tuple[CommitmentHtlc, ...]]:
        """One commitment as `end` sees it, and its HTLCs with sources and outputs."""
        by_alice = broadcaster is self.alice
        kept: list[Htlc] = []
        trimmed: list[Htlc] = []
        for item in self.htlcs:
            offered = item.from_alice == by_alice
            dust = is_dust_htlc(
                offered, item.amount_msat, self.feerate_sat_per_kw, DUST_LIMIT_SAT, self.channel_type
            )
            (trimmed if dust else kept).append(item)

        def described(item: Htlc) -> HTLCOutputInCommitment:
            return HTLCOutputInCommitment(
                offered=item.from_alice == by_alice,
                amount_msat=item.amount_msat,
                cltv_expiry_height=item.cltv_expiry_height,
                payment_hash=item.payment_hash,
            )

        def source(item: Htlc) -> HTLCSource | None:
            return item.source if item.from_alice == (end is self.alice) else None

        alice_sat = self.alice_msat // 1000
        alice_sat -= commit_tx_fee_sat(self.feerate_sat_per_kw, len(kept), self.channel_type)
        if self.channel_type.anchors:
            alice_sat -= 2 * ANCHOR_OUTPUT_SAT
        bob_sat = self.bob_msat // 1000
        own_sat, other_sat = (alice_sat, bob_sat) if by_alice else (bob_sat, alice_sat)
        built = build_commitment_transaction(
            end.params,
            holder_is_broadcaster=broadcaster is end,
            number=self.number,
            per_commitment_point=broadcaster.signer.get_per_commitment_point(self.number),
            to_broadcaster_sat=own_sat if own_sat >= DUST_LIMIT_SAT else 0,
            to_countersignatory_sat=other_sat if other_sat >= DUST_LIMIT_SAT else 0,
            htlcs=[described(item) for item in kept],
            feerate_sat_per_kw=self.feerate_sat_per_kw,
        )
        items = [
            CommitmentHtlc(htlc=placed, source=source(kept[position]))
            for placed, position in zip(built.htlcs, built.htlc_order, strict=True)
        ]
        items += [CommitmentHtlc(htlc=described(item), source=source(item)) for item in trimmed]
        return built, tuple(items)

    def _steps(self, end: End, other: End) -> tuple[LatestHolderCommitment, LatestCounterpartyCommitment]:
        """What `end` tells its monitor: its own commitment, signed by the other side, and the other's."""
        ours, our_items = self._build(end, other, end)
        mirrored, _ = self._build(other, end, end)
        assert mirrored.tx == ours.tx
        signature, htlc_signatures = other.signer.sign_counterparty_commitment(other.params, mirrored)
        assert verify_ecdsa_many(
            [
                (
                    signature,
                    commitment_sighash(end.params, ours.tx),
                    other.params.holder_pubkeys.funding_pubkey,
                ),
                *(
                    (htlc_signature, digest, ours.keys.countersignatory_htlc_key)
                    for htlc_signature, digest in zip(htlc_signatures, htlc_sighashes(ours), strict=True)
                ),
            ]
        )
        signed = HolderCommitmentTransaction(
            commitment=ours, counterparty_sig=signature, counterparty_htlc_sigs=htlc_signatures
        )
        end.signer.validate_holder_commitment(end.params, signed)
        end.history.append(signed)
        theirs, their_items = self._build(end, other, other)
        return (
            LatestHolderCommitment(commitment=signed, htlcs=our_items),
            LatestCounterpartyCommitment(
                number=theirs.number,
                per_commitment_point=theirs.per_commitment_point,
                feerate_sat_per_kw=theirs.feerate_sat_per_kw,
                to_broadcaster_sat=theirs.to_broadcaster_sat,
                to_countersignatory_sat=theirs.to_countersignatory_sat,
                htlcs=their_items,
            ),
        )

    def update(self, side: Side, *steps: MonitorUpdateStep) -> ChannelMonitorUpdateStatus:
        end = self.end(side)
        end.update_id += 1
        update = ChannelMonitorUpdate(channel_id=self.channel_id, update_id=end.update_id, steps=steps)
        return side.chain_monitor.update_channel(self.channel_id, update)

    def commit(self, *, add: Sequence[Htlc] = (), remove: Sequence[Htlc] = (), claimed: bool = False) -> None:
        """Both sides commit to more and fewer HTLCs, and revoke what was before."""
        for item in add:
            if item.from_alice:
                self.alice_msat -= item.amount_msat
            else:
                self.bob_msat -= item.amount_msat
        for item in remove:
            if item.from_alice != claimed:
                self.alice_msat += item.amount_msat
            else:
                self.bob_msat += item.amount_msat
        self.htlcs = (*(item for item in self.htlcs if item not in remove), *add)
        self.number += 1
        pairs = ((self.alice, self.bob), (self.bob, self.alice))
        # As the protocol has it: the peer's new commitment is durable, then our own, then each revokes.
        steps = [(end, other, *self._steps(end, other)) for end, other in pairs]
        for end, _, _, counterparty in steps:
            assert self.update(end.side, counterparty) is ChannelMonitorUpdateStatus.COMPLETED
        for end, _, holder, _ in steps:
            assert self.update(end.side, holder) is ChannelMonitorUpdateStatus.COMPLETED
        for end, other, _, _ in steps:
            secret = other.signer.release_commitment_secret(self.number - 1)
            end.signer.validate_counterparty_revocation(self.number - 1, secret)
            step = CommitmentSecret(number=self.number - 1, secret=secret)
            assert self.update(end.side, step) is ChannelMonitorUpdateStatus.COMPLETED

    def half_commit(self, add: Sequence[Htlc] = (), remove: Sequence[Htlc] = ()) -> None:
        """Bob has a new commitment, and has not revoked the one before: he may publish either."""
        for item in add:
            if item.from_alice:
                self.alice_msat -= item.amount_msat
            else:
                self.bob_msat -= item.amount_msat
        for item in remove:
            if item.from_alice:
                self.alice_msat += item.amount_msat
            else:
                self.bob_msat += item.amount_msat
        self.htlcs = (*(item for item in self.htlcs if item not in remove), *add)
        self.number += 1
        _, counterparty = self._steps(self.alice, self.bob)
        holder, _ = self._steps(self.bob, self.alice)
        assert self.update(self.alice.side, counterparty) is ChannelMonitorUpdateStatus.COMPLETED
        assert self.update(self.bob.side, holder) is ChannelMonitorUpdateStatus.COMPLETED

    def knows(self, side: Side, item: Htlc) -> None:
        step = PreimageKnown(payment_hash=item.payment_hash, payment_preimage=item.preimage)
        assert self.update(side, step) is ChannelMonitorUpdateStatus.COMPLETED

    def force_close(self, side: Side) -> None:
        assert self.update(side, ForceClosed(should_broadcast=True)) is ChannelMonitorUpdateStatus.COMPLETED

    def commitment_of(self, side: Side, number: int | None = None) -> Transaction:
        """Any commitment a side ever had, signed, be it revoked: no honest signer would."""
        end = self.end(side)
        signed = end.history[-1 if number is None else number]
        signer = self.dishonest(side)
        signature = signer.sign_holder_commitment(end.params, signed)
        return sign_funding_witness(end.params, signed.commitment.tx, signature, signed.counterparty_sig)

    def dishonest(self, side: Side) -> InMemorySigner:
        """The same keys without any memory."""
        return KeysManager(sha256(side.name.encode()), REGTEST, lambda: bytes(32)).derive_channel_signer(
            self.end(side).signer.channel_keys_id
        )


def make(
    channel_type: ChannelTypeFeatures, feerate_sat_per_kw: int = 500
) -> tuple[Chain, Side, Side, Channel]:
    alice, bob = Side("Alice"), Side("Bob")
    chain = Chain(alice, bob)
    chain.mine()
    return chain, alice, bob, Channel(chain, alice, bob, channel_type, feerate_sat_per_kw)


def coin(chain: Chain, secret_seed: bytes, value_sat: int) -> tuple[OutPoint, TxOut, bytes]:
    """A P2WPKH coin from nowhere, and its secret."""
    from wallet.bitcoin.curve import pubkey_from_secret

    secret = sha256(secret_seed)
    outpoint = OutPoint(Txid(sha256(b"coin" + secret_seed)), 0)
    output = TxOut(value_sat, p2wpkh(pubkey_from_secret(secret)))
    chain.give(outpoint, output)
    return outpoint, output, secret


__all__ = ["Chain", "Channel", "Htlc", "Side", "TxIn", "coin", "htlc", "make"]
