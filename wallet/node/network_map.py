"""The public network for the window: copies what the graph holds, and has a process of its own make a map of it.

The core's lock is held for the copy of the columns, about a millisecond, and for a few hundred announcements at a time.
Everything else, laying out above all, is done by `map_worker` in another process, and never on the network loop.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from array import array
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from wallet.chain.interfaces import LogLevel
from wallet.i18n import _
from wallet.node.api import CommandError
from wallet.node.map_api import NetworkMap
from wallet.node.map_worker import NODE_ID_LENGTH, pack, unpack

if TYPE_CHECKING:
    from wallet.node.node import Node

__all__ = ["MAP_FILE", "MapMaker", "graph_columns", "own_channels", "with_own", "worker_command"]

MAP_FILE = "network-map.bin"
ANNOUNCEMENTS_AT_ONCE = 256
LIMIT_SECONDS = 60
FRESH_SECONDS = 600
"""A map of a large network is shown again for so long, whatever gossip came."""
LARGE_NODES = 200
Own: TypeAlias = "tuple[tuple[bytes, int, int], ...]"
"""Channels of ours: the peer, the channel's id, its capacity in sat."""


def worker_command() -> list[str]:
    """What starts the process; a frozen program starts itself."""
    if getattr(sys, "frozen", False):
        # A Windows program with a window has neither input nor output; its twin for the console has.
        twin = Path(sys.executable).with_name("leyden-cli.exe")
        # As packaging/start.py takes it.
        return [str(twin) if twin.exists() else sys.executable, "--make-network-map"]
    return [sys.executable, "-m", "wallet.node.map_worker"]


