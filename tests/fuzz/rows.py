"""Every durable record that is stored by `wallet.bitcoin.records`, by the row space that it stands in.

A space that is missing here fails a test of `test_full_stack`, which looks at the rows of a node that has run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from wallet.ln import channel_state, manager_base, manager_opening, manager_payments, monitor_state
from wallet.ln.chan_utils import CounterpartyCommitmentSecrets
from wallet.ln.channel_backup import ChannelBackup
from wallet.ln.config import ChannelConfig
from wallet.ln.monitor_update import LatestCounterpartyCommitment
from wallet.ln.outbound_payment import _PaymentRow
from wallet.ln.sweep import SweptOutput
from wallet.node import address_book
from wallet.node import records as node_records
from wallet.node.attempts import Trace
from wallet.node.generation import GenerationRecord
from wallet.node.pages import LinePage
from wallet.onchain import ledger as onchain
from wallet.onchain.keyring import BranchState

__all__ = ["PLAIN_SPACES", "RECORDS", "SPACES"]

SPACES: Final[Mapping[str, Mapping[str, type[object]]]] = {
    "channel": {
        "channel_terms": channel_state.ChannelTerms,
        "channel_scope": channel_state.FundingScope,
        "channel_config": ChannelConfig,
        "channel_core": channel_state.ChannelCore,
        "channel_secrets": CounterpartyCommitmentSecrets,
    },
    "channel_htlc": {
        "channel_htlc_outbound": channel_state._OutboundAdd,
        "channel_htlc_outbound_progress": channel_state._OutboundProgress,
        "channel_htlc_inbound": channel_state.AddedHtlc,
        "channel_htlc_inbound_progress": channel_state._InboundProgress,
        "channel_htlc_held": channel_state._Held,
    },
    "channel_closed": {"channel_closed": manager_base.ClosedChannel},
    "channel_promised": {"channel_promised": manager_opening.PromisedFunding},
    "claimable": {"claimable": manager_payments.ClaimablePayment},
    "forward": {"forward": manager_payments.ForwardedHtlc},
    "outbound_payment": {"outbound_payment": _PaymentRow},
    "sweep": {"sweep": SweptOutput},
    "lost_channel": {"lost_channel": ChannelBackup},
    "lost_tx": {"lost_tx": monitor_state.ConfirmedTx},
    "monitor": {"monitor": monitor_state.MonitorStatic},
    "monitor_archived": {"monitor_archived": monitor_state.MonitorStatic},
    "monitor_head": {"monitor_head": monitor_state.MonitorHead},
    "monitor_holder": {"monitor_holder": monitor_state.StoredHolderCommitment},
    "monitor_counterparty": {"monitor_counterparty": LatestCounterpartyCommitment},
    "monitor_onchain": {"monitor_onchain": monitor_state.OnchainState},
    "monitor_tx": {"monitor_tx": monitor_state.ConfirmedTx},
    "revoked": {"revoked": monitor_state.RevokedCommitment},
    "onchain_tx": {"onchain_tx": onchain.TxRecord},
    "onchain_branch": {"onchain_branch": BranchState},
    "onchain_reserved": {"onchain_reserved": onchain.Reservation},
    "onchain_claim": {"onchain_claim": onchain.Claim},
    "onchain_label": {"onchain_label": onchain.Label},
    "onchain_frozen": {"onchain_frozen": onchain.FrozenCoin},
    "onchain_tip": {"onchain_tip": onchain.Tip},
    "node_payment": {"node_payment": node_records.PaymentRecord, "payment_trace": Trace},
    "node_request": {"node_request": node_records.RequestRecord},
    "node_payment_old": {"node_payment": node_records.PaymentRecord},
    "node_request_old": {"node_request": node_records.RequestRecord},
    "node_payment_page": {"node_page": LinePage},
    "node_request_page": {"node_page": LinePage},
    "node_peer": {"node_peer": node_records.PeerRecord},
    "node_closed_channel": {"node_closed_channel": node_records.ClosedChannelRecord},
    "node_channel_stat": {"node_channel_stat": node_records.ChannelStatRecord},
    "node_move": {"node_move": node_records.MoveRecord},
    "node_setting": {"node_setting": node_records.SettingRecord},
    "node_contact": {"node_contact": address_book.ContactRecord},
    "node_name": {"node_name": address_book.NodeNameRecord},
    "node_link": {"node_link": address_book.LinkRecord},
    "node_generation": {"node_generation": GenerationRecord},
}

PLAIN_SPACES: Final = frozenset(
    {
        "event",
        "manager",
        "monitor_preimage",
        "monitor_secret",
        "node_best_block",
        "node_held",
        "node_recovery",
        "node_secret",
        "peer_storage",
        "peer_storage_sent",
    }
)
"""Spaces that hold no such record: events have a target of their own, the others are plain bytes or numbers."""

RECORDS: Final[Mapping[str, type[object]]] = {
    name: cls for space in SPACES.values() for name, cls in space.items()
}
