"""The program with signs of life so quick that a test need not wait for them.

Run as ``python -m tests.system.stateless collect …``.
"""

from aquila_mde.cli import main
from aquila_mde.collect import engine_lease
from aquila_mde.collect.engine_lease import Pace

QUICK = Pace(beat=0.2, patience=1.5, look=0.1)

if __name__ == "__main__":
    engine_lease.PACE = QUICK
    main()
