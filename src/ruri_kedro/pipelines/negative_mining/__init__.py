"""The pipeline negative_mining."""

from ruri_kedro.pipelines.negative_mining.pipeline import create_pipeline

__all__ = ["create_pipeline"]
