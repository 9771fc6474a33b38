"""Writes the package as a folder and as the zip that Fleet takes, the same bytes every time."""

from __future__ import annotations

import io
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

from aquila_mde.build.package.contents import package_contents
from aquila_mde.build.package.reading import mapping, part
from aquila_mde.streams.faults import Fault, raise_if_any
from aquila_mde.streams.tree import PackageTree
from aquila_mde.streams.yaml_source import read_yaml

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip can tell; what the files are made of has no time of its own."""
_FILE_MODE = 0o644
_FOLDER_MODE = 0o755
_UNIX = 3


@dataclass(frozen=True)
class Archive:
    """One package."""

    name: str
    version: str
    kibana: str
    """The versions of Kibana that it is made for, such as ``^8.19.0 || ^9.1.0``."""
    files: dict[str, bytes]
    """By the path inside the package."""

    @property
    def stem(self) -> str:
        """The name of its folder, which Fleet insists on."""
        return f"{self.name}-{self.version}"

    def zip(self) -> bytes:
        """The zip: one folder, sorted entries, fixed times and modes."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for path in sorted(self.files):
                entry = zipfile.ZipInfo(f"{self.stem}/{path}", _EPOCH)
                entry.create_system = _UNIX
                entry.external_attr = (0o100000 | _FILE_MODE) << 16
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, self.files[path], compresslevel=9)
        return buffer.getvalue()


def make_archive(tree: PackageTree) -> Archive:
    """The package of ``tree``. Raises an error that lists every fault of its files."""
    source, faults = read_yaml(tree.manifest)
    raise_if_any(faults)
    manifest = mapping(source)
    raise_if_any(
        [
            Fault(tree.manifest, 1, key, "is missing")
            for key in ("name", "version")
            if not isinstance(manifest.get(key), str)
        ]
    )
    return Archive(
        name=manifest["name"],
        version=manifest["version"],
        kibana=str(part(manifest, "conditions", "kibana").get("version", "")),
        files=package_contents(tree),
    )


def write_package(archive: Archive, output: Path) -> tuple[Path, Path]:
    """Write zip and folder below ``output``, in place of what is there; their paths."""
    folder, file = output / archive.stem, output / f"{archive.stem}.zip"
    unfinished = output / f".{archive.stem}.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    for path, content in archive.files.items():
        target = unfinished / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        target.chmod(_FILE_MODE)
    for below in (unfinished, *(one for one in unfinished.rglob("*") if one.is_dir())):
        below.chmod(_FOLDER_MODE)
    if folder.exists():
        shutil.rmtree(folder)
    unfinished.rename(folder)
    written = output / f".{file.name}.unfinished"
    written.write_bytes(archive.zip())
    written.chmod(_FILE_MODE)
    written.replace(file)
    return file, folder
