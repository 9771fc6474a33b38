"""Logging: ECS lines for programs, plain lines for people, secrets for nobody."""

from __future__ import annotations

import json
import logging
import re
import sys
import warnings
from collections.abc import Iterator

import pytest
import structlog

from aquila_mde.logs import configure_logging


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(False)
    structlog.reset_defaults()


def documents(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return [json.loads(line) for line in captured.err.splitlines()]


def test_a_line_for_programs_is_an_ecs_document(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info")
    structlog.get_logger("x").info("Pass ended", stream="alert", records=5, error=None, ids=("a",))
    (document,) = documents(capsys)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", str(document.pop("@timestamp")))
    assert document == {
        "log.level": "info",
        "message": "Pass ended",
        "ecs.version": "1.6.0",
        "service": {"name": "aquila-mde"},
        "aquila": {"stream": "alert", "records": 5, "ids": ["a"]},
    }


def test_an_error_and_a_traceback_have_their_ecs_place(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info")
    log = structlog.get_logger()
    log.warning("It failed", error="refused")
    try:
        raise ValueError("token=1&sig=geheim&x=2")
    except ValueError:
        log.exception("It broke", error={"code": "E1"})
    failed, broke = documents(capsys)
    assert failed["error"] == {"message": "refused"}
    assert broke["log.level"] == "error"
    assert isinstance(broke["error"], dict)
    assert broke["error"]["code"] == "E1"
    assert "test_logs.py" in broke["error"]["stack_trace"]
    assert "geheim" not in json.dumps(broke)


def test_no_secret_is_logged_in_whatever_shape(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("debug")
    link = "https://storage.example/file.gz?sv=1&sig=geheim"
    structlog.get_logger().info(
        f"got {link}", link=link, all=[link], deep={"x": (link,)}, error=RuntimeError(link)
    )
    logging.getLogger("library").warning("asked %s with Bearer geheim", link)
    # The answer of a sign-in that was cut: no part of a token but its beginning.
    logging.getLogger("msal").warning('{"access_token":"eyJ0eXAiOiJKV1Qi.eyJnaGVpbSI6ImdlaGVpb')
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("client_secret=geheim", stacklevel=1)
    text = capsys.readouterr().err
    assert len(text.splitlines()) == 4
    assert "eyJ" not in text
    assert "storage.example" in text
    assert "geheim" not in text


def test_the_level_is_a_floor_and_libraries_whisper(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("warning")
    log = structlog.get_logger()
    log.info("not shown")
    log.warning("shown")
    configure_logging("debug")
    log.debug("shown too")
    logging.getLogger("httpcore").debug("Authorization: Bearer …")
    logging.getLogger("httpx").info("GET …")
    logging.getLogger("msal").error("shown as well")
    assert [document["message"] for document in documents(capsys)] == [
        "shown",
        "shown too",
        "shown as well",
    ]


def test_a_terminal_gets_plain_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    configure_logging("info")
    structlog.get_logger().info("Pass ended", stream="alert", secret="password=geheim")
    logging.getLogger("library").warning("odd")
    try:
        raise ValueError("broken")
    except ValueError:
        structlog.get_logger().exception("It broke")
    lines = capsys.readouterr().err.splitlines()
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d \[info *\] Pass ended +secret='password=…' stream=alert", lines[0]
    )
    assert re.fullmatch(r"\d\d:\d\d:\d\d \[warning *\] odd", lines[1].rstrip())
    assert lines[-1] == "ValueError: broken"
    assert "\x1b" not in "".join(lines)


def test_lines_go_to_the_standard_error_of_the_moment(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    configure_logging("info")
    monkeypatch.setattr(sys, "stderr", sys.stdout)
    structlog.get_logger().info("above the bar")
    assert "above the bar" in capsys.readouterr().out
