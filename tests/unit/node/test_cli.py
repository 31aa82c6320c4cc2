"""The command line: every mistake is one sentence on standard error and exit code 1."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from wallet.app import main
from wallet.bitcoin import bip39
from wallet.node import cli
from wallet.node.api import CommandError, Json
from wallet.node.cli import parse
from wallet.node.commands import COMMANDS, by_place, find_command, from_words, run
from wallet.node.commands.registry import Command, Parameter, btc_text, sat_from_btc
from wallet.node.manual import manual
from wallet.node.rpc import Params, RpcServer
from wallet.node.store import Store
from wallet.node.version import VERSION

ROOT = Path(__file__).parents[3]
WORDS = "legal winner thank year wave sausage worth useful legal winner thank yellow"
ELECTRUM_WORDS = "wild father tree among universe such mobile favorite target dynamic credit identify"
FAKE_ID = "02" + "11" * 32


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is asked for a password."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))


class Typed:
    """Runs command lines in this process, in one folder."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys

    def __call__(self, *words: str) -> str:
        """What is printed by a command that works."""
        code = main(["--regtest", "-D", str(self.folder), *words])
        out, err = self._capsys.readouterr()
        assert (code, err) == (0, "")
        return out

    def refused(self, *words: str, bare: bool = False) -> str:
        """The sentence of one that does not."""
        code = main(list(words) if bare else ["--regtest", "-D", str(self.folder), *words])
        out, err = self._capsys.readouterr()
        assert code == 1
        assert out == ""
        return one_sentence(err)


def one_sentence(err: str) -> str:
    assert err.endswith("\n")
    assert "Traceback" not in err
    assert err.count("\n") == 1, err
    return err.strip()


@pytest.fixture
def typed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Typed:
    return Typed(tmp_path / "data", capsys)


# --- options ------------------------------------------------------------------------------


def test_options_stand_before_or_after_the_command() -> None:
    for argv in (
        ["--regtest", "-D", "/x", "-w", "alice", "lnpay", "lnbcrt1", "--timeout", "5"],
        ["lnpay", "lnbcrt1", "--timeout", "5", "--wallet=alice", "--dir=/x", "--regtest"],
        ["lnpay", "--regtest", "lnbcrt1", "-w", "alice", "--timeout", "5", "-D", "/x"],
    ):
        found = parse(argv)
        assert found.command == "lnpay"
        assert found.arguments == ("lnbcrt1", "--timeout", "5")
        assert found.options.network_name == "regtest"
        assert found.options.wallet_file == Path("/x/regtest/wallets/alice/wallet.leyden")


def test_peers_for_gossip() -> None:
    node = "02" + "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
    found = parse(["--first-peer", f"{node}@host", "--first-peer", f"{node}@[::1]:7", "getinfo"]).options
    assert found.first_peers == (f"{node}@host", f"{node}@[::1]:7")
    assert found.call_gossip_peers
    assert not parse(["--no-gossip-peers"]).options.call_gossip_peers
    assert not parse(["--no-gossip-peers"]).options.first_peers


def test_every_network_has_a_folder_of_its_own() -> None:
    folders = {
        str(parse(["-D", "/x", *words]).options.network_dir) for words in ([], ["--signet"], ["--sandbox"])
    }
    assert folders == {"/x", "/x/signet", "/x/sandbox"}


def test_servers_listening_and_proxy() -> None:
    found = parse(
        [
            "--server",
            "a.example:50002:s",
            "--server",
            "[::1]:50001:t",
            "--listen",
            "[::]:0",
            "--proxy",
            "localhost:9050",
            "--alias",
            "Joe",
            "--announce",
            "203.0.113.4",
            "--announce",
            "joe.example:9736",
        ]
    )
    assert found.options.alias == "Joe"
    assert found.options.announce == ("203.0.113.4:9735", "joe.example:9736")
    assert [str(server) for server in found.options.servers] == ["a.example:50002:s", "[::1]:50001:t"]
    assert not found.options.single_server_ok
    assert found.options.listen == ("::", 0)
    assert found.options.proxy == ("localhost", 9050)
    assert parse(["--server", "127.0.0.1:50001:t"]).options.single_server_ok


