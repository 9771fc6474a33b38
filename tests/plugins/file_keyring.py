"""A keyring for tests: a JSON file, named by TEST_KEYRING_FILE."""

from __future__ import annotations

import json
import os
from pathlib import Path

from keyring.backend import KeyringBackend


class FileKeyring(KeyringBackend):
    priority = 1  # type: ignore[assignment]

    def _read(self) -> dict[str, str]:
        file = Path(os.environ["TEST_KEYRING_FILE"])
        return json.loads(file.read_text()) if file.exists() else {}  # type: ignore[no-any-return]

    def _write(self, values: dict[str, str]) -> None:
        file = Path(os.environ["TEST_KEYRING_FILE"])
        file.with_suffix(".part").write_text(json.dumps(values))
        file.with_suffix(".part").replace(file)

    def get_password(self, service: str, username: str) -> str | None:
        return self._read().get(f"{service} {username}")

    def set_password(self, service: str, username: str, password: str) -> None:
        self._write(self._read() | {f"{service} {username}": password})

    def delete_password(self, service: str, username: str) -> None:
        values = self._read()
        del values[f"{service} {username}"]
        self._write(values)
