"""Every decoder against spoilt input and noise.

Only its own refusal comes out, and what it accepts is written and read again as the same.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz import decode
from tests.fuzz.samples import fixed_samples, inputs, valid
from tests.fuzz.targets import TARGETS, Violation

SLOW = {"wallet_file": 12, "electrum_json": 25, "graph_file": 25, "rpc_request": 40, "rpc_http": 25}
"""Examples of the targets that take milliseconds each."""
EXAMPLES = 50
EFFORT = int(os.environ.get("LEYDEN_FUZZ_EFFORT", "1"))
"""So many times as many examples, for a search by hand."""

CHECKS = [
    HealthCheck.too_slow,
    HealthCheck.filter_too_much,
    HealthCheck.data_too_large,
    HealthCheck.large_base_example,
]


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_valid_input_is_accepted(target: str) -> None:
    for raw in fixed_samples().get(target, ()):
        assert decode.feed(target, raw), raw


@pytest.mark.parametrize("target", sorted(set(TARGETS) - set(fixed_samples())))
def test_a_row_that_was_written_is_read(target: str) -> None:
    @settings(max_examples=20, suppress_health_check=CHECKS)
    @given(st.data())
    def each(data: st.DataObject) -> None:
        assert decode.feed(target, data.draw(valid(target)))

    each()


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_nothing_but_a_refusal_comes_out(target: str) -> None:
    @settings(max_examples=SLOW.get(target, EXAMPLES) * EFFORT, suppress_health_check=CHECKS)
    @given(st.data())
    def each(data: st.DataObject) -> None:
        decode.feed(target, data.draw(inputs(target)))

    each()


MESSAGES = """
    warning stfu peer_storage peer_storage_retrieval init error ping pong
    open_channel accept_channel funding_created funding_signed channel_ready shutdown closing_signed
    closing_complete closing_sig open_channel2 accept_channel2 tx_add_input tx_add_output tx_remove_input
    tx_remove_output tx_complete tx_signatures tx_init_rbf tx_ack_rbf tx_abort splice_locked splice_init splice_ack
    start_batch update_add_htlc update_fulfill_htlc update_fail_htlc update_fail_malformed_htlc commitment_signed
    revoke_and_ack update_fee channel_reestablish
    onion_message
    channel_announcement node_announcement channel_update announcement_signatures query_short_channel_ids
    reply_short_channel_ids_end query_channel_range reply_channel_range gossip_timestamp_filter
"""
"""Of BOLT 1, 2, 4 and 7, in their order."""


def test_there_is_a_target_for_each_message_of_the_bolts() -> None:
    assert not set(MESSAGES.split()) - set(TARGETS)
    assert len(set(MESSAGES.split())) == 50


# --- the command ----------------------------------------------------------------------------------------


def test_the_command_tells_good_from_bad(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    good, noise = tmp_path / "good", tmp_path / "noise"
    good.write_bytes(fixed_samples()["open_channel"][0])
    noise.write_bytes(b"\xff" * 50)
    assert decode.main(["open_channel", str(good), str(noise)]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line.rsplit(" ")[-1] for line in shown] == ["accepted", "refused"]

    def broken(raw: bytes) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(decode, "TARGETS", {"broken": broken})
    assert decode.main(["broken", str(good), str(noise)]) == 1
    shown = capsys.readouterr().out.splitlines()
    assert sum("VIOLATION" in line for line in shown) == 2
    assert any("KeyError" in line for line in shown)

    def forgetful(raw: bytes) -> None:
        raise Violation("written and read again it is another")

    monkeypatch.setattr(decode, "TARGETS", {"forgetful": forgetful})
    assert decode.main(["forgetful", str(good)]) == 1
    assert "it is another" in capsys.readouterr().out


def test_the_command_explains_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert decode.main(["--list"]) == 0
    listed = capsys.readouterr().out.split()
    assert {"open_channel", "update_add_htlc", "warning", "onion_hop_data", "bolt11", "psbt"} <= set(listed)
    for call in ([], ["bolt11"], ["no_such_target", "x"], ["bolt11", str(tmp_path / "missing")]):
        assert decode.main(call) == 2
        assert capsys.readouterr().err
