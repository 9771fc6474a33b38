"""A picture of the dashboards without Kibana: one HTML file, made of the answers of an engine."""

from aquila_mde.preview.ask import Preview, ask
from aquila_mde.preview.page import render

__all__ = ["Preview", "ask", "render"]
