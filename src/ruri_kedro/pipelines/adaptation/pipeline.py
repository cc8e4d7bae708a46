"""Wiring of adaptation."""

from kedro.pipeline import Node, Pipeline

from ruri_kedro.pipelines.adaptation import nodes


def create_pipeline(**kwargs) -> Pipeline:
    """passages, examples -> base_model, adapted_model."""
    return Pipeline(
        [
            Node(
                func=nodes.make_base_model,
                inputs=["passages", "params:base_model", "params:prompts", "params:seed"],
                outputs="base_model",
                name="make_base_model",
            ),
            Node(
                func=nodes.adapt,
                inputs=[
                    "base_model", "adaptation_examples", "passages", "params:adaptation", "params:prompts",
                    "params:run", "params:base_model",
                ],
                outputs="adapted_model",
                name="adapt",
            ),
        ]
    )  # fmt: skip
