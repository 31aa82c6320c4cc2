"""What refuses a thing that a person typed says so in the person's language, down to the reason."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from wallet import i18n
from wallet.bitcoin.address import MAINNET, address_to_script
from wallet.bitcoin.errors import DecodeError
from wallet.chain.electrum.rpc import RpcBroken, _Protocol
from wallet.ln.invoice import parse_invoice
from wallet.ln.msgs import SocketAddress
from wallet.ln.routing.rapid_gossip import read_snapshot
from wallet.node.api import CommandError
from wallet.node.commands.psbt import _parse
from wallet.node.options import NodeOptions
from wallet.node.sockets import parse_node_uri
from wallet.node.wallets import create_wallet_file

CATALOGUES = Path(__file__).parents[3] / "resources" / i18n.CATALOGUES
ADDRESS = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
NODE_ID = "02" + "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
WORDS = [
    "legal",
    "winner",
    "thank",
    "year",
    "wave",
    "sausage",
    "worth",
    "useful",
    "legal",
    "winner",
    "thank",
    "yellow",
]


@pytest.fixture
def german() -> Iterator[None]:
    assert i18n.install("de", CATALOGUES)
    yield
    i18n.install("en", None)


def words(tmp_path: Path, changed: list[str]) -> None:
    create_wallet_file(NodeOptions(network_name="regtest", root=tmp_path), changed, "")


REFUSALS: dict[str, tuple[Callable[[Path], object], str]] = {
    "address-mistyped": (
        lambda _path: address_to_script(ADDRESS[:-1] + "5", MAINNET),
        "Das ist keine gültige Adresse. Die Prüfsumme stimmt nicht: ein Zeichen ist falsch oder fehlt.",
    ),
    "address-impossible-letter": (
        lambda _path: address_to_script(ADDRESS[:-1] + "b", MAINNET),
        "Das ist keine gültige Adresse. Das Zeichen 'b' kann dort nicht vorkommen.",
    ),
    "address-old-kind": (
        lambda _path: address_to_script("1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN3", MAINNET),
        "Das ist keine Bitcoin-Adresse. Die Prüfsumme stimmt nicht: ein Zeichen ist falsch oder fehlt.",
    ),
    "words-unknown": (
        lambda path: words(path, [*WORDS[:-1], "zebr"]),
        "Wort 12, „zebr“, steht nicht in der Wortliste.",
    ),
    "words-too-few": (
        lambda path: words(path, WORDS[:-1]),
        "Es sind 12, 15, 18, 21 oder 24 Wörter, nicht 11.",
    ),
    "words-swapped": (
        lambda path: words(path, [WORDS[1], WORDS[0], *WORDS[2:]]),
        "Diese Wörter passen nicht zusammen: eines ist falsch oder ihre Reihenfolge.",
    ),
    "psbt-other-bytes": (
        lambda _path: _parse(base64.b64encode(b"nothing of the kind").decode()),
        "Das ist keine PSBT: die ersten Bytes sind falsch.",
    ),
    "psbt-cut-short": (
        lambda _path: _parse(base64.b64encode(b"psbt\xff\x01").decode()),
        "Die PSBT ist abgeschnitten.",
    ),
    "invoice-mistyped": (
        lambda _path: parse_invoice("lnbc1qqqqqqqqqq", MAINNET),
        "Das ist keine gültige Rechnung. Die Prüfsumme stimmt nicht: ein Zeichen ist falsch oder fehlt.",
    ),
    "invoice-mixed": (
        lambda _path: parse_invoice("lnBC1qqqqqqqqqq", MAINNET),
        "Das ist keine gültige Rechnung. In diesem Text sind Groß- und Kleinbuchstaben gemischt.",
    ),
    "node-id-short": (
        lambda _path: parse_node_uri("02abcd@example.org:9735"),
        "Eine Knoten-ID hat 66 Zeichen aus 0-9 und a-f und beginnt mit 02 oder 03.",
    ),
    "own-address-port": (
        lambda _path: SocketAddress.parse("example.org:port"),
        "„port“ ist kein Port.",
    ),
    "snapshot-other-file": (
        lambda _path: read_snapshot(b"something else entirely", MAINNET, 1_700_000_000),
        "Das ist kein Abbild von Rapid Gossip Sync. (Falls es komprimiert ist, entpacke es zuerst.)",
    ),
    "server-not-json": (
        lambda _path: _Protocol._message_to_payload(b"GET /"),
        "Der Server hat etwas geschickt, das kein JSON ist.",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_is_german_when_german_is_on(name: str, german: None, tmp_path: Path) -> None:
    attempt, sentence = REFUSALS[name]
    with pytest.raises((DecodeError, CommandError, RpcBroken)) as caught:
        attempt(tmp_path)
    assert str(caught.value) == sentence


@pytest.mark.parametrize("name", REFUSALS)
def test_the_language_is_asked_for_when_it_is_refused(name: str, tmp_path: Path) -> None:
    """And not when the module was read: English again, once German is off."""
    attempt, sentence = REFUSALS[name]
    with pytest.raises((DecodeError, CommandError, RpcBroken)) as caught:
        attempt(tmp_path)
    assert str(caught.value) != sentence
