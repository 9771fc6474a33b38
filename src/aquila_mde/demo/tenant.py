"""The simulated tenant in a process of its own, as far from the collector as Microsoft is."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import IO, Any, cast

import httpx

from aquila_mde.errors import AquilaError, ExitCode

_SETTLING = timedelta(days=1)
_STOP_SECONDS = 10
_ANSWER_SECONDS = 120


class TenantStartError(AquilaError):
    """The simulated tenant ended before it answered."""

    exit_code = ExitCode.ENVIRONMENT


@dataclass(frozen=True)
class TenantSize:
    """How much the tenant holds."""

    machines: int = 2_000
    alerts: int = 5_000
    actions: int = 1_000
    vulnerabilities: int = 100_000


class TenantProcess:
    """One tenant whose clock stands still, so that both sides can be compared.

    The process starts at once; :meth:`wait` returns when it answers. Its clock is set a day back
    and then moved to the present: what the service shows only some time after it happened is
    visible then.
    """

    def __init__(self, size: TenantSize) -> None:
        began = datetime.now(UTC) - _SETTLING
        sizes = (f"--{name}={number}" for name, number in asdict(size).items())
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 - closed in stop()
        self._process = subprocess.Popen(  # noqa: S603 - our own module, run by our own Python
            [
                sys.executable,
                "-m",
                "aquila_mde.simulator",
                *sizes,
                "--activity=0",
                "--standing",
                f"--now={began.isoformat()}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            start_new_session=True,  # Ctrl-C is for us; we end the tenant
        )
        self._output = cast("IO[bytes]", self._process.stdout)
        self._drain = threading.Thread(target=_drain, args=(self._output,), daemon=True)
        self._ca_file = ""
        self.url = ""
        self.settings: dict[str, Any] = {}
        """The tenant's section of a settings file."""

    def wait(self) -> None:
        """Wait until the tenant answers. Raises TenantStartError when it ends before."""
        answer = _introduction(self._output)
        if answer is None:
            raise self._failure()
        # Whatever else it prints must not fill the pipe, or it would stop.
        self._drain.start()
        self.url = answer["url"]
        self.settings = answer["settings"]["tenant"]
        self._ca_file = answer["ca_file"]
        with self._client() as client:
            client.post(
                "/_control/advance", json={"seconds": _SETTLING.total_seconds()}
            ).raise_for_status()

    def versions(self, stream: str) -> list[list[str]]:
        """The key of every version that the tenant holds of ``stream``, by its own account."""
        with self._client() as client:
            answer = client.get("/_control/truth", params={"stream": stream})
        found: list[list[str]] = answer.raise_for_status().json()["versions"]
        return found

    def stop(self) -> None:
        """End the process."""
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_SECONDS)
        self._process.kill()
        self._process.wait()
        if self._drain.ident is None:
            self._output.close()
        else:
            self._drain.join()
        self._complaints.close()

    def _client(self) -> httpx.Client:
        return httpx.Client(
            base_url=self.url,
            verify=ssl.create_default_context(cafile=self._ca_file),
            trust_env=False,
            timeout=_ANSWER_SECONDS,
        )

    def _failure(self) -> TenantStartError:
        self._process.wait()
        self._complaints.seek(0)
        lines = self._complaints.read().decode(errors="replace").strip().splitlines()
        return TenantStartError(
            "The simulated tenant ended before it answered" + (f": {lines[-1]}" if lines else "."),
            hint="'aquila-mde simulate' starts it alone and shows all it says.",
        )


def _introduction(output: IO[bytes]) -> dict[str, Any] | None:
    """The line that says where the tenant is, or None when it ended without one."""
    for line in output:
        with suppress(ValueError):
            answer = json.loads(line)
            if isinstance(answer, dict) and "settings" in answer:
                return answer
    return None


def _drain(output: IO[bytes]) -> None:
    with output:
        for _ in output:
            pass
