"""Where the package's own files are: in the checkout, or inside the installed wheel."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_INSTALLED = Path(__file__).parents[1] / "assets"
_CHECKOUT = Path(__file__).parents[3]


@dataclass(frozen=True)
class PackageTree:
    """A folder with manifest, streams, pipelines, what the zip needs, and the figures."""

    root: Path

    @classmethod
    def default(cls) -> PackageTree:
        """The tree this program came with."""
        return cls(_INSTALLED if (_INSTALLED / "manifest.yml").is_file() else _CHECKOUT)

    @property
    def manifest(self) -> Path:
        """The package manifest."""
        return self.root / "manifest.yml"

    @property
    def pipelines(self) -> Path:
        """The Jinja2 templates that mapping.yml is rendered with."""
        return self.root / "pipelines"

    @property
    def package(self) -> Path:
        """What the zip needs and no stream owns."""
        return self.root / "package"

    @property
    def transforms(self) -> Path:
        """The transforms, a folder each: ``transform.yml``, ``manifest.yml`` and ``fields/``."""
        return self.package / "elasticsearch" / "transform"

    @property
    def performance(self) -> Path:
        """What ``make bench`` has measured, as JSON."""
        return self.root / "docs" / "performance.json"

    def data_streams(self) -> list[Path]:
        """Every data stream folder, by name; those with a ``collect.yml`` are collected."""
        folder = self.root / "data_stream"
        return sorted(path.parent for path in folder.glob("*/manifest.yml"))
