"""The state, read beside a collector that is at work."""

from __future__ import annotations

from pathlib import Path

from aquila_mde.collect.state import State, StreamStore
from aquila_mde.collect.state_database import StateDatabase, is_there, open_database
from aquila_mde.collect.state_format import statements

_NO_SCOPE = -1


class StateView(State):
    """A state file that is only read: nothing is locked, changed or created.

    Where there is no file it is as if nothing had ever been collected.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self.looked = set()
        if is_there(file):
            self._database = open_database(file, read_only=True)
        else:
            self._database = open_database(Path(":memory:"))
            for statement in statements(0):
                self._database.execute(statement)
        self._database.execute("SELECT 1 FROM scope").fetchone()

    @property
    def database(self) -> StateDatabase:
        """The file, for questions about several streams at once."""
        return self._database

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def stream(self, tenant_id: str, stream: str) -> StreamStore:
        """What is remembered of one stream of one tenant."""
        row = self._database.execute(
            "SELECT id FROM scope WHERE tenant = ? AND stream = ?", (tenant_id, stream)
        ).fetchone()
        return StreamStore(self, int(row[0]) if row else _NO_SCOPE)
