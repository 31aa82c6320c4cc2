"""Partially signed transactions (BIP 174, with the taproot fields of BIP 371), version 0, as frozen values.

A PSBT carries an unsigned transaction from one program or device to the next, together with what each
needs: the outputs that are spent, scripts, whose keys, and the signatures so far. Fields that have no
name here are kept as they came, so that a PSBT passes through unharmed.

libwally reads PSBTs as well, but its objects are mutable and it accepts trailing bytes; it serves the
tests as a second opinion.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from wallet.bitcoin import script as _script
from wallet.bitcoin.amounts import MAX_MONEY_SAT
from wallet.bitcoin.errors import APIError, DecodeError
from wallet.bitcoin.hashes import hash160
from wallet.bitcoin.tx import Transaction, TxIn, TxOut, compact_size, read_compact_size
from wallet.i18n import _

_MAGIC: Final = b"psbt\xff"

# As large as the largest transaction, with room for the previous transactions that come along.
MAX_PSBT_BYTES: Final = 16_000_000

_GLOBAL_UNSIGNED_TX: Final = b"\x00"
_GLOBAL_VERSION: Final = b"\xfb"

_IN_NON_WITNESS_UTXO: Final = 0x00
_IN_WITNESS_UTXO: Final = 0x01
_IN_PARTIAL_SIGNATURE: Final = 0x02
_IN_SIGHASH_TYPE: Final = 0x03
_IN_REDEEM_SCRIPT: Final = 0x04
_IN_WITNESS_SCRIPT: Final = 0x05
_IN_KEY_ORIGIN: Final = 0x06
_IN_FINAL_SCRIPT_SIG: Final = 0x07
_IN_FINAL_WITNESS: Final = 0x08
_IN_TAP_KEY_SIGNATURE: Final = 0x13
_IN_TAP_KEY_ORIGIN: Final = 0x16
_IN_TAP_INTERNAL_KEY: Final = 0x17
_IN_TAP_MERKLE_ROOT: Final = 0x18

_OUT_REDEEM_SCRIPT: Final = 0x00
_OUT_WITNESS_SCRIPT: Final = 0x01
_OUT_KEY_ORIGIN: Final = 0x02
_OUT_TAP_INTERNAL_KEY: Final = 0x05
_OUT_TAP_KEY_ORIGIN: Final = 0x07

_Entries = dict[bytes, bytes]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyOrigin:
    """Which key of whose tree a public key is.

    Attributes:
        fingerprint: of the root key, 4 bytes.
        path: indices from the root, hardened ones with bip32.HARDENED.
        leaf_hashes: taproot only: the script leaves that the key appears in.
    """

    fingerprint: bytes
    path: tuple[int, ...]
    leaf_hashes: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PsbtInput:
    """What is known about one input.

    Attributes:
        previous_tx: the whole transaction that it spends from; witness_utxo: only the output that it spends.
        partial_signatures: (public key, DER signature and sighash byte).
        key_origins: (public key, origin); tap_key_origins: the same by x-only key.
        final_witness: set once the input is complete; the fields of the signers are gone then.
        unknown: (key, value) of fields without a name here.
    """

    previous_tx: Transaction | None = None
    witness_utxo: TxOut | None = None
    partial_signatures: tuple[tuple[bytes, bytes], ...] = ()
    sighash_type: int | None = None
    redeem_script: bytes | None = None
    witness_script: bytes | None = None
    key_origins: tuple[tuple[bytes, KeyOrigin], ...] = ()
    final_script_sig: bytes | None = None
    final_witness: tuple[bytes, ...] | None = None
    tap_key_signature: bytes | None = None
    tap_key_origins: tuple[tuple[bytes, KeyOrigin], ...] = ()
    tap_internal_key: bytes | None = None
    tap_merkle_root: bytes | None = None
    unknown: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def is_final(self) -> bool:
        return self.final_witness is not None or self.final_script_sig is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class PsbtOutput:
    """What is known about one output, so that a signer can recognise its own change."""

    redeem_script: bytes | None = None
    witness_script: bytes | None = None
    key_origins: tuple[tuple[bytes, KeyOrigin], ...] = ()
    tap_internal_key: bytes | None = None
    tap_key_origins: tuple[tuple[bytes, KeyOrigin], ...] = ()
    unknown: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Psbt:
    """A partially signed transaction.

    Attributes:
        tx: without any signature. inputs, outputs: one record for each of the transaction's.
        unknown: global fields without a name here, extended public keys among them.
    """

    tx: Transaction
    inputs: tuple[PsbtInput, ...]
    outputs: tuple[PsbtOutput, ...]
    unknown: tuple[tuple[bytes, bytes], ...] = ()

    # --- making ---

    @classmethod
    def from_transaction(
        cls,
        tx: Transaction,
        spent_outputs: Sequence[TxOut | None] = (),
        *,
        previous_txs: Sequence[Transaction | None] = (),
        input_origins: Sequence[Sequence[tuple[bytes, KeyOrigin]]] = (),
        output_origins: Sequence[Sequence[tuple[bytes, KeyOrigin]]] = (),
    ) -> Psbt:
        """A PSBT without signatures; scripts and witnesses of `tx` are dropped.

        Each sequence is empty or as long as the transaction's inputs (or outputs). Keys of origins are
        33 bytes, or 32 for taproot. Hardware signers want `previous_txs` for inputs that are not taproot.
        """
        for given, expected in (
            (len(spent_outputs), len(tx.inputs)),
            (len(previous_txs), len(tx.inputs)),
            (len(input_origins), len(tx.inputs)),
            (len(output_origins), len(tx.outputs)),
        ):
            if given not in (0, expected):
                raise APIError("A PSBT needs one record for each input and output, or none.")
        unsigned = Transaction(
            tx.version,
            tuple([TxIn(txin.prevout, b"", txin.sequence) for txin in tx.inputs]),
            tx.outputs,
            tx.lock_time,
        )
        inputs = []
        for index in range(len(tx.inputs)):
            origins = tuple(input_origins[index]) if input_origins else ()
            inputs.append(
                PsbtInput(
                    previous_tx=previous_txs[index] if previous_txs else None,
                    witness_utxo=spent_outputs[index] if spent_outputs else None,
                    key_origins=_origins_of_length(origins, 33),
                    tap_key_origins=_origins_of_length(origins, 32),
                )
            )
        outputs = []
        for index in range(len(tx.outputs)):
            origins = tuple(output_origins[index]) if output_origins else ()
            outputs.append(
                PsbtOutput(
                    key_origins=_origins_of_length(origins, 33),
                    tap_key_origins=_origins_of_length(origins, 32),
                )
            )
        psbt = cls(tx=unsigned, inputs=tuple(inputs), outputs=tuple(outputs))
        try:
            psbt._check()
        except DecodeError as error:
            raise APIError(str(error)) from None
        return psbt

    # --- reading ---

    @classmethod
    def parse(cls, data: str | bytes) -> Psbt:
        """Reads base64 text, or the bytes themselves."""
        if isinstance(data, str):
            if len(data) > MAX_PSBT_BYTES * 4 // 3 + 4:
                raise DecodeError(_("This PSBT is too large."))
            try:
                raw = base64.b64decode("".join(data.split()), validate=True)
            except (ValueError, binascii.Error):
                raise DecodeError(_("This is not a PSBT: it is not base64 text.")) from None
        else:
            raw = bytes(data)
        if len(raw) > MAX_PSBT_BYTES:
            raise DecodeError(_("This PSBT is too large."))
        if raw[:5] != _MAGIC:
            raise DecodeError(_("This is not a PSBT: its first bytes are wrong."))
        entries, offset = _read_map(raw, 5)
        version = int.from_bytes(_take_fixed(entries, _GLOBAL_VERSION, 4) or b"", "little")
        if version != 0:
            raise DecodeError(
                _("This is a PSBT of version {version}; only version 0 is known here.").format(
                    version=version
                )
            )
        tx_raw = entries.pop(_GLOBAL_UNSIGNED_TX, None)
        if tx_raw is None:
            raise DecodeError(_("This PSBT holds no transaction."))
        tx = Transaction.parse_without_witness(tx_raw)
        if any(txin.script_sig for txin in tx.inputs):
            raise DecodeError(_("The transaction of this PSBT is signed already."))
        inputs: list[PsbtInput] = []
        for _input in tx.inputs:
            input_entries, offset = _read_map(raw, offset)
            inputs.append(_parse_input(input_entries))
        outputs: list[PsbtOutput] = []
        for _output in tx.outputs:
            output_entries, offset = _read_map(raw, offset)
            outputs.append(_parse_output(output_entries))
        if offset != len(raw):
            raise DecodeError(_("There are bytes behind the PSBT."))
        psbt = cls(tx=tx, inputs=tuple(inputs), outputs=tuple(outputs), unknown=tuple(entries.items()))
        psbt._check()
        return psbt

    def _check(self) -> None:
        for txin, known in zip(self.tx.inputs, self.inputs, strict=True):
            previous = known.previous_tx
            if previous is None:
                continue
            # BIP 174: without these two checks a signer could be lied to about the fee.
            if previous.txid != txin.prevout.txid or txin.prevout.vout >= len(previous.outputs):
                raise DecodeError(_("A previous transaction in this PSBT is not the one that is spent."))
            if known.witness_utxo is not None and known.witness_utxo != previous.outputs[txin.prevout.vout]:
                raise DecodeError(_("This PSBT tells two different amounts for the same input."))

    # --- asking ---

    def spent_output(self, index: int) -> TxOut | None:
        """The output that an input spends, as far as the PSBT tells."""
        known = self._input(index)
        if known.previous_tx is not None:
            return known.previous_tx.outputs[self.tx.inputs[index].prevout.vout]
        return known.witness_utxo

    @property
    def fee_sat(self) -> int | None:
        """What the transaction pays to miners, or None when an input's amount is not known."""
        total_sat = 0
        for index in range(len(self.inputs)):
            spent = self.spent_output(index)
            if spent is None:
                return None
            total_sat += spent.value_sat
        return total_sat - self.tx.total_output_sat

    @property
    def is_final(self) -> bool:
        return all(known.is_final for known in self.inputs)

    # --- changed copies ---

    def with_input(self, index: int, known: PsbtInput) -> Psbt:
        self._input(index)
        return replace(self, inputs=(*self.inputs[:index], known, *self.inputs[index + 1 :]))

    def with_partial_signature(self, index: int, pubkey: bytes, signature: bytes) -> Psbt:
        """Adds a DER signature with its sighash byte, in place of one by the same key."""
        known = self._input(index)
        others = tuple([entry for entry in known.partial_signatures if entry[0] != pubkey])
        return self.with_input(index, replace(known, partial_signatures=(*others, (pubkey, signature))))

    def with_tap_key_signature(self, index: int, signature: bytes) -> Psbt:
        return self.with_input(index, replace(self._input(index), tap_key_signature=signature))

    def combine(self, other: Psbt) -> Psbt:
        """What two signers added to one transaction; where both say something, this one counts."""
        if self.tx != other.tx:
            raise APIError(_("These PSBTs are about different transactions."))
        inputs = [
            PsbtInput(
                previous_tx=_first(a.previous_tx, b.previous_tx),
                witness_utxo=_first(a.witness_utxo, b.witness_utxo),
                partial_signatures=_united(a.partial_signatures, b.partial_signatures),
                sighash_type=_first(a.sighash_type, b.sighash_type),
                redeem_script=_first(a.redeem_script, b.redeem_script),
                witness_script=_first(a.witness_script, b.witness_script),
                key_origins=_united(a.key_origins, b.key_origins),
                final_script_sig=_first(a.final_script_sig, b.final_script_sig),
                final_witness=_first(a.final_witness, b.final_witness),
                tap_key_signature=_first(a.tap_key_signature, b.tap_key_signature),
                tap_key_origins=_united(a.tap_key_origins, b.tap_key_origins),
                tap_internal_key=_first(a.tap_internal_key, b.tap_internal_key),
                tap_merkle_root=_first(a.tap_merkle_root, b.tap_merkle_root),
                unknown=_united(a.unknown, b.unknown),
            )
            for a, b in zip(self.inputs, other.inputs, strict=True)
        ]
        outputs = [
            PsbtOutput(
                redeem_script=_first(a.redeem_script, b.redeem_script),
                witness_script=_first(a.witness_script, b.witness_script),
                key_origins=_united(a.key_origins, b.key_origins),
                tap_internal_key=_first(a.tap_internal_key, b.tap_internal_key),
                tap_key_origins=_united(a.tap_key_origins, b.tap_key_origins),
                unknown=_united(a.unknown, b.unknown),
            )
            for a, b in zip(self.outputs, other.outputs, strict=True)
        ]
        combined = replace(
            self, inputs=tuple(inputs), outputs=tuple(outputs), unknown=_united(self.unknown, other.unknown)
        )
        try:
            combined._check()
        except DecodeError as error:
            raise APIError(str(error)) from None
        return combined

    def finalize(self) -> Psbt:
        """Turns signatures into witnesses wherever they suffice: P2WPKH (also inside P2SH), taproot key path,
        and multisig in P2WSH. Other inputs stay as they are."""
        psbt = self
        for index in range(len(self.inputs)):
            psbt = psbt._finalize_input(index)
        return psbt

    def _finalize_input(self, index: int) -> Psbt:
        known = self.inputs[index]
        spent = self.spent_output(index)
        if known.is_final or spent is None:
            return self
        script_pubkey = spent.script_pubkey
        script_sig: bytes | None = None
        if _script.is_p2sh(script_pubkey):
            if known.redeem_script is None or _script.p2sh(known.redeem_script) != script_pubkey:
                return self
            script_pubkey = known.redeem_script
            script_sig = _script.push(known.redeem_script)
        witness: tuple[bytes, ...] | None = None
        if _script.is_p2wpkh(script_pubkey):
            for pubkey, signature in known.partial_signatures:
                if hash160(pubkey) == script_pubkey[2:]:
                    witness = (signature, pubkey)
        elif _script.is_p2wsh(script_pubkey):
            witness = _multisig_witness(known, script_pubkey)
        elif _script.is_p2tr(script_pubkey) and known.tap_key_signature is not None:
            witness = (known.tap_key_signature,)
        if witness is None:
            return self
        # BIP 174: the finalizer keeps the spent output and unknown fields, and drops the rest.
        final = PsbtInput(
            previous_tx=known.previous_tx,
            witness_utxo=known.witness_utxo,
            final_script_sig=script_sig,
            final_witness=witness,
            unknown=known.unknown,
        )
        return self.with_input(index, final)

    def extract(self) -> Transaction:
        """The signed transaction; APIError when an input is not complete."""
        inputs: list[TxIn] = []
        for index, (txin, known) in enumerate(zip(self.tx.inputs, self.inputs, strict=True)):
            if not known.is_final:
                raise APIError(_("Input {index} of this PSBT is not signed completely.").format(index=index))
            inputs.append(
                TxIn(txin.prevout, known.final_script_sig or b"", txin.sequence, known.final_witness or ())
            )
        return replace(self.tx, inputs=tuple(inputs))

    # --- writing ---

    def serialize(self) -> bytes:
        parts = [_MAGIC, _write_map([(_GLOBAL_UNSIGNED_TX, self.tx.serialize(witness=False)), *self.unknown])]
        parts.extend([_write_map(_input_entries(known)) for known in self.inputs])
        parts.extend([_write_map(_output_entries(known)) for known in self.outputs])
        return b"".join(parts)

    def to_base64(self) -> str:
        return base64.b64encode(self.serialize()).decode()

    def _input(self, index: int) -> PsbtInput:
        if not 0 <= index < len(self.inputs):
            raise APIError(f"The PSBT has {len(self.inputs)} inputs; there is no number {index}.")
        return self.inputs[index]


