"""Transactions and block headers as frozen values: parse, serialise, ids, weights and signature hashes.

Byte order: every hash is in wire order, as it is in a transaction; people (and Electrum) see txids and
block hashes reversed, which `txid_hex` and `hash_hex` do.

Everything is plain Python on purpose. libwally parses a large commitment faster, but its objects are
mutable and opaque; getting 487 outputs out of one by calls costs more than reading them here. Ids,
weights and the BIP 143 and BIP 341 midstates are computed once per transaction and kept in slots that do
not take part in comparison; so the sighashes of many inputs, or of the same transaction again, are cheap.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256 as _sha256
from typing import Any, Final, NewType

from wallet.bitcoin.amounts import MAX_MONEY_SAT, vbytes_from_weight
from wallet.bitcoin.errors import APIError, DecodeError
from wallet.bitcoin.hashes import sha256d, tagged_hash
from wallet.i18n import _

Txid = NewType("Txid", bytes)
"""Double SHA256 of a transaction without its witness, in wire order."""
BlockHash = NewType("BlockHash", bytes)
"""Double SHA256 of a block header, in wire order."""

# Consensus: a block has at most 4,000,000 weight units, and a byte weighs at least one.
MAX_TRANSACTION_BYTES: Final = 4_000_000

SEQUENCE_FINAL: Final = 0xFFFFFFFF
# BIP 125: the highest sequence that signals replaceability.
SEQUENCE_RBF: Final = 0xFFFFFFFD
# The highest sequence that leaves nLockTime in force without signalling replaceability.
SEQUENCE_LOCKTIME: Final = 0xFFFFFFFE
# BIP 68: this bit switches relative lock times off; the next one makes them count 512 seconds.
SEQUENCE_DISABLE_FLAG: Final = 1 << 31
SEQUENCE_SECONDS_FLAG: Final = 1 << 22
# A lock time below this is a height, otherwise a unix time.
LOCKTIME_THRESHOLD: Final = 500_000_000

SIGHASH_DEFAULT: Final = 0x00  # taproot only: as ALL, and the signature has 64 bytes
SIGHASH_ALL: Final = 0x01
SIGHASH_NONE: Final = 0x02
SIGHASH_SINGLE: Final = 0x03
SIGHASH_ANYONECANPAY: Final = 0x80
SIGHASH_ALL_ANYONECANPAY: Final = 0x81
SIGHASH_NONE_ANYONECANPAY: Final = 0x82
SIGHASH_SINGLE_ANYONECANPAY: Final = 0x83

_TAPROOT_SIGHASH_TYPES: Final = frozenset((0x00, 0x01, 0x02, 0x03, 0x81, 0x82, 0x83))

_ZERO_HASH: Final = bytes(32)

_pack_u32 = struct.Struct("<I").pack
_pack_u64 = struct.Struct("<Q").pack
_unpack_u32_from = struct.Struct("<I").unpack_from
_unpack_i64_from = struct.Struct("<q").unpack_from
_HEADER = struct.Struct("<i32s32sIII")


# --- ids for people ---------------------------------------------------------------------------------


def hash_hex(block_hash: bytes) -> str:
    """A block hash as people write it: reversed hex."""
    return block_hash[::-1].hex()


def hash_from_hex(text: str) -> BlockHash:
    return BlockHash(_hash_from_hex(text, "block hash"))


def txid_hex(txid: bytes) -> str:
    """A transaction id as people write it: reversed hex."""
    return txid[::-1].hex()


def txid_from_hex(text: str) -> Txid:
    return Txid(_hash_from_hex(text, "transaction id"))


def _hash_from_hex(text: str, what: str) -> bytes:
    # bytes.fromhex skips white space; ids have none.
    if len(text) != 64 or not text.isascii() or not text.isalnum():
        raise DecodeError(f"A {what} has 64 hex digits.")
    try:
        return bytes.fromhex(text)[::-1]
    except ValueError:
        raise DecodeError(f"A {what} has 64 hex digits.") from None


# --- compact sizes ----------------------------------------------------------------------------------


def compact_size(number: int) -> bytes:
    """Bitcoin's variable length integer."""
    if number < 0xFD:
        return bytes((number,))
    if number <= 0xFFFF:
        return b"\xfd" + number.to_bytes(2, "little")
    if number <= 0xFFFFFFFF:
        return b"\xfe" + number.to_bytes(4, "little")
    return b"\xff" + number.to_bytes(8, "little")


