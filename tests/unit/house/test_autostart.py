"""The entry that starts Leyden at login names what will be there at the next login."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from wallet.gui import autostart


@pytest.fixture
def entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "autostart" / "leyden.desktop"
    monkeypatch.setattr(autostart, "entry_file", lambda: file)
    monkeypatch.delenv("APPIMAGE", raising=False)
    return file


def lines(entry: Path, network: str = "mainnet") -> list[str]:
    autostart.set_on(True, network)
    return entry.read_text(encoding="utf-8").splitlines()


def test_an_installed_program_is_started_by_its_own_path(
    entry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "executable", "/usr/lib/leyden/leyden")
    written = lines(entry, "sandbox")
    assert 'Exec="/usr/lib/leyden/leyden" "--sandbox"' in written
    assert "TryExec=/usr/lib/leyden/leyden" in written


def test_an_app_image_is_started_and_not_the_folder_that_it_is_mounted_in(
    entry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "executable", "/run/mount_Leyden/usr/lib/leyden/leyden")
    monkeypatch.setenv("APPDIR", "/run/mount_Leyden")
    monkeypatch.setenv("APPIMAGE", "/home/anna/My $programs/Leyden.AppImage")
    written = lines(entry)
    assert r'Exec="/home/anna/My \\$programs/Leyden.AppImage"' in written
    assert "TryExec=/home/anna/My $programs/Leyden.AppImage" in written


@pytest.mark.parametrize("frozen", [True, False], ids=["installed", "source"])
def test_another_app_image_s_name_means_nothing(
    entry: Path, monkeypatch: pytest.MonkeyPatch, frozen: bool
) -> None:
    """A terminal that is an AppImage itself hands its names on."""
    monkeypatch.setattr(sys, "frozen", frozen, raising=False)
    monkeypatch.setenv("APPIMAGE", "/opt/Terminal.AppImage")
    monkeypatch.setenv("APPDIR", "/run/mount_Terminal")
    assert not any("Terminal" in line for line in lines(entry))


def test_the_entry_goes(entry: Path) -> None:
    lines(entry)
    autostart.set_on(False, "mainnet")
    autostart.set_on(False, "mainnet")
    assert not entry.exists()
