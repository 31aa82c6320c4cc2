"""Valid input for every target of `decode`, and how it is spoilt."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import tempfile
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from decimal import Decimal
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, Final, Union

from hypothesis import assume
from hypothesis import strategies as st

from tests.fuzz.rows import RECORDS
from tests.fuzz.targets import (
    MESSAGE_CLASSES,
    PUBKEY,
    SECRET,
    TARGETS,
    TX,
    UNREAD_MESSAGES,
    json_text,
    message_name,
    seal,
)
from tests.unit.ln.routing.snapshot_builder import snapshot
from tests.unit.ln.test_msgs import SAMPLES as MESSAGES
from wallet.bitcoin import bip39, curve, records
from wallet.bitcoin.address import MAINNET, REGTEST, script_to_address
from wallet.bitcoin.base58 import base58check_decode, base58check_encode
from wallet.bitcoin.bech32 import Spec, bech32_decode, bech32_encode, convert_bits
from wallet.bitcoin.bip32 import ExtendedKey
from wallet.bitcoin.hashes import sha256
from wallet.bitcoin.psbt import KeyOrigin, Psbt, PsbtInput
from wallet.bitcoin.script import p2tr, p2wpkh
from wallet.bitcoin.tx import BlockHash, BlockHeader, OutPoint, Transaction, Txid, TxIn, TxOut, txid_hex
from wallet.chain.interfaces import Row
from wallet.ln import event_queue
from wallet.ln.channel_backup import ChannelBackups
from wallet.ln.event_queue import encode_event
from wallet.ln.features import ChannelTypeFeatures, Features
from wallet.ln.invoice import Fallback, build_invoice
from wallet.ln.msgs import ChannelAnnouncement, ChannelUpdate, NodeAnnouncement, encode_message
from wallet.ln.onion_failure import Failure
from wallet.ln.onion_payload import (
    BlindedReceivePayload,
    ForwardPayload,
    PaymentConstraints,
    PaymentRelay,
    ReceivePayload,
    RecipientData,
    encode_payload,
    open_recipient_data,
    seal_recipient_data,
)
from wallet.ln.onion_utils import construct_onion_keys, construct_onion_packet
from wallet.ln.route import RouteHintHop
from wallet.ln.routing.graph import NetworkGraph
from wallet.ln.routing.scoring import LiquidityRange, ProbabilisticScorer
from wallet.ln.types import NodeId, PaymentHash, PaymentPreimage, PaymentSecret, ShortChannelId
from wallet.ln.wire import StateWriter, encode_tlv_stream
from wallet.node.store import Store

__all__ = ["fixed_samples", "inputs", "valid"]

SCID: Final = ShortChannelId(700_000 << 40 | 21 << 16 | 1)
ADDRESS: Final = script_to_address(p2wpkh(PUBKEY), REGTEST) or ""


# --- fixed samples ------------------------------------------------------------------------------------


def _invoices() -> list[bytes]:
    hop = RouteHintHop(
        node_id=NodeId(PUBKEY),
        short_channel_id=SCID,
        fee_base_msat=1_000,
        fee_proportional_millionths=100,
        cltv_expiry_delta=40,
    )
    found = []
    for network in (MAINNET, REGTEST):
        for rich in (False, True):
            invoice = build_invoice(
                network=network,
                payment_hash=PaymentHash(b"\x05" * 32),
                payment_secret=PaymentSecret(b"\x06" * 32),
                created_at=1_700_000_000,
                sign=lambda digest: curve.sign_recoverable(digest, SECRET),
                amount_msat=123_456_789 if rich else None,
                description="coffee ☕",
                expiry_seconds=60 if rich else 3600,
                min_final_cltv_delta=80 if rich else 18,
                fallbacks=(Fallback(0, b"\x07" * 20), Fallback(17, b"\x08" * 20)) if rich else (),
                hints=((hop, hop), (hop,)) if rich else (),
                payment_metadata=b"\x01fafaf0" if rich else None,
                payee=NodeId(PUBKEY) if rich else None,
            )
            found += [invoice.text.encode(), b"lightning:" + invoice.text.upper().encode()]
    return found


def _psbts() -> list[bytes]:
    unsigned = Transaction(2, (TxIn(TX.outpoint(0)), TxIn(OutPoint(Txid(b"\x09" * 32), 1))), TX.outputs, 0)
    origin = KeyOrigin(fingerprint=b"\x01\x02\x03\x04", path=(84 + (1 << 31), 0))
    psbt = Psbt.from_transaction(
        unsigned,
        (TX.outputs[0], TxOut(5_000, p2tr(PUBKEY[1:]))),
        previous_txs=(TX, None),
        input_origins=(((PUBKEY, origin),), ((PUBKEY[1:], origin),)),
        output_origins=(((PUBKEY, origin),),),
    )
    signed = psbt.with_partial_signature(0, PUBKEY, b"\x30" * 70).with_tap_key_signature(1, b"\x0a" * 64)
    final = psbt.with_input(0, PsbtInput(witness_utxo=TX.outputs[0], final_witness=(b"\x01", PUBKEY)))
    return [psbt.serialize(), signed.serialize(), final.serialize(), psbt.to_base64().encode()]


def _of(kind: type[Any]) -> Any:
    return next(message for message in MESSAGES if isinstance(message, kind))


def _graph() -> NetworkGraph:
    graph = NetworkGraph(REGTEST)
    announcement: ChannelAnnouncement = _of(ChannelAnnouncement)
    graph.add_channel(announcement, 1_000_000, 1_700_000_000)
    update: ChannelUpdate = _of(ChannelUpdate)
    graph.apply_update(update)
    node: NodeAnnouncement = _of(NodeAnnouncement)
    graph.apply_node_announcement(node)
    graph.channel_failed_permanent(ShortChannelId(5), 1_700_000_000)
    return graph


def _scores() -> bytes:
    scorer = ProbabilisticScorer(_graph())
    scorer._liquidities[SCID] = LiquidityRange(1_000, 2_000, 1_700_000_000)
    return scorer.write()


@cache
def wallet_file() -> bytes:
    rows = [Row("node_secret", b"words", b"abandon " * 12)]
    rows += [Row("channel", bytes((number,)) * 33, b"v" * 300) for number in range(40)]
    with tempfile.TemporaryDirectory(prefix="leyden-fuzz-") as name:
        path = Path(name) / "w" / "wallet.leyden"
        Store.create(path, network="regtest", password="", rows=rows).close()
        return path.read_bytes()


def _onion() -> bytes:
    keys = construct_onion_keys([PUBKEY, curve.pubkey_from_secret(b"\x18" * 32)], b"\x19" * 32)
    payloads = [
        encode_payload(ForwardPayload(short_channel_id=SCID, amt_to_forward_msat=5, outgoing_cltv_height=9))
    ] * 2
    return construct_onion_packet(payloads, keys, associated_data=bytes(32), prng_seed=bytes(32))


def _recipient_data() -> bytes:
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    from wallet.ln.onion_payload import _rho

    data = RecipientData(
        short_channel_id=SCID,
        next_path_key_override=PUBKEY,
        path_id=b"id",
        padding=b"\x00\x00",
        payment_relay=PaymentRelay(cltv_expiry_delta=40, fee_proportional_millionths=100, fee_base_msat=1),
        payment_constraints=PaymentConstraints(max_cltv_expiry_height=900_000, htlc_minimum_msat=1),
    )
    sealed = seal_recipient_data(SECRET, data)
    assert open_recipient_data(SECRET, sealed) == data
    return ChaCha20Poly1305(_rho(SECRET)).decrypt(bytes(12), sealed, None)


def _server_lines() -> list[bytes]:
    txid = txid_hex(TX.txid)
    results: list[object] = [
        ["ElectrumX 1.18.0", "1.6"],
        None,
        {"height": 100, "hex": "00" * 80},
        "00" * 80,
        {"count": 1, "hex": "00" * 80, "max": 2016},
        {"count": 1, "headers": ["00" * 80], "max": 2016},
        "11" * 32,
        [{"tx_hash": txid, "height": 7}],
        {"history": [{"tx_hash": txid, "height": -1}]},
        [{"tx_hash": txid, "tx_pos": 0, "height": 7, "value": 1_000}],
        TX.serialize().hex(),
        {"block_height": 7, "pos": 1, "merkle": ["22" * 32]},
        {"tx_hash": txid, "merkle": ["22" * 32]},
        {"funder_height": 7, "spender_txhash": txid, "spender_height": None},
        1,
        -1,
        txid,
        {"success": False, "errors": [{"txid": txid, "error": "min relay fee not met"}]},
    ]
    lines = [json_text({"jsonrpc": "2.0", "id": 0, "result": result}).encode() for result in results]
    lines += [
        b'{"jsonrpc":"2.0","id":0,"result":{"mempoolminfee":0.00001,"minrelaytxfee":1.00001000e-5}}',
        b'{"jsonrpc":"2.0","id":1,"result":0.00012345}',
        b'{"jsonrpc":"2.0","id":0,"error":{"code":1,"message":"no such transaction"}}',
        b'{"jsonrpc":"2.0","method":"blockchain.headers.subscribe","params":[{"height":5,"hex":"'
        + b"00" * 80
        + b'"}]}',
        b'{"jsonrpc":"2.0","method":"blockchain.scripthash.subscribe","params":["'
        + b"00" * 32
        + b'","'
        + b"33" * 32
        + b'"]}',
        b'[{"jsonrpc":"2.0","id":0,"result":1},{"jsonrpc":"2.0","id":1,"result":2}]',
        b'{"id":0,"result":1e999999999}',
        b'{"id":0,"result":-1E-999999999}',
    ]
    return lines


def _requests() -> list[bytes]:
    asked: list[tuple[str, object]] = [
        ("getinfo", None),
        ("payto", [ADDRESS, "0.001"]),
        ("payto", {"destination": ADDRESS, "amount": "!", "feerate": "5", "addtransaction": True}),
        ("lnpay", {"invoice": "lnbcrt1", "timeout": "30", "max_fee_msat": 5}),
        ("add_request", {"amount_msat": 5_000, "message": "☕", "lightning": True}),
        ("command_line", {"command": "payto", "words": [ADDRESS, "0.1", "--feerate=2", "--unsigned"]}),
        ("command_line", {"command": "list_channels", "words": ["--active", "--public"]}),
    ]
    return [
        json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode()
        for number, (method, params) in enumerate(asked)
    ]


@cache
def fixed_samples() -> Mapping[str, tuple[bytes, ...]]:
    """At least one input for each target whose records are not made up; the decoder accepts every one."""
    words = bip39.mnemonic_from_entropy(bytes(range(16)))
    root = ExtendedKey.from_seed(bip39.seed_from_mnemonic(words), MAINNET)
    hop_payloads: list[bytes] = [
        encode_payload(ForwardPayload(short_channel_id=SCID, amt_to_forward_msat=5, outgoing_cltv_height=9)),
        encode_payload(
            ReceivePayload(
                amount_msat=5_000,
                cltv_expiry_height=800_000,
                total_msat=9_000,
                payment_secret=PaymentSecret(b"\x06" * 32),
                payment_metadata=b"meta",
                keysend_preimage=PaymentPreimage(b"\x07" * 32),
                custom_tlvs=((65_537, b"mine"),),
            )
        ),
        encode_payload(
            BlindedReceivePayload(
                encrypted_recipient_data=b"\x08" * 40,
                amount_msat=5,
                cltv_expiry_height=9,
                total_msat=5,
                current_path_key=PUBKEY,
            )
        ),
    ]
    header = BlockHeader(0x20000000, BlockHash(bytes(32)), bytes(32), 1_700_000_000, 0x207FFFFF, 1)
    messages: dict[str, list[bytes]] = {name: [] for name in MESSAGE_CLASSES}
    for message in MESSAGES:
        messages[message_name(type(message))].append(message.encode_payload())
    samples: dict[str, list[bytes]] = {
        **messages,
        **{name: [bytes(40)] for name in UNREAD_MESSAGES},
        "message": [encode_message(message) for message in MESSAGES] + [b"\xff\xff\x01"],
        "onion_hop_data": hop_payloads + [bytes((len(raw),)) + raw for raw in hop_payloads],
        "encrypted_recipient_data": [_recipient_data()],
        "onion_packet": [_onion()],
        "onion_failure": [Failure.fee_insufficient(5, b"update").encode()],
        "tlv_stream": [encode_tlv_stream({1: b"one", 3: b"", 253: b"x" * 300, 1 << 40: b"far"})],
        "bigsize": [b"\xfc", b"\xfd\x00\xfd", b"\xfe\x00\x01\x00\x00", b"\xff" + b"\xff" * 8],
        "features": [b"", b"\x10\x00"],
        "node_address": [
            b"\x01\x7f\x00\x00\x01\x26\x07"
            b"\x02"
            + bytes(15)
            + b"\x01\x26\x07"
            + b"\x04"
            + bytes(35)
            + b"\x26\x07"
            + b"\x05\x0bexample.com\x26\x07"
        ],
        "socket_address": [b"example.com:9735", b"[::1]:80", b"1.2.3.4", b"a" * 56 + b".onion:9735"],
        "bolt11": _invoices(),
        "address": [
            ADDRESS.encode(),
            (script_to_address(p2tr(PUBKEY[1:]), MAINNET) or "").encode(),
            b"1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
        ],
        "bip21": [
            b"bitcoin:" + ADDRESS.encode() + b"?amount=0.001&label=a%20shop&message=hi",
            b"BITCOIN:" + ADDRESS.upper().encode(),
            b"bitcoin:" + ADDRESS.encode() + b"?lightning=" + _invoices()[4],
        ],
        "pasted_text": [
            *_invoices()[4:],
            ADDRESS.encode(),
            PUBKEY.hex().encode() + b"@example.com:9735",
            b"bitcoin:" + ADDRESS.encode() + b"?amount=0.001",
        ],
        "node_uri": [PUBKEY.hex().encode() + b"@" + host for host in (b"1.2.3.4", b"[::1]:1", b"a.onion:9")],
        "server_address": [b"localhost:50001:t", b"[::1]:50002:s", b"electrum.example:50002"],
        "mnemonic": [words.encode()],
        "extended_key": [root.to_base58().encode(), root.neuter().to_base58().encode()],
        "transaction": [TX.serialize(), TX.serialize(witness=False)],
        "block_header": [header.serialize()],
        "psbt": _psbts(),
        "electrum_json": _server_lines(),
        "wallet_file": [wallet_file()],
        "graph_file": [_graph().write(), _graph().write()[:-32], NetworkGraph(REGTEST).write()],
        "rapid_gossip": [
            snapshot(seen_at=1_700_000_000),
            snapshot(seen_at=1_700_000_000, version=2, additions=True),
        ],
        "scores_file": [_scores()],
        "state_row": [StateWriter().int(0, 5).bool(2, True).text(4, "x").list(6, [b"a", b""]).finish()],
        "rpc_request": _requests(),
        "rpc_http": [
            b"POST / HTTP/1.1\r\nAuthorization: Basic CREDENTIALS\r\nContent-Length: 2\r\n\r\n{}",
            b"POST / HTTP/1.1\r\nConnection: close\r\nAuthorization: Basic CREDENTIALS\r\nContent-Length: 0\r\n\r\n",
        ],
        "rpc_answer": [
            b'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"jsonrpc": "2.0", "id": 1, "result": {"a": [1]}}'
        ],
        "command_line": [
            b"--regtest\n-D\n/tmp/x\n--server=localhost:50001:t\npayto\nbcrt1\n0.1\n--feerate\n5",
            b"--signet\ndaemon\n-d\n--listen\n0.0.0.0:9735\n--proxy\n127.0.0.1:9050\n--rpcport=7777",
            b"bitcoin:bc1q?amount=1\n--sandbox\n-w\nother",
        ],
    }
    return {name: tuple(found) for name, found in samples.items()}


# --- records, made up from their types ----------------------------------------------------------------

_HASHES: Final = st.binary(min_size=32, max_size=32)
_POINTS: Final = st.sampled_from([curve.pubkey_from_secret(bytes((n,)) * 32) for n in range(1, 6)])
_SCRIPTS: Final = st.sampled_from([b"", p2wpkh(PUBKEY), p2tr(PUBKEY[1:]), b"\x51"])
_BYTES: Final = st.one_of(_HASHES, _POINTS, st.binary(max_size=70))
_AMOUNTS: Final = st.one_of(st.integers(0, 300), st.integers(0, (1 << 64) - 1))
_OUTPOINTS: Final = st.builds(OutPoint, _HASHES.map(Txid), st.integers(0, 0xFFFF_FFFF))
_OUTPUTS: Final = st.builds(TxOut, st.integers(0, 10_000_000 * 10**8), _SCRIPTS)
_INPUTS: Final = st.builds(
    TxIn,
    _OUTPOINTS,
    st.binary(max_size=4),
    st.integers(0, 0xFFFF_FFFF),
    st.lists(st.binary(max_size=4), max_size=2).map(tuple),
)
_KNOWN: Final[Mapping[object, st.SearchStrategy[Any]]] = {
    int: _AMOUNTS,
    bool: st.booleans(),
    bytes: _BYTES,
    str: st.text(max_size=20),
    OutPoint: _OUTPOINTS,
    TxOut: _OUTPUTS,
    TxIn: _INPUTS,
    Transaction: st.builds(
        lambda inputs, outputs: Transaction(2, tuple(inputs), tuple(outputs), 0),
        st.lists(_INPUTS, min_size=1, max_size=2),
        st.lists(_OUTPUTS, min_size=1, max_size=2),
    ),
    BlockHeader: st.just(
        BlockHeader(0x20000000, BlockHash(bytes(32)), bytes(32), 1_700_000_000, 0x207FFFFF, 1)
    ),
    Features: st.sets(st.integers(0, 70), max_size=4).map(Features),
    ChannelTypeFeatures: st.sampled_from([ChannelTypeFeatures([12]), ChannelTypeFeatures([12, 22])]),
}


_made: dict[object, st.SearchStrategy[Any]] = {}


def _later(kind: object) -> st.SearchStrategy[Any]:
    return st.deferred(lambda: _strategy(kind))


def _strategy(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a type that `wallet.bitcoin.records` can store; made once each."""
    if kind not in _made:
        _made[kind] = _make(kind)
    return _made[kind]


