from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
from tests.unit.cli.conftest import Call

from aquila_mde.collect.monitor import Monitor
from aquila_mde.collect.report import StreamReport
from aquila_mde.collect.telemetry import Telemetry
from aquila_mde.errors import ExitCode

ANY = "0.0.0.0"


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def telemetry(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Telemetry]:
    telemetry = Telemetry(now=clock)
    telemetry.tenant("contoso", {"alert": timedelta(minutes=5)})
    with Monitor(telemetry, "127.0.0.1", 0) as monitor:
        monkeypatch.setenv("AQUILA_MONITORING__PORT", str(monitor.port))
        monkeypatch.setenv("AQUILA_MONITORING__ADDRESS", ANY)
        yield telemetry


def test_a_collector_that_lives_is_well(call: Call, telemetry: Telemetry, clock: Clock) -> None:
    answer = call("health")
    assert (answer.code, answer.out, answer.err) == (0, "The collector is well.\n", "")
    clock.now += 61
    answer = call("health")
    assert answer.code == ExitCode.ENVIRONMENT
    assert "is not well: no sign of life for 61 s" in answer.err


def test_it_is_ready_when_its_streams_are(call: Call, telemetry: Telemetry, clock: Clock) -> None:
    answer = call("health", "--ready")
    assert answer.code == ExitCode.ENVIRONMENT
    assert "not ready\n  contoso, alert: never collected yet" in answer.err
    contoso = telemetry.tenant("contoso", {"alert": timedelta(minutes=5)})
    contoso.passed(StreamReport("alert", 1, 1, 0, 0, 1, 1.0, True), began=clock.now, retries=0)
    assert call("health", "--ready").out == "The collector is ready.\n"


def test_nobody_there_and_no_port_are_told_apart(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = call("health")
    assert answer.code == ExitCode.SETTINGS
    assert "AQUILA_MONITORING__PORT" in answer.err
    monkeypatch.setenv("AQUILA_MONITORING__PORT", "9")
    answer = call("health")
    assert answer.code == ExitCode.ENVIRONMENT
    assert "No collector answers at 127.0.0.1:9" in answer.err


class _Stranger(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.rfile.readline()
        self.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n<html>something else</html>")


def test_another_program_at_that_port_is_no_collector(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socketserver.TCPServer(("127.0.0.1", 0), _Stranger) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        monkeypatch.setenv("AQUILA_MONITORING__PORT", str(server.server_address[1]))
        answer = call("health")
    assert answer.code == ExitCode.ENVIRONMENT
    assert "No collector answers" in answer.err
