"""The command line: options, commands, and how they reach a daemon.

Without a command the window opens (the caller's part). `create`, `restore`, `daemon`, `version` and `help` work
without a daemon; every other command goes to the one of the chosen network folder. Results are JSON, text is printed
plain; a mistake is one sentence on standard error and exit code 1.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from wallet.bitcoin import bip39
from wallet.bitcoin.errors import DecodeError
from wallet.chain.electrum.session import ServerAddress
from wallet.i18n import _
from wallet.node.api import CommandError, Json
from wallet.node.options import NodeOptions, default_data_dir
from wallet.node.version import VERSION

__all__ = ["Invocation", "parse", "run_command"]

DAEMON_COMMANDS = frozenset({"stop", "load_wallet", "list_wallets"})
START_TIMEOUT_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Invocation:
    """What a command line asks for.

    Attributes:
        command: None opens the window.
        arguments: of the command, as typed.
        rest: options that only the window reads (`--demo`, `--tour`, a link).
    """

    options: NodeOptions
    command: str | None
    arguments: tuple[str, ...]
    password: str
    rpc_port: int
    verbose: bool
    tour: bool
    demo: bool
    link: str | None
    shots: Path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="leyden", description=_("A Lightning wallet. Without a command, its window opens.")
    )
    network = parser.add_mutually_exclusive_group()
    for name in ("regtest", "signet", "testnet4", "sandbox"):
        network.add_argument(f"--{name}", dest="network", action="store_const", const=name)
    parser.set_defaults(network="mainnet")
    parser.add_argument("-D", "--dir", type=Path, metavar="DIR", help=_("the folder of all data"))
    parser.add_argument("-w", "--wallet", default="default_wallet", metavar="NAME")
    parser.add_argument(
        "--server",
        action="append",
        default=[],
        metavar="HOST:PORT:s|t",
        help=_("an Electrum server of your own"),
    )
    parser.add_argument("--proxy", metavar="HOST:PORT", help=_("a SOCKS5 proxy, such as Tor's"))
    parser.add_argument("--listen", metavar="HOST:PORT", help=_("take connections of Lightning peers"))
    parser.add_argument("--forward", action="store_true", help=_("forward payments of others"))
    parser.add_argument("--rpcport", type=int, default=0)
    parser.add_argument("--password", default=None, help=_("asked for if it is needed and not given"))
    parser.add_argument("-v", "--verbose", action="store_true")
    parser.add_argument("--demo", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--tour", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--shots", type=Path, default=Path("demo-shots"), help=argparse.SUPPRESS)
    parser.add_argument("command", nargs="?")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    return parser


def _host_port(text: str, what: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or not 0 <= int(port) < 65536:
        raise CommandError(
            _("{what} is to be host:port, not {text!r}.").format(what=what, text=text), code="usage"
        )
    return host.strip("[]"), int(port)


def parse(argv: Sequence[str]) -> Invocation:
    """Reads a command line; raises `CommandError`, or `SystemExit` for --help and unknown options."""
    space, trailing = _parser().parse_known_args(list(argv))
    try:
        servers = tuple(ServerAddress.parse(text) for text in space.server)
    except DecodeError as error:
        raise CommandError(str(error), code="usage") from None
    if trailing and space.command is None:
        raise CommandError(_("There is no option {option}.").format(option=trailing[0]), code="usage")
    link = None
    command = space.command
    if command is not None and command.lower().startswith(("bitcoin:", "lightning:")):
        link, command = command, None
    options = NodeOptions(
        network_name=space.network,
        root=space.dir if space.dir is not None else default_data_dir(),
        wallet_name=space.wallet,
        servers=servers,
        single_server_ok=len(servers) == 1,
        listen=_host_port(space.listen, "--listen") if space.listen else None,
        proxy=_host_port(space.proxy, "--proxy") if space.proxy else None,
    )
    if space.forward:
        config = replace(options.user_config, accept_forwards=True, accept_forwards_to_priv_channels=True)
        options = replace(options, user_config=config)
    if "/" in space.wallet or space.wallet in ("", ".", ".."):
        raise CommandError(_("A wallet's name has no slashes in it."), code="usage")
    return Invocation(
        options=options,
        command=command,
        arguments=tuple(trailing + space.arguments),
        password=space.password or "",
        rpc_port=space.rpcport,
        verbose=space.verbose,
        tour=space.tour,
        demo=space.demo,
        link=link,
        shots=space.shots,
    )


def run_command(invocation: Invocation) -> int:
    """Runs a command and prints its result; the process's exit code. Raises `CommandError`."""
    logging.basicConfig(
        level=logging.DEBUG if invocation.verbose else logging.WARNING,
        format="%(asctime)s %(levelname).1s %(name)s: %(message)s",
    )
    match invocation.command:
        case "create":
            return _create(invocation)
        case "restore":
            return _restore(invocation)
        case "daemon":
            return _daemon(invocation)
        case "version":
            print(VERSION)
            return 0
        case "help" | None:
            return _help(invocation)
        case _:
            return _remote(invocation)


def _print(result: Json) -> None:
    if isinstance(result, str):
        print(result)
    elif isinstance(result, bool):
        print("true" if result else "false")
    else:
        print(json.dumps(result, indent=4, ensure_ascii=False))


def _ask_password(invocation: Invocation, *, new: bool) -> str:
    """What was given on the command line; else asked for where a person is there to answer."""
    if invocation.password or not sys.stdin.isatty():
        return invocation.password
    import getpass

    password = getpass.getpass(_("Password (empty for none): ") if new else _("Password: "))
    if new and password and getpass.getpass(_("The same again: ")) != password:
        raise CommandError(_("The two passwords differ. Nothing was made."), code="password")
    return password


