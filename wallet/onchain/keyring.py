"""The keys of the on-chain funds: BIP 84 and BIP 86, account 0, a branch for receiving and one for change.

Theory of operation. A `Keyring` derives scripts and finds the key of a script; it only ever learns more, so it may
be asked during a step that later fails. What is durable is one `BranchState` per branch: how many addresses were
handed out, and how many are known to be used. From it follows which scripts are watched: `GAP_LIMIT` beyond the
last that was used or handed out (BIP 44, address gap limit).

Addresses are not handed out beyond what a restore from the words alone would find: when `GAP_LIMIT` addresses
behind the last used one wait for their first coins, those are handed out again, in turn.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final

from wallet.bitcoin.address import Network, script_to_address
from wallet.bitcoin.bip32 import HARDENED, ExtendedKey
from wallet.bitcoin.curve import taproot_tweak_pubkey, taproot_tweak_secret, xonly
from wallet.bitcoin.errors import InvariantError
from wallet.bitcoin.script import p2tr, p2wpkh

__all__ = ["BRANCHES", "GAP_LIMIT", "Branch", "BranchState", "KeyPath", "Keyring", "Purpose", "hand_out"]

GAP_LIMIT: Final = 20
"""BIP 44, address gap limit: a restore stops looking after this many unused addresses in a row."""


class Purpose(IntEnum):
    """The first step of the path; it says which kind of output the keys are for."""

    BIP84 = 84
    BIP86 = 86


@dataclass(frozen=True, slots=True, order=True)
class Branch:
    """One row of addresses: m/purpose'/coin'/0'/change."""

    purpose: Purpose
    is_change: bool

    @property
    def key(self) -> bytes:
        """How the branch is named in durable rows."""
        return bytes((self.purpose, self.is_change))

    @classmethod
    def from_key(cls, key: bytes) -> Branch | None:
        for branch in BRANCHES:
            if branch.key == key:
                return branch
        return None


BRANCHES: Final = tuple(Branch(purpose, is_change) for purpose in Purpose for is_change in (False, True))


@dataclass(frozen=True, slots=True)
class KeyPath:
    """Which key a script belongs to."""

    branch: Branch
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchState:
    """What is durable about a branch.

    Attributes:
        handed_count: addresses 0 to this one (exclusive) were shown, put into transactions, or seen in one.
        used_count: one more than the highest index that was ever seen in a transaction.
        shown_index: the address that `unused_address` shows until it is used.
        reissued_count: how often an address had to be handed out again.
    """

    handed_count: int = 0
    used_count: int = 0
    shown_index: int | None = None
    reissued_count: int = 0

    @property
    def watch_count(self) -> int:
        return max(self.handed_count, self.used_count) + GAP_LIMIT

    def with_used(self, index: int) -> BranchState:
        """After the address was seen in a transaction."""
        if index < self.used_count:
            return self
        return replace(self, used_count=index + 1, handed_count=max(self.handed_count, index + 1))


def hand_out(state: BranchState) -> tuple[BranchState, int]:
    """An address that nobody was given, or, at the gap limit, the unused one that has waited longest."""
    if state.handed_count < state.used_count + GAP_LIMIT:
        return replace(state, handed_count=state.handed_count + 1), state.handed_count
    # All of these are unused: the count of used ones ends at the highest.
    waiting = [index for index in range(state.used_count, state.handed_count) if index != state.shown_index]
    index = waiting[state.reissued_count % len(waiting)]
    return replace(state, reissued_count=state.reissued_count + 1), index


class Keyring:
    """Derives the scripts of the four branches, and finds keys by script. Holds the account secrets."""

    def __init__(self, seed: bytes, network: Network) -> None:
        self.network = network
        root = ExtendedKey.from_seed(seed, network)
        self._secret_branches: dict[Branch, ExtendedKey] = {}
        self._branches: dict[Branch, ExtendedKey] = {}
        for branch in BRANCHES:
            key = root.derive(
                (
                    branch.purpose + HARDENED,
                    network.coin_type + HARDENED,
                    HARDENED,
                    int(branch.is_change),
                )
            )
            self._secret_branches[branch] = key
            self._branches[branch] = key.neuter()
        self._scripts: dict[Branch, list[bytes]] = {branch: [] for branch in BRANCHES}
        self._paths: dict[bytes, KeyPath] = {}

    def extend(self, branch: Branch, count: int) -> bool:
        """Makes sure that the first `count` scripts of a branch are recognised; whether there were new ones."""
        scripts = self._scripts[branch]
        if len(scripts) >= count:
            return False
        key = self._branches[branch]
        for index in range(len(scripts), count):
            pubkey = key.child(index).pubkey
            if branch.purpose is Purpose.BIP84:
                script = p2wpkh(pubkey)
            else:
                # BIP 86: the internal key commits to no script tree.
                script = p2tr(taproot_tweak_pubkey(xonly(pubkey))[0])
            scripts.append(script)
            self._paths[script] = KeyPath(branch, index)
        return True

    def script(self, branch: Branch, index: int) -> bytes:
        self.extend(branch, index + 1)
        return self._scripts[branch][index]

    def address(self, branch: Branch, index: int) -> str:
        address = script_to_address(self.script(branch, index), self.network)
        if address is None:
            raise InvariantError("a script of ours has no address")
        return address

    def path_of(self, script_pubkey: bytes) -> KeyPath | None:
        """Whose script it is, among those derived so far; None for strangers."""
        return self._paths.get(script_pubkey)

    def secret(self, path: KeyPath) -> bytes:
        """The key that signs: tweaked already for BIP 86."""
        secret = self._secret_branches[path.branch].child(path.index).secret
        if path.branch.purpose is Purpose.BIP86:
            return taproot_tweak_secret(secret)
        return secret

    def pubkey(self, path: KeyPath) -> bytes:
        """33 bytes; the internal key for BIP 86."""
        return self._branches[path.branch].child(path.index).pubkey
