"""What the node does about lost state: restored mode, the channel backup, and channels to be brought back.

Restored mode (see `generation.py`): channels of a file that may be old are held, each until its peer has shown in
`channel_reestablish` that our state is current. Held is a row of the file, so that a restart forgets nothing.

Lost channels (see `wallet/ln/lost_channels.py`): those that only a channel backup names. Their peers are asked to close
them; but not before the person has said that no other installation of this wallet is running, because two that talk to
the same peers close each other's channels.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from wallet.bitcoin.tx import Txid
from wallet.chain.interfaces import LogLevel, Row
from wallet.i18n import _, ngettext
from wallet.ln.chainmonitor import ARCHIVE_SPACE
from wallet.ln.channel_backup import ChannelBackup, ChannelBackups, backup_of
from wallet.ln.channelmonitor import ChannelMonitor
from wallet.ln.lost_channels import CHANNEL_SPACE, LostChannels
from wallet.ln.msgs.addresses import SocketAddress
from wallet.ln.types import ChannelId, DecodeError, NodeId
from wallet.node.api import RecoveryView
from wallet.node.backup import BACKUP_FILE, BackupKeeper, backup_name
from wallet.node.generation import (
    ASK_KEY,
    CONTACT_KEY,
    FORBIDDEN,
    HELD_SPACE,
    RECOVERY_SPACE,
    SCAN_KEY,
    Generation,
    Origin,
)
from wallet.node.ledger import PEER_SPACE
from wallet.node.peer_storage import PeerStorageKeeper
from wallet.node.sockets import NodeUri

if TYPE_CHECKING:
    from wallet.node.core import Batch
    from wallet.node.node import Node

__all__ = ["BACKUP_FOLDER_SETTING", "NodeRecovery"]

BACKUP_FOLDER_SETTING = "backup_folder"
BACKED_UP_SPACES = frozenset({"monitor", PEER_SPACE, CHANNEL_SPACE})
"""A batch that changes a row of these may change the backup."""
MAX_ADDRESSES = 4
SECOND_READ_SECONDS: Final = 5.0
"""So long the start waits for the second backup folder; one that answers later is read then."""
SECOND_CLOSE_SECONDS: Final = 5.0
"""So long the end waits for it; the next start writes it in any case."""


class NodeRecovery:
    """One node's. Methods are called within an entry, unless they say otherwise.

    Attributes:
        backup: keeps the file written.
        storage: what peers keep for us, and we for them.
        held: channels that are not shown to be current yet.
        contact_allowed: peers of old channels may be called.
        ask_allowed: they may be asked to close channels that only a backup names.
        origin: what the wallet file turned out to be at this start.
    """

    def __init__(self, node: Node, bip39_seed: bytes, generation: Generation | None) -> None:
        self._node = node
        self._generation = generation
        self.origin = Origin.CURRENT if generation is None else generation.origin
        options = node.options
        self.backup = BackupKeeper(
            bip39_seed,
            options.wallet_dir / BACKUP_FILE,
            f"leyden-{options.network_name}-{backup_name(bip39_seed)}.backup",
        )
        self.held: set[ChannelId] = set()
        self.contact_allowed = True
        self.ask_allowed = True
        self._scan = False
        self._archived: set[ChannelId] = set()
        self._asked: dict[ChannelId, NodeId] = {}
        self._reaching: dict[NodeId, asyncio.Task[None]] = {}
        self.storage = PeerStorageKeeper(node, bip39_seed)
        self.lost = LostChannels(
            filter=node.electrum.filter,
            keys_manager=node.keys_manager,
            persist=node.core,
            track=lambda outputs, channel_id: node.sweeper.track_spendable_outputs(outputs, channel_id),
            best_height=node.best_height,
        )

    # --- life ---------------------------------------------------------------------------

    def read_held(self) -> None:
        """Before the monitors are read."""
        store = self._node.store
        self.held = {ChannelId(key) for key, _value in store.rows(HELD_SPACE)}
        # As a whole: a row whose key is damaged would not be found by it, and count as an answer.
        known = dict(store.rows(RECOVERY_SPACE))
        self.contact_allowed = CONTACT_KEY not in known
        self.ask_allowed = ASK_KEY not in known
        self._scan = SCAN_KEY in known
        self._archived = {ChannelId(key) for key, _value in store.rows(ARCHIVE_SPACE)}
        self.lost.read(store.rows)

    async def open_second(self) -> None:
        """On the loop, outside of entries, before `start`, which takes over what lies in the second folder: while it is
        read, or hangs, everything else goes on."""
        folder = self._node.ledger.settings.get(BACKUP_FOLDER_SETTING, "")
        if folder:
            self.backup.use_second(folder)
            await self._node.loop.run_in_executor(None, self.backup.wait_second, SECOND_READ_SECONDS)

    def start(self) -> None:
        """Once the core is whole; before the on-chain funds register theirs."""
        node = self._node
        node.manager.channel_reestablished = self.reestablished
        node.manager.greetings = self.storage.greetings
        node.manager.offers_storage = True
        node.manager.may_know_too_little = self._scan and not self.ask_allowed
        self.storage.read(node.store.rows)
        self.lost.start(scan=self._scan)
        # Our own close by a newer state than this file's is one that its monitor does not know.
        self.lost.add(backup_of(monitor.state.static, ()) for monitor in self._held_monitors())
        try:
            self.take_over(self.backup.read(self.backup.path))
        except OSError as error:
            node.log(LogLevel.WARN, "the channel backup %s cannot be read: %s", self.backup.path, error)
        if not self.backup.take_second(self.take_over, 0, node.core.afterwards):
            node.log(LogLevel.WARN, "the second backup folder cannot be read yet: %s", self.backup.second)
        self._note_closed()

    def _held_monitors(self) -> list[ChannelMonitor]:
        chain_monitor = self._node.chain_monitor
        found = (chain_monitor.get_monitor(channel_id) for channel_id in sorted(self.held))
        return [monitor for monitor in found if monitor is not None]

    def take_over(self, backups: ChannelBackups | None) -> int:
        """Channels of a backup that this wallet knows nothing of are lost ones; how many there were."""
        if backups is None:
            return 0
        node = self._node
        known = {*node.chain_monitor.list_monitors(), *self._archived}
        known |= {lost.backup.channel_id for lost in self.lost.channels()}
        fresh = [channel for channel in backups.channels if channel.channel_id not in known]
        if fresh:
            # Whoever wrote that backup may still be running.
            self.ask_allowed = False
            node.core.write((Row(RECOVERY_SPACE, ASK_KEY, FORBIDDEN),))
        self.lost.add(fresh)
        return len(fresh)

    # --- restored mode ------------------------------------------------------------------

    def reestablished(self, channel_id: ChannelId) -> None:
        """A peer has shown that our state of a channel is current."""
        if channel_id in self.held:
            self._node.log(LogLevel.INFO, "channel %s is shown to be current", channel_id.hex())
            self._node.chain_monitor.release_hold(channel_id)
            self._let_go(channel_id)

    def publish_by_hand(self, channel_id: ChannelId) -> None:
        """The person takes the risk that our commitment is outdated, and that the peer takes all of the channel."""
        self._node.chain_monitor.broadcast_latest_holder_commitment_txn(channel_id)
        self._let_go(channel_id)

    def _let_go(self, channel_id: ChannelId) -> None:
        self.held.discard(channel_id)
        self._node.core.write((Row(HELD_SPACE, channel_id, None),))

    def waiting(self) -> int:
        """Held channels that nothing has closed yet; within the lock."""
        return sum(1 for monitor in self._held_monitors() if not monitor.is_spent)

    # --- lost channels ------------------------------------------------------------------

    def to_be_closed(self) -> dict[NodeId, list[ChannelBackup]]:
        """Lost channels that their peers have to close; within the lock."""
        monitored = set(self._node.chain_monitor.list_monitors())
        found = {}
        for node_id, backups in self.lost.to_be_closed().items():
            left = [backup for backup in backups if backup.channel_id not in monitored]
            if left:
                found[node_id] = left
        return found

    def is_old_peer(self, node_id: NodeId) -> bool:
        """Whether we had a channel with it; within the lock."""
        if node_id in self.lost.to_be_closed():
            return True
        return any(item.counterparty_node_id == node_id for item in self._node.manager.list_channels())

    def allow_contact(self) -> None:
        """The person says that no other installation of this wallet is running."""
        self.contact_allowed = self.ask_allowed = True
        self._node.manager.may_know_too_little = False
        self._node.core.write((Row(RECOVERY_SPACE, CONTACT_KEY, None), Row(RECOVERY_SPACE, ASK_KEY, None)))

    @property
    def may_ask(self) -> bool:
        return self.contact_allowed and self.ask_allowed

    def ask_peers(self) -> None:
        """Tells the manager which channels its peers are to close; the connections are `reach_peers`'."""
        if not self.may_ask:
            return
        for node_id, backups in self.to_be_closed().items():
            for backup in backups:
                if backup.channel_id not in self._asked:
                    self._asked[backup.channel_id] = node_id
                    self._node.manager.ask_to_close_lost_channel(
                        backup.channel_id, node_id, backup.channel_keys_id
                    )

    def reach_peers(self) -> None:
        """On the loop, outside of entries: connects to whoever is to close a channel."""
        if not self.may_ask:
            return
        node = self._node
        with node.core.locked():
            wanted = {
                node_id: tuple(dict.fromkeys(a for backup in backups for a in backup.addresses))
                + self._announced_addresses(node_id)
                for node_id, backups in self.to_be_closed().items()
            }
        for node_id, addresses in wanted.items():
            task = self._reaching.get(node_id)
            if task is None or task.done():
                self._reaching[node_id] = node.loop.create_task(self._reach(node_id, addresses))

    def reach_claimants(self) -> None:
        """On the loop, outside of entries: once they may be told that we know nothing of their channels."""
        node = self._node
        with node.core.locked():
            claimants, node.manager.claimants = node.manager.claimants, set()
        for node_id in claimants:
            record = node.ledger.peers.get(node_id)
            if record is not None:
                node.peers.keep(NodeUri(node_id, record.host, record.port))

    async def _reach(self, node_id: NodeId, addresses: tuple[str, ...]) -> None:
        node = self._node
        uris = []
        for text in dict.fromkeys(addresses):
            try:
                address = SocketAddress.parse(text)
            except DecodeError:
                continue
            uris.append(NodeUri(node_id, address.host, address.port))
        for uri in uris:
            try:
                await node.peers.connect(uri)
            except (OSError, TimeoutError) as error:
                node.log(LogLevel.INFO, "cannot reach %s at %s: %r", node_id.hex()[:12], uri.host, error)
                continue
            with node.core.entry():
                node.peers.remember(uri)
            return
        if uris:
            # It is tried again for as long as this runs.
            node.peers.keep(uris[0])

    def chain_moved(self) -> None:
        """After each update of the chain: what is closed need not be asked for any more."""
        self._note_closed()

    def _note_closed(self) -> None:
        if self._asked:
            still = {backup.channel_id for backups in self.to_be_closed().values() for backup in backups}
            for channel_id in self._asked.keys() - still:
                self._node.manager.forget_lost_channel(channel_id, self._asked.pop(channel_id))

    async def close(self) -> None:
        for task in self._reaching.values():
            task.cancel()
        await asyncio.gather(*self._reaching.values(), return_exceptions=True)
        await asyncio.get_running_loop().run_in_executor(None, self.backup.wait_second, SECOND_CLOSE_SECONDS)

    # --- the channel backup -------------------------------------------------------------

    def contents(self) -> ChannelBackups:
        """What a backup made now holds: every channel whose coins are not all home; within the lock."""
        node = self._node
        channels = {}
        for lost in self.lost.channels():
            done = lost.close is not None and all(item.spent_by is not None for item in lost.outputs)
            if not done:
                channels[lost.backup.channel_id] = lost.backup
        for channel_id in node.chain_monitor.list_monitors():
            monitor = node.chain_monitor.get_monitor(channel_id)
            if monitor is not None:
                static = monitor.state.static
                channels[channel_id] = backup_of(static, self._addresses(static.counterparty_node_id))
        return ChannelBackups(
            network=node.options.network_name,
            node_id=node.keys_manager.get_node_id(),
            made_at=node.wall_clock_at(),
            channels=tuple(channels[key] for key in sorted(channels)),
        )

    def _addresses(self, node_id: NodeId) -> tuple[str, ...]:
        record = self._node.ledger.peers.get(node_id)
        known = []
        if record is not None:
            host = f"[{record.host}]" if ":" in record.host else record.host
            known.append(f"{host}:{record.port}")
        known += self._announced_addresses(node_id)
        return tuple(dict.fromkeys(known))[:MAX_ADDRESSES]

    def _announced_addresses(self, node_id: NodeId) -> tuple[str, ...]:
        announcement = self._node.graph.node_announcement(node_id)
        return () if announcement is None else tuple(str(address) for address in announcement.addresses)

    def note(self, batch: Batch) -> None:
        """At the end of an entry: whether its batch changes the backup."""
        if any(space in BACKED_UP_SPACES for space, _key in batch.rows):
            batch.backup = self.contents()
            self.storage.channels_changed()

    def save(self, batch: Batch) -> None:
        """On the writer thread, once the batch is durable and before anything of it leaves."""
        if batch.backup is not None and not self.backup.save(batch.backup):
            self._node.log(LogLevel.WARN, "%s", self.backup.problem)

    def may_leave(self, txids: list[Txid]) -> bool:
        """Whether no transaction among these funds a channel that no durable backup names."""
        return not any(self.backup.lacks(txid) for txid in txids)

    def tick(self) -> None:
        """On the timer thread, outside of entries."""
        if self.backup.has_found_second:
            # It could not be read at the start.
            with self._node.core.entry():
                self.backup.take_second(self.take_over, 0, self._node.core.afterwards)
        self.backup.save_again()
        if self._generation is not None:
            self._generation.sync()

    # --- sentences ----------------------------------------------------------------------

    def problem(self) -> str:
        """What the person has to know first; empty when all is well. Within the lock."""
        waiting = self.waiting()
        lost = sum(len(backups) for backups in self.to_be_closed().values())
        if (not self.contact_allowed and waiting) or (not self.may_ask and lost):
            return _(
                "This wallet was restored. Its channels' peers are not called before you say that no other copy of it "
                "is running: `leyden old_installation_stopped`"
            )
        if self._node.manager.claimants and not self.may_ask:
            return _(
                "A peer says that it has a channel with this wallet. Say that no other copy of the wallet is running, "
                "and it is asked to close it: `leyden old_installation_stopped`"
            )
        if waiting:
            return ngettext(
                "This wallet file may be an old copy: {count} channel is not closed from here before its peer has "
                "shown that the file is current",
                "This wallet file may be an old copy: {count} channels are not closed from here before their peers "
                "have shown that the file is current",
                waiting,
            ).format(count=waiting)
        if lost:
            return ngettext(
                "{count} channel of your backup waits for its peer to close it",
                "{count} channels of your backup wait for their peers to close them",
                lost,
            ).format(count=lost)
        if self.backup.problem:
            return self.backup.problem
        return "" if self._generation is None else self._generation.problem

    @property
    def was_restored(self) -> bool:
        """Whether this wallet was made of words or a backup, or is an older copy; within the lock."""
        return self._scan or bool(self.lost.channels())

    def view(self) -> RecoveryView:
        """For front ends; within the lock."""
        held = self.waiting()
        lost = sum(len(backups) for backups in self.to_be_closed().values())
        claimed = bool(self._node.manager.claimants)
        asks = (not self.contact_allowed and bool(held)) or (not self.may_ask and (bool(lost) or claimed))
        return RecoveryView(
            asks=asks, held=held, lost=lost, problem=self.problem(), backup_problem=self.backup.problem
        )

    def backup_text(self) -> str:
        """One line on the backup, for the status bar. Within the lock."""
        if not self._node.chain_monitor.list_monitors():
            return _("Keep your words safe")
        if self.backup.problem:
            return _("The channel backup is not up to date")
        return _("Words and channel backup are up to date")