def _make(kind: Any) -> st.SearchStrategy[Any]:
    if kind in _KNOWN:
        return _KNOWN[kind]
    if isinstance(kind, typing.NewType):
        return _strategy(kind.__supertype__)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        return st.one_of([st.none() if each is type(None) else _later(each) for each in arguments])
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return st.lists(_strategy(arguments[0]), max_size=2).map(tuple)
    if origin is tuple:
        return st.tuples(*(_strategy(argument) for argument in arguments))
    if origin is frozenset:
        return st.frozensets(_strategy(arguments[0]), max_size=2)
    if origin is dict:
        return st.dictionaries(_strategy(arguments[0]), _strategy(arguments[1]), max_size=2)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return st.sampled_from(list(kind))
    if isinstance(kind, type) and is_dataclass(kind):
        return _record(kind)
    raise TypeError(f"no record holds {kind!r}")


def _record(kind: type[Any]) -> st.SearchStrategy[Any]:
    hints = typing.get_type_hints(kind)
    made = [item for item in fields(kind) if item.init]

    @st.composite
    def build(draw: st.DrawFn) -> Any:
        values = {}
        for item in made:
            has_default = item.default is not MISSING or item.default_factory is not MISSING
            if has_default and not draw(st.booleans()):
                continue
            values[item.name] = draw(_strategy(hints[item.name]))
        try:
            return kind(**values)
        except (ValueError, RuntimeError):
            # The class itself refuses what cannot be.
            assume(False)

    return build()


