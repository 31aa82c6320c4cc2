"""The bytes of durable state: frozen dataclasses to TLV streams and back.

Theory of operation. A record is a TLV stream in the manner of BOLT 1: BigSize type, BigSize length, value, types
rising. A class's fields are numbered in declaration order 0, 2, 4, ...; a field that is added in a later release
carries `field(default=..., metadata={"tlv": n})` with a number of its own: odd, and older releases ignore it; even,
and they refuse the record. Absent fields take their default. The codec of a class is compiled once, from its type
hints, into two closures, so that the cost is that of the fields.

Supported types: unsigned `int`, `bool`, `bytes`, `str`, an `Enum` whose values are integers, `NewType`s of these,
`X | None`, `tuple[X, ...]`, `tuple[A, B]`, `frozenset[X]`, `dict[K, V]`, records, and unions of records whose
members are registered with `tagged`. Classes with a wire form of their own are added with `register`.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from operator import attrgetter
from typing import Any, TypeVar, Union, cast

from wallet.bitcoin.errors import DecodeError, InvariantError
from wallet.bitcoin.tx import BlockHeader, OutPoint, Transaction, TxIn, TxOut

__all__ = ["decode", "encode", "register", "tagged"]

T = TypeVar("T")
Encoder = Callable[[Any], bytes]
Decoder = Callable[[bytes], Any]
Codec = tuple[Encoder, Decoder]

_codecs: dict[object, Codec] = {}
_tags: dict[type, int] = {}


def encode(record: object) -> bytes:
    """The bytes of a record; raises `InvariantError` for a value that its type cannot hold."""
    return _codec(type(record))[0](record)


def decode(cls: type[T], data: bytes) -> T:
    """The record that `data` holds; raises `DecodeError` and nothing else."""
    return cast("T", _codec(cls)[1](data))


def tagged(tag: int) -> Callable[[type[T]], type[T]]:
    """Numbers a class for the unions that it is a member of; the number is unique within each union, and stays."""

    def mark(cls: type[T]) -> type[T]:
        _tags[cls] = tag
        return cls

    return mark


def register(cls: type[T], to_bytes: Callable[[T], bytes], from_bytes: Callable[[bytes], T]) -> None:
    """Gives a class the codec of its own wire form."""
    _codecs[cls] = (to_bytes, from_bytes)


# --- BigSize ------------------------------------------------------------------


_SMALL = tuple(bytes((number,)) for number in range(0xFD))


def _bigsize(number: int) -> bytes:
    if 0 <= number < 0xFD:
        return _SMALL[number]
    if number <= 0xFFFF:
        return b"\xfd" + number.to_bytes(2, "big")
    if number <= 0xFFFFFFFF:
        return b"\xfe" + number.to_bytes(4, "big")
    return b"\xff" + number.to_bytes(8, "big")


def _read_bigsize(data: bytes, at: int) -> tuple[int, int]:
    try:
        first = data[at]
    except IndexError:
        raise DecodeError("a record ends within a length") from None
    if first < 0xFD:
        return first, at + 1
    size = 2 << (first - 0xFD)
    end = at + 1 + size
    if end > len(data):
        raise DecodeError("a record ends within a length")
    number = int.from_bytes(data[at + 1 : end], "big")
    if number < (0xFD, 1 << 16, 1 << 32)[first - 0xFD]:
        raise DecodeError("a record has a length that is not minimal")
    return number, end


def _read_sized(data: bytes, at: int) -> tuple[bytes, int]:
    size, at = _read_bigsize(data, at)
    if at + size > len(data):
        raise DecodeError("a record is cut short")
    return data[at : at + size], at + size


# --- leaves -------------------------------------------------------------------


def _encode_int(value: int) -> bytes:
    if value < 0:
        raise InvariantError(f"a record holds the negative number {value}")
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def _decode_int(data: bytes) -> int:
    if data[:1] == b"\x00":
        raise DecodeError("a record has a number that is not minimal")
    return int.from_bytes(data, "big")


def _decode_bool(data: bytes) -> bool:
    if data not in (b"\x00", b"\x01"):
        raise DecodeError("a record has a truth value that is neither 0 nor 1")
    return data == b"\x01"


def _decode_str(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise DecodeError("a record has text that is not UTF-8") from None


_LEAVES: dict[object, Codec] = {
    int: (_encode_int, _decode_int),
    bool: (lambda value: b"\x01" if value else b"\x00", _decode_bool),
    bytes: (bytes, bytes),
    str: (lambda value: cast("str", value).encode(), _decode_str),
}


def _encode_output(output: TxOut) -> bytes:
    return output.value_sat.to_bytes(8, "big") + output.script_pubkey


def _decode_output(data: bytes) -> TxOut:
    if len(data) < 8:
        raise DecodeError("a record holds half a transaction output")
    return TxOut(int.from_bytes(data[:8], "big"), data[8:])


register(OutPoint, OutPoint.serialize, OutPoint.parse)
register(TxOut, _encode_output, _decode_output)
register(Transaction, Transaction.serialize, Transaction.parse)
register(BlockHeader, BlockHeader.serialize, BlockHeader.parse)

# --- compound types -----------------------------------------------------------


def _codec(kind: object) -> Codec:
    found = _codecs.get(kind)
    if found is None:
        found = _codecs[kind] = _compile(kind)
    return found


def _lazy(kind: object) -> Codec:
    """For records within records: they may refer to each other."""
    return (lambda value: _codec(kind)[0](value)), (lambda data: _codec(kind)[1](data))


def _compile(kind: object) -> Codec:
    if kind in _LEAVES:
        return _LEAVES[kind]
    if isinstance(kind, typing.NewType):
        return _codec(kind.__supertype__)
    origin = typing.get_origin(kind)
    arguments = typing.get_args(kind)
    if origin in (Union, types.UnionType):
        return _compile_union(arguments)
    if origin is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return _compile_sequence(_codec(arguments[0]), tuple)
        return _compile_tuple([_codec(argument) for argument in arguments])
    if origin is frozenset:
        return _compile_set(_codec(arguments[0]))
    if origin is dict:
        return _compile_dict(_codec(arguments[0]), _codec(arguments[1]))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _compile_enum(kind)
    if isinstance(kind, type) and is_dataclass(kind):
        return _compile_record(kind)
    raise InvariantError(f"records cannot hold {kind!r}")


def _compile_enum(kind: type[Enum]) -> Codec:
    by_number = {member.value: member for member in kind}

    def read(data: bytes) -> Enum:
        try:
            return by_number[_decode_int(data)]
        except KeyError:
            raise DecodeError(f"a record has an unknown {kind.__name__}") from None

    return (lambda member: _encode_int(cast("Enum", member).value)), read


def _compile_sequence(item: Codec, build: Callable[[list[object]], object]) -> Codec:
    write_item, read_item = item

    def write(values: tuple[object, ...]) -> bytes:
        parts: list[bytes] = []
        for value in values:
            encoded = write_item(value)
            parts += (_bigsize(len(encoded)), encoded)
        return b"".join(parts)

    def read(data: bytes) -> object:
        at, values = 0, []
        while at < len(data):
            part, at = _read_sized(data, at)
            values.append(read_item(part))
        return build(values)

    return write, read


def _compile_set(item: Codec) -> Codec:
    write, read = _compile_sequence(item, frozenset)
    write_item = item[0]
    return (lambda values: write(tuple(sorted(cast("frozenset[Any]", values), key=write_item)))), read


def _compile_tuple(items: list[Codec]) -> Codec:
    def write(values: tuple[object, ...]) -> bytes:
        parts = []
        for (write_item, _), value in zip(items, values, strict=True):
            encoded = write_item(value)
            parts.append(_bigsize(len(encoded)) + encoded)
        return b"".join(parts)

    def read(data: bytes) -> tuple[object, ...]:
        at, values = 0, []
        for _, read_item in items:
            part, at = _read_sized(data, at)
            values.append(read_item(part))
        if at != len(data):
            raise DecodeError("a record has a tuple that is too long")
        return tuple(values)

    return write, read


def _compile_dict(key: Codec, value: Codec) -> Codec:
    write_pairs, read_pairs = _compile_sequence(_compile_tuple([key, value]), tuple)

    def read(data: bytes) -> dict[object, object]:
        return dict(cast("tuple[tuple[object, object], ...]", read_pairs(data)))

    return (lambda mapping: write_pairs(tuple(cast("dict[object, object]", mapping).items()))), read


def _compile_union(arguments: tuple[object, ...]) -> Codec:
    """`X | None` is told by presence within a record and by an empty value elsewhere; members by their tags."""
    members = [argument for argument in arguments if argument is not type(None)]
    if len(members) == 1:
        write_some, read_some = _codec(members[0]) if members[0] in _LEAVES else _lazy(members[0])
        return (
            lambda value: b"" if value is None else b"\x01" + write_some(value),
            lambda data: None if not data else read_some(_after_mark(data)),
        )
    by_tag: dict[int, type] = {}
    for member in members:
        if not isinstance(member, type) or member not in _tags or _tags[member] in by_tag:
            raise InvariantError(f"{member!r} has no tag of its own in its union")
        by_tag[_tags[member]] = member

    def write(value: object) -> bytes:
        if value is None:
            return b""
        return _bigsize(_tags[type(value)] + 1) + _codec(type(value))[0](value)

    def read(data: bytes) -> object:
        if not data:
            if type(None) in arguments:
                return None
            raise DecodeError("a record lacks a value")
        tag, at = _read_bigsize(data, 0)
        if tag - 1 not in by_tag:
            raise DecodeError("a record has a variant that this release does not know")
        return _codec(by_tag[tag - 1])[1](data[at:])

    return write, read


def _after_mark(data: bytes) -> bytes:
    if data[:1] != b"\x01":
        raise DecodeError("a record has an optional value that is neither there nor absent")
    return data[1:]


def _always(value: object) -> Callable[[], object]:
    return lambda: value


def _compile_record(kind: type) -> Codec:
    hints = typing.get_type_hints(kind, include_extras=False)
    numbered = []
    for index, item in enumerate(f for f in fields(kind) if "tlv" not in f.metadata):
        numbered.append((2 * index, item))
    numbered += [(item.metadata["tlv"], item) for item in fields(kind) if "tlv" in item.metadata]
    numbered.sort(key=lambda pair: pair[0])
    if len({number for number, _ in numbered}) != len(numbered):
        raise InvariantError(f"{kind.__name__} numbers two fields alike")
    plan = []
    defaults: dict[str, Callable[[], object]] = {}
    for number, item in numbered:
        hint = hints[item.name]
        optional = _optional_of(hint)
        codec = _codec(optional if optional is not None else hint)
        plan.append((_bigsize(number), item.name, *codec, optional is not None))
        if optional is not None:
            defaults[item.name] = _always(None)
        elif item.default is not MISSING:
            defaults[item.name] = _always(item.default)
        elif item.default_factory is not MISSING:
            defaults[item.name] = item.default_factory
    readers = {number: (item.name, plan[i][3]) for i, (number, item) in enumerate(numbered)}
    names = [item.name for _, item in numbered]
    # Every commit writes a dozen records: what is the same for all of a class is worked out here.
    get = attrgetter(*names) if names else lambda record: ()
    writers = [(head, write_field, may_be_absent) for head, _, write_field, _, may_be_absent in plan]

    def write(record: object) -> bytes:
        values = get(record) if len(names) != 1 else (get(record),)
        parts: list[bytes] = []
        for (head, write_field, may_be_absent), value in zip(writers, values, strict=True):
            if value is None and may_be_absent:
                continue
            encoded = write_field(value)
            size = len(encoded)
            parts += (head, _SMALL[size] if size < 0xFD else _bigsize(size), encoded)
        return b"".join(parts)

    def read(data: bytes) -> object:
        at, last, values = 0, -1, {}
        while at < len(data):
            number, at = _read_bigsize(data, at)
            if number <= last:
                raise DecodeError("a record has its fields out of order")
            last = number
            part, at = _read_sized(data, at)
            field = readers.get(number)
            if field is None:
                if number % 2 == 0:
                    raise DecodeError("a record was written by a newer release: update Leyden to read it")
                continue
            values[field[0]] = field[1](part)
        for name in names:
            if name not in values:
                if name not in defaults:
                    raise DecodeError(f"a record lacks its {name}")
                values[name] = defaults[name]()
        try:
            return kind(**values)
        except (ValueError, TypeError) as error:
            raise DecodeError(f"a record is not valid: {error}") from None

    return write, read


def _optional_of(hint: object) -> object | None:
    """X for `X | None` with one X; None otherwise."""
    if typing.get_origin(hint) not in (Union, types.UnionType):
        return None
    members = [argument for argument in typing.get_args(hint) if argument is not type(None)]
    if len(members) == 1 and len(members) < len(typing.get_args(hint)):
        return cast("object", members[0])
    return None


def _encode_input(item: TxIn) -> bytes:
    head = item.prevout.serialize() + item.sequence.to_bytes(4, "big")
    return head + _codec(tuple[bytes, ...])[0]((item.script_sig, *item.witness))


def _decode_input(data: bytes) -> TxIn:
    if len(data) < 41:
        raise DecodeError("a record holds half a transaction input")
    script_sig, *witness = cast("tuple[bytes, ...]", _codec(tuple[bytes, ...])[1](data[40:]))
    return TxIn(OutPoint.parse(data[:36]), script_sig, int.from_bytes(data[36:40], "big"), tuple(witness))


register(TxIn, _encode_input, _decode_input)