def _origins_of_length(
    origins: tuple[tuple[bytes, KeyOrigin], ...], length: int
) -> tuple[tuple[bytes, KeyOrigin], ...]:
    return tuple([entry for entry in origins if len(entry[0]) == length])


def _first(a: T | None, b: T | None) -> T | None:
    return b if a is None else a


def _united(a: tuple[tuple[bytes, T], ...], b: tuple[tuple[bytes, T], ...]) -> tuple[tuple[bytes, T], ...]:
    keys = {entry[0] for entry in a}
    return (*a, *[entry for entry in b if entry[0] not in keys])


def _multisig_witness(known: PsbtInput, script_pubkey: bytes) -> tuple[bytes, ...] | None:
    """The witness of an m-of-n multisig: a dummy, m signatures in the order of their keys, the script."""
    witness_script = known.witness_script
    if witness_script is None or _script.p2wsh(witness_script) != script_pubkey:
        return None
    try:
        ops = _script.parse_script(witness_script)
    except DecodeError:
        return None
    if len(ops) < 4 or ops[-1] != _script.OP_CHECKMULTISIG:
        return None
    threshold, count = ops[0], ops[-2]
    pubkeys = [op for op in ops[1:-2] if isinstance(op, bytes)]
    if (
        not isinstance(threshold, int)
        or count != _script.OP_1 - 1 + len(pubkeys)
        or len(pubkeys) != len(ops) - 3
    ):
        return None
    needed = threshold - (_script.OP_1 - 1)
    signatures = dict(known.partial_signatures)
    found = [signatures[pubkey] for pubkey in pubkeys if pubkey in signatures]
    if not 1 <= needed <= len(found):
        return None
    return (b"", *found[:needed], witness_script)


