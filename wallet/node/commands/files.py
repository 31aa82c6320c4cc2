"""Files and folders that a person names to a command."""

from __future__ import annotations

from pathlib import Path

from wallet.i18n import _
from wallet.node.api import CommandError

__all__ = ["cannot_be_used", "whole_path"]


def whole_path(text: str) -> Path:
    """A path from the root, or from a home folder (~); raises `CommandError` for anything else, because nobody knows
    which folder a daemon stands in."""
    try:
        path = Path(text).expanduser()
    except RuntimeError:
        # There is nobody of that name.
        path = Path(text)
    if not path.is_absolute() or "\0" in text:
        raise CommandError(
            _("Give the whole path, from the root: {path} is not one.").format(path=ascii(text)[1:-1]),
            code="usage",
        )
    return path


def cannot_be_used(path: Path, error: OSError) -> CommandError:
    """What the system says of it."""
    return CommandError(
        _("{path} cannot be used: {why}.").format(path=path, why=error.strerror or error), code="file"
    )
