"""The layers of ARCHITECTURE.md: which part may import which."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import aquila_mde

SOURCE = Path(aquila_mde.__file__).parent
FOUNDATION = {"errors", "settings", "streams"}
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "streams": {"errors"},
    "settings": {"errors", "streams"},
    "logs": {"errors"},
    "planning": FOUNDATION,
    "defender": FOUNDATION,
    "elastic": FOUNDATION,
    "onboard": FOUNDATION | {"defender"},
    "dashboards": {"errors", "streams"},
    "esql": {"dashboards", "streams"},
    "hunting_pack": {"errors", "streams", "dashboards", "esql"},
    "rules": {"errors", "streams", "dashboards", "esql"},
    "sigma": {"errors", "streams", "rules"},
    "build": FOUNDATION | {"dashboards", "esql", "hunting_pack", "rules"},
    "simulator": FOUNDATION,
    "engine": FOUNDATION,
    "collect": FOUNDATION | {"defender", "elastic"},
    "check": FOUNDATION | {"defender", "elastic", "collect"},
    "preview": FOUNDATION | {"elastic", "dashboards"},
    "demo": FOUNDATION | {"defender", "elastic", "collect", "simulator", "engine", "preview"},
    "trial": FOUNDATION | {"elastic", "collect"},
    "cli": FOUNDATION
    | {"logs", "defender", "elastic", "build", "collect", "simulator", "engine"}
    | {"demo", "trial", "preview", "onboard", "check", "dashboards", "rules", "sigma"}
    | {"planning"},
}
FILES = sorted(
    path for path in SOURCE.rglob("*.py") if path.parent != SOURCE or path.stem != "__init__"
)


def layer_of(file: Path) -> str:
    return file.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_layers(source: str) -> set[str]:
    """The layers that a module names in any import, also one inside a function."""
    modules: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            modules.append(str(node.module))
            modules += [f"{node.module}.{alias.name}" for alias in node.names]
    parts = [module.split(".") for module in modules]
    named = {part[1] for part in parts if part[0] == "aquila_mde" and len(part) > 1}
    return named - {"__version__"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_a_module_imports_only_what_its_layer_may(file: Path) -> None:
    layer = layer_of(file)
    assert layer in ALLOWED, f"{layer} is a new layer: say here and in ARCHITECTURE.md what it may"
    found = imported_layers(file.read_text(encoding="utf-8")) - {layer}
    assert found <= ALLOWED[layer]


def test_every_kind_of_import_is_seen() -> None:
    source = "\n".join(
        (
            "import aquila_mde.defender.client",
            "from aquila_mde.elastic.bulk import Item",
            "from aquila_mde import collect, __version__",
            "def later():",
            "    from aquila_mde.engine import EmbeddedEngine",
        )
    )
    assert imported_layers(source) == {"defender", "elastic", "collect", "engine"}


def test_every_layer_exists_and_is_described() -> None:
    assert {layer_of(file) for file in FILES} == set(ALLOWED)
    described = (SOURCE.parents[1] / "ARCHITECTURE.md").read_text(encoding="utf-8")
    diagram = described.split("## Layers")[1].split("```")[1]
    assert {name for name in ALLOWED if name in diagram} == set(ALLOWED)


def test_defender_and_elastic_are_strangers() -> None:
    assert "elastic" not in ALLOWED["defender"]
    assert "defender" not in ALLOWED["elastic"]
    both = {layer for layer, may in ALLOWED.items() if {"defender", "elastic"} <= may}
    assert both == {"collect", "check", "demo", "cli"}
