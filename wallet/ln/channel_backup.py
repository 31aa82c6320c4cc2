"""The static channel backup: what it takes, beside the words, to find a channel's coins again.

It holds nothing that changes while a channel is used, so that it need be written only when one is opened or is done
with. It cannot bring a channel back to life: the peer is asked to close it. With the seed, `channel_keys_id` gives our
keys, and so what the peer's commitment pays to us; with the peer's basepoints and the delay that it asked for, our own
commitment's `to_local` is found too, should we have closed the channel ourselves before everything was lost.
"""

from __future__ import annotations

from dataclasses import dataclass

from wallet.bitcoin.tx import OutPoint
from wallet.ln.chan_utils import ChannelPublicKeys, ChannelTransactionParameters
from wallet.ln.features import ChannelTypeFeatures
from wallet.ln.monitor_state import MonitorStatic
from wallet.ln.sign import SignerProvider
from wallet.ln.types import ChannelId, NodeId

__all__ = ["ChannelBackup", "ChannelBackups", "backup_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelBackup:
    """One channel.

    Attributes:
        addresses: where the peer was reached last, and where it says that it can be: host:port.
        holder_selected_contest_delay_blocks, counterparty_selected_contest_delay_blocks: as in
            `ChannelTransactionParameters`.
    """

    channel_id: ChannelId
    channel_keys_id: bytes
    counterparty_node_id: NodeId
    addresses: tuple[str, ...]
    counterparty_pubkeys: ChannelPublicKeys
    holder_selected_contest_delay_blocks: int
    counterparty_selected_contest_delay_blocks: int
    is_outbound: bool
    funding_outpoint: OutPoint
    channel_value_sat: int
    channel_type: ChannelTypeFeatures

    def params(self, keys: SignerProvider) -> ChannelTransactionParameters:
        """What the channel's transactions are made of; our own keys come from the seed."""
        return ChannelTransactionParameters(
            holder_pubkeys=keys.derive_channel_signer(self.channel_keys_id).pubkeys(),
            counterparty_pubkeys=self.counterparty_pubkeys,
            holder_selected_contest_delay_blocks=self.holder_selected_contest_delay_blocks,
            counterparty_selected_contest_delay_blocks=self.counterparty_selected_contest_delay_blocks,
            is_outbound_from_holder=self.is_outbound,
            funding_outpoint=self.funding_outpoint,
            channel_value_sat=self.channel_value_sat,
            channel_type=self.channel_type,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelBackups:
    """All channels of one wallet.

    Attributes:
        network: its name, as `Network.name` has it.
        made_at: unix time.
    """

    network: str
    node_id: NodeId
    made_at: int
    channels: tuple[ChannelBackup, ...]


def backup_of(static: MonitorStatic, addresses: tuple[str, ...]) -> ChannelBackup:
    """The backup of a channel that has a monitor."""
    params = static.params
    return ChannelBackup(
        channel_id=static.channel_id,
        channel_keys_id=static.channel_keys_id,
        counterparty_node_id=static.counterparty_node_id,
        addresses=addresses,
        counterparty_pubkeys=params.counterparty_pubkeys,
        holder_selected_contest_delay_blocks=params.holder_selected_contest_delay_blocks,
        counterparty_selected_contest_delay_blocks=params.counterparty_selected_contest_delay_blocks,
        is_outbound=params.is_outbound_from_holder,
        funding_outpoint=params.funding_outpoint,
        channel_value_sat=params.channel_value_sat,
        channel_type=params.channel_type,
    )
