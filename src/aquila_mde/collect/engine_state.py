"""A state for a collector without a disk: worked on in a temporary file, kept in the engine.

The file is thrown away at the end. What makes the state durable is in the engine, and it is always
the state as it was at one moment: the segments that the head names, in their order, and the rows
that changed since, which the head itself holds. So it may lag behind the working copy as a file
may after the machine has failed: the last transactions are missing, and none before them. Two
things never lag behind what is sent: that a pass has begun, by which its records are looked up
should they be sent again, and what is written down outside of any pass.
"""

from __future__ import annotations

import asyncio
import fcntl
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import structlog

from aquila_mde.collect import engine_lease
from aquila_mde.collect.engine_lease import EngineStateError, Lease, StateTakenError
from aquila_mde.collect.state import State
from aquila_mde.collect.state_database import StateError, open_database
from aquila_mde.collect.state_format import VERSION, statements
from aquila_mde.collect.state_rows import ChangedRows, Taken, put_rows
from aquila_mde.collect.state_view import StateView
from aquila_mde.elastic.client import Engine
from aquila_mde.elastic.state_index import Head, StateIndex, in_groups
from aquila_mde.errors import AquilaError

_PREFIX = "aquila-mde-state-"
_IN_HEAD = 32 << 10
_SEGMENT = 2 << 20
"""Bytes of rows, before they are packed, in a head and in a segment."""
_MOST_UNSAVED = 20_000
"""Changed rows after which the next batch waits until they are kept."""
_GROWN = 4 << 20
"""Bytes that segments may grow, beside twice what they had, before they are written anew."""
_READINGS = 5
_log = structlog.get_logger(__name__)


