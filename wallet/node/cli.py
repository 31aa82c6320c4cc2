"""The command line: options, commands, and how they reach a daemon.

Without a command the window opens (the caller's part). `create`, `restore`, `daemon`, `version` and `help` work
without a daemon; every other command goes, as it was typed, to the one of the chosen network folder, which knows how
to read it: so a command starts fast, because the core is not imported for it. Results are JSON, text is printed
plain; a mistake is one sentence on standard error and exit code 1.

As with Electrum, options of the program may stand before or after the command, and an argument that is `-`, `?` or
`:` is read from standard input, asked for, or asked for without showing it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from wallet.i18n import _
from wallet.node.api import CommandError, Json
from wallet.node.options import ALIAS_LENGTH, NETWORK_NAMES, NodeOptions, default_data_dir
from wallet.node.rpc_client import call_daemon, daemon_answers
from wallet.node.version import VERSION

if TYPE_CHECKING:
    import subprocess

    from wallet.chain.electrum.session import ServerAddress

__all__ = ["Invocation", "parse", "run_command"]

START_TIMEOUT_SECONDS = 60.0
END_TIMEOUT_SECONDS = 10.0
MAX_PORT = 65535
LINK_SCHEMES = ("bitcoin:", "lightning:")


@dataclass(frozen=True, slots=True)
class Invocation:
    """What a command line asks for.

    Attributes:
        command: None opens the window.
        arguments: of the command, as typed.
        password: None where none was given: then it is asked for, if it is needed and somebody is there.
        argv: all words as they were typed.
        tour, demo, link, shots: only the window reads them.
    """

    options: NodeOptions
    command: str | None
    arguments: tuple[str, ...]
    password: str | None
    rpc_port: int
    verbose: bool
    tour: bool
    demo: bool
    link: str | None
    shots: Path
    argv: tuple[str, ...] = ()


# --- options of the program ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Option:
    """Attributes: value: what its value is called, "" where it takes none. help: "" hides it."""

    names: tuple[str, ...]
    value: str = ""
    help: Callable[[], str] = lambda: ""


_OPTIONS = (
    _Option(("--regtest",), help=lambda: _("a test network of your own")),
    _Option(("--signet",), help=lambda: _("a public test network")),
    _Option(("--testnet4",), help=lambda: _("a public test network")),
    _Option(("--sandbox",), help=lambda: _("play money, within this program")),
    _Option(("--dir", "-D"), "DIR", lambda: _("the folder of all data")),
    _Option(("--wallet", "-w"), "NAME", lambda: _("which wallet, default_wallet if left away")),
    _Option(("--server",), "HOST:PORT:s|t", lambda: _("an Electrum server of your own; may be said again")),
    _Option(("--proxy",), "HOST:PORT", lambda: _("a SOCKS5 proxy, such as Tor's")),
    _Option(("--listen",), "HOST:PORT", lambda: _("take connections of Lightning peers")),
    _Option(("--alias",), "NAME", lambda: _("what the network calls a node that has public channels")),
    _Option(("--announce",), "HOST:PORT", lambda: _("where such a node can be reached; may be said again")),
    _Option(("--forward",), help=lambda: _("forward payments of others")),
    _Option(("--no-gossip-peers",), help=lambda: _("call no public nodes to learn of the network")),
    _Option(
        ("--first-peer",), "ID@HOST:PORT", lambda: _("learn of the network from this node; may be said again")
    ),
    _Option(("--no-keysend",), help=lambda: _("refuse payments that were not asked for")),
    _Option(("--rpcport",), "PORT", lambda: _("where the daemon takes commands; any free port if left away")),
    _Option(("--password", "-W"), "PASSWORD", lambda: _("asked for if it is needed and not given")),
    _Option(("--verbose", "-v"), help=lambda: _("say on standard error what happens")),
    _Option(("--help", "-h"), help=lambda: _("this list, or what a command does")),
    _Option(("--version",), help=lambda: _("show the version")),
    _Option(("--demo",)),
    _Option(("--tour",)),
    _Option(("--shots",), "DIR"),
)
_BY_NAME = {name: option for option in _OPTIONS for name in option.names}


def _split(argv: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Our options with their values, by their first name; and the words of the command. Raises `CommandError`."""
    given: dict[str, list[str]] = {}
    words: list[str] = []
    waiting = list(argv)
    while waiting:
        word = waiting.pop(0)
        if word == "--":
            words += [word, *waiting] if words else waiting
            break
        name, equals, value = word.partition("=")
        option = _BY_NAME.get(name)
        if option is None:
            if not words and word.startswith("-") and word != "-":
                raise _usage(
                    _("There is no option {option}. `leyden --help` lists them.").format(option=name)
                )
            words.append(word)
            continue
        if not option.value:
            if equals:
                raise _usage(_("{option} takes no value.").format(option=name))
        elif not equals:
            if not waiting:
                raise _usage(_("{option} wants a value: {value}.").format(option=name, value=option.value))
            value = waiting.pop(0)
        given.setdefault(option.names[0], []).append(value)
    return given, words


