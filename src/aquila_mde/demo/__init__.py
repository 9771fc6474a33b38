"""The demonstration: tenant, engine, collector, a comparison of both ends, and the dashboards.

Needs the extra ``demo``. The tenant runs in a process of its own and is asked for what it holds;
what the index holds is read back from the engine. Neither number comes from the collector.
"""

from aquila_mde.demo.comparison import Comparison, compare
from aquila_mde.demo.run import Demo, DemoReport, StreamResult
from aquila_mde.demo.tenant import TenantSize, TenantStartError

__all__ = [
    "Comparison",
    "Demo",
    "DemoReport",
    "StreamResult",
    "TenantSize",
    "TenantStartError",
    "compare",
]
