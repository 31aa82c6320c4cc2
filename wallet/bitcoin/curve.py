"""secp256k1: keys, signatures and tweaks as plain bytes in and plain bytes out.

This is the only module that touches libsecp256k1, which comes inside coincurve. One context serves all
threads: it is randomised once, at import, and only read from then on. Buffers are made for each call, so
nothing is shared between threads.

coincurve's own binding releases the GIL around every C function, the smallest ones too. While another
thread runs Python, each return then waits a whole switch interval (5 ms) for a call of 26 microseconds.
So the binding only tells the functions' addresses, and ctypes calls them with the GIL held: as fast when
idle, some 70 times faster beside a busy thread. Long batches belong into compiled code that releases the
GIL once; `function_address` is for that.

The C functions do not check lengths, and the library aborts the process on some illegal arguments; so
every length is checked here before a call, and every parse result before it is used.

Whatever is not a valid key, point or tweak raises DecodeError. The `verify_*` functions never raise: a
malformed signature or key is one that does not verify.
"""

from __future__ import annotations

import ctypes
import importlib
import os
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, Final

# The binding is a compiled module without type information; everything that leaves this module is typed.
import coincurve._libsecp256k1 as _binding  # type: ignore[import-not-found]  # compiled

from wallet.bitcoin.errors import DecodeError
from wallet.bitcoin.hashes import tagged_hash

GROUP_ORDER: Final = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141

_COMPRESSED: Final = 258  # SECP256K1_EC_COMPRESSED
_CONTEXT_NONE: Final = 1  # SECP256K1_CONTEXT_NONE

_IN = ctypes.c_char_p  # bytes that are read; a NUL in them means nothing
_OUT = ctypes.c_void_p  # a buffer that is written, or one of the library's own structures
_SIZE = ctypes.c_size_t
_INT = ctypes.c_int
_UINT = ctypes.c_uint

# The binding keeps the context alive as long as this name does.
_context: Any = _binding.lib.secp256k1_context_create(_CONTEXT_NONE)
if not _binding.lib.secp256k1_context_randomize(_context, os.urandom(32)):
    raise ImportError("libsecp256k1 could not be initialised.")
_ctx: Final = int(_binding.ffi.cast("uintptr_t", _context))


def function_address(name: str) -> int:
    """Where a function of libsecp256k1 is in memory, for compiled code that calls it without Python."""
    return int(_binding.ffi.cast("uintptr_t", _binding.ffi.addressof(_binding.lib, name)))


def _function(name: str, *argument_types: Any) -> Callable[..., int]:
    # PYFUNCTYPE, unlike CFUNCTYPE, keeps the GIL. The context is the first argument of them all.
    function: Callable[..., int] = ctypes.PYFUNCTYPE(_INT, _OUT, *argument_types)(function_address(name))
    return function


_pubkey_parse = _function("secp256k1_ec_pubkey_parse", _OUT, _IN, _SIZE)
_pubkey_serialize = _function("secp256k1_ec_pubkey_serialize", _OUT, _OUT, _OUT, _UINT)
_pubkey_create = _function("secp256k1_ec_pubkey_create", _OUT, _IN)
_pubkey_tweak_add = _function("secp256k1_ec_pubkey_tweak_add", _OUT, _IN)
_pubkey_tweak_mul = _function("secp256k1_ec_pubkey_tweak_mul", _OUT, _IN)
_pubkey_combine = _function("secp256k1_ec_pubkey_combine", _OUT, _OUT, _SIZE)
_seckey_verify = _function("secp256k1_ec_seckey_verify", _IN)
_seckey_negate = _function("secp256k1_ec_seckey_negate", _OUT)
_seckey_tweak_add = _function("secp256k1_ec_seckey_tweak_add", _OUT, _IN)
_seckey_tweak_mul = _function("secp256k1_ec_seckey_tweak_mul", _OUT, _IN)
_ecdh = _function("secp256k1_ecdh", _OUT, _OUT, _IN, _OUT, _OUT)
_ecdsa_sign = _function("secp256k1_ecdsa_sign", _OUT, _IN, _IN, _OUT, _IN)
_ecdsa_verify = _function("secp256k1_ecdsa_verify", _OUT, _IN, _OUT)
_compact_parse = _function("secp256k1_ecdsa_signature_parse_compact", _OUT, _IN)
_compact_serialize = _function("secp256k1_ecdsa_signature_serialize_compact", _OUT, _OUT)
_der_parse = _function("secp256k1_ecdsa_signature_parse_der", _OUT, _IN, _SIZE)
_der_serialize = _function("secp256k1_ecdsa_signature_serialize_der", _OUT, _OUT, _OUT)
_sign_recoverable = _function("secp256k1_ecdsa_sign_recoverable", _OUT, _IN, _IN, _OUT, _OUT)
_recoverable_parse = _function("secp256k1_ecdsa_recoverable_signature_parse_compact", _OUT, _IN, _INT)
_recoverable_serialize = _function(
    "secp256k1_ecdsa_recoverable_signature_serialize_compact", _OUT, _OUT, _OUT
)
_recover = _function("secp256k1_ecdsa_recover", _OUT, _OUT, _IN)
_keypair_create = _function("secp256k1_keypair_create", _OUT, _IN)
_schnorr_sign = _function("secp256k1_schnorrsig_sign32", _OUT, _IN, _OUT, _IN)
_schnorr_verify = _function("secp256k1_schnorrsig_verify", _IN, _IN, _SIZE, _OUT)
_xonly_parse = _function("secp256k1_xonly_pubkey_parse", _OUT, _IN)


