"""What long runs of random and mutated input have found: each stays here, as small as it could be made."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.fuzz import decode
from tests.fuzz.samples import fixed_samples
from wallet.bitcoin.psbt import Psbt
from wallet.node.store import Store, StoreError


def test_the_fields_of_a_psbt_may_come_in_any_order() -> None:
    """What was read in another order than it is written in came back as another PSBT."""
    raw = next(sample for sample in fixed_samples()["psbt"] if sample.startswith(b"psbt\xff"))
    fields = (b"\x02\xf0\x01\x01a", b"\x02\xf0\x02\x01b")
    # Behind the magic the global map begins: with fields that have no name here, one way and the other.
    sorted_, turned = (raw[:5] + b"".join(order) + raw[5:] for order in (fields, fields[::-1]))
    assert decode.feed("psbt", sorted_)
    assert decode.feed("psbt", turned)
    assert Psbt.parse(sorted_) == Psbt.parse(turned)


def test_a_wallet_file_whose_table_has_a_name_that_is_no_text(tmp_path: Path) -> None:
    """SQLite quotes the name in its complaint; Python's own complaint about that came out instead of a sentence."""
    path = tmp_path / "wallet.leyden"
    Store.create(path, network="regtest", password="").close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute(
            "UPDATE sqlite_master SET name = CAST(x'6d816574' AS TEXT), sql = 'no SQL' WHERE name = 'meta'"
        )
    connection.close()
    for ask in (
        lambda: Store.is_encrypted(path),
        lambda: Store.check(path, password=""),
        lambda: Store.open(path, password=""),
    ):
        with pytest.raises(StoreError, match="it is damaged"):
            ask()
    assert not decode.feed("wallet_file", path.read_bytes())
