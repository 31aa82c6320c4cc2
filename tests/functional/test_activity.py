"""The history of a whole node: what opens and closes channels is moved and not paid, and the balance adds up."""

from __future__ import annotations

import csv
import io
import json
from functools import partial
from pathlib import Path

import pytest

from tests.functional.whole_nodes import WholeNode, WholeWorld, play
from wallet.bitcoin.address import REGTEST, address_to_script
from wallet.node.api import (
    ActivityDirection,
    ActivityItem,
    ActivityKind,
    ActivityOrder,
    ActivityQuery,
    ActivityStatus,
    CommandError,
)

COINS_SAT = 2_000_000
CAPACITY_SAT = 1_000_000
PAID_MSAT = 21_000_000


def history(node: WholeNode, query: ActivityQuery | None = None) -> list[ActivityItem]:
    # As a window asks: a short history is found on the spot.
    found = node.node.activity_items(node.node.find_activity(query or ActivityQuery()).result(0))
    assert None not in found
    return [item for item in found if item is not None]


def moves(node: WholeNode) -> list[ActivityItem]:
    return history(node, ActivityQuery(direction=ActivityDirection.MOVED, descending=False))


def move(node: WholeNode, txid: str) -> ActivityItem | None:
    return next((item for item in moves(node) if item.txid == txid), None)


async def in_a_block(node: WholeNode, txid: str) -> ActivityItem:
    def found() -> ActivityItem | None:
        item = move(node, txid)
        return item if item is not None and item.height else None

    return await node.until("its coins", found)


async def pay(payer: WholeNode, payee: WholeNode, message: str, amount_msat: int = PAID_MSAT) -> None:
    request = await payee.call("add_request", amount_msat=amount_msat, message=message, lightning=True)
    paid = await payer.call("lnpay", invoice=request["lightning_invoice"])
    assert paid["success"]
    await payer.until("the channel at rest", payer.quiet)
    await payee.until("the channel at rest", payee.quiet)


def test_a_channel_moves_money_and_a_payment_pays_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ["alice", "bob"]) as world:
            alice, bob = world.nodes
            await alice.fund(COINS_SAT)
            channel_id = await alice.open_channel(bob, CAPACITY_SAT)
            [opened] = moves(alice)
            assert (opened.amount_msat, opened.moved_msat) == (0, CAPACITY_SAT * 1000)
            assert opened.fee_msat > 0
            assert opened.channel_id == channel_id
            assert moves(bob) == []

            await pay(alice, bob, "Coffee and a bun")
            [bobs_own] = history(bob)
            assert (bobs_own.amount_msat, bobs_own.moved_msat) == (PAID_MSAT, 0)

            await alice.call("close_channel", channel_id=channel_id)
            closing = await alice.until(
                "the closing transaction", lambda: alice.node.snapshot().channels[0].closing_txid
            )
            await world.mined(closing)
            back = await in_a_block(alice, closing)
            bobs_back = await in_a_block(bob, closing)
            assert len(moves(alice)) == 2
            assert moves(bob) == [bobs_back]
            assert (back.amount_msat, back.channel_id) == (0, channel_id)
            assert back.moved_msat + back.fee_msat == CAPACITY_SAT * 1000 - PAID_MSAT
            assert bobs_back.moved_msat == PAID_MSAT
            # Who did not open the channel does not pay for closing it.
            assert bobs_back.fee_msat == 0

            balance_of_alice_sat = alice.node.snapshot().balance.total_sat
            # All that ever changed the balance is in the history.
            for node in (alice, bob):
                balance_sat = node.node.snapshot().balance.total_sat
                assert sum(item.amount_msat - item.fee_msat for item in history(node)) == balance_sat * 1000
                points = (await node.call("balance_history"))["points"]
                assert points[-1][1] == balance_sat
            each = (await alice.call("balance_history", days=7))["points"]
            assert each[0][1] == 0
            assert len(each) == 1 + len(history(alice))
            assert each[-1][1] == alice.node.snapshot().balance.total_sat

            # What came home is spent like any other coin.
            sent = await alice.call(
                "payto", destination=await bob.call("createnewaddress"), amount="!", addtransaction=True
            )
            [spent] = [item for item in history(alice) if item.txid == sent["txid"]]
            assert spent.moved_msat == 0
            assert -spent.amount_msat + spent.fee_msat == balance_of_alice_sat * 1000
            assert spent.fee_msat < 1_000_000

            # It is the same after a restart.
            before = history(alice)
            await alice.reopen()
            assert history(alice) == before

    play(scenario())


