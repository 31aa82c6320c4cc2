"""JSON-RPC with sellers of channels, and what of their words is believed. bLIP 50 and 51."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.ln.connection_pair import Keys, Log
from wallet.bitcoin.address import MAINNET, REGTEST
from wallet.bitcoin.errors import DecodeError
from wallet.bitcoin.records import decode, encode
from wallet.bitcoin.tx import OutPoint, Txid
from wallet.ln import lsps0, lsps1
from wallet.ln.features import NO_FEATURES, Features
from wallet.ln.invoice import build_invoice
from wallet.ln.lsps0 import Answer, Failure, LspsError, LspsHandler, Notification, Outcome, Trouble
from wallet.ln.msgs import LspsMessage
from wallet.ln.types import NodeId, PaymentHash, PaymentSecret

PEER = NodeId(b"\x02" + bytes(32))
OTHER = NodeId(b"\x03" + bytes(32))
ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
ANOTHER_ADDRESS = "bcrt1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqdku202"
OPTIONS = lsps1.Options(
    min_required_channel_confirmations=1, min_funding_confirms_within_blocks=6, supports_zero_channel_reserve=False,
    max_channel_expiry_blocks=20_160, min_initial_client_balance_sat=0, max_initial_client_balance_sat=500_000,
    min_initial_lsp_balance_sat=20_000, max_initial_lsp_balance_sat=5_000_000, min_channel_balance_sat=50_000,
    max_channel_balance_sat=5_000_000,
)  # fmt: skip
PARAMS = lsps1.OrderParams(
    lsp_balance_sat=1_000_000,
    client_balance_sat=20_000,
    required_channel_confirmations=1,
    funding_confirms_within_blocks=6,
    channel_expiry_blocks=13_140,
    announce_channel=False,
    refund_onchain_address=ADDRESS,
)


def invoice(amount_msat: int | None) -> str:
    return build_invoice(
        network=REGTEST,
        payment_hash=PaymentHash(bytes(32)),
        payment_secret=PaymentSecret(bytes(32)),
        created_at=1_700_000_000,
        sign=Keys(bytes(31) + b"\x01").sign_invoice,
        amount_msat=amount_msat,
        description="a channel",
    ).text


BOLT11 = lsps1.Bolt11Terms(
    state=lsps1.PaymentState.EXPECT_PAYMENT,
    expires_at=1_700_003_600,
    fee_total_sat=5_000,
    order_total_sat=25_000,
    invoice=invoice(25_000_000),
)
COINS = lsps1.OnchainTerms(
    state=lsps1.PaymentState.EXPECT_PAYMENT,
    expires_at=1_700_003_600,
    fee_total_sat=6_000,
    order_total_sat=26_000,
    address=ADDRESS,
    min_confirmations=1,
    refund_onchain_address=ADDRESS,
)
ORDER = lsps1.Order(
    order_id="bb4b5d0a-8334-49d8-9463-90a6d413af7c",
    params=PARAMS,
    created_at=1_700_000_000,
    state=lsps1.OrderState.CREATED,
    bolt11=BOLT11,
    onchain=COINS,
)
CHANNEL = lsps1.BoughtChannel(
    funded_at=1_700_000_100, funding_outpoint=OutPoint(Txid(b"\x07" * 32), 1), expires_at=1_800_000_000
)


def said(found: dict[str, Any]) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **found}).encode()


# --- the transport --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b" [ ] ",
        b' {"jsonrpc":"2.0","id":"a","result":{}} {',
        b'{"jsonrpc":"2.0","id":"a","result":{}}{}',
        b'{"jsonrpc":"2.0","id":"a","result":{}}\x00',
        b'{"jsonrpc":"2.0","id":"a","result":{"a":"\xff"}}',
        b'{"jsonrpc":"2.0","id":"a","result":{"a":NaN}}',
        b'{"jsonrpc":"2.0","id":"a","result":{"a":' + b"9" * 5_000 + b"}}",
        b'{"jsonrpc":"2.0","id":"a","result":' + b'{"a":' * 12_000 + b"1" + b"}" * 12_000 + b"}",
        b'{"jsonrpc":"2.0","id":"a","result":{"a":"' + b"x" * 65_533 + b'"}}',
        said({"id": "a"}),
        said({"id": "a", "result": {}, "error": {"code": 1, "message": ""}}),
        said({"id": "a", "result": []}),
        said({"id": 7, "result": {}}),
        said({"id": "", "result": {}}),
        said({"id": "x" * 300, "result": {}}),
        said({"id": "\ud800", "result": {}}),
        said({"result": {}}),
        said({"id": "a", "error": "no"}),
        said({"id": "a", "error": {"code": "1", "message": "no"}}),
        said({"id": "a", "error": {"code": True, "message": "no"}}),
        said({"id": "a", "error": {"code": 1}}),
        said({"id": "a", "method": "m", "params": {}}),
        said({"method": "m", "params": []}),
        said({"method": 3, "params": {}}),
        b'{"jsonrpc":"1.0","id":"a","result":{}}',
        b'{"id":"a","result":{}}',
    ],
    ids=range(28),
)
def test_what_is_no_answer_is_not_read(data: bytes) -> None:
    with pytest.raises(DecodeError):
        lsps0.decode_from_server(data)


@pytest.mark.parametrize(
    "found",
    [
        {"id": "a", "params": {}},
        {"id": "a", "method": "m", "params": []},
        {"method": "m", "params": {}},
        {"id": None, "method": "m", "params": {}},
        {"id": "a", "method": "m" * 300, "params": {}},
        {"id": "a", "method": "m", "params": {"\ud800": 1}},
        {"id": "a", "result": {}},
    ],
    ids=range(7),
)
def test_what_is_no_request_is_not_read(found: dict[str, Any]) -> None:
    with pytest.raises(DecodeError):
        lsps0.decode_from_client(said(found))


@given(st.binary(max_size=200))
def test_noise_raises_only_decode_error(noise: bytes) -> None:
    for read in (lsps0.decode_from_server, lsps0.decode_from_client):
        with pytest.raises(DecodeError):
            read(noise)


def test_white_space_around_an_object_is_its_own_and_fractions_count_as_nothing() -> None:
    answer = lsps0.decode_from_server(b' \t\r\n{"jsonrpc":"2.0","id":"a","result":{"x":1.5,"n":7}}\n ')
    assert answer == Answer(request_id="a", result={"x": None, "n": 7})


class Service:
    """Answers with what it was asked; `boom` it refuses."""

    def protocols(self) -> tuple[int, ...]:
        return (1,)

    def call(self, their_node_id: NodeId, method: str, params: lsps0.Json) -> lsps0.Json:
        if method == "boom":
            raise LspsError(100, "No", {"property": "x"})
        return {"method": method, **params}


class Ends:
    """A client's end and a server's, joined; `wire` keeps what the client's peer would see."""

    def __init__(self) -> None:
        self.wire: list[bytes] = []
        self.lost = False
        self.server = LspsHandler(
            send=self._to_client, entropy=lambda: bytes(32), logger=Log(), service=Service()
        )
        keys = Keys(b"\x01" * 32)
        self.client = LspsHandler(send=self._to_server, entropy=keys.get_secure_random_bytes, logger=Log())
        self.told: list[Outcome] = []

    def _to_server(self, _node_id: NodeId, msg: LspsMessage) -> None:
        self.wire.append(msg.data)
        if not self.lost:
            self.server.handle_lsps_message(PEER, msg)

    def _to_client(self, _node_id: NodeId, msg: LspsMessage) -> None:
        self.client.handle_lsps_message(PEER, msg)

    def ask(self, method: str, params: lsps0.Json) -> str:
        return self.client.ask(PEER, method, params, self.told.append)

    def hear(self, data: bytes, node_id: NodeId = PEER) -> None:
        self.client.handle_lsps_message(node_id, LspsMessage(data=data))


