"""The newest version of each thing that a stream has versions of: how it is declared, and named.

A data stream keeps every version. What is true *now* stands in an index beside it, which holds one
document for each thing. Names follow Elastic's: Kibana's Findings read whatever answers to
``security_solution-*.vulnerability_latest``, and nothing that searches ``logs-*`` counts a thing
twice.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from aquila_mde.streams.collect_spec import Declared
from aquila_mde.streams.tree import PackageTree
from aquila_mde.streams.yaml_source import read_yaml

TENANT_FIELD = "organization.id"
"""Holds the id of the tenant in the documents of every stream."""
NAMESPACE_FIELD = "data_stream.namespace"
KEPT_APART = (TENANT_FIELD, NAMESPACE_FIELD)
"""Part of every key: two tenants may know a thing by the same id."""
FieldName = Annotated[str, Field(pattern=r"^@?[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$")]


def _as_field(value: Any) -> Any:
    """``180d`` as an age by the field that is sorted by."""
    return {"after": value} if isinstance(value, str) else value


class Retention(Declared):
    """When a thing of which nothing is heard any more leaves the index."""

    field: FieldName = "@timestamp"
    """The time that is compared; the age is counted from it."""
    after: str = Field(pattern=r"^[1-9][0-9]*[mhd]$")


class Latest(Declared):
    """The ``latest`` of a ``mapping.yml``."""

    version: int = Field(default=1, ge=1)
    """Raised when the index must be made anew, since its key or the type of a field changed."""
    key: tuple[FieldName, ...] = Field(min_length=1)
    """The fields that tell the things of one tenant apart."""
    needs: tuple[FieldName, ...] = ()
    """What a record must have to be taken; where nothing is named, the whole key."""
    sort: FieldName = "@timestamp"
    """The time that says which of two versions is newer."""
    retention: Annotated[Retention, BeforeValidator(_as_field)]

    @model_validator(mode="after")
    def _a_key_of_its_own(self) -> Latest:
        for name in self.key:
            if name in KEPT_APART:
                raise ValueError(f"{name} is part of every key and need not be named")
        return self

    @property
    def unique_key(self) -> tuple[str, ...]:
        """The whole key."""
        return (*KEPT_APART, *self.key)

    @property
    def needed(self) -> tuple[str, ...]:
        """The fields without which a record is left out."""
        return self.needs or self.key


def latest_alias(dataset: str) -> str:
    """The name under which the newest versions of ``dataset`` are read."""
    return f"security_solution-{dataset}_latest"


def transform_name(stream: str) -> str:
    """The folder of the transform that keeps the newest versions of ``stream``."""
    return f"latest_{stream}"


def streams_with_latest(tree: PackageTree) -> set[str]:
    """The streams whose ``mapping.yml`` has a ``latest``."""
    found: set[str] = set()
    for folder in tree.data_streams():
        file = folder / "mapping.yml"
        source = read_yaml(file)[0] if file.is_file() else None
        if source is not None and isinstance(source.values, dict) and source.values.get("latest"):
            found.add(folder.name)
    return found
