"""The routing graph and the scores as files: caches, whose loss costs time only.

The graph is public and belongs to the network. The scores belong to a wallet: they say which channels its payments
have gone through, and lie beside its file, sealed with a key from its seed. Each is written to a temporary file that
then takes the place of the old one, so that a crash leaves one of the two whole; a damaged one is thrown away.
"""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Iterable
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from wallet.bitcoin.address import Network
from wallet.bitcoin.hashes import hkdf_sha256
from wallet.chain.interfaces import Logger, LogLevel
from wallet.ln.routing.gossip import NetworkGraph
from wallet.ln.routing.graph_file import PREFIX_LENGTH, GraphImage, MessageReader, read_prefix
from wallet.ln.routing.scoring import ProbabilisticScorer
from wallet.ln.types import DecodeError

__all__ = ["GraphFile", "RoutingCaches"]

PURPOSE = b"leyden scores 1"
NONCE_LENGTH = 12


class GraphFile:
    """The open file of the graph, for the messages in it. On systems that do not replace an open file it is closed
    first: then there are no messages until the next is opened."""

    def __init__(self, path: Path) -> None:
        """Raises `OSError`."""
        self._lock = threading.Lock()
        self._handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        # Closed with the last graph that reads from it.
        self.close = weakref.finalize(self, os.close, self._handle)
        self.length = os.fstat(self._handle).st_size
        self.messages_start = 0

    def read(self, start: int, length: int) -> bytes:
        """Bytes from anywhere in the file; fewer at its end, none where it cannot be read."""
        parts = []
        try:
            with self._lock:
                if not self.close.alive:
                    return b""
                os.lseek(self._handle, start, os.SEEK_SET)
                while length > 0 and (part := os.read(self._handle, length)):
                    parts.append(part)
                    length -= len(part)
        except OSError:
            return b""
        return b"".join(parts)

    def message(self, offset: int, length: int) -> bytes:
        """`MessageReader`."""
        return self.read(self.messages_start + offset, length)


class RoutingCaches:
    """`graph.bin` in the network's folder, `scores.bin` in the wallet's. Its methods read and write files: not for the
    loop."""

    def __init__(
        self, folder: Path, wallet_folder: Path, bip39_seed: bytes, network: Network, logger: Logger
    ) -> None:
        self._graph_path = folder / "graph.bin"
        self._scores_file = wallet_folder / "scores.bin"
        self._open_scores_file = folder / "scores.bin"
        """Where they lay unsealed once."""
        self._aead = ChaCha20Poly1305(hkdf_sha256(PURPOSE, bip39_seed, b"sealing", 32))
        self._network = network
        self._logger = logger
        self._graph_file: GraphFile | None = None

    def read(self) -> tuple[NetworkGraph, ProbabilisticScorer]:
        """What was saved last; new ones where nothing is there, or nothing of use."""
        with contextlib.suppress(OSError):
            self._open_scores_file.unlink(missing_ok=True)
        graph = NetworkGraph(self._network)
        try:
            graph = self._read_graph()
        except FileNotFoundError:
            pass
        except OSError as error:
            self._logger.log(LogLevel.WARN, "%s cannot be read: %s", self._graph_path.name, error)
        except DecodeError as error:
            self._throw_away(self._graph_path, error)
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

    def _read_graph(self) -> NetworkGraph:
        """Its head is read in one go; the messages stay in the file."""
        file = GraphFile(self._graph_path)
        try:
            prefix = read_prefix(file.read(0, PREFIX_LENGTH), self._network)
            file.messages_start = PREFIX_LENGTH + prefix.head_length
            if file.length != file.messages_start + prefix.messages_length:
                raise DecodeError("The stored graph is cut short, or too long.")
            head = file.read(0, file.messages_start)
            graph = NetworkGraph.read(head, self._network, file.message)
        except BaseException:
            file.close()
            raise
        self._graph_file = file
        return graph

    def save_graph(self, image: GraphImage) -> MessageReader | None:
        """Write an image; give the reader of its messages, or None where the disk refuses."""
        if not self._write(self._graph_path, image.chunks()):
            return None
        try:
            file = GraphFile(self._graph_path)
        except OSError as error:
            self._logger.log(LogLevel.WARN, "%s cannot be read: %s", self._graph_path.name, error)
            return None
        file.messages_start = len(image.head)
        self._graph_file = file
        return file.message

    def save(self, graph: bytes, scores: bytes) -> None:
        """Both, as their `write` gave them; a disk that refuses costs a line in the log."""
        self._write(self._graph_path, (graph,))
        self.save_scores(scores)

    def save_scores(self, scores: bytes) -> None:
        nonce = os.urandom(NONCE_LENGTH)
        self._write(self._scores_file, (nonce + self._aead.encrypt(nonce, scores, PURPOSE),))

    def _write(self, path: Path, chunks: Iterable[bytes]) -> bool:
        temporary = path.with_name(f"{path.name}.{os.getpid()}.new")
        try:
            with temporary.open("wb") as file:
                for chunk in chunks:
                    file.write(chunk)
            if os.name == "nt" and path == self._graph_path and self._graph_file is not None:
                self._graph_file.close()
            temporary.replace(path)
        except OSError as error:
            self._logger.log(LogLevel.WARN, "%s cannot be saved: %s", path.name, error)
            with contextlib.suppress(OSError):
                temporary.unlink()
            return False
        return True

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
