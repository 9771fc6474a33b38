"""What the collector's image is built on: the public Python image, or one made of this machine.

``AQUILA_TEST_BASE`` names another image. Where the one that the Dockerfile names is not here and
cannot be pulled, an image is made of the Python that runs the tests, of the shell and the few
programs that the Dockerfile calls, and of how pip is set up on this machine.
"""

from __future__ import annotations

import importlib.util
import io
import os
import platform
import re
import shutil
import sys
import sysconfig
import tempfile
from contextlib import suppress
from pathlib import Path, PurePosixPath

import docker
from docker.errors import DockerException

from tests.system.layer import Layer, shared_libraries

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy" / "docker" / "Dockerfile"
LOCAL = f"aquila-mde-base:{platform.python_version()}"
_PYTHON = PurePosixPath("/usr/local")
_PROGRAMS = ("sh", "mkdir")
_SYSTEM = ("/etc/pip.conf", "/etc/ssl/certs/ca-certificates.crt")
_COMPILED = ("isal", "msgspec", "pydantic_core")
_LEFT_OUT = re.compile(r"^(site-packages|test|idlelib|tkinter|turtledemo|config-.*|lib2to3)$")


def base_image(client: docker.DockerClient) -> str:
    """The name of an image that is here, or of the one that was asked for."""
    if wanted := os.environ.get("AQUILA_TEST_BASE"):
        return wanted
    (name,) = re.findall(r"^ARG BASE=(\S+)$", DOCKERFILE.read_text(), re.MULTILINE)
    for find, wanted in (
        (client.images.get, name),
        (client.images.pull, name),
        (client.images.get, LOCAL),
    ):
        with suppress(DockerException):
            find(wanted)
            return wanted
    return make(client)


def make(client: docker.DockerClient) -> str:
    """Make the image of this machine's parts; its name."""
    with tempfile.NamedTemporaryFile(suffix=".tar") as archive:
        write_layer(archive)
        archive.flush()
        repository, _, tag = LOCAL.partition(":")
        client.api.import_image_from_file(
            archive.name,
            repository=repository,
            tag=tag,
            changes=[f"ENV PATH={_PYTHON}/bin:/usr/bin:/bin"],
        )
    return LOCAL


def write_layer(target: io.BufferedIOBase) -> None:
    """Write the image's files as a tar archive."""
    layer = Layer(target)
    python = Path(sys.executable).resolve()
    library = Path(sysconfig.get_path("stdlib"))
    programs = [python, *library.glob("lib-dynload/*.so")]
    layer.file(_PYTHON / "bin" / "python3", python)
    for file in sorted(library.rglob("*")):
        inside = file.relative_to(library)
        unwanted = "__pycache__" in inside.parts or _LEFT_OUT.match(inside.parts[0])
        if file.is_file() and not unwanted:
            layer.file(_PYTHON / "lib" / library.name / inside.as_posix(), file)
    for name in _PROGRAMS:
        found = shutil.which(name)
        assert found is not None, name
        programs.append(Path(found).resolve())
        layer.file(PurePosixPath("/bin") / name, programs[-1])
    # Compiled packages count on libgcc and libstdc++ as on the C library.
    programs += [path for name in _COMPILED for path in _parts(name)]
    for wanted, file in shared_libraries(programs).items():
        layer.file(PurePosixPath(wanted), file)
    for path in _SYSTEM:
        if Path(path).is_file():
            layer.file(PurePosixPath(path), Path(path))
    layer.folder(PurePosixPath("/tmp"), mode=0o1777)
    layer.folder(PurePosixPath("/home"))
    layer.file(PurePosixPath("/etc/passwd"), b"root:x:0:0:root:/root:/bin/sh\n")
    layer.close()


def _parts(package: str) -> list[Path]:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return sorted(Path(spec.origin).parent.glob("*.so"))
