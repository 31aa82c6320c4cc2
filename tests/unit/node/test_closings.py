"""What the books say of the end of a channel, by what the chain tells."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from wallet.bitcoin.tx import OutPoint, Transaction, Txid, TxIn, TxOut
from wallet.ln.types import ChannelId
from wallet.node.closings import Closings
from wallet.node.ledger import Ledger
from wallet.node.records import ClosedChannelRecord

CHANNEL = ChannelId(b"\x0c" * 32)
FUNDING = OutPoint(Txid(b"\x0f" * 32), 1)
OWN_SAT = 90_000


def spend(value_sat: int) -> Transaction:
    """A transaction that spends the funding output; another amount makes it another one."""
    return Transaction(2, (TxIn(FUNDING),), (TxOut(value_sat, b"\x00\x14" + bytes(20)),))


class Books:
    """Ledger and closings of a node with one channel that has closed. `commitment`: what the monitor says of it."""

    def __init__(self) -> None:
        self.ledger = Ledger(cast("Any", SimpleNamespace(write=lambda rows: None)))
        self.commitment: tuple[Txid, int] | None = None
        monitor = SimpleNamespace(own_output_of_commitment=lambda: self.commitment)
        node = SimpleNamespace(
            ledger=self.ledger,
            chain_monitor=SimpleNamespace(get_monitor=lambda channel_id: monitor),
            onchain=SimpleNamespace(entry_by_hex=lambda txid: None),
        )
        self.closings = Closings(cast("Any", node))
        self.ledger.put_closed(
            ClosedChannelRecord(
                channel_id=CHANNEL,
                counterparty_node_id=b"\x02" * 33,
                capacity_sat=100_000,
                local_msat=91_000_000,
                funding_txid=FUNDING.txid,
                funding_vout=FUNDING.vout,
                closed_at=1,
                closed_height=100,
                reason="",
                was_funded=True,
                by_us=False,
                is_outbound=True,
                channel_type="",
                final_msat=91_000_000,
            )
        )

    @property
    def record(self) -> ClosedChannelRecord:
        return self.ledger.closed[CHANNEL]


def test_a_hint_says_what_closes_a_channel_until_a_block_does() -> None:
    books = Books()
    seen, mined = spend(99_000), spend(98_000)
    books.closings.note([seen], confirmed=False)
    assert books.record.closing_txid == seen.txid
    books.closings.note([mined], confirmed=True)
    assert books.record.closing_txid == mined.txid
    assert books.closings.spender(FUNDING) == mined.txid


def test_a_hint_that_a_server_made_up_changes_nothing_that_a_block_has_shown() -> None:
    books = Books()
    mined, made_up = spend(98_000), spend(1)
    books.closings.note([mined], confirmed=True)
    books.commitment = (mined.txid, OWN_SAT)
    books.closings.note_commitments()
    assert books.record.commitment_cost_msat == 91_000_000 - 1_000 * OWN_SAT
    books.closings.note([made_up], confirmed=False)
    assert books.closings.spender(FUNDING) == mined.txid
    assert books.record.closing_txid == mined.txid
    assert books.record.commitment_own_sat == OWN_SAT


def test_after_a_restart_a_hint_changes_nothing_either() -> None:
    books = Books()
    mined = spend(98_000)
    books.closings.note([mined], confirmed=True)
    books.closings = Closings(books.closings._node)
    books.closings.note([spend(1)], confirmed=False)
    other = Transaction(2, (TxIn(OutPoint(Txid(b"\x0e" * 32), 0)),), (TxOut(1, b"\x51"),))
    books.closings.note([other], confirmed=True)
    assert books.record.closing_txid == mined.txid


def test_a_reorganisation_that_brings_another_close_is_followed() -> None:
    books = Books()
    first, second = spend(98_000), spend(97_000)
    books.closings.note([first], confirmed=True)
    books.commitment = (first.txid, OWN_SAT)
    books.closings.note_commitments()
    books.closings.note([second], confirmed=True)
    assert books.record.closing_txid == second.txid
    assert books.record.commitment_own_sat is None
