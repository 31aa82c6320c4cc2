"""How the map of the network behaves: its first picture, its frames, its slices, its search, and how it keeps still.

    python -m benchmarks.network_page [--topology FILE.npz]

The page of the window itself is opened, in a process of its own, over a node's `MapMaker` and a graph of the topology:
at 1280x800, and at 3840x2160 with scale 2, both under Xvfb. The wheel then zooms in and out and a hand drags, 120
times. A frame is from the input to the painted widget. A slice is what is painted, for a frame or into the sharp
picture, before the event loop has its turn again, in time of the processor. Sharp: the longest rest, from the last
input on.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from math import hypot
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any, cast

from benchmarks import startup
from benchmarks.figures import Figure, of_samples, table
from benchmarks.topology import Topology, graph_of, read_npz, synthetic

FIRST_LIMIT_SECONDS = 1.5
FRAME_LIMIT_MS = 16.0
LARGE_FRAME_LIMIT_MS = 33.0
SLICE_LIMIT_MS = 15.0
REST_LIMIT_MS = 300.0
LARGE_REST_LIMIT_MS = 500.0
SEARCH_LIMIT_MS = 50.0
MOVE_LIMIT_PERCENT = 2.0
USUAL_SCREEN = "1280x800x24"
LARGE_SCREEN = "3840x2160x24"
FRAMES = 120
ROUNDS = 3
WAIT_SECONDS = 60


def _child(topology: Path | None, large: bool) -> None:
    """Open the page, drive it, and print what that took."""
    from PyQt6.QtWidgets import QApplication

    from tests.gui import hands, scenes
    from tests.gui.fake_host import FakeHost
    from tests.stand_in import put_in_place_of
    from tests.unit.node.test_network_map import wallet_node
    from wallet.gui.app import make_application, make_window
    from wallet.gui.pages.network import NetworkPage
    from wallet.gui.preferences import Preferences
    from wallet.node.api import WalletInfo
    from wallet.node.host import NodeThread
    from wallet.node.interpreter import tune
    from wallet.node.map_api import NetworkMap
    from wallet.node.network_map import MapMaker

    # As the window's process has it.
    tune()
    application = make_application(["benchmark"])
    graph = graph_of(_network(topology))
    thread = NodeThread()
    found: dict[str, list[float]] = {name: [] for name in ("first", "frames", "slices", "rest", "search")}
    with tempfile.TemporaryDirectory(prefix="leyden-bench-map-") as folder:
        for _round in range(ROUNDS):
            behind = wallet_node(graph)
            behind.loop = thread.loop

            async def maker(behind: SimpleNamespace = behind) -> MapMaker:
                return MapMaker(cast(Any, behind), Path(folder))

            maps = thread.submit(maker()).result()
            node = scenes.typical("mainnet")

            def network_map(maps: MapMaker = maps) -> Future[NetworkMap]:
                return thread.submit(maps.current())

            # The real one in place of the fake.
            put_in_place_of(node, "network_map", network_map)
            preferences = Preferences()
            preferences.set_text("look/motion", "no")
            host = FakeHost()
            window = make_window(host, "mainnet", preferences)
            info = WalletInfo(name="Savings", network="mainnet", path=Path(folder), encrypted=True)
            window.show_wallet(info, node)
            if large:
                window.resize(1920, 1080)
            else:
                window.resize(1280, 800)
            window.show()
            application.processEvents()
            assert window.shell is not None
            began = time.perf_counter()
            window.shell.go("network")
            page = window.findChild(NetworkPage)
            assert page is not None
            _until(page.canvas.is_at_rest, application)
            found["first"].append(time.perf_counter() - began)
            _drive(page, application, hands, found)
            window.close()
            window.deleteLater()
            QApplication.processEvents()
            node.stop()
            host.stop()
    thread.stop()
    print(json.dumps(found), flush=True)
    # What is left of Qt is the system's to clear away.
    os._exit(0)


def _until(condition: Callable[[], bool], application: Any) -> None:
    end = time.monotonic() + WAIT_SECONDS
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("the picture was not painted")
        application.processEvents()


def _drive(page: Any, application: Any, hands: Any, found: dict[str, list[float]]) -> None:
    from PyQt6.QtCore import QPoint

    canvas = page.canvas
    draw = random.Random(1)
    hand = QPoint(canvas.width() // 2, canvas.height() // 2)
    for number in range(FRAMES):
        place = number % 30
        if place < 10:
            aim = QPoint(
                *(round(draw.uniform(0.3, 0.7) * side) for side in (canvas.width(), canvas.height()))
            )
            act = partial(hands.wheel, canvas, aim, 1 if number < FRAMES // 2 else -1)
        else:
            if place == 10:
                hands.hold(canvas, hand)
            hand += QPoint(draw.randint(-40, 40), draw.randint(-30, 30))
            act = partial(hands.move, canvas, hand)
        began, worked = time.perf_counter(), time.thread_time()
        act()
        canvas.repaint()
        found["frames"].append(1000 * (time.perf_counter() - began))
        # A frame is a slice as well: what the thread works before it hears the next event.
        found["slices"].append(1000 * (time.thread_time() - worked))
        application.processEvents()
        if place == 29:
            hands.let_go(canvas, hand)
            _until(canvas.is_at_rest, application)
            found["rest"].append(1000 * (time.perf_counter() - began))
    found["slices"] += [1000 * seconds for seconds in canvas.slices]
    for text in ("a", "acinq", "light", page.network.node_id(7)[:12], "no node is called so"):
        began = time.perf_counter()
        page.search.field.setText(text)
        application.processEvents()
        found["search"].append(1000 * (time.perf_counter() - began))


def _network(topology: Path | None) -> Topology:
    return synthetic() if topology is None else read_npz(topology)


def _moves_percent(network: Topology) -> list[float]:
    """How far nodes move when 2 % of the channels are replaced, as a share of the width."""
    from wallet.node.map_layout import lay_out

    draw = random.Random(1)
    links = [(a, b, capacity) for _scid, a, b, capacity in network.channels]

    def placed(kept: list[tuple[float, float] | None] | None) -> list[tuple[float, float]]:
        first, second, capacity = zip(*links, strict=True)
        return list(zip(*lay_out(network.node_ids, first, second, capacity, kept), strict=True))

    before = placed(None)
    for place in draw.sample(range(len(links)), len(links) // 50):
        a, b = draw.sample(range(len(network.node_ids)), 2)
        links[place] = (a, b, links[place][2])
    after = placed([*before])
    return [100 * hypot(new[0] - old[0], new[1] - old[1]) for new, old in zip(after, before, strict=True)]


def _run_child(topology: Path | None, *, large: bool) -> dict[str, list[float]]:
    argv = [sys.executable, "-m", "benchmarks.network_page", "--child", "large" if large else "usual"]
    if topology is not None:
        argv += ["--topology", str(topology)]
    screen = LARGE_SCREEN if large else USUAL_SCREEN
    with (
        tempfile.TemporaryDirectory(prefix="leyden-bench-home-") as home,
        startup.display(Path(home), screen) as environment,
    ):
        environment["XDG_DATA_HOME"] = home
        if large:
            environment["QT_SCALE_FACTOR"] = "2"
        done = subprocess.run(argv, env=environment, stdout=subprocess.PIPE, check=True, timeout=600)
    found: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return found


def run(topology: Path | None, say: Callable[[str], None]) -> list[Figure]:
    network = _network(topology)
    say(f"{len(network.node_ids)} nodes, {len(network.channels)} channels")
    usual, large = _run_child(topology, large=False), _run_child(topology, large=True)
    say(f"  longest frame {max(usual['frames']):.1f} ms, of 3840x2160 {max(large['frames']):.1f} ms")
    say(f"  first pictures: {', '.join(f'{seconds:.2f}' for seconds in usual['first'])} s")
    moves = _moves_percent(network)
    return [
        Figure(
            name="map: first picture, nothing kept", value=usual["first"][0], unit="s",
            target=FIRST_LIMIT_SECONDS, better="lower", samples=(usual["first"][0],),
        ),
        of_samples("map: first picture, kept", usual["first"][1:], "s", FIRST_LIMIT_SECONDS, "lower"),
        of_samples("map: frame at 1280x800", usual["frames"], "ms", FRAME_LIMIT_MS, "lower"),
        of_samples("map: frame at 3840x2160, scale 2", large["frames"], "ms", LARGE_FRAME_LIMIT_MS, "lower"),
        _longest("map: longest slice", usual["slices"], SLICE_LIMIT_MS),
        _longest("map: longest slice at 3840x2160, scale 2", large["slices"], LARGE_FRAME_LIMIT_MS),
        _longest("map: sharp after the last input", usual["rest"], REST_LIMIT_MS),
        _longest("map: sharp after the last input at 3840x2160, scale 2", large["rest"], LARGE_REST_LIMIT_MS),
        _longest("map: longest search", usual["search"], SEARCH_LIMIT_MS),
        Figure(
            name="map: nodes move, 2 % of channels new", value=median(moves), unit="% of width",
            target=MOVE_LIMIT_PERCENT, better="lower",
        ),
    ]  # fmt: skip


def _longest(name: str, samples: list[float], limit_ms: float) -> Figure:
    worst = max(samples)
    return Figure(
        name=name,
        value=worst,
        unit="ms",
        target=limit_ms,
        better="lower",
        samples=tuple(sorted(samples)[-20:]),
    )


def measure(folder: Path, say: Callable[[str], None], topology: Path | None = None) -> list[Figure]:
    """For `make bench`."""
    return run(topology, say)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.network_page", description=__doc__)
    parser.add_argument("--topology", type=Path)
    parser.add_argument("--child", choices=("usual", "large"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child is not None:
        _child(args.topology, args.child == "large")
        return
    print(table(run(args.topology, print)))


if __name__ == "__main__":
    main()
