"""Which certificate each Electrum server showed: trust on first use, kept in a file.

Theory of operation. On the first contact a certificate that the system's authorities vouch for is noted
as "ca"; any other is pinned by the SHA-256 of its DER form. From then on a server noted as "ca" must keep
showing one that the authorities vouch for (authorities renew every few weeks, so pinning it would cry
wolf), and a pinned one must show the same certificate, unless the pinned one has run out, or the
authorities vouch for the new one.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from cryptography import x509

from wallet.chain.electrum.errors import ServerError, ServerErrorKind
from wallet.i18n import _

__all__ = ["CertificateStore", "Pin"]

_FILE_VERSION = 1


@dataclass(frozen=True, slots=True)
class Pin:
    """What is remembered of one server.

    Attributes:
        sha256: of the pinned certificate, in hex; empty where authorities vouch for it.
        not_after_at: when the pinned certificate runs out; 0 where that is unknown.
    """

    sha256: str = ""
    not_after_at: int = 0

    @property
    def is_ca(self) -> bool:
        return not self.sha256


class CertificateStore:
    """The pins, by "host:port". A file that cannot be read is started anew: then the next contact is the
    first."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._pins: dict[str, Pin] = {}
        self._load()

    def get(self, server: str) -> Pin | None:
        return self._pins.get(server)

    def forget(self, server: str) -> None:
        """The person has looked at a changed certificate, and accepts it."""
        if self._pins.pop(server, None) is not None:
            self._save()

    def trust_authority(self, server: str) -> None:
        """The authorities vouch for what the server shows."""
        if self._pins.get(server) != Pin():
            self._pins[server] = Pin()
            self._save()

    def check(self, server: str, certificate: bytes | None) -> None:
        """A certificate that no authority vouches for. Pins it, or compares it with the pin; raises
        ServerError."""
        if not certificate:
            raise ServerError(ServerErrorKind.CERTIFICATE, _("The server shows no certificate."))
        sha256 = hashlib.sha256(certificate).hexdigest()
        pin = self._pins.get(server)
        if pin is not None and pin.is_ca:
            raise ServerError(
                ServerErrorKind.CERTIFICATE,
                _(
                    "The server's certificate used to be vouched for by an authority and no longer is. Somebody may "
                    "be listening in between: use another server, or forget this one's certificate if you know why."
                ),
            )
        ran_out = pin is not None and 0 < pin.not_after_at < time.time()
        if pin is not None and pin.sha256 != sha256 and not ran_out:
            raise ServerError(
                ServerErrorKind.CERTIFICATE,
                _(
                    "The server shows another certificate than before. Somebody may be listening in between: use "
                    "another server, or forget this one's certificate if you know that it was renewed."
                ),
            )
        if pin is None or pin.sha256 != sha256:
            self._pins[server] = Pin(sha256, _not_after_at(certificate))
            self._save()

    def _load(self) -> None:
        if self._path is None:
            return
        try:
            data = json.loads(self._path.read_text(encoding="utf-8"))
            if data["version"] == _FILE_VERSION:
                for server, pin in data["servers"].items():
                    self._pins[str(server)] = Pin(str(pin["sha256"]), int(pin["not_after_at"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            self._pins = {}

    def _save(self) -> None:
        if self._path is None:
            return
        data = {"version": _FILE_VERSION, "servers": {name: asdict(pin) for name, pin in self._pins.items()}}
        temporary = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(data, file, indent=1, sort_keys=True)
            temporary.replace(self._path)
        except OSError:
            # Pins that cannot be written still hold until the wallet is closed.
            return


def _not_after_at(certificate: bytes) -> int:
    try:
        return int(x509.load_der_x509_certificate(certificate).not_valid_after_utc.timestamp())
    except ValueError:
        return 0