def read_compact_size(raw: bytes, offset: int) -> tuple[int, int]:
    """The number at `offset`, and the offset behind it. Only the shortest form is accepted."""
    if offset >= len(raw):
        raise DecodeError(_("The data ends within a length."))
    first = raw[offset]
    if first < 0xFD:
        return first, offset + 1
    width = 1 << (first - 0xFC)
    end = offset + 1 + width
    if end > len(raw):
        raise DecodeError(_("The data ends within a length."))
    number = int.from_bytes(raw[offset + 1 : end], "little")
    if number < (0xFD, 0x10000, 0x100000000)[first - 0xFD]:
        raise DecodeError(_("A length is not encoded in its shortest form."))
    return number, end


def _with_length(data: bytes) -> bytes:
    return compact_size(len(data)) + data


def _compact_size_bytes(number: int) -> int:
    return 1 if number < 0xFD else 3 if number <= 0xFFFF else 5 if number <= 0xFFFFFFFF else 9


def _witness_bytes(witness: Sequence[bytes]) -> int:
    return _compact_size_bytes(len(witness)) + sum(
        len(item) + _compact_size_bytes(len(item)) for item in witness
    )


# --- parts ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, order=True)
class OutPoint:
    """One output of one transaction. Usable as a key; shown as `txid:vout`."""

    txid: Txid
    vout: int

    def __str__(self) -> str:
        return f"{txid_hex(self.txid)}:{self.vout}"

    def serialize(self) -> bytes:
        """36 bytes: the txid in wire order, then the index."""
        return self.txid + _pack_u32(self.vout)

    @classmethod
    def parse(cls, raw: bytes) -> OutPoint:
        if len(raw) != 36:
            raise DecodeError(_("An outpoint has 36 bytes, not {length}.").format(length=len(raw)))
        return cls(Txid(bytes(raw[:32])), int.from_bytes(raw[32:], "little"))

    @classmethod
    def from_text(cls, text: str) -> OutPoint:
        """Reads what `str()` writes."""
        txid_text, _colon, vout_text = text.partition(":")
        txid = txid_from_hex(txid_text)
        if not (vout_text.isascii() and vout_text.isdigit() and len(vout_text) <= 10):
            raise DecodeError(_("An outpoint is a transaction id, a colon and a number."))
        vout = int(vout_text)
        if vout > 0xFFFFFFFF or str(vout) != vout_text:
            raise DecodeError(_("An outpoint is a transaction id, a colon and a number."))
        return cls(txid, vout)


# A coinbase input spends this.
NULL_OUTPOINT: Final = OutPoint(Txid(_ZERO_HASH), 0xFFFFFFFF)


@dataclass(frozen=True, slots=True)
class TxIn:
    prevout: OutPoint
    script_sig: bytes = b""
    sequence: int = SEQUENCE_FINAL
    witness: tuple[bytes, ...] = ()

    def serialize(self) -> bytes:
        """Without the witness, which a transaction carries apart."""
        return self.prevout.serialize() + _with_length(self.script_sig) + _pack_u32(self.sequence)


@dataclass(frozen=True, slots=True)
class TxOut:
    value_sat: int
    script_pubkey: bytes

    def serialize(self) -> bytes:
        return _pack_u64(self.value_sat) + _with_length(self.script_pubkey)


# A frozen dataclass sets its fields through object.__setattr__; writing the slots directly halves the
# time that a large commitment takes to parse.
_new = object.__new__
_set_value: Any = TxOut.__dict__["value_sat"].__set__
_set_script: Any = TxOut.__dict__["script_pubkey"].__set__


@dataclass(frozen=True, slots=True)
class _Midstates:
    """What the signature hashes of all inputs of a transaction share: single SHA256 over its parts."""

    prevouts: bytes
    sequences: bytes
    outputs: bytes