def test_a_question_is_answered_once_and_only_by_whom_it_was_asked() -> None:
    ends = Ends()
    ends.ask("m", {"a": "1"})
    assert [item.result for item in ends.told if isinstance(item, Answer)] == [{"method": "m", "a": "1"}]
    ends.lost = True
    ends.told.clear()
    request_id = ends.ask("m", {})
    answer = lsps0.encode_answer(request_id, {})
    ends.hear(answer, OTHER)
    ends.hear(lsps0.encode_answer("ff" * 16, {}))
    ends.hear(lsps0.encode_failure(None, -32_700, "Parse error", {}))
    ends.hear(said({"method": "lsps9.news", "params": {}}))
    assert ends.told == []
    ends.hear(answer)
    ends.hear(answer)
    assert len(ends.told) == 1


def test_ids_are_chance_and_never_the_same() -> None:
    ends = Ends()
    ids = {ends.ask("m", {}) for _turn in range(20)}
    assert len(ids) == 20
    # bLIP 50: 80 bits at least.
    assert all(len(bytes.fromhex(request_id)) >= 10 for request_id in ids)


def test_a_peer_that_cannot_be_read_is_asked_nothing_until_it_connects_anew() -> None:
    ends = Ends()
    ends.lost = True
    ends.ask("m", {})
    ends.hear(b"[]")
    assert isinstance(ends.told.pop(), Trouble)
    with pytest.raises(Trouble):
        ends.ask("m", {})
    ends.client.peer_disconnected(PEER)
    ends.ask("m", {})
    ends.client.peer_disconnected(PEER)
    assert isinstance(ends.told.pop(), Trouble)


