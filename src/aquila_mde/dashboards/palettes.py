"""The colours of values: the same one for the same value, on every dashboard."""

from __future__ import annotations

CRITICAL, HIGH, MEDIUM, LOW, QUIET = "#BD271E", "#E7664C", "#E5A72F", "#6092C0", "#98A2B3"
_GOOD, _RUNNING, _PALE = "#54B399", "#79AAD9", "#C2C9D6"

PALETTES: dict[str, dict[str, str]] = {
    "severity": {
        "Critical": CRITICAL,
        "CRITICAL": CRITICAL,
        "High": HIGH,
        "HIGH": HIGH,
        "Medium": MEDIUM,
        "MEDIUM": MEDIUM,
        "Low": LOW,
        "LOW": LOW,
        "Informational": "#A6C4E5",
        "UnSpecified": _PALE,
        "None": QUIET,
        "NONE": QUIET,
    },
    "alert-status": {
        "New": HIGH,
        "InProgress": MEDIUM,
        "Resolved": _GOOD,
        "Unknown": QUIET,
    },
    "classification": {
        "TruePositive": HIGH,
        "FalsePositive": LOW,
        "InformationalExpectedActivity": _GOOD,
        "Unknown": QUIET,
    },
    "outcome": {"success": _GOOD, "failure": HIGH, "unknown": QUIET},
    "action-status": {
        "Succeeded": _GOOD,
        "Failed": HIGH,
        "TimeOut": MEDIUM,
        "Cancelled": QUIET,
        "Pending": LOW,
        "InProgress": _RUNNING,
    },
    "health": {
        "Active": _GOOD,
        "Inactive": HIGH,
        "ImpairedCommunication": MEDIUM,
        "NoSensorData": CRITICAL,
        "NoSensorDataImpairedCommunication": "#920000",
        "Unknown": QUIET,
    },
    "onboarding": {
        "Onboarded": _GOOD,
        "CanBeOnboarded": MEDIUM,
        "Unsupported": QUIET,
        "InsufficientInfo": LOW,
    },
    "antivirus": {
        "Updated": _GOOD,
        "NotUpdated": MEDIUM,
        "Disabled": HIGH,
        "NotSupported": _PALE,
        "Unknown": QUIET,
    },
    "exploit": {
        "ExploitIsInKit": CRITICAL,
        "ExploitIsVerified": HIGH,
        "ExploitIsPublic": MEDIUM,
        "NoExploit": LOW,
    },
    "vulnerability-status": {"New": HIGH, "Updated": MEDIUM, "Fixed": _GOOD},
    "truth": {"true": HIGH, "false": _GOOD},
}
"""Value to colour; what is in none is coloured in the order of :data:`SERIES`."""
SERIES = (
    *("#54B399", "#6092C0", "#D36086", "#9170B8", "#CA8EAE"),
    *("#D6BF57", "#B9A888", "#DA8B45", "#AA6556", "#E7664C"),
)
ONE = "#6092C0"
"""Where there is only one series."""
_TILES = {"neutral": None, "good": "#CDEBE1", "warning": "#F8E2B8", "danger": "#F7CCC4"}
"""Behind the number of a metric; dark letters are readable on each."""
HEAT = ("#E3EDF8", "#BDD5EC", "#93B9DD", "#6092C0", "#33618F")
"""From few to many; in no colour that means something."""


def tile_colours(name: str) -> tuple[str | None, str | None]:
    """Behind the number of a metric: where it is nought, and where it is not.

    Nothing of what is feared is good.
    """
    some = _TILES[name]
    return (_TILES["good"] if name in ("warning", "danger") else some), some
