"""Kibana's saved objects, made from the dashboards of ``package/dashboards/``."""

from aquila_mde.build.kibana.dashboard import saved_object

__all__ = ["saved_object"]
