"""An engine on this machine: started, watched, stopped; never left behind.

```python
with EmbeddedEngine() as engine:
    print(engine.url)
```

The engine's life hangs on a guard process (see guard.py): when this process ends, however that
happens, the engine is stopped and its temporary folder is removed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Self, cast

import httpx
import structlog

from aquila_mde.engine import guard
from aquila_mde.engine.command import heap_options, java_command, write_configuration
from aquila_mde.engine.distribution import Distribution, prepare
from aquila_mde.engine.errors import EngineStartError
from aquila_mde.engine.machine import (
    DISK_FOR_DATA,
    LOOPBACK,
    check_disk,
    check_memory,
    check_port,
    check_reachable,
    heap_bytes,
)

_log = structlog.get_logger()
_TELLING = re.compile(
    r"\]\[(ERROR|FATAL)|^(uncaught exception|Caused by|Likely root cause|Error|#)|"
    r"^[\w.$]+(Exception|Error)\b"
)


class EmbeddedEngine:
    """One engine process.

    ``data``: the folder that keeps indices, configuration and log. Without one, a temporary folder
    is used and removed at the end unless ``keep``; a folder that was given is never removed.
    ``parent``: where the folder of an engine without ``data`` is made, else the temporary folder.
    ``port``: 0 takes any that is free; a restart keeps it. ``heap``: in Java's notation.
    ``start_seconds`` bounds the start, ``stop_seconds`` the time to end before it is killed.
    """

    def __init__(
        self,
        *,
        data: Path | None = None,
        parent: Path | None = None,
        port: int = 0,
        heap: str = "1g",
        keep: bool = False,
        start_seconds: float = 180,
        stop_seconds: float = 20,
    ) -> None:
        self.port = port
        self.heap = heap
        self._given = data.absolute() if data else None
        self._parent = parent
        self._folder: Path | None = None
        self._keep = keep
        self._start_seconds = start_seconds
        self._stop_seconds = stop_seconds
        self._guard: subprocess.Popen[bytes] | None = None
        self._pid: int | None = None
        heap_bytes(heap)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Where the engine answers, without a slash at the end."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def pid(self) -> int | None:
        """The process id of the engine itself (not of its guard), None when it does not run."""
        return self._pid if self.alive else None

    @property
    def alive(self) -> bool:
        """Whether the engine's process runs."""
        return self._guard is not None and self._guard.poll() is None

    @property
    def folder(self) -> Path | None:
        """The folder with ``data``, ``logs`` and ``config``; None before the first start."""
        return self._folder

    @property
    def log(self) -> Path | None:
        """The engine's log; None before the first start."""
        return self._folder / "logs" / "engine.log" if self._folder else None

    def start(self) -> None:
        """Start the engine and return when it takes documents. Raises EngineStartError."""
        if self.alive:
            return
        check_memory(self.heap)
        if self.port:
            check_port(self.port)
        distribution = prepare()
        folder = self._make_folders(distribution.account)
        try:
            self._spawn(distribution, folder)
            self._wait(folder)
        except BaseException:
            self._end(stop_seconds=0)
            if self._given is None and not self._keep:  # the log is what the message points to
                shutil.rmtree(folder / "data", ignore_errors=True)
                self._folder = None
            raise
        _log.info("the engine is ready", url=self.url, pid=self._pid, log=str(self.log))

    def stop(self) -> None:
        """End the engine: asked first, killed when it takes too long. May be called twice."""
        self._end(self._stop_seconds)
        if self._folder and self._given is None and not self._keep:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def restart(self) -> None:
        """Stop and start again with the same data and on the same port."""
        self._end(self._stop_seconds)
        self.start()

    def kill(self) -> None:
        """End the engine at once, as a power cut would; start() brings it back with its data."""
        if self._pid is not None and self.alive:
            os.kill(self._pid, signal.SIGKILL)
        self._end(self._stop_seconds)

    def _make_folders(self, account: int | None) -> Path:
        folder = self._folder or self._given
        try:
            if folder is None:
                folder = Path(tempfile.mkdtemp(prefix="aquila-engine-", dir=self._parent))
            folder.mkdir(parents=True, exist_ok=True)
            if account is not None and self._given is None:
                folder.chmod(0o755)
            check_reachable(folder, account, "--data" if self._given else "TMPDIR")
            for name in ("config", "data", "logs", "tmp"):
                (folder / name).mkdir(mode=0o700, exist_ok=True)
                if account is not None:
                    os.chown(folder / name, account, account)
            (folder / "logs" / "http.ports").unlink(missing_ok=True)
            write_configuration(
                folder / "config", data=folder / "data", logs=folder / "logs", port=self.port
            )
        except OSError as error:
            raise EngineStartError(
                f"The engine's folder {folder} cannot be used: {error.strerror} ({error.filename})",
                hint="Choose a folder that belongs to you (--data).",
            ) from error
        check_disk(folder, DISK_FOR_DATA, "The engine's data")
        self._folder = folder
        return folder

    def _spawn(self, distribution: Distribution, folder: Path) -> None:
        removable = self._given is None and not self._keep
        task = {
            "command": java_command(
                distribution.java,
                distribution.home,
                folder / "config",
                folder / "tmp",
                heap_options(self.heap),
            ),
            # Nothing of our environment: it may hold secrets, and JAVA_* would change the engine.
            "environment": {"PATH": os.defpath, "LANG": "C.UTF-8", "HOME": str(folder / "tmp")},
            "account": distribution.account,
            "folder": str(distribution.home),
            "remove": str(folder) if removable else None,
            "patience": self._stop_seconds,
        }
        with (folder / "logs" / "engine.log").open("ab") as log:
            self._guard = subprocess.Popen(  # noqa: S603 - our own file, run by our own Python
                [sys.executable, "-I", str(Path(guard.__file__)), json.dumps(task)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # Ctrl-C in the terminal is for us, not for the engine
            )
        with selectors.DefaultSelector() as selector:
            pipe = cast("IO[bytes]", self._guard.stdout)
            selector.register(pipe, selectors.EVENT_READ)
            line = pipe.readline() if selector.select(self._start_seconds) else b""
        if not line.strip():
            raise self._failure("could not be started")
        self._pid = int(line)

    def _wait(self, folder: Path) -> None:
        """Until the port is known and the node answers that it is ready, or has died."""
        deadline = time.monotonic() + self._start_seconds
        ports = folder / "logs" / "http.ports"
        # No proxy of the environment stands between us and the loopback address.
        with httpx.Client(trust_env=False, timeout=5) as client:
            while time.monotonic() < deadline:
                if not self.alive:
                    raise self._failure("ended while it was starting")
                if ports.exists():
                    self.port = int(ports.read_text().split()[0].rpartition(":")[2])
                    with contextlib.suppress(httpx.TransportError):
                        answer = client.get(
                            f"{self.url}/_cluster/health",
                            params={"wait_for_status": "yellow", "timeout": "4s"},
                        )
                        if answer.status_code == 200:
                            return
                time.sleep(0.05)
        raise self._failure(f"was not ready within {self._start_seconds:g} seconds")

    def _failure(self, what: str) -> EngineStartError:
        lines = telling_lines(self.log) if self.log else []
        return EngineStartError(
            "\n  ".join([f"The engine {what}" + (":" if lines else ""), *lines]),
            hint=f"Its log is {self.log}.",
        )

    def _end(self, stop_seconds: float) -> None:
        """End guard and engine, keep the folder."""
        process, self._guard, self._pid = self._guard, None, None
        if process is None:
            return
        try:
            process.communicate(b"keep", timeout=stop_seconds + 5)
        except subprocess.TimeoutExpired:
            process.kill()  # takes the engine with it
            process.communicate()


def telling_lines(log: Path, count: int = 8) -> list[str]:
    """The lines at the end of an engine's log that say why it ended."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 65_536))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return []
    lines = [line[:300] for line in lines if line.strip()]
    return ([line for line in lines if _TELLING.search(line)] or lines)[-count:]


def serve(
    port: int,
    data: Path | None,
    heap: str,
    on_ready: Callable[[EmbeddedEngine], None],
) -> None:
    """Run an engine in the foreground until Ctrl-C, SIGTERM or the engine's own end.

    ``on_ready`` is called once it answers. To be called in the main thread. Raises
    EngineStartError when it cannot start or ends by itself.
    """
    with EmbeddedEngine(port=port, data=data, heap=heap) as engine:
        stop = threading.Event()
        previous = {
            number: signal.signal(number, lambda *_: stop.set())
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            on_ready(engine)
            while not stop.wait(0.2):
                if not engine.alive:
                    raise engine._failure("ended by itself")
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
