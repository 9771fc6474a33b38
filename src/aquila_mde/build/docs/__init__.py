"""The pages about the streams, and one sample event of each."""

from aquila_mde.build.docs.pages import render_pages
from aquila_mde.build.docs.sample import sample_event

__all__ = ["render_pages", "sample_event"]
