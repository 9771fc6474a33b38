"""What the collector costs: measured against the engine, against a sink and against others.

``make bench`` runs it all and writes ``build/bench/results.json`` and docs/performance.md, which
says how it is measured. With the tests only a few rows go through it, to see that it runs.
"""
