"""docs/commands.md has every command and option, and shells complete them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.commands import PAGE, every_command, text

PROGRAM = Path(sys.executable).with_name("aquila-mde")


def test_the_page_is_what_the_commands_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == text(), "run: make docs"


def test_every_option_of_every_command_is_on_the_page() -> None:
    for name, command in every_command().items():
        part = text().split(f"\n## aquila-mde {name}\n")[1].split("\n## ")[0]
        for option in command.params:
            assert (
                option.hidden
                or all(f"`{each}`" in part for each in option.opts[:1])
                or (option.param_type_name == "argument")
            ), (name, option.name)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [("aquila-mde rec", ["reconcile"]), ("aquila-mde collect --str", ["--stream"])],
)
def test_a_shell_completes_commands_and_options(typed: str, expected: list[str]) -> None:
    shown = subprocess.run(
        [PROGRAM],
        env={
            "_AQUILA_MDE_COMPLETE": "complete_bash",
            "COMP_WORDS": typed,
            "COMP_CWORD": str(len(typed.split()) - 1),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.stdout.split() == expected
