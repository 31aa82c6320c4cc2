"""Composition: the one module that knows everybody. The command `leyden` begins here."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from wallet.node.api import CommandError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wallet.node.cli import Invocation

__all__ = ["main"]


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


def _window(invocation: Invocation) -> int:
    from wallet.gui.app import run_gui
    from wallet.node.host import Host

    sys.setswitchinterval(0.0005)
    options = invocation.options
    if options.network_name == "sandbox":
        from wallet.sandbox.host import SandboxHost

        host = SandboxHost(options)
        if invocation.tour:
            from wallet.gui.tour import run_tour

            return run_tour(host, "sandbox", invocation.shots)
        return run_gui(host, "sandbox", sys.argv)
    return run_gui(Host(options), options.network_name, sys.argv)
