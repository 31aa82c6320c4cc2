"""Maps of the network to look at: the sandbox's handful, and one that is grown in the shape of the public one."""

from __future__ import annotations

import random
import struct
from array import array
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from wallet.node.api import CommandError
from wallet.node.map_api import NetworkMap
from wallet.node.map_worker import make_map

HEIGHT = 912_345
NAMES = (
    "ACINQ", "Café Åland", "<script>alert(1)</script>", "Nodeland", "The quiet harbour", "zero fee", "Blåbær",
    "routing is fun", "Kraków Lightning", "Old stone bridge", "", "⚡", "Lantern",
)  # fmt: skip


def announcement(name: str, colour: bytes, address: bytes = b"\x01\x7f\x00\x00\x01\x26\x07") -> bytes:
    """Only what the map reads of it is right."""
    alias = name.encode()[:32].ljust(32, b"\0")
    return bytes(64 + 2 + 4 + 33) + colour + alias + struct.pack(">H", len(address)) + address


def made(
    node_ids: Sequence[str],
    channels: Sequence[tuple[int, int, int, int]],
    names: Mapping[int, str],
    *,
    height: int = HEIGHT,
    fees: Sequence[int] = (),
    version: int = 1,
) -> NetworkMap:
    """`channels` are id, two node numbers, capacity (negative for unknown); `fees` go round, one a direction."""
    raw = [
        announcement(names[n], bytes((n * 37 % 256, 120, 160))) if n in names else b""
        for n in range(len(node_ids))
    ]
    rates = [fees[n % len(fees)] if fees else 100 for n in range(2 * len(channels))]
    columns = {
        "node_ids": b"".join(map(bytes.fromhex, node_ids)),
        "announcements": b"".join(raw),
        "lengths": array("I", map(len, raw)).tobytes(),
        "live": array("I", range(len(channels))).tobytes(),
        "scid": array("Q", [scid for scid, *_ in channels]).tobytes(),
        "node_1": array("I", [a for _s, a, _b, _c in channels]).tobytes(),
        "node_2": array("I", [b for _s, _a, b, _c in channels]).tobytes(),
        "capacity_sat": array("q", [capacity for *_, capacity in channels]).tobytes(),
        "flags": bytes(1 if rate >= 0 else 3 for rate in rates),
        "fee_base_msat": array("I", [0 if n % 3 else 1_000 for n in range(2 * len(channels))]).tobytes(),
        "fee_millionths": array("I", [max(rate, 0) for rate in rates]).tobytes(),
        "height": str(height).encode(),
        "path": b"",
    }
    return NetworkMap(make_map(columns), version=version, height=height)


def sandbox(own: str, hub: str, shop: str) -> NetworkMap:
    """The hub, its shop, and us."""
    channels = [(103 << 40 | 1 << 16, 0, 1, 20_000_000), (120 << 40 | 1 << 16, 0, 2, 1_000_000)]
    return made([hub, shop, own], channels, {0: "Sandbox hub", 1: "Sandbox shop"}, height=150, fees=(1, 50))


def node_id(number: int) -> str:
    return "02" + number.to_bytes(32, "big").hex()


def grown(nodes: int = 600, channels: int = 1_800, own: str = "", seed: int = 5) -> NetworkMap:
    """Few have many channels; node 0 is ACINQ, and a node of ours is joined to the first two, if given."""
    draw = random.Random(seed)
    ids = [node_id(number + 1) for number in range(nodes)]
    ends, pairs = [0, 1], [(0, 1)]
    for number in range(1, channels):
        a = number + 1 if number + 1 < nodes else draw.choice(ends)
        b = draw.choice(ends)
        while a == b:
            b = draw.randrange(min(nodes, number + 1))
        pairs.append((a, b))
        ends += (a, b)
    rows = [
        (draw.randrange(600_000, HEIGHT) << 40 | number << 16, a, b, int(10 ** draw.uniform(4.6, 8.2)))
        for number, (a, b) in enumerate(pairs)
    ]
    rows[-1] = (*rows[-1][:3], -1)
    if own:
        ids.append(own)
        rows += [(900_000 << 40 | n << 16 | 1, nodes, n, 2_000_000) for n in (0, 1)]
    names = {n: NAMES[n % len(NAMES)] + (f" {n}" if n >= len(NAMES) else "") for n in range(0, nodes, 2)}
    return made(ids, rows, names, fees=(0, 1, 55, 250, 700, 2_500, -1))


class FakeMap:
    """What the fake node knows of the public network: the sandbox's handful, unless a test gives another map."""

    network_made: NetworkMap | None = None
    map_fails = ""

    def network_map(self) -> Future[NetworkMap]:
        node: Any = self
        made_of: Future[NetworkMap] = node.submit(self._map)
        return made_of

    def _map(self) -> NetworkMap:
        from tests.gui.fake_node import HUB, SHOP

        if self.map_fails:
            raise CommandError(self.map_fails)
        if self.network_made is None:
            node: Any = self
            self.network_made = sandbox(node.status.node_id, HUB, SHOP)
        return self.network_made