def _buffer_type(structure: str) -> type[ctypes.Array[ctypes.c_char]]:
    return ctypes.c_char * int(_binding.ffi.sizeof(structure))


_Pubkey = _buffer_type("secp256k1_pubkey")
_Xonly = _buffer_type("secp256k1_xonly_pubkey")
_Signature = _buffer_type("secp256k1_ecdsa_signature")
_RecoverableSignature = _buffer_type("secp256k1_ecdsa_recoverable_signature")
_Keypair = _buffer_type("secp256k1_keypair")
_Bytes32 = ctypes.c_char * 32
_Bytes33 = ctypes.c_char * 33
_Bytes64 = ctypes.c_char * 64
_Bytes72 = ctypes.c_char * 72
_byref = ctypes.byref

_BATCH_FUNCTIONS: Final = tuple(
    function_address(f"secp256k1_{name}")
    for name in ("ec_pubkey_parse", "ecdsa_signature_parse_compact", "ecdsa_verify")
)
try:
    # Compiled where a compiler was found at installation (setup.py).
    _curve_batch: Any = importlib.import_module("wallet.bitcoin._curve_batch")
except ImportError:
    _curve_batch = None

_BAD_SECRET: Final = "This is not a valid secret key."
_BAD_PUBKEY: Final = "This is not a valid public key."


# --- keys -------------------------------------------------------------------------------------------


@lru_cache(maxsize=512)
def _parsed(pubkey: bytes) -> bytes:
    if len(pubkey) != 33:
        raise DecodeError(f"A public key has 33 bytes, not {len(pubkey)}.")
    point = _Pubkey()
    if not _pubkey_parse(_ctx, point, pubkey, 33):
        raise DecodeError(_BAD_PUBKEY)
    return bytes(point)


def _parse_pubkey(pubkey: bytes) -> ctypes.Array[ctypes.c_char]:
    """The library's form of a compressed key. Nothing of ours has uncompressed or hybrid keys: refused.

    It takes a square root; a channel's own keys come a dozen times a payment, and are kept. The copy is the caller's
    to change.
    """
    return _Pubkey.from_buffer_copy(_parsed(pubkey))


def _serialize_pubkey(point: ctypes.Array[ctypes.c_char]) -> bytes:
    out = _Bytes33()
    _pubkey_serialize(_ctx, out, _byref(_SIZE(33)), point, _COMPRESSED)
    return out.raw


def _check_secret(secret: bytes) -> None:
    if len(secret) != 32 or not _seckey_verify(_ctx, secret):
        raise DecodeError(_BAD_SECRET)


def _check_32(name: str, data: bytes) -> None:
    if len(data) != 32:
        raise DecodeError(f"A {name} has 32 bytes, not {len(data)}.")


def is_valid_secret(secret: bytes) -> bool:
    return len(secret) == 32 and bool(_seckey_verify(_ctx, secret))


