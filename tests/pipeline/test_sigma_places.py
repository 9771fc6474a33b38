"""Each column of each table of advanced hunting is where the Sigma pipeline says.

A row that names every column goes through the real ingest pipeline of the stream, table by table.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from aquila_mde.build.built import field_types
from aquila_mde.build.mappings import load_mappings
from aquila_mde.build.sigma.places import STREAM, columns
from tests.pipeline.pipelines import TREE, Pipelines, document

MAPPINGS, LIBRARY = load_mappings(TREE)
(SPEC,) = (one.spec for one in MAPPINGS if one.stream == STREAM)
TYPES = field_types(TREE)[STREAM]
TABLES = list(LIBRARY.tables["hunt_table"].values)
_HASH = {"md5": 32, "sha1": 40, "sha256": 64}
# What is told of the row as a whole, and not of a column that a rule looks for.
_OTHER = {"timestamp", "timegenerated"}


def samples(table: str) -> Iterator[tuple[str, Any, str]]:
    """Each column with a value that is its own, and the field that it should be in."""
    for number, (column, field) in enumerate(columns(SPEC, LIBRARY, table).items()):
        if column.lower() not in _OTHER:
            yield column, _sample(column, field, number), field


def _sample(column: str, field: str, number: int) -> Any:
    kind = TYPES[field]
    last = field.rpartition(".")[2]
    if last in _HASH:
        return f"{number:x}".rjust(_HASH[last], "a")
    if kind == "ip":
        return f"10.1.{number // 250}.{number % 250 + 1}"
    if kind in ("long", "byte", "float"):
        return 1000 + number
    if kind == "boolean":
        return True
    if kind in ("date", "date_nanos"):
        return f"2026-03-02T08:{number // 60:02}:{number % 60:02}.000Z"
    if column.lower() == "protocol":
        return "tcp"
    if column == "RegistryKey":
        return f"HKEY_LOCAL_MACHINE\\Software\\{number}"
    return f"value{number}"


def _beside(column: str) -> dict[str, str]:
    """A domain or a SID is told of an account that has a name."""
    account = column.removesuffix("Domain").removesuffix("Sid")
    return {f"{account}Name": "eva"} if account.endswith("Account") and account != column else {}


def found(document: dict[str, Any], field: str) -> Any:
    """What ``document`` has in ``field``."""
    value: Any = document
    for part in field.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


@pytest.mark.parametrize("table", TABLES)
def test_a_column_is_where_the_pipeline_for_sigma_says(table: str, pipelines: Pipelines) -> None:
    told = list(samples(table))
    hunt = {"name": "test", "title": "Test", "table": table, "mapping": {}}
    documents = [
        document(
            STREAM,
            json.dumps(_beside(column) | {"Timestamp": "2026-03-02T08:00:00Z", column: value}),
            join={"hunt": hunt},
        )
        for column, value, _ in told
    ]
    made = pipelines.run(STREAM, documents)
    elsewhere = [
        f"{column} is not in {field}"
        for (column, value, field), one in zip(told, made, strict=True)
        if not _same(found(one, field), value)
    ]
    assert elsewhere == []
    assert len(told) > 150


def _same(there: Any, value: Any) -> bool:
    values = there if isinstance(there, list) else [there]
    wanted = str(value).lower().replace("hkey_local_machine", "hklm")
    # A time is told to the second here, and as the field's type writes it there.
    told = [str(one).lower() for one in values if one is not None]
    return wanted in told or any(one[:19] == wanted[:19] and "t08:" in one for one in told)
