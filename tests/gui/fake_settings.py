"""The fake node's part in what is chosen while it runs: servers, proxy, language, and the console's line."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tests.gui.fake_history import Items
from wallet.node.api import CommandError, FiatView, Json, NodeStatus
from wallet.node.version import VERSION

__all__ = ["FakeSettings"]


class FakeSettings:
    """Part of `FakeNode`. Attributes: `servers`, as `list_servers` tells them; `proxy`; `languages` asked for."""

    status: NodeStatus
    activity: Items

    def __init__(self) -> None:
        self.proxy = ""
        self.languages: list[str] = []
        self.chosen_servers = False
        self.servers: list[dict[str, Any]] = [
            self._server("electrum0.example.org:50002:s", connected=True, primary=True),
            self._server("electrum1.example.org:50002:s", connected=True),
            self._server(
                "electrum2.example.org:50002:s", problem="The server cannot be reached.", retry_seconds=240
            ),
            self._server("electrum3.example.org:50001:t"),
        ]

    if TYPE_CHECKING:

        def tell(self) -> None: ...

    @staticmethod
    def _server(address: str, **changes: Any) -> dict[str, Any]:
        row = {
            "address": address,
            "connected": False,
            "primary": False,
            "height": -1,
            "protocol": "",
            "problem": "",
            "other_certificate": False,
            "retry_seconds": 0,
        }
        if changes.get("connected"):
            row |= {"height": 912_345, "protocol": "1.6"}
        return row | changes

    def do_list_servers(self) -> Json:
        return {
            "servers": [dict(server) for server in self.servers],
            "required": 1 if len(self.servers) == 1 else 2,
            "chosen": self.chosen_servers,
            "named_for_this_run": False,
            "proxy": self.proxy,
        }

    def do_add_server(self, address: str) -> Json:
        if ":" not in address:
            raise CommandError(
                f"“{address}” is no server: write host:port:s (TLS) or host:port:t.", code="usage"
            )
        self.servers.insert(0, self._server(address))
        self.chosen_servers = True
        self.tell()
        return {"address": address}

    def do_remove_server(self, address: str, trust_one: bool = False) -> Json:
        left = [server for server in self.servers if server["address"] != address]
        if len(left) == 1 and not trust_one:
            raise CommandError("One server would be left.", code="single")
        self.servers = left
        self.chosen_servers = True
        self.tell()
        return {"servers": [server["address"] for server in left]}

    def do_forget_certificate(self, address: str) -> Json:
        for server in self.servers:
            if server["address"] == address:
                server.update(self._server(address, connected=True))
        self.tell()
        return {"address": address}

    def do_reset_servers(self) -> Json:
        self.chosen_servers = False
        self.tell()
        return True

    def do_set_proxy(self, address: str = "") -> Json:
        if address and ":" not in address:
            raise CommandError("A proxy is written as host:port.", code="usage")
        self.proxy = address
        self.tell()
        return {"proxy": address}

    def do_set_language(self, language: str) -> Json:
        self.languages.append(language)
        return {"language": language}

    def do_set_fiat(self, currency: str = "") -> Json:
        fiat = FiatView(
            currency=currency,
            rate_hundredths=6_123_456,
            at=int(time.time()) - 240,
            source="coinbase.com",
            problem="",
            days={
                time.strftime("%Y-%m-%d", time.gmtime(at)): 5_000_000 for at in {i.at for i in self.activity}
            },
        )
        self.status = replace(self.status, fiat=fiat if currency else None)
        self.tell()
        return {"currency": currency or None, "source": "coinbase.com"}

    def do_fiat_rates(self) -> Json:
        fiat = self.status.fiat
        return {
            "currency": None if fiat is None else fiat.currency,
            "source": "coinbase.com",
            "known": ["EUR", "USD"],
            "days": {} if fiat is None else {"2026-01-31": 5_000_000},
        }

    def do_version(self) -> Json:
        return VERSION

    more_commands: dict[str, str]

    def do_help(self) -> Json:
        return {
            "getinfo": "Shows how the wallet stands.",
            "getbalance": "Shows the balance.",
            "help": "Lists.",
            **self.more_commands,
        }

    def do_console(self, line: str) -> Json:
        if line.split()[0] not in ("getinfo", "getbalance", "help"):
            raise CommandError(f"There is no command '{line}'.", code="usage")
        return {"network": "sandbox", "synchronized": True}
