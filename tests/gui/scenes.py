"""States of a wallet to look at: new, typical, in trouble, on mainnet."""

from __future__ import annotations

import time
from dataclasses import replace

from tests.gui.fake_node import HUB, HUB_URI, FakeNode, digest, make_channel
from wallet.node.api import (
    ActivityItem,
    ActivityKind,
    ActivityStatus,
    AttemptHopView,
    AttemptView,
    ChannelPhase,
    LockedCoin,
    PeerView,
    ServerView,
)

NAMES = ("Sandbox hub", "ACINQ", "Café Åland", "<script>alert(1)</script>", "")
ELECTRUM_WORDS = (
    "able",
    "brass",
    "canyon",
    "dawn",
    "eagle",
    "faith",
    "garden",
    "happy",
    "icon",
    "jar",
    "kayak",
)
LABELS = (
    ("Coffee and a bun", "Café Åland", -21_000_000),
    ("Invoice 2043", "", 350_000_000),
    ("Train to Leiden", "NS", -184_500_000),
    ("", "The shop", -1_250),
    ("Podcast, one hour", "Fountain", -3_000_000),
    ("Refund", "", 45_000_000),
    ("Rent of the server", "Nodeland", -512_000_000),
)


def node_id(number: int) -> str:
    return "02" + digest("peer", number)


def items(count: int, *, start_at: int | None = None) -> list[ActivityItem]:
    at = int(time.time()) - 200 if start_at is None else start_at
    made = []
    for number in range(count):
        label, counterparty, amount_msat = LABELS[number % len(LABELS)]
        onchain = number % 5 == 4
        status = ActivityStatus.FAILED if number % 9 == 3 else ActivityStatus.DONE
        if number == 1:
            status = ActivityStatus.PENDING
        key = digest("item", number)
        text = {
            ActivityStatus.DONE: "Received" if amount_msat > 0 else "Paid",
            ActivityStatus.PENDING: "1 of 3 confirmations" if onchain else "Under way, at most until 14:20",
            ActivityStatus.FAILED: "The hop before the shop could not carry the amount",
        }[status]
        made.append(
            ActivityItem(
                item_id=f"{'tx' if onchain else 'ln'}:{key}",
                kind=ActivityKind.ONCHAIN if onchain else ActivityKind.LIGHTNING,
                amount_msat=amount_msat,
                fee_msat=abs(amount_msat) // 900 if amount_msat < 0 else 0,
                at=at - number * number * 1_700,
                status=status,
                status_text=text,
                label=label,
                counterparty=counterparty,
                payment_hash=None if onchain else key,
                preimage=None if onchain or status is not ActivityStatus.DONE else digest("pre", number),
                txid=key if onchain else None,
                height=912_000 - number if onchain else None,
                attempts=("Route 1, 3 hops: the second hop could not carry the amount",)
                if number % 9 == 3
                else (),
            )
        )
    return made


def tried(item: ActivityItem) -> tuple[AttemptView, ...]:
    """Two attempts for a payment: one that failed in the middle, one that arrived."""

    def hop(
        name: str, number: int, amount_msat: int, fee_msat: int, hold_time_ms: int | None
    ) -> AttemptHopView:
        return AttemptHopView(
            node_id=node_id(number),
            alias=name,
            short_channel_id=f"912{number:03d}x{number}x1",
            amount_msat=amount_msat,
            fee_msat=fee_msat,
            hold_time_ms=hold_time_ms,
        )

    amount_msat = abs(item.amount_msat)
    return (
        AttemptView(
            status=ActivityStatus.FAILED,
            sent_at=item.at,
            took_ms=2_410,
            amount_msat=amount_msat,
            fee_msat=11_300,
            hops=(
                hop("ACINQ", 1, amount_msat + 11_300, 1_300, 900),
                hop("Café Åland", 2, amount_msat + 10_000, 10_000, None),
                hop("The shop", 3, amount_msat, 0, None),
            ),
            failed_hop=1,
            failed_channel="912003x3x1",
            failure_code=0x1007,
            failure_name="temporary_channel_failure",
            failure="Café Åland could not send 21 000 sat on to the shop.",
            text="Route 1 failed.",
        ),
        AttemptView(
            status=ActivityStatus.DONE,
            sent_at=item.at + 3,
            took_ms=1_180,
            amount_msat=amount_msat,
            fee_msat=item.fee_msat,
            hops=(
                hop("ACINQ", 1, amount_msat + item.fee_msat, item.fee_msat, 400),
                hop("The shop", 3, amount_msat, 0, 120),
            ),
        ),
    )


