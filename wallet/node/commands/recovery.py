"""Commands about losing everything: what would come back, the channel backup, restored wallets, the password."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from wallet.i18n import _
from wallet.ln.types import APIError
from wallet.node.api import HELD_CHANNEL_PHRASE, CommandError, Json
from wallet.node.backup import BackupError, read_file, write_durably
from wallet.node.commands.channels import find_channel
from wallet.node.commands.files import cannot_be_used, whole_path
from wallet.node.commands.registry import command
from wallet.node.recovery import BACKUP_FOLDER_SETTING
from wallet.node.recovery_report import recovery_report as make_report
from wallet.node.second_copy import PATIENCE_SECONDS, in_time
from wallet.node.store import StoreError

if TYPE_CHECKING:
    from wallet.ln.channel_backup import ChannelBackups
    from wallet.node.node import Node

__all__: list[str] = []

RISK_PHRASE = HELD_CHANNEL_PHRASE


@command
async def recovery_report(node: Node) -> Json:
    """Shows what would come back, and when, if this computer were lost now: from the words alone, and from the words
    and the channel backup. In a restored wallet: how far each channel has come."""
    with node.core.locked():
        return make_report(node)


@command
async def export_channel_backup(node: Node, file: str) -> Json:
    """Writes the channel backup to a file. With the words it brings back the coins in channels; it changes whenever a
    channel is opened, so name a folder with set_backup_folder to have it kept up to date."""
    path = whole_path(file)
    with node.core.locked():
        contents = node.recovery.contents()
    data = node.recovery.backup.seal(contents)

    def write() -> None:
        if path.exists():
            raise CommandError(
                _("There is a file {path} already. Choose another name; it was left as it is.").format(
                    path=path
                ),
                code="exists",
            )
        write_durably(path, data)

    try:
        await asyncio.get_running_loop().run_in_executor(None, write)
    except OSError as error:
        raise cannot_be_used(path, error) from None
    return {"path": str(path), "channels": len(contents.channels)}


@command
async def import_channel_backup(node: Node, file: str, *, old_installation_stopped: bool = False) -> Json:
    """Takes over the channels of a channel backup of these words that this wallet does not know. Their peers are asked
    to close them; say --old_installation_stopped if no other copy of this wallet is running."""
    path = whole_path(file)
    loop = asyncio.get_running_loop()
    try:
        data = await loop.run_in_executor(None, read_file, path)
        backups = node.recovery.backup.open(data)
    except OSError as error:
        raise cannot_be_used(path, error) from None
    except BackupError as error:
        raise CommandError(str(error), code="backup") from None
    if backups.network != node.options.network_name:
        raise CommandError(
            _("This channel backup belongs to {other}, not to {network}.").format(
                other=backups.network, network=node.options.network_name
            ),
            code="network",
        )
    with node.core.entry():
        count = node.recovery.take_over(backups)
        durable = node.durable()
    await durable
    if count and old_installation_stopped:
        await _stopped(node)
    return {"channels": count}


@command
async def old_installation_stopped(node: Node) -> Json:
    """Says that no other copy of this wallet is running, here or on any other computer. Only then are the peers of a
    restored wallet called: two copies that talk to the same peers get each other's channels closed."""
    await _stopped(node)
    return True


async def _stopped(node: Node) -> None:
    with node.core.entry():
        node.recovery.allow_contact()
        durable = node.durable()
    await durable
    try:
        await node.listen()
    except OSError as error:
        raise CommandError(
            _("Leyden cannot listen for peers: {why}.").format(why=error.strerror or error), code="port"
        ) from None
    node.meet_peers()
    node.recovery.reach_claimants()
    node.views.publish_soon()


@command
async def set_backup_folder(node: Node, folder: str) -> Json:
    """Names a second folder, on another disk or in a synchronised place, in which the channel backup is kept too; ""
    for none. It is encrypted: only the words open it."""
    loop = asyncio.get_running_loop()
    if folder:
        path = whole_path(folder)
        folder = str(path)
        second = node.recovery.backup.second_path(str(path))
        found: list[ChannelBackups | None] = []

        def read() -> None:
            if not path.is_dir():
                raise CommandError(_("There is no folder {path}.").format(path=path), code="folder")
            found.append(node.recovery.backup.read(second))

        try:
            await loop.run_in_executor(None, in_time, read, PATIENCE_SECONDS)
        except OSError as error:
            raise cannot_be_used(path, error) from None
        known = found[0]
    else:
        known = None
    with node.core.entry():
        node.recovery.take_over(known)
        node.ledger.put_setting(BACKUP_FOLDER_SETTING, folder)
        # What lay there is written over only once what was taken over from it is durable.
        node.core.afterwards(lambda: node.recovery.backup.use_second(folder, is_known=True))
        durable = node.durable()
    await durable
    await loop.run_in_executor(None, node.recovery.backup.save_again)
    answers = await loop.run_in_executor(None, node.recovery.backup.wait_second, PATIENCE_SECONDS)
    node.views.publish_soon()
    if node.recovery.backup.problem:
        raise CommandError(node.recovery.backup.problem, code="folder")
    if not answers:
        raise CommandError(
            _("The folder {path} does not answer: the backup is written there as soon as it does.").format(
                path=folder
            ),
            code="folder",
        )
    return {"path": str(node.recovery.backup.second) if folder else None}


@command
async def publish_held_channel(node: Node, channel_point: str, *, confirm: str = "") -> Json:
    """Closes a channel of a restored wallet from here, at the risk of losing all of it: for a peer that is gone for
    good. If this wallet file is older than the channel, the peer may take everything in it."""
    item = find_channel(node, channel_point)
    if item.channel_id not in node.recovery.held:
        raise CommandError(
            _("This channel is not held: close it with `leyden close_channel`."), code="channel"
        )
    if confirm != RISK_PHRASE:
        raise CommandError(
            _(
                "The peer could take all of this channel, if this wallet file is not the newest. If the peer is gone "
                'for good and you take that risk, say so in these words: --confirm "{phrase}"'
            ).format(phrase=RISK_PHRASE),
            code="confirm",
        )
    with node.core.entry():
        try:
            node.manager.force_close_broadcasting_latest_txn(
                item.channel_id, item.counterparty_node_id, "closed by the user"
            )
        except APIError as error:
            raise CommandError(str(error), code="channel") from None
        node.recovery.publish_by_hand(item.channel_id)
        durable = node.durable()
    await durable
    return {"channel_id": item.channel_id.hex()}


@command
async def change_password(node: Node, new_password: str, *, password: str = "") -> Json:
    """Changes the password of the wallet file ("" for none). Copies of the file keep the password that they had."""
    loop = asyncio.get_running_loop()
    # In a thread: both take a second on purpose.
    await loop.run_in_executor(None, node.check_password, password)
    try:
        await loop.run_in_executor(None, node.store.change_password, new_password)
    except StoreError as error:
        raise CommandError(str(error), code="file") from None
    return True