def test_what_a_forced_close_leaves_is_moved_home(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ["alice", "bob"]) as world:
            alice, bob = world.nodes
            await alice.fund(COINS_SAT)
            channel_id = await alice.open_channel(bob, CAPACITY_SAT)
            await alice.call("close_channel", channel_id=channel_id, force=True)
            closing = await alice.until(
                "the closing transaction", lambda: alice.node.snapshot().channels[0].closing_txid
            )
            [opened] = [item.txid for item in moves(alice) if item.txid != closing]
            await world.mined(closing, 144)

            swept = await alice.until(
                "the sweep",
                lambda: next((i for i in moves(alice) if i.moved_msat and i.txid != opened), None),
            )
            assert swept.amount_msat == 0
            assert swept.channel_id == channel_id
            assert swept.fee_msat > 0
            # Nothing looks like a payment to us but the first coins.
            paid = history(alice, ActivityQuery(direction=ActivityDirection.IN))
            assert [item.amount_msat for item in paid] == [COINS_SAT * 1000]
            assert history(alice, ActivityQuery(direction=ActivityDirection.OUT)) == []

    play(scenario())


@pytest.mark.parametrize("closer", ["alice", "bob"])
def test_after_a_forced_close_the_history_adds_up_to_the_millisatoshi(tmp_path: Path, closer: str) -> None:
    """The commitment pays no address of ours; what it cost, and the rest of a satoshi, is in the history."""

    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ["alice", "bob"]) as world:
            alice, bob = world.nodes
            by = alice if closer == "alice" else bob
            await alice.fund(COINS_SAT)
            await bob.fund(COINS_SAT)
            channel_id = await alice.open_channel(bob, CAPACITY_SAT)
            await pay(alice, bob, "Coffee", PAID_MSAT + 123)
            opened = [item.txid for item in moves(alice)]
            told = await by.call("quote_close", channel_id=channel_id, force=True)
            assert "144 blocks (about a day)" in told["explanation"]
            await by.call("close_channel", channel_id=channel_id, force=True)
            closing = await by.until(
                "the closing transaction", lambda: by.node.snapshot().channels[0].closing_txid
            )
            await world.mined(closing, 150)

            def swept(node: WholeNode) -> str | None:
                return next(
                    (item.txid for item in moves(node) if item.moved_msat and item.txid not in opened), None
                )

            def settled(node: WholeNode) -> bool:
                snapshot = node.node.snapshot()
                at_the_tip = snapshot.status.height == world.chain.height
                return at_the_tip and not snapshot.balance.locked

            for node in world.nodes:
                txid = await node.until("the sweep", partial(swept, node))
                await world.mined(txid)
            for node in world.nodes:
                await node.until("everything home", partial(settled, node))
                balance_sat = node.node.snapshot().balance.total_sat
                assert sum(item.amount_msat - item.fee_msat for item in history(node)) == balance_sat * 1000
                points = (await node.call("balance_history"))["points"]
                assert points[-1][1] == balance_sat
            cost = move(alice, closing)
            assert cost is not None
            assert (cost.amount_msat, cost.moved_msat, cost.channel_id) == (0, 0, channel_id)
            # Who opened the channel pays the commitment's fee and both anchors.
            assert cost.fee_msat > 660_000
            bobs = move(bob, closing)
            assert bobs is not None
            assert bobs.fee_msat == 123

            before = history(alice)
            await alice.reopen()
            assert history(alice) == before

    play(scenario())


