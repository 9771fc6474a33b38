"""What a run has played on the collector: faults, schedules, kills; a table at the end says so.

A test counts with the fixture ``tally`` what really happened, not what it had planned: a fault
when it hit, a kill when the process died of it.
"""

from __future__ import annotations

from collections import Counter

import pytest

_TALLY = pytest.StashKey["Tally"]()


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

    def table(self) -> list[str]:
        """The lines of the table; none when nothing was counted."""
        if not (self._faults.total() or self._schedules or self._kills):
            return []
        rows = [
            ("faults", self._faults.total()),
            *((f"  {kind}", times) for kind, times in sorted(self._faults.items()) if times),
            ("schedules", self._schedules),
            ("kills", self._kills),
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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if lines := terminalreporter.config.stash[_TALLY].table():
        terminalreporter.write_sep("-", "faults, schedules and kills played")
        for line in lines:
            terminalreporter.write_line(line)