def valid(target: str) -> st.SearchStrategy[bytes]:
    """Input that the target accepts."""
    if target in fixed_samples():
        return st.sampled_from(fixed_samples()[target])
    if target == "channel_backup":
        plain = _strategy(ChannelBackups).map(records.encode)
        return st.one_of(plain, plain.map(seal))
    if target == "peer_storage_blob":
        plain = _strategy(ChannelBackups).map(records.encode)
        return plain.map(lambda data: len(data).to_bytes(4, "big") + data + bytes(40))
    if target == "row_event":
        kinds = list(event_queue._NUMBERS)
        return st.one_of([_later(kind) for kind in kinds]).map(encode_event)
    return _strategy(RECORDS[target.removeprefix("row_")]).map(records.encode)


# --- spoilt input -------------------------------------------------------------------------------------

_PIECES: Final = st.one_of(
    st.binary(max_size=8),
    st.sampled_from(
        [
            b"\x00",
            b"\xff",
            b"\xfd\x00\x00",
            b"\xfe\xff\xff\xff\xff",
            b"\xff" * 9,
            b"\x00" * 33,
            b"\xfd\xff\xff",
        ]
    ),
)


@st.composite
def _spoilt(draw: st.DrawFn, base: st.SearchStrategy[bytes]) -> bytes:
    raw = draw(base)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(raw)))
        length = draw(st.integers(0, min(40, len(raw) - at)))
        match draw(st.integers(0, 5)):
            case 0 if at < len(raw):
                raw = raw[:at] + bytes((raw[at] ^ 1 << draw(st.integers(0, 7)),)) + raw[at + 1 :]
            case 1:
                raw = raw[:at]
            case 2:
                raw = raw[:at] + raw[at + length :]
            case 3:
                raw = raw[:at] + raw[at : at + length] + raw[at:]
            case 4:
                raw = raw[:at] + draw(_PIECES) + raw[at + length :]
            case _:
                raw = raw[:at] + draw(_PIECES) + raw[at:]
    return raw


