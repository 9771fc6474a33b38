"""The collector's image: built from the Dockerfile, and at work with no rights at all."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
import yaml
from docker.models.containers import Container
from docker.types import Mount

from aquila_mde.errors import ExitCode
from tests.plugins.parts import compose_command
from tests.system.base_image import DOCKERFILE, ROOT, base_image
from tests.system.conftest import STREAMS, Job

pytestmark = pytest.mark.docker

IMAGE = "aquila-mde:test"
COMPOSE = ROOT / "deploy" / "docker" / "compose.yml"
SETTINGS = "/etc/aquila-mde/aquila.yml"
CA_FILE = "/etc/aquila-mde/ca.pem"
SIZES = {"machines": 20, "alerts": 30, "actions": 10, "vulnerabilities": 100}
WITHIN = 180.0
SECOND = 1_000_000_000
"""In the unit that Docker wants."""
Values = dict[str, Any]


@pytest.fixture(scope="module")
def client() -> Iterator[docker.DockerClient]:
    client = docker.from_env()
    yield client
    client.close()


@pytest.fixture(scope="module")
def sizes(client: docker.DockerClient) -> tuple[int, int]:
    """Builds the image. Its bytes, and those of its base."""
    base = base_image(client)
    image, _ = client.images.build(
        path=str(ROOT),
        dockerfile=str(DOCKERFILE.relative_to(ROOT)),
        buildargs={"BASE": base},
        network_mode="host",
        tag=IMAGE,
        rm=True,
    )
    return image.attrs["Size"], client.images.get(base).attrs["Size"]


@pytest.fixture
def volume(client: docker.DockerClient) -> Iterator[str]:
    made = client.volumes.create()
    yield made.name
    made.remove()


Start = Callable[..., Container]


@pytest.fixture
def start(client: docker.DockerClient, sizes: tuple[int, int], volume: str) -> Iterator[Start]:
    """A container without rights and with a root that cannot be written to."""
    started: list[Container] = []

    def start(**options: Any) -> Container:
        made = client.containers.run(
            IMAGE,
            detach=True,
            network_mode="host",
            read_only=True,
            tmpfs={"/tmp": "mode=1777"},
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            **options,
        )
        started.append(made)
        return made

    yield start
    for each in started:
        each.remove(force=True, v=True)


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def settings(work: Job, folder: Path) -> Path:
    """What is put into /etc/aquila-mde: the settings of the job and the certificate to trust."""
    values = work.values()
    del values["state"]
    values["tenant"]["ca_file"] = CA_FILE
    values["streams"] = {stream: {"interval": "2s"} for stream in STREAMS}
    folder.mkdir()
    (folder / "aquila.yml").write_text(yaml.safe_dump(values))
    shutil.copy(work.simulator.ca_file, folder / "ca.pem")
    for file in folder.iterdir():
        file.chmod(0o644)
    return folder


def wait(container: Container, true: Callable[[Values], bool]) -> Values:
    """Until ``true`` holds of what Docker says of the state of a container that runs."""
    deadline = time.monotonic() + WITHIN
    while True:
        container.reload()
        state: Values = container.attrs["State"]
        if true(state):
            return state
        assert state["Running"], container.logs().decode()
        assert time.monotonic() < deadline, container.logs().decode()
        time.sleep(0.2)


async def arrived(work: Job, container: Container) -> None:
    """Until everything that the tenant has is in the index."""
    deadline = time.monotonic() + WITHIN
    while any([(await work.compare(stream)).missing for stream in STREAMS]):
        wait(container, lambda state: bool(state["Running"]))
        assert time.monotonic() < deadline, container.logs().decode()


def test_the_image_is_small_and_has_no_user_with_rights(
    client: docker.DockerClient, sizes: tuple[int, int]
) -> None:
    whole, base = sizes
    assert whole - base < 120_000_000
    config = client.images.get(IMAGE).attrs["Config"]
    user, group = config["User"].split(":")
    assert int(user) >= 1_000  # a number, or Kubernetes cannot tell that it is not root
    assert int(group) >= 1_000
    assert config["Healthcheck"]["Test"] == ["CMD", "aquila-mde", "health"]
    # What makes the wheel and what the tests need are not in it.
    listed = client.containers.run(
        IMAGE,
        ["-c", "import importlib.metadata as m; print(*(d.name for d in m.distributions()))"],
        entrypoint="/opt/aquila-mde/bin/python",
        remove=True,
    )
    assert {"pip", "hatchling", "pytest", "setuptools"}.isdisjoint(listed.decode().split())


async def test_a_container_without_rights_collects_and_goes_on_where_it_was(
    start: Start, job: Callable[..., Job], tmp_path: Path, port: int, volume: str
) -> None:
    work = job(**SIZES)
    place = settings(work, tmp_path / "etc")
    options: Values = {
        "mounts": [
            Mount("/etc/aquila-mde", str(place), type="bind", read_only=True),
            Mount("/var/lib/aquila-mde", volume),
        ],
        "environment": {"AQUILA_MONITORING__PORT": str(port)},
        # The image's own check, asked more often.
        "healthcheck": {"interval": SECOND, "timeout": 30 * SECOND, "start_period": 60 * SECOND},
    }
    for more in (0, 5):
        work.simulator.control.add_alerts([{}] * more)
        container = start(**options)
        wait(container, lambda state: state["Health"]["Status"] == "healthy")
        await arrived(work, container)
        code, told = container.exec_run(["aquila-mde", "health", "--ready"])
        assert code == 0, told
        container.stop(timeout=90)
        state = wait(container, lambda state: not state["Running"])
        assert state["ExitCode"] == ExitCode.OK, container.logs().decode()
        for stream in STREAMS:
            assert (await work.compare(stream)).perfect


def test_a_container_in_which_no_collector_answers_is_unhealthy(start: Start, port: int) -> None:
    container = start(
        environment={"AQUILA_MONITORING__PORT": str(port), "AQUILA_CONFIG": ""},
        healthcheck={"interval": SECOND, "timeout": 30 * SECOND, "retries": 1},
        entrypoint=["/opt/aquila-mde/bin/python", "-c", "import signal; signal.pause()"],
    )
    state = wait(container, lambda state: state["Health"]["Status"] == "unhealthy")
    assert state["Health"]["Log"][-1]["ExitCode"] == ExitCode.ENVIRONMENT
    assert "No collector answers" in state["Health"]["Log"][-1]["Output"]


def test_settings_that_are_wrong_are_one_clear_error(start: Start) -> None:
    container = start(environment={"AQUILA_CONFIG": ""})
    assert container.wait()["StatusCode"] == ExitCode.SETTINGS
    assert b"tenant: is missing" in container.logs()


def compose(*words: str, **variables: str) -> str:
    command = compose_command()
    assert command is not None
    done = subprocess.run(
        [*command, *words],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.compose
async def test_what_compose_starts_collects(
    client: docker.DockerClient,
    sizes: tuple[int, int],
    job: Callable[..., Job],
    tmp_path: Path,
    port: int,
) -> None:
    work = job(**SIZES)
    place = settings(work, tmp_path / "etc")
    # Tenant and engine listen on this machine's loopback, which only its own network reaches.
    values = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    service = values["services"]["collector"]
    del service["build"], service["ports"]
    service |= {"image": IMAGE, "network_mode": "host"}
    service["environment"].append(f"AQUILA_MONITORING__PORT={port}")
    file = tmp_path / "compose.yml"
    file.write_text(yaml.safe_dump(values))
    project = ["--file", str(file), "--project-name", work.namespace]
    try:
        compose(*project, "up", "--detach", AQUILA_ETC=str(place))
        (name,) = compose(*project, "ps", "--quiet", AQUILA_ETC=str(place)).split()
        container = client.containers.get(name)
        await arrived(work, container)
        compose(*project, "stop", AQUILA_ETC=str(place))
        assert wait(container, lambda state: not state["Running"])["ExitCode"] == ExitCode.OK
        for stream in STREAMS:
            assert (await work.compare(stream)).perfect
    finally:
        compose(*project, "down", "--volumes", AQUILA_ETC=str(place))
