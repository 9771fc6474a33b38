"""What Sigma has to know of the documents of the stream hunting."""

from aquila_mde.build.sigma.pipeline import sigma_pipeline, taxonomy

__all__ = ["sigma_pipeline", "taxonomy"]
