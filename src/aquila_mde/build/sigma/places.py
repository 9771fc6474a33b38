"""Which field of the index holds a column of advanced hunting.

Where a column goes can depend on the table: ``FileName`` is the image of a process in one and a
file in another. ``pipelines/painless/hunting.painless`` decides it for documents, and what is here
says the same of the fields that ``mapping.yml`` names; a test sends every column of every table
through the pipeline and compares.
"""

from __future__ import annotations

import re

from aquila_mde.build.library import Library
from aquila_mde.streams.casing import spellings
from aquila_mde.streams.mapping_spec import MappingSpec, Row, snake_case

STREAM = "hunting"
OWN = f"mde.{STREAM}"
PROCESS = "DeviceProcessEvents"
_SUBJECTS = {PROCESS: "process", "DeviceImageLoadEvents": "dll"}
"""What FileName is of; a file in every other table."""
_TARGETS = {
    "processId": "pid",
    "processCommandLine": "command_line",
    "processCreationTime": "start",
}
"""Columns of the process that somebody does something to, where that is not the row's own."""
_GRANDPARENT = {"Id": "pid", "FileName": "name", "CreationTime": "start"}
_BY = "initiatingProcess"
_CAPITALS = re.compile(r"[A-Z]{1,3}(?![A-Z])")


def columns(spec: MappingSpec, library: Library, table: str) -> dict[str, str]:
    """The field that holds each column in the documents of ``table``, by each of its spellings.

    Microsoft writes the columns with a capital, or with a short word in capitals: ``DeviceId``,
    ``SHA1``, ``OSPlatform``.
    """
    found = {}
    for name, row in spec.properties.items():
        field = place(name, row, library, table)
        for given in (name, *row.otherwise) if field is not None else ():
            for spelling in spellings(given):
                if _CAPITALS.match(spelling):
                    found[spelling] = str(field)
    return found


def place(name: str, row: Row, library: Library, table: str) -> str | None:
    """The field that holds the column ``name`` of ``table``; None where no document does."""
    if row.rule is None:
        return _plain(name, row, library)
    if name.startswith(_BY):
        return _initiator(name, row, table)
    if name in _TARGETS or name.startswith("processVersionInfo"):
        if table == PROCESS:
            return row.fills[0]
        return f"{OWN}.target_process.{_TARGETS[name]}" if name in _TARGETS else None
    return _subject(name, row, table)


def _plain(name: str, row: Row, library: Library) -> str | None:
    """Of a column that means the same in every table; none holds what is an object or a list."""
    if row.keep in ("flattened", "nested"):
        return None
    kept = f"{OWN}.{row.name or snake_case(name)}" if row.keep else None
    unchanged = next((target for target, steps in row.to.items() if not steps), None)
    # What a table makes of a value is another value than the one that a rule names.
    spelled = (
        target
        for target, steps in row.to.items()
        if not any(step.name == "table" for step in steps)
    )
    found = unchanged or kept or next(spelled, None)
    if found is None and row.block is not None:
        # A block takes its value to pieces; the whole is only in the name of a machine.
        found = "host.name" if "host.name" in library.transforms.blocks[row.block].writes else None
    return found if found is None or found[0] != "~" else f"{OWN}.{found[1:]}"


def _initiator(name: str, row: Row, table: str) -> str | None:
    """Of the process that did it: the parent of the one that a row of processes is about."""
    if name.startswith(f"{_BY}Parent"):
        rest = name.removeprefix(f"{_BY}Parent")
        return (
            f"{OWN}.grandparent_process.{_GRANDPARENT[rest]}" if table == PROCESS else row.fills[0]
        )
    if name.startswith(f"{_BY}Account") and table == "DeviceLogonEvents":
        return None
    parents = [field for field in row.fills if field.startswith("process.parent.")]
    others = [field for field in row.fills if field not in parents]
    return next(iter(parents if table == PROCESS else others), None)


def _subject(name: str, row: Row, table: str) -> str | None:
    """Of what the row is about: an image, an account, an address, a registry key."""
    if name == "registryValueType":
        # Windows' own names are in the documents, such as REG_SZ for String.
        return None
    kind = _SUBJECTS.get(table, "file")
    if name == "fileSize" and kind != "file":
        return f"{OWN}.file_size"
    wanted = f"{kind}."
    if name.startswith("account"):
        wanted = "user.target." if table == "DeviceEvents" else "user."
    elif name == "registryKey":
        wanted = "registry.path"
    elif table == "DeviceLogonEvents" and name.startswith(("local", "remote")):
        # A logon is told by the machine that is logged on to, all else by the one that asks.
        wanted = "destination." if name.startswith("local") else "source."
    fitting = [field for field in row.fills if field.startswith(wanted)]
    return (fitting or list(row.fills))[0]