def is_valid_pubkey(pubkey: bytes) -> bool:
    """Whether these are the 33 bytes of a compressed point on the curve."""
    return len(pubkey) == 33 and bool(_pubkey_parse(_ctx, _Pubkey(), pubkey, 33))


def pubkey_from_secret(secret: bytes) -> bytes:
    if len(secret) != 32:
        raise DecodeError(_BAD_SECRET)
    point = _Pubkey()
    if not _pubkey_create(_ctx, point, secret):
        raise DecodeError(_BAD_SECRET)
    return _serialize_pubkey(point)


def ecdh(secret: bytes, pubkey: bytes) -> bytes:
    """SHA256 of the compressed shared point: the ECDH of BOLT 4 and BOLT 8."""
    if len(secret) != 32:
        raise DecodeError(_BAD_SECRET)
    out = _Bytes32()
    if not _ecdh(_ctx, out, _parse_pubkey(pubkey), secret, None, None):
        raise DecodeError(_BAD_SECRET)
    return out.raw


# --- ECDSA ------------------------------------------------------------------------------------------


def _sign(digest: bytes, secret: bytes, extra_entropy: bytes | None) -> bytes:
    _check_32("digest", digest)
    if len(secret) != 32:
        raise DecodeError(_BAD_SECRET)
    signature = _Signature()
    if not _ecdsa_sign(_ctx, signature, digest, secret, None, extra_entropy):
        raise DecodeError(_BAD_SECRET)
    out = _Bytes64()
    _compact_serialize(_ctx, out, signature)
    return out.raw


def sign_ecdsa(digest: bytes, secret: bytes) -> bytes:
    """A compact (64 bytes) low-S signature with the deterministic nonce of RFC 6979."""
    return _sign(digest, secret, None)


def sign_ecdsa_low_r(digest: bytes, secret: bytes) -> bytes:
    """As `sign_ecdsa`, but R is below 2^255, so the DER form has at most 70 bytes: as Bitcoin Core signs.

    The extra nonce data is a little-endian counter, as in Bitcoin Core, so both give the same signature.
    Two attempts are needed on average.
    """
    signature = _sign(digest, secret, None)
    counter = 0
    while signature[0] >= 0x80:
        counter += 1
        signature = _sign(digest, secret, counter.to_bytes(32, "little"))
    return signature


