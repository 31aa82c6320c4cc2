"""The routing graph and the scores as files: caches, whose loss costs time only.

The graph is public and belongs to the network. The scores belong to a wallet: they say which channels its payments
have gone through, and lie beside its file, sealed with a key from its seed. Each is written to a temporary file that
then takes the place of the old one, so that a crash leaves one of the two whole; a damaged one is thrown away.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from wallet.bitcoin.address import Network
from wallet.bitcoin.hashes import hkdf_sha256
from wallet.chain.interfaces import Logger, LogLevel
from wallet.ln.routing.gossip import NetworkGraph
from wallet.ln.routing.scoring import ProbabilisticScorer
from wallet.ln.types import DecodeError

__all__ = ["RoutingCaches"]

PURPOSE = b"leyden scores 1"
NONCE_LENGTH = 12


class RoutingCaches:
    """`graph.bin` in the network's folder, `scores.bin` in the wallet's. Its methods read and write files: not for the
    loop."""

    def __init__(
        self, folder: Path, wallet_folder: Path, bip39_seed: bytes, network: Network, logger: Logger
    ) -> None:
        self._graph_file = folder / "graph.bin"
        self._scores_file = wallet_folder / "scores.bin"
        self._open_scores_file = folder / "scores.bin"
        """Where they lay unsealed once."""
        self._aead = ChaCha20Poly1305(hkdf_sha256(PURPOSE, bip39_seed, b"sealing", 32))
        self._network = network
        self._logger = logger

    def read(self) -> tuple[NetworkGraph, ProbabilisticScorer]:
        """What was saved last; new ones where nothing is there, or nothing of use."""
        with contextlib.suppress(OSError):
            self._open_scores_file.unlink(missing_ok=True)
        graph = NetworkGraph(self._network)
        if data := self._load(self._graph_file):
            try:
                graph = NetworkGraph.read(data, self._network)
            except DecodeError as error:
                self._throw_away(self._graph_file, error)
        scorer = ProbabilisticScorer(graph)
        if data := self._load(self._scores_file):
            try:
                scorer = ProbabilisticScorer.read(self._unsealed(data), graph)
            except DecodeError as error:
                self._throw_away(self._scores_file, error)
        return graph, scorer

    def _unsealed(self, data: bytes) -> bytes:
        try:
            return self._aead.decrypt(data[:NONCE_LENGTH], data[NONCE_LENGTH:], PURPOSE)
        except (InvalidTag, ValueError):
            raise DecodeError("its seal does not fit") from None

    def save(self, graph: bytes, scores: bytes) -> None:
        """Both, as their `write` gave them; a disk that refuses costs a line in the log."""
        nonce = os.urandom(NONCE_LENGTH)
        sealed = nonce + self._aead.encrypt(nonce, scores, PURPOSE)
        for path, data in ((self._graph_file, graph), (self._scores_file, sealed)):
            temporary = path.with_name(f"{path.name}.{os.getpid()}.new")
            try:
                temporary.write_bytes(data)
                temporary.replace(path)
            except OSError as error:
                self._logger.log(LogLevel.WARN, "%s cannot be saved: %s", path.name, error)
                with contextlib.suppress(OSError):
                    temporary.unlink()

    def _load(self, path: Path) -> bytes:
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            self._logger.log(LogLevel.WARN, "%s cannot be read: %s", path.name, error)
            return b""

    def _throw_away(self, path: Path, error: DecodeError) -> None:
        self._logger.log(LogLevel.WARN, "%s is of no use and starts anew: %s", path.name, error)
        with contextlib.suppress(OSError):
            path.unlink()
