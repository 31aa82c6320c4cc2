"""Commands about the public network: its graph."""

from __future__ import annotations

import asyncio
import gzip
import io
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from wallet.bitcoin.errors import DecodeError
from wallet.i18n import _
from wallet.ln.routing.rapid_gossip import (
    MAX_SNAPSHOT_LENGTH,
    RECORDS_PER_STEP,
    Applied,
    apply_snapshot,
    read_snapshot,
)
from wallet.node.api import CommandError, Json
from wallet.node.commands.files import whole_path
from wallet.node.commands.registry import command
from wallet.node.web import WebError, WebUrl, parse_url

if TYPE_CHECKING:
    from wallet.node.node import Node

__all__: list[str] = []

DOWNLOAD_TIMEOUT_SECONDS = 300.0
"""A snapshot of some megabytes over Tor takes a minute or two."""
GZIP_MAGIC = b"\x1f\x8b"


def _contents(path: Path) -> bytes:
    with path.open("rb") as file:
        # One byte more than may be: the reader refuses it.
        return file.read(MAX_SNAPSHOT_LENGTH + 1)


def _unpacked(data: bytes) -> bytes:
    """What was compressed, as it was before; raises `DecodeError`. It grows to one byte more than may be at most."""
    if not data.startswith(GZIP_MAGIC):
        return data
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            return file.read(MAX_SNAPSHOT_LENGTH + 1)
    except (OSError, EOFError, zlib.error):
        raise DecodeError(_("It is compressed, and damaged or cut short.")) from None


def _web_address(text: str) -> WebUrl:
    """Raises `CommandError`."""
    try:
        return parse_url(text.strip())
    except WebError:
        raise CommandError(
            _(
                "{url} is not an https address. Over plain http, which is for onion services only, anybody on the way "
                "could change what the network looks like."
            ).format(url=text[:200]),
            code="usage",
        ) from None


async def _fetched(node: Node, source: str) -> bytes:
    """The bytes of a file, or of a web address, unpacked; raises `OSError`, `DecodeError`, `WebError`, and
    `CommandError` for what is neither."""
    loop = asyncio.get_running_loop()
    if "://" in source:
        data = await node.web_client().get_bytes(
            _web_address(source), max_bytes=MAX_SNAPSHOT_LENGTH, timeout_seconds=DOWNLOAD_TIMEOUT_SECONDS
        )
    else:
        data = await loop.run_in_executor(None, _contents, whole_path(source))
    return await loop.run_in_executor(None, _unpacked, data)


@command
async def set_gossip_peers(node: Node, on_or_off: str) -> Json:
    """Lets Leyden call a few public nodes ("on"), or none ("off"), to learn of the network while its graph is missing
    or old. Peers of your channels tell of it in any case."""
    choice = {"on": True, "off": False}.get(on_or_off.strip().lower())
    if choice is None:
        raise CommandError(_("Say on or off, not {text!r}.").format(text=on_or_off[:40]), code="usage")
    with node.core.entry():
        node.gossip_peers.choose(choice)
        durable = node.durable()
    await durable
    node.views.publish_soon()
    return {"gossip_peers": "on" if node.gossip_peers.is_on else "off"}


@command
async def import_graph(node: Node, file: str) -> Json:
    """Takes over a snapshot of the public network, in the format of rapid gossip sync, from a file or an https address
    (through the proxy, where one is set); it may be compressed with gzip. Routes are found with it at once. Nothing in
    it is proved, so it is never passed on; what peers prove takes its place."""
    if node.views.imported_percent is not None:
        raise CommandError(_("A snapshot is being taken over already. Wait until that is done."), code="busy")
    if not node.graph_is_read:
        raise CommandError(
            _(
                "The graph of last time is still being read, and would replace this one. Try again in a moment."
            ),
            code="busy",
        )
    _tell_progress(node, 0)
    try:
        return await _taken_over(node, file)
    finally:
        _tell_progress(node, None)


def _tell_progress(node: Node, percent: int | None) -> None:
    if percent != node.views.imported_percent:
        node.views.imported_percent = percent
        node.views.publish_soon()


async def _taken_over(node: Node, file: str) -> Json:
    """Fetches, reads and applies a snapshot, and says what came of it."""
    now_at = node.wall_clock_at()
    loop = asyncio.get_running_loop()
    try:
        data = await _fetched(node, file)
        snapshot = await loop.run_in_executor(None, read_snapshot, data, node.options.network, now_at)
    except WebError as error:
        raise CommandError(str(error), code="web") from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else None
        raise CommandError(
            _("{path} cannot be used: {why}.").format(path=file, why=why or str(error).rstrip(".")),
            code="file",
        ) from None
    applied = Applied(channels=0, terms=0)
    steps = apply_snapshot(snapshot, node.graph)
    step_count = len(snapshot.channels) // RECORDS_PER_STEP + len(snapshot.terms) // RECORDS_PER_STEP + 1
    done = 0
    while True:
        with node.core.locked():
            step = next(steps, None)
        if step is None:
            break
        applied = step
        done += 1
        _tell_progress(node, 100 * done // step_count)
        # Payments come between two steps.
        await asyncio.sleep(0)
    return {
        "channels": len(snapshot.channels),
        "new_channels": applied.channels,
        "new_updates": applied.terms,
        "seen_at": snapshot.seen_at,
        "age_seconds": max(0, now_at - snapshot.seen_at),
    }