# --- the key-value maps -----------------------------------------------------------------------------


def _read_map(raw: bytes, offset: int) -> tuple[_Entries, int]:
    entries: _Entries = {}
    while True:
        key_length, offset = read_compact_size(raw, offset)
        if key_length == 0:
            # BIP 174: a map has no order; this is the one that it is written in.
            return dict(sorted(entries.items())), offset
        key, offset = _read_bytes(raw, offset, key_length)
        value_length, offset = read_compact_size(raw, offset)
        value, offset = _read_bytes(raw, offset, value_length)
        if key in entries:
            raise DecodeError(_("This PSBT says the same thing twice."))
        entries[key] = value


def _read_bytes(raw: bytes, offset: int, length: int) -> tuple[bytes, int]:
    end = offset + length
    if end > len(raw):
        raise DecodeError(_("The PSBT is cut short."))
    return raw[offset:end], end


def _write_map(entries: Sequence[tuple[bytes, bytes]]) -> bytes:
    parts = [
        compact_size(len(key)) + key + compact_size(len(value)) + value for key, value in sorted(entries)
    ]
    return b"".join(parts) + b"\x00"


def _take(entries: _Entries, field: int) -> bytes | None:
    """A field whose key is its type alone. A longer key of the same type stays and counts as unknown."""
    return entries.pop(bytes((field,)), None)


