"""Base58 with a checksum: legacy addresses and extended keys."""

from __future__ import annotations

from typing import Final

from wallet.bitcoin.errors import DecodeError
from wallet.bitcoin.hashes import sha256d
from wallet.i18n import _

_ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_VALUES: Final = {character: value for value, character in enumerate(_ALPHABET)}

# Extended keys, the longest of what we read, have 111 characters; the conversion is quadratic in the length.
_MAX_CHARACTERS: Final = 200


def base58check_encode(payload: bytes) -> str:
    data = payload + sha256d(payload)[:4]
    rest = int.from_bytes(data, "big")
    characters: list[str] = []
    while rest:
        rest, digit = divmod(rest, 58)
        characters.append(_ALPHABET[digit])
    zeros = len(data) - len(data.lstrip(b"\x00"))
    return "1" * zeros + "".join(reversed(characters))


def base58check_decode(text: str) -> bytes:
    """The payload without its checksum."""
    if len(text) > _MAX_CHARACTERS:
        raise DecodeError(_("This text is too long."))
    number = 0
    for character in text:
        value = _VALUES.get(character)
        if value is None:
            raise DecodeError(
                _("The character {character!r} cannot occur there.").format(character=character)
            )
        number = number * 58 + value
    zeros = len(text) - len(text.lstrip("1"))
    data = bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")
    if len(data) < 4 or sha256d(data[:-4])[:4] != data[-4:]:
        raise DecodeError(_("The checksum does not match: a character is wrong or missing."))
    return data[:-4]