@dataclass(frozen=True, slots=True)
class Transaction:
    """A whole transaction. Equal when version, inputs (with witness), outputs and lock time are.

    Attributes:
        version: 0 to 2^32 - 1. 2 allows relative lock times (BIP 68); 3 asks for the TRUC policy.
        txid, wtxid, weight, vsize_vbytes: computed on first use, then kept.
    """

    version: int = 2
    inputs: tuple[TxIn, ...] = ()
    outputs: tuple[TxOut, ...] = ()
    lock_time: int = 0
    _txid: Txid | None = field(default=None, init=False, repr=False, compare=False)
    _wtxid: bytes | None = field(default=None, init=False, repr=False, compare=False)
    _weight: int | None = field(default=None, init=False, repr=False, compare=False)
    _midstates: _Midstates | None = field(default=None, init=False, repr=False, compare=False)

    # --- ids and sizes ---

    @property
    def txid(self) -> Txid:
        txid = self._txid
        if txid is None:
            txid = Txid(sha256d(self.serialize(witness=False)))
            object.__setattr__(self, "_txid", txid)
        return txid

    @property
    def wtxid(self) -> bytes:
        wtxid = self._wtxid
        if wtxid is None:
            wtxid = sha256d(self.serialize()) if self.has_witness else self.txid
            object.__setattr__(self, "_wtxid", wtxid)
        return wtxid

    @property
    def has_witness(self) -> bool:
        return any(txin.witness for txin in self.inputs)

    @property
    def weight(self) -> int:
        """BIP 141: a byte of the witness, marker and flag weighs 1, any other byte 4."""
        weight = self._weight
        if weight is None:
            base_bytes = 8 + _compact_size_bytes(len(self.inputs)) + _compact_size_bytes(len(self.outputs))
            for txin in self.inputs:
                base_bytes += 40 + len(txin.script_sig) + _compact_size_bytes(len(txin.script_sig))
            for txout in self.outputs:
                base_bytes += 8 + len(txout.script_pubkey) + _compact_size_bytes(len(txout.script_pubkey))
            weight = 4 * base_bytes
            if self.has_witness:
                weight += 2 + sum(_witness_bytes(txin.witness) for txin in self.inputs)
            object.__setattr__(self, "_weight", weight)
        return weight

    @property
    def vsize_vbytes(self) -> int:
        return vbytes_from_weight(self.weight)

    @property
    def total_output_sat(self) -> int:
        return sum(txout.value_sat for txout in self.outputs)

    @property
    def is_coinbase(self) -> bool:
        return len(self.inputs) == 1 and self.inputs[0].prevout == NULL_OUTPOINT

    def outpoint(self, vout: int) -> OutPoint:
        """The outpoint of one of this transaction's outputs."""
        if not 0 <= vout < len(self.outputs):
            raise APIError(f"The transaction has {len(self.outputs)} outputs; there is no number {vout}.")
        return OutPoint(self.txid, vout)

    # --- bytes ---

    def serialize(self, witness: bool = True) -> bytes:
        """The wire form. Without any witness, or with `witness=False`, it is the form from before BIP 144."""
        try:
            parts = [_pack_u32(self.version)]
            with_witness = witness and self.has_witness
            if with_witness:
                parts.append(b"\x00\x01")
            parts.append(compact_size(len(self.inputs)))
            parts.extend([txin.serialize() for txin in self.inputs])
            parts.append(compact_size(len(self.outputs)))
            parts.extend([txout.serialize() for txout in self.outputs])
            if with_witness:
                for txin in self.inputs:
                    parts.append(compact_size(len(txin.witness)))
                    parts.extend([_with_length(item) for item in txin.witness])
            parts.append(_pack_u32(self.lock_time))
        except struct.error:
            raise APIError("A number in this transaction is negative or too large.") from None
        return b"".join(parts)

    @classmethod
    def parse(cls, raw: bytes) -> Transaction:
        """Reads exactly one transaction.

        Transactions without inputs, as funding flows pass them round, are accepted. Their first bytes can
        look like the marker of BIP 144; as in Bitcoin Core, that reading is tried first. Amounts that
        cannot exist, non-minimal lengths, trailing bytes and empty witnesses in the extended form are
        refused, so that every accepted transaction serialises to the very bytes it was read from.
        """
        raw = bytes(raw)
        if len(raw) > MAX_TRANSACTION_BYTES:
            raise DecodeError(
                _("A transaction of {length} bytes fits into no block.").format(length=len(raw))
            )
        if len(raw) < 10:
            raise DecodeError(_("The transaction is cut short."))
        if raw[4] == 0 and raw[5] == 1:
            try:
                return _parse_transaction(raw, 6, extended=True)
            except DecodeError as extended_error:
                try:
                    return _parse_transaction(raw, 4, extended=False)
                except DecodeError:
                    raise extended_error from None
        return _parse_transaction(raw, 4, extended=False)

    @classmethod
    def parse_without_witness(cls, raw: bytes) -> Transaction:
        """Reads the form from before BIP 144, as PSBTs hold it: no inputs is never ambiguous."""
        raw = bytes(raw)
        if len(raw) < 10:
            raise DecodeError(_("The transaction is cut short."))
        if len(raw) > MAX_TRANSACTION_BYTES:
            raise DecodeError(
                _("A transaction of {length} bytes fits into no block.").format(length=len(raw))
            )
        return _parse_transaction(raw, 4, extended=False)

    # --- changed copies ---

    def with_witness(self, index: int, witness: Iterable[bytes]) -> Transaction:
        """The same transaction with another witness on one input; the txid stays."""
        txin = self._input(index)
        signed = TxIn(txin.prevout, txin.script_sig, txin.sequence, tuple(witness))
        return self._with_input(index, signed, self._txid)

    def with_script_sig(self, index: int, script_sig: bytes) -> Transaction:
        """The same transaction with another script on one input (P2SH-wrapped inputs); the txid changes."""
        txin = self._input(index)
        return self._with_input(index, TxIn(txin.prevout, script_sig, txin.sequence, txin.witness), None)

    def _with_input(self, index: int, txin: TxIn, txid: Txid | None) -> Transaction:
        inputs = (*self.inputs[:index], txin, *self.inputs[index + 1 :])
        changed = Transaction(self.version, inputs, self.outputs, self.lock_time)
        object.__setattr__(changed, "_txid", txid)
        # Neither scripts nor witnesses are part of what the midstates hash.
        object.__setattr__(changed, "_midstates", self._midstates)
        return changed

    def _input(self, index: int) -> TxIn:
        if not 0 <= index < len(self.inputs):
            raise APIError(f"The transaction has {len(self.inputs)} inputs; there is no number {index}.")
        return self.inputs[index]

    def _mid(self) -> _Midstates:
        midstates = self._midstates
        if midstates is None:
            try:
                midstates = _Midstates(
                    _sha256(b"".join([txin.prevout.serialize() for txin in self.inputs])).digest(),
                    _sha256(b"".join([_pack_u32(txin.sequence) for txin in self.inputs])).digest(),
                    _sha256(b"".join([txout.serialize() for txout in self.outputs])).digest(),
                )
            except struct.error:
                raise APIError("A number in this transaction is negative or too large.") from None
            object.__setattr__(self, "_midstates", midstates)
        return midstates


