"""A measured figure, what it has to reach, and how a table of them looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

Better = Literal["higher", "lower"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the table.

    Attributes:
        value, unit: what was measured.
        target, better: what it has to reach, from which side.
        reference, reference_value: whose figure of the same run stands beside it, where there is one.
        is_ratio: the target is for the ratio to the reference, not for the value.
        samples, reference_samples: what value and reference are the medians of.
    """

    name: str
    value: float
    unit: str
    target: float
    better: Better
    reference: str = ""
    reference_value: float | None = None
    is_ratio: bool = False
    samples: tuple[float, ...] = ()
    reference_samples: tuple[float, ...] = ()

    @property
    def ratio(self) -> float | None:
        """Of value to reference: the median of the rounds' own ratios, because the two of a round met the same
        computer, and the rounds did not."""
        if self.reference_value is None:
            return None
        if not self.reference_samples:
            return self.value / self.reference_value
        pairs = zip(self.samples, self.reference_samples, strict=True)
        return median(ours / theirs for ours, theirs in pairs)

    @property
    def ok(self) -> bool:
        measured = self.value
        if self.is_ratio:
            if self.ratio is None:
                raise ValueError(f"{self.name} is judged by a reference that it does not have")
            measured = self.ratio
        return measured >= self.target if self.better == "higher" else measured <= self.target

    @property
    def wanted(self) -> str:
        unit = " of it" if self.is_ratio else f" {self.unit}".rstrip()
        return f"{'at least' if self.better == 'higher' else 'at most'} {self.target:g}{unit}"

    def to_json(self) -> dict[str, object]:
        return {
            "name": self.name,
            "value": self.value,
            "unit": self.unit,
            "target": self.target,
            "better": self.better,
            "reference": self.reference,
            "reference_value": self.reference_value,
            "ratio": self.ratio,
            "target_is_ratio": self.is_ratio,
            "ok": self.ok,
            "samples": list(self.samples),
            "reference_samples": list(self.reference_samples),
        }


def of_samples(
    name: str,
    samples: Sequence[float],
    unit: str,
    target: float,
    better: Better,
    *,
    reference: str = "",
    reference_samples: Sequence[float] = (),
    is_ratio: bool = False,
) -> Figure:
    """The medians, with what they are the medians of."""
    return Figure(
        name=name,
        value=median(samples),
        unit=unit,
        target=target,
        better=better,
        reference=reference,
        reference_value=median(reference_samples) if reference_samples else None,
        is_ratio=is_ratio,
        samples=tuple(samples),
        reference_samples=tuple(reference_samples),
    )


def table(figures: Sequence[Figure]) -> str:
    """Text in columns: name, value, the reference's, ratio, what it has to be, and whether it is."""
    rows = [("", "Leyden", "reference", "ratio", "wanted", "")]
    for figure in figures:
        reference = ""
        if figure.reference_value is not None:
            reference = f"{figure.reference_value:.4g} {figure.unit} ({figure.reference})"
        rows.append(
            (
                figure.name,
                f"{figure.value:.4g} {figure.unit}".rstrip(),
                reference,
                f"{figure.ratio:.{2 if figure.ratio >= 0.1 else 3}f}" if figure.ratio is not None else "",
                figure.wanted,
                "ok" if figure.ok else "MISSED",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
