"""One force-close, by us or by a real rust-lightning node: its outputs, and what of it has to come home."""

from __future__ import annotations

from collections.abc import Sequence

from tests.real.lightning import ANCHOR_SAT, Held, Pair

OUR_DELAY_BLOCKS = 144
"""What the peer asks of us after our force-close, and the least that it can."""
FINAL_BLOCKS = 6


class ForceClose:
    """One force-close, its outputs, and what of it has to come home.

    Attributes:
        txid: of the commitment.
        main_sat: our own output on it.
    """

    def __init__(
        self, pair: Pair, *, anchors: bool, by_us: bool, we_open: bool,
        htlcs: Sequence[Held] = (), dust: Sequence[Held] = (),
    ) -> None:  # fmt: skip
        self.pair = pair
        self.anchors = anchors
        self.by_us = by_us
        channel = pair.channel()
        sent_msat = channel["local_unsettled_sent"] * 1000
        assert channel["local_balance_msat"] + sent_msat == pair.ours_msat
        # BOLT 3, fee calculation.
        weight = (1124 if anchors else 724) + 172 * len(htlcs)
        cost_sat = channel["feerate_sat_per_kw"] * weight // 1000 + (2 * ANCHOR_SAT if anchors else 0)
        self.main_sat = channel["local_balance_msat"] // 1000 - cost_sat * we_open
        self.expiries = pair.us.call("test_expiries")
        self.outputs = len(htlcs) + 2 + 2 * anchors
        pair.log_mark = len(pair.us.log())
        self.txid = ""

    def publish(self) -> None:
        """The commitment goes out, with its child where it needs one, and confirms."""
        now = self.pair
        # Not connected: else who closes says so, the other publishes its commitment as well, and either may confirm.
        now.hang_up()
        if self.by_us:
            now.us.call("close_channel", channel_id=now.channel_id, force=True)
        else:
            now.them.call("close", channel_id=now.channel_id, force=True)
        self.confirm()

    def confirm(self) -> None:
        """The commitment that somebody published is in the chain, with its child where it has one."""
        now = self.pair
        self.txid = now.wait_closing_tx()
        values = now.values_sat(self.txid)
        assert len(values) == self.outputs, values
        assert values.count(self.main_sat) == 1, (values, self.main_sat)
        if self.by_us and self.anchors:
            # The child that pays for it: a commitment is for years and its own fee is low.
            now.node.wait_until("has the child", lambda: any(map(self.child_of, self.anchor_vouts())))
        now.mine(1)
        assert now.node.rpc("getrawtransaction", self.txid, 1)["confirmations"] == 1

    def anchor_vouts(self) -> list[int]:
        return [vout for vout, value in enumerate(self.pair.values_sat(self.txid)) if value == ANCHOR_SAT]

    def child_of(self, vout: int) -> str | None:
        return self.pair.spender(self.txid, vout)

    def wait_taken(self, held: Held) -> str:
        """Until an HTLC's output is spent; by which transaction."""
        return self.pair.wait_spent(self.txid, self.pair.values_sat(self.txid).index(held.sat))

    def wait_second_stage(self, held: Held) -> tuple[str, int]:
        """The output of our HTLC transaction, which waits for the delay."""
        return self._second_stage(held, self.wait_taken(held))

    def _second_stage(self, held: Held, claim: str) -> tuple[str, int]:
        now = self.pair
        spent = [(vin["txid"], vin["vout"]) for vin in now.raw(claim)["vin"]]
        htlc = (self.txid, now.values_sat(self.txid).index(held.sat))
        return claim, spent.index(htlc)

    def is_taken(self, held: Held) -> bool:
        return self.pair.spender(self.txid, self.pair.values_sat(self.txid).index(held.sat)) is not None

    def mine_to_expiry(self, held: Held) -> None:
        """Until a transaction that waits for the expiry can be in the next block."""
        blocks = self.expiries[held.payment_hash] - self.pair.node.height
        assert blocks > 0
        self.pair.mine(blocks)

    def finish(self, came_home: Sequence[Held] = (), *, closed: bool = True) -> None:
        """Our outputs are swept, second stages included; then the books: each satoshi is a coin of ours or a fee."""
        now = self.pair
        homes = [(self.txid, now.values_sat(self.txid).index(self.main_sat))]
        for held in came_home:
            claim = self.wait_taken(held)
            if self.by_us:
                homes.append(self._second_stage(held, claim))
        for txid, vout in homes:
            now.wait_spent(txid, vout)
        now.mine(FINAL_BLOCKS)
        if closed:
            now.us.wait_channel(now.channel_id, state="CLOSED")
        now.onchain_sat += self.main_sat + sum(held.sat for held in came_home)
        for txid in now.our_txids(now.log_mark):
            if txid != self.txid:
                now.onchain_sat -= now.fee_sat(txid)
                now.onchain_sat += ANCHOR_SAT * sum(
                    (vin["txid"], vin["vout"]) in {(self.txid, vout) for vout in self.anchor_vouts()}
                    for vin in now.raw(txid)["vin"]
                )
        if closed:
            now.us.wait("the coins", lambda: list(now.us.call("getbalance")) == ["confirmed"])
        now.us.wait("the coins", lambda: not now.balance_sat("unconfirmed"))
        assert now.balance_sat() == now.onchain_sat
