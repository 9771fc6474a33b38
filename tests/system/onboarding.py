"""``aquila-mde onboard`` as a process of its own, against a simulated directory."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from aquila_mde.defender.auth import Credential, TokenSource
from aquila_mde.defender.clouds import resolve_cloud
from aquila_mde.settings import TenantSettings
from aquila_mde.simulator.server import SimulatorServer

PROGRAM = Path(sys.executable).with_name("aquila-mde")
ROOT = Path(__file__).parents[2]
NEEDED = ("Alert.Read.All", "Machine.Read.All", "Vulnerability.Read.All")


class Run:
    """A process whose output is read line by line."""

    def __init__(self, desk: Desk, arguments: Iterable[str], environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [PROGRAM, "onboard", "--config", desk.config, "--log-level", "debug", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        )
        self.output = ""

    def until(self, text: str) -> str:
        """The line with ``text`` in it, as soon as it is there."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.output += line
            if text in line:
                return line
        raise AssertionError(f"{text!r} is not in:\n{self.output}")

    def code(self) -> str:
        """The device code that is to be typed."""
        return re.findall(r"with the code (\w+)", self.until("with the code"))[0]

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def end(self) -> Run:
        """Read to the end."""
        assert self._process.stdout is not None
        self.output += self._process.stdout.read()
        self._process.wait()
        return self

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    @property
    def exit_code(self) -> int:
        return self._process.returncode


@dataclass
class Desk:
    """Somebody who onboards a tenant: a folder with a settings file, and an environment."""

    server: SimulatorServer
    folder: Path
    config: Path
    variables: dict[str, str] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    shown: set[str] = field(default_factory=set)
    """Secrets that were meant to be shown."""

    @classmethod
    def of(cls, server: SimulatorServer, folder: Path, **sections: Any) -> Desk:
        config = folder / "aquila.yml"
        config.write_text("# by hand\n" + yaml.safe_dump(server.settings() | sections))
        config.chmod(0o640)
        keyring = {
            "PYTHON_KEYRING_BACKEND": "tests.plugins.file_keyring.FileKeyring",
            "TEST_KEYRING_FILE": str(folder / "keyring.json"),
            "PYTHONPATH": str(ROOT),
        }
        return cls(server, folder, config, keyring)

    def start(self, *arguments: str) -> Run:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("AQUILA_", "ES_"))}
        self.runs.append(Run(self, arguments, clean | self.variables))
        return self.runs[-1]

    def onboard(self, *arguments: str, operator: str | None = "admin") -> Run:
        """A whole run; ``operator`` types the code."""
        run = self.start(*arguments)
        if operator is not None:
            self.server.control.approve_sign_in(run.code(), operator)
        return run.end()

    def tenant(self) -> dict[str, Any]:
        values: dict[str, Any] = yaml.safe_load(self.config.read_text())["tenant"]
        return values

    def credential(self) -> Credential:
        return Credential.from_settings(TenantSettings(**self.tenant()))

    def tokens(self, credential: Credential | None = None) -> TokenSource:
        tenant = self.tenant()
        url = self.server.url
        cloud = resolve_cloud("commercial", sign_in=url, resource=tenant["resource"])
        return TokenSource(credential or self.credential(), cloud, ca_file=self.server.ca_file)

    def application(self) -> dict[str, Any]:
        """The only application that there is."""
        (found,) = self.server.control.directory()["applications"]
        return dict(found)

    def close(self) -> None:
        """End what a failed test has left running."""
        for run in self.runs:
            run.close()

    def no_secret_was_told(self) -> None:
        """No run has shown a secret, a key or a token, and none is where it does not belong."""
        sign_in = self.server.control._sign_in
        secrets = set(sign_in._tokens) | set(self.server.control._directory.ever)
        pems = [*self.folder.glob("*.pem*")]
        secrets |= {line for pem in pems for line in pem.read_text().splitlines()[1:3]}
        for secret in secrets - self.shown:
            for run in self.runs:
                assert secret not in run.output
            assert secret not in self.config.read_text()
        for file in (*pems, *self.folder.glob("*.secret*")):
            assert file.stat().st_mode & 0o777 == 0o600
        assert self.config.stat().st_mode & 0o777 == 0o640
        assert self.config.read_text().startswith("# by hand\n")
