"""The one place that touches wallycore, which has no type information: what is used is wrapped and typed.

libwally answers with bytearrays, which this module turns into bytes, and reports every failure as ValueError or RuntimeError without telling why. Callers that decode
input from outside turn that into a DecodeError which names the input; nothing here is part of the
package's interface.
"""

from __future__ import annotations

from typing import Final, NewType, cast

import wallycore

# What libwally raises: ValueError for WALLY_EINVAL, RuntimeError for WALLY_ERROR, and TypeError or
# OverflowError from its argument conversion.
WALLY_ERRORS: Final = (ValueError, RuntimeError, TypeError, OverflowError, MemoryError)

PsbtHandle = NewType("PsbtHandle", object)
TxHandle = NewType("TxHandle", object)


def ripemd160(data: bytes) -> bytes:
    return bytes(wallycore.ripemd160(data))


def bip39_english_words() -> tuple[str, ...]:
    """The 2,048 words, in their (alphabetical) order."""
    handle = wallycore.bip39_get_wordlist("en")
    return tuple([cast(str, wallycore.bip39_get_word(handle, index)) for index in range(2048)])
