"""What was chosen while the wallet ran: the next start takes it up; the command line rules where it says anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from wallet.chain.electrum.session import ServerAddress
from wallet.node.options import NodeOptions
from wallet.node.settings import (
    PROXY_SETTING,
    SERVERS_SETTING,
    SINGLE_SERVER_SETTING,
    chosen_proxy,
    chosen_servers,
    proxy_text,
    with_choices,
)

ONE, TWO = ServerAddress("one.example", 50002), ServerAddress("two.example", 50001, tls=False)


def plain(**changes: Any) -> NodeOptions:
    return NodeOptions(network_name="mainnet", root=Path("/nowhere"), **changes)


def test_what_was_chosen_is_taken_up_at_the_next_start() -> None:
    chosen = with_choices(
        plain(),
        {SERVERS_SETTING: f"{ONE}\n{TWO}", PROXY_SETTING: "127.0.0.1:9050", SINGLE_SERVER_SETTING: "yes"},
    )
    assert chosen.servers == (ONE, TWO)
    assert chosen.proxy == ("127.0.0.1", 9050)
    # Two servers check each other, whatever was trusted before.
    assert not chosen.single_server_ok


def test_one_server_alone_is_trusted_only_where_the_person_said_so() -> None:
    assert with_choices(plain(), {SERVERS_SETTING: str(ONE), SINGLE_SERVER_SETTING: "yes"}).single_server_ok
    assert not with_choices(plain(), {SERVERS_SETTING: str(ONE)}).single_server_ok


def test_the_command_line_rules() -> None:
    named = plain(servers=(TWO,), proxy=("proxy.example", 1080), single_server_ok=True)
    assert with_choices(named, {SERVERS_SETTING: str(ONE), PROXY_SETTING: "127.0.0.1:9050"}) == named


def test_nothing_chosen_changes_nothing() -> None:
    assert with_choices(plain(), {}) == plain()


def test_a_line_that_cannot_be_read_costs_no_other_server() -> None:
    assert chosen_servers(f"{ONE}\nsomething of a later release\n{ONE}\n{TWO}") == (ONE, TWO)


@pytest.mark.parametrize(
    ("text", "proxy"),
    [
        ("127.0.0.1:9050", ("127.0.0.1", 9050)),
        ("[::1]:9050", ("::1", 9050)),
        ("tor.example:1", ("tor.example", 1)),
        ("", None),
        ("9050", None),
        ("host:", None),
        ("host:0", None),
        ("host:65536", None),
        ("two words:9050", None),
        ("socks5://host:9050", None),
    ],
)
def test_a_proxy_is_a_host_and_a_port(text: str, proxy: tuple[str, int] | None) -> None:
    assert chosen_proxy(text) == proxy
    assert chosen_proxy(proxy_text(proxy)) == proxy
