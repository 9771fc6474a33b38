"""docs/onboarding.md says what ``aquila-mde onboard`` does."""

from __future__ import annotations

import re

import typer

from aquila_mde.cli import app
from aquila_mde.onboard.keeping import Kind
from aquila_mde.onboard.permissions import needed_permissions
from aquila_mde.onboard.run import DEFAULT_NAME
from aquila_mde.settings import OnboardingSettings
from aquila_mde.streams.tree import PackageTree

TREE = PackageTree.default()
PAGE = (TREE.root / "docs" / "onboarding.md").read_text(encoding="utf-8")
COMMAND = typer.main.get_command(app).commands["onboard"]  # type: ignore[attr-defined]


def test_every_option_is_described_and_every_option_that_is_named_exists() -> None:
    options = {text for option in COMMAND.params for text in option.opts if text[:2] == "--"}
    described = set(re.findall(r"^\| `(--[a-z-]+)`", PAGE, re.MULTILINE))
    assert described == options - {"--config", "--log-level"}
    assert set(re.findall(r"aquila-mde onboard[^\n`]* (--[a-z-]+)", PAGE)) <= options


def test_every_kind_of_credential_is_described() -> None:
    assert set(re.findall(r"^\| `([a-z]+)` \|", PAGE, re.MULTILINE)) == set(Kind)


def test_the_manual_way_names_the_permissions_of_the_streams() -> None:
    manual = PAGE.split("## The manual way")[1]
    settings = [
        {"streams": {"hunting": {"enabled": True}}, "hunting": {"api": api}}
        for api in ("defender", "graph")
    ]
    needed = {
        each.name
        for values in settings
        for each in needed_permissions(OnboardingSettings.model_validate(values), TREE)
    }
    assert set(re.findall(r"`(\w+(?:\.\w+)+\.All)`", manual)) == needed


def test_the_name_is_the_same_everywhere() -> None:
    (name,) = [option.default for option in COMMAND.params if option.name == "name"]
    assert name == DEFAULT_NAME
