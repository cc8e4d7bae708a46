"""The pipeline ablations."""

from ruri_kedro.pipelines.ablations.pipeline import create_pipeline

__all__ = ["create_pipeline"]
