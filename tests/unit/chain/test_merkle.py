"""Merkle proofs, and the two ways in which the tree can be abused."""

from __future__ import annotations

import pytest

from wallet.bitcoin.hashes import sha256d
from wallet.bitcoin.tx import OutPoint, Transaction, Txid, TxIn, TxOut
from wallet.chain.electrum.merkle import MAX_DEPTH, branch_of, could_be_inner_node, root_from_branch, verify

LEAVES = [sha256d(bytes([i])) for i in range(40)]


def root_of(leaves: list[bytes]) -> bytes:
    return root_from_branch(leaves[0], branch_of(leaves, 0), 0)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 13, 40])
def test_every_leaf_is_proven_and_nothing_else(count: int) -> None:
    leaves = LEAVES[:count]
    root = root_of(leaves)
    for index, leaf in enumerate(leaves):
        branch = branch_of(leaves, index)
        assert verify(leaf, branch, index, root)
        assert not verify(sha256d(leaf), branch, index, root)
        assert not verify(leaf, branch, index + 1, root)
        assert not verify(leaf, branch, index + (1 << len(branch)), root)
        if branch:
            assert not verify(leaf, branch[:-1], index & (1 << len(branch) - 1) - 1, root)


def test_the_copy_at_the_end_of_an_odd_level_is_no_transaction() -> None:
    # Five leaves: the tree has a copy of the fifth in sixth place.
    leaves = LEAVES[:5]
    branch = branch_of(leaves, 4)
    assert verify(leaves[4], branch, 4, root_of(leaves))
    assert not verify(leaves[4], branch, 5, root_of(leaves))


def test_endless_proofs_are_refused() -> None:
    assert not verify(LEAVES[0], [LEAVES[1]] * (MAX_DEPTH + 1), 0, LEAVES[2])
    assert not verify(LEAVES[0], [], -1, LEAVES[0])


def test_a_transaction_of_64_bytes_could_be_an_inner_node() -> None:
    txin = TxIn(OutPoint(Txid(bytes(32)), 0))
    small = Transaction(2, (txin,), (TxOut(1, b"\x51" * 4),))
    assert len(small.serialize()) == 64
    assert could_be_inner_node(small)
    assert could_be_inner_node(small.with_witness(0, (b"more bytes",)))
    assert not could_be_inner_node(Transaction(2, (txin,), (TxOut(1, b"\x51" * 5),)))
    # Its hash is that of an inner node whose children are its halves: a "proof" one level deeper fits.
    halves = small.serialize()[:32], small.serialize()[32:]
    assert verify(halves[1], [halves[0]], 1, small.txid)
