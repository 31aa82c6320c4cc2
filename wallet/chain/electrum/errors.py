"""What can be wrong with an Electrum server, as a value with a disposition.

Whatever a server does, the caller meets one exception, `ServerError`; its kind says what to do with the
server, its message is a sentence for the status line.
"""

from __future__ import annotations

import unicodedata
from enum import Enum, auto

from wallet.i18n import _

__all__ = ["ServerError", "ServerErrorKind", "ServerRefused", "clean_text"]

_MAX_TEXT_CHARS = 300


def clean_text(text: str, limit_chars: int = _MAX_TEXT_CHARS) -> str:
    """A server's words, made fit for a log and a label: no control or direction characters, one line, cut
    short."""
    shown = "".join(" " if unicodedata.category(char).startswith(("C", "Z")) else char for char in text)
    shown = " ".join(shown.split())
    return shown if len(shown) <= limit_chars else shown[: limit_chars - 1] + "…"


class ServerErrorKind(Enum):
    """Why a server is no longer used.

    UNREACHABLE, PROXY, CLOSED, TIMEOUT: tried again after a pause.
    CERTIFICATE, TOO_OLD, WRONG_NETWORK: the person has to look at it; tried again after a long pause.
    BAD_ANSWER, LIED, HIDES, FLOOD: dropped, and left alone for long.
    STALE: on an old or a weaker chain for too long; another one is preferred.
    REFUSED: the server is all right, it only said no to one request.
    """

    UNREACHABLE = auto()
    PROXY = auto()
    CLOSED = auto()
    TIMEOUT = auto()
    CERTIFICATE = auto()
    TOO_OLD = auto()
    WRONG_NETWORK = auto()
    BAD_ANSWER = auto()
    LIED = auto()
    HIDES = auto()
    FLOOD = auto()
    STALE = auto()
    REFUSED = auto()

    @property
    def is_dishonest(self) -> bool:
        return self in _DISHONEST

    @property
    def is_lasting(self) -> bool:
        """Whether trying again soon makes no sense."""
        return self in _LASTING


_DISHONEST = frozenset(
    {ServerErrorKind.BAD_ANSWER, ServerErrorKind.LIED, ServerErrorKind.HIDES, ServerErrorKind.FLOOD}
)
_LASTING = _DISHONEST | {
    ServerErrorKind.CERTIFICATE,
    ServerErrorKind.TOO_OLD,
    ServerErrorKind.WRONG_NETWORK,
    ServerErrorKind.STALE,
}


class ServerError(Exception):
    """A server failed us.

    Attributes:
        kind: what to do about it.
        message: a sentence for the person, without the server's name.
    """

    def __init__(self, kind: ServerErrorKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


class ServerRefused(ServerError):
    """The server answered one request with an error; the connection is fine.

    Attributes:
        code: of JSON-RPC: 1 a bad request (a refused transaction too), 2 the node behind the server said no.
        text: the server's words, cleaned.
    """

    def __init__(self, method: str, code: int, text: str) -> None:
        self.code = code
        self.text = clean_text(text)
        super().__init__(
            ServerErrorKind.REFUSED,
            _("The server refused {method}: {text}").format(method=method, text=self.text),
        )