class MapMaker:
    """Makes maps, one at a time, and remembers the last."""

    def __init__(self, node: Node, folder: Path) -> None:
        self._node = node
        self._path = folder / MAP_FILE
        self._last: NetworkMap | None = None
        self._own: Own = ()
        self._made_seconds = 0.0
        self._turn = asyncio.Lock()
        self._guard = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    async def current(self) -> NetworkMap:
        """The map; on the network loop. Raises `CommandError`."""
        async with self._turn:
            if self._last is None or not self._is_fresh(self._last):
                self._last = await self._node.loop.run_in_executor(None, self._make)
                self._made_seconds = time.monotonic()
            return self._last

    def _is_fresh(self, last: NetworkMap) -> bool:
        if last.version == self._node.graph.version:
            # A small map shows our own channels too.
            return last.node_count >= LARGE_NODES or own_channels(self._node) == self._own
        young = time.monotonic() - self._made_seconds < FRESH_SECONDS
        return young and last.node_count >= LARGE_NODES and self._node.graph.node_count <= 2 * last.node_count

    def _make(self) -> NetworkMap:
        node = self._node
        version, columns = graph_columns(node)
        height = node.best_height
        columns |= {"height": str(height).encode(), "path": str(self._path).encode()}
        self._own = ()
        if len(columns["node_ids"]) < LARGE_NODES * NODE_ID_LENGTH:
            self._own = own_channels(node)
        if self._own:
            # What is ours is not kept in a file that everybody can read.
            columns = with_own(columns, node.keys_manager.get_node_id(), self._own) | {"path": b""}
        made = NetworkMap(unpack(self._ask(pack(columns))), version=version, height=height)
        made.prepare()
        return made

    def _ask(self, data: bytes) -> bytes:
        with self._guard:
            if self._closed:
                raise CommandError(_("The wallet is closing."), code="closed")
            # No window of a console, where systems have such.
            flags = getattr(subprocess, "CREATE_NO_WINDOW", 0)
            process = subprocess.Popen(
                worker_command(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                creationflags=flags,
                cwd=None if getattr(sys, "frozen", False) else Path(__file__).resolve().parents[2],
            )
            self._process = process
        try:
            out, errors = process.communicate(data, timeout=LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            out, errors = b"", b"it took too long"
        finally:
            with self._guard:
                self._process = None
        if process.returncode != 0:
            if not self._closed:
                last_line = errors.decode("utf-8", "replace").strip().rpartition("\n")[2]
                node = self._node
                node.log(LogLevel.WARN, "the map of the network could not be made: %s", last_line)
            raise CommandError(
                _(
                    "The map of the network could not be made. Payments and channels work all the same; open this page "
                    "again to try once more."
                )
            )
        return out

    def close(self) -> None:
        """Ends the process, if one runs; from any thread."""
        with self._guard:
            self._closed = True
            if self._process is not None:
                self._process.kill()


def own_channels(node: Node) -> Own:
    """Those that are open, announced or not."""
    with node.core.locked():
        details = node.manager.list_channels()
    return tuple(
        sorted(
            (item.counterparty_node_id, item.short_channel_id, item.channel_value_sat)
            for item in details
            if item.short_channel_id is not None and item.is_channel_ready
        )
    )


def with_own(columns: dict[str, bytes], our_id: bytes, own: Own) -> dict[str, bytes]:
    """The columns with channels of ours that the graph does not have."""
    ids = columns["node_ids"]
    nodes = [ids[start : start + NODE_ID_LENGTH] for start in range(0, len(ids), NODE_ID_LENGTH)]
    scids = array("Q")
    scids.frombytes(columns["scid"])
    live = array("I")
    live.frombytes(columns["live"])
    known = {scids[index] for index in live}
    added: dict[str, array[int]] = {
        "lengths": array("I"), "live": array("I"), "scid": array("Q"), "node_1": array("I"), "node_2": array("I"),
        "capacity_sat": array("q"), "flags": array("B"), "fee_base_msat": array("I"), "fee_millionths": array("I"),
    }  # fmt: skip
    for peer, scid, capacity_sat in own:
        if scid in known:
            continue
        for node_id in (our_id, peer):
            if node_id not in nodes:
                nodes.append(node_id)
                added["lengths"].append(0)
        added["live"].append(len(scids) + len(added["scid"]))
        added["scid"].append(scid)
        added["node_1"].append(nodes.index(our_id))
        added["node_2"].append(nodes.index(peer))
        added["capacity_sat"].append(capacity_sat)
        for name in ("flags", "fee_base_msat", "fee_millionths"):
            added[name].extend((0, 0))
    return (
        columns
        | {name: columns[name] + column.tobytes() for name, column in added.items()}
        | {"node_ids": b"".join(nodes)}
    )


def graph_columns(node: Node) -> tuple[int, dict[str, bytes]]:
    """What the graph holds, and the version of it; never on the loop."""
    with node.core.locked():
        graph = node.graph
        version = graph.version
        snapshot = graph.snapshot()
    raw: list[bytes] = []
    lengths = array("I")
    for start in range(0, snapshot.node_count, ANNOUNCEMENTS_AT_ONCE):
        stop = min(start + ANNOUNCEMENTS_AT_ONCE, snapshot.node_count)
        with node.core.locked():
            part = graph.node_announcement_bytes(start, stop)
        lengths.extend(map(len, part))
        raw += part
    arrays = snapshot.arrays
    return version, {
        "node_ids": b"".join(snapshot.node_ids),
        "announcements": b"".join(raw),
        "lengths": lengths.tobytes(),
        "live": array(
            "I", sorted({index for theirs in snapshot.node_channels for index in theirs})
        ).tobytes(),
        "scid": arrays.channel_scid.tobytes(),
        "node_1": arrays.channel_node_1.tobytes(),
        "node_2": arrays.channel_node_2.tobytes(),
        "capacity_sat": arrays.capacity_sat.tobytes(),
        "flags": arrays.direction_flags.tobytes(),
        "fee_base_msat": arrays.fee_base_msat.tobytes(),
        "fee_millionths": arrays.fee_proportional_millionths.tobytes(),
    }
