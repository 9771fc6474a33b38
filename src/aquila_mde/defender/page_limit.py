"""What the answers so far say about the most rows that a collection gives at once."""

from __future__ import annotations

_ROUND = 100
"""Limits are likely to be multiples of this and unlikely to be below it."""


class PageLimit:
    """A limit that the service keeps without a word, as far as its answers give it away.

    An answer that is shorter than another one was not cut by that limit. One that is the longest
    so far may have been: then only the service knows, and somebody has to ask it and
    :meth:`learn` what it said. So small collections cost one question, not one for each reading.
    """

    def __init__(self) -> None:
        self._longest = 0
        # Whether the longest answer was all there was; None: nobody has asked.
        self._whole: bool | None = True

    def saw(self, count: int) -> None:
        """An answer had ``count`` rows."""
        if count > self._longest:
            self._longest, self._whole = count, None

    def cuts(self, count: int) -> bool | None:
        """Whether an answer of ``count`` rows was cut; ``None``: the service has to be asked."""
        if count == 0:
            return False
        if count == self._longest:
            if self._whole is False:
                return True
            # The limit may be this very number, and next time there are more rows than that.
            return False if self._whole and count < _ROUND else None
        # A limit that is lowered some day is most likely a round number, too.
        return None if count % _ROUND == 0 else False

    def learn(self, count: int, *, whole: bool) -> None:
        """The service was asked whether ``count`` rows are all there are."""
        if not whole:
            self._longest, self._whole = count, False
        elif count == self._longest and self._whole is None:
            self._whole = True