def sign_ecdsa_many(pairs: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
    """One signature for each (digest, secret), in order: a commitment's HTLC signatures are one batch."""
    return [_sign(digest, secret, None) for digest, secret in pairs]


def verify_ecdsa(signature: bytes, digest: bytes, pubkey: bytes) -> bool:
    """Whether a compact signature is valid and low-S (policy, and BOLT 2). Malformed input is False."""
    if len(signature) != 64 or len(digest) != 32 or len(pubkey) != 33:
        return False
    point = _Pubkey()
    if not _pubkey_parse(_ctx, point, pubkey, 33):
        return False
    parsed = _Signature()
    if not _compact_parse(_ctx, parsed, signature):
        return False
    # The library itself refuses a high S.
    return bool(_ecdsa_verify(_ctx, parsed, digest, point))


def verify_ecdsa_many(triples: Iterable[tuple[bytes, bytes, bytes]]) -> bool:
    """Whether every (signature, digest, pubkey) verifies; True for none at all."""
    return all(verify_ecdsa(signature, digest, pubkey) for signature, digest, pubkey in triples)


CHECK_LENGTH: Final = 129
"""One signature check as bytes: compact signature, digest, compressed key."""
_KEY_ENTRY_LENGTH: Final = 97


class EcdsaChecks:
    """Verifies batches of checks; where the compiled form is there, with the GIL released once for each batch.

    One for each thread: it keeps the keys it has met last in the library's form, which saves a tenth of the time.
    """

    __slots__ = ("_keys",)

    def __init__(self, keys_kept: int = 8_192) -> None:
        self._keys = bytearray(max(1, keys_kept) * _KEY_ENTRY_LENGTH if _curve_batch is not None else 0)

    def verify(self, checks: bytes) -> bytes:
        """Give 1 for each record of `CHECK_LENGTH` bytes that verifies, and 0 for each other."""
        count, rest = divmod(len(checks), CHECK_LENGTH)
        if rest:
            raise DecodeError(f"Signature checks have {CHECK_LENGTH} bytes each.")
        if _curve_batch is None:
            return bytes(
                verify_ecdsa(
                    checks[start : start + 64],
                    checks[start + 64 : start + 96],
                    checks[start + 96 : start + 129],
                )
                for start in range(0, len(checks), CHECK_LENGTH)
            )
        verdicts = bytearray(count)
        _curve_batch.verify_checks(
            _ctx, *_BATCH_FUNCTIONS, memoryview(checks), memoryview(self._keys), memoryview(verdicts)
        )
        return bytes(verdicts)


def sign_recoverable(digest: bytes, secret: bytes) -> bytes:
    """65 bytes: the compact signature, then the recovery id (0 to 3). BOLT 11 invoices end in these."""
    _check_32("digest", digest)
    if len(secret) != 32:
        raise DecodeError(_BAD_SECRET)
    signature = _RecoverableSignature()
    if not _sign_recoverable(_ctx, signature, digest, secret, None, None):
        raise DecodeError(_BAD_SECRET)
    out = _Bytes64()
    recovery_id = _INT()
    _recoverable_serialize(_ctx, out, _byref(recovery_id), signature)
    return out.raw + bytes((recovery_id.value,))


def recover_pubkey(signature: bytes, recovery_id: int, digest: bytes) -> bytes:
    """The key that made this signature. A high S is accepted: recovery is a lookup, not a policy check."""
    _check_32("digest", digest)
    if len(signature) != 64:
        raise DecodeError(f"A compact signature has 64 bytes, not {len(signature)}.")
    if not 0 <= recovery_id <= 3:
        raise DecodeError(f"A recovery id is 0 to 3, not {recovery_id}.")
    parsed = _RecoverableSignature()
    if not _recoverable_parse(_ctx, parsed, signature, recovery_id):
        raise DecodeError("This is not a valid recoverable signature.")
    point = _Pubkey()
    if not _recover(_ctx, point, parsed, digest):
        raise DecodeError("No public key can be recovered from this signature.")
    return _serialize_pubkey(point)


def signature_to_der(signature: bytes) -> bytes:
    """The strict DER form (BIP 66) of a compact signature, without a sighash byte."""
    if len(signature) != 64:
        raise DecodeError(f"A compact signature has 64 bytes, not {len(signature)}.")
    parsed = _Signature()
    if not _compact_parse(_ctx, parsed, signature):
        raise DecodeError("This is not a valid signature: a part of it is not below the group order.")
    out = _Bytes72()
    size = _SIZE(72)
    if not _der_serialize(_ctx, out, _byref(size), parsed):
        raise DecodeError("This signature has no DER form.")
    return out.raw[: size.value]


def signature_from_der(der: bytes) -> bytes:
    """The compact form of a DER signature (no sighash byte). Only the one strict encoding is accepted."""
    if not 8 <= len(der) <= 72:
        raise DecodeError(f"A DER signature has 8 to 72 bytes, not {len(der)}.")
    parsed = _Signature()
    if not _der_parse(_ctx, parsed, der, len(der)):
        raise DecodeError("This is not a DER signature.")
    out = _Bytes64()
    _compact_serialize(_ctx, out, parsed)
    compact = out.raw
    # The library reads overflowing and negative numbers as zero; only what it would write itself counts.
    if signature_to_der(compact) != der:
        raise DecodeError("This signature is not strictly DER encoded.")
    return compact


# --- Schnorr (BIP 340) ------------------------------------------------------------------------------


def sign_schnorr(digest: bytes, secret: bytes, aux: bytes = bytes(32)) -> bytes:
    _check_32("digest", digest)
    _check_32("nonce seed", aux)
    keypair = _keypair(secret)
    out = _Bytes64()
    if not _schnorr_sign(_ctx, out, digest, keypair, aux):
        raise DecodeError(_BAD_SECRET)
    return out.raw


def verify_schnorr(signature: bytes, digest: bytes, xonly_pubkey: bytes) -> bool:
    """Whether a BIP 340 signature is valid. Messages of any length can be signed so."""
    if len(signature) != 64 or len(xonly_pubkey) != 32:
        return False
    point = _Xonly()
    if not _xonly_parse(_ctx, point, xonly_pubkey):
        return False
    return bool(_schnorr_verify(_ctx, signature, digest, len(digest), point))


def _keypair(secret: bytes) -> ctypes.Array[ctypes.c_char]:
    if len(secret) != 32:
        raise DecodeError(_BAD_SECRET)
    keypair = _Keypair()
    if not _keypair_create(_ctx, keypair, secret):
        raise DecodeError(_BAD_SECRET)
    return keypair


# --- tweaks -----------------------------------------------------------------------------------------


def secret_tweak_add(secret: bytes, tweak: bytes) -> bytes:
    """secret + tweak modulo the group order; DecodeError when the sum is zero or the tweak too large."""
    return _secret_tweak(_seckey_tweak_add, secret, tweak)


def secret_tweak_mul(secret: bytes, tweak: bytes) -> bytes:
    """secret * tweak modulo the group order; DecodeError when the tweak is zero or too large."""
    return _secret_tweak(_seckey_tweak_mul, secret, tweak)


def _secret_tweak(function: Callable[..., int], secret: bytes, tweak: bytes) -> bytes:
    _check_secret(secret)
    _check_32("tweak", tweak)
    out = ctypes.create_string_buffer(secret, 32)
    if not function(_ctx, out, tweak):
        raise DecodeError("This tweak does not give a valid secret key.")
    return out.raw


def secret_negate(secret: bytes) -> bytes:
    _check_secret(secret)
    out = ctypes.create_string_buffer(secret, 32)
    _seckey_negate(_ctx, out)
    return out.raw


def pubkey_tweak_add(pubkey: bytes, tweak: bytes) -> bytes:
    """pubkey + tweak*G."""
    return _tweak_pubkey(_pubkey_tweak_add, pubkey, tweak)


def pubkey_tweak_mul(pubkey: bytes, tweak: bytes) -> bytes:
    """tweak * pubkey."""
    return _tweak_pubkey(_pubkey_tweak_mul, pubkey, tweak)


def _tweak_pubkey(function: Callable[..., int], pubkey: bytes, tweak: bytes) -> bytes:
    point = _parse_pubkey(pubkey)
    _check_32("tweak", tweak)
    if not function(_ctx, point, tweak):
        raise DecodeError("This tweak does not give a valid public key.")
    return _serialize_pubkey(point)


def pubkey_combine(*pubkeys: bytes) -> bytes:
    """The sum of one or more points; DecodeError when it is the point at infinity."""
    if not pubkeys:
        raise DecodeError("There is no public key to add up.")
    points = [_parse_pubkey(pubkey) for pubkey in pubkeys]
    pointers = (ctypes.c_void_p * len(points))(*[ctypes.addressof(point) for point in points])
    out = _Pubkey()
    if not _pubkey_combine(_ctx, out, pointers, len(points)):
        raise DecodeError("These public keys add up to nothing.")
    return _serialize_pubkey(out)


# --- taproot (BIP 341) ------------------------------------------------------------------------------


def xonly(pubkey: bytes) -> bytes:
    """The 32-byte x coordinate of a compressed key."""
    if not is_valid_pubkey(pubkey):
        raise DecodeError(_BAD_PUBKEY)
    return pubkey[1:]


def taproot_tweak_pubkey(internal_xonly: bytes, merkle_root: bytes = b"") -> tuple[bytes, int]:
    """The output key of an internal key and a script tree (none: key path only), and the parity of its y."""
    _check_32("x-only public key", internal_xonly)
    tweak = tagged_hash("TapTweak", internal_xonly + merkle_root)
    output = pubkey_tweak_add(b"\x02" + internal_xonly, tweak)
    return output[1:], output[0] & 1


def taproot_tweak_secret(secret: bytes, merkle_root: bytes = b"") -> bytes:
    """The secret of the output key that `taproot_tweak_pubkey` gives for this secret's x-only key."""
    pubkey = pubkey_from_secret(secret)
    if pubkey[0] == 3:
        secret = secret_negate(secret)
    return secret_tweak_add(secret, tagged_hash("TapTweak", pubkey[1:] + merkle_root))
