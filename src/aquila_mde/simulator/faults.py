"""What goes wrong on purpose: a plan of faults, consumed as they hit.

``[Fault("/api/alerts", "status", status=503), Fault("/api/alerts", "reset")]`` reads as it is
played: the first request for alerts is answered with 503, the second breaks off.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

What = Literal["status", "reset", "short", "slow", "truncated", "html", "empty"]


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong.

    ``where`` is the beginning of a path, or ``token`` or ``file`` for the token endpoint and the
    export files. ``when`` says which of the requests that no earlier fault took is the first to be
    hit, counted from 1, or ``always``; ``times`` how many are hit in a row.

    ``status`` answers with ``status``, ``headers`` and ``body`` (Microsoft's own error body when
    none is given); ``reset`` breaks the connection in mid-body; ``short`` closes it before the
    announced length; ``slow`` stops for ``seconds`` in mid-body; ``truncated`` is a whole answer
    with half the body; ``html`` is the page of a proxy; ``empty`` is 200 and no byte.
    """

    where: str
    what: What
    when: int | Literal["always"] = 1
    times: int = 1
    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None
    seconds: float = 1.0

    def __post_init__(self) -> None:
        if not (self.where in ("token", "file") or self.where.startswith("/")):
            raise ValueError(f"where is {self.where!r}: it must be token, file or a path")
        if self.what not in get_args(What):
            raise ValueError(
                f"what is {self.what!r}: it must be one of {', '.join(get_args(What))}"
            )
        numbered = isinstance(self.when, int) and not isinstance(self.when, bool) and self.when > 0
        if not (self.when == "always" or numbered):
            raise ValueError(f"when is {self.when!r}: it must be always or a number from 1")
        if self.times < 1:
            raise ValueError(f"times is {self.times!r}: it must be at least 1")

    def matches(self, path: str, kind: str) -> bool:
        """Whether a request for ``path`` may be hit; ``kind`` is token, file or api."""
        if self.where in ("token", "file"):
            return kind == self.where
        return path.lower().startswith(self.where.lower())

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Fault:
        """A fault as it is written in JSON. Raises :class:`ValueError`."""
        if unknown := sorted(set(values) - set(cls.__dataclass_fields__)):
            raise ValueError(f"a fault has no {', '.join(unknown)}")
        if missing := sorted({"where", "what"} - set(values)):
            raise ValueError(f"a fault needs {' and '.join(missing)}")
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """The fault as it is written in JSON."""
        return {
            name: dict(value) if isinstance(value, Mapping) else value
            for name, value in ((name, getattr(self, name)) for name in self.__dataclass_fields__)
        }


@dataclass(frozen=True)
class FaultPlan:
    """Faults in the order in which they are tried."""

    faults: tuple[Fault, ...] = ()

    @classmethod
    def of(cls, faults: FaultPlan | Iterable[Fault]) -> FaultPlan:
        """A plan of some faults, or the plan itself."""
        return faults if isinstance(faults, FaultPlan) else cls(tuple(faults))

    @classmethod
    def from_json(cls, values: Any) -> FaultPlan:
        """A plan as it is written in JSON: a list of faults. Raises :class:`ValueError`."""
        if not isinstance(values, list) or not all(isinstance(item, dict) for item in values):
            raise ValueError("a plan is a list of faults")
        return cls(tuple(Fault.from_json(item) for item in values))


class FaultPlayer:
    """Decides, request by request, which fault of the plan hits."""

    def __init__(self, plan: FaultPlan) -> None:
        self._lock = threading.Lock()
        self.played: Counter[str] = Counter()
        """How often what has hit, of all plans so far; a status by its number."""
        self.play(plan)

    def play(self, plan: FaultPlan) -> None:
        """Start a plan; what is left of the one before is forgotten."""
        with self._lock:
            self._faults = list(plan.faults)
            self._passed = [0] * len(self._faults)
            self._hits = [0] * len(self._faults)

    def left(self) -> list[Fault]:
        """The faults that can still hit."""
        with self._lock:
            return [
                fault for index, fault in enumerate(self._faults) if not self._used_up(fault, index)
            ]

    def take(self, path: str, kind: str) -> Fault | None:
        """The fault that hits this request, if one does."""
        with self._lock:
            for index, fault in enumerate(self._faults):
                if self._used_up(fault, index) or not fault.matches(path, kind):
                    continue
                if fault.when != "always" and self._passed[index] < fault.when - 1:
                    self._passed[index] += 1
                    continue
                self._hits[index] += 1
                kind = f"{fault.status}" if fault.what == "status" else fault.what
                self.played[kind] += 1
                return fault
        return None

    def _used_up(self, fault: Fault, index: int) -> bool:
        return fault.when != "always" and self._hits[index] >= fault.times
