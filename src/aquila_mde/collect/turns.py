"""Turns: what several tenants share is bounded, and goes to the one that has least of it.

A tenant with a million rows and a tenant with three wait for the same engine and the same memory.
Were they served in the order in which they come, the small one would stand behind all of the large
one's. So whoever holds the least is next, and nobody holds more than a share while others wait.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field


@dataclass(eq=False)
class _Asked:
    owner: str
    size: int
    granted: asyncio.Future[None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Turns:
    """Hands out ``limit`` of something: bytes, or places.

    One owner has ``share`` of it at most. What is larger than either is given when its owner, or
    nobody, has anything.
    """

    def __init__(self, limit: int, *, share: int | None = None) -> None:
        self._limit = limit
        self._share = limit if share is None else share
        self._held: Counter[str] = Counter()
        self._waiting: list[_Asked] = []

    @property
    def held(self) -> int:
        """How much is out."""
        return self._held.total()

    async def take(self, owner: str, size: int = 1) -> None:
        """Wait for ``size`` of it, and hold that until it is given back by :meth:`give`."""
        asked = _Asked(owner, size)
        self._waiting.append(asked)
        self._serve()
        try:
            await asked.granted
        except asyncio.CancelledError:
            if asked in self._waiting:
                self._waiting.remove(asked)
                self._serve()
            else:
                # It was granted in the same moment.
                self.give(owner, size)
            raise

    def give(self, owner: str, size: int = 1) -> None:
        """Give back what was taken."""
        self._held[owner] -= size
        if not self._held[owner]:
            del self._held[owner]
        self._serve()

    def _serve(self) -> None:
        while (asked := self._next()) is not None:
            self._waiting.remove(asked)
            self._held[asked.owner] += asked.size
            asked.granted.set_result(None)

    def _next(self) -> _Asked | None:
        """The one whose turn it is, if there is enough for it now.

        It is not passed over for a smaller one of somebody else, or it might wait for ever.
        """
        first: dict[str, _Asked] = {}
        for asked in self._waiting:
            first.setdefault(asked.owner, asked)
        allowed = [asked for asked in first.values() if self._within_share(asked)]
        if not allowed:
            return None
        asked = min(allowed, key=lambda each: self._held[each.owner])
        fits = not self._held or self.held + asked.size <= self._limit
        return asked if fits else None

    def _within_share(self, asked: _Asked) -> bool:
        held = self._held[asked.owner]
        return not held or held + asked.size <= self._share