def _take_fixed(entries: _Entries, key: bytes, *lengths: int) -> bytes | None:
    value = entries.pop(key, None)
    if value is not None and len(value) not in lengths:
        raise DecodeError(_("A field of this PSBT has a wrong length."))
    return value


def _take_keyed(entries: _Entries, field: int, *key_lengths: int) -> list[tuple[bytes, bytes]]:
    """Fields whose key goes on behind the type."""
    found = [(key[1:], value) for key, value in entries.items() if key[0] == field]
    for key_data, _value in found:
        if len(key_data) not in key_lengths:
            raise DecodeError(_("A key of this PSBT has a wrong length."))
        del entries[bytes((field,)) + key_data]
    return found


def _parse_input(entries: _Entries) -> PsbtInput:
    previous_raw = _take(entries, _IN_NON_WITNESS_UTXO)
    utxo_raw = _take(entries, _IN_WITNESS_UTXO)
    sighash_raw = _take_fixed(entries, bytes((_IN_SIGHASH_TYPE,)), 4)
    final_witness_raw = _take(entries, _IN_FINAL_WITNESS)
    return PsbtInput(
        previous_tx=None if previous_raw is None else Transaction.parse(previous_raw),
        witness_utxo=None if utxo_raw is None else _parse_txout(utxo_raw),
        partial_signatures=tuple(_take_keyed(entries, _IN_PARTIAL_SIGNATURE, 33, 65)),
        sighash_type=None if sighash_raw is None else int.from_bytes(sighash_raw, "little"),
        redeem_script=_take(entries, _IN_REDEEM_SCRIPT),
        witness_script=_take(entries, _IN_WITNESS_SCRIPT),
        key_origins=_parse_origins(_take_keyed(entries, _IN_KEY_ORIGIN, 33, 65)),
        final_script_sig=_take(entries, _IN_FINAL_SCRIPT_SIG),
        final_witness=None if final_witness_raw is None else _parse_witness(final_witness_raw),
        tap_key_signature=_take_fixed(entries, bytes((_IN_TAP_KEY_SIGNATURE,)), 64, 65),
        tap_key_origins=_parse_tap_origins(_take_keyed(entries, _IN_TAP_KEY_ORIGIN, 32)),
        tap_internal_key=_take_fixed(entries, bytes((_IN_TAP_INTERNAL_KEY,)), 32),
        tap_merkle_root=_take_fixed(entries, bytes((_IN_TAP_MERKLE_ROOT,)), 32),
        unknown=_rest(entries, _IN_KNOWN),
    )


