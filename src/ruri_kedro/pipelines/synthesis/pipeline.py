"""Wiring of synthesis, which is not part of the default run: it asks a language model, and that costs time or money."""

from kedro.pipeline import Node, Pipeline

from ruri_kedro.pipelines.synthesis import nodes


def create_pipeline(**kwargs) -> Pipeline:
    """raw -> synthetic -> synthesis_report."""
    return Pipeline(
        [
            Node(func=nodes.write_sets, inputs=["raw", "params:synthesis"], outputs="synthetic", name="synthetic"),
            Node(
                func=nodes.report_sets,
                inputs=["synthetic", "params:synthesis"],
                outputs="synthesis_report",
                name="synthesis_report",
            ),
        ]
    )
