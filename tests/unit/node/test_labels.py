"""Labels as wallets exchange them, and the history as a table: what others wrote does no harm."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from wallet.node.api import ActivityItem, ActivityKind, ActivityStatus
from wallet.node.labels import LabelRecord, history_csv, read_labels, write_labels

# The records of BIP 329's own example, as facts.
TXID = "f91d0a8a78462bc59398f2c5d7a84fcff491c26ba54c4833478b202796c8aafd"


def one(line: str) -> LabelRecord | None:
    [found] = read_labels(line)
    return found


def test_the_types_of_bip_329_are_read() -> None:
    lines: list[dict[str, object]] = [
        {"type": "tx", "ref": TXID, "label": "Transaction", "origin": "wpkh([d34db33f/84'/0'/0'])"},
        {"type": "addr", "ref": "bc1q34aq5drpuwy3wgl9lhup9892qp6svr8ldzyy7c", "label": "Address"},
        {"type": "input", "ref": f"{TXID}:0", "label": "Input"},
        {"type": "output", "ref": f"{TXID}:1", "label": "Output", "spendable": False},
        {"type": "spscan", "ref": "spscan1q5zs2pg9", "label": "Silent"},
    ]
    found = list(read_labels("\n".join(map(json.dumps, lines)) + "\n\n"))
    assert [(record.type, record.ref, record.label) for record in found if record is not None] == [
        (line["type"], line["ref"], line["label"]) for line in lines
    ]
    assert [record.spendable for record in found if record is not None] == [None, None, None, False, None]


@pytest.mark.parametrize(
    "line",
    [
        "no json", "[]", "7", "null", "{", '{"type": "tx"}', '{"ref": "aa", "label": "x"}', '{"type": 1, "ref": "a"}',
        '{"type": "tx", "ref": "a", "label": 7}', '{"type": "tx", "ref": "a", "label": ["x"]}', "[" * 100_000,
    ],
    ids=range(11),
)  # fmt: skip
def test_what_is_no_record_is_left_out(line: str) -> None:
    assert one(line) is None


def test_a_line_without_a_label_changes_none() -> None:
    assert one('{"type": "output", "ref": "aa:0", "spendable": true}') == LabelRecord(
        type="output", ref="aa:0", spendable=True
    )
    # Nothing but true and false says whether a coin may be spent, and only of an output.
    for line in (
        {"type": "output", "ref": "a", "spendable": "false"},
        {"type": "tx", "ref": "a", "spendable": True},
    ):
        found = one(json.dumps(line))
        assert found is not None
        assert found.spendable is None


def test_a_label_is_one_line_of_whole_characters_and_not_too_long() -> None:
    found = one(json.dumps({"type": "tx", "ref": "a", "label": "two\nlines\tand \ud800 half"}))
    assert found is not None
    assert found.label == "two lines and half"
    long = one(json.dumps({"type": "tx", "ref": "a", "label": "ü" * 256}))
    assert long is not None
    assert (long.label, long.was_cut) == ("ü" * 255, True)


def test_what_is_written_is_read_again() -> None:
    records: list[dict[str, object]] = [
        {"type": "tx", "ref": TXID, "label": 'Quotes " and \\ and ü'},
        {"type": "payment", "ref": "00" * 32, "label": "Coffee"},
    ]
    text = write_labels(records)
    assert text.count("\n") == 2
    assert "ü" in text
    assert [json.loads(line) for line in text.splitlines()] == records


def item(**changes: Any) -> ActivityItem:
    values: dict[str, Any] = {
        "item_id": "ln:00", "kind": ActivityKind.LIGHTNING, "amount_msat": -21_000_500, "fee_msat": 12,
        "at": 1_700_000_000, "status": ActivityStatus.DONE, "status_text": "Paid", "label": "", **changes,
    }  # fmt: skip
    return ActivityItem(**values)


def test_the_table_has_exact_amounts_and_times_in_utc() -> None:
    [row] = csv.DictReader(io.StringIO(history_csv([item(label='A "quoted", one', preimage="ab" * 32)])))
    assert row["date"] == "2023-11-14T22:13:20Z"
    assert (row["amount_msat"], row["fee_msat"], row["direction"]) == ("-21000500", "12", "out")
    assert row["label"] == 'A "quoted", one'
    assert "ab" * 32 not in row.values()


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"], ids=range(6))
def test_a_memo_is_no_formula(start: str) -> None:
    evil = f'{start}HYPERLINK("http://example.org")'
    [row] = csv.DictReader(io.StringIO(history_csv([item(label=evil, counterparty=evil)]), newline=""))
    assert row["label"] == "'" + evil
    assert row["counterparty"] == "'" + evil
