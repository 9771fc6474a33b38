"""Turns the declarative files into the assets that the package is made of."""

from aquila_mde.build.assets import BuiltFile, assets
from aquila_mde.build.built import built_files, stale, write
from aquila_mde.build.mappings import Mapping, load_mappings

__all__ = ["BuiltFile", "Mapping", "assets", "built_files", "load_mappings", "stale", "write"]
