"""BIP 39: a wallet's secret as 12 to 24 English words.

Words are written in lower case with single spaces. Reading is kind about case and spaces, and precise
about what is wrong. Text is normalised to NFKD before it becomes a seed, as BIP 39 demands; that
matters for the passphrase only, since all English words are plain ASCII.
"""

from __future__ import annotations

import hashlib
import unicodedata
from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

from wallet.bitcoin import _wally
from wallet.bitcoin.errors import APIError, DecodeError
from wallet.bitcoin.hashes import sha256
from wallet.i18n import _

ENGLISH: Final[tuple[str, ...]] = _wally.bip39_english_words()
"""The 2,048 words, in alphabetical order."""

_INDEX: Final = {word: index for index, word in enumerate(ENGLISH)}

# Words by bytes of entropy: each 32 bits of entropy add one bit of checksum, 11 bits make a word.
_WORDS_BY_BYTES: Final = {16: 12, 20: 15, 24: 18, 28: 21, 32: 24}
_BYTES_BY_WORDS: Final = {words: count for count, words in _WORDS_BY_BYTES.items()}

_ROUNDS: Final = 2_048
_SEED_BYTES: Final = 64


def mnemonic_from_entropy(entropy: bytes) -> str:
    """The words of 16, 20, 24, 28 or 32 random bytes, joined by spaces."""
    words = _WORDS_BY_BYTES.get(len(entropy))
    if words is None:
        raise APIError(f"A mnemonic is made of 16, 20, 24, 28 or 32 bytes, not {len(entropy)}.")
    checksum_bits = len(entropy) // 4
    number = int.from_bytes(entropy, "big") << checksum_bits | sha256(entropy)[0] >> 8 - checksum_bits
    return " ".join([ENGLISH[number >> 11 * position & 0x7FF] for position in range(words - 1, -1, -1)])


def mnemonic_to_entropy(mnemonic: str | Sequence[str]) -> bytes:
    """The entropy of a mnemonic; DecodeError says which word, or that all do not fit."""
    words = _words(mnemonic)
    number = 0
    for position, word in enumerate(words, start=1):
        index = _INDEX.get(word)
        if index is None:
            raise DecodeError(
                _("Word {position}, “{word}”, is not in the word list.").format(position=position, word=word)
            )
        number = number << 11 | index
    count = _BYTES_BY_WORDS.get(len(words))
    if count is None:
        raise DecodeError(
            _("A mnemonic has 12, 15, 18, 21 or 24 words, not {count}.").format(count=len(words))
        )
    checksum_bits = count // 4
    entropy = (number >> checksum_bits).to_bytes(count, "big")
    if sha256(entropy)[0] >> 8 - checksum_bits != number & (1 << checksum_bits) - 1:
        raise DecodeError(_("These words do not fit together: one of them is wrong, or their order is."))
    return entropy


def seed_from_mnemonic(mnemonic: str | Sequence[str], passphrase: str = "") -> bytes:
    """The 64 bytes that BIP 32 starts from. The mnemonic is checked first: DecodeError as above."""
    mnemonic_to_entropy(mnemonic)
    sentence = " ".join(_words(mnemonic)).encode()
    salt = b"mnemonic" + unicodedata.normalize("NFKD", passphrase).encode()
    return hashlib.pbkdf2_hmac("sha512", sentence, salt, _ROUNDS, _SEED_BYTES)


def words_starting_with(prefix: str) -> list[str]:
    """The words that a person may be typing, in alphabetical order; all of them for an empty prefix."""
    lower = prefix.strip().lower()
    start = bisect_left(ENGLISH, lower)
    end = start
    while end < len(ENGLISH) and ENGLISH[end].startswith(lower):
        end += 1
    return list(ENGLISH[start:end])


def _words(mnemonic: str | Sequence[str]) -> list[str]:
    text = mnemonic if isinstance(mnemonic, str) else " ".join(mnemonic)
    return unicodedata.normalize("NFKD", text).lower().split()
