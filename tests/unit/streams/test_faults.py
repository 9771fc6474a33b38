"""Every fault of the declarative files is found in one run, each with file, line and field."""

import shutil
from pathlib import Path

import pytest

from aquila_mde.streams.faults import FaultsFoundError
from aquila_mde.streams.stream import load_streams
from aquila_mde.streams.tree import PackageTree

GOOD = (PackageTree.default().root / "data_stream" / "alert" / "collect.yml").read_text()


@pytest.fixture
def tree(tmp_path: Path) -> PackageTree:
    source = PackageTree.default().root
    shutil.copy(source / "manifest.yml", tmp_path)
    for name in ("alert", "machine"):
        folder = tmp_path / "data_stream" / name
        folder.mkdir(parents=True)
        for file in ("manifest.yml", "collect.yml", "mapping.yml"):
            shutil.copy(source / "data_stream" / name / file, folder)
    return PackageTree(tmp_path)


def faults_of(tree: PackageTree) -> list[str]:
    with pytest.raises(FaultsFoundError) as caught:
        load_streams(tree)
    root = str(tree.root) + "/data_stream/"
    return [str(fault).replace(root, "") for fault in caught.value.faults]


def test_the_shipped_streams_have_none() -> None:
    assert [stream.name for stream in load_streams(PackageTree.default())] == [
        "alert",
        "hunting",
        "machine",
        "machine_action",
        "vulnerability",
    ]


def test_faults_of_several_files_come_together_in_order(tree: PackageTree) -> None:
    alert = tree.root / "data_stream" / "alert" / "collect.yml"
    lines = GOOD.splitlines()
    lines[lines.index("interval: 5m")] = "interval: often"
    lines[lines.index("  path: /api/alerts")] = "  pfad: /api/alerts"
    alert.write_text("\n".join(lines))
    (tree.root / "data_stream" / "machine" / "manifest.yml").write_text("title: x\ntype: metrics\n")
    found = faults_of(tree)
    assert found == [
        "alert/collect.yml:3: endpoint.path: is missing",
        "alert/collect.yml:4: endpoint.pfad: is not a key that is known here",
        f"alert/collect.yml:{lines.index('interval: often') + 1}: interval: must be a duration "
        "such as 90s, 5m, 2h or 7d, but it is 'often'",
        "machine/manifest.yml:2: type: must be logs",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a: [1", "alert/collect.yml:1: is not YAML: expected ',' or ']', but got '<stream end>'"),
        ("- 1\n", "alert/collect.yml:1: must hold a mapping of keys to values"),
        (
            "strategy: [\n",
            "alert/collect.yml:2: is not YAML: expected the node content, but found '<stream end>'",
        ),
    ],
)
def test_a_broken_file_is_a_fault(tree: PackageTree, text: str, fault: str) -> None:
    (tree.root / "data_stream" / "alert" / "collect.yml").write_text(text)
    assert faults_of(tree)[0] == fault


def test_a_repeated_key_is_a_fault(tree: PackageTree) -> None:
    file = tree.root / "data_stream" / "alert" / "collect.yml"
    file.write_text(GOOD + "interval: 9m\n")
    line = len(GOOD.splitlines()) + 1
    assert faults_of(tree) == [f"alert/collect.yml:{line}: interval: is given twice"]


def test_a_file_that_is_not_utf8_is_a_fault(tree: PackageTree) -> None:
    (tree.root / "data_stream" / "alert" / "collect.yml").write_bytes(b"a: \xff\n")
    assert faults_of(tree)[0] == "alert/collect.yml:1: is not UTF-8 (byte 3)"