def test_what_comes_home_from_a_close_is_in_the_balance_once_at_every_depth(tmp_path: Path) -> None:
    """The closing transaction pays the wallet itself: its coins are on chain at once, while the channel still waits."""

    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ["alice", "bob"]) as world:
            alice, bob = world.nodes
            await alice.fund(COINS_SAT)
            channel_id = await alice.open_channel(bob, CAPACITY_SAT)
            await pay(alice, bob, "Coffee")
            before_sat = alice.node.snapshot().balance.total_sat
            await alice.call("close_channel", channel_id=channel_id)
            closing = await alice.until(
                "the closing transaction", lambda: alice.node.snapshot().channels[0].closing_txid
            )
            await world.sees(closing)
            for depth in range(7):
                if depth:
                    world.chain.mine(1)
                for node in world.nodes:
                    height = world.chain.height

                    def there(node: WholeNode = node, height: int = height, depth: int = depth) -> bool:
                        item, snapshot = move(node, closing), node.node.snapshot()
                        knows = (
                            snapshot.channels[0].closing_txid == closing and snapshot.status.height == height
                        )
                        return item is not None and knows and bool(item.height) == bool(depth)

                    await node.until("the closing transaction", there)
                back = move(alice, closing)
                assert back is not None
                assert alice.node.snapshot().balance.total_sat == before_sat - -(-back.fee_msat // 1000), (
                    depth
                )
                assert bob.node.snapshot().balance.total_sat == PAID_MSAT // 1000, depth

    play(scenario())


def test_the_history_is_searched_sorted_and_filtered_at_the_node(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ["alice", "bob"]) as world:
            alice, bob = world.nodes
            await alice.fund(COINS_SAT, coins=2)
            await alice.open_channel(bob, CAPACITY_SAT)
            await pay(alice, bob, "Coffee and a bun")
            every = history(alice)
            assert [item.at for item in every] == sorted((item.at for item in every), reverse=True)
            onchain = history(alice, ActivityQuery(kind=ActivityKind.ONCHAIN))
            lightning = history(alice, ActivityQuery(kind=ActivityKind.LIGHTNING))
            assert (len(onchain), len(lightning)) == (3, 1)
            assert history(alice, ActivityQuery(text="COFFEE")) == lightning
            assert history(alice, ActivityQuery(text=lightning[0].payment_hash or "")) == lightning
            assert (
                history(alice, ActivityQuery(text=bob.node_id[:8])) != []
            )  # its name, as long as it has no other
            assert history(alice, ActivityQuery(status=ActivityStatus.FAILED)) == []
            assert history(alice, ActivityQuery(since_at=every[0].at + 1)) == []
            assert history(alice, ActivityQuery(until_at=every[0].at + 1)) == every
            dearest = history(alice, ActivityQuery(order=ActivityOrder.FEE))
            assert dearest[0].fee_msat == max(item.fee_msat for item in every) > 0
            smallest = history(alice, ActivityQuery(order=ActivityOrder.AMOUNT, descending=False))
            assert smallest[0] == lightning[0]
            # A new label is found, the old one no more.
            await alice.call("set_label", item_id=lightning[0].item_id, label="Breakfast")
            assert history(alice, ActivityQuery(text="coffee")) == []
            assert [item.label for item in history(alice, ActivityQuery(text="breakfast"))] == ["Breakfast"]
            page = alice.node.activity_page(offset=1, limit=2)
            assert [item.item_id for item in page.items] == [item.item_id for item in every[1:3]]
            assert page.total == 4

    play(scenario())


