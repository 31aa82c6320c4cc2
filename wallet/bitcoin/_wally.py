"""The one place that touches wallycore, which has no type information: what is used is wrapped and typed.

libwally answers with bytearrays, which become bytes here, and reports every failure as ValueError or
RuntimeError without telling why. Callers that decode input from outside turn that into a DecodeError
which names the input; nothing here is part of the package's interface.
"""

from __future__ import annotations

import warnings
from typing import cast

with warnings.catch_warnings():
    # SWIG's types warn as they are made; as an error that warning crashes the interpreter at its end.
    warnings.simplefilter("ignore", DeprecationWarning)
    import wallycore


def ripemd160(data: bytes) -> bytes:
    return bytes(wallycore.ripemd160(data))


def bip39_english_words() -> tuple[str, ...]:
    """The 2,048 words, in their (alphabetical) order."""
    handle = wallycore.bip39_get_wordlist("en")
    return tuple([cast(str, wallycore.bip39_get_word(handle, index)) for index in range(2048)])
