"""Scenes of channels: choosing a peer, past states, and the way home after the end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.gui import fake_map, scenes
from tests.gui.fake_channels import suggested_id
from tests.gui.fake_node import digest
from tests.gui.shots import Stage, wait_for
from wallet.gui.pages.channel import ChannelDetail
from wallet.gui.pages.channels import ChannelsPage
from wallet.gui.pages.close_channel import CloseChannelDialog
from wallet.gui.pages.open_channel import OpenChannelDialog
from wallet.gui.pages.plan_card import PlanCard
from wallet.node.api import ChannelPhase

__all__ = ["CHANNEL_SCENES"]


def _detail(stage: Stage) -> ChannelDetail:
    assert stage.window is not None
    assert stage.window.shell is not None
    page = stage.window.shell.page("channels")
    assert isinstance(page, ChannelsPage)
    assert isinstance(page.detail, ChannelDetail)
    return page.detail


def open_suggestions(stage: Stage) -> None:
    node = scenes.typical("mainnet")
    node.unreachable.add(suggested_id(2))
    node.minimums[suggested_id(3)] = 1_000_000
    node.minimums[suggested_id(4)] = None
    window = stage.on(node, "channels")
    assert window.shell is not None
    window.shell.open_channel("")
    dialog = window.findChild(OpenChannelDialog)
    assert dialog is not None
    wait_for(lambda: len(dialog.choice.rows) == 3 and all(r.terms for r in dialog.choice.rows), "the answers")


def open_chosen(stage: Stage) -> None:
    open_suggestions(stage)
    assert stage.window is not None
    dialog = stage.window.findChild(OpenChannelDialog)
    assert dialog is not None
    dialog.choice.rows[0].choose.click()
    dialog.sensible.click()
    wait_for(lambda: dialog.quote is not None, "the quote")


def channel_states(stage: Stage) -> None:
    node = scenes.typical()
    key = list(node.channels)[1]
    node.channels[key] = replace(
        node.channels[key], uptime_permille=987, forwards=31, fees_earned_msat=4_120_000
    )
    window = stage.on(node, "channels")
    assert window.shell is not None
    window.shell.show_channel(key)
    detail = _detail(stage)
    detail.states_fold.button.click()
    wait_for(lambda: detail.states.shown > 0, "the states")


def channel_closing(stage: Stage) -> None:
    node = scenes.typical()
    key = next(iter(node.channels))
    node.channels[key] = replace(
        node.channels[key],
        phase=ChannelPhase.CLOSING,
        phase_text="On its way home",
        is_usable=False,
        closing_txid=digest("closing"),
        closure_text="You asked to close the channel, and both sides agreed.",
    )
    window = stage.on(node, "channels")
    assert window.shell is not None
    window.shell.show_channel(key)
    detail = _detail(stage)
    wait_for(lambda: detail.resolution.report is not None, "the report")


def channels_sorted(stage: Stage) -> None:
    node = scenes.typical("mainnet", channels=8)
    for number, (key, channel) in enumerate(list(node.channels.items())):
        node.channels[key] = replace(
            channel, uptime_permille=(999, None, 871, 640, 1000, 955, 412, 30)[number], forwards=number,
            fees_earned_msat=number * number * 1_234_000,
        )  # fmt: skip
    stage.on(node, "channels")
    assert stage.window is not None
    assert stage.window.shell is not None
    page: Any = stage.window.shell.page("channels")
    page.sort("capacity")


def open_without_coins(stage: Stage) -> None:
    window = stage.on(scenes.new("mainnet"), "channels")
    assert window.shell is not None
    window.shell.open_channel("")
    dialog = window.findChild(OpenChannelDialog)
    assert dialog is not None
    wait_for(lambda: len(dialog.choice.rows) == 3 and all(r.terms for r in dialog.choice.rows), "the answers")
    dialog.choice.rows[0].choose.click()


def channels_planned(stage: Stage) -> None:
    node = scenes.new("mainnet")
    node.do_plan_channel(suggested_id(1))
    stage.on(node, "channels")


def overview_planned(stage: Stage) -> None:
    node = scenes.new("mainnet")
    node.do_plan_channel(f"{suggested_id(1)}@198.51.100.1:9735")
    stage.on(node, "overview")
    assert stage.window is not None
    plan = stage.window.findChild(PlanCard)
    assert plan is not None
    wait_for(lambda: plan.address is not None, "the address")


def overview_deposited(stage: Stage) -> None:
    overview_planned(stage)
    assert stage.node is not None
    stage.node.give_coins(400_000)


def overview_opening(stage: Stage) -> None:
    overview_deposited(stage)
    assert stage.node is not None
    stage.node.mine(2)
    stage.node.mine(1)


def map_of_many(stage: Stage) -> None:
    """The map for the README: nobody on it has a hostile name."""
    node = scenes.typical("mainnet")
    grown = fake_map.grown(2_000, 6_000, own=node.status.node_id)
    grown.names = tuple("The old lighthouse" if "<" in name else name for name in grown.names)
    node.network_made = grown
    window = stage.on(node, "network")
    assert window.shell is not None
    page: Any = window.shell.page("network")
    wait_for(lambda: page.network is not None and page.canvas.is_at_rest(), "the map")


def open_too_little(stage: Stage) -> None:
    """A node that wants more than was typed."""
    node = scenes.typical("mainnet")
    node.minimums[suggested_id(8)] = 1_000_000
    window = stage.on(node, "channels")
    assert window.shell is not None
    window.shell.open_channel(f"{suggested_id(8)}@node.example:9735")
    dialog = window.findChild(OpenChannelDialog)
    assert dialog is not None
    wait_for(lambda: dialog.terms is not None, "the terms")
    dialog.amount_field.setText("50 000")


def open_away(stage: Stage) -> None:
    """A node that could not be asked."""
    node = scenes.typical("mainnet")
    node.unreachable.add(suggested_id(8))
    window = stage.on(node, "channels")
    assert window.shell is not None
    window.shell.open_channel(f"{suggested_id(8)}@node.example:9735")
    dialog = window.findChild(OpenChannelDialog)
    assert dialog is not None
    wait_for(dialog.away.isVisible, "the answer")


def channel_away(stage: Stage) -> None:
    node = scenes.trouble()
    window = stage.on(node, "channels")
    assert window.shell is not None
    window.shell.show_channel(next(iter(node.channels)))


def _close_dialog(stage: Stage, *, force: bool, online: bool) -> None:
    node = scenes.typical() if online else scenes.trouble()
    key = next(iter(node.channels))
    node.channels[key] = replace(node.channels[key], inflight_out_msat=21_000_000)
    window = stage.on(node, "channels")
    assert window.shell is not None
    dialog = CloseChannelDialog(window, window.shell.context, node.channels[key], force=force)
    dialog.open()
    wait_for(lambda: dialog.quote is not None and bool(dialog.other_way.text()), "the quotes")
    if force:
        dialog.parts.button.click()


def close_refused(stage: Stage) -> None:
    _close_dialog(stage, force=False, online=False)


def force_costs(stage: Stage) -> None:
    _close_dialog(stage, force=True, online=True)


def channel_fates(stage: Stage) -> None:
    """A forced close with payments that were on their way, and two outputs in one sweep."""
    node = scenes.trouble()
    key = list(node.channels)[1]
    waits: dict[str, Any] = {
        "txid": digest("closing"),
        "can_speed_up": False,
        "state": "locked",
        "until_height": 912_500,
    }
    sweep: dict[str, Any] = {
        "txid": digest("sweep"),
        "can_speed_up": True,
        "state": "sweeping",
        "until_height": None,
    }
    step = ["The closing transaction is confirmed", "done", ""]
    node.outputs = [
        {"amount_sat": 410_000, "text": "On its way into your on-chain coins.", "steps": [step], "goes": "home",
         **sweep},
        {"amount_sat": 30_000, "text": "On its way into your on-chain coins.", "steps": [step], "goes": "home",
         **sweep},
        {"amount_sat": 30_000, "text": "A payment that becomes yours only if its proof arrives in time.",
         "steps": [step, ["The proof of payment, before block 912500", "current", ""]], "goes": "if proven", **waits},
        {"amount_sat": 20_000, "text": "A payment of yours that comes back unless the payee takes it.",
         "steps": [step, ["Its time limit, unless the payee takes it", "current", ""]], "goes": "unless taken",
         **waits},
    ]  # fmt: skip
    node.peer_sat = 540_000
    window = stage.on(node, "channels")
    assert window.shell is not None
    window.shell.show_channel(key)
    detail = _detail(stage)
    wait_for(lambda: detail.resolution.report is not None, "the report")


CHANNEL_SCENES = {
    "dialog-open-too-little": open_too_little,
    "dialog-open-away": open_away,
    "channel-away": channel_away,
    "dialog-close-refused": close_refused,
    "dialog-force-costs": force_costs,
    "channel-fates": channel_fates,
    "network-public": map_of_many,
    "overview-planned": overview_planned,
    "overview-planned-deposited": overview_deposited,
    "overview-planned-opening": overview_opening,
    "dialog-open-without-coins": open_without_coins,
    "channels-planned": channels_planned,
    "dialog-open-suggestions": open_suggestions,
    "dialog-open-chosen": open_chosen,
    "channel-states": channel_states,
    "channel-closing": channel_closing,
    "channels-sorted": channels_sorted,
}
