"""The ways to break a transform in a package."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.unit.build.package_with_everything import DASHBOARD, TRANSFORM, Files, swap

FIELDS = TRANSFORM.replace("transform.yml", "fields/base-fields.yml")


def looking_into(index: str) -> Callable[[Files], None]:
    """A panel with a data view of its own."""

    def change(files: Files) -> None:
        whole = json.loads(files[DASHBOARD])
        panels = json.loads(whole["attributes"]["panelsJSON"])
        state = panels[0]["embeddableConfig"]["attributes"]["state"]
        state["adHocDataViews"]["v"]["title"] = index
        whole["attributes"]["panelsJSON"] = json.dumps(panels)
        files[DASHBOARD] = json.dumps(whole, indent=2).encode()

    return change


TRANSFORM_CASES: list[tuple[str, str, Callable[[Files], None], str]] = [
    ("transform", TRANSFORM, swap(TRANSFORM, "\ndest:", "\npivot: {}\ndest:"), "latest and pivot"),
    ("transform", TRANSFORM, swap(TRANSFORM, "\nlatest:", "\n_latest:"), "neither"),
    ("transform", TRANSFORM, swap(TRANSFORM, "\ndest:", "\n_dest:"), "dest is missing"),
    (
        "transform-version",
        TRANSFORM,
        swap(TRANSFORM, "fleet_transform_version", "version"),
        "Fleet never brings",
    ),
    (
        "transform-source",
        TRANSFORM,
        swap(TRANSFORM, "logs-aquila_mde.machine-*", "logs-*"),
        "no data stream of the package",
    ),
    (
        "transform-destination",
        TRANSFORM,
        swap(TRANSFORM, "index: security_solution-aquila_mde.", "index: logs-aquila_mde.machine-"),
        "template of the data stream machine",
    ),
    ("transform-field", TRANSFORM, swap(TRANSFORM, "- host.id", "- host.mood"), "host.mood"),
    ("transform-field", TRANSFORM, swap(TRANSFORM, "sort: '@timestamp'", "sort: host.id"), "host"),
    (
        "transform-field",
        TRANSFORM,
        swap(TRANSFORM, "field: event.ingested", "field: event.original"),
        "event.original, which is keyword",
    ),
    (
        "transform-field",
        TRANSFORM,
        swap(
            FIELDS,
            "name: data_stream.namespace\n  type: keyword",
            "name: data_stream.namespace\n  type: constant_keyword",
        ),
        "constant_keyword there",
    ),
    (
        "panel-view",
        DASHBOARD,
        looking_into("security_solution-aquila_mde.phone_latest"),
        "phone_latest, which is nothing of the package",
    ),
]
