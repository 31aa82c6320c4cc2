"""What is packaged agrees with the program: version, links, icons, and what is shipped is what is installed."""

from __future__ import annotations

import configparser
import os
import plistlib
import re
import runpy
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from wallet.gui.pages.about import PACKAGES, parts
from wallet.node.network_map import worker_command

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


def start() -> dict[str, Any]:
    """What stands in the file that the frozen program begins with."""
    return runpy.run_path(str(PACKAGING / "start.py"), run_name="start")


@pytest.mark.parametrize("before", [None, "/opt/lib"], ids=["none", "one"])
def test_other_programs_are_started_with_the_library_path_of_before(
    before: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "/usr/lib/leyden/_internal")
    monkeypatch.delenv("LD_LIBRARY_PATH_ORIG", raising=False)
    if before is not None:
        monkeypatch.setenv("LD_LIBRARY_PATH_ORIG", before)
    start()["forget_own_libraries"]()
    assert os.environ.get("LD_LIBRARY_PATH") == before
    assert "LD_LIBRARY_PATH_ORIG" not in os.environ


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps its certificates itself")
def test_the_system_s_certificates_are_found_unless_others_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    begun = start()
    find = begun["find_certificates"]
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("certificates")
    monkeypatch.setitem(find.__globals__, "CERTIFICATES", (str(tmp_path / "none.pem"), str(bundle)))
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", "/my/own.pem")
    find()
    assert os.environ["SSL_CERT_FILE"] == "/my/own.pem"
    monkeypatch.delenv("SSL_CERT_FILE")
    find()
    assert os.environ["SSL_CERT_FILE"] == str(bundle)


def test_the_map_s_process_is_the_frozen_program_or_its_twin_for_the_console(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "leyden.exe"))
    assert worker_command() == [str(tmp_path / "leyden.exe"), "--make-network-map"]
    (tmp_path / "leyden-cli.exe").touch()
    assert worker_command() == [str(tmp_path / "leyden-cli.exe"), "--make-network-map"]


def test_the_frozen_program_can_tell_the_licences_of_its_parts() -> None:
    """The recipe reads the names of the parts out of the page's source."""
    source = (ROOT / "wallet" / "gui" / "pages" / "about.py").read_text()
    (rule,) = re.findall(r"re\.search\(r\"(.*?)\", about\.read\(\)", (PACKAGING / "leyden.spec").read_text())
    found = re.search(rule, source, re.M | re.S)
    assert found is not None
    assert tuple(re.findall(r'"([^"]+)"', found[1])) == PACKAGES


# What stands in the lock and not in the program: the kernel's compiler with what it needs, cffi's reader of C, which
# no module of ours has run, and the typeface, which is a part under its own name.
NOT_SHIPPED = {"cython", "fontpkg", "fontpkg-inter", "pycparser", "setuptools"}


def test_every_package_that_is_shipped_is_on_the_list_of_licences() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    locked = {name.lower() for name in re.findall(r"^([\w.-]+)==", lock, re.M)}
    assert locked - NOT_SHIPPED == {name.lower() for name in PACKAGES}


@pytest.mark.parametrize(
    ("name", "licence", "words"),
    [
        ("Python", "PSF-2.0", "PYTHON SOFTWARE FOUNDATION LICENSE"),
        ("OpenSSL", "Apache-2.0", "Apache License"),
        ("FFmpeg", "LGPL-2.1-or-later", "GNU LESSER GENERAL PUBLIC LICENSE"),
    ],
    ids=["python", "openssl", "ffmpeg"],
)
def test_what_the_packages_stand_on_has_its_licence_too(name: str, licence: str, words: str) -> None:
    (part,) = [part for part in parts("") if part.name == name]
    assert part.licence == licence
    assert words in part.text


def test_what_came_from_the_system_is_told_with_its_licence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "licences" / "system"
    folder.mkdir(parents=True)
    (folder / "libffi8.txt").write_text("Files: *\nLicense: MIT\n terms\n\nFiles: debian/*\nLicense: GPL-3\n")
    monkeypatch.setattr("wallet.gui.pages.about.asset", lambda *names: tmp_path.joinpath(*names))
    (part,) = [part for part in parts("") if part.name == "libffi8"]
    assert part.licence == "MIT, GPL-3"
    assert "terms" in part.text


def test_every_part_s_licence_can_be_read() -> None:
    assert [part.name for part in parts("") if not part.text] == []