def with_moves(node: FakeNode) -> FakeNode:
    """A channel was opened and another closed, months ago; the newest payment has its attempts."""
    at = int(time.time())
    ids = list(node.channels)
    for age_days, label, moved_sat, fee_sat in (
        (3, "Channel opening", 1_000_000, 1_532),
        (40, "", 612_400, 0),
    ):
        key = digest("move", age_days)
        node.activity.append(
            ActivityItem(
                item_id=f"tx:{key}",
                kind=ActivityKind.ONCHAIN,
                amount_msat=0,
                moved_msat=moved_sat * 1000,
                fee_msat=fee_sat * 1000,
                at=at - age_days * 86_400,
                status=ActivityStatus.DONE,
                status_text="Confirmed",
                label=label,
                counterparty="Sandbox hub",
                txid=key,
                height=911_000,
                channel_id=ids[0] if ids else None,
            )
        )
    node.activity.sort(key=lambda item: -item.at)
    first = node.activity[0]
    node.attempts = {first.item_id: tried(first)}
    return node


def new(network: str = "sandbox") -> FakeNode:
    return FakeNode(network=network, name="Practice" if network == "sandbox" else "Savings")


def funded() -> FakeNode:
    """Coins, and nothing else yet."""
    node = new()
    node.confirmed_sat = 1_000_000
    node.activity = [replace(items(5)[4], amount_msat=1_000_000_000, fee_msat=0, label="", counterparty="")]
    return node


def typical(network: str = "sandbox", *, channels: int = 3) -> FakeNode:
    node = new(network)
    node.confirmed_sat = 1_834_220
    node.unconfirmed_sat = 45_000
    sizes = (1_000_000, 4_200_000, 350_000, 2_000_000, 600_000, 750_000, 16_000_000, 90_000)
    for number in range(channels):
        capacity_sat = sizes[number % len(sizes)]
        peer = HUB if number == 0 else node_id(number)
        channel = make_channel(
            number,
            node_id=peer,
            alias=NAMES[number % len(NAMES)],
            capacity_sat=capacity_sat,
            local_msat=capacity_sat * (700, 310, 950, 120)[number % 4],
            inflight_msat=capacity_sat * 60 if number == 1 else 0,
            phase=ChannelPhase.AWAITING_CONFIRMATIONS if number == 2 else ChannelPhase.READY,
        )
        if number == 2:
            channel = replace(channel, confirmations=1, phase_text="1 of 3 confirmations, about 20 minutes")
        node.channels[channel.channel_id] = channel
        node.peers[peer] = PeerView(
            node_id=peer,
            alias=channel.peer_alias,
            address=HUB_URI.split("@")[1],
            online=True,
            last_seen_at=int(time.time()),
            channels=1,
        )
    node.activity = items(60)
    with_moves(node)
    node.status = replace(
        node.status,
        height=912_345,
        graph_nodes=17_324,
        graph_channels=50_808,
        servers=tuple(
            ServerView(
                address=f"electrum{n}.example.org:50002:s",
                connected=True,
                height=912_345,
                protocol="1.6",
                problem="",
            )
            for n in range(3)
        ),
        safe_until_height=912_345 + 940,
    )
    return node


