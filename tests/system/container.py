"""An engine in a container, for the tests.

``AQUILA_TEST_ENGINE=container`` makes the fixture ``engine_url`` start one. The image is
``AQUILA_TEST_IMAGE``, by default Elastic's own (OpenSearch's official image will do as well);
where none can be pulled, build_image.py makes one, whose settings lie in the image. The container
is removed at the end of the run; testcontainers' own cleaner (Ryuk), which is an image that would
have to be pulled, is off unless ``TESTCONTAINERS_RYUK_DISABLED=false``.

``python -m tests.system.container`` says in one line whether Docker can be used.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import docker
import httpx
from docker.errors import APIError, DockerException, ImageNotFound

DEFAULT_IMAGE = "docker.elastic.co/elasticsearch/elasticsearch:9.2.0"
HEAP = "-Xms1g -Xmx1g"
BOTH = {
    "discovery.type": "single-node",
    "cluster.routing.allocation.disk.threshold_enabled": "false",
}
# An image refuses to start with a setting of the other family.
ELASTICSEARCH = BOTH | {
    "xpack.security.enabled": "false",
    "ingest.geoip.downloader.enabled": "false",
    "ES_JAVA_OPTS": HEAP,
}
OPENSEARCH = BOTH | {
    "DISABLE_SECURITY_PLUGIN": "true",
    "DISABLE_INSTALL_DEMO_CONFIG": "true",
    "OPENSEARCH_JAVA_OPTS": HEAP,
}


class ContainerUnavailableError(Exception):
    """There is no Docker here, no such image, or the container does not come up. One line."""


def image_name() -> str:
    """The image that the tests start."""
    return os.environ.get("AQUILA_TEST_IMAGE") or DEFAULT_IMAGE


@contextmanager
def docker_client() -> Iterator[docker.DockerClient]:
    """A connection to the Docker daemon that answers."""
    try:
        client = docker.from_env()
    except DockerException as error:
        raise _no_docker(error) from None
    try:
        try:
            client.ping()
        except (APIError, DockerException, OSError) as error:
            raise _no_docker(error) from None
        yield client
    finally:
        client.close()


def _no_docker(error: Exception) -> ContainerUnavailableError:
    return ContainerUnavailableError(
        "The system tests need Docker, and its daemon does not answer "
        f"({str(error).splitlines()[0]}); start it, or run the tests on the embedded engine "
        "without AQUILA_TEST_ENGINE=container"
    )


@contextmanager
def engine_container(image: str | None = None, *, seconds: float = 180) -> Iterator[str]:
    """Start an engine in a container and yield its URL once it takes documents.

    Raises ContainerUnavailableError, after ``seconds`` at the latest when it does not come up.
    """
    name = image or image_name()
    with docker_client() as client:
        try:
            client.images.get(name)
        except ImageNotFound:
            try:
                client.images.pull(name)
            except DockerException as error:
                raise ContainerUnavailableError(
                    f"The image {name} is not here and cannot be pulled "
                    f"({getattr(error, 'explanation', None) or error}); build one with "
                    "'python -m tests.system.build_image' and set "
                    "AQUILA_TEST_IMAGE=aquila-mde-engine:local"
                ) from None
    os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
    from testcontainers.core.container import DockerContainer  # noqa: PLC0415 - reads it

    container = DockerContainer(name).with_exposed_ports(9200)
    settings = OPENSEARCH if "opensearch" in name else ELASTICSEARCH
    for variable, value in settings.items():
        container.with_env(variable, value)
    with container:
        port = container.get_exposed_port(9200)
        url = f"http://{container.get_container_host_ip()}:{port}"
        _wait(url, container, seconds)
        yield url


def _wait(url: str, container: object, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    wrapped = container.get_wrapped_container()  # type: ignore[attr-defined]
    with httpx.Client(trust_env=False, timeout=10) as client:
        while time.monotonic() < deadline:
            with suppress(httpx.TransportError):
                answer = client.get(
                    f"{url}/_cluster/health",
                    params={"wait_for_status": "yellow", "timeout": "5s"},
                )
                if answer.status_code == 200:
                    return
            wrapped.reload()
            if wrapped.status in ("exited", "dead"):
                break
            time.sleep(0.1)
    last = wrapped.logs(tail=3).decode(errors="replace").strip().replace("\n", " | ")
    raise ContainerUnavailableError(
        f"The engine in the container does not answer (container {wrapped.status}): {last}"
    )


def main() -> None:
    try:
        with docker_client() as client:
            version = client.version()["Version"]
    except ContainerUnavailableError as error:
        sys.exit(str(error))
    sys.stdout.write(f"Docker {version}, image {image_name()}\n")


if __name__ == "__main__":
    main()
