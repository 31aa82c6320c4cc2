"""JSON-RPC over a peer's connection: how wallets ask nodes that sell channels. bLIP 50 (LSPS0).

Theory of operation. A message is one JSON object. Whoever asks is the client; the node that sells answers. A client
remembers the ids of what it asked, by peer, and takes no other answer. A peer whose message cannot be read is asked
nothing more on that connection. Nothing here knows a clock: time-outs are the caller's, who then calls `forget`.

What a peer can make us keep is bounded by what we asked; what it can make us do, by one call of the service a message.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NoReturn, Protocol, TypeAlias

from wallet.bitcoin.errors import APIError, DecodeError
from wallet.chain.interfaces import Logger, LogLevel
from wallet.ln.features import NO_FEATURES, Feature, Features
from wallet.ln.msgs import LspsMessage
from wallet.ln.types import NodeId

__all__ = [
    "CLIENT_REJECTED",
    "INTERNAL_ERROR",
    "INVALID_PARAMS",
    "METHOD_NOT_FOUND",
    "Answer",
    "Failure",
    "Fields",
    "LspsError",
    "LspsHandler",
    "LspsService",
    "Notification",
    "Outcome",
    "Request",
    "Trouble",
    "datetime_text",
    "decode_from_client",
    "decode_from_server",
    "encode_answer",
    "encode_failure",
    "encode_request",
    "invalid_params",
    "sat_text",
    "unrecognized",
]

PARSE_ERROR: Final = -32_700
METHOD_NOT_FOUND: Final = -32_601
INVALID_PARAMS: Final = -32_602
INTERNAL_ERROR: Final = -32_603
CLIENT_REJECTED: Final = 1

MAX_MESSAGE_LENGTH: Final = 65_533
"""BOLT 8's limit, less the type."""
MAX_ID_LENGTH: Final = 256
"""Ids are UUIDs or the like; a longer one would only be sent to have it sent back."""
MAX_TEXT_LENGTH: Final = 4_096
"""Of one text in an answer: invoices are 2,048 characters at most. bLIP 51."""
MAX_NAMES_SAID: Final = 16
MAX_ASKED_AT_A_TIME: Final = 8
"""Requests to one peer that wait for their answer."""
MAX_SAT: Final = 21_000_000 * 100_000_000
ID_BYTES: Final = 16
"""bLIP 50: 80 bits of chance at least."""

_DECIMAL: Final = re.compile(r"0|[1-9][0-9]{0,15}")
_DATETIME: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.[0-9]{1,9})?Z"
)

Json: TypeAlias = Mapping[str, object]


