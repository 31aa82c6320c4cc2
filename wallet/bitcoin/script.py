"""Scripts: opcodes, minimal pushes, the standard output types, and what each type costs to spend."""

from __future__ import annotations

from typing import Final

from wallet.bitcoin.errors import APIError, DecodeError
from wallet.bitcoin.hashes import hash160, sha256

# --- opcodes ----------------------------------------------------------------------------------------

OP_0: Final = 0x00
OP_PUSHDATA1: Final = 0x4C
OP_PUSHDATA2: Final = 0x4D
OP_PUSHDATA4: Final = 0x4E
OP_1NEGATE: Final = 0x4F
OP_RESERVED: Final = 0x50
OP_1: Final = 0x51
OP_2: Final = 0x52
OP_3: Final = 0x53
OP_16: Final = 0x60
OP_NOP: Final = 0x61
OP_IF: Final = 0x63
OP_NOTIF: Final = 0x64
OP_ELSE: Final = 0x67
OP_ENDIF: Final = 0x68
OP_VERIFY: Final = 0x69
OP_RETURN: Final = 0x6A
OP_2DROP: Final = 0x6D
OP_2DUP: Final = 0x6E
OP_IFDUP: Final = 0x73
OP_DEPTH: Final = 0x74
OP_DROP: Final = 0x75
OP_DUP: Final = 0x76
OP_SWAP: Final = 0x7C
OP_SIZE: Final = 0x82
OP_EQUAL: Final = 0x87
OP_EQUALVERIFY: Final = 0x88
OP_ADD: Final = 0x93
OP_RIPEMD160: Final = 0xA6
OP_SHA1: Final = 0xA7
OP_SHA256: Final = 0xA8
OP_HASH160: Final = 0xA9
OP_HASH256: Final = 0xAA
OP_CODESEPARATOR: Final = 0xAB
OP_CHECKSIG: Final = 0xAC
OP_CHECKSIGVERIFY: Final = 0xAD
OP_CHECKMULTISIG: Final = 0xAE
OP_CHECKMULTISIGVERIFY: Final = 0xAF
OP_CHECKLOCKTIMEVERIFY: Final = 0xB1
OP_CHECKSEQUENCEVERIFY: Final = 0xB2
OP_CHECKSIGADD: Final = 0xBA

# Consensus: nothing larger may be pushed, and no script that is run may be longer.
MAX_PUSH_BYTES: Final = 520
MAX_SCRIPT_BYTES: Final = 10_000

# --- building ---------------------------------------------------------------------------------------


def push(data: bytes) -> bytes:
    """Pushes data in the shortest way, as the MINIMALDATA rule demands: small numbers become opcodes."""
    length = len(data)
    if length == 0:
        return b"\x00"
    if length == 1 and 1 <= data[0] <= 16:
        return bytes((OP_1 - 1 + data[0],))
    if length == 1 and data[0] == 0x81:
        return b"\x4f"
    if length < OP_PUSHDATA1:
        return bytes((length,)) + data
    if length <= 0xFF:
        return bytes((OP_PUSHDATA1, length)) + data
    if length <= MAX_PUSH_BYTES:
        return b"\x4d" + length.to_bytes(2, "little") + data
    raise APIError(f"A script can push at most {MAX_PUSH_BYTES} bytes at once, not {length}.")