def _usage(sentence: str) -> CommandError:
    return CommandError(sentence, code="usage")


def _port(text: str, *, least: int) -> int | None:
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MAX_PORT))):
        return None
    return int(text) if least <= int(text) <= MAX_PORT else None


def _host_port(text: str, what: str, *, least: int) -> tuple[str, int]:
    host, colon, port_text = text.rpartition(":")
    port = _port(port_text, least=least)
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not colon or not bare or port is None or len(bare) > 255 or not bare.isprintable() or " " in bare:
        raise _usage(_("{what} is to be host:port, not {text!r}.").format(what=what, text=text[:80]))
    return bare, port


def _alias(text: str) -> str:
    length = len(text.encode("utf-8", "surrogateescape"))
    if length > ALIAS_LENGTH or not text.isprintable():
        raise _usage(
            _("--alias is to be a name of at most {most} bytes; {text!r} has {length}.").format(
                most=ALIAS_LENGTH, text=text, length=length
            )
        )
    return text


def _announced(texts: Sequence[str]) -> tuple[str, ...]:
    if not texts:
        return ()
    from wallet.bitcoin.errors import DecodeError
    from wallet.ln.msgs import SocketAddress

    try:
        return tuple(str(SocketAddress.parse(text)) for text in texts)
    except DecodeError as error:
        raise _usage(f"--announce: {error}") from None


def _first_peers(texts: Sequence[str]) -> tuple[str, ...]:
    if not texts:
        return ()
    from wallet.bitcoin.errors import DecodeError
    from wallet.node.sockets import parse_node_uri

    for text in texts:
        try:
            # As it stands: where no port is named, the network's own one is meant.
            parse_node_uri(text)
        except DecodeError as error:
            raise _usage(f"--first-peer: {error}") from None
    return tuple(texts)


def _servers(texts: Sequence[str]) -> tuple[ServerAddress, ...]:
    if not texts:
        return ()
    from wallet.bitcoin.errors import DecodeError
    from wallet.chain.electrum.session import ServerAddress

    try:
        return tuple(ServerAddress.parse(text) for text in texts)
    except DecodeError as error:
        raise _usage(str(error)) from None


