"""The pipeline synthesis."""

from ruri_kedro.pipelines.synthesis.pipeline import create_pipeline

__all__ = ["create_pipeline"]
