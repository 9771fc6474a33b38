"""What the last passes over the streams of one tenant came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from aquila_mde.collect.report import StreamReport

Outcome = Literal["complete", "stopped", "failed"]


@dataclass
class LastPasses:
    """By stream, when its last complete pass began, and with what its last one failed."""

    complete: dict[str, float] = field(default_factory=dict)
    """Seconds since 1970."""
    errors: dict[str, str] = field(default_factory=dict)

    def note(self, report: StreamReport, began: float) -> Outcome:
        """Take in a pass that began at ``began``, and say how it ended."""
        if report.error is not None:
            self.errors[report.stream] = report.error.message
            return "failed"
        self.errors.pop(report.stream, None)
        if not report.complete:
            return "stopped"
        self.complete[report.stream] = began
        return "complete"

    def known(self, earlier: Mapping[str, float]) -> None:
        """Complete passes of an ``earlier`` run, where none is known."""
        self.complete = {**earlier, **self.complete}

    def lag(self, stream: str, now: float) -> float | None:
        """Seconds since which nothing of ``stream`` is known to be collected; ``None``: ever."""
        complete = self.complete.get(stream)
        return None if complete is None else max(0.0, now - complete)