def parse(argv: Sequence[str]) -> Invocation:
    """Reads a command line; raises `CommandError`."""
    given, words = _split(argv)
    last = {name: values[-1] for name, values in given.items()}
    networks = [name for name in NETWORK_NAMES if f"--{name}" in given]
    if len(networks) > 1:
        raise _usage(_("Choose one network: {names}.").format(names=", ".join(f"--{n}" for n in networks)))
    command: str | None = words[0] if words else None
    arguments = tuple(words[1:])
    link: str | None = None
    if command is not None and command.lower().startswith(LINK_SCHEMES):
        link = command
        command = None
    if "--version" in given:
        command, arguments = "version", ()
    if "--help" in given:
        arguments = tuple(words[:1])
        command = "help"
    for name in ("--dir", "--shots"):
        if name in last and not (last[name] and last[name].isprintable()):
            raise _usage(_("{option} is to be a folder, not {text!r}.").format(option=name, text=last[name]))
    rpc_port = _port(last.get("--rpcport", "0"), least=0)
    if rpc_port is None:
        raise _usage(_("--rpcport is to be a number from 1 to {most}.").format(most=MAX_PORT))
    servers = _servers(given.get("--server", ()))
    name = last.get("--wallet", "default_wallet")
    options = NodeOptions(
        network_name=networks[0] if networks else "mainnet",
        root=Path(last["--dir"]).absolute() if "--dir" in last else default_data_dir(),
        wallet_name=name,
        servers=servers,
        single_server_ok=len(servers) == 1,
        listen=_host_port(last["--listen"], "--listen", least=0) if "--listen" in last else None,
        proxy=_host_port(last["--proxy"], "--proxy", least=1) if "--proxy" in last else None,
        alias=_alias(last.get("--alias", "")),
        announce=_announced(given.get("--announce", ())),
        call_gossip_peers="--no-gossip-peers" not in given,
        first_peers=_first_peers(given.get("--first-peer", ())),
    )
    if "--forward" in given:
        config = replace(options.user_config, accept_forwards=True, accept_forwards_to_priv_channels=True)
        options = replace(options, user_config=config)
    if "--no-keysend" in given:
        options = replace(options, user_config=replace(options.user_config, accept_keysend=False))
    if "--wallet" in last:
        from wallet.node.wallets import check_wallet_name

        check_wallet_name(name)
    return Invocation(
        options=options,
        command=command,
        arguments=arguments,
        password=last.get("--password"),
        rpc_port=rpc_port,
        verbose="--verbose" in given,
        tour="--tour" in given,
        demo="--demo" in given,
        link=link,
        shots=Path(last.get("--shots", "demo-shots")),
        argv=tuple(argv),
    )


# --- running ---------------------------------------------------------------------------


