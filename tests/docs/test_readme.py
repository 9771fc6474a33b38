"""README.md and the pages in docs/ say what the program does."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
import typer
from pydantic import BaseModel

from aquila_mde.cli import app
from aquila_mde.elastic.privileges import role_of
from aquila_mde.settings import VARIABLES, Settings, TenantSettings
from aquila_mde.settings.tenants import ListedTenant
from aquila_mde.streams.stream import load_streams
from aquila_mde.streams.tree import PackageTree
from tests.docs.commands import every_command

ROOT = PackageTree.default().root
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCS = ROOT / "docs"
SETTINGS = (DOCS / "settings.md").read_text(encoding="utf-8")
OPERATING = (DOCS / "operating.md").read_text(encoding="utf-8")
SECURITY = (DOCS / "security.md").read_text(encoding="utf-8")
# Without the pages that the streams (README.md) and the benchmark are the owners of.
WRITTEN = {
    file.name: file.read_text(encoding="utf-8")
    for file in (ROOT / "README.md", *sorted(DOCS.glob("*.md")))
    if file not in (DOCS / "README.md", DOCS / "performance.md")
}
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
OTHER_VARIABLES = {
    *("AQUILA_CONFIG", "AQUILA_STATE", "AQUILA_LOG_LEVEL", "AQUILA_TENANT__API_URL"),
    *("AQUILA_CACHE", "AQUILA_MONITORING__PORT", "AQUILA_MONITORING__ADDRESS"),
}


def section(title: str) -> str:
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    """The cells of every table row but the heads."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    heads = {index - 1 for index, row in enumerate(cells) if set(row[0]) == {"-"}}
    return [row for index, row in enumerate(cells) if index not in heads and set(row[0]) != {"-"}]


def _is_part(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def setting_names(model: type[BaseModel], prefix: str = "") -> list[str]:
    found: list[str] = []
    for name, field in model.model_fields.items():
        kind: Any = field.annotation
        # Of a part that may be left out, the part.
        kind = next((one for one in get_args(kind) if _is_part(one)), kind)
        if get_origin(field.annotation) is dict:
            found += setting_names(kind, f"{prefix}{name}.<stream>.")
        elif _is_part(kind):
            found += setting_names(kind, f"{prefix}{name}.")
        else:
            found.append(f"{prefix}{name}")
    return found


def test_the_settings_table_has_every_setting_and_its_variable() -> None:
    variables = {".".join(path): name for name, path in VARIABLES.items()}
    variables |= {"state": "AQUILA_STATE", "log_level": "AQUILA_LOG_LEVEL"}
    expected = {name: variables.get(name, "") for name in setting_names(Settings)}
    # What an entry of the list has beside what one tenant has.
    own = set(ListedTenant.model_fields) - set(TenantSettings.model_fields)
    expected |= {f"tenants[].{name}": "" for name in own}
    table = {row[0].strip("`"): row[1].strip("`") for row in rows(SETTINGS)}
    assert table == expected


def test_every_variable_that_is_named_exists() -> None:
    text = "\n".join(WRITTEN.values())
    named = set(re.findall(r"\b(?:AQUILA|ES|KIBANA)_[A-Z_]+\b", text))
    assert named == set(VARIABLES) | OTHER_VARIABLES


def test_every_variable_of_the_program_and_of_the_tests_is_documented() -> None:
    described = "\n".join(WRITTEN.values()) + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    pattern = re.compile(r"[\"'](AQUILA_[A-Z][A-Z_]*[A-Z])[\"']")
    for folder in ("src", "tests"):
        for file in (ROOT / folder).rglob("*.py"):
            for name in pattern.findall(file.read_text(encoding="utf-8")):
                assert f"`{name}`" in described, f"{name} of {file.name}"


def short(duration: timedelta) -> str:
    units = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))
    seconds = int(duration.total_seconds())
    unit, letter = next((unit, letter) for unit, letter in units if seconds % unit == 0)
    return f"{seconds // unit}{letter}"


