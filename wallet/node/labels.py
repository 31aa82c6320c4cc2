"""Labels as wallets exchange them (BIP 329), and the history as a spreadsheet reads it.

BIP 329 knows transactions, addresses, outputs and keys; what a wallet does not know it has to ignore. So a Lightning
payment goes out as a record of a type of our own, "payment", whose reference is the payment hash.
"""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from wallet.node.api import ActivityItem

__all__ = ["MAX_LABEL", "LabelRecord", "history_csv", "read_labels", "write_labels"]

MAX_LABEL: Final = 255
"""BIP 329, Importing: the length at which it suggests to cut a label short."""

COLUMNS: Final = (
    "date", "layer", "direction", "state", "amount_msat", "moved_msat", "fee_msat", "label", "counterparty",
    "payment_hash", "txid", "block_height",
)  # fmt: skip
FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRecord:
    """One line.

    Attributes:
        label, spendable: None where the line says nothing of it, and nothing is to change.
        was_cut: the label was longer than is kept.
    """

    type: str
    ref: str
    label: str | None = None
    spendable: bool | None = None
    was_cut: bool = False


def write_labels(records: Iterable[dict[str, object]]) -> str:
    """JSON Lines: UTF-8, a record each line, nothing of more than one line."""
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def read_labels(text: str) -> Iterator[LabelRecord | None]:
    """Each line that is not empty; None for one that is no record."""
    # One line at a time: a list of them all may take many times the room of the text.
    for line in io.StringIO(text):
        if line.strip():
            yield _read_line(line)


def _read_line(line: str) -> LabelRecord | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    kind, ref, label = found.get("type"), found.get("ref"), found.get("label")
    if not isinstance(kind, str) or not isinstance(ref, str):
        return None
    if label is not None and not isinstance(label, str):
        return None
    spendable = found.get("spendable")
    whole = None if label is None else _one_line(label)
    return LabelRecord(
        type=kind,
        ref=ref,
        label=None if whole is None else whole[:MAX_LABEL],
        # A text in quotes is true, whatever it says.
        spendable=spendable if isinstance(spendable, bool) and kind == "output" else None,
        was_cut=whole is not None and len(whole) > MAX_LABEL,
    )


def _one_line(text: str) -> str:
    """Halves of characters cannot be written down; they and line breaks become spaces."""
    return " ".join("".join(" " if "\ud800" <= char <= "\udfff" else char for char in text).split())


def history_csv(items: Iterable[ActivityItem]) -> str:
    """A header and a line for each item. Proofs of payment stay out: they are for whoever disputes a payment."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for item in items:
        writer.writerow(
            (
                iso_time(item.at), item.kind.value, item.direction.value, item.status.value, item.amount_msat,
                item.moved_msat, item.fee_msat, _harmless(item.label), _harmless(item.counterparty),
                item.payment_hash or "", item.txid or "", "" if item.height is None else item.height,
            )
        )  # fmt: skip
    return out.getvalue()


def iso_time(moment_at: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment_at))


def _harmless(text: str) -> str:
    """Other people write invoices: a spreadsheet would run what looks like a formula."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
