"""Sigma rules of our own, in Lucene, over rows of hunting in a real engine: hit and no hit."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from aquila_mde.sigma.convert import INDEX, SigmaRuleError, convert
from aquila_mde.streams.tree import PackageTree
from tests.rules.conftest import Index
from tests.rules.records import document

FOLDER = Path(__file__).parent / "sigma"
TREE = PackageTree.default()
ENCODED = {
    "ActionType": "ProcessCreated",
    "FileName": "PowerShell.EXE",
    "FolderPath": "C:\\Windows\\System32\\WindowsPowerShell\\v1.0\\powershell.exe",
    "ProcessCommandLine": "powershell -NoP -ENC SQBFAFgA",
    "InitiatingProcessFileName": "WINWORD.EXE",
    "AccountName": "eva",
}
RUN = {
    "ActionType": "RegistryValueSet",
    "RegistryKey": "HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Run",
    "RegistryValueName": "Updater",
    "RegistryValueData": "C:\\Users\\eva\\u.exe",
}
TOOL = {
    "ActionType": "ConnectionSuccess",
    "RemoteIP": "81.2.69.142",
    "RemotePort": 443,
    "LocalIP": "10.0.0.7",
    "InitiatingProcessFileName": "certutil.exe",
    "InitiatingProcessFolderPath": "C:\\Windows\\System32\\certutil.exe",
}
LIBRARY = {
    "ActionType": "ImageLoaded",
    "FileName": "x.dll",
    "FolderPath": "C:\\Users\\eva\\AppData\\Local\\Temp\\x.dll",
    "SHA256": "a4752c71d81afd3d5865d24ddb11a6b0c615062fcc448d24050c2172d2cbccd6",
}
LOGON = {
    "ActionType": "LogonSuccess",
    "LogonType": "RemoteInteractive",
    "IsLocalAdmin": True,
    "RemoteIP": "81.2.69.142",
    "AccountName": "admin",
}
DROPPED = {
    "ActionType": "FileCreated",
    "FileName": "invoice.JS",
    "FolderPath": "C:\\Users\\eva\\Downloads\\invoice.JS",
    "InitiatingProcessFileName": "7z.exe",
    "InitiatingProcessFolderPath": "C:\\Program Files\\7-Zip\\7z.exe",
}
# By rule: a query of its table, a row that it must find, and what makes rows that it must not.
ROWS: dict[str, tuple[str, dict[str, Any], list[dict[str, Any]]]] = {
    "encoded_command": (
        "protection_switched_off",
        ENCODED,
        [
            {"ProcessCommandLine": "powershell -File encode.ps1"},
            {"InitiatingProcessFileName": "explorer.exe"},
            {"AccountName": "svc-backup"},
            {"FileName": "cmd.exe"},
        ],
    ),
    "run_key": (
        "run_key",
        RUN,
        [
            {
                "RegistryKey": RUN["RegistryKey"].replace("Run", "App"),
            },
            {"RegistryValueData": "1"},
            {"ActionType": "RegistryValueDeleted"},
        ],
    ),
    "tool_to_network": (
        "smb_to_internet",
        TOOL,
        [
            {"RemoteIP": "192.168.3.4"},
            {"RemotePort": 8443},
            {
                "InitiatingProcessFolderPath": "C:\\x\\curl.exe",
                "InitiatingProcessFileName": "curl.exe",
            },
        ],
    ),
    "library": (
        "library_from_user_folder",
        LIBRARY,
        [
            {"FolderPath": "C:\\Windows\\System32\\x.dll"},
            {"SHA256": "2f06378295ce94edbc9e1bb6e6f57739af607e335e1da9f73d514cadecbe2444"},
        ],
    ),
    "logon": (
        "remote_desktop_logon_from_internet",
        LOGON,
        [{"RemoteIP": None, "LocalIP": "81.2.69.142"}, {"IsLocalAdmin": False}],
    ),
    "file": (
        "double_extension",
        DROPPED,
        [{"ActionType": "FileDeleted"}, {"FileName": "a.txt", "FolderPath": "C:\\a.txt"}],
    ),
}


@pytest.fixture(scope="module")
def rows(index: Index) -> dict[str, tuple[str, list[str]]]:
    """By rule: the id of the row that it must find, and those of the rows that it must not."""
    lines: list[str] = []
    found: dict[str, tuple[str, list[str]]] = {}

    def add(key: str, hunt: str, record: dict[str, Any]) -> str:
        said = {"stream": "hunting", "ago": "1h", "hunt": hunt, "record": record}
        _, made = document(said, datetime(2019, 1, 1, tzinfo=UTC))
        made["data_stream"]["namespace"] = index.namespace
        into = {"_index": f"logs-aquila_mde.hunting-{index.namespace}", "_id": key}
        lines.extend([json.dumps({"create": into}), json.dumps(made)])
        return key

    for name, (hunt, hit, misses) in ROWS.items():
        found[name] = (
            add(name, hunt, hit),
            [add(f"{name}-{n}", hunt, hit | other) for n, other in enumerate(misses)],
        )
    with httpx.Client(base_url=index.url, trust_env=False, timeout=120) as client:
        answer = client.post(
            "/_bulk?refresh=true",
            content="\n".join(lines) + "\n",
            headers={"Content-Type": "application/x-ndjson"},
        ).json()
    assert not answer["errors"], answer
    return found


@pytest.mark.parametrize("name", sorted(ROWS))
async def test_a_sigma_rule_finds_its_row_and_no_other(
    name: str, rows: dict[str, tuple[str, list[str]]], index: Index
) -> None:
    (query,) = convert([FOLDER / f"{name}.yml"], "lucene", TREE)
    body = {"size": 100, "query": {"query_string": {"query": query}}}
    answer = await index.search(INDEX, body)
    ids = {hit["_id"] for hit in answer["hits"]["hits"]}
    hit, misses = rows[name]
    assert len(misses) > 1
    assert ids == {hit}


def test_there_is_a_case_for_each_rule() -> None:
    assert {file.stem for file in FOLDER.glob("*.yml")} == set(ROWS)


def test_the_same_rule_in_the_other_languages() -> None:
    file = FOLDER / "tool_to_network.yml"
    (esql,) = convert([file], "esql", TREE)
    assert esql.startswith("from logs-aquila_mde.hunting-* metadata _id, _index, _version | where ")
    assert 'mde.hunting.table=="DeviceNetworkEvents"' in esql
    assert "destination.port in (80, 443)" in esql
    assert 'cidr_match(destination.ip, "10.0.0.0/8")' in esql
    (eql,) = convert([file], "eql", TREE)
    assert eql.startswith("any where ")
    assert "process.executable regex~" in eql


def test_a_rule_for_kibana() -> None:
    (line,) = convert([FOLDER / "encoded_command.yml"], "lucene", TREE, as_rules=True)
    rule = json.loads(line)
    assert rule["index"] == ["logs-aquila_mde.hunting-*"]
    assert (rule["type"], rule["language"], rule["enabled"]) == ("query", "lucene", False)
    assert (rule["severity"], rule["risk_score"]) == ("high", 73)
    assert rule["rule_id"] == "7f0c1c55-2a4e-4a1b-9d0e-6d1f1c6a0001"
    assert rule["tags"] == ["Sigma", "attack.execution", "attack.t1059.001"]
    (line,) = convert([FOLDER / "encoded_command.yml"], "esql", TREE, as_rules=True)
    rule = json.loads(line)
    assert (rule["type"], rule["language"], "index" in rule) == ("esql", "esql", False)
    assert rule["query"].startswith("from logs-aquila_mde.hunting-*")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("category: network_connection", "category: dns_query", "no table of advanced hunting"),
        ("RemotePort", "RemotePortal", "RemotePortal"),
        ("DestinationIp|cidr", "DestinationIp|startswith", "has no wildcards"),
        ("condition: selection", "condition: selektion", "selektion"),
        ("title:", "titel: [", "cannot be converted"),
    ],
)
def test_what_cannot_be_said_is_told(tmp_path: Path, old: str, new: str, told: str) -> None:
    file = tmp_path / "rule.yml"
    file.write_text((FOLDER / "tool_to_network.yml").read_text().replace(old, new, 1))
    with pytest.raises(SigmaRuleError) as raised:
        list(convert([file], "lucene", TREE))
    assert told in str(raised.value)
    assert str(file) in str(raised.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SigmaRuleError, match="cannot be read"):
        list(convert([tmp_path / "gone.yml"], "lucene", TREE))
