"""Tooltips: Qt reads whatever looks like markup as rich text, and other people choose some of the words."""

from __future__ import annotations

import html

from wallet.gui import format as fmt

__all__ = ["plain_tip"]


def plain_tip(text: str) -> str:
    """A tooltip that shows a text as it is.

    Qt takes a text for markup by its first "<", or by an "&lt;". Any other stays as it is: screen readers read a
    tooltip too.
    """
    text = fmt.retold(text)
    if "<" not in text and "&" not in text:
        return text
    return f"<qt>{html.escape(text, quote=False)}</qt>"
