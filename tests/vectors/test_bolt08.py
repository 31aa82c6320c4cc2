"""Every vector of BOLT 8: both sides of the handshake, its failures, messages across two key rotations."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from wallet.bitcoin import curve
from wallet.bitcoin.errors import APIError, DecodeError
from wallet.ln.peer_channel_encryptor import LENGTH_HEADER_LENGTH, PeerChannelEncryptor
from wallet.ln.types import NodeId

VECTORS = json.loads((Path(__file__).parent / "data" / "bolt08.json").read_text())
INITIATOR = [case for case in VECTORS["handshakes"] if "initiator" in case["name"]]
RESPONDER = [case for case in VECTORS["handshakes"] if "responder" in case["name"]]


def outbound(case: dict[str, Any]) -> PeerChannelEncryptor:
    secret = bytes.fromhex(case["ls.priv"])
    return PeerChannelEncryptor.new_outbound(
        NodeId(bytes.fromhex(case["rs.pub"])),
        bytes.fromhex(case["e.priv"]),
        partial(curve.ecdh, secret),
        NodeId(curve.pubkey_from_secret(secret)),
    )


def inbound(case: dict[str, Any]) -> PeerChannelEncryptor:
    secret = bytes.fromhex(case["ls.priv"])
    return PeerChannelEncryptor.new_inbound(
        bytes.fromhex(case["e.priv"]),
        partial(curve.ecdh, secret),
        NodeId(curve.pubkey_from_secret(secret)),
    )


def test_vectors_are_all_here() -> None:
    assert len(INITIATOR) == 5
    assert len(RESPONDER) == 10


def run(encryptor: PeerChannelEncryptor, steps: list[list[str]], *, initiator: bool) -> None:
    process = (
        [encryptor.process_act_two] if initiator else [encryptor.process_act_one, encryptor.process_act_three]
    )
    said: bytes | None = encryptor.get_act_one() if initiator else None
    for kind, value in steps:
        if kind == "input":
            act = bytes.fromhex(value)
            if steps[-1][1].startswith("ERROR") and [kind, value] == steps[-2]:
                with pytest.raises(DecodeError):
                    process[0](act)
                with pytest.raises(APIError):
                    process[0](act)
                assert not encryptor.is_ready_for_encryption
                return
            said = process.pop(0)(act)
        elif not value.startswith(("sk,rk", "rk,sk")):
            assert said is not None
            assert said.hex() == value
    assert encryptor.is_ready_for_encryption


@pytest.mark.parametrize("case", INITIATOR, ids=lambda case: case["name"])
def test_initiator(case: dict[str, Any]) -> None:
    run(outbound(case), case["steps"], initiator=True)


@pytest.mark.parametrize("case", RESPONDER, ids=lambda case: case["name"])
def test_responder(case: dict[str, Any]) -> None:
    run(inbound(case), case["steps"], initiator=False)


def connected() -> tuple[PeerChannelEncryptor, PeerChannelEncryptor]:
    initiator, responder = outbound(INITIATOR[0]), inbound(RESPONDER[0])
    act_three = initiator.process_act_two(responder.process_act_one(initiator.get_act_one()))
    assert responder.process_act_three(act_three).hex() == INITIATOR[0]["ls.pub"]
    return initiator, responder


def test_messages_across_key_rotations() -> None:
    initiator, responder = connected()
    outputs = VECTORS["messages"]["outputs"]
    seen = 0
    for number in range(1002):
        sealed = initiator.encrypt_message(b"hello")
        if str(number) in outputs:
            assert sealed.hex() == outputs[str(number)]
            seen += 1
        assert responder.decrypt_length_header(sealed[:LENGTH_HEADER_LENGTH]) == 5
        assert responder.decrypt_message(sealed[LENGTH_HEADER_LENGTH:]) == b"hello"
        # The other direction rotates on its own count.
        if number % 3 == 0:
            answer = responder.encrypt_message(b"")
            assert initiator.decrypt_length_header(answer[:LENGTH_HEADER_LENGTH]) == 0
            assert initiator.decrypt_message(answer[LENGTH_HEADER_LENGTH:]) == b""
    assert seen == 6


def test_a_changed_byte_is_found() -> None:
    initiator, responder = connected()
    sealed = bytearray(initiator.encrypt_message(b"hello"))
    sealed[0] ^= 1
    with pytest.raises(DecodeError):
        responder.decrypt_length_header(bytes(sealed[:LENGTH_HEADER_LENGTH]))


def test_a_message_that_is_too_long_is_refused() -> None:
    initiator, _ = connected()
    initiator.encrypt_message(bytes(65_535))
    with pytest.raises(APIError):
        initiator.encrypt_message(bytes(65_536))
