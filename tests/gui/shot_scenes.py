"""The scenes that `tests.gui.shots` renders."""

from __future__ import annotations

from collections.abc import Callable

from tests.gui import scenes
from tests.gui.shots import Stage


def overview_new(stage: Stage) -> None:
    stage.on(scenes.new("mainnet"))


def overview_practice(stage: Stage) -> None:
    stage.on(scenes.funded())


def overview_typical(stage: Stage) -> None:
    stage.on(scenes.typical("mainnet"))


def overview_trouble(stage: Stage) -> None:
    stage.on(scenes.trouble())


SCENES: dict[str, Callable[[Stage], object]] = {
    "overview-new": overview_new,
    "overview-practice": overview_practice,
    "overview-typical": overview_typical,
    "overview-trouble": overview_trouble,
}
