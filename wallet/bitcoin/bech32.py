"""Bech32 (BIP 173) and Bech32m (BIP 350): text with a checksum that finds typing errors.

There is no length limit here: addresses set their own (90 characters), invoices and offers have none.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Final

from wallet.bitcoin.errors import DecodeError
from wallet.i18n import _

CHARSET: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VALUES: Final = {character: value for value, character in enumerate(CHARSET)}
_CHECKSUM_LENGTH: Final = 6


class Spec(Enum):
    """Which constant the checksum is xored with."""

    BECH32 = 1
    BECH32M = 0x2BC830A3


def _step_table() -> tuple[int, ...]:
    """What the five bits that leave the checksum register put back into it (the generator of BIP 173)."""
    generators = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
    table = []
    for top in range(32):
        value = 0
        for bit, generator in enumerate(generators):
            if top >> bit & 1:
                value ^= generator
        table.append(value)
    return tuple(table)


_STEP: Final = _step_table()


def _polymod(values: Iterable[int]) -> int:
    step = _STEP
    checksum = 1
    for value in values:
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value ^ step[checksum >> 25]
    return checksum


def _expand_hrp(hrp: str) -> list[int]:
    codes = hrp.encode()
    return [code >> 5 for code in codes] + [0] + [code & 31 for code in codes]


def bech32_encode(hrp: str, data: Iterable[int], spec: Spec = Spec.BECH32) -> str:
    """Lower case text of a human-readable part and five-bit values."""
    values = list(data)
    checksum = _polymod(_expand_hrp(hrp) + values + [0] * _CHECKSUM_LENGTH) ^ spec.value
    values += [checksum >> 5 * (5 - position) & 31 for position in range(_CHECKSUM_LENGTH)]
    return hrp + "1" + "".join([CHARSET[value] for value in values])


def bech32_decode(text: str, spec: Spec = Spec.BECH32) -> tuple[str, list[int]]:
    """The human-readable part in lower case, and the five-bit values without the checksum."""
    hrp, values, found = bech32_decode_any(text)
    if found is not spec:
        raise DecodeError(_("This text has the checksum of another kind of address."))
    return hrp, values


def bech32_decode_any(text: str) -> tuple[str, list[int], Spec]:
    """As `bech32_decode`, and says which of the two checksums the text has."""
    # Of ASCII, what can be printed and is no space: 33 to 126.
    if not text.isascii() or not text.isprintable() or " " in text:
        raise DecodeError(_("There are characters in this text that do not belong there."))
    lower = text.lower()
    if lower != text and text.upper() != text:
        raise DecodeError(_("Upper and lower case letters are mixed in this text."))
    hrp, separator, data_part = lower.rpartition("1")
    if not separator or not hrp or len(data_part) < _CHECKSUM_LENGTH:
        raise DecodeError(_("This text is incomplete."))
    try:
        values = [_VALUES[character] for character in data_part]
    except KeyError as error:
        raise DecodeError(
            _("The character {character!r} cannot occur there.").format(character=error.args[0])
        ) from None
    checksum = _polymod(_expand_hrp(hrp) + values)
    if checksum == Spec.BECH32.value:
        spec = Spec.BECH32
    elif checksum == Spec.BECH32M.value:
        spec = Spec.BECH32M
    else:
        raise DecodeError(_("The checksum does not match: a character is wrong or missing."))
    return hrp, values[:-_CHECKSUM_LENGTH], spec


def convert_bits(data: Iterable[int], from_bits: int, to_bits: int, *, pad: bool) -> list[int]:
    """Regroups numbers of `from_bits` bits as numbers of `to_bits` bits, most significant bit first.

    With `pad` the last group is filled up with zeros. Without it, what is left over must be zeros and less
    than one whole input group, as BIP 173 demands of addresses; DecodeError otherwise.
    """
    accumulator = 0
    bits = 0
    out: list[int] = []
    limit = 1 << from_bits
    mask = (1 << to_bits) - 1
    for value in data:
        if not 0 <= value < limit:
            raise DecodeError(
                _("The value {value} does not fit into {from_bits} bits.").format(
                    value=value, from_bits=from_bits
                )
            )
        accumulator = (accumulator << from_bits | value) & 0xFFFFFFFF
        bits += from_bits
        while bits >= to_bits:
            bits -= to_bits
            out.append(accumulator >> bits & mask)
    rest = accumulator & ((1 << bits) - 1)
    if pad:
        if bits:
            out.append(rest << (to_bits - bits) & mask)
    elif bits >= from_bits or rest:
        raise DecodeError(_("The text does not end where its data ends."))
    return out
