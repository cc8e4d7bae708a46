"""The pipeline reranking."""

from ruri_kedro.pipelines.reranking.pipeline import create_pipeline

__all__ = ["create_pipeline"]
