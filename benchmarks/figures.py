"""A measured figure, what it has to reach, and how a table of them looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the table.

    Attributes:
        value, unit: what was measured.
        peer: the peer's own figure of the same run, where there is one.
        ratio: of value to the peer's, more being better: the median of the rounds' own ratios, because the two of a
            round met the same computer, and the rounds did not.
        limit: what the ratio has to reach or, without a peer, what the value may be at most.
        samples, peer_samples: what value and peer are the medians of.
    """

    name: str
    value: float
    unit: str
    limit: float
    peer: float | None = None
    samples: tuple[float, ...] = ()
    peer_samples: tuple[float, ...] = ()

    @property
    def ratio(self) -> float | None:
        pairs = zip(self.samples, self.peer_samples, strict=True)
        return None if self.peer is None else median(ours / theirs for ours, theirs in pairs)

    @property
    def ok(self) -> bool:
        return self.value <= self.limit if self.ratio is None else self.ratio >= self.limit

    def to_json(self) -> dict[str, object]:
        return {**asdict(self), "ratio": self.ratio, "ok": self.ok}


def of_samples(
    name: str, samples: Sequence[float], unit: str, limit: float, peer_samples: Sequence[float] = ()
) -> Figure:
    """The medians, with what they are the medians of."""
    return Figure(
        name=name,
        value=median(samples),
        unit=unit,
        limit=limit,
        peer=median(peer_samples) if peer_samples else None,
        samples=tuple(samples),
        peer_samples=tuple(peer_samples),
    )


def table(figures: Sequence[Figure]) -> str:
    """Text in columns: name, value, the peer's, ratio, what it has to be, and whether it is."""
    rows = [("", "Leyden", "peer", "ratio", "wanted", "")]
    for figure in figures:
        relative = figure.ratio is not None
        rows.append(
            (
                figure.name,
                f"{figure.value:.4g} {figure.unit}",
                f"{figure.peer:.4g} {figure.unit}" if figure.peer is not None else "",
                f"{figure.ratio:.2f}" if figure.ratio is not None else "",
                f"at least {figure.limit:g}" if relative else f"at most {figure.limit:g} {figure.unit}",
                "ok" if figure.ok else "MISSED",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
