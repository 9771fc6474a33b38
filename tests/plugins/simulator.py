"""Fixtures of the simulated tenant."""
