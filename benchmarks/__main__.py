"""`make bench`: all figures in one table, and in build/bench.json; exit code 1 where one is missed."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import (
    busy,
    gossip,
    graph,
    history,
    inputs,
    loopback,
    network_page,
    payments,
    route,
    simulation,
    startup,
)
from benchmarks.figures import Figure, table

RESULT = Path(__file__).resolve().parents[1] / "build" / "bench.json"
PARTS: dict[str, Callable[..., list[Figure]]] = {
    "payments": payments.measure,
    "loopback": loopback.measure,
    "busy": busy.measure,
    "history": history.measure,
    "startup": startup.measure,
    "route": route.measure,
    "gossip": gossip.measure,
    "graph": graph.measure,
    "simulation": simulation.measure,
    "network_page": network_page.measure,
}
ON_A_TOPOLOGY = ("startup", "route", "gossip", "graph", "simulation", "network_page")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all if left away")
    parser.add_argument(
        "--topology", type=Path, help=f"for {', '.join(ON_A_TOPOLOGY)}: a file, else one is made up"
    )
    parser.add_argument(
        "--history", type=inputs.count, default=history.COUNT, help="how many payments the part history makes"
    )
    args = parser.parse_args()
    if unknown := [name for name in args.parts if name not in PARTS]:
        parser.error(f"there is no part {unknown[0]}: {', '.join(PARTS)}")
    figures = []
    with inputs.refused(parser):
        for name in args.parts or PARTS:
            print(name, flush=True)
            with tempfile.TemporaryDirectory(prefix="leyden-bench-") as folder:
                given: dict[str, object] = {"topology": args.topology} if name in ON_A_TOPOLOGY else {}
                if name == "history":
                    given["count"] = args.history
                figures += PARTS[name](Path(folder), say=lambda line: print(line, flush=True), **given)
    print("\n" + table(figures))
    RESULT.parent.mkdir(exist_ok=True)
    machine = {
        "at": int(time.time()),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
    }
    RESULT.write_text(json.dumps([figure.to_json() | machine for figure in figures], indent=1) + "\n")
    return 0 if all(figure.ok for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
