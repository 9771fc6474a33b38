"""What one pass over one stream did."""

from __future__ import annotations

from dataclasses import dataclass

from aquila_mde.errors import AquilaError


@dataclass(slots=True)
class StreamReport:
    """What one pass over one stream did."""

    stream: str
    records: int
    """Records that the tenant gave."""
    created: int
    existing: int
    """Records that were in the index already."""
    dead: int
    """Records that the engine refused and the dead-letter stream has."""
    requests: int
    seconds: float
    complete: bool
    """Whether the pass reached its end; one that was stopped goes on next time."""
    error: AquilaError | None = None