def _parse_output(entries: _Entries) -> PsbtOutput:
    return PsbtOutput(
        redeem_script=_take(entries, _OUT_REDEEM_SCRIPT),
        witness_script=_take(entries, _OUT_WITNESS_SCRIPT),
        key_origins=_parse_origins(_take_keyed(entries, _OUT_KEY_ORIGIN, 33, 65)),
        tap_internal_key=_take_fixed(entries, bytes((_OUT_TAP_INTERNAL_KEY,)), 32),
        tap_key_origins=_parse_tap_origins(_take_keyed(entries, _OUT_TAP_KEY_ORIGIN, 32)),
        unknown=_rest(entries, _OUT_KNOWN),
    )


_IN_KNOWN: Final = frozenset((*range(9), 0x13, 0x16, 0x17, 0x18))
_OUT_KNOWN: Final = frozenset((0, 1, 2, 5, 7))


def _rest(entries: _Entries, known: frozenset[int]) -> tuple[tuple[bytes, bytes], ...]:
    # BIP 174: a key of a defined type that is longer than the definition allows makes the PSBT invalid.
    if any(key[0] in known for key in entries):
        raise DecodeError(_("A key of this PSBT has a wrong length."))
    return tuple(entries.items())


def _parse_txout(raw: bytes) -> TxOut:
    if len(raw) < 9:
        raise DecodeError(_("An output in this PSBT is cut short."))
    value_sat = int.from_bytes(raw[:8], "little", signed=True)
    if not 0 <= value_sat <= MAX_MONEY_SAT:
        raise DecodeError(_("An output in this PSBT has an amount that cannot exist."))
    length, offset = read_compact_size(raw, 8)
    if offset + length != len(raw):
        raise DecodeError(_("An output in this PSBT has a wrong length."))
    return TxOut(value_sat, raw[offset:])


