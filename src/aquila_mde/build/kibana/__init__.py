"""Kibana's saved objects, made from ``package/dashboards/`` and ``package/hunting/``."""

from aquila_mde.build.kibana.dashboard import saved_object
from aquila_mde.build.kibana.search import saved_search

__all__ = ["saved_object", "saved_search"]
