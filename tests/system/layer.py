"""The files of an image that is made of what lies on this machine, where none can be pulled."""

from __future__ import annotations

import io
import re
import subprocess
import tarfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath


def shared_libraries(programs: Iterable[Path]) -> dict[str, Path]:
    """What ``programs`` take from the system: path wanted -> file."""
    text = "".join(
        subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
        for program in programs
    )
    return {path: Path(path).resolve() for path in sorted(set(re.findall(r"(/\S+) \(0x", text)))}


class Layer:
    """A tar archive of the image's files, all owned by root unless said otherwise."""

    def __init__(self, target: io.BufferedIOBase) -> None:
        self._tar = tarfile.open(fileobj=target, mode="w")  # noqa: SIM115
        self._folders = {PurePosixPath("/")}

    def folder(self, path: PurePosixPath, *, owner: int = 0, mode: int = 0o755) -> None:
        if path in self._folders:
            return
        self.folder(path.parent)
        self._folders.add(path)
        entry = self._entry(path, owner)
        entry.type, entry.mode = tarfile.DIRTYPE, mode
        self._tar.addfile(entry)

    def file(self, path: PurePosixPath, content: Path | bytes, *, owner: int = 0) -> None:
        self.folder(path.parent)
        entry = self._entry(path, owner)
        if isinstance(content, bytes):
            entry.size, entry.mode = len(content), 0o644
            self._tar.addfile(entry, io.BytesIO(content))
            return
        entry.size = content.stat().st_size
        entry.mode = 0o755 if content.stat().st_mode & 0o100 else 0o644
        with content.open("rb") as file:
            self._tar.addfile(entry, file)

    def tree(self, path: PurePosixPath, source: Path) -> None:
        for file in sorted(source.rglob("*")):
            if file.is_file():
                self.file(path / file.relative_to(source).as_posix(), file)

    def close(self) -> None:
        self._tar.close()

    @staticmethod
    def _entry(path: PurePosixPath, owner: int) -> tarfile.TarInfo:
        entry = tarfile.TarInfo(str(path).lstrip("/"))
        entry.uid = entry.gid = owner
        return entry
