"""What a run has played on the collector: faults, schedules, kills; a table at the end says so.

A test counts with the fixture ``tally`` what really happened, not what it had planned: a fault
when it hit, a kill when the process died of it.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.plugins.processes import tell, told_by

_TALLY = pytest.StashKey["Tally"]()
_SCHEDULES, _KILLS = "schedules", "kills"


class Tally:
    """The counts of one run of pytest."""

    def __init__(self) -> None:
        self._faults: Counter[str] = Counter()
        self._schedules = 0
        self._kills = 0

    def fault(self, kind: str, times: int = 1) -> None:
        """A fault of ``kind`` hit so many times."""
        self._faults[kind] += times

    def schedule(self, times: int = 1) -> None:
        """A schedule of faults was played to its end."""
        self._schedules += times

    def kill(self, times: int = 1) -> None:
        """A process was killed."""
        self._kills += times

    def told(self) -> dict[str, int]:
        """All counts, for :meth:`add` in another process."""
        return {**self._faults, _SCHEDULES: self._schedules, _KILLS: self._kills}

    def add(self, told: dict[str, int]) -> None:
        """Add what another process counted."""
        faults = dict(told)
        self._schedules += faults.pop(_SCHEDULES)
        self._kills += faults.pop(_KILLS)
        self._faults.update(faults)

    def table(self) -> list[str]:
        """The lines of the table; none when nothing was counted."""
        if not (self._faults.total() or self._schedules or self._kills):
            return []
        rows = [
            ("faults", self._faults.total()),
            *((f"  {kind}", times) for kind, times in sorted(self._faults.items()) if times),
            (_SCHEDULES, self._schedules),
            (_KILLS, self._kills),
        ]
        names = max(len(name) for name, _ in rows)
        counts = max(len(str(times)) for _, times in rows)
        return [f"{name:<{names}}  {times:>{counts}}" for name, times in rows]


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_TALLY] = Tally()


@pytest.fixture(scope="session")
def tally(pytestconfig: pytest.Config) -> Tally:
    """Counts what is played on the collector."""
    return pytestconfig.stash[_TALLY]


def pytest_sessionfinish(session: pytest.Session) -> None:
    tell(session.config, "tally", session.config.stash[_TALLY].told())


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """One of the processes that share the tests has ended."""
    if (told := told_by(node, "tally")) is not None:
        node.config.stash[_TALLY].add(told)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if lines := terminalreporter.config.stash[_TALLY].table():
        terminalreporter.write_sep("-", "faults, schedules and kills played")
        for line in lines:
            terminalreporter.write_line(line)