def test_only_so_many_questions_wait_at_a_time_and_what_is_given_up_makes_room() -> None:
    ends = Ends()
    ends.lost = True
    ids = [ends.ask("m", {}) for _turn in range(lsps0.MAX_ASKED_AT_A_TIME)]
    with pytest.raises(Trouble):
        ends.ask("m", {})
    ends.client.forget(PEER, ids[0])
    ends.ask("m", {})
    ends.hear(lsps0.encode_answer(ids[0], {}))
    assert ends.told == []


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [("boom", {}, 100), ("lsps0.list_protocols", {"x": 1}, -32_602)],
    ids=["refused", "unknown parameter"],
)
def test_a_refusal_carries_its_code(method: str, params: dict[str, Any], code: int) -> None:
    ends = Ends()
    ends.ask(method, params)
    told = ends.told.pop()
    assert isinstance(told, Failure)
    assert told.code == code
    if code == -32_602:
        assert told.data["unrecognized"] == ["x"]


def test_a_server_lists_its_protocols_and_says_so_when_it_cannot_read() -> None:
    ends = Ends()
    ends.ask("lsps0.list_protocols", {})
    assert isinstance(ends.told[0], Answer)
    assert ends.told[0].result == {"protocols": [1]}
    answers: list[bytes] = []
    server = LspsHandler(
        send=lambda _node, msg: answers.append(msg.data),
        entropy=lambda: bytes(32),
        logger=Log(),
        service=Service(),
    )
    server.handle_lsps_message(PEER, LspsMessage(data=b"{"))
    assert json.loads(answers[0]) == {
        "jsonrpc": "2.0",
        "id": None,
        "error": {"code": -32_700, "message": "Parse error", "data": {}},
    }


def test_who_only_buys_answers_nothing_and_announces_nothing() -> None:
    ends = Ends()
    ends.hear(said({"id": "a", "method": "lsps1.get_info", "params": {}}))
    assert ends.wire == []
    assert ends.client.provided_init_features(PEER) == NO_FEATURES
    # bLIP 50: the bit is 729.
    assert ends.server.provided_init_features(PEER) == Features([729])
    assert ends.server.provided_node_features() == Features([729])


