"""Who holds a state that is kept in the engine: one collector, until it lets go or falls silent.

The holder writes the head of the state anew every few seconds. Another one that comes along watches
it for as long as the holder has asked for: a head that changes has a living holder, one that does
not change is taken over. No clock of one machine is compared with that of another. A holder that
was only asleep finds its head changed at the next write, and is out.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import time
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog

from aquila_mde.collect.state_database import StateInUseError
from aquila_mde.collect.state_format import VERSION
from aquila_mde.elastic.state_index import Found, Head, Place, StateIndex
from aquila_mde.errors import ConfigurationError, ExitCode

_log = structlog.get_logger(__name__)
# Goes on while the machine sleeps, where there is such a clock.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a holder gives a sign of life, and when it is taken for dead; in seconds."""

    beat: float = 5.0
    patience: float = 30.0
    look: float = 1.0
    """Time between two looks at a head that is watched."""


PACE = Pace()


class EngineStateError(ConfigurationError):
    """The state in the engine cannot be used."""

    exit_code = ExitCode.ENVIRONMENT

    def __init__(self, index: StateIndex, problem: str, *, hint: str = "") -> None:
        super().__init__(
            f"The state in the index {index.name} on {index.host} cannot be used: {problem}.",
            hint=hint
            or f"Delete the index {index.name} to begin with a new state: it is rebuilt from what "
            "was collected.",
        )


class StateTakenError(ConfigurationError):
    """Another collector has taken the state over: this one must not go on."""

    exit_code = ExitCode.ENVIRONMENT


class Lease:
    """The head of one state, held by this process from :meth:`take` to :meth:`release`."""

    def __init__(self, index: StateIndex, *, what: str, pace: Pace) -> None:
        self.index = index
        self.pace = pace
        self._what = what
        self._run = secrets.token_hex(16)
        self._owner = f"process {os.getpid()} on {socket.gethostname()}"
        self._head: Head | None = None
        self._place: Place | None = None
        self._written = 0.0
        self._lost: StateTakenError | None = None

    @property
    def head(self) -> Head:
        """The head as it was written last."""
        if self._head is None:
            raise ValueError("the lease was not taken")
        return self._head

    @property
    def aging(self) -> bool:
        """Whether the last sign of life is so long ago that somebody may soon take over."""
        return time.clock_gettime(_CLOCK) - self._written > self.pace.patience / 2

    def check(self) -> None:
        """Raise what :meth:`write` raised, if the lease was lost."""
        if self._lost is not None:
            raise self._lost

    async def take(self) -> None:
        """Become the holder; waits when the last one has fallen silent.

        Raises :class:`StateInUseError` when another one is at work, and
        :class:`EngineStateError` when it has a format of a newer version.
        """
        while True:
            await self.check_format()
            found = await self.index.head()
            place = None
            if found is None:
                await self.index.create()
            head = Head(VERSION, 1, self._owner, self._run, self.pace.patience)
            if found is not None:
                if not found.head.released:
                    await self._outlast(found)
                place = found.place
                head = msgspec.structs.replace(
                    found.head,
                    epoch=found.head.epoch + 1,
                    owner=self._owner,
                    run=self._run,
                    patience=self.pace.patience,
                    released=False,
                )
            began = time.clock_gettime(_CLOCK)
            taken = await self.index.put(head, place)
            if taken is not None:
                self._head, self._place, self._written = head, taken, began
                return

    async def check_format(self) -> None:
        """Raise :class:`EngineStateError` for a state that a newer version has written."""
        version = await self.index.format()
        if version is not None and version > VERSION:
            raise EngineStateError(
                self.index,
                f"it has format {version}, this version reads {VERSION}",
                hint="Use the version that wrote it, or a newer one.",
            )

    async def write(self, **changes: Any) -> None:
        """Give a sign of life, with ``changes`` of the head; all of it or nothing.

        Raises :class:`StateTakenError` when another one has taken over.
        """
        self.check()
        head = msgspec.structs.replace(self.head, beat=self.head.beat + 1, **changes)
        began = time.clock_gettime(_CLOCK)
        place = await self.index.put(head, self._place)
        if place is None:
            self._lost = await self._loss()
            raise self._lost
        self._head, self._place, self._written = head, place, began

    async def release(self) -> None:
        """Let the next one in."""
        await self.write(released=True)

    async def _outlast(self, found: Found) -> None:
        """Return when the holder has given no sign of life for as long as it asked for."""
        holder = found.head
        _log.info(
            "The state was not let go of; waiting for a sign of life of the one that had it",
            holder=holder.owner,
            seconds=holder.patience,
        )
        until = time.monotonic() + holder.patience
        while time.monotonic() < until:
            await asyncio.sleep(min(self.pace.look, max(0.0, until - time.monotonic())))
            now = await self.index.head()
            if now is None or now.place == found.place:
                continue
            if not now.head.released:
                raise StateInUseError(
                    f"The state of {self._what} in the index {self.index.name} is in use by "
                    f"{now.head.owner}.",
                    hint="Stop that collector first: one at a time collects a tenant into a "
                    "namespace.",
                )
            return

    async def _loss(self) -> StateTakenError:
        found = await self.index.head()
        if found is None:
            return StateTakenError(
                f"The state of {self._what} was deleted from the index {self.index.name}.",
                hint="Start the collector again: it begins with a new state, which is rebuilt "
                "from what was collected.",
            )
        return StateTakenError(
            f"The state of {self._what} in the index {self.index.name} was taken over by "
            f"{found.head.owner}: this collector had given no sign of life for "
            f"{self.head.patience:g} seconds.",
            hint="Leave the other one running, or stop it and start this one again.",
        )
