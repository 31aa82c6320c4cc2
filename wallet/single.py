"""One window a folder: a second start hands its link over to the first, and ends.

The socket has a name that follows from the data folder, and only the same user can reach it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from PyQt6.QtCore import QObject
from PyQt6.QtNetwork import QLocalServer, QLocalSocket

__all__ = ["MAX_LINK", "OneWindow", "SingleWindow", "hand_over"]

MAX_LINK = 8_192
"""The longest link that is taken: an invoice with every field is shorter."""
WAIT_MS = 2_000


def _name(folder: Path) -> str:
    return "leyden-" + hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:24]


def hand_over(folder: Path, link: str) -> bool:
    """Whether a window of this folder is open already; it has the link then, and comes to the front."""
    socket = QLocalSocket()
    socket.connectToServer(_name(folder))
    if not socket.waitForConnected(WAIT_MS):
        return False
    socket.write(link.encode()[:MAX_LINK] + b"\n")
    taken = socket.waitForBytesWritten(WAIT_MS)
    socket.disconnectFromServer()
    if socket.state() is not QLocalSocket.LocalSocketState.UnconnectedState:
        socket.waitForDisconnected(WAIT_MS)
    return bool(taken)


class SingleWindow(QObject):
    """Listens for later starts; `on_link` is called with each one's link, empty where it had none."""

    def __init__(self, folder: Path, on_link: Callable[[str], object]) -> None:
        super().__init__()
        self._on_link = on_link
        self._waiting: dict[QLocalSocket, bytes] = {}
        self._server = QLocalServer(self)
        self._server.setSocketOptions(QLocalServer.SocketOption.UserAccessOption)
        self._server.newConnection.connect(self._connected)
        name = _name(folder)
        if not self._server.listen(name):
            # What a window that was killed has left behind.
            QLocalServer.removeServer(name)
            self._server.listen(name)

    @property
    def is_listening(self) -> bool:
        return self._server.isListening()

    def _connected(self) -> None:
        while (socket := self._server.nextPendingConnection()) is not None:
            self._waiting[socket] = b""
            socket.readyRead.connect(lambda one=socket: self._read(one))
            socket.disconnected.connect(lambda one=socket: self._gone(one))
            self._read(socket)

    def _read(self, socket: QLocalSocket) -> None:
        if socket not in self._waiting:
            return
        data = self._waiting[socket] + bytes(socket.readAll().data())
        self._waiting[socket] = data
        line, newline, _rest = data.partition(b"\n")
        if newline:
            del self._waiting[socket]
            self._on_link(line.decode("utf-8", "replace").strip())
        elif len(data) > MAX_LINK:
            del self._waiting[socket]
            socket.abort()

    def _gone(self, socket: QLocalSocket) -> None:
        self._waiting.pop(socket, None)
        socket.deleteLater()

    def close(self) -> None:
        self._server.close()


class OneWindow:
    """What the window is given to be the only one of its folder.

    It listens as soon as it has found no other, long before the window stands there: of two starts at once, as by a
    double click, the second one is a later one. What comes meanwhile waits for `listen`.
    """

    def __init__(self, folder: Path, link: str) -> None:
        self._folder = folder
        self.link = link
        self._listener: SingleWindow | None = None
        self._on_link: Callable[[str], object] | None = None
        self._waiting: list[str] = []

    def hand_over(self) -> bool:
        """Whether another window has the link now; else this is the one."""
        if hand_over(self._folder, self.link):
            return True
        self._listener = SingleWindow(self._folder, self._take)
        return False

    def _take(self, link: str) -> None:
        if self._on_link is None:
            self._waiting.append(link)
        else:
            self._on_link(link)

    def listen(self, on_link: Callable[[str], object]) -> None:
        self._on_link = on_link
        waiting, self._waiting = self._waiting, []
        for link in waiting:
            on_link(link)

    def close(self) -> None:
        if self._listener is not None:
            self._listener.close()
