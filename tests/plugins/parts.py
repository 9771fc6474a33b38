"""Parts that not every machine has: a browser, Redis, Docker, systemd, Prometheus, Helm.

Tests that are marked with one of them are left out where the part is missing, and one
line at the end says so. ``AQUILA_TEST_REQUIRE`` (names with commas between) turns a missing part
into a failure of the whole run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from tests.plugins.processes import tell, told_by


def browser_path() -> str | None:
    """Chromium, or what is like it."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


def _browser() -> bool:
    return browser_path() is not None


def _docker() -> bool:
    if shutil.which("docker") is None:
        return False
    asked = subprocess.run(["docker", "info"], capture_output=True, check=False, timeout=60)
    return asked.returncode == 0


def compose_command() -> list[str] | None:
    """How Docker Compose is called here: a plugin of docker, or a program of its own."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) is None:
            continue
        asked = subprocess.run([*command, "version"], capture_output=True, check=False, timeout=60)
        if asked.returncode == 0:
            return command
    return None


def _has(program: str) -> bool:
    return shutil.which(program) is not None


PARTS: dict[str, tuple[str, Callable[[], bool]]] = {
    "browser": ("browser (Chromium)", _browser),
    "redis": ("Redis (redis-server)", lambda: _has("redis-server")),
    "docker": ("Docker (a running daemon)", _docker),
    "systemd": ("systemd (systemd-analyze)", lambda: _has("systemd-analyze")),
    "prometheus": ("Prometheus (promtool)", lambda: _has("promtool")),
    "compose": ("Docker Compose", lambda: compose_command() is not None),
    "helm": ("Helm (helm)", lambda: _has("helm")),
    "zsh": ("zsh", lambda: _has("zsh")),
    "fish": ("fish", lambda: _has("fish")),
}
_MISSING = pytest.StashKey[list[str]]()
_LEFT_OUT = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    required = [name.strip() for name in os.environ.get("AQUILA_TEST_REQUIRE", "").split(",")]
    required = [name for name in required if name]
    if unknown := sorted(set(required) - set(PARTS)):
        raise pytest.UsageError(
            f"AQUILA_TEST_REQUIRE names {', '.join(unknown)}; the parts are {', '.join(PARTS)}"
        )
    missing = [name for name, (_, is_here) in PARTS.items() if not is_here()]
    if lacking := [PARTS[name][0] for name in required if name in missing]:
        raise pytest.UsageError(
            f"AQUILA_TEST_REQUIRE asks for what this machine lacks: {', '.join(lacking)}"
        )
    config.stash[_MISSING] = missing


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    missing = config.stash[_MISSING]
    left_out = [item for item in items if any(item.get_closest_marker(name) for name in missing)]
    config.stash[_LEFT_OUT] = len(left_out)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


def pytest_sessionfinish(session: pytest.Session) -> None:
    tell(session.config, "left_out", session.config.stash.get(_LEFT_OUT, 0))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Each of the processes that share the tests has looked at all of them."""
    if (left_out := told_by(node, "left_out")) is not None:
        node.config.stash[_LEFT_OUT] = left_out


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    config = terminalreporter.config
    if missing := config.stash[_MISSING]:
        names = ", ".join(PARTS[name][0] for name in missing)
        count = config.stash.get(_LEFT_OUT, 0)
        terminalreporter.write_line(
            f"Not on this machine, so left out ({count} tests): {names}. "
            "AQUILA_TEST_REQUIRE makes this a failure."
        )
