"""The tables of a state file, and what turns a file of an older format into one of this version."""

from __future__ import annotations

from collections.abc import Iterator

VERSION = 3
_FIRST = """
CREATE TABLE scope (
    id INTEGER PRIMARY KEY, tenant TEXT NOT NULL, stream TEXT NOT NULL,
    cursor INTEGER, cursor_field TEXT, last_pass INTEGER, last_sweep INTEGER,
    last_error TEXT, delivered INTEGER NOT NULL DEFAULT 0, dead INTEGER NOT NULL DEFAULT 0,
    UNIQUE (tenant, stream)
);
CREATE TABLE pass (
    scope INTEGER PRIMARY KEY, started INTEGER NOT NULL, since INTEGER,
    position INTEGER, sweep INTEGER NOT NULL
);
CREATE TABLE export (
    scope INTEGER PRIMARY KEY, generated TEXT NOT NULL, file INTEGER NOT NULL, line INTEGER NOT NULL
);
CREATE TABLE delivered (
    scope INTEGER NOT NULL, id TEXT NOT NULL, time INTEGER NOT NULL, PRIMARY KEY (scope, id)
) WITHOUT ROWID;
CREATE INDEX delivered_time ON delivered (scope, time);
CREATE TABLE content (
    scope INTEGER NOT NULL, entity TEXT NOT NULL, digest BLOB NOT NULL, renewal TEXT NOT NULL,
    PRIMARY KEY (scope, entity)
) WITHOUT ROWID;
CREATE TABLE joined (
    scope INTEGER NOT NULL, name TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL,
    digest BLOB NOT NULL, PRIMARY KEY (scope, name, key)
) WITHOUT ROWID;
CREATE TABLE join_cursor (
    scope INTEGER NOT NULL, name TEXT NOT NULL, cursor INTEGER, read_at INTEGER NOT NULL,
    PRIMARY KEY (scope, name)
);
CREATE TABLE waiting (
    scope INTEGER NOT NULL, name TEXT NOT NULL, key TEXT NOT NULL, id TEXT NOT NULL,
    document BLOB NOT NULL, since INTEGER NOT NULL, PRIMARY KEY (scope, name, key, id)
) WITHOUT ROWID;
CREATE TABLE still_open (
    scope INTEGER NOT NULL, entity TEXT NOT NULL, time INTEGER NOT NULL,
    PRIMARY KEY (scope, entity)
) WITHOUT ROWID;
"""
_DELTA = """
CREATE TABLE delta (
    scope INTEGER PRIMARY KEY, full_export TEXT NOT NULL, since INTEGER, read_at INTEGER NOT NULL
)
"""
_WAITING_INDICES = """
CREATE INDEX waiting_key ON waiting (scope, name, key);
CREATE INDEX waiting_since ON waiting (scope, name, since)
"""
"""What is asked at every pass, without reading the documents."""
_UPGRADES = {1: _DELTA, 2: _WAITING_INDICES}
"""What turns a file of a format into one of the next."""


def statements(version: int, *, until: int = VERSION) -> Iterator[str]:
    """What a file of format ``version`` lacks of format ``until``; a new file has format 0."""
    scripts = [_FIRST] if version == 0 else []
    scripts += [_UPGRADES[each] for each in range(max(version, 1), until)]
    for script in scripts:
        yield from (each for each in script.split(";") if each.strip())
