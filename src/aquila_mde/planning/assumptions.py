"""What is assumed of a tenant, since nobody has measured it: to be replaced by what one knows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

from aquila_mde.errors import ConfigurationError


def _assumed(default: float, about: str, *, share: bool = False, positive: bool = False) -> Any:
    return field(default=default, metadata={"about": about, "share": share, "positive": positive})


@dataclass(frozen=True)
class Assumptions:
    """How much happens in a tenant. Each is an option of ``aquila-mde plan`` of the same name."""

    alerts: float = _assumed(0.5, "alerts a machine and month")
    alert_versions: float = _assumed(3, "versions of an alert: status, comment, new evidence")
    online: float = _assumed(
        1, "share of the machines that report within an hour: all is the most", share=True
    )
    machine_changes: float = _assumed(
        1, "changes a machine and day beside the daily document: tags, risk, exposure, addresses"
    )
    actions: float = _assumed(0.1, "machine actions a machine and month")
    action_versions: float = _assumed(3, "versions of an action: pending, in progress, ended")
    vulnerabilities: float = _assumed(300, "rows of the vulnerability export a machine")
    vulnerability_changes: float = _assumed(
        0.01, "share of the rows that is new, fixed or changed in a day", share=True
    )
    renewed: float = _assumed(
        0.1, "share of the rows that a full export has in another version", share=True
    )
    cves: float = _assumed(50_000, "CVEs in the catalogue that rows are joined with")
    cve_changes: float = _assumed(0.01, "share of them that changes in a day", share=True)
    hunting_rows: float = _assumed(0.2, "rows of all hunting queries a machine and day")
    answer_seconds: float = _assumed(
        2, "seconds until the service has answered a call", positive=True
    )

    def __post_init__(self) -> None:
        for name, value, about in self.named():
            rules, hint = _RULES[name], f"It is: {about}."
            if not value >= 0 or value == float("inf"):
                raise wrong_number(option_of(name), value, "0 or more", hint)
            if rules["share"] and value > 1:
                raise wrong_number(option_of(name), value, "between 0 and 1", hint)
            if rules["positive"] and value == 0:
                raise wrong_number(option_of(name), value, "more than 0", hint)

    def named(self) -> Iterator[tuple[str, float, str]]:
        """Each with its value and what it is."""
        for each in fields(self):
            yield each.name, getattr(self, each.name), each.metadata["about"]


_RULES = {each.name: each.metadata for each in fields(Assumptions)}


def option_of(name: str) -> str:
    """``--alert-versions`` of ``alert_versions``."""
    return f"--{name.replace('_', '-')}"


def wrong_number(option: str, value: float, needed: str, hint: str) -> ConfigurationError:
    """The error that says that ``value`` is none that can be planned with."""
    return ConfigurationError(f"{option} is {value:g} and must be {needed}.", hint=hint)