# Text with a checksum, and JSON, are spoilt within: from outside, hardly anything gets past the first check.

_LETTERS: Final = "0123456789munpxabcdefghijklmnopqrstuvwyz"


@st.composite
def _spoilt_invoice(draw: st.DrawFn) -> bytes:
    """An invoice whose five-bit values and amount were changed before it was signed."""
    hrp, values = bech32_decode(draw(st.sampled_from(_invoices())).decode().removeprefix("lightning:"))
    data = bytes(values[:-104])
    spoilt = draw(_spoilt(st.just(data)))
    signed = [value & 31 for value in spoilt]
    if draw(st.booleans()):
        hrp = hrp[: draw(st.integers(2, len(hrp)))] + draw(st.text(_LETTERS, max_size=6))
    digest = sha256(hrp.encode() + bytes(convert_bits(signed, 5, 8, pad=True)))
    signature = curve.sign_recoverable(digest, SECRET)
    return bech32_encode(hrp, signed + convert_bits(signature, 8, 5, pad=True)).encode()


@st.composite
def _spoilt_address(draw: st.DrawFn) -> bytes:
    if draw(st.booleans()):
        raw = draw(_spoilt(st.just(b"\x6f" + bytes(20))))
        return base58check_encode(raw).encode()
    hrp = draw(st.sampled_from(["bc", "tb", "bcrt", "xy"]))
    values = [value & 31 for value in draw(_spoilt(st.just(bytes((draw(st.integers(0, 17)), *(range(32)))))))]
    return bech32_encode(hrp, values, draw(st.sampled_from(list(Spec)))).encode()


