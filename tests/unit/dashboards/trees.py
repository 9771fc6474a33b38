"""A package tree with dashboards of the test's own, and panels of every kind."""

from __future__ import annotations

import shutil
from pathlib import Path
from textwrap import dedent, indent

from aquila_mde.streams.tree import PackageTree

HEAD = """\
title: Test
question: What is asked?
order: 1
last: 30d
controls: [{label: Tenant, field: organization.name}]
panels:
"""
PANELS = """\
- title: Number
  kind: metric
  at: [0, 0, 8, 6]
  stream: alert
  filter: "mde.alert.resolved: false"
  metrics: [{of: unique event.id, label: open}]
  colour: danger
  drill: other
- title: Bars
  kind: bar
  at: [8, 0, 40, 6]
  stream: alert
  metrics: [count]
  x: {field: "@timestamp", every: 1d, label: Day}
  by: {field: mde.alert.severity, limit: 3, colours: severity}
- title: Names
  kind: bar_horizontal
  at: [0, 6, 24, 10]
  stream: machine_action
  metrics: [{of: median event.duration, format: nanoseconds, label: Time}]
  x: {field: event.action, limit: 4, order: name}
- title: Line
  kind: line
  at: [24, 6, 24, 10]
  stream: alert
  metrics: [{of: median event.ingested, since: event.created, format: duration}]
  x: {field: "@timestamp", every: 1w}
- title: Areas
  kind: area
  at: [0, 16, 24, 10]
  stream: vulnerability
  metrics:
    - {of: max mde.vulnerability.epss, format: percent}
    - {of: average vulnerability.score.base}
  x: {field: "@timestamp", every: 1d}
- title: Ring
  kind: donut
  at: [24, 16, 12, 10]
  stream: machine
  metrics: [unique host.id]
  by: {field: mde.machine.risk_score, colours: severity}
- title: Cake
  kind: pie
  at: [36, 16, 12, 10]
  stream: machine
  metrics: [count]
  by: host.os.name
- title: Heat
  kind: heatmap
  at: [0, 26, 24, 10]
  stream: vulnerability
  metrics: [{of: unique vulnerability.id}]
  x:
    field: mde.vulnerability.epss
    ranges: [{start: 0, end: 0.1, label: little}, {start: 0.1, end: 1.01, label: much}]
  by: {field: vulnerability.severity, limit: 4}
- title: Table
  kind: table
  at: [24, 26, 24, 10]
  stream: alert
  empty: Nothing came.
  metrics:
    - {of: max @timestamp, format: date, label: Last}
    - {of: last mde.alert.severity, colours: severity, label: Severity}
    - {of: unique event.id, filter: "mde.alert.resolved: false", label: Open}
  rows: [{field: host.name, label: Machine, by: 2}, {field: event.id, hidden: true}]
- title: Now
  kind: metric
  at: [0, 42, 8, 6]
  stream: alert
  latest: true
  filter: "mde.alert.resolved: false"
  metrics: [unique event.id]
- title: Words
  kind: markdown
  at: [0, 36, 48, 6]
  text: "**Bold** and <script>alert(1)</script>"
"""


def dashboard(panels: str, head: str = HEAD) -> str:
    """The text of a dashboard with these panels."""
    return head + indent(dedent(panels), "  ")


def tree_with(folder: Path, **dashboards: str) -> PackageTree:
    """The package of this checkout with other dashboards, by name."""
    root = PackageTree.default().root
    folder.mkdir(exist_ok=True)
    for name in ("manifest.yml", "changelog.yml", "LICENSE.txt"):
        shutil.copy(root / name, folder / name)
    for name in ("data_stream", "pipelines", "package"):
        shutil.copytree(root / name, folder / name)
    there = folder / "package" / "dashboards"
    shutil.rmtree(there)
    there.mkdir()
    for name, text in dashboards.items():
        (there / f"{name.replace('_', '-')}.yml").write_text(text, encoding="utf-8")
    return PackageTree(folder)


OTHER = dashboard(
    "- {title: Number, kind: metric, at: [0, 0, 8, 6], stream: alert, metrics: [count]}",
    HEAD.replace("Test", "Other").replace("order: 1", "order: 2"),
)


def full_tree(folder: Path) -> PackageTree:
    """A tree whose dashboard ``test`` has a panel of every kind, and leads to ``other``."""
    return tree_with(folder, test=dashboard(PANELS), other=OTHER)