def test_a_node_that_sells_may_ask_a_seller_too() -> None:
    ends = Ends()
    ends.client.service = Service()
    ends.ask("m", {})
    assert isinstance(ends.told.pop(), Answer)
    ends.lost = True
    ends.ask("m", {})
    ends.hear(b"{")
    assert isinstance(ends.told.pop(), Trouble)


# --- offers and orders ----------------------------------------------------------------------------


def through_json(found: lsps0.Json) -> dict[str, Any]:
    """As it comes over the wire."""
    read: dict[str, Any] = json.loads(json.dumps(found))
    return read


def test_options_and_orders_come_through_as_they_were_sent() -> None:
    assert lsps1.options_from(through_json(lsps1.options_json(OPTIONS))) == OPTIONS
    complete = replace(ORDER, state=lsps1.OrderState.COMPLETED, channel=CHANNEL)
    for order in (ORDER, complete, replace(ORDER, bolt11=None), replace(ORDER, onchain=None)):
        read = lsps1.order_from(through_json(lsps1.order_json(order)))
        assert replace(read, params=PARAMS) == order
        assert decode(lsps1.Order, encode(order)) == order
    assert lsps1.params_from(through_json(lsps1.params_json(PARAMS)), REGTEST) == PARAMS


def test_amounts_are_text_and_moments_are_as_the_specification_writes_them() -> None:
    found = through_json(lsps1.order_json(replace(ORDER, channel=CHANNEL)))
    assert found["lsp_balance_sat"] == "1000000"
    assert found["created_at"] == "2023-11-14T22:13:20.000Z"
    assert found["payment"]["bolt11"]["order_total_sat"] == "25000"
    assert found["payment"]["onchain"]["min_fee_for_0conf"] is None
    assert found["channel"]["funding_outpoint"] == "07" * 32 + ":1"


def test_what_sellers_leave_out_or_add_is_put_up_with() -> None:
    found = through_json(lsps1.order_json(ORDER))
    found |= {"token": None, "new_field": {"deep": [1]}}
    found["payment"]["bolt12"] = {"anything": 1}
    found["payment"]["bolt11"]["state"] = "CANCELLED"
    found["payment"]["onchain"] = None
    found["created_at"] = "2023-11-14T22:13:20Z"
    read = lsps1.order_from(found)
    assert read.params.token == ""
    assert read.onchain is None
    assert read.created_at == ORDER.created_at
    assert read.bolt11 is not None
    assert read.bolt11.state is lsps1.PaymentState.REFUNDED


WRONG: list[tuple[str, Any]] = [
    ("order_id", 7),
    ("order_id", ""),
    ("order_id", "x" * 65),
    ("order_id", "a\nb"),
    ("lsp_balance_sat", 1_000_000),
    ("lsp_balance_sat", "-1"),
    ("lsp_balance_sat", "1e6"),
    ("lsp_balance_sat", "01"),
    ("lsp_balance_sat", " 1"),
    ("lsp_balance_sat", "\u0661"),
    ("lsp_balance_sat", "2100000000000001"),
    ("client_balance_sat", None),
    ("required_channel_confirmations", "1"),
    ("required_channel_confirmations", True),
    ("required_channel_confirmations", 65_536),
    ("channel_expiry_blocks", -1),
    ("announce_channel", 1),
    ("token", 5),
    ("created_at", "yesterday"),
    ("created_at", "2023-13-14T22:13:20Z"),
    ("created_at", 1_700_000_000),
    ("order_state", "LOST"),
    ("order_state", None),
    ("payment", None),
    ("payment", []),
    ("payment.bolt11", []),
    ("payment.bolt11.invoice", "l" * 2_049),
    ("payment.bolt11.invoice", None),
    ("payment.bolt11.state", "MAYBE"),
    ("payment.bolt11.fee_total_sat", 5_000),
    ("payment.bolt11.expires_at", "soon"),
    ("payment.onchain.address", "x" * 91),
    ("payment.onchain.min_onchain_payment_confirmations", "1"),
    ("payment.onchain.min_fee_for_0conf", -1),
    ("payment.onchain.refund_onchain_address", 7),
    ("channel.funding_outpoint", "07" * 32),
    ("channel.funding_outpoint", "07" * 31 + ":1"),
    ("channel.funding_outpoint", "07" * 32 + ":-1"),
    ("channel.funded_at", None),
    ("channel", []),
]