def run_command(invocation: Invocation) -> int:
    """Runs a command and prints its result; the process's exit code. Raises `CommandError`."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character gets a question mark, not a traceback.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        code = _dispatch(invocation)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read has gone (`leyden history | head`). What is still in the buffer goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        raise CommandError(
            _("The system refused{where}: {why}.").format(where=where, why=error.strerror or error),
            code="system",
        ) from None
    return code


def _dispatch(invocation: Invocation) -> int:
    match invocation.command:
        case "create":
            return _create(invocation)
        case "restore":
            return _restore(invocation)
        case "daemon":
            return _daemon(invocation)
        case "version":
            _print(VERSION)
            return 0
        case "help" | None:
            return _help(invocation)
        case "stop" | "load_wallet" | "close_wallet" | "list_wallets":
            return _daemon_command(invocation, invocation.command)
        case _:
            return _remote(invocation, invocation.command)


def _print(result: Json) -> None:
    if isinstance(result, str):
        print(result)
    elif isinstance(result, bool):
        print("true" if result else "false")
    else:
        print(json.dumps(result, indent=4, ensure_ascii=False))


def _somebody_there() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _ask_hidden(prompt: str) -> str:
    import getpass

    try:
        return getpass.getpass(prompt)
    except EOFError:
        raise CommandError(_("Nothing was typed."), code="usage") from None


def _ask_password(invocation: Invocation, *, new: bool) -> str:
    """What was given on the command line; else asked for where a person is there to answer."""
    if invocation.password is not None:
        return invocation.password
    if not _somebody_there():
        return ""
    password = _ask_hidden(_("Password (empty for none): ") if new else _("Password: "))
    if new and password and _ask_hidden(_("The same again: ")) != password:
        raise CommandError(_("The two passwords differ. Nothing was made."), code="password")
    return password


def _existing_password(invocation: Invocation) -> str:
    """The password of a wallet that is there, asked for only if it has one."""
    if invocation.password is not None or not _somebody_there():
        return invocation.password or ""
    from wallet.node.store import Store, StoreError

    try:
        needed = Store.is_encrypted(invocation.options.wallet_file)
    except StoreError:
        # The daemon says what is wrong with it.
        needed = False
    return _ask_password(invocation, new=False) if needed else ""


def _filled_in(words: Sequence[str]) -> list[str]:
    """Arguments that are not for everybody's eyes: `-` is read from standard input, `?` is asked for, `:` is asked
    for without showing it."""
    filled = []
    for word in words:
        try:
            if word == "-":
                word = "" if sys.stdin is None else sys.stdin.read().strip()
            elif word == "?":
                word = input(_("Argument: "))
            elif word == ":":
                word = _ask_hidden(_("Argument (not shown): "))
        except (EOFError, UnicodeDecodeError):
            raise CommandError(_("What was typed could not be read."), code="usage") from None
        filled.append(word)
    return filled


def _no_more(name: str, words: Sequence[str]) -> None:
    if words:
        raise _usage(
            _("{name} does not know {word!r}. It is used so: {usage}").format(
                name=name, word=words[0][:40], usage=LOCAL_COMMANDS[name][0]
            )
        )


# --- wallets ---------------------------------------------------------------------------


def _create(invocation: Invocation) -> int:
    from wallet.node.wallets import check_new_wallet, create_wallet_file, new_words

    longer = "--words24" in invocation.arguments
    _no_more("create", [word for word in invocation.arguments if word != "--words24"])
    check_new_wallet(invocation.options)
    words = new_words(24 if longer else 12)
    create_wallet_file(invocation.options, words, _ask_password(invocation, new=True))
    _print(
        {
            "seed": " ".join(words),
            "path": str(invocation.options.wallet_file),
            "msg": _(
                "Write these words down on paper, in this order. They bring back your on-chain coins; open channels "
                "need the channel backup too."
            ),
        }
    )
    return 0


def _restore(invocation: Invocation) -> int:
    from wallet.node.wallets import Restored, check_new_wallet, check_words, create_wallet_file

    check_new_wallet(invocation.options)
    backup_file, stopped, rest = _restore_options(invocation.arguments)
    words = " ".join(_filled_in(rest)).split()
    report = check_words(words)
    if not report.usable:
        raise CommandError(report.message, code="words")
    backup = None
    if backup_file is not None:
        from wallet.node.backup import BackupError, read_file

        try:
            backup = read_file(Path(backup_file).expanduser())
        except BackupError as error:
            raise CommandError(str(error), code="backup") from None
        stopped = stopped or (_somebody_there() and _old_installation_stopped())
    restored = Restored(backup=backup, old_installation_stopped=stopped)
    create_wallet_file(invocation.options, words, _ask_password(invocation, new=True), restored)
    message = report.message
    if backup is not None and stopped:
        message = _(
            "The peers of your channels are asked to close them as soon as this wallet runs. `leyden recovery_report` "
            "shows how far that is, and what comes back when."
        )
    elif backup is not None:
        message = _(
            "No peer is called before you say that no other copy of this wallet is running: `leyden "
            "old_installation_stopped`. Then they are asked to close your channels, and `leyden recovery_report` shows "
            "how far that is."
        )
    _print({"path": str(invocation.options.wallet_file), "msg": message})
    return 0


def _restore_options(arguments: Sequence[str]) -> tuple[str | None, bool, list[str]]:
    """The backup's file, whether the old installation has stopped, and the words."""
    backup_file: str | None = None
    stopped = False
    words: list[str] = []
    waiting = list(arguments)
    while waiting:
        word = waiting.pop(0)
        name, equals, value = word.partition("=")
        if name == "--backup":
            if not equals:
                if not waiting:
                    raise _usage(_("{option} wants a value: {value}.").format(option=name, value="FILE"))
                value = waiting.pop(0)
            backup_file = value
        elif word.replace("-", "_") == "__old_installation_stopped":
            stopped = True
        elif word.startswith("--"):
            _no_more("restore", [word])
        else:
            words.append(word)
    return backup_file, stopped, words


