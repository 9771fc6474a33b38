"""docs/commands.md: every command with its options, as the program itself explains them.

``python -m tests.docs.commands`` (``make docs``) writes it; a test compares it.
"""

from __future__ import annotations

import inspect
from enum import Enum
from typing import Any

import typer

from aquila_mde.cli import app
from aquila_mde.streams.tree import PackageTree

PAGE = PackageTree.default().root / "docs" / "commands.md"
PROGRAM = "aquila-mde"
_HEAD = """# Commands

<!-- Made by `make docs` from what each command says of itself. -->

`aquila-mde COMMAND --help` says the same. Every command reads the settings file that `--config` or
`AQUILA_CONFIG` names, where it needs one. Where a program reads the output, `--json` prints one
JSON value on standard output and nothing else; logs go to standard error. What the process answers
to the shell stands under [exit codes](troubleshooting.md#exit-codes). `demo`, `simulate`, `engine`
and `preview` need `pip install 'aquila-mde[demo]'`, and so does `pipeline try` where it is given no
engine.

## Shell completion

`aquila-mde --install-completion` lets your shell (bash, zsh, fish, PowerShell) complete commands,
options and their values with the Tab key, from the next shell on; in zsh from the second Tab on,
since the first one loads it. `aquila-mde --show-completion` prints what it would install, to be put
in place by hand.
"""


def every_command() -> dict[str, Any]:
    """Every command by what is typed, those below another one too."""
    found: dict[str, Any] = {}
    for name, command in _below(typer.main.get_command(app)).items():
        found[name] = command
        found |= {f"{name} {inner}": one for inner, one in _below(command).items()}
    return found


def text() -> str:
    """The page as it must be."""
    parts = [_HEAD]
    for name, command in every_command().items():
        parts.append(f"\n## {PROGRAM} {name}\n\n{_explained(command)}\n")
        if rows := [_row(each) for each in command.params if not each.hidden]:
            parts.append("\n| option | does |\n|---|---|\n" + "\n".join(rows) + "\n")
    return "".join(parts)


def _below(command: Any) -> dict[str, Any]:
    return dict(getattr(command, "commands", {}))


def _explained(command: Any) -> str:
    """The help of ``command``, each paragraph on one line."""
    paragraphs = inspect.cleandoc(command.help).split("\n\n")
    return "\n\n".join(" ".join(each.split()) for each in paragraphs)


def _row(parameter: Any) -> str:
    name = ", ".join(f"`{each}`" for each in _spelled(parameter))
    notes = [" ".join((parameter.help or "").split())]
    if parameter.required:
        notes.append("Required.")
    kind = parameter.type_descriptor.annotation
    if isinstance(kind, type) and issubclass(kind, Enum):
        notes.append(f"One of {', '.join(f'`{_value(each)}`' for each in kind)}.")
    if parameter.show_default and parameter.default not in (None, False):
        notes.append(f"Default: `{_value(parameter.default)}`.")
    if parameter.envvar:
        notes.append(f"Variable: `{parameter.envvar}`.")
    return f"| {name} | {' '.join(notes)} |".replace("\n", " ")


def _spelled(parameter: Any) -> list[str]:
    if parameter.param_type_name == "argument":
        return [parameter.metavar or parameter.name.upper()]
    return [*parameter.opts, *parameter.secondary_opts]


def _value(value: Any) -> str:
    return str(value.value if isinstance(value, Enum) else value)


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
