"""The commands: importing this package fills the registry."""

from wallet.node.commands import channels, general, onchain, payments
from wallet.node.commands.registry import COMMANDS, Command, run

__all__ = ["COMMANDS", "Command", "channels", "general", "onchain", "payments", "run"]
