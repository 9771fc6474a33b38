"""Runs one program and ends it when whoever started this process is gone.

This file is started as a program of its own: ``python -I guard.py '<JSON>'``, where the JSON
holds ``command``, ``environment``, ``account`` (number or null), ``folder`` (to work in),
``remove`` (folder or null) and ``patience`` (seconds between asking the program to end and
killing it). It uses nothing but the standard library.

Why a process of its own: the kernel closes our standard input when the parent is gone, however it
went (return, exception, SIGKILL), and that is the only sign which cannot be missed. Asking the
kernel for a signal at the parent's death (PR_SET_PDEATHSIG) needs code between fork and exec,
which is not safe in a parent with threads, and fires when the *thread* that started the program
ends. Here, in a process with one thread, it is safe; so it is used for the last gap, the death
of this guard itself.

Protocol: the program's process id is written to standard output as one line. On standard input
``keep`` means that ``remove`` is not wanted, and the end of input means: end the program.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

_PR_SET_PDEATHSIG = 1
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def _die_with(guard: int) -> Callable[[], None] | None:
    """A function for the child that ties its life to the process ``guard`` (Linux only)."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def tie() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != guard:  # it died before the call
            os._exit(1)

    return tie


@contextlib.contextmanager
def _signals_as_bytes() -> Iterator[int]:
    """Signals arrive as bytes on the descriptor, so that one wait covers them and the input."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    previous = {
        number: signal.signal(number, lambda *_: None) for number in (*_ENDING, signal.SIGCHLD)
    }
    wakeup = signal.set_wakeup_fd(writing)
    try:
        yield reading
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in previous.items():
            signal.signal(number, handler)
        os.close(reading)
        os.close(writing)


def watch(task: dict[str, Any], source: int, sink: int) -> int:
    """Run the program of ``task`` until it ends or ``source`` does; its return code."""
    account = task["account"]
    as_other = {} if account is None else {"user": account, "group": account, "extra_groups": []}
    remove = task["remove"]
    with _signals_as_bytes() as signals, selectors.DefaultSelector() as selector:
        child = subprocess.Popen(  # noqa: S603 - the command is our own
            task["command"],
            env=task["environment"],
            cwd=task["folder"],
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            stderr=sys.stderr,
            preexec_fn=_die_with(os.getpid()),  # noqa: PLW1509 - there is one thread
            **as_other,
        )
        os.write(sink, b"%d\n" % child.pid)
        selector.register(source, selectors.EVENT_READ)
        selector.register(signals, selectors.EVENT_READ)
        deadline: float | None = None
        while child.poll() is None:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                child.kill()
                child.wait()
                break
            for key, _ in selector.select(left):
                received = os.read(key.fd, 64)
                if key.fd == source:
                    if received:
                        remove = None
                        continue
                    selector.unregister(source)
                elif not any(number in received for number in _ENDING):
                    continue
                if deadline is None:
                    child.terminate()
                    deadline = time.monotonic() + task["patience"]
        if deadline is not None and remove:
            shutil.rmtree(remove, ignore_errors=True)
        return int(child.returncode)


if __name__ == "__main__":
    code = watch(json.loads(sys.argv[1]), sys.stdin.fileno(), sys.stdout.fileno())
    sys.exit(code if code >= 0 else 128 - code)
