"""A server whose certificate was renewed: what its sentence tells a person to do can be done."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from wallet.chain.electrum.certificates import CertificateStore
from wallet.chain.electrum.errors import ServerError, ServerErrorKind
from wallet.chain.electrum.server import ServerState
from wallet.chain.electrum.session import ServerAddress
from wallet.chain.electrum.sync import ServerStatus
from wallet.node.api import CommandError
from wallet.node.commands import run

SERVER = ServerAddress("electrum.example.org", 50002, True)


class Servers:
    """One server, which showed a certificate and now shows another."""

    def __init__(self) -> None:
        self.certificates = CertificateStore(None)
        self.refused: ServerError | None = None
        self.show(b"first")

    def show(self, certificate: bytes) -> None:
        try:
            self.certificates.check("electrum.example.org:50002", certificate)
            self.refused = None
        except ServerError as error:
            self.refused = error

    def refuses(self) -> bool:
        return self.refused is not None and self.refused.kind is ServerErrorKind.CERTIFICATE

    def status(self) -> Any:
        refused = self.refused
        server = ServerStatus(
            address=SERVER,
            state=ServerState.DROPPED if refused is not None else ServerState.ONLINE,
            is_primary=False,
            software="",
            protocol="1.6",
            height=-1 if refused is not None else 100,
            is_on_best=refused is None,
            error=None if refused is None else refused.kind,
            reason="" if refused is None else refused.message,
            retry_seconds=0,
        )
        return SimpleNamespace(servers=(server,), required=1)

    def forget_certificate(self, address: ServerAddress) -> None:
        self.certificates.forget(f"{address.host}:{address.port}")


@pytest.fixture
def servers() -> Servers:
    return Servers()


def typed(servers: Servers, command: str, **arguments: str) -> Any:
    node = SimpleNamespace(
        electrum=servers,
        views=SimpleNamespace(publish_soon=lambda: None),
        ledger=SimpleNamespace(settings={}),
        servers_named=False,
        proxy=None,
        failure="",
    )
    return asyncio.run(run(cast("Any", node), command, arguments))


def test_a_renewed_certificate_is_accepted_once_a_person_says_so(servers: Servers) -> None:
    servers.show(b"second")
    assert servers.refuses()
    (row,) = typed(servers, "list_servers")["servers"]
    assert row["other_certificate"]
    assert "forget" in row["problem"]
    typed(servers, "forget_certificate", address=str(SERVER))
    servers.show(b"second")
    assert not servers.refuses()
    (row,) = typed(servers, "list_servers")["servers"]
    assert row["connected"]
    assert not row["other_certificate"]


def test_a_certificate_that_nobody_doubts_is_not_forgotten(servers: Servers) -> None:
    with pytest.raises(CommandError, match="no other certificate"):
        typed(servers, "forget_certificate", address=str(SERVER))
    servers.show(b"second")
    assert servers.refuses()