@st.composite
def _spoilt_key(draw: st.DrawFn) -> bytes:
    raw = base58check_decode(draw(st.sampled_from(fixed_samples()["extended_key"])).decode())
    return base58check_encode(draw(_spoilt(st.just(raw)))).encode()


_ODD_NUMBERS: Final = st.sampled_from(
    [Decimal("1E+999999999"), Decimal("-1E-999999999"), Decimal("0.1"), -1, 0, 1 << 24, 1 << 70, 21_000_001]
)
_LEAVES: Final = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    _ODD_NUMBERS,
    st.text(max_size=5),
    st.binary(max_size=40).map(bytes.hex),
)
_JSON: Final = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@st.composite
def _spoilt_json(draw: st.DrawFn, target: str) -> bytes:
    """JSON with one of its members put out, exchanged, doubled or renamed."""
    value = json.loads(draw(st.sampled_from(fixed_samples()[target])), parse_float=Decimal)
    for _ in range(draw(st.integers(1, 3))):
        spots: list[tuple[Any, Any]] = []
        waiting = [value]
        while waiting:
            here = waiting.pop()
            members = here.items() if isinstance(here, dict) else enumerate(here)
            for key, member in members:
                spots.append((here, key))
                if isinstance(member, dict | list):
                    waiting.append(member)
        if not spots:
            break
        here, key = draw(st.sampled_from(spots))
        match draw(st.integers(0, 3)):
            case 0:
                del here[key]
            case 1 if isinstance(here, dict):
                here[draw(st.text(max_size=8))] = here.pop(key)
            case 2 if isinstance(here, list):
                here.append(here[key])
            case _:
                here[key] = draw(_JSON)
    return json_text(value).encode()