def _parse_witness(raw: bytes) -> tuple[bytes, ...]:
    count, offset = read_compact_size(raw, 0)
    if count > len(raw):
        raise DecodeError(_("A witness in this PSBT is cut short."))
    items: list[bytes] = []
    for _number in range(count):
        length, offset = read_compact_size(raw, offset)
        item, offset = _read_bytes(raw, offset, length)
        items.append(item)
    if offset != len(raw):
        raise DecodeError(_("A witness in this PSBT has a wrong length."))
    return tuple(items)


def _parse_origins(found: list[tuple[bytes, bytes]]) -> tuple[tuple[bytes, KeyOrigin], ...]:
    return tuple([(key, _parse_origin(value, ())) for key, value in found])


def _parse_tap_origins(found: list[tuple[bytes, bytes]]) -> tuple[tuple[bytes, KeyOrigin], ...]:
    origins = []
    for key, value in found:
        count, offset = read_compact_size(value, 0)
        end = offset + 32 * count
        if end > len(value):
            raise DecodeError(_("A key origin in this PSBT is cut short."))
        leaves = tuple([value[at : at + 32] for at in range(offset, end, 32)])
        origins.append((key, _parse_origin(value[end:], leaves)))
    return tuple(origins)


def _parse_origin(value: bytes, leaf_hashes: tuple[bytes, ...]) -> KeyOrigin:
    if len(value) < 4 or len(value) % 4:
        raise DecodeError(_("A key origin in this PSBT has a wrong length."))
    path = tuple([int.from_bytes(value[at : at + 4], "little") for at in range(4, len(value), 4)])
    return KeyOrigin(fingerprint=value[:4], path=path, leaf_hashes=leaf_hashes)