def test_the_table_of_streams_is_what_the_streams_declare() -> None:
    expected = []
    for stream in load_streams(PackageTree(ROOT)):
        spec, delta = stream.collect, stream.collect.delta
        whole, every = f"`{spec.endpoint.path}`", short(spec.interval)
        expected.append(
            [
                stream.name,
                f"`{delta.endpoint.path}`, all of it {whole}" if delta else whole,
                f"`{spec.endpoint.permission}`",
                f"{every}, all of it {short(delta.full_export_every)}" if delta else every,
                f"`{stream.index('<namespace>')}`",
            ]
        )
        assert {endpoint.permission for endpoint in spec.endpoints()} == {spec.endpoint.permission}
    assert rows(section("Streams")) == expected


def test_the_table_of_commands_is_complete() -> None:
    table = {row[0].strip("`").removeprefix("aquila-mde ") for row in rows(section("Commands"))}
    assert table == set(COMMANDS)


@pytest.mark.parametrize("name", sorted(every_command()))
def test_a_command_and_each_of_its_options_explain_themselves(name: str) -> None:
    command = every_command()[name]
    assert command.help
    assert [option.name for option in command.params if not getattr(option, "help", None)] == []


@pytest.mark.parametrize("page", WRITTEN)
def test_every_command_and_option_that_is_named_exists(page: str) -> None:
    # A command of another program ends with its line, or with the code that it is in.
    other = r"(?<=[`\n])(?:docker|helm|kubectl) (?:\\\n|[^`\n])*"
    text = re.sub(other, "", WRITTEN[page])
    options = {
        text
        for command in every_command().values()
        for option in command.params
        for text in (*option.opts, *option.secondary_opts)
    }
    of_others = {"--help", "--keep", "--upgrade", "--install-completion", "--show-completion"}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))
    assert named <= options | of_others
    first = set(re.findall(r"`aquila-mde ([a-z]+)", text))
    first |= set(re.findall(r"^aquila-mde ([a-z]+)", text, re.MULTILINE))
    assert first <= set(COMMANDS)


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for file in ("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md"):
        text = (ROOT / file).read_text(encoding="utf-8")
        named = set(re.findall(r"`make ([a-z-]+)", text))
        named |= set(re.findall(r"^make ([a-z-]+)", text, re.MULTILINE))
        assert named <= targets, file


@pytest.mark.parametrize("file", ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md"])
def test_every_file_that_is_named_exists(file: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8")
    named = re.findall(r"`((?:src|tests|data_stream|pipelines|deploy)/[\w./]*)`", text)
    made_by_reader = {"data_stream/recommendation/", "pipelines/recommendation.yml.j2"}
    missing = [
        path for path in named if path not in made_by_reader and not Path(ROOT / path).exists()
    ]
    assert missing == []


def test_the_table_of_privileges_is_the_role() -> None:
    role = role_of({"<namespace>": True}, flavour="opensearch")
    expected = {"the cluster": set(role["cluster"])}
    for part in role["indices"]:
        expected |= {f"`{name}`": set(part["privileges"]) for name in part["names"]}
    table = SECURITY.split("| on | privileges | for |")[1].split("\n\n")[0]
    found: dict[str, set[str]] = {}
    where = ""
    for row in rows("| on | privileges | for |" + table):
        where = row[0] or where
        found.setdefault(where, set()).update(re.findall(r"`(\w+)`", row[1]))
    assert found == expected


def test_every_metric_is_described() -> None:
    source = (ROOT / "src/aquila_mde/collect/telemetry.py").read_text(encoding="utf-8")
    told = source.split("_GAUGES = (")[1].split("\n)\n")[0]
    gauges = {f"aquila_mde_{name}" for name in re.findall(r"""(?m)^    \(\s*"(\w+)",""", told)}
    counters = {f"aquila_mde_{name}_total" for name in re.findall(r'counter\(\s*"(\w+)"', source)}
    assert len(gauges) + len(counters) > 9
    text = OPERATING
    unsaid = {"aquila_mde_interval_seconds"}
    assert {name for name in gauges | counters if f"`{name}`" not in text} <= unsaid
