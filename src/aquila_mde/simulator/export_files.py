"""Snapshots of the vulnerability export, their gzip files and the links to them.

A snapshot is taken every six hours and by nothing else. Its files are rendered when one is asked
for and then lie on disk until the snapshot is dropped; the one before the current one can still be
read through links that were given out in time.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, quote, urlencode

import msgspec
from isal import isal_zlib

from aquila_mde.simulator.catalogue import Catalogue
from aquila_mde.simulator.changes import Changes
from aquila_mde.simulator.clock import (
    HOUR,
    MINUTE,
    SECOND,
    Clock,
    format_time,
    parse_time,
    to_datetime,
)
from aquila_mde.simulator.export_rows import (
    Casing,
    RowWriter,
    Snapshot,
    Turnover,
    cased,
    id_of,
)
from aquila_mde.simulator.seeds import guid_of, random_of

PERIOD = 6 * HOUR
"""Between two snapshots."""
_KEPT = 2
_COMPRESSION = 1
_GZIP = 31
"""``wbits`` of zlib for a gzip member."""
_LINES_AT_ONCE = 2_000

LinkFault = Literal["expired", "signature", "gone"]


class VulnerabilityExport:
    """The export of one tenant.

    ``folder`` holds the rendered files; ``rows_per_file`` rows are in each. ``label`` is the part
    of the files' path that tells one export of a tenant from another.
    """

    def __init__(
        self,
        *,
        rows: int,
        seed: int,
        catalogue: Catalogue,
        rows_per_file: int,
        folder: Path,
        tenant_id: str,
        label: str = "VaExport",
    ) -> None:
        self._turnover = Turnover(rows, seed)
        self._catalogue = catalogue
        self._rows_per_file = rows_per_file
        self._folder = folder
        self._tenant_id = tenant_id
        self._label = label
        self._seed = seed
        self._key = secrets.token_bytes(32)
        self._rendering = threading.Lock()
        self._snapshots: list[Snapshot] = []
        self._paths: dict[str, tuple[Snapshot, int]] = {}
        self.changes = Changes(self._turnover, lambda snapshot: self._writer(snapshot, "camel"))
        """What has changed from one snapshot to the next."""
        self.added: dict[str, dict[str, Any]] = {}
        """Rows beside the generated ones, by id; they are in the next snapshot."""
        self.removed: set[str] = set()
        """Ids that the next snapshot leaves out."""

    @property
    def current(self) -> Snapshot:
        """The newest snapshot."""
        return self._snapshots[-1]

    def take_snapshot(
        self,
        generated: int,
        age: int,
        machines: Sequence[bytes | None],
        casing: Casing | Literal["mixed"],
        bad_lines: int,
    ) -> None:
        """Make a snapshot the current one, and drop the one before the last."""
        snapshot = Snapshot(
            age,
            generated,
            machines,
            tuple(self.added.values()),
            frozenset(self.removed),
            casing,
            bad_lines,
        )
        self._snapshots.append(snapshot)
        self.changes.add(snapshot)
        self._paths |= {path: (snapshot, n) for n, path in enumerate(self._names(snapshot))}
        for dropped in self._snapshots[:-_KEPT]:
            for path in self._names(dropped):
                self._paths.pop(path, None)
                self._file(path).unlink(missing_ok=True)
        self._snapshots = self._snapshots[-_KEPT:]

    def links(self, base: str, clock: Clock, hours: int) -> list[str]:
        """Signed links to the files of the current snapshot, valid for ``hours``."""
        return [
            base + quote(path, safe="/=") + "?" + self._signature(path, clock, hours)
            for path in self._names(self.current)
        ]

    def check_link(self, path: str, query: str, clock: Clock) -> LinkFault | None:
        """What is wrong with a request for ``path``, or None."""
        given = {name: values[0] for name, values in parse_qs(query).items()}
        expected = self._sign(path, given.get("st", ""), given.get("se", ""))
        if not hmac.compare_digest(given.get("sig", ""), expected):
            return "signature"
        if parse_time(given["se"]) <= clock.now():
            return "expired"
        return None if path in self._paths else "gone"

    def render(self, path: str) -> Path | None:
        """The file behind ``path``, made if it is not there yet, which takes a while.

        None when its snapshot was dropped since the link was checked.
        """
        file = self._file(path)
        with self._rendering:
            if path not in self._paths:
                return None
            snapshot, number = self._paths[path]
            if not file.is_file():
                part = file.with_suffix(".part")
                packer = isal_zlib.compressobj(_COMPRESSION, wbits=_GZIP)
                with part.open("wb") as packed:
                    for lines in _batches(self._lines(snapshot, number)):
                        packed.write(packer.compress(lines))
                    packed.write(packer.flush())
                part.replace(file)
        return file

    def rows(self, snapshot: Snapshot | None = None) -> Iterator[dict[str, Any]]:
        """Every row of a snapshot (the current one), as it is told in camelCase."""
        snapshot = snapshot or self.current
        for number in range(self._file_count(snapshot)):
            for line in self._rows_of(snapshot, number, "camel"):
                yield msgspec.json.decode(line)

    def count(self) -> int:
        """The number of rows in the current snapshot."""
        snapshot = self.current
        numbered = self._turnover.numbered(snapshot.age)
        machines = len(snapshot.machines)
        if None in snapshot.machines or snapshot.removed:
            return sum(1 for _ in self.rows())
        if snapshot.age == 0 or not machines:
            return (numbered if machines else 0) + len(snapshot.added)
        live = sum(1 for _ in self._turnover.rows(0, numbered, snapshot.age))
        return live + len(snapshot.added)

    def _lines(self, snapshot: Snapshot, number: int) -> Iterator[bytes]:
        casing: Casing = "pascal" if snapshot.casing == "pascal" else "camel"
        if snapshot.casing == "mixed" and number % 2 == 0:
            casing = "pascal"
        bad = snapshot.bad_lines if number == 0 else 0
        for position, line in enumerate(self._rows_of(snapshot, number, casing)):
            if bad and position % 3 == 2:
                bad -= 1
                yield line[: len(line) // 2]
            yield line

    def _rows_of(self, snapshot: Snapshot, number: int, casing: Casing) -> Iterator[bytes]:
        if snapshot.machines:
            first = number * self._rows_per_file
            writer = self._writer(snapshot, casing)
            for line in writer.rows(first, first + self._rows_per_file, snapshot.age):
                if not snapshot.removed or id_of(line) not in snapshot.removed:
                    yield line
        if number == self._file_count(snapshot) - 1:
            for values in snapshot.added:
                if values.get("id") not in snapshot.removed:
                    yield msgspec.json.encode(
                        {cased(name, casing): value for name, value in values.items()}
                    )

    def _writer(self, snapshot: Snapshot, casing: Casing) -> RowWriter:
        if casing not in snapshot.writers:
            snapshot.writers[casing] = RowWriter(
                self._catalogue, self._turnover, snapshot.machines, snapshot.generated, casing
            )
        return snapshot.writers[casing]

    def _file_count(self, snapshot: Snapshot) -> int:
        rows = self._turnover.numbered(snapshot.age) if snapshot.machines else 0
        return max(1, -(-rows // self._rows_per_file))

    def _names(self, snapshot: Snapshot) -> list[str]:
        made = to_datetime(snapshot.generated)
        guid = guid_of(random_of(self._seed, "identity", snapshot.generated // SECOND))
        folder = (
            f"/tvm-export/{made:%Y-%m-%d}/{made:%H%M%S}/{self._label}/json/OrgId={self._tenant_id}"
        )
        return [
            f"{folder}/part-{number:05}-{guid}.c000.json.gz"
            for number in range(self._file_count(snapshot))
        ]

    def _file(self, path: str) -> Path:
        return self._folder / hashlib.sha256(path.encode()).hexdigest()

    def _signature(self, path: str, clock: Clock, hours: int) -> str:
        now = clock.now() // SECOND * SECOND
        start, end = format_time(now - 15 * MINUTE), format_time(now + hours * HOUR)
        return urlencode(
            {
                "sv": "2019-12-12",
                "st": start,
                "se": end,
                "sr": "b",
                "sp": "r",
                "sig": self._sign(path, start, end),
            }
        )

    def _sign(self, path: str, start: str, end: str) -> str:
        message = f"{path}\n{start}\n{end}".encode()
        return base64.b64encode(hmac.digest(self._key, message, "sha256")).decode()


def _batches(lines: Iterable[bytes]) -> Iterator[bytes]:
    batch: list[bytes] = []
    for line in lines:
        batch.append(line)
        if len(batch) == _LINES_AT_ONCE:
            yield b"\n".join(batch) + b"\n"
            batch.clear()
    if batch:
        yield b"\n".join(batch) + b"\n"