def _origin_bytes(origin: KeyOrigin) -> bytes:
    return origin.fingerprint + b"".join([index.to_bytes(4, "little") for index in origin.path])


def _tap_origin_bytes(origin: KeyOrigin) -> bytes:
    return compact_size(len(origin.leaf_hashes)) + b"".join(origin.leaf_hashes) + _origin_bytes(origin)


def _input_entries(known: PsbtInput) -> list[tuple[bytes, bytes]]:
    entries = list(known.unknown)
    if known.previous_tx is not None:
        entries.append((bytes((_IN_NON_WITNESS_UTXO,)), known.previous_tx.serialize()))
    if known.witness_utxo is not None:
        entries.append((bytes((_IN_WITNESS_UTXO,)), known.witness_utxo.serialize()))
    if known.sighash_type is not None:
        entries.append((bytes((_IN_SIGHASH_TYPE,)), known.sighash_type.to_bytes(4, "little")))
    if known.final_witness is not None:
        items = [compact_size(len(item)) + item for item in known.final_witness]
        entries.append((bytes((_IN_FINAL_WITNESS,)), compact_size(len(items)) + b"".join(items)))
    for field, value in (
        (_IN_REDEEM_SCRIPT, known.redeem_script),
        (_IN_WITNESS_SCRIPT, known.witness_script),
        (_IN_FINAL_SCRIPT_SIG, known.final_script_sig),
        (_IN_TAP_KEY_SIGNATURE, known.tap_key_signature),
        (_IN_TAP_INTERNAL_KEY, known.tap_internal_key),
        (_IN_TAP_MERKLE_ROOT, known.tap_merkle_root),
    ):
        if value is not None:
            entries.append((bytes((field,)), value))
    for key, value in known.partial_signatures:
        entries.append((bytes((_IN_PARTIAL_SIGNATURE,)) + key, value))
    for key, origin in known.key_origins:
        entries.append((bytes((_IN_KEY_ORIGIN,)) + key, _origin_bytes(origin)))
    for key, origin in known.tap_key_origins:
        entries.append((bytes((_IN_TAP_KEY_ORIGIN,)) + key, _tap_origin_bytes(origin)))
    return entries


def _output_entries(known: PsbtOutput) -> list[tuple[bytes, bytes]]:
    entries = list(known.unknown)
    for field, value in (
        (_OUT_REDEEM_SCRIPT, known.redeem_script),
        (_OUT_WITNESS_SCRIPT, known.witness_script),
        (_OUT_TAP_INTERNAL_KEY, known.tap_internal_key),
    ):
        if value is not None:
            entries.append((bytes((field,)), value))
    for key, origin in known.key_origins:
        entries.append((bytes((_OUT_KEY_ORIGIN,)) + key, _origin_bytes(origin)))
    for key, origin in known.tap_key_origins:
        entries.append((bytes((_OUT_TAP_KEY_ORIGIN,)) + key, _tap_origin_bytes(origin)))
    return entries