def closing(node: FakeNode, place: int) -> None:
    """The channel at a place is closed, and its coins wait."""
    key = list(node.channels)[place]
    coin = LockedCoin(
        amount_sat=1_301_400,
        reason="Held back by the force-close of a channel",
        until_height=node.status.height + 840,
        channel_id=key,
    )
    node.locked = (coin,)
    node.channels[key] = replace(
        node.channels[key],
        phase=ChannelPhase.FORCE_CLOSING,
        phase_text="Your coins come back in about 6 days (840 blocks)",
        is_usable=False,
        inflight_out_msat=0,
        locked=(coin,),
    )


def held(*, asks: bool) -> FakeNode:
    """A file from elsewhere: one channel is held and its peer away, another is on its way home."""
    node = typical("mainnet", channels=2)
    first = next(iter(node.channels))
    node.channels[first] = replace(
        node.channels[first],
        phase=ChannelPhase.PEER_OFFLINE,
        phase_text="The peer is offline; Leyden keeps trying",
        is_usable=False,
        peer_online=False,
        peer_alias="ACINQ",
        peer_id=node_id(7),
        can_send_msat=0,
        can_receive_msat=0,
        held=True,
    )
    closing(node, 1)
    node.recovery(asks=asks, held=1)
    return node


def restored(*, asks: bool = False, waiting: int = 2) -> FakeNode:
    """From words and a backup of three channels: some wait for their peers, the others come home."""
    node = new("mainnet")
    node.confirmed_sat = 1_834_220
    node.status = replace(node.status, height=912_345)
    at = int(time.time())
    for number in range(3):
        waits = number < waiting
        node.lost.append(
            {
                "channel_id": digest("lost", number),
                "peer": node_id(number + 1),
                "alias": ("ACINQ", "", "Café Åland")[number],
                "capacity_sat": 1_000_000,
                "state": "lost" if waits else "closed",
                "amount_sat": 0 if waits else (412_000, 1_301_400, 88_250)[number],
                "when_height": None if waits else 912_345 + 144 * (number + 1),
                "when_at": None if waits else at + 86_400 * (number + 1),
                "text": "Waits for your word that no other copy of this wallet is running; then the peer is asked to "
                "close the channel."
                if asks
                else "The peer is being asked to close the channel."
                if waits
                else "Yours once the delay of your own closing transaction is over.",
            }
        )
    node.recovery(asks=asks, lost=waiting)
    return node


def trouble() -> FakeNode:
    """A server gone, a peer offline, a channel force-closing, coins locked."""
    node = typical()
    ids = list(node.channels)
    node.channels[ids[0]] = replace(
        node.channels[ids[0]],
        phase=ChannelPhase.PEER_OFFLINE,
        phase_text="The peer was last seen 3 hours ago; Leyden tries again each minute",
        is_usable=False,
        peer_online=False,
        can_send_msat=0,
        can_receive_msat=0,
    )
    now_at = int(time.time())
    node.peers[HUB] = replace(
        node.peers[HUB],
        online=False,
        last_seen_at=now_at - 3 * 3_600,
        attempts=38,
        tried_at=now_at - 120,
        next_try_at=now_at + 170,
        problem="Connection refused",
    )
    coin = LockedCoin(
        amount_sat=1_301_400,
        reason="Held back by the force-close of the channel to ACINQ",
        until_height=912_345 + 840,
        channel_id=ids[1],
    )
    node.channels[ids[1]] = replace(
        node.channels[ids[1]],
        phase=ChannelPhase.FORCE_CLOSING,
        phase_text="Your coins come back in about 6 days (840 blocks)",
        is_usable=False,
        local_msat=0,
        remote_msat=0,
        can_send_msat=0,
        can_receive_msat=0,
        inflight_out_msat=0,
        closure_text="The peer closed the channel without you, with its latest state. Nothing was lost.",
        closing_txid=digest("closing"),
        locked=(coin,),
    )
    node.locked = (coin,)
    node.status = replace(
        node.status,
        problem="No server answers. Leyden keeps trying; balances are as of 14 minutes ago.",
        synced=False,
        servers=(
            ServerView(
                address="electrum0.example.org:50002:s",
                connected=False,
                height=0,
                protocol="",
                problem="The connection timed out",
            ),
        ),
    )
    return node
