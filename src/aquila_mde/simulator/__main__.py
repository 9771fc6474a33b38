"""``python -m aquila_mde.simulator``: a tenant in the foreground."""

from __future__ import annotations

import argparse
from datetime import datetime

from aquila_mde.simulator.server import SimulateOptions, serve

_SIZES = ("machines", "alerts", "actions", "vulnerabilities")


def main() -> None:
    """Read the arguments and serve."""
    defaults = SimulateOptions()
    parser = argparse.ArgumentParser(prog="python -m aquila_mde.simulator", description=__doc__)
    for name in _SIZES:
        parser.add_argument(f"--{name}", type=int, default=getattr(defaults, name))
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--port", type=int, default=defaults.port)
    parser.add_argument("--activity", type=float, default=defaults.activity)
    parser.add_argument("--quota-scale", type=float, default=defaults.quota_scale)
    parser.add_argument("--no-quotas", action="store_const", dest="quota_scale", const=None)
    parser.add_argument("--now", type=datetime.fromisoformat, help="a time with a zone")
    parser.add_argument(
        "--standing", dest="running", action="store_false", help="the clock stands until advanced"
    )
    serve(SimulateOptions(**vars(parser.parse_args())))


if __name__ == "__main__":
    main()
