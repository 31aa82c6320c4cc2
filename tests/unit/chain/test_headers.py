"""The header chain: its rules on each network, forks, checkpoints, and its file."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import pytest

from wallet.bitcoin.address import MAINNET, REGTEST, TESTNET4
from wallet.bitcoin.hashes import sha256d
from wallet.bitcoin.tx import BlockHash, BlockHeader, bits_from_target, hash_from_hex, target_from_bits
from wallet.chain.electrum.headers import (
    PERIOD_BLOCKS,
    HeaderChain,
    HeaderError,
    HeaderFault,
    read_checkpoints,
)

RESOURCES = Path(__file__).resolve().parents[3] / "resources"


def mine(parent: bytes, time_at: int, bits: int = 0x207FFFFF, salt: int = 0) -> bytes:
    target = target_from_bits(bits)
    root = salt.to_bytes(32, "little")
    for nonce in range(1 << 20):
        raw = BlockHeader(4, BlockHash(sha256d(parent)), root, time_at, bits, nonce).serialize()
        if int.from_bytes(sha256d(raw), "little") <= target:
            return raw
    raise AssertionError("no block found")


def grow(parent: bytes, count: int, *, step_seconds: int = 600, salt: int = 0) -> list[bytes]:
    raws = []
    time_at = BlockHeader.parse(parent).time_at
    for _ in range(count):
        time_at += step_seconds
        parent = mine(parent, time_at, salt=salt)
        raws.append(parent)
    return raws


GENESIS = REGTEST.genesis_header.serialize()


def test_grows_and_reads() -> None:
    chain = HeaderChain(REGTEST)
    raws = grow(GENESIS, 30)
    connected = chain.connect(1, raws)
    assert (connected.fork_height, connected.height, connected.replaced) == (0, 30, 0)
    assert chain.raw(7) == raws[6]
    assert chain.hash_at(7) == sha256d(raws[6])
    assert chain.contains(BlockHash(sha256d(raws[6])))
    assert chain.raw(31) is None
    assert chain.hash_at(-1) is None
    # The same again, and overlapping: nothing changes.
    assert chain.connect(5, raws[4:]).replaced == 0


def test_more_work_wins_and_less_does_not() -> None:
    chain = HeaderChain(REGTEST)
    raws = grow(GENESIS, 20)
    chain.connect(1, raws)
    branch = grow(raws[16], 3, salt=9)
    with pytest.raises(HeaderError) as caught:
        chain.connect(18, branch)
    assert caught.value.fault is HeaderFault.WEAKER
    assert chain.tip_hash == sha256d(raws[-1])
    branch += grow(branch[-1], 1, salt=9)
    connected = chain.connect(18, branch)
    assert (connected.fork_height, connected.height, connected.replaced) == (17, 21, 3)
    assert not chain.contains(BlockHash(sha256d(raws[-1])))
    assert chain.tip_hash == sha256d(branch[-1])


def test_unlinked_asks_for_earlier_ones() -> None:
    chain = HeaderChain(REGTEST)
    raws = grow(GENESIS, 10)
    chain.connect(1, raws[:5])
    with pytest.raises(HeaderError) as caught:
        chain.connect(8, raws[7:])
    assert caught.value.fault is HeaderFault.UNLINKED
    other = grow(raws[2], 4, salt=3)
    with pytest.raises(HeaderError) as caught:
        chain.connect(6, other[2:])
    assert caught.value.fault is HeaderFault.UNLINKED


def test_gap_and_missing_work_and_wrong_difficulty_are_lies() -> None:
    chain = HeaderChain(REGTEST)
    raws = grow(GENESIS, 6)
    bad_gap = [raws[0], raws[1], raws[3]]
    lazy = bytearray(raws[0])
    while int.from_bytes(sha256d(bytes(lazy)), "little") <= target_from_bits(0x207FFFFF):
        lazy[76] = (lazy[76] + 1) % 256
    easy = BlockHeader(4, REGTEST.genesis_header.hash, bytes(32), 1_600_000_000, 0x2100FFFF, 1).serialize()
    for branch in (bad_gap, [bytes(lazy)], [easy]):
        with pytest.raises(HeaderError) as caught:
            chain.connect(1, branch)
        assert caught.value.fault is HeaderFault.INVALID
    assert chain.height == 0


def test_time_must_be_above_the_median() -> None:
    chain = HeaderChain(REGTEST)
    raws = grow(GENESIS, 20)
    chain.connect(1, raws)
    early = mine(raws[-1], BlockHeader.parse(raws[14]).time_at)
    with pytest.raises(HeaderError) as caught:
        chain.connect(21, [early])
    assert caught.value.fault is HeaderFault.INVALID
    late_enough = mine(raws[-1], BlockHeader.parse(raws[14]).time_at + 1)
    assert chain.connect(21, [late_enough]).height == 21


def test_file_survives_and_damage_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "headers"
    chain = HeaderChain(REGTEST, path)
    raws = grow(GENESIS, 40)
    chain.connect(1, raws)
    assert HeaderChain(REGTEST, path).height == 40
    data = bytearray(path.read_bytes())
    data[80 * 25 + 10] ^= 1
    path.write_bytes(data)
    chain = HeaderChain(REGTEST, path)
    assert chain.height == 24
    chain.connect(25, raws[24:])
    branch = grow(raws[30], 12, salt=5)
    chain.connect(32, branch)
    again = HeaderChain(REGTEST, path)
    assert again.height == 43
    assert again.tip_hash == sha256d(branch[-1])
    assert path.stat().st_size == 44 * 80
    path.write_bytes(b"nonsense")
    assert HeaderChain(REGTEST, path).height == 0


def fake_period(parent_hash: bytes, seed: int) -> list[bytes]:
    raws = []
    for i in range(PERIOD_BLOCKS):
        header = BlockHeader(
            4, BlockHash(parent_hash), seed.to_bytes(32, "little"), 1_700_000_000 + i, 0x1D00FFFF, i
        )
        raws.append(header.serialize())
        parent_hash = sha256d(raws[-1])
    return raws


def test_checkpoints_bound_the_past(tmp_path: Path) -> None:
    first = fake_period(bytes(32), 1)
    second = fake_period(sha256d(first[-1]), 2)
    third = fake_period(sha256d(second[-1]), 3)
    checkpoints = [BlockHash(sha256d(period[-1])) for period in (first, second, third)]
    path = tmp_path / "headers"
    chain = HeaderChain(MAINNET, path, checkpoints)
    assert chain.is_empty
    assert chain.base_height == 2 * PERIOD_BLOCKS
    assert chain.height == 2 * PERIOD_BLOCKS - 1
    # Part of the period proves nothing, and another one is a lie.
    for wrong in (third[:100], fake_period(sha256d(second[-1]), 4), fake_period(bytes(32), 3)):
        with pytest.raises(HeaderError) as caught:
            chain.connect(chain.base_height, wrong)
        assert caught.value.fault is HeaderFault.INVALID
    chain.connect(chain.base_height, third)
    assert chain.height == 3 * PERIOD_BLOCKS - 1
    # Old headers come by the period, proven by the checkpoint at its end.
    assert chain.missing_period(3000) == PERIOD_BLOCKS
    assert chain.raw(3000) is None
    with pytest.raises(HeaderError):
        chain.add_period(PERIOD_BLOCKS, first)
    chain.add_period(PERIOD_BLOCKS, second)
    assert chain.missing_period(3000) is None
    assert chain.raw(3000) == second[3000 - PERIOD_BLOCKS]
    assert chain.missing_period(5) == 0
    # No fork below the last checkpoint.
    fork = fake_period(sha256d(third[99]), 9)[: PERIOD_BLOCKS + 5]
    with pytest.raises(HeaderError) as caught:
        chain.connect(chain.base_height + 100, fork)
    assert caught.value.fault is HeaderFault.INVALID
    again = HeaderChain(MAINNET, path, checkpoints)
    assert again.height == 3 * PERIOD_BLOCKS - 1
    assert again.raw(3000) == second[3000 - PERIOD_BLOCKS]
    assert again.missing_period(5) == 0


def test_retarget_is_bitcoins() -> None:
    # Block 32256 was the first whose difficulty was raised: its bits are known to be 0x1d00d86a, the span
    # of the period before it ran from 1261130161 to 1262152739.
    chain = HeaderChain(MAINNET)
    first = BlockHeader(1, BlockHash(bytes(32)), bytes(32), 1261130161, 0x1D00FFFF, 0).serialize()
    last = BlockHeader(1, BlockHash(bytes(32)), bytes(32), 1262152739, 0x1D00FFFF, 0).serialize()
    branch = [first] + [bytes(80)] * 2014 + [last]
    assert chain._expected_bits(32256, 1262153464, 32256 - 2016, branch) == 0x1D00D86A
    assert chain._expected_bits(32255, 0, 32256 - 2016, [*branch[:-2], last, last]) == 0x1D00FFFF


def test_testnet4_rules() -> None:
    chain = HeaderChain(TESTNET4)
    hard = bits_from_target(target_from_bits(0x1D00FFFF) // 50)

    def header(time_at: int, bits: int) -> bytes:
        return BlockHeader(4, BlockHash(bytes(32)), bytes(32), time_at, bits, 0).serialize()

    start = 5 * PERIOD_BLOCKS
    branch = [header(1_000_000 + 600 * i, hard) for i in range(50)]
    # In time: the period's difficulty. Over 20 minutes late: the lowest.
    parent_time_at = 1_000_000 + 600 * 49
    assert chain._expected_bits(start + 50, parent_time_at + 1200, start, branch) == hard
    assert chain._expected_bits(start + 50, parent_time_at + 1201, start, branch) == 0x1D00FFFF
    # After an exception, the last difficulty that was none.
    branch.append(header(parent_time_at + 1201, 0x1D00FFFF))
    assert chain._expected_bits(start + 51, parent_time_at + 1300, start, branch) == hard
    # The retarget starts from the first block, although the last used the exception.
    period = [header(1_000_000 + 600 * i, hard) for i in range(PERIOD_BLOCKS - 1)]
    period.append(header(1_000_000 + 600 * 2015, 0x1D00FFFF))
    expected = bits_from_target(target_from_bits(hard) * (600 * 2015) // (14 * 24 * 3600))
    assert chain._expected_bits(start + PERIOD_BLOCKS, 0, start, period) == expected


@pytest.mark.parametrize("name", ["mainnet", "testnet4", "signet"])
def test_shipped_checkpoints(name: str) -> None:
    checkpoints = read_checkpoints(RESOURCES / "checkpoints" / f"{name}.txt")
    assert len(checkpoints) > 50
    assert len(set(checkpoints)) == len(checkpoints)
    if name == "mainnet":
        assert checkpoints[0] == hash_from_hex(
            "00000000693067b0e6b440bc51450b9f3850561b07f6d3c021c54fbd6abb9763"
        )
        assert all(block_hash.endswith(bytes(4)) for block_hash in checkpoints)


def test_missing_checkpoint_file_means_none(tmp_path: Path) -> None:
    assert read_checkpoints(tmp_path / "none.txt") == ()


def test_any_order_of_branches_ends_in_the_most_work() -> None:
    rng = random.Random(7)
    trunk = grow(GENESIS, 12)
    branches = []
    for salt in range(1, 6):
        fork = rng.randrange(3, 12)
        branches.append((fork, grow(trunk[fork - 1], 14 - fork + salt, salt=salt)))
    best = max(branches, key=lambda branch: branch[0] + len(branch[1]))
    for _ in range(5):
        rng.shuffle(branches)
        chain = HeaderChain(REGTEST)
        chain.connect(1, trunk)
        for fork, raws in branches:
            # From the trunk's foot: what was replaced in between is offered again.
            with contextlib.suppress(HeaderError):
                chain.connect(1, trunk[:fork] + raws)
        assert chain.tip_hash == sha256d(best[1][-1])
