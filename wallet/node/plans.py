"""A channel that is to be opened once a deposit has confirmed: the person chose the peer first, and may close Leyden.

The plan is a setting of the wallet. It is tried when the chain has moved; a peer that refuses ends it with a
sentence, one that is away is tried again at the next block. No crash, and no older copy of the file, opens it a second
time: it is put away, durably, before the peer hears of a channel, and a restored file forgets it (`generation.py`).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wallet.chain.interfaces import LogLevel
from wallet.i18n import _
from wallet.node.api import CommandError
from wallet.node.sentences import sat_text

if TYPE_CHECKING:
    from wallet.node.node import Node

__all__ = ["PLAN_SETTING", "PROBLEM_SETTING", "Plan", "PlannedOpening"]

PLAN_SETTING = "planned_channel"
PROBLEM_SETTING = "planned_channel_problem"
ALL = 0
"""Instead of an amount: all that has been deposited by then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """With whom, and how much; `ALL` puts in every coin. `minimum_sat` is what the peer takes at least."""

    peer: str
    amount_sat: int
    minimum_sat: int

    def text(self) -> str:
        return f"{self.peer} {self.amount_sat} {self.minimum_sat}"

    @classmethod
    def read(cls, text: str) -> Plan | None:
        parts = text.split()
        if len(parts) != 3 or not (parts[1].isdigit() and parts[2].isdigit()):
            return None
        return cls(peer=parts[0], amount_sat=int(parts[1]), minimum_sat=int(parts[2]))


class PlannedOpening:
    """At most one plan. `chain_moved` is called on the network loop.

    Attributes:
        is_opening: the plan is put away and its channel is being opened: it can be neither changed nor forgotten.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self.is_opening = False
        self._task: asyncio.Task[None] | None = None

    @property
    def plan(self) -> Plan | None:
        return Plan.read(self._node.ledger.settings.get(PLAN_SETTING, ""))

    @property
    def problem(self) -> str:
        """Why the last plan came to nothing; empty where it did not."""
        return self._node.ledger.settings.get(PROBLEM_SETTING, "")

    def sentence(self) -> str:
        """What is waited for, for a person."""
        plan = self.plan
        if self.is_opening:
            return _("The planned channel is being opened.")
        if plan is None:
            return self.problem
        name = self._node.alias_of(bytes.fromhex(plan.peer[:66]))
        if plan.amount_sat == ALL:
            return _("A channel with {name} opens by itself once your deposit has confirmed.").format(
                name=name
            )
        return _("A channel of {amount} with {name} opens by itself once your deposit has confirmed.").format(
            amount=sat_text(plan.amount_sat), name=name
        )

    def keep(self, plan: Plan | None, problem: str = "") -> None:
        """Within an entry."""
        self._node.ledger.put_setting(PLAN_SETTING, "" if plan is None else plan.text())
        if problem != self.problem:
            self._node.ledger.put_setting(PROBLEM_SETTING, problem)

    def chain_moved(self) -> None:
        if self.plan is not None and (self._task is None or self._task.done()):
            self._task = self._node.loop.create_task(self._try())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _try(self) -> None:
        from wallet.node.commands import run

        node, plan = self._node, self.plan
        if plan is None:
            return
        with node.core.locked():
            confirmed_sat = node.onchain.balance().confirmed_sat
        if confirmed_sat < max(plan.amount_sat, plan.minimum_sat):
            return
        try:
            await run(node, "add_peer", {"connection_string": plan.peer})
        except CommandError as error:
            node.log(LogLevel.INFO, "the peer of the planned channel is away: %s", error.message)
            return
        if self.plan != plan:
            # The person thought better of it meanwhile.
            return
        self.is_opening = True
        try:
            await self._open(plan)
        finally:
            self.is_opening = False
            node.views.publish_soon()

    async def _open(self, plan: Plan) -> None:
        from wallet.node.commands import run

        node = self._node
        amount: dict[str, str | int] = (
            {"amount": "all"} if plan.amount_sat == ALL else {"amount_sat": plan.amount_sat}
        )
        # Put away first: whatever it dies of, no second channel is opened after the next start.
        with node.core.entry():
            self.keep(
                None,
                _(
                    "Leyden ended while the planned channel was being opened. Look under Channels before you plan "
                    "another."
                ),
            )
            durable = node.durable()
        await durable
        waits = ("funds", "peer", "amount") if plan.amount_sat == ALL else ("funds", "peer")
        try:
            opened = await run(node, "open_channel", {"peer": plan.peer, **amount})
        except CommandError as error:
            # The deposit does not reach yet, or the peer is away: the next block may bring the one or the other.
            again = error.code in waits
            sentence = _("The planned channel was not opened. {why}").format(why=error.message)
            with node.core.entry():
                self.keep(plan if again else None, "" if again else sentence)
            node.log(LogLevel.INFO, "the planned channel was not opened: %s", error.message)
        else:
            with node.core.entry():
                self.keep(None)
            node.log(LogLevel.INFO, "the planned channel is being opened: %s", opened)