@pytest.mark.parametrize(
    ("path", "value"), WRONG, ids=[f"{n} {path}" for n, (path, _value) in enumerate(WRONG)]
)
def test_an_order_with_a_field_of_the_wrong_kind_is_not_read(path: str, value: Any) -> None:
    found = through_json(lsps1.order_json(replace(ORDER, channel=CHANNEL)))
    *parents, name = path.split(".")
    part: Any = found
    for parent in parents:
        part = part[parent]
    part[name] = value
    with pytest.raises(DecodeError):
        lsps1.order_from(found)


@pytest.mark.parametrize(
    "changes",
    [
        {"max_initial_lsp_balance_sat": "1"},
        {"max_initial_client_balance_sat": "0", "min_initial_client_balance_sat": "1"},
        {"max_channel_balance_sat": "49999"},
        {"max_channel_expiry_blocks": 0},
        {"min_funding_confirms_within_blocks": 0},
        {"supports_zero_channel_reserve": "yes"},
        {"min_channel_balance_sat": 5},
    ],
    ids=range(7),
)
def test_options_that_contradict_themselves_are_not_read(changes: dict[str, Any]) -> None:
    with pytest.raises(DecodeError):
        lsps1.options_from(through_json(lsps1.options_json(OPTIONS)) | changes)


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"lsp_balance_sat": 19_999}, "min_initial_lsp_balance_sat"),
        ({"lsp_balance_sat": 5_000_001}, "max_initial_lsp_balance_sat"),
        ({"client_balance_sat": 500_001}, "max_initial_client_balance_sat"),
        ({"lsp_balance_sat": 20_000, "client_balance_sat": 29_999}, "min_channel_balance_sat"),
        ({"lsp_balance_sat": 4_990_000, "client_balance_sat": 20_000}, "max_channel_balance_sat"),
        ({"required_channel_confirmations": 0}, "min_required_channel_confirmations"),
        ({"funding_confirms_within_blocks": 5}, "min_funding_confirms_within_blocks"),
        ({"channel_expiry_blocks": 20_161}, "max_channel_expiry_blocks"),
    ],
    ids=range(8),
)
def test_an_order_beside_the_options_names_the_option(changes: dict[str, Any], option: str) -> None:
    lsps1.check_against_options(PARAMS, OPTIONS)
    with pytest.raises(LspsError) as refused:
        lsps1.check_against_options(replace(PARAMS, **changes), OPTIONS)
    assert refused.value.code == 100
    assert refused.value.data["property"] == option


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"lsp_balance_sat": "0"}, "lsp_balance_sat"),
        ({"lsp_balance_sat": 5}, "lsp_balance_sat"),
        ({"channel_expiry_blocks": 0}, "channel_expiry_blocks"),
        ({"announce_channel": "no"}, "announce_channel"),
        ({"refund_onchain_address": "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"}, "refund_onchain_address"),
        ({"refund_onchain_address": "2N9hLwkSqr1cPQAPxbrGVUjxyjD11G2e1he"}, "refund_onchain_address"),
        ({"surprise": 1}, "surprise"),
    ],
    ids=range(7),
)
def test_a_server_names_the_parameter_that_it_does_not_take(changes: dict[str, Any], name: str) -> None:
    with pytest.raises(LspsError) as refused:
        lsps1.params_from(through_json(lsps1.params_json(PARAMS)) | changes, REGTEST)
    assert refused.value.code == -32_602
    assert refused.value.data["property"] == name
    assert refused.value.data["unrecognized"] == (["surprise"] if name == "surprise" else [])


def test_a_new_order_that_is_as_asked_is_taken() -> None:
    told = lsps1.order_from(through_json(lsps1.order_json(ORDER)))
    assert lsps1.check_new_order(told, PARAMS, REGTEST) == ORDER


