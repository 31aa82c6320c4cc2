"""Commands about the public network: its graph."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from wallet.i18n import _
from wallet.ln.routing.rapid_gossip import MAX_SNAPSHOT_LENGTH, Applied, apply_snapshot, read_snapshot
from wallet.node.api import CommandError, Json
from wallet.node.commands.registry import command

if TYPE_CHECKING:
    from wallet.node.node import Node

__all__: list[str] = []


def _whole_path(text: str) -> Path:
    path = Path(text).expanduser()
    if not path.is_absolute():
        raise CommandError(
            _("Give the whole path, from the root: {path} is not one.").format(path=text), code="usage"
        )
    return path


def _contents(path: Path) -> bytes:
    with path.open("rb") as file:
        # One byte more than may be: the reader refuses it.
        return file.read(MAX_SNAPSHOT_LENGTH + 1)


@command
async def import_graph(node: Node, file: str) -> Json:
    """Takes over a snapshot of the public network, in the format of rapid gossip sync, from a file. Routes are found
    with it at once. Nothing in it is proved, so it is never passed on; what peers prove takes its place."""
    path = _whole_path(file)
    if not node.graph_is_read:
        raise CommandError(
            _(
                "The graph of last time is still being read, and would replace this one. Try again in a moment."
            ),
            code="busy",
        )
    now_at = node.wall_clock_at()
    loop = asyncio.get_running_loop()
    try:
        data = await loop.run_in_executor(None, _contents, path)
        snapshot = await loop.run_in_executor(None, read_snapshot, data, node.options.network, now_at)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else None
        raise CommandError(
            _("{path} cannot be used: {why}.").format(path=path, why=why or str(error).rstrip(".")),
            code="file",
        ) from None
    applied = Applied(channels=0, terms=0)
    steps = apply_snapshot(snapshot, node.graph)
    while True:
        with node.core.locked():
            step = next(steps, None)
        if step is None:
            break
        applied = step
        # Payments come between two steps.
        await asyncio.sleep(0)
    node.views.publish_soon()
    return {
        "channels": len(snapshot.channels),
        "new_channels": applied.channels,
        "new_updates": applied.terms,
        "seen_at": snapshot.seen_at,
        "age_seconds": max(0, now_at - snapshot.seen_at),
    }
