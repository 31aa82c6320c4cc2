"""Taking over labels from a file: how much of it, and what the wallet is held up for."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.unit.node.test_activity import payment
from wallet.bitcoin.address import REGTEST, address_to_script, script_to_address
from wallet.bitcoin.script import p2wpkh
from wallet.node import shelf
from wallet.node.api import CommandError
from wallet.node.commands import history, run
from wallet.node.labels import read_labels
from wallet.node.ledger import Ledger

OURS = str(script_to_address(p2wpkh(b"\x02" + bytes(32)), REGTEST))
THEIRS = str(script_to_address(p2wpkh(b"\x03" + bytes(32)), REGTEST))


class Wallet:
    """As much of a node as labels of addresses need; `entered` while it is held up."""

    def __init__(self) -> None:
        self.entered = False
        self.labels: dict[str, str] = {}
        self.options = SimpleNamespace(network=REGTEST)
        self.failure = ""
        self.onchain = SimpleNamespace(
            coins=lambda: (),
            is_mine=lambda script: script == address_to_script(OURS, REGTEST),
            label_all=self.label_all,
        )
        self.ledger = Ledger(cast("Any", SimpleNamespace(write=lambda rows: None)))
        self.core = SimpleNamespace(entry=self.entry, locked=contextlib.nullcontext)
        self.changes: list[int] = []
        self.views = SimpleNamespace(publish_soon=lambda: None)

    def label_all(self, labels: Mapping[str, str]) -> None:
        self.labels.update(labels)
        self.changes[-1] += len(labels)

    def set_label(self, item_id: str, label: str) -> None:
        payment = self.ledger.payments[bytes.fromhex(item_id.removeprefix("ln:"))]
        self.ledger.put_payment(replace(payment, description=label))
        self.changes[-1] += 1

    @contextlib.contextmanager
    def entry(self) -> Iterator[None]:
        self.entered = True
        self.changes.append(0)
        yield
        self.entered = False

    async def durable(self) -> None:
        pass


def imported(wallet: Wallet, file: Path, *labelled: tuple[str, str], kind: str = "addr") -> dict[str, Any]:
    lines = [json.dumps({"type": kind, "ref": ref, "label": label}) for ref, label in labelled]
    file.write_text("\n".join(lines))
    answer = asyncio.run(cast("Any", run(cast("Any", wallet), "import_labels", {"file": str(file)})))
    return cast("dict[str, Any]", answer)


def test_addresses_are_read_once_and_before_the_wallet_is_held_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wallet = Wallet()
    asked: list[tuple[str, bool]] = []

    def watched(text: str, network: Any) -> bytes:
        asked.append((text, wallet.entered))
        return address_to_script(text, network)

    monkeypatch.setattr(history, "address_to_script", watched)
    said = imported(wallet, tmp_path / "x", (OURS, "first"), (THEIRS, "no"), ("none", "no"), (OURS, "last"))
    assert (said["labels"], said["not_ours"]) == (2, 2)
    assert wallet.labels == {OURS: "last"}
    assert sorted(asked) == sorted([(OURS, False), (THEIRS, False), ("none", False)])


def test_more_lines_than_a_wallet_has_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MAX_LABEL_RECORDS", 3)
    wallet = Wallet()
    assert imported(wallet, tmp_path / "x", *[(OURS, "tea")] * 3)["labels"] == 3
    wallet.labels.clear()
    with pytest.raises(CommandError, match="too large"):
        imported(wallet, tmp_path / "x", *[(OURS, "tea")] * 4)
    assert wallet.labels == {}


def test_lines_are_read_one_at_a_time_and_end_at_line_feeds_only() -> None:
    # JSON may hold U+2028 as it is; it ends no line here.
    text = json.dumps({"type": "tx", "ref": "a", "label": "b\u2028c\x85d"}, ensure_ascii=False)
    [record] = read_labels(f"\r\n{text}\r\n\n")
    assert record is not None
    assert record.ref == "a"


def test_the_wallet_is_never_held_up_for_more_than_a_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "AT_ONCE", 10)
    monkeypatch.setattr(history, "BREATH_SECONDS", 0)
    wallet = Wallet()
    wallet.onchain.is_mine = lambda script: True
    addresses = [
        str(script_to_address(p2wpkh(b"\x02" + number.to_bytes(32, "big")), REGTEST)) for number in range(35)
    ]
    said = imported(wallet, tmp_path / "x", *((address, f"to {address}") for address in addresses))
    assert said["labels"] == 35
    assert wallet.labels == {address: f"to {address}" for address in addresses}
    # The last entry is the one that is waited for.
    assert wallet.changes == [10, 10, 10, 5, 0]


def test_payments_on_the_disk_are_named_a_page_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelf, "KEPT", 4)
    monkeypatch.setattr(shelf, "PAGE_LINES", 8)
    monkeypatch.setattr(history, "PAYMENTS_AT_ONCE", 8)
    monkeypatch.setattr(history, "BREATH_SECONDS", 0)
    stored: dict[tuple[str, bytes], bytes | None] = {}
    pages_written: list[int] = []

    def write(rows: Any) -> None:
        for written in rows:
            stored[written.space, written.key] = written.value
            if written.space.endswith("_page") and pages_written:
                pages_written[-1] += 1

    def read_rows(space: str, keys: Any) -> Mapping[bytes, bytes]:
        return {key: value for key in keys if (value := stored.get((space, key))) is not None}

    wallet = Wallet()
    wallet.ledger = Ledger(cast("Any", SimpleNamespace(write=write)), read_rows)
    for number in range(100):
        wallet.ledger.put_payment(payment(number))
        while wallet.ledger.has_old:
            wallet.ledger.put_away()
    assert len(wallet.ledger.payments.pages) == 12
    entry = wallet.entry

    @contextlib.contextmanager
    def counted() -> Iterator[None]:
        pages_written.append(0)
        with entry():
            yield

    wallet.core.entry = counted
    # The file has them in an order of its own, and two of somebody else's.
    named = [(number.to_bytes(32, "big").hex(), f"Cup {number}") for number in range(102)]
    named.sort(key=lambda line: line[1])
    said = imported(wallet, tmp_path / "x", *named, kind="payment")
    assert (said["labels"], said["not_ours"]) == (100, 2)
    assert max(wallet.changes) == 8
    # Those in memory come first, and are no full piece: a piece may then lie on two pages.
    assert max(pages_written) <= 2
    assert {record.description for record in wallet.ledger.payments.values()} == {
        f"Cup {number}" for number in range(100)
    }


def test_of_one_thing_the_last_line_counts(tmp_path: Path) -> None:
    wallet = Wallet()
    said = imported(wallet, tmp_path / "x", (OURS, "first"), (THEIRS, "no"), (OURS, "second"), (OURS, ""))
    assert (said["labels"], said["not_ours"]) == (3, 1)
    assert wallet.labels == {OURS: ""}
    assert wallet.changes == [1, 0]