# --- parsing ----------------------------------------------------------------------------------------

# The smallest input: outpoint, empty script, sequence. The smallest output: amount, empty script.
_MIN_INPUT_BYTES: Final = 41
_MIN_OUTPUT_BYTES: Final = 9


def _parse_transaction(raw: bytes, offset: int, *, extended: bool) -> Transaction:
    inputs, offset = _parse_inputs(raw, offset)
    outputs, offset = _parse_outputs(raw, offset)
    if extended:
        inputs, offset = _parse_witnesses(raw, offset, inputs)
    if offset + 4 != len(raw):
        if offset + 4 > len(raw):
            raise DecodeError(_("The transaction is cut short."))
        raise DecodeError(_("There are bytes behind the transaction."))
    return Transaction(
        _unpack_u32_from(raw, 0)[0], tuple(inputs), tuple(outputs), _unpack_u32_from(raw, offset)[0]
    )


def _parse_inputs(raw: bytes, offset: int) -> tuple[list[TxIn], int]:
    count, offset = read_compact_size(raw, offset)
    length = len(raw)
    if count * _MIN_INPUT_BYTES > length - offset:
        raise DecodeError(_("The transaction names more inputs than it has bytes for."))
    inputs: list[TxIn] = []
    for _number in range(count):
        if offset + _MIN_INPUT_BYTES > length:
            raise DecodeError(_("The transaction ends within an input."))
        prevout = OutPoint(Txid(raw[offset : offset + 32]), _unpack_u32_from(raw, offset + 32)[0])
        script_length, offset = read_compact_size(raw, offset + 36)
        end = offset + script_length
        if end + 4 > length:
            raise DecodeError(_("The transaction ends within an input."))
        inputs.append(TxIn(prevout, raw[offset:end], _unpack_u32_from(raw, end)[0]))
        offset = end + 4
    return inputs, offset


