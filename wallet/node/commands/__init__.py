"""The commands: importing this package fills the registry."""

from wallet.node.commands import (
    buying,
    channel_facts,
    channels,
    general,
    history,
    keysend,
    links,
    network,
    onchain,
    opening,
    payments,
    psbt,
    recognise,
    recovery,
    settings,
)
from wallet.node.commands.registry import COMMANDS, Command, by_place, find_command, from_words, run

__all__ = [
    "COMMANDS",
    "Command",
    "buying",
    "by_place",
    "channel_facts",
    "channels",
    "find_command",
    "from_words",
    "general",
    "history",
    "keysend",
    "links",
    "network",
    "onchain",
    "opening",
    "payments",
    "psbt",
    "recognise",
    "recovery",
    "run",
    "settings",
]