@pytest.mark.parametrize(
    "told",
    [
        replace(ORDER, params=replace(PARAMS, lsp_balance_sat=900_000)),
        replace(ORDER, params=replace(PARAMS, client_balance_sat=0)),
        replace(ORDER, params=replace(PARAMS, channel_expiry_blocks=1)),
        replace(ORDER, params=replace(PARAMS, announce_channel=True)),
        replace(ORDER, state=lsps1.OrderState.FAILED),
        replace(ORDER, channel=CHANNEL),
        replace(ORDER, bolt11=None, onchain=None),
        replace(ORDER, bolt11=replace(BOLT11, state=lsps1.PaymentState.PAID)),
        replace(ORDER, bolt11=replace(BOLT11, order_total_sat=24_999)),
        replace(ORDER, onchain=replace(COINS, fee_total_sat=1)),
        replace(ORDER, bolt11=replace(BOLT11, invoice=invoice(25_001_000))),
        replace(ORDER, bolt11=replace(BOLT11, invoice=invoice(None))),
        replace(ORDER, bolt11=replace(BOLT11, invoice="lnbcrt1nonsense")),
        replace(ORDER, onchain=replace(COINS, address="bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4")),
        replace(ORDER, onchain=replace(COINS, refund_onchain_address=ANOTHER_ADDRESS)),
    ],
    ids=range(15),
)
def test_a_new_order_that_is_not_as_asked_is_refused(told: lsps1.Order) -> None:
    with pytest.raises(lsps1.OrderMismatch):
        lsps1.check_new_order(told, PARAMS, REGTEST)


def test_an_invoice_of_another_network_and_coins_without_a_refund_address_are_refused() -> None:
    with pytest.raises(lsps1.OrderMismatch):
        lsps1.check_new_order(replace(ORDER, onchain=None), PARAMS, MAINNET)
    bare = replace(PARAMS, refund_onchain_address="")
    with pytest.raises(lsps1.OrderMismatch):
        lsps1.check_new_order(replace(ORDER, params=bare), bare, REGTEST)


@pytest.mark.parametrize(
    "told",
    [
        replace(ORDER, order_id="another"),
        replace(ORDER, params=replace(PARAMS, lsp_balance_sat=1)),
        replace(ORDER, bolt11=replace(BOLT11, fee_total_sat=5_001, order_total_sat=25_001)),
        replace(ORDER, bolt11=replace(BOLT11, invoice=invoice(25_000_000 + 1_000))),
        replace(ORDER, onchain=replace(COINS, address=ANOTHER_ADDRESS)),
        replace(ORDER, onchain=replace(COINS, order_total_sat=27_000)),
        replace(ORDER, onchain=replace(COINS, refund_onchain_address=ANOTHER_ADDRESS)),
        replace(ORDER, state=lsps1.OrderState.COMPLETED),
    ],
    ids=range(8),
)
def test_terms_never_change_once_they_were_shown(told: lsps1.Order) -> None:
    with pytest.raises(lsps1.OrderMismatch):
        lsps1.check_same_terms(told, ORDER)


def test_states_move_and_what_is_no_longer_said_stays_known() -> None:
    told = replace(
        ORDER,
        state=lsps1.OrderState.COMPLETED,
        bolt11=None,
        onchain=replace(COINS, state=lsps1.PaymentState.PAID, refund_onchain_address="", min_confirmations=3),
        channel=CHANNEL,
    )
    now = lsps1.check_same_terms(told, ORDER)
    assert (now.state, now.channel, now.bolt11) == (lsps1.OrderState.COMPLETED, CHANNEL, BOLT11)
    assert now.onchain is not None
    assert now.onchain.state is lsps1.PaymentState.PAID


def test_a_notification_is_nothing_but_its_name() -> None:
    assert lsps0.decode_from_server(said({"method": "lsps1.news", "params": {"a": 1}})) == Notification(
        method="lsps1.news"
    )
