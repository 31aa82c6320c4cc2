"""What is packaged agrees with the program: version, links, icons, and what is shipped is what is installed."""

from __future__ import annotations

import configparser
import plistlib
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PACKAGING = ROOT / "packaging"
SCHEMES = {"lightning", "bitcoin"}


def version() -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return str(project["version"])


def test_every_recipe_names_the_version_of_the_program() -> None:
    with (PACKAGING / "macos" / "Info.plist").open("rb") as file:
        assert plistlib.load(file)["CFBundleShortVersionString"] == version()
    installer = (PACKAGING / "windows" / "leyden.iss").read_text()
    assert re.findall(r"^AppVersion=(.*)$", installer, re.M) == [version()]
    # The .deb takes it from pyproject.toml, by this line.
    assert f'version = "{version()}"' in (ROOT / "pyproject.toml").read_text().splitlines()


def test_payment_links_open_the_program_everywhere() -> None:
    desktop = configparser.ConfigParser(interpolation=None)
    desktop.optionxform = str  # type: ignore[assignment, method-assign]  # keys are told apart by case
    desktop.read(PACKAGING / "linux" / "leyden.desktop", encoding="utf-8")
    entry = desktop["Desktop Entry"]
    assert entry["Exec"] == "leyden %u"
    assert set(filter(None, entry["MimeType"].split(";"))) == {f"x-scheme-handler/{s}" for s in SCHEMES}
    with (PACKAGING / "macos" / "Info.plist").open("rb") as file:
        (urls,) = plistlib.load(file)["CFBundleURLTypes"]
    assert set(urls["CFBundleURLSchemes"]) == SCHEMES
    installer = (PACKAGING / "windows" / "leyden.iss").read_text()
    assert set(re.findall(r"Software\\Classes\\(\w+)\"; ValueType: string; ValueData", installer)) == SCHEMES


def test_the_locks_name_no_place_to_load_from() -> None:
    lock = (PACKAGING / "package.lock").read_text()
    assert "pyinstaller==" in lock
    assert not re.search(r"(https?|file)://", lock)
    assert all(
        "--hash=sha256:" in block for block in re.split(r"\n(?=\w)", lock) if "==" in block.split("\n")[0]
    )
