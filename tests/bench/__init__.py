"""What the collector costs: measured against the engine, against a sink and against others.

``make bench`` runs it all and writes ``build/bench/results.json``; docs/performance.md says how it
is measured. Nothing in here runs with the tests.
"""