def _parse_outputs(raw: bytes, offset: int) -> tuple[list[TxOut], int]:
    count, offset = read_compact_size(raw, offset)
    length = len(raw)
    if count * _MIN_OUTPUT_BYTES > length - offset:
        raise DecodeError(_("The transaction names more outputs than it has bytes for."))
    outputs: list[TxOut] = []
    total_sat = 0
    for _number in range(count):
        if offset + _MIN_OUTPUT_BYTES > length:
            raise DecodeError(_("The transaction ends within an output."))
        value_sat = _unpack_i64_from(raw, offset)[0]
        # Consensus, CheckTransaction: no amount is negative or above 21 million bitcoin, nor is their sum.
        total_sat += value_sat
        if value_sat < 0 or total_sat > MAX_MONEY_SAT:
            raise DecodeError(_("The transaction creates an amount that cannot exist."))
        script_length = raw[offset + 8]
        offset += 9
        if script_length >= 0xFD:
            script_length, offset = read_compact_size(raw, offset - 1)
        end = offset + script_length
        if end > length:
            raise DecodeError(_("The transaction ends within an output."))
        txout = _new(TxOut)
        _set_value(txout, value_sat)
        _set_script(txout, raw[offset:end])
        outputs.append(txout)
        offset = end
    return outputs, offset


def _parse_witnesses(raw: bytes, offset: int, inputs: Sequence[TxIn]) -> tuple[list[TxIn], int]:
    length = len(raw)
    signed: list[TxIn] = []
    found = False
    for txin in inputs:
        count, offset = read_compact_size(raw, offset)
        if count > length - offset:
            raise DecodeError(_("The transaction names more witness items than it has bytes for."))
        items: list[bytes] = []
        for _number in range(count):
            item_length, offset = read_compact_size(raw, offset)
            end = offset + item_length
            if end > length:
                raise DecodeError(_("The transaction ends within a witness."))
            items.append(raw[offset:end])
            offset = end
        if items:
            found = True
            txin = TxIn(txin.prevout, txin.script_sig, txin.sequence, tuple(items))
        signed.append(txin)
    # BIP 144: the extended form is for transactions that do have a witness.
    if not found:
        raise DecodeError(_("The transaction is marked as having a witness, but has none."))
    return signed, offset


# --- signature hashes -------------------------------------------------------------------------------


def sighash_segwit_v0(
    tx: Transaction, index: int, script_code: bytes, value_sat: int, sighash_type: int = SIGHASH_ALL
) -> bytes:
    """BIP 143. `script_code` is the witness script, or the P2PKH script of the key hash for P2WPKH."""
    txin = tx._input(index)
    mid = tx._mid()
    base_type = sighash_type & 0x1F
    anyone_can_pay = sighash_type & SIGHASH_ANYONECANPAY
    hash_prevouts = _ZERO_HASH if anyone_can_pay else _sha256(mid.prevouts).digest()
    if anyone_can_pay or base_type in (SIGHASH_NONE, SIGHASH_SINGLE):
        hash_sequences = _ZERO_HASH
    else:
        hash_sequences = _sha256(mid.sequences).digest()
    if base_type == SIGHASH_SINGLE:
        # BIP 143: no output of the same number hashes as zero, unlike in the older scheme.
        hash_outputs = sha256d(tx.outputs[index].serialize()) if index < len(tx.outputs) else _ZERO_HASH
    elif base_type == SIGHASH_NONE:
        hash_outputs = _ZERO_HASH
    else:
        hash_outputs = _sha256(mid.outputs).digest()
    try:
        preimage = b"".join(
            (
                _pack_u32(tx.version),
                hash_prevouts,
                hash_sequences,
                txin.prevout.serialize(),
                compact_size(len(script_code)),
                script_code,
                _pack_u64(value_sat),
                _pack_u32(txin.sequence),
                hash_outputs,
                _pack_u32(tx.lock_time),
                _pack_u32(sighash_type),
            )
        )
    except struct.error:
        raise APIError("A number to be signed does not fit its field.") from None
    return sha256d(preimage)


