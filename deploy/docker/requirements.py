"""Print the pinned packages of constraints.txt that one kind of installation needs, with hashes.

    python requirements.py run    what the collector needs
    python requirements.py build  what makes its wheel

constraints.txt holds every package of every extra, and says of each by whom it is needed ("via").
Beginning with what pyproject.toml names, that is followed to the end. pip checks the result: a
package without a hash is refused, and "pip check" names one that is missing.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path


def name_of(requirement: str) -> str:
    """The name of a requirement such as ``elasticsearch[async]>=9.1``, as indexes spell it."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    if found is None:
        raise ValueError(f"{requirement!r} is no requirement")
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def pinned(constraints: str) -> dict[str, tuple[str, set[str]]]:
    """Name of each package to its lines, and to the names of the packages that need it."""
    found = {}
    for block in re.findall(r"(?ms)^[a-z0-9][^\n]*==.*?(?=^[a-z0-9]|\Z)", constraints):
        lines, _, via = block.partition("    # via")
        users = {name_of(user) for user in re.findall(r"[A-Za-z0-9][\w.-]*", via)}
        found[name_of(block)] = (lines, users)
    return found


def needed(roots: Iterable[str], constraints: str) -> str:
    """The lines of ``roots`` and of all that they need."""
    packages, wanted = pinned(constraints), {name_of(root) for root in roots}
    while more := {name for name, (_, users) in packages.items() if users & wanted} - wanted:
        wanted |= more
    return "".join(packages[name][0] for name in sorted(wanted))


def main() -> None:
    """Print the lines for what is named on the command line."""
    here = Path.cwd()
    project = tomllib.loads((here / "pyproject.toml").read_text(encoding="utf-8"))
    roots = {
        "run": project["project"]["dependencies"],
        "build": [*project["build-system"]["requires"], "pip"],
    }[sys.argv[1]]
    sys.stdout.write(needed(roots, (here / "constraints.txt").read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
