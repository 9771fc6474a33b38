"""Dashboards as they are written down: what their panels ask, and how the answers are read."""
