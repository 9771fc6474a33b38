"""What several runs say: the middle one, and how far the others are from it."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

DIGITS = 4


def spread(runs: Sequence[float]) -> dict[str, Any]:
    """``runs`` in the order in which they were measured, with their middle and their ends."""
    rounded = [rounded_to(value) for value in runs]
    return {
        "min": min(rounded),
        "median": rounded_to(median(rounded)),
        "max": max(rounded),
        "runs": rounded,
    }


def rounded_to(value: float, digits: int = DIGITS) -> float:
    """``value`` with so many digits that count; more would only look exact."""
    return float(f"{value:.{digits}g}")
