"""Commands on the history: out as a table, labels out and in, the balance over time."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from wallet.bitcoin.address import address_to_script
from wallet.bitcoin.errors import DecodeError
from wallet.bitcoin.tx import OutPoint, txid_from_hex, txid_hex
from wallet.i18n import _, ngettext
from wallet.node.activity import ANTI_REORG_BLOCKS
from wallet.node.api import ActivityItem, ActivityKind, ActivityQuery, CommandError, Json
from wallet.node.backup import write_durably
from wallet.node.commands.files import cannot_be_used, whole_path
from wallet.node.commands.registry import command
from wallet.node.labels import LabelRecord, history_csv, iso_time, read_labels, write_labels

if TYPE_CHECKING:
    from wallet.node.node import Node

__all__: list[str] = []

MAX_LABELS_BYTES: Final = 8 * 1024 * 1024
MAX_LABEL_RECORDS: Final = 200_000
AT_ONCE: Final = 250
"""So many labels are changed in one entry into the core: a few milliseconds."""
PAYMENTS_AT_ONCE: Final = 64
"""Of payments fewer: they come from the disk and go back there."""
BREATH_SECONDS: Final = 0.001
"""Between two entries: whoever waits for the core gets in."""
EACH_CHANGE_DAYS: Final = 31
"""Up to a month each change is a point of the balance; above, each day."""
MOST_POINTS: Final = 1_000
"""With more changes than a chart has room for, the last one of each hour is a point."""
HOUR_SECONDS: Final = 3_600
DAY_SECONDS: Final = 86_400
_HASH_TEXT = re.compile(r"[0-9a-f]{64}")
_OUTPUT_TEXT = re.compile(r"([0-9a-f]{64}):([0-9]{1,9})")


async def _give(file: str | None, text: str, count: int) -> Json:
    """The text itself, or a file that was not there before."""
    if file is None:
        return text
    path = whole_path(file)

    def write() -> None:
        if path.exists():
            raise CommandError(
                _("There is a file {path} already. Choose another name; it was left as it is.").format(
                    path=path
                ),
                code="exists",
            )
        write_durably(path, text.encode())

    try:
        await asyncio.get_running_loop().run_in_executor(None, write)
    except OSError as error:
        raise cannot_be_used(path, error) from None
    return {"path": str(path), "count": count}


@command
async def export_history(node: Node, file: str | None = None) -> Json:
    """Writes what moved on both layers, oldest first, as a table (CSV): into a new file, or printed if none is named.
    Amounts are in thousandths of a satoshi, and times in UTC; what moved into or out of a channel is no payment."""
    index = node.views.activity

    count = 0

    def each() -> Iterator[ActivityItem]:
        nonlocal count
        for item in index.each(ActivityQuery(descending=False)):
            count += 1
            yield item

    text = await asyncio.get_running_loop().run_in_executor(None, lambda: history_csv(each()))
    return await _give(file, text, count)


@command
async def export_labels(node: Node, file: str | None = None) -> Json:
    """Writes all labels in the format that wallets exchange (BIP 329): into a new file, or printed if none is named.
    Whoever reads it learns what you did with your coins."""
    records = await asyncio.get_running_loop().run_in_executor(None, _records, node)
    return await _give(file, write_labels(records), len(records))


def _records(node: Node) -> list[dict[str, object]]:
    """Transactions and addresses with a label, outputs with one or frozen, payments with one."""
    with node.core.locked():
        labels = dict(node.onchain.labels())
        frozen = {
            f"{txid_hex(coin.outpoint.txid)}:{coin.outpoint.vout}"
            for coin in node.onchain.coins()
            if coin.frozen
        }
        best_height = node.best_height
    records: list[dict[str, object]] = []
    for ref, label in sorted(labels.items()):
        if _HASH_TEXT.fullmatch(ref):
            records.append({"type": "tx", "ref": ref, "label": label, **_about(node, ref, best_height)})
        elif _OUTPUT_TEXT.fullmatch(ref):
            records.append({"type": "output", "ref": ref, "label": label, "spendable": ref not in frozen})
        elif _script_of(node, ref) is not None:
            records.append({"type": "addr", "ref": ref, "label": label})
    records += [{"type": "output", "ref": ref, "spendable": False} for ref in sorted(frozen - labels.keys())]
    index = node.views.activity
    for item in index.each(ActivityQuery(kind=ActivityKind.LIGHTNING, descending=False)):
        if item.label and item.payment_hash is not None:
            records.append({"type": "payment", "ref": item.payment_hash, "label": item.label})
    return records


def _about(node: Node, txid_text: str, best_height: int) -> dict[str, object]:
    """BIP 329, Additional fields: the height only of what six blocks have buried."""
    with node.core.locked():
        entry = node.onchain.entry_by_hex(txid_text)
    if entry is None:
        return {}
    about: dict[str, object] = {"value": entry.delta_sat}
    if entry.fee_sat is not None:
        about["fee"] = entry.fee_sat
    depth = 0 if entry.height is None else best_height - entry.height + 1
    if depth >= ANTI_REORG_BLOCKS:
        about |= {"height": entry.height, "time": iso_time(entry.at)}
    return about


def _script_of(node: Node, text: str) -> bytes | None:
    """None for what is no address of this network."""
    try:
        return address_to_script(text, node.options.network)
    except DecodeError:
        return None


@command
async def import_labels(node: Node, file: str) -> Json:
    """Takes over labels from a file of another wallet (BIP 329), and which coins are not to be spent. What it says of
    transactions, addresses and payments that are not of this wallet is left out, and counted. Should Leyden be ended
    meanwhile, a part of it may be taken over: doing it again does no harm."""
    path = whole_path(file)

    def read() -> tuple[list[LabelRecord | None], dict[str, bytes]]:
        """The lines, and the scripts of the addresses in them: nothing that needs the wallet."""
        # Never all of it: what a path leads to may have no end.
        with path.open("rb") as opened:
            data = opened.read(MAX_LABELS_BYTES + 1)
        lines: list[LabelRecord | None] = []
        if len(data) <= MAX_LABELS_BYTES:
            lines = list(itertools.islice(read_labels(data.decode("utf-8-sig")), MAX_LABEL_RECORDS + 1))
        if len(data) > MAX_LABELS_BYTES or len(lines) > MAX_LABEL_RECORDS:
            raise CommandError(
                _("{path} is too large for a file of labels. Nothing was changed.").format(path=path),
                code="file",
            )
        addresses = {line.ref for line in lines if line is not None and line.type == "addr"}
        found = {address: _script_of(node, address) for address in addresses}
        return lines, {address: script for address, script in found.items() if script is not None}

    loop = asyncio.get_running_loop()
    try:
        lines, scripts = await loop.run_in_executor(None, read)
    except OSError as error:
        raise cannot_be_used(path, error) from None
    except UnicodeDecodeError:
        raise CommandError(
            _("{path} is not a file of labels: it is no text. Nothing was changed.").format(path=path),
            code="file",
        ) from None
    records = [line for line in lines if line is not None]
    if lines and not records:
        raise CommandError(
            _("{path} is not a file of labels (BIP 329): no line could be read. Nothing was changed.").format(
                path=path
            ),
            code="file",
        )
    taken = 0
    for piece in await loop.run_in_executor(None, _pieces, node, records):
        with node.core.entry():
            taken += _take_over(node, piece, scripts)
        await asyncio.sleep(BREATH_SECONDS)
    with node.core.entry():
        durable = node.durable()
    await durable
    node.views.publish_soon()
    cut = sum(record.was_cut for record in records)
    answer: dict[str, Json] = {
        "labels": taken,
        "not_ours": len(records) - taken,
        "unreadable": len(lines) - len(records),
        "cut_short": cut,
        "message": _import_sentence(taken, len(lines) - taken, cut),
    }
    return answer


def _import_sentence(taken: int, left: int, cut: int) -> str:
    words = [ngettext("{n} label was taken over.", "{n} labels were taken over.", taken).format(n=taken)]
    if left:
        words.append(
            ngettext(
                "{n} line is not about this wallet, or could not be read.",
                "{n} lines are not about this wallet, or could not be read.",
                left,
            ).format(n=left)
        )
    if cut:
        words.append(ngettext("{n} label was cut short.", "{n} labels were cut short.", cut).format(n=cut))
    return " ".join(words)


@dataclass(slots=True)
class _Wish:
    """What a file says of one thing.

    Attributes:
        label, spendable: None where no line says it; else what the last one says.
        lines: how many there are.
    """

    type: str
    ref: str
    label: str | None = None
    spendable: bool | None = None
    lines: int = 0

    @property
    def outpoint(self) -> OutPoint:
        txid_text, _colon, vout = self.ref.partition(":")
        return OutPoint(txid_from_hex(txid_text), int(vout))


def _pieces(node: Node, records: list[LabelRecord]) -> list[list[_Wish]]:
    """What may be about something of ours, in pieces of which each is one entry; off the loop."""
    wishes: dict[tuple[str, str], _Wish] = {}
    for record in records:
        ref = record.ref.lower() if record.type in ("tx", "output") else record.ref
        wish = wishes.setdefault((record.type, ref), _Wish(record.type, ref))
        wish.lines += 1
        if record.label is not None:
            wish.label = record.label
        if record.spendable is not None:
            wish.spendable = record.spendable
    of_type: dict[str, list[_Wish]] = {"tx": [], "addr": [], "output": [], "payment": []}
    for wish in wishes.values():
        of_type.get(wish.type, []).append(wish)
    outputs = [wish for wish in of_type["output"] if _OUTPUT_TEXT.fullmatch(wish.ref)]
    if outputs:
        with node.core.locked():
            coins = node.onchain.coins()
        # What is spent before its turn comes is named all the same: that changes nothing that can be spent.
        ours = {coin.outpoint for coin in coins}
        outputs = [wish for wish in outputs if wish.outpoint in ours]
    onchain = [wish for wish in of_type["tx"] if _HASH_TEXT.fullmatch(wish.ref)] + of_type["addr"] + outputs
    payments = _by_page(node, of_type["payment"])
    return [list(piece) for piece in _split(onchain, AT_ONCE)] + [
        list(piece) for piece in _split(payments, PAYMENTS_AT_ONCE)
    ]


def _split(wishes: list[_Wish], count: int) -> Iterator[list[_Wish]]:
    for first in range(0, len(wishes), count):
        yield wishes[first : first + count]


def _by_page(node: Node, wishes: list[_Wish]) -> list[_Wish]:
    """Those of payments and requests that we know. What lies on one page of the disk comes one after the other: a page
    is taken apart once."""
    left = {bytes.fromhex(wish.ref): wish for wish in wishes if _HASH_TEXT.fullmatch(wish.ref)}
    found: list[_Wish] = []
    for shelf in (node.ledger.payments, node.ledger.requests):
        for key in shelf:
            wish = left.pop(key, None)
            if wish is not None:
                found.append(wish)
    return found


def _take_over(node: Node, wishes: list[_Wish], scripts: Mapping[str, bytes]) -> int:
    """How many lines were about something of ours; within an entry. `scripts` are those of the addresses in them."""
    onchain, ledger = node.onchain, node.ledger
    labels: dict[str, str] = {}
    payments: dict[str, str] = {}
    taken = 0
    for wish in wishes:
        if wish.type == "tx" and onchain.entry_by_hex(wish.ref) is None:
            continue
        if wish.type == "addr":
            script = scripts.get(wish.ref)
            if script is None or not onchain.is_mine(script):
                continue
        taken += wish.lines
        if wish.label is not None:
            named = payments if wish.type == "payment" else labels
            named[wish.ref] = wish.label
            if wish.type == "tx":
                ledger.onchain_changed(wish.ref)
        if wish.spendable is not None and wish.type == "output":
            onchain.freeze(wish.outpoint, not wish.spendable)
    if labels:
        onchain.label_all(labels)
    if payments:
        ledger.bring_back([bytes.fromhex(payment_hash) for payment_hash in payments])
    for payment_hash, label in payments.items():
        node.set_label(f"ln:{payment_hash}", label)
    return taken


def by_hour(points: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Where there are many, the last one of each hour and what there was before."""
    if len(points) <= MOST_POINTS:
        return points
    hours = [at // HOUR_SECONDS for at, _sat in points]
    return [
        point
        for place, point in enumerate(points)
        if place == 0 or place + 1 == len(points) or hours[place] != hours[place + 1]
    ]


@command
async def balance_history(node: Node, *, days: int = 0) -> Json:
    """Shows the balance of both layers over the last days (0 for all), as pairs of unix time and satoshis: each change
    of a month at most, each day of more."""
    if not 0 <= days <= 36_500:
        raise CommandError(_("Name a number of days, 0 for all of them."), code="usage")
    total_sat = node.views.snapshot().balance.total_sat
    now_at = node.wall_clock_at()
    since_at = now_at - days * DAY_SECONDS if days else None
    index = node.views.activity
    if since_at is not None and days <= EACH_CHANGE_DAYS:
        points = by_hour(index.each_change(since_at, total_sat))
    else:
        points = index.each_day(since_at, total_sat)
    return {"points": [[at, sat] for at, sat in points], "until": now_at, "total_sat": total_sat}