@st.composite
def _spoilt_wallet(draw: st.DrawFn) -> bytes:
    """A whole SQLite file with other things in it."""
    with tempfile.TemporaryDirectory(prefix="leyden-fuzz-") as name:
        path = Path(name) / "spoilt"
        path.write_bytes(wallet_file())
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            odd = st.one_of(st.none(), st.integers(-5, 1 << 62), st.text(max_size=8), st.binary(max_size=80))
            for _ in range(draw(st.integers(1, 3))):
                statement, count = draw(
                    st.sampled_from(
                        [
                            ("INSERT OR REPLACE INTO meta VALUES (?, ?)", 2),
                            ("UPDATE OR IGNORE meta SET value = ? WHERE name = 'key_open'", 1),
                            ("UPDATE OR IGNORE meta SET value = ? WHERE name = 'format'", 1),
                            ("UPDATE OR IGNORE meta SET name = ? WHERE name = 'network'", 1),
                            ("UPDATE OR IGNORE meta SET value = CAST(x'fffe' AS TEXT)", 0),
                            ("UPDATE OR IGNORE rows SET value = ? WHERE space = 'channel'", 1),
                            ("UPDATE OR IGNORE rows SET id = ? WHERE space = 'node_secret'", 1),
                            ("UPDATE OR IGNORE rows SET space = ?", 1),
                            ("UPDATE OR IGNORE rows SET space = CAST(x'fffe' AS TEXT)", 0),
                            ("DELETE FROM meta WHERE name = 'key_open'", 0),
                            ("DROP TABLE rows", 0),
                            ("ALTER TABLE rows RENAME COLUMN value TO other", 0),
                            ("CREATE TABLE IF NOT EXISTS extra (x)", 0),
                            ("PRAGMA application_id=5", 0),
                            ("PRAGMA user_version=7", 0),
                        ]
                    )
                )
                with contextlib.suppress(sqlite3.Error):
                    connection.execute(statement, [draw(odd) for _ in range(count)])
        return path.read_bytes()


