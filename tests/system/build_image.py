"""Builds the container image ``aquila-mde-engine:local`` from the embedded engine's files.

For machines that have Docker but cannot pull an image:

    python -m tests.system.build_image
    AQUILA_TEST_ENGINE=container AQUILA_TEST_IMAGE=aquila-mde-engine:local pytest tests/system

No other image, no Dockerfile and no shell are involved: the image is one layer that holds the
engine, its Java runtime and the shared libraries of this machine that Java is linked with. Docker
itself comes from the system (Debian: ``apt-get install docker.io``) and its daemon must run
(``dockerd`` in the background, as root; where the kernel lacks overlayfs or iptables:
``--storage-driver=vfs``, ``--iptables=false``).

The heap is 1 GiB; ``JDK_JAVA_OPTIONS`` of the container changes it.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import sys
import tempfile
from pathlib import Path, PurePosixPath

from aquila_mde.engine.command import heap_options, java_command, write_configuration
from aquila_mde.engine.distribution import prepare
from aquila_mde.errors import AquilaError
from tests.system.container import ContainerUnavailableError, docker_client
from tests.system.layer import Layer, shared_libraries

IMAGE = "aquila-mde-engine:local"
_HOME, _JAVA, _STATE = PurePosixPath("/engine"), PurePosixPath("/java"), PurePosixPath("/state")
_USER = 1000


def shared_libraries_of(java_home: Path) -> dict[str, Path]:
    """What the runtime (without its graphics) takes from the system."""
    programs = [java_home / "bin" / "java", *(java_home / "lib").rglob("*.so")]
    graphics = "awt|splash|font|freetype|jsound|lcms|mlib|javajpeg"
    found = shared_libraries(each for each in programs if not re.search(graphics, each.name))
    return {path: file for path, file in found.items() if not path.startswith(str(java_home))}


def write_layer(target: io.BufferedIOBase) -> None:
    """Write the image's files as a tar archive."""
    distribution = prepare()
    layer = Layer(target)
    layer.tree(_HOME, distribution.home)
    for name in ("logs", "plugins"):
        layer.folder(_HOME / name)
    layer.tree(_JAVA, distribution.java_home)
    for wanted, file in shared_libraries_of(distribution.java_home).items():
        layer.file(PurePosixPath(wanted), file)
    layer.folder(PurePosixPath("/tmp"), mode=0o1777)
    layer.folder(_STATE, owner=_USER)
    for name in ("config", "data", "logs", "tmp"):
        layer.folder(_STATE / name, owner=_USER)
    with tempfile.TemporaryDirectory() as folder:
        write_configuration(
            Path(folder),
            data=Path(_STATE / "data"),
            logs=Path(_STATE / "logs"),
            port=9200,
            host="0.0.0.0",
            transport=9300,
        )
        for file in Path(folder).iterdir():
            layer.file(_STATE / "config" / file.name, file.read_bytes(), owner=_USER)
    layer.close()


def build(name: str = IMAGE) -> str:
    """Build the image and give it ``name``; its id."""
    command = java_command(
        Path(_JAVA / "bin" / "java"), Path(_HOME), Path(_STATE / "config"), Path(_STATE / "tmp")
    )
    if not sys.platform.startswith("linux"):
        raise ContainerUnavailableError("The image is made of Linux programs; build it on Linux")
    repository, _, tag = name.partition(":")
    with docker_client() as docker, tempfile.NamedTemporaryFile(suffix=".tar") as archive:
        write_layer(archive)
        archive.flush()
        answer = docker.api.import_image_from_file(
            archive.name,
            repository=repository,
            tag=tag or "latest",
            changes=[
                f"ENTRYPOINT {json.dumps(command)}",
                f'ENV JDK_JAVA_OPTIONS="{" ".join(heap_options("1g"))}"',
                f"USER {_USER}",
                f"WORKDIR {_HOME}",
                "EXPOSE 9200",
            ],
        )
    return str(json.loads(answer.splitlines()[-1])["status"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", default=IMAGE, help="name of the image (default: %(default)s)")
    name = parser.parse_args().name
    try:
        sys.stdout.write(f"{name} {build(name)}\n")
    except (AquilaError, ContainerUnavailableError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
