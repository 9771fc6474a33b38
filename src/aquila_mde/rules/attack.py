"""The tactics and techniques of MITRE ATT&CK that rules may name.

Tactics are those of ``pipelines/tables/tactic.yml``, which the pipelines write into documents too;
techniques those of ``attack.yml`` beside this file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from aquila_mde.streams.tree import PackageTree

Json = dict[str, Any]
_SITE = "https://attack.mitre.org"


@dataclass(frozen=True)
class Attack:
    """What is known of ATT&CK."""

    tactics: Mapping[str, tuple[str, str]]
    """Id and name by how Defender writes the tactic, such as ``DefenseEvasion``."""
    techniques: Mapping[str, Json]
    """Name and tactics by id."""

    def problem(self, tactic: str, technique: str | None = None) -> str | None:
        """What is wrong with ``technique`` of ``tactic``, or with the tactic alone."""
        if tactic not in self.tactics:
            return f"there is no tactic {tactic}"
        if technique is None:
            return None
        known = self.techniques.get(technique)
        if known is None:
            return f"{technique} is not in attack.yml beside the reader of the rules"
        if tactic not in known["tactics"]:
            return f"{technique} belongs to {', '.join(known['tactics'])}"
        return None

    def threat(self, named: Mapping[str, tuple[str, ...]]) -> list[Json]:
        """Techniques by tactic as Kibana's rules have them, the parents of subtechniques too."""
        found = []
        for tactic, techniques in named.items():
            key, name = self.tactics[tactic]
            by_parent: dict[str, list[Json]] = {}
            for technique in techniques:
                parent, _, part = technique.partition(".")
                below = by_parent.setdefault(parent, [])
                if part:
                    below.append(self._entry(technique, f"techniques/{parent}/{part}/"))
            found.append(
                {
                    "framework": "MITRE ATT&CK",
                    "tactic": {"id": key, "name": name, "reference": f"{_SITE}/tactics/{key}/"},
                    "technique": [
                        {
                            **self._entry(parent, f"techniques/{parent}/"),
                            **({"subtechnique": below} if below else {}),
                        }
                        for parent, below in by_parent.items()
                    ],
                }
            )
        return found

    def _entry(self, technique: str, path: str) -> Json:
        name = self.techniques[technique]["name"]
        return {"id": technique, "name": name, "reference": f"{_SITE}/{path}"}


def load_attack(tree: PackageTree) -> Attack:
    """What is known of ATT&CK to the rules of ``tree``."""
    table = yaml.safe_load((tree.pipelines / "tables" / "tactic.yml").read_text("utf-8"))
    tactics = {name: (cells[0], cells[1]) for name, cells in table["values"].items()}
    return Attack(tactics, _techniques())


@cache
def _techniques() -> Json:
    loaded: Json = yaml.safe_load(files(__package__).joinpath("attack.yml").read_text("utf-8"))
    return loaded