class LspsError(Exception):
    """What a service refuses a call with; the code and its data travel, the message is for logs.

    Attributes:
        code: of JSON-RPC or of the specification that the method is from.
        data: what the specification wants to be said with that code.
    """

    def __init__(self, code: int, message: str, data: Json | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data: Json = {} if data is None else data


def invalid_params(name: str, why: str) -> LspsError:
    """A parameter that makes no sense. bLIP 50 wants `unrecognized`, bLIP 51 `property` and `message`."""
    data: Json = {"unrecognized": [], "property": name, "message": why}
    return LspsError(INVALID_PARAMS, "Invalid params", data)


def unrecognized(params: Iterable[str]) -> LspsError:
    """Parameters that are not known here. bLIP 50, invalid parameters error."""
    names = [name[:MAX_ID_LENGTH] for name in sorted(params)[:MAX_NAMES_SAID]]
    data: Json = {"unrecognized": names, "property": names[0], "message": "Not known here"}
    return LspsError(INVALID_PARAMS, "Invalid params", data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A client's call."""

    request_id: str
    method: str
    params: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A call's result."""

    request_id: str
    result: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A refusal. `request_id` is None where the server could not read which call it was."""

    request_id: str | None
    code: int
    message: str
    data: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """News from a server; nothing here asks for any."""

    method: str


class Trouble(Exception):
    """A call came to nothing: the peer hung up, or what it said cannot be read."""


Outcome: TypeAlias = Answer | Failure | Trouble


# --- bytes ------------------------------------------------------------------------------------


def _object(data: bytes) -> Json:
    """The one JSON object of a message; raises `DecodeError`. bLIP 50, message payload format."""
    if len(data) > MAX_MESSAGE_LENGTH:
        raise DecodeError("A message is too long.")
    if 0 in data:
        raise DecodeError("A message contains a zero byte.")
    try:
        # No amount is a number here, and nothing that is read is a fraction: one becomes null, wherever it stands.
        found: object = json.loads(
            data.decode("utf-8"), parse_float=lambda _text: None, parse_constant=_refuse_constant
        )
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"A message is no JSON ({type(error).__name__}).") from None
    if not isinstance(found, dict):
        raise DecodeError("A message is not one JSON object.")
    if found.get("jsonrpc") != "2.0":
        raise DecodeError("A message is not of JSON-RPC 2.0.")
    return found


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(text)


def _request_id(found: Json) -> str:
    request_id = found.get("id")
    if not isinstance(request_id, str) or not 0 < len(request_id) <= MAX_ID_LENGTH:
        raise DecodeError("A message has no id that can be used.")
    if not request_id.isprintable():
        # Half a character could not be sent back.
        raise DecodeError("A message's id has broken characters.")
    return request_id


def decode_from_client(data: bytes) -> Request:
    """What a server is told; raises `DecodeError`."""
    found = _object(data)
    method, params = found.get("method"), found.get("params", {})
    if not isinstance(method, str) or len(method) > MAX_ID_LENGTH:
        raise DecodeError("A request has no method.")
    # bLIP 50, client: parameters go by name.
    if not isinstance(params, dict):
        raise DecodeError("A request's parameters have no names.")
    if not all(name.isprintable() for name in params):
        raise DecodeError("A request's parameters have broken names.")
    return Request(request_id=_request_id(found), method=method, params=params)


def decode_from_server(data: bytes) -> Answer | Failure | Notification:
    """What a client is told; raises `DecodeError`."""
    found = _object(data)
    if "method" in found:
        method = found["method"]
        if "id" in found or not isinstance(method, str) or not isinstance(found.get("params"), dict):
            raise DecodeError("A message is neither an answer nor a notification.")
        return Notification(method=method[:MAX_ID_LENGTH])
    if ("result" in found) == ("error" in found):
        raise DecodeError("An answer has a result or an error, and not both.")
    if "result" in found:
        result = found["result"]
        if not isinstance(result, dict):
            raise DecodeError("A result is not an object.")
        return Answer(request_id=_request_id(found), result=result)
    error = found["error"]
    if not isinstance(error, dict):
        raise DecodeError("An error is not an object.")
    code, message, details = error.get("code"), error.get("message"), error.get("data")
    if isinstance(code, bool) or not isinstance(code, int) or not isinstance(message, str):
        raise DecodeError("An error has no code, or no message.")
    request_id = None if found.get("id") is None else _request_id(found)
    return Failure(
        request_id=request_id,
        code=code,
        message=message[:MAX_TEXT_LENGTH],
        data=details if isinstance(details, dict) else {},
    )


def _encoded(found: Json) -> bytes:
    # bLIP 50, common schemas: characters that need no escape stand for themselves.
    data = json.dumps({"jsonrpc": "2.0", **found}, ensure_ascii=False, separators=(",", ":")).encode()
    if len(data) > MAX_MESSAGE_LENGTH:
        raise APIError(f"A message of {len(data)} bytes is too long for the transport.")
    return data


def encode_request(request: Request) -> bytes:
    return _encoded({"method": request.method, "params": dict(request.params), "id": request.request_id})


def encode_answer(request_id: str, result: Json) -> bytes:
    return _encoded({"id": request_id, "result": dict(result)})


def encode_failure(request_id: str | None, code: int, message: str, data: Json) -> bytes:
    return _encoded(
        {"id": request_id, "error": {"code": code, "message": message, "data": dict(data)}},
    )


# --- fields of objects --------------------------------------------------------------------------


def sat_text(amount_sat: int) -> str:
    """LSPS0.sat: amounts are decimal text."""
    return str(amount_sat)


def datetime_text(moment_at: int) -> str:
    """LSPS0.datetime."""
    return datetime.fromtimestamp(moment_at, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


class Fields:
    """Reads an object field by field; `problem(name, why)` makes the error to raise. Fields that nobody asks for are
    ignored, as bLIP 50 wants of clients."""

    def __init__(self, found: Json, problem: Callable[[str, str], Exception], prefix: str = "") -> None:
        self._found = found
        self._problem = problem
        self._prefix = prefix

    def wrong(self, name: str, why: str) -> Exception:
        return self._problem(self._prefix + name, why)

    def has(self, name: str) -> bool:
        """Whether it is there; null counts as absent."""
        return self._found.get(name) is not None

    def sat(self, name: str) -> int:
        """LSPS0.sat."""
        text = self._found.get(name)
        if not isinstance(text, str) or not _DECIMAL.fullmatch(text):
            raise self.wrong(name, "Not an amount as decimal text")
        amount_sat = int(text)
        if amount_sat > MAX_SAT:
            raise self.wrong(name, "More than there is")
        return amount_sat

    def number(self, name: str, bits: int) -> int:
        """A whole number that fits so many bits."""
        found = self._found.get(name)
        if isinstance(found, bool) or not isinstance(found, int) or not 0 <= found < 1 << bits:
            raise self.wrong(name, f"Not a whole number of {bits} bits")
        return found

    def boolean(self, name: str) -> bool:
        found = self._found.get(name)
        if not isinstance(found, bool):
            raise self.wrong(name, "Not a boolean")
        return found

    def text(self, name: str, longest: int = MAX_TEXT_LENGTH) -> str:
        """Printable, because it is stored and may be shown."""
        found = self._found.get(name)
        if not isinstance(found, str) or len(found) > longest or not found.isprintable():
            raise self.wrong(name, f"Not a text of {longest} characters at most")
        return found

    def moment_at(self, name: str) -> int:
        """LSPS0.datetime, in seconds since 1970; fractions are dropped."""
        text = self._found.get(name)
        matched = _DATETIME.fullmatch(text) if isinstance(text, str) else None
        if matched is None:
            raise self.wrong(name, "Not a moment as YYYY-MM-DDThh:mm:ss.uuuZ")
        try:
            year, month, day, hour, minute, second = map(int, matched.groups())
            moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
        except ValueError:
            raise self.wrong(name, "There is no such moment") from None
        return max(0, int(moment.timestamp()))

    def part(self, name: str) -> Fields:
        """An object within."""
        found = self._found.get(name)
        if not isinstance(found, dict):
            raise self.wrong(name, "Not an object")
        return Fields(found, self._problem, f"{self._prefix}{name}.")


# --- both ends ------------------------------------------------------------------------------------


class LspsService(Protocol):
    """What a node that sells offers to its peers."""

    def protocols(self) -> tuple[int, ...]:
        """The numbers of the specifications that it speaks, without 0."""
        ...

    def call(self, their_node_id: NodeId, method: str, params: Json) -> Json:
        """Answers one call; raises `LspsError`. Within an entry into the core, so it never waits."""
        ...


class LspsHandler:
    """The client's end towards every peer, and the server's where there is a service. All calls are under the core's
    lock. Implements `CustomMessageHandler`.

    Attributes:
        service: what is sold here; None in a wallet that only buys.
    """

    def __init__(
        self,
        *,
        send: Callable[[NodeId, LspsMessage], None],
        entropy: Callable[[], bytes],
        logger: Logger,
        service: LspsService | None = None,
    ) -> None:
        self._send = send
        self._entropy = entropy
        self._logger = logger
        self.service = service
        self._asked: dict[NodeId, dict[str, Callable[[Outcome], None]]] = {}
        self._unreadable: set[NodeId] = set()

    # --- the seam -------------------------------------------------------------------

    def provided_node_features(self) -> Features:
        return self._features()

    def provided_init_features(self, their_node_id: NodeId) -> Features:
        return self._features()

    def _features(self) -> Features:
        # bLIP 50, feature bit: servers may set it, clients must not.
        return NO_FEATURES if self.service is None else Features.of(optional=(Feature.LSPS,))

    def peer_disconnected(self, their_node_id: NodeId) -> None:
        """Nobody answers over the next connection what was asked over this one."""
        self._unreadable.discard(their_node_id)
        self._give_up(their_node_id, "it hung up")

    def handle_lsps_message(self, their_node_id: NodeId, msg: LspsMessage) -> None:
        if self.service is not None and self._serve(their_node_id, self.service, msg.data):
            return
        if their_node_id not in self._asked:
            # Whoever was asked nothing can make us neither read nor log anything.
            return
        try:
            said = decode_from_server(msg.data)
        except DecodeError as error:
            # bLIP 50, bad message format, client: ignore it, and ask nothing more on this connection.
            self._logger.log(LogLevel.WARN, "%s said what is no LSPS0: %s", _name(their_node_id), error)
            self._unreadable.add(their_node_id)
            self._give_up(their_node_id, "what it says cannot be read")
            return
        if isinstance(said, Notification):
            self._logger.log(LogLevel.DEBUG, "%s tells of something unknown", _name(their_node_id))
            return
        asked = self._asked[their_node_id]
        tell = None if said.request_id is None else asked.pop(said.request_id, None)
        if tell is None:
            # bLIP 50, disconnection handling: an answer to what was not asked is ignored.
            self._logger.log(LogLevel.DEBUG, "%s answers what was not asked", _name(their_node_id))
            return
        if not asked:
            del self._asked[their_node_id]
        tell(said)

    # --- client -----------------------------------------------------------------------

    def ask(self, their_node_id: NodeId, method: str, params: Json, tell: Callable[[Outcome], None]) -> str:
        """Sends a call; its id. `tell` is called once, under the lock, maybe outside of an entry. Raises `Trouble`
        where nothing may be asked now."""
        if their_node_id in self._unreadable:
            raise Trouble("what it says cannot be read")
        asked = self._asked.setdefault(their_node_id, {})
        if len(asked) >= MAX_ASKED_AT_A_TIME:
            raise Trouble("it has not answered earlier questions yet")
        request_id = self._entropy()[:ID_BYTES].hex()
        data = encode_request(Request(request_id=request_id, method=method, params=params))
        asked[request_id] = tell
        self._send(their_node_id, LspsMessage(data=data))
        return request_id

    def forget(self, their_node_id: NodeId, request_id: str) -> None:
        """Nobody waits for this answer any more."""
        asked = self._asked.get(their_node_id, {})
        asked.pop(request_id, None)
        if not asked:
            self._asked.pop(their_node_id, None)

    def _give_up(self, their_node_id: NodeId, why: str) -> None:
        for tell in self._asked.pop(their_node_id, {}).values():
            tell(Trouble(why))

    # --- server -----------------------------------------------------------------------

    def _serve(self, their_node_id: NodeId, service: LspsService, data: bytes) -> bool:
        """Answers a call; False for what may be meant for the client's end, since we asked that peer something."""
        try:
            request = decode_from_client(data)
        except DecodeError as error:
            if their_node_id in self._asked:
                return False
            # bLIP 50, bad message format, LSP: say so, with no id.
            self._logger.log(LogLevel.DEBUG, "%s asked what is no LSPS0: %s", _name(their_node_id), error)
            self._answer(their_node_id, encode_failure(None, PARSE_ERROR, "Parse error", {}))
            return True
        try:
            if request.method == "lsps0.list_protocols":
                if request.params:
                    raise unrecognized(request.params)
                result: Json = {"protocols": list(service.protocols())}
            else:
                result = service.call(their_node_id, request.method, request.params)
            answer = encode_answer(request.request_id, result)
        except LspsError as error:
            answer = encode_failure(request.request_id, error.code, error.message, error.data)
        self._answer(their_node_id, answer)
        return True

    def _answer(self, their_node_id: NodeId, data: bytes) -> None:
        self._send(their_node_id, LspsMessage(data=data))


def _name(node_id: NodeId) -> str:
    return f"peer {node_id.hex()[:12]}"