def test_labels_go_out_and_come_back(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ["alice", "bob"]) as world:
            alice, bob = world.nodes
            address = await alice.call("createnewaddress")
            world.chain.faucet(address_to_script(address, REGTEST), COINS_SAT)
            world.chain.mine(6)
            await alice.until("its coins", lambda: alice.onchain_sat() == COINS_SAT)
            await alice.open_channel(bob, CAPACITY_SAT)
            await pay(alice, bob, "Coffee and a bun")
            coin = (await alice.call("listunspent"))[0]
            outpoint = f"{coin['prevout_hash']}:{coin['prevout_n']}"
            [first] = history(alice, ActivityQuery(direction=ActivityDirection.IN))
            payment = history(alice, ActivityQuery(kind=ActivityKind.LIGHTNING))[0]
            file = tmp_path / "labels.jsonl"
            file.write_text(
                "\n".join(
                    (
                        json.dumps(
                            {"type": "tx", "ref": first.txid, "label": "Savings\nof May", "origin": "wpkh()"}
                        ),
                        json.dumps({"type": "addr", "ref": address, "label": "Shown to Anna"}),
                        json.dumps({"type": "output", "ref": outpoint, "label": "Keep", "spendable": False}),
                        json.dumps({"type": "payment", "ref": payment.payment_hash, "label": "x" * 300}),
                        json.dumps({"type": "tx", "ref": "00" * 32, "label": "of somebody else"}),
                        json.dumps({"type": "xpub", "ref": "xpub661", "label": "a key"}),
                        json.dumps({"type": "output", "ref": outpoint, "spendable": "true"}),
                        '{"type": "tx"}',
                        "no record",
                    )
                )
            )
            answer = await alice.call("import_labels", file=str(file))
            assert (answer["labels"], answer["not_ours"], answer["unreadable"]) == (5, 2, 2)
            assert answer["cut_short"] == 1
            assert "5 labels were taken over" in answer["message"]
            assert history(alice, ActivityQuery(text="savings"))[0].label == "Savings of May"
            with alice.node.core.locked():
                frozen = [c.outpoint.vout for c in alice.node.onchain.coins() if c.frozen]
            assert frozen == [coin["prevout_n"]]

            out = tmp_path / "out.jsonl"
            assert (await alice.call("export_labels", file=str(out)))["path"] == str(out)
            lines = [json.loads(line) for line in out.read_text().splitlines()]
            by_ref = {line["ref"]: line for line in lines}
            assert by_ref[first.txid]["label"] == "Savings of May"
            assert by_ref[first.txid]["value"] == COINS_SAT
            assert by_ref[first.txid]["height"] == first.height
            assert by_ref[address] == {"type": "addr", "ref": address, "label": "Shown to Anna"}
            assert by_ref[outpoint]["spendable"] is False
            assert by_ref[payment.payment_hash]["label"] == "x" * 255
            with pytest.raises(CommandError, match="already"):
                await alice.call("export_labels", file=str(out))
            # Read back, it changes nothing; printed, it is the same.
            assert (await alice.call("import_labels", file=str(out)))["labels"] == len(lines)
            assert await alice.call("export_labels") == out.read_text()
            with pytest.raises(CommandError, match="whole path"):
                await alice.call("import_labels", file="labels.jsonl")

            rows = list(csv.DictReader(io.StringIO(await alice.call("export_history"))))
            assert [int(row["amount_msat"]) for row in rows] == [
                item.amount_msat for item in history(alice, ActivityQuery(descending=False))
            ]
            by_direction = {row["direction"]: row for row in rows}
            assert by_direction["in"]["txid"] == first.txid
            assert by_direction["moved"]["moved_msat"] == str(CAPACITY_SAT * 1000)
            assert by_direction["out"]["payment_hash"] == payment.payment_hash
            assert payment.preimage not in await alice.call("export_history")

    play(scenario())


def test_files_that_are_no_labels_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ["alice"]) as world:
            [alice] = world.nodes
            picture, prose, huge = tmp_path / "a.jpg", tmp_path / "a.txt", tmp_path / "huge"
            picture.write_bytes(b"\xff\xd8\xff\xe0")
            prose.write_text("Dear Anna,\nthese are no labels.\n")
            huge.write_text('{"type": "tx", "ref": "00", "label": "x"}\n' * 10)
            monkeypatch.setattr("wallet.node.commands.history.MAX_LABELS_BYTES", 100)
            for file, says in (
                (str(picture), "it is no text"),
                (str(prose), "no line could be read"),
                (str(huge), "too large"),
                (str(tmp_path), "cannot be used"),
                (str(tmp_path / "nowhere"), "No such file"),
                ("labels.jsonl", "whole path"),
                ("/\0", "whole path"),
                ("~nobody-of-this-name/x", "whole path"),
            ):
                with pytest.raises(CommandError, match=says):
                    await alice.call("import_labels", file=file)
            assert await alice.call("export_labels") == ""
            (tmp_path / "empty").touch()
            assert (await alice.call("import_labels", file=str(tmp_path / "empty")))["labels"] == 0

    play(scenario())
