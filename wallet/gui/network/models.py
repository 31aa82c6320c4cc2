"""Lists beside the map: nodes, the channels of a node, the attempts of a payment. They know the map and no view."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PyQt6.QtCore import QAbstractListModel, QModelIndex, Qt

from wallet.gui import format as fmt
from wallet.gui.tips import plain_tip
from wallet.i18n import _, ngettext
from wallet.node.map_api import NetworkMap, RouteAttempt

__all__ = [
    "ASIDE_ROLE",
    "NUMBER_ROLE",
    "AttemptsModel",
    "ChannelsOfNode",
    "NodesModel",
    "capacity_text",
    "name_of",
]

NUMBER_ROLE = Qt.ItemDataRole.UserRole + 1
"""The number on the map, or of the attempt."""
ASIDE_ROLE = Qt.ItemDataRole.UserRole + 2
"""What stands at the right, or below."""


def name_of(network: NetworkMap, node: int) -> str:
    return fmt.node_name(network.names[node], network.node_id(node))


def capacity_text(capacity_sat: int) -> str:
    """Public amounts, which are not hidden with one's own."""
    return _("capacity unknown") if capacity_sat < 0 else fmt.public_sat(capacity_sat)


class _Lines(QAbstractListModel):
    """Rows that are replaced as a whole, without a reset of the view."""

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[int] = []

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008  # Qt's own signature
        return 0 if parent.isValid() else len(self._rows)

    def _replace(self, rows: Sequence[int]) -> None:
        if self._rows:
            self.beginRemoveRows(QModelIndex(), 0, len(self._rows) - 1)
            self._rows = []
            self.endRemoveRows()
        if rows:
            self.beginInsertRows(QModelIndex(), 0, len(rows) - 1)
            self._rows = list(rows)
            self.endInsertRows()

    def number(self, row: int) -> int | None:
        return self._rows[row] if 0 <= row < len(self._rows) else None

    def texts(self, number: int) -> tuple[str, str]:
        """What stands in a row, and what aside."""
        raise NotImplementedError

    def _whole(self, number: int) -> str:
        return ", ".join(text for text in self.texts(number) if text)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        number = self.number(index.row()) if index.isValid() else None
        if number is None:
            return None
        if role == NUMBER_ROLE:
            return number
        if role == Qt.ItemDataRole.DisplayRole:
            return self.texts(number)[0]
        if role == ASIDE_ROLE:
            return self.texts(number)[1]
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return self._whole(number)
        if role == Qt.ItemDataRole.ToolTipRole:
            return plain_tip(self._whole(number))
        return None


class NodesModel(_Lines):
    """Nodes: those that were searched for, else the largest."""

    def __init__(self) -> None:
        super().__init__()
        self._network: NetworkMap | None = None

    def show_nodes(self, network: NetworkMap, nodes: Sequence[int]) -> None:
        self._replace(())
        self._network = network
        self._replace(nodes)

    def texts(self, number: int) -> tuple[str, str]:
        network = self._network
        if network is None:
            return "", ""
        count = network.channel_starts[number + 1] - network.channel_starts[number]
        aside = ngettext("{n} channel", "{n} channels", count).format(n=fmt.group(count))
        return name_of(network, number), aside


class ChannelsOfNode(_Lines):
    """A node's channels, the largest first."""

    def __init__(self) -> None:
        super().__init__()
        self._network: NetworkMap | None = None
        self._node = 0

    def show_node(self, network: NetworkMap, node: int) -> None:
        self._replace(())
        self._network, self._node = network, node
        self._replace(network.channels(node))

    def texts(self, number: int) -> tuple[str, str]:
        network = self._network
        if network is None:
            return "", ""
        other = network.other_end(number, self._node)
        return name_of(network, other), capacity_text(network.capacity_sat[number])


class AttemptsModel(_Lines):
    """The attempts of a payment in their order."""

    def __init__(self) -> None:
        super().__init__()
        self._attempts: tuple[RouteAttempt, ...] = ()
        self._names: tuple[tuple[str, ...], ...] = ()

    def show_attempts(self, attempts: Sequence[RouteAttempt], names: Sequence[tuple[str, ...]]) -> None:
        """`names` are those of each attempt's nodes."""
        self._replace(())
        self._attempts, self._names = tuple(attempts), tuple(names)
        self._replace(range(len(self._attempts)))

    def texts(self, number: int) -> tuple[str, str]:
        attempt, names = self._attempts[number], self._names[number]
        hops = len(names) - 1
        if attempt.arrived:
            said = _("Arrived")
        elif attempt.failed_at is None and not attempt.reason:
            said = _("Under way")
        else:
            said = fmt.plain(attempt.reason, 200) or _("Did not get through")
        way = ngettext("Attempt {number}: {n} hop", "Attempt {number}: {n} hops", hops)
        return way.format(number=number + 1, n=hops), said
