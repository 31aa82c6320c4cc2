"""Commands about what the person chooses while the wallet runs: servers, proxy, language; and the window's console."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from wallet import i18n
from wallet.bitcoin.errors import DecodeError
from wallet.chain.electrum.session import ServerAddress
from wallet.chain.electrum.sync import RESOURCES, Proxy, default_servers
from wallet.i18n import _
from wallet.node.api import CommandError, Json
from wallet.node.commands.registry import command, find_command, from_words, run
from wallet.node.options import SANDBOX
from wallet.node.rates import CURRENCIES, FIAT_SETTING, SOURCE
from wallet.node.settings import (
    PROXY_SETTING,
    SERVERS_SETTING,
    SINGLE_SERVER_SETTING,
    chosen_proxy,
    proxy_text,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wallet.node.node import Node

__all__: list[str] = []

MAX_SERVERS = 100


@command
async def list_servers(node: Node) -> Json:
    """Lists the Electrum servers, how each of them stands, and the proxy that they are reached through."""
    status = node.electrum.status()
    return {
        "servers": [
            {
                "address": str(server.address),
                "connected": server.is_connected,
                "primary": server.is_primary,
                "height": server.height,
                "protocol": server.protocol,
                "problem": server.reason,
                "other_certificate": server.shows_other_certificate,
                "retry_seconds": server.retry_seconds,
            }
            for server in status.servers
        ],
        "required": status.required,
        "chosen": bool(node.ledger.settings.get(SERVERS_SETTING)),
        "named_for_this_run": node.servers_named,
        "proxy": proxy_text(node.proxy),
    }


def _address(text: str) -> ServerAddress:
    try:
        return ServerAddress.parse(text)
    except DecodeError as error:
        raise CommandError(str(error), code="usage") from None


def _may_change(node: Node) -> None:
    """The sandbox has one server, which is part of it."""
    if node.options.network_name == SANDBOX:
        raise CommandError(
            _("The practice network brings its own server, which cannot be changed."), code="network"
        )


async def _use(node: Node, servers: Sequence[ServerAddress], *, trust_one: bool) -> None:
    with node.core.entry():
        node.ledger.put_setting(SERVERS_SETTING, "\n".join(map(str, servers)))
        node.ledger.put_setting(SINGLE_SERVER_SETTING, "yes" if trust_one else "")
        durable = node.durable()
    await durable
    wanted = servers or default_servers(node.options.network)
    await node.electrum.set_servers(wanted, single_server_ok=trust_one)
    node.servers_named = False
    node.views.publish_soon()


@command
async def add_server(node: Node, address: str) -> Json:
    """Adds an Electrum server, as host:port:s (TLS) or host:port:t, and asks it from now on."""
    _may_change(node)
    added = _address(address)
    known = [server.address for server in node.electrum.status().servers]
    if added in known:
        raise CommandError(_("{server} is in the list already.").format(server=added), code="known")
    if len(known) >= MAX_SERVERS:
        raise CommandError(_("The list is full: remove a server first."), code="full")
    # At its head: whoever names a server wants it asked.
    await _use(node, [added, *known], trust_one=False)
    return {"address": str(added)}


@command
async def remove_server(node: Node, address: str, *, trust_one: bool = False) -> Json:
    """Takes an Electrum server from the list. Two are needed, which check each other, unless you say that you trust
    the one that is left."""
    _may_change(node)
    gone = _address(address)
    known = [server.address for server in node.electrum.status().servers]
    if gone not in known:
        raise CommandError(_("{server} is not in the list.").format(server=gone), code="unknown")
    left = [server for server in known if server != gone]
    if not left:
        raise CommandError(_("This is the only server. Add another one first."), code="last")
    if len(left) == 1 and not trust_one:
        raise CommandError(
            _(
                "One server would be left, and nobody to check what it says. Add another one first, or say that you "
                "trust this one alone (--trust_one)."
            ),
            code="single",
        )
    await _use(node, left, trust_one=len(left) == 1)
    return {"servers": [str(server) for server in left]}


@command
async def forget_certificate(node: Node, address: str) -> Json:
    """Takes the certificate that an Electrum server shows now for its own, although it showed another one before. Do
    this only if you know that it was renewed: otherwise somebody may be listening in between."""
    wanted = _address(address)
    server = next((item for item in node.electrum.status().servers if item.address == wanted), None)
    if server is None:
        raise CommandError(_("{server} is not in the list.").format(server=wanted), code="unknown")
    if not server.shows_other_certificate:
        raise CommandError(
            _("{server} shows no other certificate than before.").format(server=wanted), code="known"
        )
    node.electrum.forget_certificate(wanted)
    node.views.publish_soon()
    return {"address": str(wanted)}


@command
async def reset_servers(node: Node) -> Json:
    """Goes back to the list of servers that Leyden comes with."""
    _may_change(node)
    if not default_servers(node.options.network):
        raise CommandError(_("Leyden brings no servers for this network."), code="network")
    await _use(node, [], trust_one=False)
    return True


@command
async def set_proxy(node: Node, address: str = "") -> Json:
    """Reaches servers and peers through a SOCKS5 proxy, as host:port, from now on; "" for none. Tor's is mostly
    127.0.0.1:9050. Connections are made anew at once."""
    _may_change(node)
    wanted = chosen_proxy(address)
    if address.strip() and wanted is None:
        raise CommandError(
            _("A proxy is written as host:port, such as 127.0.0.1:9050, not {text!r}.").format(
                text=address[:40]
            ),
            code="usage",
        )
    with node.core.entry():
        node.ledger.put_setting(PROXY_SETTING, proxy_text(wanted))
        durable = node.durable()
    await durable
    changed, node.proxy = node.proxy != wanted, wanted
    # Nothing more is to go out by the old way: what is under way ends, before anybody is called anew.
    if changed:
        node.questions.end_all()
        node.gossip_peers.end_questions()
    node.connections.set_proxy(wanted)
    await node.electrum.set_proxy(None if wanted is None else Proxy(*wanted))
    node.peers.kick()
    node.views.publish_soon()
    return {"proxy": proxy_text(wanted)}


@command
async def set_fiat(node: Node, currency: str = "") -> Json:
    """Shows amounts in this currency too, such as EUR, from now on; "" for none. The rate is asked for on the web,
    through the proxy."""
    wanted = currency.strip().upper()
    if wanted and node.options.network_name != "mainnet":
        raise CommandError(_("Play money has no price."), code="network")
    if wanted and wanted not in CURRENCIES:
        raise CommandError(
            _("There is no rate for {currency!r}; there are {known}.").format(
                currency=currency[:20], known=", ".join(CURRENCIES)
            ),
            code="usage",
        )
    with node.core.entry():
        node.ledger.put_setting(FIAT_SETTING, wanted)
        durable = node.durable()
    await durable
    await node.rates.choose(wanted)
    node.views.publish_soon()
    return {"currency": wanted or None, "source": SOURCE}


@command
async def fiat_rates(node: Node) -> Json:
    """Shows the rate of now and those of earlier days, in hundredths of the chosen currency for one bitcoin."""
    view = node.rates.view
    return {
        "currency": None if view is None else view.currency,
        "source": SOURCE,
        "known": list(CURRENCIES),
        "days": dict(node.rates.days()),
    }


@command
async def set_language(node: Node, language: str) -> Json:
    """Changes the language of what the wallet says, by its code, such as "de". Nothing else changes."""
    folder = RESOURCES / i18n.CATALOGUES
    known = i18n.languages(folder)
    if language.split("_", 1)[0] not in known:
        raise CommandError(
            _("There is no language {language!r}; there are {known}.").format(
                language=language[:20], known=", ".join(known)
            ),
            code="usage",
        )
    i18n.install(language, folder)
    node.views.publish_soon()
    return {"language": i18n.current_language()}


@command
async def console(node: Node, line: str) -> Json:
    """Runs a line as it would be typed after `leyden` on a command line."""
    try:
        words = shlex.split(line)
    except ValueError:
        raise CommandError(_("A quotation mark is missing its other half."), code="usage") from None
    if words[:1] == ["leyden"]:
        words = words[1:]
    if not words:
        raise CommandError(_("Type a command. `help` lists them."), code="usage")
    found = find_command(words[0])
    if found.name == "console":
        raise CommandError(_("This is the console already."), code="usage")
    return await run(node, found.name, from_words(found, words[1:]))
