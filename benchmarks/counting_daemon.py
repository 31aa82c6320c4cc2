"""The program `leyden`, with two commands more: how many commits its store has made, how often its graph changed."""

from __future__ import annotations

import sys

from wallet.app import main
from wallet.node.api import Json
from wallet.node.commands.registry import command
from wallet.node.node import Node


@command
async def bench_commits(node: Node) -> Json:
    """How many durable commits this process has made."""
    return node.store.commits


@command
async def bench_graph_version(node: Node) -> Json:
    """A number that rises with each change of the graph."""
    return node.graph.version


if __name__ == "__main__":
    sys.exit(main())