def _old_installation_stopped() -> bool:
    """Asks; two copies of a wallet that talk to the same peers get each other's channels closed."""
    print(
        _(
            "Is another copy of this wallet still running, here or on another computer? Its channels would be closed. "
            "Type {word} if the old one has stopped for good; anything else waits with calling its peers."
        ).format(word="stopped"),
        file=sys.stderr,
    )
    try:
        return input().strip().lower() == "stopped"
    except EOFError:
        return False


# --- the daemon ------------------------------------------------------------------------


def _daemon(invocation: Invocation) -> int:
    detach = any(word in ("-d", "--detach") for word in invocation.arguments)
    _no_more("daemon", [word for word in invocation.arguments if word not in ("-d", "--detach")])
    if daemon_answers(invocation.options.network_dir):
        raise CommandError(_("A daemon is running here already."), code="running")
    if detach:
        return _detach(invocation)
    import asyncio
    import logging

    from wallet.node.daemon import Daemon
    from wallet.node.interpreter import tune

    logging.basicConfig(
        level=logging.DEBUG if invocation.verbose else logging.WARNING,
        format="%(asctime)s %(levelname).1s %(name)s: %(message)s",
    )
    tune()
    asyncio.run(Daemon(invocation.options).serve(rpc_port=invocation.rpc_port))
    return 0