def test_no_command_is_the_window_and_a_link_is_not_a_command() -> None:
    assert parse([]).command is None
    for link in ("bitcoin:bcrt1q?amount=1", "LIGHTNING:LNBC1"):
        found = parse(["--regtest", link])
        assert (found.command, found.link) == (None, link)
    assert parse(["--demo", "--tour", "--shots", "pictures"]).shots == Path("pictures")


def test_forwarding_is_off_unless_switched_on() -> None:
    assert not parse(["daemon"]).options.user_config.accept_forwards
    assert parse(["daemon", "--forward"]).options.user_config.accept_forwards


def test_spontaneous_payments_are_taken_unless_that_is_switched_off() -> None:
    assert parse(["daemon"]).options.user_config.accept_keysend
    refusing = parse(["daemon", "--no-keysend", "--forward"]).options.user_config
    assert not refusing.accept_keysend
    assert refusing.accept_forwards


@pytest.mark.parametrize(
    "argv",
    [
        ["--nonsense"],
        ["--nonsense=5", "daemon"],
        ["-x"],
        ["--regtest", "--signet"],
        ["--regtest=yes"],
        ["-D"],
        ["-D", ""],
        ["-D", "a\nb"],
        ["--server", "nonsense"],
        ["--server", ""],
        ["--server", "host:0:t"],
        ["--server", "host:99999:t"],
        ["--server", "host:" + "9" * 5000 + ":t"],
        ["--alias", "é" * 17],
        ["--alias", "two\nlines"],
        ["--first-peer", "02ab@host:9735"],
        ["--first-peer", "host:9735"],
        ["--announce", "host:0"],
        ["--announce", "host:nine"],
        ["--listen", "nonsense"],
        ["--listen", ":9735"],
        ["--listen", "host:"],
        ["--listen", "host:65536"],
        ["--listen", "host:" + "9" * 5000],
        ["--listen", "host:\u0663"],
        ["--listen", "a b:1"],
        ["--listen", "x" * 300 + ":1"],
        ["--proxy", "localhost:0"],
        ["--rpcport", "x"],
        ["--rpcport", "-1"],
        ["--rpcport", "65536"],
        ["--rpcport", "9" * 5000],
        ["--password"],
        ["-w", "", "daemon"],
        ["-w", "..", "daemon"],
        ["-w", "a/b", "daemon"],
        ["-w", "..\\b", "daemon"],
        ["-w", "a\0b", "daemon"],
        ["-w", "x" * 101, "daemon"],
        ["-w", "\udcff", "daemon"],
    ],
)
def test_bad_options(typed: Typed, argv: list[str]) -> None:
    sentence = typed.refused(*argv, bare=True)
    assert sentence.endswith(".")
    assert len(sentence) < 400


# --- without a daemon -----------------------------------------------------------------------


def test_version_and_help(typed: Typed) -> None:
    assert typed("version") == typed("--version") == f"{VERSION}\n"
    listing = typed("help")
    for name in ("create", "daemon", "wait_for_sync", "close_channel", "add_hold_invoice", "--server"):
        assert name in listing
    assert typed("--help") == typed("-h") == listing
    assert typed("help", "lnpay") == typed("lnpay", "--help")
    assert "lnpay invoice" in typed("help", "lnpay")
    assert "create [--words24]" in typed("help", "create")
    assert "no command 'nonsense'" in typed.refused("help", "nonsense")


def test_the_manual_says_what_the_commands_say(tmp_path: Path) -> None:
    """It reads their source instead of importing them; without source it imports them."""
    told = {name: (found.name, found.usage(), found.help) for name, found in COMMANDS.items()}
    for read in (manual(), manual(tmp_path)):
        assert {name: (entry.name, entry.usage, entry.help) for name, entry in read.items()} == told