_WORDS: Final = st.lists(st.sampled_from(bip39.ENGLISH), min_size=11, max_size=13).map(
    lambda found: " ".join(found).encode()
)

_FROM_WITHIN: Final[Mapping[str, st.SearchStrategy[bytes]]] = {
    "bolt11": _spoilt_invoice(),
    "address": _spoilt_address(),
    "extended_key": _spoilt_key(),
    "electrum_json": st.one_of(
        _spoilt_json("electrum_json"), _JSON.map(lambda value: json_text(value).encode())
    ),
    "rpc_request": _spoilt_json("rpc_request"),
    "mnemonic": _WORDS,
    "wallet_file": _spoilt_wallet(),
    "pasted_text": st.one_of(st.text().map(lambda text: text.encode(errors="replace")), _spoilt_address()),
}


def inputs(target: str) -> st.SearchStrategy[bytes]:
    """Input for a target: mostly valid input that was spoilt, sometimes noise."""
    spoilt = _spoilt(valid(target))
    return st.one_of(_FROM_WITHIN.get(target, spoilt), spoilt, st.binary(max_size=200))


if (
    set(TARGETS)
    - set(fixed_samples())
    - {f"row_{name}" for name in RECORDS}
    - {"row_event", "channel_backup", "peer_storage_blob"}
):
    raise RuntimeError("a target has no sample")
