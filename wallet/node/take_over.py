"""Taking a wallet over from a daemon of this computer: asked over its own control channel, and never forced.

The lock of the wallet's folder decides who has it. The daemon lets go of it once everything is durable, and only then
is the wallet opened here; a daemon that is silent or slow keeps it.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from wallet.i18n import _, ngettext
from wallet.node.api import CommandError
from wallet.node.rpc_client import PING_TIMEOUT_SECONDS, call_daemon
from wallet.node.wallets import check_password, lock_wallet

if TYPE_CHECKING:
    from wallet.node.options import NodeOptions

__all__ = ["TAKE_OVER_SECONDS", "daemon_holds", "held_by_daemon", "take_over"]

TAKE_OVER_SECONDS = 60
LOOK_AGAIN_SECONDS = 0.1


def daemon_holds(options: NodeOptions) -> bool:
    """Whether a daemon of this network folder answers, and has this very wallet open."""
    try:
        found = call_daemon(options.network_dir, "list_wallets", {}, timeout_seconds=PING_TIMEOUT_SECONDS)
    except CommandError:
        return False
    ours = options.wallet_file.resolve()
    return isinstance(found, list) and any(
        isinstance(item, dict) and Path(str(item.get("path", ""))).resolve() == ours for item in found
    )


def held_by_daemon() -> CommandError:
    return CommandError(
        _("A Leyden daemon on this computer has this wallet open. This window can take it over."),
        code="daemon",
    )


def take_over(options: NodeOptions, password: str, *, limit_seconds: int = TAKE_OVER_SECONDS) -> None:
    """Has the daemon close the wallet, and waits until its lock is free; raises `CommandError`.

    The password is looked at first: a mistyped one would leave the wallet open nowhere. Its code is "busy" where the
    daemon may still do it.
    """
    check_password(options, password)
    end = time.monotonic() + limit_seconds
    gone = False
    try:
        call_daemon(
            options.network_dir,
            "close_wallet",
            {"wallet": options.wallet_name},
            timeout_seconds=limit_seconds,
        )
    except CommandError as error:
        # One that is stopping closes the wallet too. One that says nothing any more may have ended: the lock tells.
        if error.code not in ("no_daemon", "stopping"):
            raise
        gone = error.code == "no_daemon"
    while True:
        try:
            lock_wallet(options).release()
        except CommandError as error:
            if error.code != "locked":
                raise
        else:
            return
        if gone and not daemon_holds(options):
            raise CommandError(
                _(
                    "The daemon does not answer any more, and another Leyden still has this wallet open. Nothing was "
                    "forced. Close that one, or wait until it has ended, then try again."
                ),
                code="locked",
            )
        if time.monotonic() >= end:
            raise CommandError(
                ngettext(
                    "The daemon has not closed the wallet within {count} second: it may still be saving. Nothing "
                    "was forced. Try again in a minute, or end the daemon with `leyden stop`.",
                    "The daemon has not closed the wallet within {count} seconds: it may still be saving. Nothing "
                    "was forced. Try again in a minute, or end the daemon with `leyden stop`.",
                    limit_seconds,
                ).format(count=limit_seconds),
                code="busy",
            )
        time.sleep(LOOK_AGAIN_SECONDS)