def _detach(invocation: Invocation) -> int:
    """Starts the daemon as a process of its own, and returns once it takes commands."""
    import subprocess

    from wallet.node.wallets import folder_refused, make_folder

    folder = invocation.options.network_dir
    arguments = [word for word in invocation.argv if word not in ("-d", "--detach")]
    try:
        make_folder(folder)
        # It names peers and channels: for its owner alone, whoever may look into the folder.
        log = os.fdopen(os.open(folder / "daemon.log", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "ab+")
    except OSError as error:
        raise folder_refused(folder, error) from None
    with log:
        begin = log.seek(0, os.SEEK_END)
        process = subprocess.Popen(
            [sys.executable, *(() if getattr(sys, "frozen", False) else ("-m", "wallet")), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
        line = _first_line(process)
        if not line:
            log.seek(begin)
            said = log.read().decode(errors="replace").strip().splitlines()
            raise CommandError(
                _("The daemon did not start: {why}").format(why=said[-1] if said else _("it ended at once.")),
                code="daemon",
            )
    _print(line)
    return 0


def _first_line(process: subprocess.Popen[bytes]) -> str:
    """What the daemon says once it takes commands; "" if it ends without, or takes too long and is ended."""
    import subprocess
    import threading

    said: list[bytes] = []
    reader = threading.Thread(
        target=lambda: said.append(b"" if process.stdout is None else process.stdout.readline()), daemon=True
    )
    reader.start()
    reader.join(START_TIMEOUT_SECONDS)
    line = said[0].decode(errors="replace").strip() if said else ""
    if not line:
        process.terminate()
        try:
            process.wait(END_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
    return line


def _daemon_command(invocation: Invocation, name: str) -> int:
    """What the daemon itself does, with or without a wallet."""
    _no_more(name, invocation.arguments)
    params: dict[str, Json] = {}
    if name in ("load_wallet", "close_wallet"):
        params["wallet"] = invocation.options.wallet_name
    if name == "load_wallet":
        params["password"] = _existing_password(invocation)
    _print(call_daemon(invocation.options.network_dir, name, params))
    return 0


# --- commands of a wallet --------------------------------------------------------------


def _remote(invocation: Invocation, name: str) -> int:
    words: list[Json] = list(_filled_in(invocation.arguments))
    plain_name = name.replace("-", "_")
    if plain_name in FILE_COMMANDS:
        # The daemon has another folder under its feet.
        words = [_whole_path(str(word)) for word in words]
    if plain_name in PASSWORD_COMMANDS and (password := _existing_password(invocation)):
        words.append(f"--password={password}")
    elif invocation.password is not None and plain_name not in PASSWORD_COMMANDS:
        raise _usage(_("{name} needs no password.").format(name=name))
    try:
        result = call_daemon(
            invocation.options.network_dir, "command_line", {"command": name, "words": words}
        )
    except CommandError as error:
        if error.code == "no_daemon":
            _check_command(name)
        raise
    _print(result)
    return 0


def _check_command(name: str) -> None:
    """Without a daemon to ask: whether there is such a command at all. Raises `CommandError`."""
    from wallet.node.manual import look_up, manual

    look_up(manual(), name)


def _whole_path(word: str) -> str:
    is_path = word and not word.startswith("-") and "://" not in word
    return str(Path(word).expanduser().absolute()) if is_path else word


PASSWORD_COMMANDS = frozenset({"getseed", "change_password"})
FILE_COMMANDS = frozenset(
    {
        "export_channel_backup",
        "export_history",
        "export_labels",
        "import_channel_backup",
        "import_graph",
        "import_labels",
        "set_backup_folder",
    }
)
LOCAL_COMMANDS: dict[str, tuple[str, Callable[[], str]]] = {
    "create": ("create [--words24]", lambda: _("Makes a new wallet and shows its words.")),
    "restore": (
        "restore [--backup FILE] [--old_installation_stopped] WORDS",
        lambda: _(
            "Makes a wallet of words that you have, and of a channel backup. `restore :` asks for the words and does "
            "not show them. Never put back an older copy of the wallet file, or of Leyden's folder, instead: coins in "
            "channels could be lost, and where the whole folder was put back, nobody can notice."
        ),
    ),
    "daemon": (
        "daemon [-d]",
        lambda: _("Runs without a window and takes commands; with -d in the background."),
    ),
    "version": ("version", lambda: _("Shows Leyden's version.")),
    "help": ("help [COMMAND]", lambda: _("Lists the commands, or explains one.")),
    "stop": ("stop", lambda: _("Ends the daemon, once everything is on disk.")),
    "load_wallet": ("load_wallet [-w NAME]", lambda: _("Opens a wallet in the daemon.")),
    "close_wallet": ("close_wallet [-w NAME]", lambda: _("Closes the daemon's wallet.")),
    "list_wallets": ("list_wallets", lambda: _("Lists the wallets that the daemon has open.")),
}


def _help(invocation: Invocation) -> int:
    if invocation.arguments:
        name = invocation.arguments[0]
        if name in LOCAL_COMMANDS:
            usage, text = LOCAL_COMMANDS[name]
            print(f"leyden {usage}\n\n{text()}")
            return 0
    from wallet.node.manual import look_up, manual

    commands = manual()
    if invocation.arguments:
        found = look_up(commands, invocation.arguments[0])
        print(f"leyden {found.usage}\n\n{found.help}")
        return 0
    print(_("leyden [OPTIONS] [COMMAND]: a Lightning wallet. Without a command, its window opens."))
    print("\n" + _("Options:"))
    for option in _OPTIONS:
        if text_of := option.help():
            names = ", ".join(option.names) + (f" {option.value}" if option.value else "")
            print(f"  {names:28} {text_of}")
    print("\n" + _("Commands:"))
    lines = {name: text() for name, (_usage_line, text) in LOCAL_COMMANDS.items()}
    lines |= {name: next(iter(found.help.splitlines()), "") for name, found in commands.items()}
    for name, line in sorted(lines.items()):
        print(f"  {name:28} {line}")
    return 0
