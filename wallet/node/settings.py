"""What the person chose for this wallet while it ran: servers, proxy, the currency beside amounts.

What the command line names rules for its run; where it names nothing, what was chosen last does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from wallet.bitcoin.errors import DecodeError
from wallet.chain.electrum.session import ServerAddress
from wallet.node.options import NodeOptions

__all__ = [
    "PROXY_SETTING",
    "SERVERS_SETTING",
    "SINGLE_SERVER_SETTING",
    "chosen_proxy",
    "chosen_servers",
    "proxy_text",
    "with_choices",
]

SERVERS_SETTING = "servers"
SINGLE_SERVER_SETTING = "single_server"
PROXY_SETTING = "proxy"
MAX_PORT = 65_535


def with_choices(options: NodeOptions, settings: Mapping[str, str]) -> NodeOptions:
    """The options of a run, with what was chosen earlier where the command line says nothing."""
    if not options.servers:
        servers = chosen_servers(settings.get(SERVERS_SETTING, ""))
        single = settings.get(SINGLE_SERVER_SETTING) == "yes" and len(servers) == 1
        options = replace(options, servers=servers, single_server_ok=single)
    if options.proxy is None:
        options = replace(options, proxy=chosen_proxy(settings.get(PROXY_SETTING, "")))
    return options


def chosen_servers(text: str) -> tuple[ServerAddress, ...]:
    """One a line; what a later release wrote and this one cannot read is left out."""
    found = []
    for line in text.splitlines():
        try:
            found.append(ServerAddress.parse(line))
        except DecodeError:
            continue
    return tuple(dict.fromkeys(found))


def chosen_proxy(text: str) -> tuple[str, int] | None:
    """Host and port of "host:port"; None where that is not what it says."""
    host, _colon, port = text.strip().rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    good_host = bool(host) and len(host) <= 255 and not any(c.isspace() or c in "/@[]" for c in host)
    if not good_host or not (port.isascii() and port.isdecimal() and len(port) <= 5):
        return None
    return (host, int(port)) if 0 < int(port) <= MAX_PORT else None


def proxy_text(proxy: tuple[str, int] | None) -> str:
    if proxy is None:
        return ""
    host, port = proxy
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
