"""Taking over labels from a file: how much of it, and what the wallet is held up for."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from wallet.bitcoin.address import REGTEST, address_to_script, script_to_address
from wallet.bitcoin.script import p2wpkh
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
        self.core = SimpleNamespace(entry=self.entry)
        self.views = SimpleNamespace(publish_soon=lambda: None)

    def label_all(self, labels: Mapping[str, str]) -> None:
        self.labels.update(labels)

    @contextlib.contextmanager
    def entry(self) -> Iterator[None]:
        self.entered = True
        yield
        self.entered = False

    async def durable(self) -> None:
        pass


def imported(wallet: Wallet, file: Path, *labelled: tuple[str, str]) -> dict[str, Any]:
    lines = [json.dumps({"type": "addr", "ref": ref, "label": label}) for ref, label in labelled]
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
