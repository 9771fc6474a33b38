"""Turns the declarative files into the assets that the package is made of."""

from aquila_mde.build.assets import BuiltFile, assets, stale, write
from aquila_mde.build.mappings import Mapping, load_mappings

__all__ = ["BuiltFile", "Mapping", "assets", "load_mappings", "stale", "write"]
