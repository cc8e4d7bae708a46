"""The pipeline finetuning."""

from ruri_kedro.pipelines.finetuning.pipeline import create_pipeline

__all__ = ["create_pipeline"]
