"""Every page and dialog in every look, an index of them, and what has no room: `make screenshots`.

    python -m tests.gui.screenshots DIR [NAME] [--readme]

Each look is a process of its own, as Qt takes its scale factor at its start. NAME picks the scenes whose name contains
it; `--readme` also renews the pictures that the README shows. Besides, the tour walks through the sandbox on a real
node, and each of its pictures is looked at in the same way (`tests.gui.walk`). Ends with 1 where a text is clipped or
lies on another.
"""

from __future__ import annotations

import argparse
import html
import os
import shutil
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PyQt6.QtCore import Qt
from PyQt6.QtGui import QImage

from wallet.gui.tokens import PALETTES

__all__ = ["LOOKS", "main"]

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs" / "pictures"
README_SCENES = {
    "overview-typical": "overview",
    "send-success": "paid",
    "receive-code": "receive",
    "channels-cards": "channels",
    "channel-closing": "closing",
    "network-public": "network",
}
SANDBOX = "sandbox"
LARGEST_BYTES = 150_000
"""What a picture in the README may weigh."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    name: str
    words: str
    language: str = "en"
    schemes: str = "light,dark"
    text_percent: int = 100
    scale: int = 1


LOOKS = (
    Look(name="english", words="English"),
    Look(name="large", words="English, scale 2, text 150 %", text_percent=150, scale=2),
    Look(name="german", words="German", language="de"),
    Look(name="german-large", words="German, text 150 %", language="de", schemes="light", text_percent=150),
    Look(name="spanish", words="Spanish", language="es", schemes="light"),
)


def _render(look: Look, folder: Path, wanted: str) -> list[str]:
    """What was found in this look; the pictures are in a folder of its name."""
    into = folder / look.name
    into.mkdir(parents=True, exist_ok=True)
    for old in into.glob("*.png"):
        if wanted in old.name:
            old.unlink()
    env = os.environ | {
        "QT_QPA_PLATFORM": "offscreen",
        "QT_SCALE_FACTOR": str(look.scale),
        "SHOTS": look.schemes,
        "SHOTS_LANGUAGE": look.language,
        "SHOTS_TEXT": str(look.text_percent),
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.gui.shots", str(into), wanted],
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    found = [line.strip() for line in done.stdout.splitlines() if line.startswith("  ")]
    if done.returncode and not found:
        found = [f"the run ended with {done.returncode}"]
    print(f"{look.words}: {len(list(into.glob('*.png')))} pictures, {len(found)} findings", flush=True)
    return [f"{look.name}: {sentence}" for sentence in found]


def _walk(folder: Path, wanted: str) -> list[str]:
    """The real window on a real node in the sandbox, from its first start to a closed channel, as the tour sees it."""
    if wanted:
        return []
    into = folder / SANDBOX
    shutil.rmtree(into, ignore_errors=True)
    done = subprocess.run(
        [sys.executable, "-m", "tests.gui.walk", str(into)],
        cwd=ROOT,
        env=os.environ | {"QT_QPA_PLATFORM": "offscreen"},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    found = [line.strip() for line in done.stdout.splitlines() if line.startswith("  ")]
    if done.returncode:
        found.append(f"the walk ended with {done.returncode}")
    print(f"Sandbox: {len(list(into.glob('*.png')))} pictures, {len(found)} findings", flush=True)
    return [f"{SANDBOX}: {sentence}" for sentence in found]


def _index(folder: Path, found: list[str]) -> str:
    tokens = PALETTES["light"]
    scenes: dict[str, list[Path]] = {}
    for look in LOOKS:
        for path in sorted((folder / look.name).glob("*.png")):
            scenes.setdefault(path.stem.rsplit("-", 2)[0], []).append(path.relative_to(folder))
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Leyden, page by page</title><style>",
        f"body{{font:14px/20px Inter,sans-serif;margin:24px;background:{tokens.canvas};color:{tokens.text}}}",
        f"figure{{display:inline-block;margin:0 12px 12px 0}}figcaption{{color:{tokens.text2}}}",
        f"img{{height:240px;border:1px solid {tokens.line}}}nav a{{margin-right:12px}}a{{color:{tokens.accent}}}",
        "</style><h1>Leyden, page by page</h1>",
        f"<p>{len(found) or 'No'} findings of clipped or overlapping text.</p>",
        "<ul>" + "".join(f"<li>{html.escape(sentence)}</li>" for sentence in found) + "</ul>"
        if found
        else "",
        "<nav>" + "".join(f"<a href='#{name}'>{name}</a>" for name in scenes) + "</nav>",
    ]
    walked = sorted((folder / SANDBOX).glob("*.png"))
    if walked:
        parts.append("<h2 id='sandbox'>The sandbox, step by step</h2>")
    for path in (path.relative_to(folder) for path in walked):
        parts.append(
            f"<figure><a href='{path}'><img loading='lazy' src='{path}' alt='{path.stem}'></a>"
            f"<figcaption>{path.stem}</figcaption></figure>"
        )
    for name, paths in scenes.items():
        parts.append(f"<h2 id='{name}'>{name}</h2>")
        for path in paths:
            size, scheme = path.stem.rsplit("-", 2)[1:]
            parts.append(
                f"<figure><a href='{path}'><img loading='lazy' src='{path}' alt='{path.stem}'></a>"
                f"<figcaption>{path.parent}, {size}, {scheme}</figcaption></figure>"
            )
    return "\n".join(parts)


def _renew_readme(folder: Path) -> None:
    """The pictures that the README shows."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    for scene, name in README_SCENES.items():
        taken, shown = folder / "english" / f"{scene}-1160-light.png", PICTURES / f"{name}.png"
        if taken.stat().st_size < LARGEST_BYTES:
            shutil.copyfile(taken, shown)
            continue
        # A map has more detail than a picture of it needs.
        picture = QImage(str(taken)).scaledToWidth(880, Qt.TransformationMode.SmoothTransformation)
        picture = picture.convertToFormat(QImage.Format.Format_RGB32)
        bits = picture.constBits()
        assert bits is not None
        pixels = memoryview(bits.asstring(picture.sizeInBytes())).cast("I")
        table = [
            colour for colour, _count in Counter(colour & 0xFFF8F8F8 for colour in pixels).most_common(240)
        ]
        table += [
            0xFF000000 | int(token[1:], 16) for token in (PALETTES["light"].canvas, PALETTES["light"].surface)
        ]
        flags = Qt.ImageConversionFlag.ThresholdDither
        picture.convertToFormat(QImage.Format.Format_Indexed8, table, flags).save(str(shown))


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="make screenshots")
    parser.add_argument("folder", type=Path)
    parser.add_argument("name", nargs="?", default="")
    parser.add_argument("--readme", action="store_true", help="also renew the pictures in docs/pictures")
    chosen = parser.parse_args(arguments)
    folder: Path = chosen.folder.resolve()
    workers = int(os.environ.get("WORKERS", "2"))
    with ThreadPoolExecutor(workers) as pool:
        found = [
            line for lines in pool.map(lambda k: _render(k, folder, chosen.name), LOOKS) for line in lines
        ]
    found += _walk(folder, chosen.name)
    (folder / "index.html").write_text(_index(folder, found), encoding="utf-8")
    if chosen.readme:
        _renew_readme(folder)
    for sentence in found:
        print(sentence)
    print(f"{folder / 'index.html'} shows all of them.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
