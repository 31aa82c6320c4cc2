"""What rust-lightning learnt from words, invoices and damaged state. docs/lessons.md says which test is whose."""

from __future__ import annotations

import sys
import tracemalloc
import unicodedata
from dataclasses import dataclass

import pytest

from tests.unit.ln.routing.graph_builder import Net, own_channel
from tests.unit.ln.routing.test_router import ask, find, hint_hop, why
from tests.unit.ln.test_invoice import NODE, make
from wallet.bitcoin.address import REGTEST
from wallet.bitcoin.records import decode, encode
from wallet.chain.electrum.errors import clean_text
from wallet.ln import msgs
from wallet.ln.features import Features
from wallet.ln.invoice import parse_invoice
from wallet.ln.route import RouteHintHop
from wallet.ln.types import ChannelId, DecodeError, ShortChannelId
from wallet.node.sentences import peer_text

NASTY = [
    chr(code)
    for code in range(sys.maxunicode + 1)
    if unicodedata.category(chr(code)) in ("Cc", "Cf", "Zl", "Zp", "Cs")
]
"""Control and format characters (those that turn the direction of text among them), line and paragraph breaks."""


@pytest.mark.parametrize("clean", [peer_text, clean_text], ids=["peer_text", "clean_text"])
def test_words_of_others_cannot_forge_lines_nor_turn_text_around(clean: object) -> None:
    """#4848, #4593, #4605, security: each of these, alone and between letters, is gone from what is shown."""
    assert callable(clean)
    assert len(NASTY) > 2_000
    for char in NASTY:
        shown = clean(f"a{char}b")
        assert char not in shown
        assert shown.startswith("a")
        assert shown.endswith("b")
    assert not set(clean("".join(NASTY[:2_000]))) & set(NASTY)


def test_an_alias_cannot_forge_lines_nor_turn_text_around() -> None:
    """#4848, #4593: names of nodes, which anybody may choose."""
    for char in NASTY:
        raw = f"a{char}b".encode("utf-8", "surrogatepass")
        announcement = msgs.NodeAnnouncement(
            signature=bytes(64),
            features=Features(),
            timestamp_at=1,
            node_id=NODE,
            rgb_color=bytes(3),
            alias=raw + bytes(32 - len(raw)),
        )
        assert char not in announcement.alias_text


def test_long_words_of_a_peer_are_cut_short_before_they_are_logged() -> None:
    """#4714: a peer cannot fill our logs by failing channels."""
    error = msgs.Error(channel_id=ChannelId(bytes(32)), data=b"x" * 60_000)
    assert len(error.text) < 1_000


def test_a_long_invoice_is_read() -> None:
    """#3665: an invoice may be longer than 1,023 characters."""
    hop = RouteHintHop(
        node_id=NODE,
        short_channel_id=ShortChannelId(1),
        fee_base_msat=1,
        fee_proportional_millionths=1,
        cltv_expiry_delta=1,
    )
    invoice = make(description="d" * 600, hints=tuple((hop,) * 3 for _ in range(8)), payee=NODE)
    assert len(invoice.text) > 2_000
    again = parse_invoice(invoice.text, REGTEST)
    assert again == invoice
    # #4717: and one that names its payee is not asked for a signature's.
    assert again.payee_is_given
    assert again.payee == NODE


def test_fees_in_hints_that_no_number_holds() -> None:
    """#4716: an invoice made to overflow is one without a way, and costs nothing else."""
    net = Net()
    net.open("A", "B")
    most = {"fee_base_msat": 2**32 - 1, "fee_proportional_millionths": 2**32 - 1}
    for amount_msat in (1, 1_000, 10**9, 2_100_000_000_000_000_000 - 1):
        dear = ((hint_hop("B", 1, **most), hint_hop("C", 2, **most), hint_hop("D", 3, **most)),)
        asked = ask("J", amount_msat, hints=dear)
        assert why(net, asked, own_channel("A", 10**12))
    cheap = (*dear, (hint_hop("B", 4),))
    route = find(net, ask("J", 10**6, hints=cheap), own_channel("A", 10**9))
    assert route.total_amount_msat == 10**6


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    items: tuple[int, ...]
    name: bytes


def test_a_damaged_row_cannot_ask_for_much_memory() -> None:
    """#4712: a count or a length that a row cannot hold is refused before anything is made for it."""
    good = encode(Listing(items=(1, 2, 3), name=b"name"))
    tracemalloc.start()
    try:
        for place in range(len(good)):
            for value in (0xFD, 0xFE, 0xFF):
                damaged = good[:place] + bytes((value,)) + b"\xff" * 8 + good[place + 1 :]
                try:
                    decode(Listing, damaged)
                except DecodeError:
                    continue
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000