@pytest.mark.parametrize("words", [("help",), ("help", "lnpay"), ("getinfo",)])
def test_what_needs_no_wallet_does_not_import_the_core(tmp_path: Path, words: tuple[str, ...]) -> None:
    code = (
        "import sys; from wallet.app import main; "
        f"main(['--regtest', '-D', {str(tmp_path)!r}, *{words!r}]); "
        "print([name for name in sys.modules if name.startswith(('wallet.ln.channel', 'wallet.ln.routing', "
        "'wallet.node.commands'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_every_command_of_the_plan_is_there() -> None:
    names = set(COMMANDS) | set(cli.LOCAL_COMMANDS)
    wanted = (
        "create restore daemon stop load_wallet wait_for_sync getinfo nodeid getunusedaddress getbalance payto "
        "broadcast history getseed add_peer list_peers open_channel list_channels close_channel add_request "
        "list_requests decode_invoice lnpay lightning_history add_hold_invoice settle_hold_invoice "
        "cancel_hold_invoice version help"
    )
    assert set(wanted.split()) <= names
    assert all(found.help for found in COMMANDS.values())
    # What the program takes for itself never reaches a command, the password apart.
    ours = {name.lstrip("-") for option in cli._OPTIONS for name in option.names}
    assert not {p.name for found in COMMANDS.values() for p in found.parameters} & ours - {"password"}


@pytest.mark.parametrize(("words", "count"), [((), 12), (("--words24",), 24)])
def test_create_makes_a_wallet(typed: Typed, words: tuple[str, ...], count: int) -> None:
    made = json.loads(typed("create", *words))
    assert len(made["seed"].split()) == count
    bip39.mnemonic_to_entropy(made["seed"].split())
    path = Path(made["path"])
    assert path == typed.folder / "regtest" / "wallets" / "default_wallet" / "wallet.leyden"
    assert not Store.is_encrypted(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert typed.folder.stat().st_mode & 0o777 == 0o700
    before = path.read_bytes()
    assert "already" in typed.refused("create")
    assert "already" in typed.refused("restore", WORDS)
    assert path.read_bytes() == before


def test_create_with_a_password(typed: Typed) -> None:
    made = json.loads(typed("create", "--password", "secret", "-w", "alice"))
    assert Store.check(Path(made["path"]), password="secret") == "regtest"


def test_a_password_is_asked_for_twice(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = ["one", "two", "same", "same"]
    monkeypatch.setattr(cli, "_somebody_there", lambda: True)
    monkeypatch.setattr(cli, "_ask_hidden", lambda prompt: answers.pop(0))
    assert "differ" in typed.refused("create")
    assert not (typed.folder / "regtest" / "wallets" / "default_wallet" / "wallet.leyden").exists()
    made = json.loads(typed("create"))
    assert Store.check(Path(made["path"]), password="same") == "regtest"


@pytest.mark.parametrize("text", [WORDS, WORDS.upper(), f"  {WORDS}  ".replace(" ", "\t")])
def test_restore(typed: Typed, text: str) -> None:
    made = json.loads(typed("restore", text))
    store = Store.open(Path(made["path"]), password="")
    assert list(store.rows("node_secret")) == [(b"words", WORDS.encode())]
    store.close()


def test_restore_takes_words_one_by_one_or_from_standard_input(
    typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed("restore", "-w", "a", *WORDS.split())
    monkeypatch.setattr(sys, "stdin", io.StringIO(WORDS + "\n"))
    typed("restore", "-w", "b", "-")
    monkeypatch.setattr(cli, "_ask_hidden", lambda prompt: WORDS)
    typed("restore", ":", "-w", "c")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "Type your words"),
        ("leyden", "number 1"),
        ("hello", "1 word so far"),
        ("legal winner", "2 words so far"),
        (WORDS.replace("yellow", "zoo"), "checksum"),
        (WORDS.replace("yellow", "yelow"), "number 12"),
        (ELECTRUM_WORDS, "Electrum"),
        ("\udcff " * 12, "not in the list"),
        ("x" * 100_000, "not in the list"),
    ],
)
def test_words_that_restore_nothing(typed: Typed, text: str, says: str) -> None:
    assert says in typed.refused("restore", text)
    assert not typed.folder.exists()


@pytest.mark.parametrize(
    "argv", [["create", "x"], ["create", "--words25"], ["daemon", "--foo"], ["stop", "now"]]
)
def test_words_that_a_local_command_does_not_know(typed: Typed, argv: list[str]) -> None:
    assert "is used so" in typed.refused(*argv)


@pytest.mark.parametrize("command", ["create", "daemon"])
def test_a_folder_that_cannot_be_used(typed: Typed, command: str) -> None:
    typed.folder.write_text("a file")
    assert "cannot be used" in typed.refused(command)


@pytest.mark.parametrize("command", ["getinfo", "stop", "load_wallet", "list_wallets", "list_channels"])
def test_no_daemon(typed: Typed, command: str) -> None:
    assert typed.refused(command).startswith("No daemon is running here")
    assert not typed.folder.exists(), "asking leaves nothing behind"


def test_no_such_command(typed: Typed) -> None:
    assert "no command 'nonsense'" in typed.refused("nonsense")


def test_a_link_that_cannot_be_opened_is_not_a_traceback() -> None:
    with pytest.raises(CommandError):
        parse(["--regtest", "--signet", "bitcoin:x"])


# --- as a process ----------------------------------------------------------------------------


def process(folder: Path, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "wallet", "--regtest", "-D", str(folder), *words],
        capture_output=True, text=True, timeout=60, check=False, cwd=ROOT, stdin=subprocess.DEVNULL, **options,
    )  # fmt: skip