class EngineState(State):
    """The state of one collector. Made by :meth:`open`."""

    def __init__(self, folder: Path, lease: Lease) -> None:
        self._folder = folder
        self._lease = lease
        super().__init__(folder / "state.sqlite3")
        # Were the machine to fail, the file would be gone anyway.
        self._database.execute("PRAGMA synchronous = OFF")
        self._saving = asyncio.Lock()
        self._begun: dict[int, int] = {}
        """When the passes under way began, by their scope, as it is kept."""
        self._kept = -1
        """How many changes of the working copy are kept."""
        self._segments = _Segments(lease.head)
        self._changed = ChangedRows(self._database)
        self._beating: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls,
        engine: Engine,
        namespace: str,
        tenant_id: str,
        *,
        name: str = "",
        tables: Sequence[str] = (),
    ) -> EngineState:
        """Take the state and load it.

        ``name`` is for one that is not the collector's own; ``tables`` are statements that create
        what it has beside the usual tables. Raises
        :class:`~aquila_mde.collect.state.StateInUseError` when another collector holds it.
        """
        index, what = _place(engine, namespace, tenant_id, name)
        lease = Lease(index, what=what, pace=engine_lease.PACE)
        await lease.take()
        folder = _new_folder()
        state: EngineState | None = None
        try:
            await _load_held(lease, folder / "state.sqlite3", tables)
            state = cls(folder, lease)
            await state._start()
        except BaseException as error:
            if state is not None:
                state.close()
            shutil.rmtree(folder, ignore_errors=True)
            await _let_go(lease)
            if isinstance(error, _SegmentGoneError):
                raise EngineStateError(index, str(error)) from None
            raise
        return state

    async def safe(self, scope: int, *, sending: bool) -> None:
        """Return when what must not be lost of ``scope`` is kept; see above.

        Before records are sent that is the beginning of the pass, and that this process still has
        the state.

        Raises :class:`~aquila_mde.collect.engine_lease.StateTakenError` when another collector
        has taken over.
        """
        row = self._database.execute(
            "SELECT started FROM pass WHERE scope = ?", (scope,)
        ).fetchone()
        unsaved = self._database.total_changes - self._kept
        begins = sending and row is not None and self._begun.get(scope) != row[0]
        if row is None or begins or unsaved > _MOST_UNSAVED:
            await self._save()
        elif sending and self._lease.aging:
            await self._save(beat=True)
        self._lease.check()

    async def aclose(self) -> None:
        """Keep everything, let the next collector in and throw the working copy away."""
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.gather(self._beating, return_exceptions=True)
        try:
            await self._save()
            await self._lease.release()
        except AquilaError as error:
            _log.warning("The end of the state was not kept", reason=error.message)
        finally:
            self.close()

    async def remove(self) -> None:
        """Close the state for ever: nothing of it stays in the engine."""
        await self.aclose()
        head = self._lease.head
        await self._lease.index.forget(head.epoch + 1, 0)
        await self._lease.index.remove(head.numbers())

    def close(self) -> None:
        """Throw the working copy away, as when the process is killed."""
        super().close()
        shutil.rmtree(self._folder, ignore_errors=True)

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        """One transaction, as long as this process holds the state."""
        self._lease.check()
        with super()._change() as database:
            yield database

    @contextmanager
    def _durable_change(self) -> Iterator[sqlite3.Connection]:
        """The same: what has to be durable is kept by :meth:`safe`."""
        with self._change() as database:
            yield database

    async def _start(self) -> None:
        """Go on from the head: what it holds itself is noted as changed."""
        head = self._lease.head
        _put(self._lease.index, self._database, head.rows)
        await self._save(anew=head.format != VERSION)
        self._beating = asyncio.create_task(self._beat())

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._lease.pace.beat)
            try:
                await self._save(beat=True)
            except StateTakenError:
                # Whatever uses the state next is told.
                return
            except AquilaError as error:
                _log.warning("The state could not be kept; trying again", reason=error.message)

    async def _save(self, *, beat: bool = False, anew: bool = False) -> None:
        """Keep the working copy as it is now, or later; ``beat`` even if nothing has changed."""
        wanted = self._database.total_changes
        async with self._saving:
            self._lease.check()
            if self._kept >= wanted and not (beat or anew):
                return
            segments = self._segments
            if anew or segments.size > 2 * segments.least + _GROWN:
                segments.begin_anew()
                self._changed.mark_all()
            # A row that changes while others are on their way is noted again, and comes later.
            while (taken := self._changed.read(_SEGMENT)).size > _IN_HEAD:
                await self._send(taken)
            kept = self._database.total_changes
            begun = dict(self._database.execute("SELECT scope, started FROM pass"))
            await self._lease.write(format=VERSION, rows=taken.pack(), **segments.fields())
            self._kept, self._begun = kept, begun
            if segments.first is not None:
                await self._lease.index.forget(self._lease.head.epoch, segments.first)
                segments.first = None

    async def _send(self, taken: Taken) -> None:
        """Write a segment. Until a head names it, it is nothing; the next head does."""
        self._changed.forget(taken)
        packed, epoch, number = taken.pack(), self._lease.head.epoch, self._segments.next_number()
        try:
            await self._lease.index.put_segment(epoch, number, packed)
        except BaseException:
            self._changed.note(taken)
            raise
        self._segments.add(epoch, number, len(packed))
        if self._lease.aging:
            await self._lease.write()


class _Segments:
    """The segments that the next head will name."""

    def __init__(self, head: Head) -> None:
        self.size = head.size
        self.least = head.least
        self.first: int | None = None
        """The number from which on they were written anew, until a head says so."""
        self._stretches = list(head.segments)
        self._number = -1

    def next_number(self) -> int:
        """A number that no segment of this epoch has had."""
        self._number += 1
        return self._number

    def begin_anew(self) -> None:
        """Leave all of them out: every row comes again."""
        self._stretches.clear()
        self.size = 0
        self.first = self._number + 1

    def add(self, epoch: int, number: int, size: int) -> None:
        """One more, of ``size`` bytes."""
        last = self._stretches[-1] if self._stretches else None
        if last is not None and (last[0], last[2]) == (epoch, number - 1):
            self._stretches[-1] = (epoch, last[1], number)
        else:
            self._stretches.append((epoch, number, number))
        self.size += size

    def fields(self) -> dict[str, Any]:
        """What a head says of them."""
        if self.first is not None:
            self.least = self.size
        return {"segments": tuple(self._stretches), "size": self.size, "least": self.least}


