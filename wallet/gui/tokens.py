"""Every colour, size and weight of the window, light and dark side by side; nothing else holds such a
literal.

Text pairs reach a contrast of 4.5:1 and marks and the borders of controls 3:1; a test computes both. Sizes
are pixels at a text size of 100 %; widgets ask `theme.px`, which scales them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["DARK", "LIGHT", "MARK_PAIRS", "PALETTES", "TEXT_PAIRS", "TYPE", "Palette", "TypeRole", "contrast"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Palette:
    """The colour tokens of one scheme, by name, as #RRGGBB."""

    canvas: str
    sidebar: str
    surface: str
    raised: str
    line: str
    field: str
    text: str
    text2: str
    text3: str
    accent: str
    accent_hover: str
    on_accent: str
    soft_accent: str
    send: str
    receive: str
    brass: str
    success: str
    success_soft: str
    warning: str
    warning_soft: str
    danger: str
    danger_soft: str
    on_danger: str
    play: str
    on_play: str
    network_canvas: str
    map_1: str
    map_2: str
    map_3: str
    map_4: str
    map_5: str


LIGHT: Final = Palette(
    canvas="#F5F7F8",
    sidebar="#E9EEF0",
    surface="#FFFFFF",
    raised="#EDF1F3",
    line="#D6DDE2",
    field="#76838D",
    text="#141A1F",
    text2="#47525C",
    text3="#5A6670",
    accent="#0A666B",
    accent_hover="#084F53",
    on_accent="#FFFFFF",
    soft_accent="#D9EDED",
    send="#0A666B",
    receive="#BCD9DA",
    brass="#A86A00",
    success="#17703A",
    success_soft="#E0F2E6",
    warning="#7D5200",
    warning_soft="#FBF0D9",
    danger="#B0241C",
    danger_soft="#FBE7E5",
    on_danger="#FFFFFF",
    play="#6A3FA5",
    on_play="#FFFFFF",
    network_canvas="#EEF2F4",
    map_1="#688F94",
    map_2="#437C82",
    map_3="#2B6C72",
    map_4="#124F55",
    map_5="#04313A",
)

DARK: Final = Palette(
    canvas="#0F1417",
    sidebar="#12181C",
    surface="#171D21",
    raised="#202930",
    line="#2C373E",
    field="#74828C",
    text="#E9EEF1",
    text2="#B3BEC6",
    text3="#93A0A9",
    accent="#55C5C6",
    accent_hover="#7AD6D6",
    on_accent="#05292A",
    soft_accent="#143B3D",
    send="#55C5C6",
    receive="#2A474A",
    brass="#E3A93F",
    success="#6BD08F",
    success_soft="#13311F",
    warning="#E8B95A",
    warning_soft="#352913",
    danger="#FF8F85",
    danger_soft="#3B1B19",
    on_danger="#2B0705",
    play="#BBA2F2",
    on_play="#1D1033",
    network_canvas="#0B1013",
    map_1="#3C6F73",
    map_2="#4A9092",
    map_3="#5FB3B3",
    map_4="#93D6D4",
    map_5="#DDF6F3",
)

PALETTES: Final = {"light": LIGHT, "dark": DARK}

# A QR code is black on white whatever the scheme: cameras expect it.
QR_DARK: Final = "#000000"
QR_LIGHT: Final = "#FFFFFF"
QR_QUIET_MODULES: Final = 4

# As they stand in the jar's drawing: `icons` puts the scheme's own in their place.
JAR_OUTLINE: Final = "#0A666B"
JAR_BRASS: Final = "#A86A00"


# A node that announces no colour gets a hue from its id, at this saturation and value.
NODE_SATURATION: Final = 120
NODE_VALUE: Final = 190


@dataclass(frozen=True, slots=True)
class TypeRole:
    """Size and line height in pixels, weight on Inter's own axis."""

    size: int
    line: int
    weight: int


TYPE: Final = {
    "display": TypeRole(36, 44, 600),
    "amount": TypeRole(24, 32, 600),
    "title": TypeRole(20, 28, 600),
    "section": TypeRole(16, 24, 600),
    "lead": TypeRole(16, 24, 400),
    "body": TypeRole(14, 20, 400),
    "strong": TypeRole(14, 20, 600),
    "button": TypeRole(14, 20, 500),
    "caption": TypeRole(12, 16, 500),
    "mono": TypeRole(13, 20, 400),
}

# Steps of 4.
S1, S2, S3, S4, S6, S8, S12 = 4, 8, 12, 16, 24, 32, 48

RADIUS_CONTROL: Final = 6
RADIUS_CARD: Final = 10
CONTROL: Final = 36
CONTROL_MAIN: Final = 44
CARD_PADDING: Final = 20
ROW: Final = 44
ROW_TWO_LINES: Final = 60
NAV_WIDE: Final = 208
NAV_NARROW: Final = 64
NARROW_BELOW: Final = 960
STRIP: Final = 28
STATUS_BAR: Final = 28
FORM_WIDTH: Final = 560
SETTINGS_WIDTH: Final = 720
QR_SIDE: Final = 320
TOAST_SECONDS: Final = 5
MOTION_MS: Final = 160

TEXT_PAIRS: Final = (
    *((text, ground) for text in ("text", "text2", "text3") for ground in ("canvas", "surface", "raised")),
    *((text, "sidebar") for text in ("text", "text2")),
    ("text", "soft_accent"),
    ("text2", "soft_accent"),
    *((text, "network_canvas") for text in ("text", "text2")),
    *(("accent", ground) for ground in ("canvas", "surface", "raised", "soft_accent", "sidebar")),
    ("on_accent", "accent"),
    ("on_accent", "accent_hover"),
    *(("success", ground) for ground in ("canvas", "surface", "success_soft")),
    *(("warning", ground) for ground in ("canvas", "surface", "warning_soft")),
    *(("danger", ground) for ground in ("canvas", "surface", "danger_soft")),
    *(("text", ground) for ground in ("success_soft", "warning_soft", "danger_soft")),
    ("on_danger", "danger"),
    ("on_play", "play"),
    # A toast; an outlined button that is pressed; a quiet one beneath the pointer in a banner.
    ("canvas", "text"),
    ("text", "line"),
    ("text3", "soft_accent"),
)
"""(text, ground) that appear in the window: 4.5:1 or more."""

MARK_PAIRS: Final = (
    *(("field", ground) for ground in ("canvas", "surface", "raised")),
    *(("brass", ground) for ground in ("canvas", "surface", "network_canvas")),
    *(("send", ground) for ground in ("canvas", "surface")),
    ("accent", "canvas"),
    ("accent", "network_canvas"),
    ("danger", "network_canvas"),
    *((f"map_{step}", "network_canvas") for step in range(1, 6)),
    ("play", "canvas"),
)
"""(mark, ground): 3:1 or more."""


def _luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    """WCAG 2's contrast ratio of two colours, 1 to 21."""
    high, low = sorted((_luminance(a), _luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)
