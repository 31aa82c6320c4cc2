"""Hash functions of Bitcoin and Lightning. All results are in wire (internal) byte order."""

from __future__ import annotations

import hashlib
import hmac as _hmac
from functools import lru_cache
from typing import Final

from wallet.bitcoin import _wally
from wallet.bitcoin.errors import APIError

_sha256 = hashlib.sha256


def sha256(data: bytes) -> bytes:
    return _sha256(data).digest()


def sha256d(data: bytes) -> bytes:
    """SHA256 applied twice: transaction ids, block hashes, sighashes."""
    return _sha256(_sha256(data).digest()).digest()


def ripemd160(data: bytes) -> bytes:
    """RIPEMD-160 by libwally: many OpenSSL builds leave it out."""
    return _wally.ripemd160(data)


def hash160(data: bytes) -> bytes:
    """RIPEMD160(SHA256(data)): public key hashes and P2SH."""
    return _wally.ripemd160(_sha256(data).digest())


def hmac_sha256(key: bytes, data: bytes) -> bytes:
    return _hmac.digest(key, data, "sha256")


_HKDF_MAX_LENGTH: Final = 255 * 32


def hkdf_sha256(salt: bytes, ikm: bytes, info: bytes = b"", length: int = 64) -> bytes:
    """HKDF with SHA256 (RFC 5869). BOLT 8 takes 64 bytes of it and splits them in two keys."""
    if not 0 < length <= _HKDF_MAX_LENGTH:
        raise APIError(f"HKDF-SHA256 gives 1 to {_HKDF_MAX_LENGTH} bytes, not {length}.")
    prk = _hmac.digest(salt, ikm, "sha256")
    block = b""
    out = b""
    counter = 1
    while len(out) < length:
        block = _hmac.digest(prk, block + info + bytes((counter,)), "sha256")
        out += block
        counter += 1
    return out[:length]


@lru_cache(maxsize=64)
def _tag_prefix(tag: str) -> bytes:
    digest = _sha256(tag.encode()).digest()
    return digest + digest


def tagged_hash(tag: str, data: bytes) -> bytes:
    """BIP 340: SHA256(SHA256(tag) || SHA256(tag) || data). The tags are few and fixed, so they are cached."""
    return _sha256(_tag_prefix(tag) + data).digest()
