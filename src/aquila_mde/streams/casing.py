"""One spelling for property names that Microsoft writes in several.

The same property arrives as ``deviceId`` and ``DeviceId``, ``osPlatform`` and ``OSPlatform``,
``id`` and ``ID``, depending on the endpoint and on whether it was read from a file.
"""

from __future__ import annotations

from functools import lru_cache

# Asked for every property of every record, while the names are few; bounded, since a record may
# hold any name at all.
_KEPT = 4_096


@lru_cache(_KEPT)
def camel_case(name: str) -> str:
    """``name`` with its leading capitals made small: ``DeviceId`` → ``deviceId``, ``ID`` → ``id``.

    Of a leading run of capitals the last one stays when a small letter follows it, since it
    begins the next word: ``OSPlatform`` → ``osPlatform``.
    """
    run = 0
    while run < len(name) and name[run].isupper():
        run += 1
    if run > 1 and run < len(name) and name[run].islower():
        run -= 1
    return name[:run].lower() + name[run:]


@lru_cache(_KEPT)
def spellings(name: str) -> tuple[str, ...]:
    """Every spelling that :func:`camel_case` turns into ``name``, the likeliest first."""
    found = {name: None}
    for run in range(1, len(name) + 1):
        candidate = name[:run].upper() + name[run:]
        if camel_case(candidate) == name:
            found[candidate] = None
    return tuple(found)
