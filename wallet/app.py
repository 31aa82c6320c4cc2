"""Composition: the one module that knows everybody. The command `leyden` begins here."""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from wallet.node.api import CommandError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wallet.node.cli import Invocation
    from wallet.node.options import NodeOptions
    from wallet.sandbox.host import SandboxHost

__all__ = ["main"]

DEMO_COINS_SAT = 10_000_000


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command, or opens the window; the exit code. A mistake is one sentence, never a traceback."""
    from wallet.node import cli

    try:
        invocation = cli.parse(sys.argv[1:] if argv is None else argv)
        if invocation.command is not None:
            return cli.run_command(invocation)
        return _window(invocation)
    except CommandError as error:
        print(error.message, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _has_display() -> bool:
    """Whether a window can open: elsewhere than on Linux always."""
    named = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    return not sys.platform.startswith("linux") or any(os.environ.get(name) for name in named)


def _tour(invocation: Invocation) -> int:
    """The window walks by itself, in a folder of its own that goes afterwards."""
    from wallet.gui.tour import run_tour
    from wallet.sandbox.host import SandboxHost

    with tempfile.TemporaryDirectory(prefix="leyden-tour-") as folder:
        host = SandboxHost(replace(invocation.options, root=Path(folder)))
        return run_tour(host, "sandbox", invocation.shots)


def _demo(options: NodeOptions) -> SandboxHost:
    """The sandbox with a wallet that has coins already: the first start makes both."""
    from wallet.sandbox.host import SandboxHost

    host = SandboxHost(options, first_coins_sat=DEMO_COINS_SAT)
    if not host.wallets("sandbox"):
        made = host.create(
            network="sandbox", name="Practice", words=host.new_words(), password="", restored=False
        )
        made.result()
    return host


def _window(invocation: Invocation) -> int:
    from wallet.gui.app import run_gui
    from wallet.node import warm_up
    from wallet.node.interpreter import tune
    from wallet.sandbox.every import EveryHost
    from wallet.single import OneWindow

    tune()
    options = invocation.options
    single = OneWindow(options.root / options.network_name, invocation.link or "")
    if options.network_name == "sandbox":
        from wallet.sandbox.host import SandboxHost

        if invocation.tour or (invocation.demo and not _has_display()):
            return _tour(invocation)
        host = _demo(options) if invocation.demo else SandboxHost(options)
        return run_gui(host, "sandbox", sys.argv, single=single, after_paint=warm_up.begin)
    if not _has_display():
        raise CommandError(
            "There is no display for a window here. `leyden help` lists the commands.", code="display"
        )
    every = EveryHost(options)
    return run_gui(every, options.network_name, sys.argv, single=single, after_paint=warm_up.begin)
