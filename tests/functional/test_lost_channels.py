"""A channel of which we only know that it was there: what its peer is told, and in which order."""

from __future__ import annotations

from tests.functional.joined import World
from wallet.ln import msgs
from wallet.ln.events import ErrorAction, HandleError, SendMessage
from wallet.ln.types import ChannelId

LOST = ChannelId(b"\x05" * 32)


def test_the_error_stays_behind_our_channel_reestablish(world: World) -> None:
    """Ours asks the peer to close at once (BOLT 2, next_commitment_number 0); to an error alone it may first give us
    time to close. The peer's may come while ours still waits for the disk."""
    alice, bob = world.nodes_named("alice", "bob")
    world.connect(alice, bob)
    alice.manager.ask_to_close_lost_channel(LOST, bob.node_id, bytes(32))
    theirs = msgs.ChannelReestablish(
        channel_id=LOST,
        next_commitment_number=7,
        next_revocation_number=6,
        your_last_per_commitment_secret=bytes(32),
        my_current_per_commitment_point=alice.node_id,
    )
    alice.manager.handle_channel_reestablish(bob.node_id, theirs)
    asked, told = alice.manager.get_and_clear_pending_msg_events()
    assert isinstance(asked, SendMessage)
    assert isinstance(asked.msg, msgs.ChannelReestablish)
    assert (asked.msg.channel_id, asked.msg.next_commitment_number) == (LOST, 0)
    assert isinstance(told, HandleError)
    assert told.action is ErrorAction.SEND_ERROR
    assert told.channel_id == LOST
