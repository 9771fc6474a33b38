"""The state, read beside a collector that is at work."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from aquila_mde.collect.state import State, StateError, StreamStore
from aquila_mde.collect.state_format import statements

_NO_SCOPE = -1


class StateView(State):
    """A state file that is only read: nothing is locked, changed or created.

    Where there is no file it is as if nothing had ever been collected.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self.looked = set()
        try:
            if file.exists():
                self._database = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)
            else:
                self._database = sqlite3.connect(":memory:")
                for statement in statements(0):
                    self._database.execute(statement)
            self._database.execute("SELECT 1 FROM scope").fetchone()
        except sqlite3.Error as error:
            raise StateError(file, str(error)) from None

    @property
    def database(self) -> sqlite3.Connection:
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