def _create(invocation: Invocation) -> int:
    from wallet.node.host import create_wallet_file

    count = 24 if "--words24" in invocation.arguments else 12
    words = bip39.mnemonic_from_entropy(os.urandom(32 if count == 24 else 16))
    create_wallet_file(invocation.options, words.split(), _ask_password(invocation, new=True))
    _print(
        {
            "seed": words,
            "path": str(invocation.options.wallet_file),
            "msg": _(
                "Write these words down on paper, in this order. They bring back your on-chain coins; open channels "
                "need the channel backup too."
            ),
        }
    )
    return 0


def _restore(invocation: Invocation) -> int:
    from wallet.node.host import check_words, create_wallet_file

    words = " ".join(invocation.arguments).split()
    report = check_words(words)
    if not report.usable:
        raise CommandError(report.message, code="words")
    create_wallet_file(invocation.options, words, _ask_password(invocation, new=True))
    _print({"path": str(invocation.options.wallet_file), "msg": report.message})
    return 0


# --- the daemon ------------------------------------------------------------------------


def _daemon(invocation: Invocation) -> int:
    from wallet.node.rpc import daemon_answers

    folder = invocation.options.network_dir
    if daemon_answers(folder):
        raise CommandError(_("A daemon is running here already."), code="running")
    if "-d" in invocation.arguments or "--detach" in invocation.arguments:
        return _detach(invocation)
    from wallet.node.daemon import Daemon

    _tune()
    asyncio.run(Daemon(invocation.options).serve(rpc_port=invocation.rpc_port))
    return 0


def _tune() -> None:
    """The interpreter's switch interval: a thread that gave up the GIL gets it back soon."""
    sys.setswitchinterval(0.0005)


def _detach(invocation: Invocation) -> int:
    """Starts the daemon as a process of its own, and returns once it answers."""
    import subprocess

    folder = invocation.options.network_dir
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    arguments = [argument for argument in sys.argv[1:] if argument not in ("-d", "--detach")]
    with (folder / "daemon.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "wallet", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
    assert process.stdout is not None  # noqa: S101 - asked for with PIPE
    line = process.stdout.readline().decode()
    if not line:
        last = (folder / "daemon.log").read_text(errors="replace").strip().splitlines()
        raise CommandError(
            _("The daemon did not start: {why}").format(why=last[-1] if last else _("it ended at once")),
            code="daemon",
        )
    print(line.strip())
    return 0


# --- commands of a wallet ------------------------------------------------------------------


def _help(invocation: Invocation) -> int:
    from wallet.node.commands import COMMANDS

    if invocation.arguments:
        found = COMMANDS.get(invocation.arguments[0])
        if found is None:
            raise CommandError(
                _("There is no command {name!r}.").format(name=invocation.arguments[0]), code="usage"
            )
        print(f"leyden {found.usage()}\n\n{found.help}")
        return 0
    print(_("Commands that need no daemon: create, restore, daemon [-d], version, help [COMMAND]"))
    print(_("Commands of the daemon: stop, load_wallet, list_wallets"))
    print(_("Commands of the wallet that is loaded:"))
    for name, found in sorted(COMMANDS.items()):
        print(f"  {name:24} {found.help.splitlines()[0]}")
    return 0


def _remote(invocation: Invocation) -> int:
    from wallet.node.rpc import call_daemon

    name = invocation.command or ""
    folder = invocation.options.network_dir
    if name in DAEMON_COMMANDS:
        params: dict[str, Json] = {}
        if name == "load_wallet":
            params = {"wallet": invocation.options.wallet_name, "password": _load_password(invocation)}
        _print(call_daemon(folder, name, params))
        return 0
    params = _arguments(name, invocation.arguments)
    if name == "getseed" and "password" not in params:
        params["password"] = _ask_password(invocation, new=False)
    _print(call_daemon(folder, name, params))
    return 0


def _load_password(invocation: Invocation) -> str:
    from wallet.node.store import Store, StoreError

    if invocation.password:
        return invocation.password
    try:
        return (
            _ask_password(invocation, new=False) if Store.is_encrypted(invocation.options.wallet_file) else ""
        )
    except StoreError:
        return ""


def _arguments(name: str, typed: Sequence[str]) -> dict[str, Json]:
    """The arguments of a command, by name; raises `CommandError`."""
    from wallet.node.commands import COMMANDS

    found = COMMANDS.get(name)
    if found is None:
        raise CommandError(
            _("There is no command {name!r}. `leyden help` lists them.").format(name=name), code="usage"
        )
    places = [parameter for parameter in found.parameters if not parameter.keyword_only]
    named = {parameter.name: parameter for parameter in found.parameters}
    params: dict[str, Json] = {}
    waiting = list(typed)
    while waiting:
        word = waiting.pop(0)
        if word.startswith("--"):
            key, equals, value = word[2:].partition("=")
            key = key.replace("-", "_")
            parameter = named.get(key)
            if parameter is None:
                raise CommandError(
                    _("{name} has no option {option}. It is used so: {usage}").format(
                        name=name, option=word, usage=found.usage()
                    ),
                    code="usage",
                )
            if equals:
                params[key] = value
            elif parameter.kind == "bool":
                params[key] = True
            elif waiting:
                params[key] = waiting.pop(0)
            else:
                raise CommandError(_("{option} wants a value.").format(option=word), code="usage")
            continue
        place = next((p for p in places if p.name not in params), None)
        if place is None:
            raise CommandError(
                _("{name} takes no more than {count} values. It is used so: {usage}").format(
                    name=name, count=len(places), usage=found.usage()
                ),
                code="usage",
            )
        params[place.name] = word
    return params
