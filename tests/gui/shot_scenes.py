"""The scenes that `tests.gui.shots` renders."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QScrollArea

from tests.gui import fake_map, scenes, settings_scenes
from tests.gui.channel_scenes import CHANNEL_SCENES
from tests.gui.fake_node import HUB_URI, FakeNode
from tests.gui.receive_scenes import RECEIVE_SCENES
from tests.gui.shots import Stage, wait_for
from tests.gui.window_scenes import WINDOW_SCENES
from wallet.gui.pages.close_channel import CloseChannelDialog
from wallet.gui.pages.item_dialog import ItemDialog
from wallet.gui.pages.open_channel import OpenChannelDialog
from wallet.gui.pages.recovery import OldInstallationDialog, PublishHeldDialog
from wallet.gui.pages.settings_backup import PasswordDialog
from wallet.gui.pages.unlock import UnlockPage
from wallet.gui.pages.wizard import Step, Wizard
from wallet.gui.pages.wizard_restore import BackupChoice
from wallet.gui.pages.wizard_words import RestoreGrid
from wallet.gui.widgets.ids import Fold
from wallet.gui.widgets.notices import EmptyState
from wallet.node.api import ActivityStatus
from wallet.node.map_api import RouteAttempt


def overview_new(stage: Stage) -> None:
    stage.on(scenes.new("mainnet"))


def overview_practice(stage: Stage) -> None:
    stage.on(scenes.funded())


def overview_typical(stage: Stage) -> None:
    stage.on(scenes.typical("mainnet"))


def overview_trouble(stage: Stage) -> None:
    stage.on(scenes.trouble())


def _over_time(stage: Stage) -> Any:
    page = _page(stage, "overview")
    wait_for(lambda: page.over_time.isVisible(), "the chart")
    return page


def overview_split(stage: Stage) -> None:
    stage.on(scenes.trouble())
    page = _over_time(stage)
    page.split_fold.button.click()


def overview_chart(stage: Stage) -> None:
    stage.on(scenes.typical("mainnet"))
    page = _over_time(stage)
    page.over_time.ranges.button("year").click()
    wait_for(lambda: len(page.over_time.chart.points) > 20, "the year")
    area = page.findChild(QScrollArea)
    assert area is not None
    area.verticalScrollBar().setValue(page.over_time.y() - 40)
    page.over_time.chart.setFocus(Qt.FocusReason.TabFocusReason)


def overview_table(stage: Stage) -> None:
    overview_chart(stage)
    _page(stage, "overview").over_time.table_button.click()


def _page(stage: Stage, key: str) -> Any:
    assert stage.window is not None
    assert stage.window.shell is not None
    return stage.window.shell.page(key)


def send_empty(stage: Stage) -> None:
    stage.on(scenes.typical(), "send")


def send_invoice(stage: Stage) -> None:
    node = scenes.typical()
    stage.on(node, "send")
    page = _page(stage, "send")
    page.take(node.foreign_invoice(21_000_000, "Coffee and a bun"))
    wait_for(lambda: page.card is not None, "the card")


def send_any(stage: Stage) -> None:
    node = scenes.typical()
    stage.on(node, "send")
    page = _page(stage, "send")
    page.take(node.foreign_invoice(None, "A donation of your choice"))
    wait_for(lambda: page.card is not None, "the card")
    page.card.amount_field.setText("1.000")


def send_link(stage: Stage) -> None:
    stage.on(scenes.typical(), "send")
    page = _page(stage, "send")
    page.take("tea@shop.example")
    wait_for(lambda: page.card is not None and page.card.amount_field is not None, "the link's answer")
    page.card.amount_field.set_amount_sat(2_500)


def send_node(stage: Stage) -> None:
    node = scenes.typical()
    stage.on(node, "send")
    page = _page(stage, "send")
    page.take(node.a_node("shop"))
    wait_for(lambda: page.card is not None, "the card")
    page.card.fee_limit.button.click()


def send_contacts(stage: Stage) -> None:
    node = scenes.typical()
    node.contacts = {
        "Grandmother": "granny@wallet.example",
        "Tea shop": "lnurlp://shop.example/tea",
        "The landlord, on the first of each month": "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080",
    }
    stage.on(node, "send")
    page = _page(stage, "send")
    wait_for(lambda: len(page.contacts.rows) == 3, "the contacts")


def send_camera(stage: Stage) -> None:
    from tests.gui.codes import picture_of
    from wallet.gui.scan import camera, dialog

    stage.on(scenes.typical(), "send")
    before, camera.open_camera = camera.open_camera, camera.Camera
    try:
        made = dialog.CameraDialog(_page(stage, "send"), lambda _text: None, network="sandbox")
    finally:
        camera.open_camera = before
    made.open()
    made.view.show_frame(picture_of("LNBCRT1" + "Q" * 200, 6))


def send_coins(stage: Stage) -> None:
    send_onchain(stage)
    page = _page(stage, "send")
    page.card.coins.button.click()
    wait_for(lambda: len(page.card.coins.boxes) == 3, "the coins")
    next(iter(page.card.coins.boxes.values())).click()
    page.card.speed.button("own").click()
    page.card.rate.setText("1.5")
    wait_for(lambda: page.card.review.isEnabled(), "the quote")


def send_psbt(stage: Stage) -> None:
    from tests.gui.fake_send import FAKE_PSBT

    stage.on(scenes.typical(), "send")
    page = _page(stage, "send")
    page.take(FAKE_PSBT)
    wait_for(lambda: page.card is not None and page.card.button.isEnabled(), "what it says")


def send_wrong(stage: Stage) -> None:
    stage.on(scenes.typical(), "send")
    page = _page(stage, "send")
    page.take("lnbc210u1pmainnet")
    wait_for(lambda: bool(page.banner.text()), "the banner")


def send_onchain(stage: Stage) -> None:
    stage.on(scenes.typical(), "send")
    page = _page(stage, "send")
    page.take("bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080")
    wait_for(lambda: page.card is not None, "the card")
    page.card.amount_field.setText("250 000")
    wait_for(lambda: page.card.review.isEnabled(), "the quote")


def send_review(stage: Stage) -> None:
    send_onchain(stage)
    _page(stage, "send").card.review.click()


def send_progress(stage: Stage) -> None:
    node = scenes.typical()
    node.hold("lnpay")
    stage.on(node, "send")
    page = _page(stage, "send")
    page.take(node.foreign_invoice(21_000_000, "Coffee and a bun"))
    wait_for(lambda: page.card is not None, "the card")
    page.card.button.click()
    wait_for(lambda: "Trying" in page.progress.sentence.text(), "progress")
    failed, _arrived = scenes.tried(node.snapshot().recent[0])
    page.progress.draw([replace(failed, status=ActivityStatus.PENDING)])
    page.progress.route._place = 0.6


def send_twice(stage: Stage) -> None:
    node = scenes.typical()
    stage.on(node, "send")
    before = {
        "txid": node.snapshot().recent[0].item_id.removeprefix("tx:"),
        "amount_sat": 21_000,
        "at": int(time.time()) - 180,
        "times": 1,
    }
    fallback = {"kind": "address", "address": "bcrt1q", "amount_sat": 21_000, "paid_before": before}
    page = _page(stage, "send")
    page.take(node.foreign_invoice(21_000_000, "Coffee and a bun", fallback=fallback))
    wait_for(lambda: page.card is not None, "the card")


def send_success(stage: Stage) -> None:
    send_progress(stage)
    assert stage.node is not None
    stage.node.release("lnpay")
    wait_for(lambda: _page(stage, "send").result is not None, "the end")


FAILURE = (
    "There is no route that can carry 21\u202f000\u00a0sat to the payee. Nothing was paid. Try a smaller amount, or "
    "open a channel to a node that is better connected. Hop 2 of 3, ACINQ: the channel on to Caf\u00e9 \u00c5land "
    "could not carry 21\u202f002\u00a0sat now; 12\u202f000\u00a0sat would have passed, as far as is known."
)


def send_failure(stage: Stage) -> None:
    node = scenes.typical()
    node.fail("lnpay", FAILURE)
    stage.on(node, "send")
    page = _page(stage, "send")
    page.take(
        node.foreign_invoice(
            21_000_000,
            "Coffee and a bun",
            fallback={"kind": "address", "address": "bcrt1q", "amount_sat": 21_000},
        )
    )
    wait_for(lambda: page.card is not None, "the card")
    page.card.button.click()
    wait_for(lambda: page.result is not None, "the end")


def receive_empty(stage: Stage) -> None:
    stage.on(scenes.typical(), "receive")


def receive_new(stage: Stage) -> None:
    stage.on(scenes.new("mainnet"), "receive")
    page = _page(stage, "receive")
    wait_for(lambda: bool(page.code.text()), "the address")


def receive_code(stage: Stage) -> None:
    stage.on(scenes.typical(), "receive")
    page = _page(stage, "receive")
    page.amount_field.setText("15 000")
    page.note.setText("Two tickets")
    page.create_button.click()
    wait_for(lambda: bool(page.code.text()), "the code")


def receive_paid(stage: Stage) -> None:
    receive_code(stage)
    assert stage.node is not None
    invoice = next(iter(stage.node.requests.values())).invoice
    stage.node.submit(stage.node.be_paid, invoice)
    page = _page(stage, "receive")
    wait_for(lambda: page._paid is not None, "paid")


def channels_empty(stage: Stage) -> None:
    stage.on(scenes.funded(), "channels")


def channels_cards(stage: Stage) -> None:
    stage.on(scenes.typical(), "channels")


def channels_table(stage: Stage) -> None:
    stage.on(scenes.typical("mainnet", channels=8), "channels")


def channel_page(stage: Stage) -> None:
    node = scenes.typical()
    window = stage.on(node, "channels")
    assert window.shell is not None
    window.shell.show_channel(list(node.channels)[1])


def channel_opening(stage: Stage) -> None:
    node = scenes.typical()
    window = stage.on(node, "channels")
    assert window.shell is not None
    window.shell.show_channel(list(node.channels)[2])


def channel_forced(stage: Stage) -> None:
    node = scenes.trouble()
    window = stage.on(node, "channels")
    assert window.shell is not None
    window.shell.show_channel(list(node.channels)[1])


def open_dialog(stage: Stage) -> None:
    window = stage.on(scenes.funded(), "channels")
    assert window.shell is not None
    window.shell.open_channel(HUB_URI)
    dialog = window.findChild(OpenChannelDialog)
    assert dialog is not None
    dialog.amount_field.setText("500 000")
    wait_for(lambda: dialog.quote is not None, "the quote")


def close_dialog(stage: Stage) -> None:
    _close(stage, force=False)


def force_dialog(stage: Stage) -> None:
    _close(stage, force=True)


def _close(stage: Stage, *, force: bool) -> None:
    node = scenes.typical()
    window = stage.on(node, "channels")
    assert window.shell is not None
    channel = next(iter(node.channels.values()))
    dialog = CloseChannelDialog(window, window.shell.context, channel, force=force)
    dialog.open()
    wait_for(lambda: dialog.quote is not None, "the quote")


def activity(stage: Stage) -> None:
    stage.on(scenes.typical(), "activity")


def activity_filters(stage: Stage) -> None:
    stage.on(scenes.typical(), "activity")
    page = _page(stage, "activity")
    page.filter_button.click()
    page.filters.periods.button("days").click()
    page.filters.since.setText("2026-13-01")
    page.filters._judge()


def activity_nothing(stage: Stage) -> None:
    stage.on(scenes.typical(), "activity")
    page = _page(stage, "activity")
    page.search.setText("a word that is nowhere")
    wait_for(lambda: page.model.rowCount() == 0, "nothing")


def activity_trouble(stage: Stage) -> None:
    stage.on(scenes.trouble(), "activity")
    page = _page(stage, "activity")
    assert stage.node is not None
    stage.node.fail(
        "export_history", "/media/anna/STICK/history.csv cannot be used: No space left on device."
    )
    page.save_history(Path("/media/anna/STICK/history.csv"))
    wait_for(lambda: bool(page.banner.text()), "the sentence")


def item_attempts(stage: Stage) -> None:
    node = scenes.typical()
    window = stage.on(node, "activity")
    assert window.shell is not None
    window.shell.show_item(node.activity[0].item_id)
    dialog = window.findChild(ItemDialog)
    assert dialog is not None
    for fold in dialog.findChildren(Fold):
        if not fold.button.isChecked():
            fold.button.click()


def item_moved(stage: Stage) -> None:
    node = scenes.typical()
    window = stage.on(node, "activity")
    assert window.shell is not None
    window.shell.show_item(next(item.item_id for item in node.activity if item.moved_msat))


def activity_empty(stage: Stage) -> None:
    stage.on(scenes.new("mainnet"), "activity")


def item(stage: Stage) -> None:
    node = scenes.typical()
    window = stage.on(node, "activity")
    assert window.shell is not None
    window.shell.show_item(node.activity[3].item_id)


def settings(stage: Stage) -> None:
    stage.on(scenes.typical("mainnet"), "settings")


def settings_backup(stage: Stage) -> None:
    node = scenes.typical("mainnet")
    node.second_folder = "/media/anna/STICK"
    node.recovery(
        backup_problem="The channel backup could not be written to /media/anna/STICK (No such file or directory). "
        "Without it, a lost computer may cost you the coins in your channels."
    )
    stage.on(node, "settings")
    page = _page(stage, "settings")
    wait_for(lambda: bool(page.backup.warning.text()), "the report")
    area = page.findChild(QScrollArea)
    assert area is not None
    area.verticalScrollBar().setValue(page.backup.y())


def settings_network(stage: Stage) -> None:
    node = scenes.typical("mainnet")
    stage.on(node, "settings")
    page = _page(stage, "settings")
    row = page.graph.snapshot
    row.address.setText("https://gossip.example/snapshot/0")
    row.address_button.click()
    # No sentence is waited for: the scene is shown in every language.
    wait_for(row.address_button.isEnabled, "the result")
    area = page.findChild(QScrollArea)
    assert area is not None
    area.verticalScrollBar().setValue(page.graph.y())


def password_dialog(stage: Stage) -> None:
    window = stage.on(scenes.typical("mainnet"), "settings")
    dialog = PasswordDialog(window, _context(stage))
    dialog.open()
    dialog.new.setText("a longer one")
    dialog.again.setText("a longer")
    dialog._compare()


def _context(stage: Stage) -> Any:
    assert stage.window is not None
    assert stage.window.shell is not None
    return stage.window.shell.context


def _recovery(stage: Stage, node: FakeNode, way: str = "") -> None:
    stage.on(node, "recovery")
    page = _page(stage, "recovery")
    wait_for(lambda: bool(page.report), "the report")
    if way:
        page.way.button(way).click()


def recovery_report(stage: Stage) -> None:
    _recovery(stage, scenes.typical("mainnet"))


def recovery_words(stage: Stage) -> None:
    _recovery(stage, scenes.typical("mainnet"), "words")


def recovery_storage(stage: Stage) -> None:
    _recovery(stage, scenes.typical("mainnet"), "words_and_peer_storage")


def restored_asks(stage: Stage) -> None:
    _recovery(stage, scenes.restored(asks=True, waiting=3))


def restored_waits(stage: Stage) -> None:
    _recovery(stage, scenes.restored(waiting=1))


def restored_home(stage: Stage) -> None:
    stage.on(scenes.new("mainnet"))
    assert stage.node is not None
    stage.node.confirmed_sat = 1_834_220
    assert stage.window is not None
    assert stage.window.shell is not None
    stage.window.shell.show_recovery()
    wait_for(lambda: bool(_page(stage, "recovery").report), "the report")


def restored_overview(stage: Stage) -> None:
    stage.on(scenes.held(asks=True))


def restored_channels(stage: Stage) -> None:
    stage.on(scenes.held(asks=False), "channels")


def restored_channel(stage: Stage) -> None:
    node = scenes.held(asks=False)
    window = stage.on(node, "channels")
    assert window.shell is not None
    window.shell.show_channel(next(iter(node.channels)))


def publish_dialog(stage: Stage) -> None:
    node = scenes.held(asks=False)
    window = stage.on(node, "channels")
    PublishHeldDialog(window, _context(stage), next(iter(node.channels.values()))).open()


def old_installation_dialog(stage: Stage) -> None:
    window = stage.on(scenes.restored(asks=True))
    OldInstallationDialog(window, _context(stage)).open()


def wizard_backup(stage: Stage) -> None:
    wizard = _wizard(stage, "mainnet")
    wizard.choose("mainnet")
    wizard._restore()
    step = wizard.step
    assert isinstance(step, Step)
    wizard._take_words([*scenes.ELECTRUM_WORDS, "zebra"], step)


def wizard_backup_chosen(stage: Stage) -> None:
    wizard_backup(stage)
    choice = _wizard_of(stage).step.findChild(BackupChoice)
    assert choice is not None
    choice.take(Path("/media/anna/STICK/leyden-mainnet-0badc0de.backup"))
    wait_for(lambda: choice.file is not None, "the report")


def wizard_backup_refused(stage: Stage) -> None:
    wizard_backup(stage)
    choice = _wizard_of(stage).step.findChild(BackupChoice)
    assert choice is not None
    choice.take(Path("/home/anna/Pictures/holiday.jpg"))
    wait_for(lambda: "not a channel backup" in choice.told.text(), "the refusal")


def wizard_old_one(stage: Stage) -> None:
    wizard_backup(stage)
    _wizard_of(stage)._ask_old_one()


def wizard_welcome(stage: Stage) -> None:
    stage.empty()


def _wizard(stage: Stage, network: str) -> Wizard:
    window = stage.empty(network)
    wizard = window.findChild(Wizard)
    assert wizard is not None
    return wizard


def wizard_start(stage: Stage) -> None:
    _wizard(stage, "sandbox")


def wizard_words(stage: Stage) -> None:
    _wizard(stage, "mainnet").choose("mainnet")
    _wizard_of(stage)._new_words()


def wizard_check(stage: Stage) -> None:
    wizard_words(stage)
    _wizard_of(stage)._check_words()


def wizard_restore(stage: Stage) -> None:
    wizard = _wizard(stage, "mainnet")
    wizard.choose("mainnet")
    wizard._restore()
    grid = wizard.findChild(RestoreGrid)
    assert grid is not None
    grid._pasted(0, ["zebra", *scenes.ELECTRUM_WORDS])


def wizard_password(stage: Stage) -> None:
    _wizard(stage, "sandbox")._new_words()


def _wizard_of(stage: Stage) -> Wizard:
    assert stage.window is not None
    wizard = stage.window.findChild(Wizard)
    assert wizard is not None
    return wizard


def unlock(stage: Stage) -> None:
    window = stage.locked()
    page = window.findChild(UnlockPage)
    assert page is not None
    page.password.setText("wrong")
    page.unlock.click()
    wait_for(lambda: page.unlock.isEnabled(), "the answer")


def take_over(stage: Stage) -> None:
    window = stage.locked()
    page = window.findChild(UnlockPage)
    assert page is not None
    assert stage.host is not None
    stage.host.in_daemon = True
    page.unlock.click()
    wait_for(page.taking.isVisible, "the question")


def _map(stage: Stage, node: FakeNode) -> Any:
    stage.on(node, "network")
    page = _page(stage, "network")
    wait_for(lambda: page.network is not None and page.canvas.is_at_rest(), "the map")
    return page


def _wide_map(stage: Stage) -> Any:
    node = scenes.typical("mainnet")
    node.network_made = fake_map.grown(2_000, 6_000, own=node.status.node_id)
    return _map(stage, node)


def network(stage: Stage) -> None:
    _wide_map(stage)


def network_sandbox(stage: Stage) -> None:
    _map(stage, scenes.typical())


def network_empty(stage: Stage) -> None:
    node = scenes.new("mainnet")
    node.network_made = fake_map.made([], [], {})
    stage.on(node, "network")
    page = _page(stage, "network")
    wait_for(lambda: bool(page.message.findChildren(EmptyState)), "the sentence")


def network_node(stage: Stage) -> None:
    page = _wide_map(stage)
    node = page.network.by_size[0]
    page.select_node(node)
    page.canvas.show_node(node)
    wait_for(page.canvas.is_at_rest, "the picture")


def network_channel(stage: Stage) -> None:
    page = _wide_map(stage)
    page.select_channel(0)
    page.canvas.show_channel(0)
    wait_for(page.canvas.is_at_rest, "the picture")


def network_list(stage: Stage) -> None:
    page = _wide_map(stage)
    page.legend.modes.button("fee").click()
    page.search.toggle.setChecked(True)
    wait_for(page.canvas.is_at_rest, "the picture")


def network_attempts(stage: Stage) -> None:
    page = _wide_map(stage)
    assert stage.node is not None
    ids = [stage.node.status.node_id, *(page.network.node_id(node) for node in (0, 7, 40, 300))]
    page.show_attempts(
        [
            RouteAttempt(
                nodes=tuple(ids), failed_at=2, reason="The third channel could not carry 250 000 sat"
            ),
            RouteAttempt(nodes=(*ids[:2], ids[4]), arrived=True),
        ]
    )
    page.attempts.list.show_row(0)
    wait_for(page.canvas.is_at_rest, "the picture")


SCENES: dict[str, Callable[[Stage], object]] = {
    "overview-new": overview_new,
    "overview-practice": overview_practice,
    "overview-typical": overview_typical,
    "overview-trouble": overview_trouble,
    "overview-split": overview_split,
    "overview-chart": overview_chart,
    "overview-table": overview_table,
    "send-empty": send_empty,
    "send-invoice": send_invoice,
    "send-any": send_any,
    "send-link": send_link,
    "send-node": send_node,
    "send-contacts": send_contacts,
    "send-camera": send_camera,
    "send-twice": send_twice,
    "send-coins": send_coins,
    "send-psbt": send_psbt,
    "send-wrong": send_wrong,
    "send-onchain": send_onchain,
    "send-review": send_review,
    "send-progress": send_progress,
    "send-success": send_success,
    "send-failure": send_failure,
    "receive-empty": receive_empty,
    "receive-new": receive_new,
    "receive-code": receive_code,
    "receive-paid": receive_paid,
    "channels-empty": channels_empty,
    "channels-cards": channels_cards,
    "channels-table": channels_table,
    "channel-page": channel_page,
    "channel-opening": channel_opening,
    "channel-forced": channel_forced,
    "dialog-open": open_dialog,
    "dialog-close": close_dialog,
    "dialog-force": force_dialog,
    "network": network,
    "network-sandbox": network_sandbox,
    "network-empty": network_empty,
    "network-node": network_node,
    "network-channel": network_channel,
    "network-list": network_list,
    "network-attempts": network_attempts,
    "activity": activity,
    "activity-empty": activity_empty,
    "activity-filters": activity_filters,
    "activity-nothing": activity_nothing,
    "activity-trouble": activity_trouble,
    "dialog-item": item,
    "dialog-item-attempts": item_attempts,
    "dialog-item-moved": item_moved,
    "settings": settings,
    "settings-backup": settings_backup,
    "settings-network": settings_network,
    "dialog-password": password_dialog,
    **settings_scenes.SCENES,
    "recovery-report": recovery_report,
    "recovery-words": recovery_words,
    "recovery-storage": recovery_storage,
    "restored-asks": restored_asks,
    "restored-waits": restored_waits,
    "restored-home": restored_home,
    "restored-overview": restored_overview,
    "restored-channels": restored_channels,
    "restored-channel": restored_channel,
    "dialog-publish": publish_dialog,
    "dialog-old-installation": old_installation_dialog,
    "wizard-backup": wizard_backup,
    "wizard-backup-chosen": wizard_backup_chosen,
    "wizard-backup-refused": wizard_backup_refused,
    "wizard-old-one": wizard_old_one,
    "wizard-welcome": wizard_welcome,
    "wizard-start": wizard_start,
    "wizard-words": wizard_words,
    "wizard-check": wizard_check,
    "wizard-restore": wizard_restore,
    "wizard-password": wizard_password,
    "unlock": unlock,
    "unlock-daemon": take_over,
    **CHANNEL_SCENES,
    **RECEIVE_SCENES,
    **WINDOW_SCENES,
}
