"""A wallet in a window with its Network page open, told what to do as the daemon is.

It is started as `tests.real.leyden` starts a daemon. The window is Leyden's own, with a real node in it; only the way
in for commands is added. Without a display nothing is shown (`QT_QPA_PLATFORM=offscreen`), but all is painted.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, cast

# The commands that benchmarks ask for besides Leyden's own.
import benchmarks.counting_daemon as _commands  # noqa: F401
from wallet.node.api import Json, WalletInfo
from wallet.node.cli import parse
from wallet.node.commands import run
from wallet.node.futures import run_on
from wallet.node.rpc import Params, RpcServer

if TYPE_CHECKING:
    from wallet.node.node import Node

OPEN_SECONDS = 60
LISTEN_TO_SIGNALS_MS = 200
"""Python hears of a signal when it next has a line to run."""


def main(argv: list[str]) -> int:
    if not os.environ.get("DISPLAY"):
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
    from PyQt6.QtCore import QTimer

    from wallet.gui.app import make_application, make_window
    from wallet.gui.pages.network import NetworkPage
    from wallet.gui.preferences import Preferences
    from wallet.node.host import Host
    from wallet.node.interpreter import tune

    # As the window's process has it.
    tune()
    options = parse(argv).options
    application = make_application(["benchmark"])
    host = Host(options)
    window = make_window(host, options.network_name, Preferences())
    window.resize(1280, 800)
    window.show()
    info = WalletInfo(
        name=options.wallet_name, network=options.network_name, path=options.wallet_file, encrypted=False
    )
    opening = host.open(info, "")
    _until(opening.done, application.processEvents)
    node = cast("Node", opening.result())
    window.show_wallet(info, node)
    if window.shell is None:
        raise RuntimeError("the wallet is not shown")
    window.shell.go("network")
    page = window.findChild(NetworkPage)
    if page is None:
        raise RuntimeError("the Network page is not shown")
    _until(lambda: page.network is not None and page.canvas.is_at_rest(), application.processEvents)
    port = run_on(node.loop, RpcServer(options.network_dir, partial(_answer, node)).start()).result()
    print(f"commands are taken on port {port}", flush=True)
    listens = QTimer()
    listens.timeout.connect(lambda: None)
    listens.start(LISTEN_TO_SIGNALS_MS)
    signal.signal(signal.SIGTERM, lambda *_given: application.quit())
    application.exec()
    host.close().result(OPEN_SECONDS)
    sys.stdout.flush()
    # What is left of Qt is the system's to clear away.
    os._exit(0)


async def _answer(node: Node, method: str, params: Params) -> Json:
    """The wallet is loaded; whatever else is asked is a command for it."""
    return (
        True if method == "load_wallet" else await run(node, method, dict(cast("Mapping[str, Json]", params)))
    )


def _until(condition: Callable[[], bool], turn: Callable[[], None]) -> None:
    end = time.monotonic() + OPEN_SECONDS
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("the wallet was not opened")
        turn()


if __name__ == "__main__":
    main(sys.argv[1:])
