"""The pipeline adaptation."""

from ruri_kedro.pipelines.adaptation.pipeline import create_pipeline

__all__ = ["create_pipeline"]
