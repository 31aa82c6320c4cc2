"""Proofs that a transaction is in a block.

The tree has a flaw of old: an inner node is the hash of 64 bytes, and so is a transaction of 64 bytes.
Whoever gets one mined can pass the inner node below it off as a transaction that never was, or the
transaction as an inner node. So a transaction whose stripped form has 64 bytes is never accepted as
proven; none of the wallet's own looks like that.
"""

from __future__ import annotations

from collections.abc import Sequence

from wallet.bitcoin.hashes import sha256d
from wallet.bitcoin.tx import Transaction

__all__ = ["MAX_DEPTH", "branch_of", "could_be_inner_node", "root_from_branch", "verify"]

MAX_DEPTH = 17
"""A block of 4,000,000 weight has fewer than 2**17 transactions of at least 60 bytes (240 weight) each."""

_INNER_NODE_BYTES = 64


def could_be_inner_node(tx: Transaction) -> bool:
    """Whether the bytes that are hashed into the txid are as many as those of an inner node."""
    return len(tx.serialize(witness=False)) == _INNER_NODE_BYTES


def root_from_branch(leaf: bytes, branch: Sequence[bytes], index: int) -> bytes:
    """The root that the branch leads to; bits of `index` say on which side each step's sibling stands."""
    node = leaf
    for sibling in branch:
        node = sha256d(sibling + node if index & 1 else node + sibling)
        index >>= 1
    return node


def verify(tx_hash: bytes, branch: Sequence[bytes], index: int, merkle_root: bytes) -> bool:
    """Whether the branch proves the leaf at `index`. An index beyond the tree proves nothing."""
    if len(branch) > MAX_DEPTH or index < 0 or index >> len(branch):
        return False
    # A right-hand node that equals its left sibling is the copy that odd levels make: no transaction is
    # there.
    node = tx_hash
    for sibling in branch:
        if index & 1:
            if sibling == node:
                return False
            node = sha256d(sibling + node)
        else:
            node = sha256d(node + sibling)
        index >>= 1
    return node == merkle_root


def branch_of(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The proof for one leaf of a block that is known whole."""
    branch = []
    level = list(leaves)
    while len(level) > 1:
        if len(level) & 1:
            level.append(level[-1])
        branch.append(level[index ^ 1])
        level = [sha256d(level[i] + level[i + 1]) for i in range(0, len(level), 2)]
        index >>= 1
    return branch