def sighash_taproot(
    tx: Transaction,
    index: int,
    spent_outputs: Sequence[TxOut],
    sighash_type: int = SIGHASH_DEFAULT,
    leaf_hash: bytes | None = None,
) -> bytes:
    """BIP 341 (key path) and, with a leaf hash, BIP 342 (script path, no OP_CODESEPARATOR before the check).

    `spent_outputs` holds the output that each input spends, in the order of the inputs.
    """
    txin = tx._input(index)
    if len(spent_outputs) != len(tx.inputs):
        raise APIError("A taproot signature needs the output that each input spends.")
    if sighash_type not in _TAPROOT_SIGHASH_TYPES:
        raise APIError(f"Taproot has no sighash type {sighash_type:#x}.")
    base_type = sighash_type & 3
    anyone_can_pay = sighash_type & SIGHASH_ANYONECANPAY
    # BIP 341: SINGLE without an output of the same number is invalid, unlike in version 0.
    if base_type == SIGHASH_SINGLE and index >= len(tx.outputs):
        raise APIError("There is no output that goes with this input.")
    mid = tx._mid()
    try:
        # The first byte is the epoch.
        parts = [bytes((0, sighash_type)), _pack_u32(tx.version), _pack_u32(tx.lock_time)]
        if not anyone_can_pay:
            parts.append(mid.prevouts)
            parts.append(_sha256(b"".join([_pack_u64(spent.value_sat) for spent in spent_outputs])).digest())
            scripts = b"".join([_with_length(spent.script_pubkey) for spent in spent_outputs])
            parts.append(_sha256(scripts).digest())
            parts.append(mid.sequences)
        if base_type not in (SIGHASH_NONE, SIGHASH_SINGLE):
            parts.append(mid.outputs)
        parts.append(b"\x02" if leaf_hash is not None else b"\x00")  # the extension flag; there is no annex
        if anyone_can_pay:
            parts.append(txin.prevout.serialize())
            parts.append(spent_outputs[index].serialize())
            parts.append(_pack_u32(txin.sequence))
        else:
            parts.append(_pack_u32(index))
        if base_type == SIGHASH_SINGLE:
            parts.append(_sha256(tx.outputs[index].serialize()).digest())
    except struct.error:
        raise APIError("A number to be signed does not fit its field.") from None
    if leaf_hash is not None:
        if len(leaf_hash) != 32:
            raise APIError("A leaf hash has 32 bytes.")
        # BIP 342: the leaf, key version 0, and no code separator executed.
        parts.append(leaf_hash + b"\x00\xff\xff\xff\xff")
    return tagged_hash("TapSighash", b"".join(parts))


# --- blocks -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BlockHeader:
    """The 80 bytes at the head of a block.

    Attributes:
        time_at: what the miner claims, unix time.
        bits: the target in its compact form.
    """

    version: int
    prev_hash: BlockHash
    merkle_root: bytes
    time_at: int
    bits: int
    nonce: int
    _hash: BlockHash | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def hash(self) -> BlockHash:
        block_hash = self._hash
        if block_hash is None:
            block_hash = BlockHash(sha256d(self.serialize()))
            object.__setattr__(self, "_hash", block_hash)
        return block_hash

    def serialize(self) -> bytes:
        try:
            return _HEADER.pack(
                self.version, self.prev_hash, self.merkle_root, self.time_at, self.bits, self.nonce
            )
        except struct.error:
            raise APIError("A number in this block header does not fit its field.") from None

    @classmethod
    def parse(cls, raw: bytes) -> BlockHeader:
        if len(raw) != 80:
            raise DecodeError(f"A block header has 80 bytes, not {len(raw)}.")
        version, prev_hash, merkle_root, time_at, bits, nonce = _HEADER.unpack(raw)
        return cls(version, BlockHash(prev_hash), merkle_root, time_at, bits, nonce)

    @property
    def target(self) -> int:
        """The number that the hash may not exceed; 0, which no hash meets, when the bits are senseless."""
        return target_from_bits(self.bits)

    @property
    def work(self) -> int:
        """How many hashes finding such a block takes on average; 0 for senseless bits."""
        target = self.target
        return (1 << 256) // (target + 1) if target else 0

    @property
    def meets_target(self) -> bool:
        """Whether the hash proves the work that the bits claim. The chain says which bits are right."""
        return self.target > 0 and int.from_bytes(self.hash, "little") <= self.target


def target_from_bits(bits: int) -> int:
    """Bitcoin Core's compact form: a byte of length, then the sign and 23 bits of mantissa."""
    exponent = bits >> 24
    mantissa = bits & 0x7FFFFF
    if bits & 0x800000:
        return 0
    target = mantissa >> 8 * (3 - exponent) if exponent <= 3 else mantissa << 8 * (exponent - 3)
    return target if target < 1 << 256 else 0


def bits_from_target(target: int) -> int:
    """The compact form of a target; precision beyond 23 bits is lost, as consensus has it."""
    size = (target.bit_length() + 7) // 8
    mantissa = target << 8 * (3 - size) if size <= 3 else target >> 8 * (size - 3)
    if mantissa & 0x800000:
        mantissa >>= 8
        size += 1
    return size << 24 | mantissa
