"""Wiring of pretraining."""

from kedro.pipeline import Node, Pipeline

from ruri_kedro.pipelines.evaluation.nodes import validate
from ruri_kedro.pipelines.pretraining import nodes


def create_pipeline(**kwargs) -> Pipeline:
    """adapted_model, examples -> pretrained_model and its validation."""
    return Pipeline(
        [
            Node(
                func=nodes.pretrain,
                inputs=[
                    "adapted_model", "pretraining_examples", "passages", "params:pretraining",
                    "params:prompts", "params:run", "params:sources",
                    "params:base_model.training_head", "development_sets",
                ],
                outputs="pretrained_model",
                name="pretrain",
            ),
            Node(
                func=validate,
                inputs=[
                    "pretrained_model", "pairs", "passages", "params:sources", "params:prompts", "params:evaluation",
                ],
                outputs="pretraining_validation",
                name="validate_pretrained_model",
            ),
        ]
    )  # fmt: skip
