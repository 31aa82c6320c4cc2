"""Runs ElectrumX for regtest through its own hooks; runs in the server's environment, not in ours.

Env takes a coin class, and the transport and the session are classes with settings: nothing is patched on
disk. What it is for:

* ElectrumX 2 asks for a daemon of version 31.0 with the index txospenderindex, which serve only protocol
  1.7's blockchain.outpoint.* calls. With an older daemon the rest works; what that index would say is found
  by reading blocks, which regtest's size allows.
* ElectrumX holds back what it sends for up to a second once a session has had its first KiB (uniform
  packets, against traffic analysis). Most tests need not wait.
* Offering a lower highest protocol, to see how a client gets along.

Environment, besides ElectrumX's own:
  REGTEST_PROTOCOL_MAX   highest protocol version to offer, such as 1.4.2
  REGTEST_DAEMON_MIN     lowest daemon version to accept, such as 28.0
  REGTEST_INDEXES        the daemon's indexes to ask for, such as txindex
  REGTEST_SEND_WAIT      seconds to hold back small messages (1.0 as published)
  REGTEST_FIND_SPENDERS  1: answer for the missing txospenderindex
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from typing import Any

import electrumx
from electrumx import Controller, Env
from electrumx.lib.coins import BitcoinRegtest
from electrumx.lib.util import CompactFormatter, make_logger, protocol_tuple
from electrumx.server.transport import PaddedRSTransport


class Session(BitcoinRegtest.SESSIONCLS):
    """A session that offers no higher protocol than it is told."""

    if os.environ.get("REGTEST_PROTOCOL_MAX"):
        PROTOCOL_MAX = protocol_tuple(os.environ["REGTEST_PROTOCOL_MAX"])


class ScanningDaemon(BitcoinRegtest.DAEMON):
    """Answers `gettxspendingprevout` for confirmed spends the slow way."""

    async def gettxspendingprevout(self, prev_txid: str, vout: int) -> dict[str, Any]:
        outpoint: dict[str, Any] = {"txid": prev_txid, "vout": vout}
        item: dict[str, Any] = (await self._send_single("gettxspendingprevout", ([outpoint],)))[0]
        if "spendingtxid" in item:
            return item  # spent in the mempool
        if await self._send_single("gettxout", (prev_txid, vout, False)) is not None:
            return item  # unspent
        funder = await self.getrawtransaction(prev_txid, True)
        block_hash = funder.get("blockhash")
        while block_hash:
            block = await self._send_single("getblock", (block_hash, 2))
            for tx in block["tx"]:
                for tx_in in tx["vin"]:
                    if tx_in.get("txid") == prev_txid and tx_in.get("vout") == vout:
                        return {**outpoint, "spendingtxid": tx["txid"], "blockhash": block_hash}
            block_hash = block.get("nextblockhash")
        return item


class LocalRegtest(BitcoinRegtest):
    """The coin class with our session, our daemon and this node's limits."""

    SESSIONCLS = Session
    if os.environ.get("REGTEST_FIND_SPENDERS"):
        DAEMON = ScanningDaemon
    if os.environ.get("REGTEST_DAEMON_MIN"):
        MIN_REQUIRED_DAEMON_VERSION = os.environ["REGTEST_DAEMON_MIN"]
    if os.environ.get("REGTEST_INDEXES"):
        REQUIRED_DAEMON_INDEXES = tuple(os.environ["REGTEST_INDEXES"].split(","))


def main() -> None:
    if os.environ.get("REGTEST_SEND_WAIT"):
        PaddedRSTransport.WAIT_FOR_BUFFER_GROWTH_SECONDS = float(os.environ["REGTEST_SEND_WAIT"])
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(CompactFormatter("%(asctime)s %(levelname)s:%(name)s:%(message)s"))
    logger = make_logger("electrumx", handler=handler, level="INFO")
    logger.info("%s on Python %s", electrumx.version, sys.version.split()[0])
    env = Env(LocalRegtest)
    logger.setLevel(env.log_level)
    asyncio.run(Controller(env).run())
    logger.info("ended normally")


if __name__ == "__main__":
    main()
