"""The pipeline data_engineering."""

from ruri_kedro.pipelines.data_engineering.pipeline import create_pipeline

__all__ = ["create_pipeline"]