def script_number(n: int) -> bytes:
    """The stack form of a number: little-endian, the highest bit is the sign, zero is empty."""
    if n == 0:
        return b""
    magnitude = abs(n)
    data = bytearray(magnitude.to_bytes(magnitude.bit_length() // 8 + 1, "little"))
    if n < 0:
        data[-1] |= 0x80
    return bytes(data)


def number(n: int) -> bytes:
    """Pushes a number in the shortest way: OP_0, OP_1 to OP_16 and OP_1NEGATE where they serve."""
    if not -(1 << 31) < n < 1 << 39:
        raise APIError(f"The number {n} is beyond what any script operation reads.")
    return push(script_number(n))


def p2pkh(pubkey: bytes) -> bytes:
    return p2pkh_from_hash(hash160(pubkey))


def p2pkh_from_hash(pubkey_hash: bytes) -> bytes:
    """Also the script code of BIP 143 for a P2WPKH output of the same hash."""
    return b"\x76\xa9\x14" + _sized(pubkey_hash, 20) + b"\x88\xac"


def p2sh(redeem_script: bytes) -> bytes:
    return p2sh_from_hash(hash160(redeem_script))


def p2sh_from_hash(script_hash: bytes) -> bytes:
    return b"\xa9\x14" + _sized(script_hash, 20) + b"\x87"


def p2wpkh(pubkey: bytes) -> bytes:
    return b"\x00\x14" + hash160(_sized(pubkey, 33))


def p2wsh(witness_script: bytes) -> bytes:
    return b"\x00\x20" + sha256(witness_script)


def p2tr(output_xonly: bytes) -> bytes:
    """The output key is taken as it is: tweak it first (see `curve.taproot_tweak_pubkey`)."""
    return b"\x51\x20" + _sized(output_xonly, 32)


_P2A: Final = bytes.fromhex("51024e73")


def p2a() -> bytes:
    """Pay to anchor: anybody may spend it, without a signature."""
    return _P2A


def op_return(data: bytes) -> bytes:
    return b"\x6a" + push(data)


def multisig_2of2(pubkey_a: bytes, pubkey_b: bytes) -> bytes:
    """BOLT 3, funding transaction output: the keys are in the order of their bytes."""
    first, second = sorted((_sized(pubkey_a, 33), _sized(pubkey_b, 33)))
    return b"\x52\x21" + first + b"\x21" + second + b"\x52\xae"


def witness_program_script(version: int, program: bytes) -> bytes:
    """The output script of a witness program (BIP 141): version 0 to 16, 2 to 40 bytes."""
    if not 0 <= version <= 16 or not 2 <= len(program) <= 40:
        raise APIError("A witness program has a version of 0 to 16 and 2 to 40 bytes.")
    return bytes((version + OP_1 - 1 if version else OP_0, len(program))) + program


def p2wpkh_script_code(script_pubkey: bytes) -> bytes:
    """What BIP 143 signs in place of a witness script when a P2WPKH output is spent."""
    if not is_p2wpkh(script_pubkey):
        raise APIError("This is not a P2WPKH script.")
    return p2pkh_from_hash(script_pubkey[2:])


def _sized(data: bytes, length: int) -> bytes:
    if len(data) != length:
        raise APIError(f"This script needs {length} bytes, not {len(data)}.")
    return data


# --- reading ----------------------------------------------------------------------------------------


def witness_program(script: bytes) -> tuple[int, bytes] | None:
    """(version, program) when the script is a witness program (BIP 141), otherwise None."""
    length = len(script)
    if not 4 <= length <= 42 or script[1] != length - 2:
        return None
    first = script[0]
    if first == OP_0:
        return 0, script[2:]
    if OP_1 <= first <= OP_16:
        return first - OP_1 + 1, script[2:]
    return None


def is_p2pkh(script: bytes) -> bool:
    return len(script) == 25 and script[:3] == b"\x76\xa9\x14" and script[23:] == b"\x88\xac"


def is_p2sh(script: bytes) -> bool:
    return len(script) == 23 and script[:2] == b"\xa9\x14" and script[22] == 0x87


def is_p2wpkh(script: bytes) -> bool:
    return len(script) == 22 and script[:2] == b"\x00\x14"


def is_p2wsh(script: bytes) -> bool:
    return len(script) == 34 and script[:2] == b"\x00\x20"


def is_p2tr(script: bytes) -> bool:
    return len(script) == 34 and script[:2] == b"\x51\x20"


def is_p2a(script: bytes) -> bool:
    return script == _P2A


def is_op_return(script: bytes) -> bool:
    return script[:1] == b"\x6a"


def parse_script(script: bytes) -> list[int | bytes]:
    """The operations in order: an opcode as its number, pushed data (by length or OP_PUSHDATA) as bytes.

    OP_0, OP_1NEGATE and OP_1 to OP_16 stay opcodes. DecodeError when a push goes beyond the end.
    """
    ops: list[int | bytes] = []
    offset = 0
    length = len(script)
    while offset < length:
        opcode = script[offset]
        offset += 1
        if opcode == OP_0 or opcode > OP_PUSHDATA4:
            ops.append(opcode)
            continue
        if opcode < OP_PUSHDATA1:
            size = opcode
        else:
            width = 1 << (opcode - OP_PUSHDATA1)
            if offset + width > length:
                raise DecodeError("The script ends within the length of a push.")
            size = int.from_bytes(script[offset : offset + width], "little")
            offset += width
        if offset + size > length:
            raise DecodeError("The script ends within a push.")
        ops.append(script[offset : offset + size])
        offset += size
    return ops


# --- costs ------------------------------------------------------------------------------------------

# Bitcoin Core, policy: the dust feerate in satoshi for 1,000 vbytes.
DUST_RELAY_FEE_SAT_PER_KVB: Final = 3_000

# What Bitcoin Core takes spending an output to cost: outpoint 32 + 4, script length 1, signature and key 107
# (a quarter of that in a witness), sequence 4.
_SPEND_VBYTES: Final = 32 + 4 + 1 + 107 + 4
_SPEND_WITNESS_VBYTES: Final = 32 + 4 + 1 + 107 // 4 + 4


def dust_limit_sat(script_pubkey: bytes) -> int:
    """The least amount for which Bitcoin Core relays such an output (its GetDustThreshold at 3 sat/vB)."""
    length = len(script_pubkey)
    if is_op_return(script_pubkey) or length > MAX_SCRIPT_BYTES:
        return 0  # cannot be spent, so it is never dust
    size = 8 + (1 if length < 0xFD else 3) + length
    size += _SPEND_VBYTES if witness_program(script_pubkey) is None else _SPEND_WITNESS_VBYTES
    return size * DUST_RELAY_FEE_SAT_PER_KVB // 1_000


def script_hash_electrum(script_pubkey: bytes) -> str:
    """How Electrum servers name a script: its SHA256, reversed, as hex."""
    return sha256(script_pubkey)[::-1].hex()