@pytest.mark.parametrize(
    ("old", "new", "field", "problem"),
    [
        ("    - lastUpdateTime\n", "    - {}\n", "identity.parts[1]", "needs exactly one of"),
        (
            "    - lastUpdateTime\n",
            "    - digest_of: [a]\n      otherwise: [b]\n",
            "identity.parts[1]",
            "otherwise goes with property only",
        ),
        (
            "    - lastUpdateTime\n",
            "    - bucket_of_export: 30d\n",
            "",
            "bucket_of_export belongs to the export strategy",
        ),
        ("strategy: incremental", "strategy: export", "", "an export has neither"),
        ("  expand: [evidence]\n", "", "", "expand_may_fail needs expand"),
        ("strategy: incremental", "strategy: guess", "strategy", "input should be 'incremental'"),
        ("  entity: id\n", "  entity: id\n  renew: {day_of: lastSeen}\n", "", "identity.renew"),
        ("    - id\n", "    - 'not a name'\n", "identity.parts[0]", "string should match"),
    ],
)
def test_what_does_not_fit_together_is_a_fault(
    tree: PackageTree, old: str, new: str, field: str, problem: str
) -> None:
    assert old in GOOD
    (tree.root / "data_stream" / "alert" / "collect.yml").write_text(GOOD.replace(old, new))
    found = faults_of(tree)
    assert any(f"{field}: {problem}" in each if field else problem in each for each in found), found


def test_a_sweep_needs_a_cursor(tree: PackageTree) -> None:
    start, end = GOOD.index("cursor:"), GOOD.index("sweep:")
    file = tree.root / "data_stream" / "alert" / "collect.yml"
    file.write_text(GOOD[:start] + GOOD[end:])
    assert "sweep needs a cursor" in faults_of(tree)[0]


EXPORT = (PackageTree.default().root / "data_stream/vulnerability/collect.yml").read_text()


@pytest.mark.parametrize(
    ("old", "new", "place", "problem"),
    [
        ("  period: 6h\n", "", "delta:", "delta.period: is missing"),
        ("  period: 6h", "  period: 6 hours", "  period: 6 hours", "delta.period: must be a dura"),
        ("  period: 6h", "  periods: 6h", "  periods: 6h", "delta.periods: is not a key that is"),
        ("  at_most: 14d", "  at_most: 12h", "delta:", "delta: at_most must be longer than"),
        (
            "    - eventTimestamp\n",
            "    - digest_of_join: cve\n",
            "    - digest_of_join: cve",
            "delta.parts[3]: a change is told by its own properties",
        ),
        (
            "    - eventTimestamp\n",
            "    - bucket_of_export: 30d\n",
            "    - bucket_of_export: 30d",
            "delta.parts[3]: a change is told by its own properties",
        ),
        (
            "    path: /api/machines/SoftwareVulnerabilityChangesByMachine",
            "    path: SoftwareVulnerabilityChangesByMachine",
            "    path: SoftwareVulnerabilityChangesByMachine",
            "delta.endpoint.path: string should match",
        ),
    ],
)
def test_a_fault_of_the_delta_is_found_at_its_line(
    tree: PackageTree, old: str, new: str, place: str, problem: str
) -> None:
    source = PackageTree.default().root / "data_stream" / "vulnerability"
    folder = tree.root / "data_stream" / "vulnerability"
    shutil.copytree(source, folder)
    assert EXPORT.count(old) >= 1
    at = EXPORT.index("delta:") + EXPORT[EXPORT.index("delta:") :].index(old)
    changed = EXPORT[:at] + new + EXPORT[at + len(old) :]
    (folder / "collect.yml").write_text(changed)
    line = changed.splitlines().index(place) + 1
    found = faults_of(tree)
    assert any(each.startswith(f"vulnerability/collect.yml:{line}: {problem}") for each in found)


def test_a_delta_belongs_to_an_export(tree: PackageTree) -> None:
    start = EXPORT.index("delta:")
    delta = EXPORT[start : EXPORT.index("identity:", start)]
    (tree.root / "data_stream" / "alert" / "collect.yml").write_text(GOOD + delta)
    assert faults_of(tree) == ["alert/collect.yml:1: delta belongs to the export strategy"]


def test_a_tree_without_streams_says_so(tmp_path: Path) -> None:
    with pytest.raises(FaultsFoundError, match="holds no stream with a collect.yml"):
        load_streams(PackageTree(tmp_path))