async def open_engine_view(engine: Engine, namespace: str, tenant_id: str) -> StateView:
    """The state of a collector that may be at work: read, and neither held nor changed."""
    index, what = _place(engine, namespace, tenant_id, "")
    await Lease(index, what=what, pace=engine_lease.PACE).check_format()
    folder = _new_folder()
    file = folder / "state.sqlite3"
    try:
        for reading in range(1, _READINGS + 1):
            found = await index.head()
            if found is None:
                break
            try:
                await _load(index, found.head, file)
            except _SegmentGoneError as error:
                # The collector has written its segments anew meanwhile.
                if reading == _READINGS:
                    raise EngineStateError(index, str(error)) from None
                file.unlink()
                continue
            with closing(open_database(file)) as database:
                _put(index, database, found.head.rows)
                for statement in statements(found.head.format):
                    database.execute(statement)
            break
        return _LoadedView(file)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


class _LoadedView(StateView):
    """A view of a working copy of its own, which goes with it."""

    def close(self) -> None:
        super().close()
        shutil.rmtree(self._file.parent, ignore_errors=True)


class _SegmentGoneError(Exception):
    """A segment that the head names is not there."""


def _place(engine: Engine, namespace: str, tenant_id: str, name: str) -> tuple[StateIndex, str]:
    key = f"{tenant_id}.{name}".lower().rstrip(".")
    what = f"the {name} of tenant {tenant_id}" if name else f"tenant {tenant_id}"
    return StateIndex(engine, namespace, key), what


async def _load(index: StateIndex, head: Head, file: Path, tables: Sequence[str] = ()) -> None:
    """Make ``file`` out of the segments of ``head``, in the format that it says."""
    with closing(open_database(file)) as database:
        database.execute("PRAGMA journal_mode = OFF")
        database.execute("PRAGMA synchronous = OFF")
        for statement in (*statements(0, until=head.format), *tables):
            database.execute(statement)
        database.execute(f"PRAGMA user_version = {head.format}")
        for group in in_groups(head.numbers()):
            for number, packed in zip(group, await index.segments(group), strict=True):
                if packed is None:
                    raise _SegmentGoneError(f"its segment {number[0]}.{number[1]} is missing")
                _put(index, database, packed)


def _put(index: StateIndex, database: sqlite3.Connection, packed: bytes) -> None:
    try:
        put_rows(database, packed)
    except (ValueError, sqlite3.Error) as error:
        raise EngineStateError(index, f"it is damaged ({error})") from None
    except StateError as error:
        if error.code != sqlite3.SQLITE_ERROR:
            raise
        # Rows of other tables than ours, in a file that is fine.
        raise EngineStateError(index, f"it is damaged ({error.problem})") from None


async def _load_held(lease: Lease, file: Path, tables: Sequence[str]) -> None:
    """Load while giving signs of life."""

    async def beat() -> None:
        while True:
            await asyncio.sleep(lease.pace.beat)
            await lease.write()

    beating = asyncio.create_task(beat())
    try:
        await _load(lease.index, lease.head, file, tables)
    finally:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)
    lease.check()


async def _let_go(lease: Lease) -> None:
    """Let the next one in, with the state as it was found."""
    try:
        await lease.release()
    except AquilaError as error:
        _log.warning("The state was not let go of", reason=error.message)


def _new_folder() -> Path:
    """A private folder; those that killed collectors have left behind are removed."""
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/state.sqlite3.lock"):
        try:
            with left.open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left.parent, ignore_errors=True)
        except OSError:
            continue
    return Path(tempfile.mkdtemp(prefix=_PREFIX))