@pytest.mark.parametrize(
    "words", [["--nonsense"], ["getinfo"], ["restore", "hello"], ["--rpcport", "x", "daemon"]]
)
def test_a_mistake_as_a_process(tmp_path: Path, words: list[str]) -> None:
    done = process(tmp_path / "data", *words)
    assert (done.returncode, done.stdout) == (1, "")
    one_sentence(done.stderr)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    done = process(tmp_path / "data", "restore", os.fsdecode(b"\xff\xfe"))
    assert done.returncode == 1
    one_sentence(done.stderr)


def test_a_terminal_that_cannot_show_everything(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = process(tmp_path / "data", "restore", "wörter", env=env)
    assert done.returncode == 1
    one_sentence(done.stderr)


def test_a_reader_that_goes_away(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "wallet", "help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    )
    assert child.stdout is not None
    assert child.stderr is not None
    child.stdout.close()
    err = child.stderr.read()
    child.stderr.close()
    assert child.wait(60) == 1
    assert err == b""


def test_commands_start_without_the_core(tmp_path: Path) -> None:
    """What each command pays for: neither Qt, nor the core, nor asyncio, nor the curve."""
    code = (
        "import sys; from wallet.app import main; "
        f"main(['--regtest', '-D', {str(tmp_path)!r}, sys.argv[1]]); print(*sys.modules)"
    )
    for command in ("version", "stop"):
        done = subprocess.run(
            [sys.executable, "-c", code, command],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            cwd=ROOT,
        )
        modules = set(done.stdout.split())
        heavy = {
            "PyQt6",
            "asyncio",
            "coincurve",
            "wallycore",
            "aiorpcx",
            "sqlite3",
            "cryptography",
            "http.client",
        }
        assert not modules & heavy
        # The settings of a node are part of its options; they import next to nothing.
        modules -= {"wallet.ln.config", "wallet.ln.types"}
        assert not {
            name for name in modules if name.startswith(("wallet.ln.", "wallet.gui", "wallet.onchain"))
        }


# --- commands of a wallet ----------------------------------------------------------------------


class Daemon:
    """A daemon's port, on a thread, that keeps what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[tuple[str, Params]] = []
        self.answer: Json = None
        self.error: CommandError | None = None
        self._loop = asyncio.new_event_loop()
        self._server = RpcServer(folder, self._handle)
        self._loop.run_until_complete(self._server.start())
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    async def _handle(self, method: str, params: Params) -> Json:
        if method == "ping":
            return "pong"
        self.asked.append((method, params))
        if self.error is not None:
            raise self.error
        return self.answer

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._server.close(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def daemon(typed: Typed) -> Iterator[Daemon]:
    made = Daemon(typed.folder / "regtest")
    yield made
    made.close()


@pytest.mark.parametrize(
    ("answer", "printed"),
    [
        ("text", "text\n"),
        (True, "true\n"),
        (False, "false\n"),
        (None, "null\n"),
        (5, "5\n"),
        ({"ä": 1}, '{\n    "ä": 1\n}\n'),
    ],
)
def test_results_are_printed(typed: Typed, daemon: Daemon, answer: Json, printed: str) -> None:
    daemon.answer = answer
    assert typed("getbalance") == printed
    assert daemon.asked == [("command_line", {"command": "getbalance", "words": []})]


def test_words_go_to_the_daemon_as_they_were_typed(
    typed: Typed, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("from stdin\n"))
    typed("lnpay", "-", "--timeout=5", "--", "--odd")
    assert daemon.asked == [
        ("command_line", {"command": "lnpay", "words": ["from stdin", "--timeout=5", "--", "--odd"]})
    ]


def test_the_daemons_refusal_is_the_sentence(typed: Typed, daemon: Daemon) -> None:
    daemon.error = CommandError("There is not enough of it.", code="funds")
    assert typed.refused("payto", "x", "1") == "There is not enough of it."


def test_passwords_go_where_they_are_needed(typed: Typed, daemon: Daemon) -> None:
    typed("getseed", "--password", "secret")
    typed("load_wallet", "-w", "alice", "-W", "secret")
    assert daemon.asked == [
        ("command_line", {"command": "getseed", "words": ["--password=secret"]}),
        ("load_wallet", {"wallet": "alice", "password": "secret"}),
    ]
    assert "needs no password" in typed.refused("getinfo", "--password", "secret")


def test_a_second_daemon(typed: Typed, daemon: Daemon) -> None:
    assert typed.refused("daemon") == "A daemon is running here already."
    assert typed.refused("daemon", "-d") == "A daemon is running here already."


# --- how arguments are read -----------------------------------------------------------------------


def a_command(*parameters: Parameter) -> Command:
    async def function(node: object, **values: Json) -> Json:
        return values

    return Command("try_it", function, "Tries.", parameters)


def parameter(
    name: str, kind: str = "str", *, required: bool = False, keyword_only: bool = False
) -> Parameter:
    return Parameter(name=name, kind=kind, required=required, keyword_only=keyword_only, default=None)


TRIED = a_command(
    parameter("invoice", required=True), parameter("amount_msat", "int"), parameter("memo", keyword_only=True),
    parameter("force", "bool", keyword_only=True),
)  # fmt: skip


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["x", "5"], {"invoice": "x", "amount_msat": "5"}),
        (["--amount-msat", "5", "x"], {"invoice": "x", "amount_msat": "5"}),
        (["--invoice=a=b", "--memo", "--force"], {"invoice": "a=b", "memo": "--force"}),
        (["x", "--force", "-5"], {"invoice": "x", "force": True, "amount_msat": "-5"}),
        (["--force=false", "x"], {"invoice": "x", "force": "false"}),
        (["--", "--memo", "7"], {"invoice": "--memo", "amount_msat": "7"}),
        ([], {}),
    ],
)
def test_words_of_a_command_line(words: Sequence[str], found: dict[str, Json]) -> None:
    assert from_words(TRIED, words) == found


@pytest.mark.parametrize(
    "words",
    [["a", "5", "c"], ["--nonsense", "5"], ["x", "--memo"], ["--memo=1", "--memo=2"], ["--memo="] * 2],
)
def test_words_that_a_command_does_not_take(words: Sequence[str]) -> None:
    with pytest.raises(CommandError, match="It is used so: try_it invoice \\[amount_msat\\]") as caught:
        from_words(TRIED, words)
    assert caught.value.code == "usage"


def test_a_list_of_params_goes_by_place() -> None:
    assert by_place(TRIED, ["x", 5]) == {"invoice": "x", "amount_msat": 5}
    with pytest.raises(CommandError, match="no more than 2"):
        by_place(TRIED, ["x", 5, "memo"])


def called(arguments: dict[str, Json], monkeypatch: pytest.MonkeyPatch) -> Json:
    monkeypatch.setitem(COMMANDS, "try_it", TRIED)
    node: Any = SimpleNamespace(failure="")
    return asyncio.run(run(node, "try_it", arguments))


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ({"invoice": "x"}, {"invoice": "x"}),
        (
            {"invoice": 5, "amount_msat": "7", "force": "true"},
            {"invoice": "5", "amount_msat": 7, "force": True},
        ),
        ({"invoice": "ä\n☂", "amount_msat": None, "memo": ""}, {"invoice": "ä\n☂", "memo": ""}),
        (
            {"invoice": "x", "amount_msat": " -12 ", "force": False},
            {"invoice": "x", "amount_msat": -12, "force": False},
        ),
        ({"invoice": "x", "amount_msat": "12\x1f"}, {"invoice": "x", "amount_msat": 12}),
    ],
)
def test_values_are_read(given: dict[str, Json], read: Json, monkeypatch: pytest.MonkeyPatch) -> None:
    assert called(given, monkeypatch) == read


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"invoice": None},
        {"invoice": "x", "nonsense": 1},
        {"invoice": True},
        {"invoice": ["x"]},
        {"invoice": {}},
        {"invoice": "\ud800"},
        {"invoice": "x" * 1_000_001},
        {"invoice": "x", "amount_msat": "five"},
        {"invoice": "x", "amount_msat": 1.5},
        {"invoice": "x", "amount_msat": True},
        {"invoice": "x", "amount_msat": "1_000"},
        {"invoice": "x", "amount_msat": "\u0665"},
        {"invoice": "x", "amount_msat": 2**63},
        {"invoice": "x", "amount_msat": "9" * 19},
        {"invoice": "x", "amount_msat": "9" * 5000},
        {"invoice": "x", "force": "maybe"},
        {"invoice": "x", "force": 1},
    ],
)
def test_values_that_are_refused(given: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CommandError) as caught:
        called(given, monkeypatch)
    assert caught.value.code == "usage"
    assert len(caught.value.message) < 300


def test_find_command() -> None:
    assert find_command("lnpay").name == "lnpay"
    with pytest.raises(CommandError, match="no command"):
        find_command("x" * 1000)


@pytest.mark.parametrize(
    ("text", "amount_sat"),
    [("1", 100_000_000), ("0.00000001", 1), (".5", 50_000_000), ("1.", 100_000_000), (" 0.10 ", 10_000_000),
     ("20999999.9769", 2_099_999_997_690_000), ("0.000000010000000000", 1)],
)  # fmt: skip
def test_amounts_in_btc(text: str, amount_sat: int) -> None:
    assert sat_from_btc(text, what="It") == amount_sat
    assert sat_from_btc(btc_text(amount_sat), what="It") == amount_sat


@pytest.mark.parametrize(
    "text",
    ["", ".", "x", "-1", "+1", "0", "0.0", "1e3", "1e999999", "1e-999999", "inf", "nan", "1_0", "0x1", "\u0661", "1,5",
     "0.000000001", "21000001", "9" * 100, "0." + "1" * 100, "0.1 BTC", "!", "0.12345678" + "0" * 23 + "1"],
)  # fmt: skip
def test_amounts_that_are_none(text: str) -> None:
    with pytest.raises(CommandError) as caught:
        sat_from_btc(text, what="It")
    assert caught.value.code == "amount"
